//! Signal handlers, pending signals, timers.

/// What a process does on one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalAction {
    /// 1 to 64; 9 and 19 (SIGKILL, SIGSTOP) have none.
    pub signal: u32,
    /// 0 default, 1 ignore, else the handler's address.
    pub handler: u64,
    /// `SA_` bits.
    pub flags: u64,
    /// Return trampoline.
    pub restorer: u64,
    /// Signals blocked while the handler runs: bit N-1 for signal N.
    pub mask: u64,
}

/// A signal that has been sent and not yet delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSignal {
    /// Number.
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// Sender, where the code says that there is one.
    pub sender: Option<(u32, u32)>,
    /// The raw `siginfo`, 128 bytes.
    pub siginfo: bytes::Bytes,
}

/// Timers of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// `setitimer`: SIGALRM, SIGVTALRM, SIGPROF, where armed.
    pub interval: Vec<IntervalTimer>,
    /// `timer_create`.
    pub posix: Vec<PosixTimer>,
}

/// One interval timer; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalTimer {
    /// `ITIMER_REAL`, `ITIMER_VIRTUAL` or `ITIMER_PROF`.
    pub name: &'static str,
    /// Between expirations; 0 for once.
    pub interval_us: u64,
    /// Left until the next.
    pub value_us: u64,
}

/// One POSIX timer; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PosixTimer {
    /// Number in the process.
    pub id: u32,
    /// `CLOCK_` number.
    pub clock_id: u32,
    /// Signal that it sends.
    pub signal: u32,
    /// `SIGEV_` number.
    pub notify: u32,
    /// Value handed to the handler.
    pub sival: u64,
    /// Missed expirations.
    pub overrun: u32,
    /// Between expirations; 0 for once.
    pub interval_ns: u64,
    /// Left until the next; 0 when disarmed.
    pub value_ns: u64,
}

use crate::base::{ByteOrder, Cursor};
use crate::decode::{Arch, schema};

/// Actions in the order of their signals.
pub(super) fn actions<'a>(entries: impl Iterator<Item = &'a schema::SaEntry>, arch: Arch) -> Vec<SignalAction> {
    entries
        .take(126)
        .enumerate()
        .map(|(index, entry)| SignalAction {
            // The list has no place for SIGKILL and SIGSTOP.
            signal: arch.signal_of_sigaction(u32::try_from(index).unwrap_or(u32::MAX)),
            handler: entry.sigaction,
            flags: entry.flags,
            restorer: entry.restorer,
            mask: entry.mask,
        })
        .collect()
}

impl PendingSignal {
    /// From the kernel's `siginfo`: 128 bytes; `None` when it is shorter than its head.
    pub(super) fn from_siginfo(siginfo: &bytes::Bytes, order: ByteOrder, arch: Arch) -> Option<PendingSignal> {
        let mut cursor = Cursor::new(siginfo, order);
        let signal = cursor.u32("si_signo").ok()?;
        let second = cursor.u32("si_errno").ok()?;
        let third = cursor.u32("si_code").ok()?;
        let code = if arch == Arch::Mips { second } else { third }.cast_signed();
        // 32-bit hosts have no hole before the union.
        let _hole = if arch == Arch::Arm { Ok(0) } else { cursor.u32("padding") };
        let pid = cursor.u32("si_pid").ok();
        let uid = cursor.u32("si_uid").ok();
        // Sent by kill, tkill or sigqueue, or by the exit of a child; timers use the place otherwise.
        let has_sender = (code <= 0 && code != -2) || signal == 17;
        let sender = pid.zip(uid).filter(|_| has_sender);
        Some(PendingSignal { signal, code, sender, siginfo: siginfo.clone() })
    }
}

/// Pending signals of one queue.
pub(super) fn pending(queue: Option<&schema::SignalQueueEntry>, order: ByteOrder, arch: Arch) -> Vec<PendingSignal> {
    let signals = queue.map(|queue| queue.signals.as_slice()).unwrap_or_default();
    signals.iter().filter_map(|entry| PendingSignal::from_siginfo(&entry.siginfo, order, arch)).collect()
}

impl Timers {
    /// From the entry of a process, or from the three interval timers and the POSIX timers that
    /// older releases wrote to files of their own.
    pub(super) fn new<'a>(
        interval: impl Iterator<Item = &'a schema::ItimerEntry>,
        posix: impl Iterator<Item = &'a schema::PosixTimerEntry>,
    ) -> Timers {
        let names = ["ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"];
        let micros = |sec: u64, usec: u64| sec.saturating_mul(1_000_000).saturating_add(usec);
        let nanos = |sec: u64, nsec: u64| sec.saturating_mul(1_000_000_000).saturating_add(nsec);
        let interval = names
            .into_iter()
            .zip(interval)
            .map(|(name, entry)| IntervalTimer {
                name,
                interval_us: micros(entry.isec, entry.iusec),
                value_us: micros(entry.vsec, entry.vusec),
            })
            .filter(|timer| timer.interval_us != 0 || timer.value_us != 0)
            .collect();
        let posix = posix
            .map(|entry| PosixTimer {
                id: entry.it_id,
                clock_id: entry.clock_id,
                signal: entry.si_signo,
                notify: entry.it_sigev_notify,
                sival: entry.sival_ptr,
                overrun: entry.overrun,
                interval_ns: nanos(entry.isec, entry.insec),
                value_ns: nanos(entry.vsec, entry.vnsec),
            })
            .collect();
        Timers { interval, posix }
    }
}
