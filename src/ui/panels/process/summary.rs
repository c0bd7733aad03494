//! Who the process is.

use egui::{Label, RichText, Ui};

use super::Shown;
use crate::base::{Field, Pid};
use crate::checkpoint::process::{Link, TaskState};
use crate::decode::Arch;
use crate::session::{Command, ProcessTab, Target};
use crate::ui::tokens::{Tokens, Tone};
use crate::ui::widgets::{
    Value, absent, badge, link, mono_text, property, property_field, property_ui, section, target_link,
};
use crate::ui::{names, text, widgets};

/// Most arguments, children that are listed one by one.
const MAX_LISTED: usize = 60;

/// What the tab keeps: sums over the memory map.
#[derive(Debug, Default)]
pub(super) struct SummaryState {
    memory: Option<(u64, MemorySum)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct MemorySum {
    mapped_bytes: u64,
    dumped_pages: u64,
    shared_pages: u64,
    parent_pages: u64,
    writable_and_executable: usize,
}

pub(super) fn summary_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut SummaryState, commands: &mut Vec<Command>) {
    let process = shown.process;
    section(ui, "Program", "", |ui| {
        cmdline_ui(ui, shown, commands);
        link_row(ui, commands, "Program file", "As /proc/PID/exe reads", &process.exe);
        link_row(ui, commands, "Working directory", "As /proc/PID/cwd reads", &process.cwd);
        link_row(ui, commands, "Root directory", "As /proc/PID/root reads", &process.root);
    });
    section(ui, "Identity", "", |ui| {
        property_field(
            ui,
            "State",
            "CRIU records alive, stopped and zombie; running and sleeping are not told apart",
            &process.state,
            |ui, state| ui.label(state_label(shown.checkpoint.container.arch, *state)),
        );
        pid_row(ui, shown, commands, "Parent", "0 is outside the container", &process.ppid);
        pid_row(ui, shown, commands, "Process group", "Its leader", &process.pgid);
        pid_row(ui, shown, commands, "Session", "Its leader", &process.sid);
        children_ui(ui, shown, commands);
        if let Some(credentials) = process.credentials() {
            property_ui(ui, "User", "Effective user and group, inside the user namespace", |ui| {
                ui.horizontal(|ui| {
                    let ids = format!("uid {}, gid {}", credentials.uids[1], credentials.gids[1]);
                    if link(ui, &ids).clicked() {
                        commands.push(Command::go(Target::process_tab(process.pid, ProcessTab::Credentials)));
                    }
                    if credentials.uids[1] == 0 {
                        badge(ui, "root", Tone::Warning);
                    }
                });
            });
        }
        property_field(ui, "Login uid", "The audit id of who logged in", &process.loginuid, |ui, uid| {
            ui.label(if *uid == u32::MAX { "unset".to_owned() } else { uid.to_string() })
        });
    });
    memory_ui(ui, shown, state, commands);
    section(ui, "Attributes", "", |ui| {
        property_field(ui, "File mode mask", "umask", &process.umask, |ui, umask| mono(ui, &format!("{umask:04o}")));
        property_field(ui, "OOM score adjust", "-1000 is never killed", &process.oom_score_adj, |ui, score| {
            mono(ui, &score.to_string())
        });
        property_field(ui, "Personality", "personality(2)", &process.personality, |ui, value| {
            mono(ui, &format!("{value:#010x}"))
        });
        property_field(
            ui,
            "Child subreaper",
            "Adopts orphans of its subtree",
            &process.child_subreaper,
            |ui, is_on| ui.label(if *is_on { "yes" } else { "no" }),
        );
        property_field(
            ui,
            "Kernel flags",
            "PF_ flags of the task, informational",
            &process.kernel_flags,
            |ui, value| mono(ui, &format!("{value:#010x}")),
        );
    });
    rlimits_ui(ui, shown);
}

fn mono(ui: &mut Ui, value: &str) -> egui::Response {
    ui.add(Label::new(mono_text(value)).selectable(true))
}

fn state_label(arch: Option<Arch>, state: TaskState) -> String {
    match state {
        TaskState::Alive => "alive (running or sleeping)".into(),
        TaskState::Stopped { signal: Some(signal) } => format!("stopped by {}", names::signal(arch, signal)),
        TaskState::Stopped { signal: None } => "stopped".into(),
        TaskState::Zombie { wait_status: Some(status) } if status & 0x7f == 0 => {
            format!("zombie, exit code {}", status >> 8 & 0xff)
        }
        TaskState::Zombie { wait_status: Some(status) } => {
            format!("zombie, killed by {}", names::signal(arch, status & 0x7f))
        }
        TaskState::Zombie { wait_status: None } => "zombie".into(),
        TaskState::Unknown(number) => format!("unknown state {number}"),
    }
}

/// Arguments one by one: what looks like one word may be several, and the other way round.
fn cmdline_ui(ui: &mut Ui, shown: Shown<'_>, commands: &mut Vec<Command>) {
    let process = shown.process;
    property_ui(
        ui,
        "Command line",
        "Exactly as it lies in the memory of the process; a space inside an argument is not a border",
        |ui| {
            let arguments = match &process.cmdline {
                Field::Known(arguments) => arguments,
                Field::Absent(why) => {
                    absent(ui, *why);
                    return;
                }
            };
            if arguments.is_empty() {
                ui.label(RichText::new("none").color(Tokens::get(ui).muted));
            }
            for argument in arguments.iter().take(MAX_LISTED) {
                let label: String = argument.label().chars().take(2000).collect();
                let shown = if label.is_empty() { "(empty)".to_owned() } else { label.clone() };
                let color = if label.is_empty() { Tokens::get(ui).muted } else { Tokens::get(ui).text };
                let row = ui.add(Label::new(mono_text(shown).color(color)).wrap().selectable(true));
                row.context_menu(|ui| {
                    if ui.button("Copy argument").clicked() {
                        commands.push(Command::copy("argument", argument.to_lossless()));
                        ui.close();
                    }
                });
            }
            if arguments.len() > MAX_LISTED {
                ui.label(
                    RichText::new(format!("and {} more", text::grouped((arguments.len() - MAX_LISTED) as u64)))
                        .color(Tokens::get(ui).muted),
                );
            }
        },
    );
}

