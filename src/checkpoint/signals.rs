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
