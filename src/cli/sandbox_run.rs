//! `cryoscope sandbox run`: events of a run, as lines.

use std::io;
use std::ops::ControlFlow;

use super::context::Context;
use super::interrupt;
use super::json::Escaping;
use super::sandbox_args::RunArgs;
use super::sandbox_plan::{Prepared, prepare};
use crate::base::{Cancelled, Progress, escape_controls};
use crate::sandbox::bundle::Store;
use crate::sandbox::microvm::{self, Acceleration, Event, Order, Watcher, Why};
use crate::sandbox::plan::Stream;
use crate::sandbox::protocol::ProcessLine;
use crate::sandbox::thaw::{self, Thaw};

/// Seconds that booting and restoring may take on top of the time that was asked for.
const EXTRA_SECONDS: u64 = 900;

pub(super) fn run(args: &RunArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    // What is missing is said before the evidence is opened, which may take long.
    microvm::find_qemu()?;
    microvm::guest_program()?;
    let bundle = Store::new(&context.options)?.open()?;
    let seconds = args.time.as_secs().saturating_add(EXTRA_SECONDS);
    let max_seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let Prepared { checkpoint, base, plan, review } = prepare(&args.restore, max_seconds, context)?;
    let options = context.options.clone();
    let connect =
        args.connect.map(|address| Order::Connect { id: 1, address: address.to_string(), send: unescape(&args.send) });
    let mut printer = Printer { context, failed: None, connect, is_ready: false };
    let thaw = Thaw {
        bundle: &bundle,
        plan: &plan,
        review: &review,
        checkpoint: &checkpoint,
        base: base.as_ref(),
        time: args.time,
        checkpoint_to: args.checkpoint_to.as_deref(),
        options: &options,
    };
    let why = thaw::thaw(&thaw, &mut printer, &Interrupt)?;
    if let Some(error) = printer.failed {
        return Err(error.into());
    }
    anyhow::ensure!(
        why != Why::NotRestored,
        "{}: the checkpoint could not be restored",
        args.restore.archive.display()
    );
    Ok(())
}

/// Ctrl+C ends the run; there is no bar, since events are printed.
struct Interrupt;

impl Progress for Interrupt {
    fn step(&self, _done: u64, _total: Option<u64>) -> Result<(), Cancelled> {
        if interrupt::is_pressed() { Err(Cancelled) } else { Ok(()) }
    }
}

/// Prints events as they come.
struct Printer<'a, 'b> {
    context: &'a mut Context<'b>,
    failed: Option<io::Error>,
    connect: Option<Order>,
    is_ready: bool,
}

