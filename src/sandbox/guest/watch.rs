//! Who runs, and who has ended.

use super::boot::{pids, read};
use crate::sandbox::protocol::{FromGuest, MAX_PROCESSES, ProcessLine};

/// Kernel's clock of /proc: a hundred ticks a second on every architecture that the bundle has.
const MS_A_TICK: u64 = 10;
/// Without any change the list is told again after so many looks.
const REPEAT: u32 = 10;

/// The list that was told last.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Vec<ProcessLine>,
    unchanged: u32,
}

impl Watch {
    /// The list, when it differs from what was told.
    pub(super) fn look(&mut self, at_ms: u64) -> Option<FromGuest> {
        let pids = pids();
        let left_out = u32::try_from(pids.len().saturating_sub(MAX_PROCESSES)).unwrap_or(u32::MAX);
        let list: Vec<ProcessLine> = pids.into_iter().take(MAX_PROCESSES).filter_map(line).collect();
        self.unchanged += 1;
        if list == self.last && self.unchanged < REPEAT {
            return None;
        }
        self.unchanged = 0;
        self.last.clone_from(&list);
        Some(FromGuest::Processes { at_ms, list, left_out })
    }
}

fn line(pid: u32) -> Option<ProcessLine> {
    let stat = read(&format!("/proc/{pid}/stat")).ok()?;
    let ns_pid = Names::look(pid)?.pid;
    parse(pid, ns_pid.unwrap_or(pid), &stat)
}

/// How the container calls a thread of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Its process.
    pub(super) pid: Option<u32>,
    /// Itself.
    pub(super) tid: Option<u32>,
    /// Its short name.
    pub(super) comm: String,
}

impl Names {
    /// `None` when it is gone.
    pub(super) fn look(tid: u32) -> Option<Names> {
        let status = read(&format!("/proc/{tid}/status")).ok()?;
        let comm = read(&format!("/proc/{tid}/comm")).ok()?;
        let inner = |key: &str| {
            let list = status.lines().find_map(|line| line.strip_prefix(key))?;
            list.split_ascii_whitespace().last()?.parse().ok()
        };
        Some(Names { pid: inner("NStgid:"), tid: inner("NSpid:"), comm: comm.trim_end_matches('\n').to_owned() })
    }
}

/// The fields of /proc/PID/stat; the name in it may hold anything but ends at the last parenthesis.
fn parse(pid: u32, ns_pid: u32, stat: &str) -> Option<ProcessLine> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, comm) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    // `after` starts with field 3 of proc(5).
    let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
    let number = |at: usize| field(at).and_then(|text| text.parse::<u64>().ok());
    Some(ProcessLine {
        pid,
        ns_pid,
        ppid: u32::try_from(number(4)?).ok()?,
        state: field(3)?.to_owned(),
        comm: comm.to_owned(),
        cpu_ms: number(14)?.saturating_add(number(15)?).saturating_mul(MS_A_TICK),
        rss_kib: number(24)?.saturating_mul(4),
        threads: u32::try_from(number(20)?).ok()?,
    })
}

/// Takes note of every child that has ended; how the root process did, if it was among them.
pub(super) fn reap(root: Option<u32>) -> Option<(Option<i32>, Option<i32>)> {
    let mut out = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
        if u32::try_from(pid.as_raw_nonzero().get()).ok() == root {
            out = Some((status.exit_status(), status.terminating_signal()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_holds() {
        let stat = "312 (a) R (b) S 311 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 40 1000 25 18446744073709551615";
        let line = parse(312, 7, stat).unwrap();
        assert_eq!((line.comm.as_str(), line.state.as_str(), line.ppid), ("a) R (b", "S", 311));
        assert_eq!((line.cpu_ms, line.threads, line.rss_kib, line.ns_pid), (2000, 3, 100, 7));
        assert_eq!(parse(1, 1, "1 (x"), None);
        assert_eq!(parse(1, 1, "1 (x) S 1"), None);
    }
}
