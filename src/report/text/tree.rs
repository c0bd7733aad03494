//! The process tree.

use std::io::{self, Write};

use crate::base::{Field, Pid, Text};
use crate::checkpoint::process::TaskState;
use crate::checkpoint::{Checkpoint, Process};

use super::{Style, Tone};

/// Writes the tree, or the one process of it.
pub(super) fn write(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint, only: Option<Pid>) -> io::Result<()> {
    writeln!(out, "{}", style.paint(Tone::Strong, "Processes"))?;
    let processes = &checkpoint.processes;
    if let Some(process) = only.and_then(|pid| checkpoint.process(pid)) {
        return line(out, style, "", process);
    }
    // A parent stands before its children; whoever is nobody's child is a root.
    let mut is_child = vec![false; processes.len()];
    for child in processes.iter().flat_map(|process| &process.children) {
        if let Some(is_child) = is_child.get_mut(*child) {
            *is_child = true;
        }
    }
    let roots: Vec<usize> = (0..processes.len()).filter(|at| is_child.get(*at) == Some(&false)).collect();
    if roots.is_empty() {
        return writeln!(out, "  none could be read");
    }
    // Own stack: a tree may be as deep as there are processes. Each process is written once.
    let mut written = vec![false; processes.len()];
    let mut stack: Vec<Branch> = Vec::new();
    for root in roots {
        stack.push(Branch { at: root, guides: String::new(), is_last: true, is_root: true });
        while let Some(branch) = stack.pop() {
            let Some(process) = processes.get(branch.at) else { continue };
            if std::mem::replace(&mut written[branch.at], true) {
                continue;
            }
            let (fork, rest) = match (branch.is_root, branch.is_last) {
                (true, _) => ("", ""),
                (false, true) => ("└─ ", "   "),
                (false, false) => ("├─ ", "│  "),
            };
            line(out, style, &format!("{}{fork}", branch.guides), process)?;
            // Guides of very deep trees stop growing: the pid says the rest.
            let guides = if branch.guides.len() < 300 { format!("{}{rest}", branch.guides) } else { branch.guides };
            for (n, child) in process.children.iter().rev().enumerate() {
                stack.push(Branch { at: *child, guides: guides.clone(), is_last: n == 0, is_root: false });
            }
        }
    }
    Ok(())
}

struct Branch {
    at: usize,
    guides: String,
    is_last: bool,
    is_root: bool,
}

fn line(out: &mut dyn Write, style: Style, guides: &str, process: &Process) -> io::Result<()> {
    let pid = process.pid.to_string();
    let comm = process.comm_label();
    let mut notes = Vec::new();
    notes.extend(state_note(&process.state));
    if let Some(credentials) = process.credentials() {
        notes.push(format!("uid {}", credentials.uids[1]));
    }
    if process.threads.len() > 1 {
        notes.push(format!("{} threads", process.threads.len()));
    }
    if let Some(exe) = process.exe.known().filter(|exe| exe.target.as_bytes().ends_with(b" (deleted)")) {
        notes.push(format!("runs {}", exe.target.label()));
    }
    let notes = if notes.is_empty() { String::new() } else { format!("[{}]", notes.join(", ")) };
    let used = 2 + guides.chars().count() + pid.len() + 1 + comm.chars().count() + 2 + notes.chars().count() + 2;
    let command = style.fit(used, &command(process));
    let is_alert = process.is_zombie() || notes.contains("runs ");
    let line = format!(
        "  {}{} {}  {}  {command}",
        style.paint(Tone::Dim, guides),
        style.paint(Tone::Id, &pid),
        style.paint(Tone::Strong, &comm),
        style.paint(if is_alert { Tone::Alert } else { Tone::Dim }, &notes),
    );
    writeln!(out, "{}", line.trim_end())
}

/// The state, unless the process is simply alive.
pub(super) fn state_note(state: &Field<TaskState>) -> Option<String> {
    match state {
        Field::Known(TaskState::Alive) => None,
        Field::Known(TaskState::Stopped { signal: Some(signal) }) => Some(format!("stopped by signal {signal}")),
        Field::Known(TaskState::Stopped { signal: None }) => Some("stopped".into()),
        Field::Known(TaskState::Zombie { wait_status }) => Some(match wait_status {
            Some(status) if status & 0x7f != 0 => format!("zombie, killed by signal {}", status & 0x7f),
            Some(status) => format!("zombie, exit code {}", (status >> 8) & 0xff),
            None => "zombie".into(),
        }),
        Field::Known(TaskState::Unknown(number)) => Some(format!("state {number}")),
        Field::Absent(why) => Some(format!("state {why}")),
    }
}

/// Arguments with blanks between, quoted where an argument would be taken for several.
pub(super) fn command(process: &Process) -> String {
    match &process.cmdline {
        Field::Known(args) => {
            // A process that overwrote its arguments leaves the rest of their room empty.
            let nr_empty = args.iter().rev().take_while(|arg| arg.is_empty()).count();
            let shown = if nr_empty > 2 { args.len() - nr_empty } else { args.len() };
            let mut words: Vec<String> = args.iter().take(shown).map(quoted).collect();
            if shown < args.len() {
                words.push(format!("(and {nr_empty} empty arguments)"));
            }
            words.join(" ")
        }
        Field::Absent(why) => format!("(arguments: {why})"),
    }
}

fn quoted(arg: &Text) -> String {
    let label = arg.label();
    let is_plain = !label.is_empty() && !label.contains([' ', '"', '\'', '\\']);
    if is_plain { label } else { format!("'{}'", label.replace('\'', "'\\''")) }
}
