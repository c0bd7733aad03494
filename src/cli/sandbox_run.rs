//! `cryoscope sandbox run`: events of a run, as lines.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::Receiver;

use super::args::{Parents, Which};
use super::compare;
use super::context::Context;
use super::interrupt;
use super::json::Escaping;
use super::sandbox_args::RunArgs;
use super::sandbox_plan::{Prepared, prepare};
use crate::base::{Cancelled, Progress, escape_controls};
use crate::sandbox::backend::Backend;
use crate::sandbox::bundle::Store;
use crate::sandbox::protocol::ProcessLine;
use crate::sandbox::run::{self, Event, Order, Watcher, Why};
use crate::sandbox::thaw::{self, Thaw};
use crate::sandbox::watched::{SocketLine, Trace};
use crate::sandbox::words::{self, LineKind};
use crate::sandbox::{container, microvm};

/// Seconds that booting and restoring may take on top of the time that was asked for.
const EXTRA_SECONDS: u64 = 900;

pub(super) fn run(args: &RunArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    // What is missing is said before the evidence is opened, which may take long.
    match args.restore.backend {
        Backend::Microvm => drop(microvm::find_qemu()?),
        Backend::Container => container::check()?,
    }
    run::guest_program()?;
    let bundle = Store::new(&context.options)?.open()?;
    let seconds = args.time.as_secs().saturating_add(EXTRA_SECONDS);
    let max_seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let Prepared { checkpoint, base, plan, review } = prepare(&args.restore, max_seconds, context)?;
    let options = context.options.clone();
    let connect =
        args.connect.map(|address| Order::Connect { id: 1, address: address.to_string(), send: unescape(&args.send) });
    let orders = args.orders.then(Orders::read).transpose()?;
    let mut printer = Printer {
        context,
        failed: None,
        connect,
        orders,
        is_ready: false,
        is_stepping: false,
        is_stopped: args.stopped,
        is_traced: args.trace.is_some(),
    };
    let thaw = Thaw {
        backend: args.restore.backend,
        bundle: &bundle,
        plan: &plan,
        review: &review,
        checkpoint: &checkpoint,
        base: base.as_ref(),
        time: args.time,
        checkpoint_to: args.checkpoint_to.as_deref(),
        packets_to: args.pcap.as_deref(),
        trace: args.trace.as_ref().unwrap_or(&Trace::Addresses),
        is_stopped: args.stopped,
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
    let Some(path) = &args.checkpoint_to else { return Ok(()) };
    let after = context.one(path, &Which::default(), &Parents::default())?;
    let changes = compare::between(checkpoint, after, &Interrupt)?;
    if context.json { context.write_json_line(&changes) } else { compare::print(&changes, context) }
}

/// Ctrl+C ends the run; there is no bar, since events are printed.
struct Interrupt;

impl Progress for Interrupt {
    fn step(&self, _done: u64, _total: Option<u64>) -> Result<(), Cancelled> {
        if interrupt::is_pressed() { Err(Cancelled) } else { Ok(()) }
    }
}

/// Orders from standard input, read on a thread of its own: they come when somebody writes them.
struct Orders {
    lines: Receiver<String>,
}

impl Orders {
    fn read() -> io::Result<Orders> {
        let (sender, lines) = std::sync::mpsc::sync_channel(16);
        let work = move || {
            for line in io::stdin().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("orders".into()).spawn(work)?;
        Ok(Orders { lines })
    }

    /// The next one. What is none is passed over, and said; without more, the run ends where it stands still.
    fn next(&self) -> Option<Order> {
        loop {
            let line = self.lines.try_recv().ok()?;
            match parse_order(&line) {
                Some(order) => return Some(order),
                None => tracing::warn!("no order: {} (pause, resume, step 200ms, end, stop)", escape_controls(&line)),
            }
        }
    }
}

/// `pause`, `resume`, `step 200ms`, `end`, `stop`.
fn parse_order(line: &str) -> Option<Order> {
    let mut words = line.split_ascii_whitespace();
    let order = match (words.next()?, words.next()) {
        ("pause", None) => Order::Pause,
        ("resume", None) => Order::Resume,
        ("step", Some(time)) => Order::Step { ms: parse_step(time)? },
        ("end", None) => Order::End,
        ("stop", None) => Order::Stop,
        _ => return None,
    };
    words.next().is_none().then_some(order)
}

/// `200ms`, `2s`.
fn parse_step(text: &str) -> Option<u64> {
    let ms = match text.strip_suffix("ms") {
        Some(number) => number.parse().ok()?,
        None => text.strip_suffix('s')?.parse::<u64>().ok()?.checked_mul(1000)?,
    };
    (1..=86_400_000).contains(&ms).then_some(ms)
}

/// Prints events as they come.
struct Printer<'a, 'b> {
    context: &'a mut Context<'b>,
    failed: Option<io::Error>,
    connect: Option<Order>,
    orders: Option<Orders>,
    is_ready: bool,
    /// The next order waits until a step is over.
    is_stepping: bool,
    is_stopped: bool,
    /// Attempts stand among the system calls.
    is_traced: bool,
}

impl Watcher for Printer<'_, '_> {
    fn event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            // What starts stopped says so right after it was restored.
            Event::Restored { .. } => self.is_ready = !self.is_stopped,
            Event::Paused { is_paused: true, .. } => (self.is_ready, self.is_stepping) = (true, false),
            _ => {}
        }
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
        if !self.is_ready || self.is_stepping {
            return None;
        }
        let order = self.connect.take().or_else(|| self.orders.as_ref()?.next())?;
        self.is_stepping = matches!(order, Order::Step { .. });
        Some(order)
    }
}