impl Watcher for Printer<'_, '_> {
    fn event(&mut self, event: Event) -> ControlFlow<()> {
        self.is_ready |= matches!(event, Event::Restored { .. });
        let written = if self.context.json { self.json(&event) } else { self.text(&event) };
        match written.and_then(|()| self.context.out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn order(&mut self) -> Option<Order> {
        if self.is_ready { self.connect.take() } else { None }
    }
}

impl Printer<'_, '_> {
    fn json(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(Escaping(&mut *self.context.out), event)?;
        writeln!(self.context.out)
    }

    fn text(&mut self, event: &Event) -> io::Result<()> {
        let out = &mut *self.context.out;
        let time = |at_ms: &u64| format!("{:>7.1} s", *at_ms as f64 / 1000.0);
        match event {
            Event::Booting { at_ms, acceleration, note } => {
                let by = match acceleration {
                    Acceleration::Kvm => "KVM",
                    Acceleration::Tcg => "emulation (slower than KVM)",
                };
                let note = note.as_ref().map_or(String::new(), |note| format!("; {}", escape_controls(note)));
                writeln!(out, "{}  booting by {by}{note}", time(at_ms))
            }
            Event::Booted { at_ms, kernel } => {
                writeln!(out, "{}  booted: Linux {}", time(at_ms), escape_controls(kernel))
            }
            Event::Stage { at_ms, name } => writeln!(out, "{}  {}", time(at_ms), escape_controls(name)),
            Event::Restored { at_ms, took_ms } => {
                writeln!(out, "{}  restored in {:.1} s", time(at_ms), *took_ms as f64 / 1000.0)
            }
            Event::Failed { at_ms, explanation, errors, log } => {
                writeln!(
                    out,
                    "{}  not restored{}",
                    time(at_ms),
                    explanation.as_ref().map_or(String::new(), |text| format!(": {text}"))
                )?;
                let lines = if errors.is_empty() { log } else { errors };
                lines.iter().try_for_each(|line| writeln!(out, "           {}", escape_controls(line)))
            }
            Event::Processes { at_ms, list, left_out } => {
                writeln!(out, "{}  processes", time(at_ms))?;
                for (depth, line) in tree(list) {
                    writeln!(
                        out,
                        "           {:>6} {} {:>6.1} s cpu {:>8} KiB  {}{}",
                        line.ns_pid,
                        escape_controls(&line.state),
                        line.cpu_ms as f64 / 1000.0,
                        line.rss_kib,
                        "  ".repeat(depth),
                        escape_controls(&line.comm)
                    )?;
                }
                if *left_out > 0 { writeln!(out, "           … and {left_out} more") } else { Ok(()) }
            }
            Event::Output { at_ms, stream, line, dropped } => {
                let name = match stream {
                    Stream::Stdin => "in",
                    Stream::Stdout => "out",
                    Stream::Stderr => "err",
                };
                if *dropped > 0 {
                    writeln!(out, "{}  {name} … {dropped} lines were too many", time(at_ms))?;
                }
                writeln!(out, "{}  {name} | {}", time(at_ms), escape_controls(line))
            }
            Event::Answer { at_ms, text, error, .. } => match error {
                Some(error) => writeln!(out, "{}  no answer: {}", time(at_ms), escape_controls(error)),
                None => {
                    writeln!(out, "{}  answer", time(at_ms))?;
                    text.lines().try_for_each(|line| writeln!(out, "           {}", escape_controls(line)))
                }
            },
            Event::Frozen { at_ms, size_bytes, took_ms } => {
                writeln!(out, "{}  frozen again in {:.1} s, {size_bytes} bytes", time(at_ms), *took_ms as f64 / 1000.0)
            }
            Event::Error { at_ms, what } => writeln!(out, "{}  error: {}", time(at_ms), escape_controls(what)),
            Event::Exited { at_ms, code, signal } => match (code, signal) {
                (Some(code), _) => writeln!(out, "{}  exited with code {code}", time(at_ms)),
                (None, Some(signal)) => writeln!(out, "{}  ended by signal {signal}", time(at_ms)),
                (None, None) => writeln!(out, "{}  ended", time(at_ms)),
            },
            Event::Stopped { at_ms, why } => {
                let why = match why {
                    Why::TimeOver => "the time is over",
                    Why::Exited => "the processes have ended",
                    Why::NotRestored => "it could not be restored",
                    Why::Told => "it was told to",
                };
                writeln!(out, "{}  stopped: {why}", time(at_ms))
            }
        }
    }
}

/// Processes with their depth, children under parents. The list comes from an untrusted machine: every process once.
fn tree(list: &[ProcessLine]) -> Vec<(usize, &ProcessLine)> {
    let mut out = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let is_root = |line: &&ProcessLine| line.ppid == line.pid || !list.iter().any(|other| other.pid == line.ppid);
    let mut next: Vec<(usize, &ProcessLine)> = list.iter().filter(is_root).rev().map(|line| (0, line)).collect();
    // What hangs in a circle has no root.
    next.splice(0..0, list.iter().rev().map(|line| (0, line)));
    while let Some((depth, line)) = next.pop() {
        if seen.insert(line.pid) {
            out.push((depth.min(40), line));
            next.extend(list.iter().rev().filter(|child| child.ppid == line.pid).map(|child| (depth + 1, child)));
        }
    }
    out
}

/// `\r`, `\n`, `\t` and `\\`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: u32, ppid: u32) -> ProcessLine {
        ProcessLine { pid, ns_pid: pid, ppid, state: "S".into(), comm: "x".into(), cpu_ms: 0, rss_kib: 0, threads: 1 }
    }

    #[test]
    fn every_process_stands_once_in_the_tree_also_in_a_circle() {
        let list = [line(3, 2), line(1, 0), line(2, 1), line(7, 8), line(8, 7)];
        let shown: Vec<(usize, u32)> = tree(&list).iter().map(|(depth, line)| (*depth, line.pid)).collect();
        assert_eq!(shown, [(0, 1), (1, 2), (2, 3), (0, 7), (1, 8)]);
    }

    #[test]
    fn escapes_of_requests_are_read() {
        assert_eq!(unescape(r"GET / HTTP/1.0\r\n\r\n\\x\"), "GET / HTTP/1.0\r\n\r\n\\x\\");
    }
}