fn link_row(ui: &mut Ui, commands: &mut Vec<Command>, label: &'static str, help: &str, field: &Field<Link>) {
    match field {
        Field::Known(target) => {
            let name = target.target.label();
            match target.file {
                Some(file) => {
                    property_ui(ui, label, help, |ui| target_link(ui, commands, &name, Target::File(file)));
                }
                None => {
                    property(ui, commands, label, help, Value::Mono(&name));
                }
            }
        }
        Field::Absent(why) => {
            property_ui(ui, label, help, |ui| absent(ui, *why));
        }
    }
}

fn pid_row(
    ui: &mut Ui,
    shown: Shown<'_>,
    commands: &mut Vec<Command>,
    label: &'static str,
    help: &str,
    pid: &Field<Pid>,
) {
    property_field(ui, label, help, pid, |ui, pid| match shown.checkpoint.process(*pid) {
        Some(process) if *pid != shown.process.pid => {
            target_link(ui, commands, &format!("{pid} {}", process.comm_label()), Target::process(*pid))
        }
        Some(_) => mono(ui, &format!("{pid} (itself)")),
        None if pid.0 == 0 => ui.label(RichText::new("outside the container").color(Tokens::get(ui).muted)),
        None => mono(ui, &format!("{pid} (not in the checkpoint)")),
    });
}

fn children_ui(ui: &mut Ui, shown: Shown<'_>, commands: &mut Vec<Command>) {
    let children = &shown.process.children;
    if children.is_empty() {
        return;
    }
    property_ui(ui, "Children", "", |ui| {
        widgets::link_row(ui, |ui| {
            for child in children.iter().take(MAX_LISTED).filter_map(|index| shown.checkpoint.processes.get(*index)) {
                target_link(ui, commands, &format!("{} {}", child.pid, child.comm_label()), Target::process(child.pid));
            }
            if children.len() > MAX_LISTED {
                ui.label(format!("and {} more", text::grouped((children.len() - MAX_LISTED) as u64)));
            }
        });
    });
}

fn memory_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut SummaryState, commands: &mut Vec<Command>) {
    let Field::Known(memory) = &shown.process.memory else { return };
    let sum = match state.memory {
        Some((key, sum)) if key == shown.key() => sum,
        _ => {
            let mut sum = MemorySum::default();
            for vma in &memory.vmas {
                sum.mapped_bytes = sum.mapped_bytes.saturating_add(vma.len_bytes());
                sum.dumped_pages += vma.pages.dumped;
                sum.shared_pages += vma.pages.shared;
                sum.parent_pages += vma.pages.parent;
                sum.writable_and_executable += usize::from(vma.prot & 6 == 6);
            }
            state.memory = Some((shown.key(), sum));
            sum
        }
    };
    let page = memory.pagemap.page_size.bytes();
    section(ui, "Memory", "", |ui| {
        property_ui(ui, "Mapped", "Address space in use", |ui| {
            let label =
                format!("{} in {}", text::bytes(sum.mapped_bytes), text::counted(memory.vmas.len(), "area", "areas"));
            if link(ui, &label).clicked() {
                commands.push(Command::go(Target::process_tab(shown.process.pid, ProcessTab::Memory)));
            }
        });
        let mut no_copy = Vec::new();
        let mut row = |label, help, pages: u64| {
            if pages > 0 {
                let value = format!("{} ({} pages)", text::bytes(pages.saturating_mul(page)), text::grouped(pages));
                property(ui, &mut no_copy, label, help, Value::Text(&value));
            }
        };
        row("In the dump", "Pages whose content is in this checkpoint", sum.dumped_pages);
        row("Shared", "Pages in the dump of a shared object", sum.shared_pages);
        row("In a parent", "Pages whose content is in a parent checkpoint", sum.parent_pages);
        if sum.writable_and_executable > 0 {
            property_ui(ui, "Writable code", "Areas that are writable and executable at once", |ui| {
                badge(ui, &text::counted(sum.writable_and_executable, "area rwx", "areas rwx"), Tone::Warning);
            });
        }
    });
}

fn rlimits_ui(ui: &mut Ui, shown: Shown<'_>) {
    let Field::Known(limits) = &shown.process.rlimits else { return };
    let label = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), text::grouped);
    section(ui, "Resource limits", "soft, hard", |ui| {
        for limit in limits {
            property_ui(ui, limit.name, "", |ui| {
                if limit.soft == limit.hard {
                    mono(ui, &label(limit.soft))
                } else {
                    mono(ui, &format!("{}, {}", label(limit.soft), label(limit.hard)))
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status_is_told_as_people_say_it() {
        assert_eq!(
            state_label(Some(Arch::X86), TaskState::Zombie { wait_status: Some(3 << 8) }),
            "zombie, exit code 3"
        );
        assert_eq!(
            state_label(Some(Arch::X86), TaskState::Zombie { wait_status: Some(9) }),
            "zombie, killed by SIGKILL"
        );
        assert_eq!(state_label(Some(Arch::X86), TaskState::Stopped { signal: Some(19) }), "stopped by SIGSTOP");
    }
}