impl Printer<'_, '_> {
    fn json(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(Escaping(&mut *self.context.out), event)?;
        writeln!(self.context.out)
    }

    fn text(&mut self, event: &Event) -> io::Result<()> {
        if self.is_traced && matches!(event, Event::Attempt { .. }) {
            return Ok(());
        }
        let out = &mut *self.context.out;
        let time = format!("{:>7.1} s", event.at_ms() as f64 / 1000.0);
        for line in words::lines(event) {
            let text = escape_controls(&line.text);
            match line.kind {
                LineKind::Machine | LineKind::Deed => writeln!(out, "{time}  {text}")?,
                LineKind::Output(stream) => writeln!(out, "{time}  {} | {text}", stream.word())?,
                LineKind::Error => writeln!(out, "{time}  error: {text}")?,
                LineKind::Detail => writeln!(out, "           {text}")?,
            }
        }
        match event {
            Event::Processes { list, left_out, .. } => processes(list, *left_out, out),
            Event::OpenFiles { list, .. } => list.iter().try_for_each(|file| {
                writeln!(out, "           {:>6} {:>4}  {}", file.pid, file.fd, escape_controls(&file.target))
            }),
            Event::Sockets { list, .. } => list.iter().try_for_each(|socket| {
                let SocketLine { proto, local, remote, state, .. } = socket;
                writeln!(out, "           {}", escape_controls(&format!("{proto:<5} {state:<10} {local} {remote}")))
            }),
            _ => Ok(()),
        }
    }
}

fn processes(list: &[ProcessLine], left_out: u32, out: &mut dyn io::Write) -> io::Result<()> {
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
    if left_out > 0 { writeln!(out, "           … and {left_out} more") } else { Ok(()) }
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
    fn orders_are_read() {
        assert_eq!(parse_order(" pause "), Some(Order::Pause));
        assert_eq!(parse_order("step 200ms"), Some(Order::Step { ms: 200 }));
        assert_eq!(parse_order("step 2s"), Some(Order::Step { ms: 2000 }));
        for bad in ["", "step", "step 0ms", "step 5", "pause now", "step 1s 2", "step 99999999999999999999s", "STOP"] {
            assert_eq!(parse_order(bad), None, "{bad}");
        }
    }

    #[test]
    fn escapes_of_requests_are_read() {
        assert_eq!(unescape(r"GET / HTTP/1.0\r\n\r\n\\x\"), "GET / HTTP/1.0\r\n\r\n\\x\\");
    }
}
