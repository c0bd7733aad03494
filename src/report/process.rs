//! A process and its threads in JSON.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::base::Field;
use crate::checkpoint::credentials::Credentials;
use crate::checkpoint::process::{Link, TaskState, Thread};
use crate::checkpoint::registers::Registers;
use crate::checkpoint::seccomp::Seccomp;
use crate::checkpoint::signals::{PendingSignal, Timers};
use crate::checkpoint::{Checkpoint, Process, Vma};

use super::descriptors::FdReport;
use super::maps::MapReport;
use super::value::{Limit, Map, TextAndHex, bit_set, octal_mode, optional_text, optional_texts};

/// One item of `processes`.
#[derive(Debug, Serialize)]
pub(super) struct ProcessReport<'a> {
    pid: u32,
    ppid: Option<u32>,
    pgid: Option<u32>,
    sid: Option<u32>,
    comm: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm_hex: Option<String>,
    state: Option<&'static str>,
    stop_signal: Option<u32>,
    wait_status: Option<u32>,
    cmdline: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline_hex: Option<Vec<String>>,
    environ: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environ_hex: Option<Vec<String>>,
    exe: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe_hex: Option<String>,
    cwd: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd_hex: Option<String>,
    root: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_hex: Option<String>,
    #[serde(flatten)]
    credentials: CredentialsReport<'a>,
    threads: Threads<'a>,
    umask: Option<String>,
    oom_score_adj: Option<i32>,
    rlimits: Option<Map<&'a str, [Limit; 2]>>,
    fds: Fds<'a>,
    maps: Option<Maps<'a>>,
    personality: Option<String>,
    loginuid: Option<u32>,
    signals: SignalsReport,
    timers: TimersReport,
    namespaces: Map<&'static str, u32>,
    cgroups: Option<Vec<[Cow<'a, str>; 2]>>,
    files_id: Option<u32>,
}

/// Lists that are spelled while they are written: those of one process may have a million items.
#[derive(Debug)]
struct Threads<'a>(&'a [Thread]);

impl Serialize for Threads<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ThreadReport::new))
    }
}

#[derive(Debug)]
struct Fds<'a>(&'a Checkpoint, &'a Process);

impl Serialize for Fds<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Fds(checkpoint, process) = *self;
        serializer.collect_seq(process.fds.iter().map(|fd| FdReport::new(checkpoint, process.pid, fd)))
    }
}

#[derive(Debug)]
struct Maps<'a>(&'a [Vma]);

impl Serialize for Maps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(MapReport::new))
    }
}

impl<'a> ProcessReport<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, process: &'a Process) -> ProcessReport<'a> {
        let (comm, comm_hex) = optional_text(process.comm.known());
        let (cmdline, cmdline_hex) = optional_texts(&process.cmdline);
        let (environ, environ_hex) = optional_texts(&process.environ);
        let (exe, exe_hex) = link(&process.exe);
        let (cwd, cwd_hex) = link(&process.cwd);
        let (root, root_hex) = link(&process.root);
        let state = process.state.known().copied();
        let cgroups = process.cg_set.and_then(|id| checkpoint.cgroups.set(id)).map(|set| {
            set.members.iter().map(|(controller, path)| [controller.to_lossless(), path.to_lossless()]).collect()
        });
        ProcessReport {
            pid: process.pid.0,
            ppid: process.ppid.known().map(|pid| pid.0),
            pgid: process.pgid.known().map(|pid| pid.0),
            sid: process.sid.known().map(|pid| pid.0),
            comm,
            comm_hex,
            state: state.and_then(TaskState::word),
            stop_signal: state.and_then(|state| match state {
                TaskState::Stopped { signal } => signal,
                _ => None,
            }),
            wait_status: state.and_then(|state| match state {
                TaskState::Zombie { wait_status } => wait_status,
                _ => None,
            }),
            cmdline,
            cmdline_hex,
            environ,
            environ_hex,
            exe,
            exe_hex,
            cwd,
            cwd_hex,
            root,
            root_hex,
            credentials: CredentialsReport::new(process.credentials(), process.seccomp()),
            threads: Threads(&process.threads),
            umask: process.umask.known().map(|umask| octal_mode(*umask)),
            oom_score_adj: process.oom_score_adj.known().copied(),
            rlimits: process.rlimits.known().map(|limits| {
                Map(limits.iter().map(|limit| (limit.name, [Limit(limit.soft), Limit(limit.hard)])).collect())
            }),
            fds: Fds(checkpoint, process),
            maps: process.memory.known().map(|memory| Maps(&memory.vmas)),
            personality: process.personality.known().map(|personality| format!("{personality:08x}")),
            loginuid: process.loginuid.known().copied(),
            signals: SignalsReport::new(process),
            timers: TimersReport::new(&process.timers),
            namespaces: Map(process.namespaces.iter().map(|(kind, id)| (kind.word(), id.0)).collect()),
            cgroups,
            files_id: process.files_id,
        }
    }
}

fn link(link: &Field<Link>) -> TextAndHex<'_> {
    optional_text(link.known().map(|link| &link.target))
}

/// Who a thread acts as; all `null` where nothing is recorded (a zombie).
#[derive(Debug, Serialize)]
struct CredentialsReport<'a> {
    uids: Option<[u32; 4]>,
    gids: Option<[u32; 4]>,
    groups: Option<&'a [u32]>,
    cap_eff: Option<String>,
    cap_prm: Option<String>,
    cap_inh: Option<String>,
    cap_bnd: Option<String>,
    cap_amb: Option<String>,
    no_new_privs: Option<bool>,
    seccomp_mode: Option<u32>,
    seccomp_filters: Option<usize>,
    securebits: Option<String>,
    lsm_profile: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lsm_profile_hex: Option<String>,
}

impl<'a> CredentialsReport<'a> {
    fn new(credentials: Option<&'a Credentials>, seccomp: Option<&Seccomp>) -> CredentialsReport<'a> {
        let capability = |set: fn(&Credentials) -> Option<u64>| credentials.and_then(set).map(bit_set);
        let (lsm_profile, lsm_profile_hex) = optional_text(credentials.and_then(|it| it.lsm_profile.as_ref()));
        CredentialsReport {
            uids: credentials.map(|it| it.uids),
            gids: credentials.map(|it| it.gids),
            groups: credentials.map(|it| &it.groups[..]),
            cap_eff: capability(|it| Some(it.cap_eff)),
            cap_prm: capability(|it| Some(it.cap_prm)),
            cap_inh: capability(|it| Some(it.cap_inh)),
            cap_bnd: capability(|it| Some(it.cap_bnd)),
            cap_amb: capability(|it| it.cap_amb),
            no_new_privs: credentials.and_then(|it| it.no_new_privs),
            seccomp_mode: seccomp.map(|it| it.mode),
            seccomp_filters: seccomp.map(|it| it.filters.len()),
            securebits: credentials.map(|it| format!("{:#x}", it.securebits)),
            lsm_profile,
            lsm_profile_hex,
        }
    }
}

#[derive(Debug, Serialize)]
struct ThreadReport<'a> {
    tid: u32,
    comm: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm_hex: Option<String>,
    #[serde(flatten)]
    credentials: CredentialsReport<'a>,
    blocked: Option<String>,
    pending: Vec<PendingReport>,
    sched: Option<SchedReport>,
    registers: Option<RegistersReport<'a>>,
}

impl<'a> ThreadReport<'a> {
    fn new(thread: &'a Thread) -> ThreadReport<'a> {
        let (comm, comm_hex) = optional_text(thread.comm.known());
        ThreadReport {
            tid: thread.tid.0,
            comm,
            comm_hex,
            credentials: CredentialsReport::new(thread.credentials.known(), thread.seccomp.known()),
            blocked: thread.blocked.known().map(|set| bit_set(*set)),
            pending: thread.pending.iter().map(PendingReport::new).collect(),
            sched: thread.sched.known().map(|sched| SchedReport {
                policy: sched.policy,
                policy_name: sched.policy_name,
                nice: sched.nice,
                priority: sched.priority,
            }),
            registers: thread.registers.known().map(RegistersReport::new),
        }
    }
}

#[derive(Debug, Serialize)]
struct SchedReport {
    policy: u32,
    policy_name: Option<&'static str>,
    nice: i32,
    priority: Option<u32>,
}

#[derive(Debug, Serialize)]
struct RegistersReport<'a> {
    pc: String,
    sp: String,
    tls: Option<String>,
    is_compat: bool,
    general: Map<&'a str, String>,
}

impl<'a> RegistersReport<'a> {
    fn new(registers: &'a Registers) -> RegistersReport<'a> {
        let hex = |value: u64| format!("{value:#x}");
        RegistersReport {
            pc: hex(registers.pc),
            sp: hex(registers.sp),
            tls: registers.tls.map(hex),
            is_compat: registers.is_compat,
            general: Map(registers.general.iter().map(|(name, value)| (*name, hex(*value))).collect()),
        }
    }
}

#[derive(Debug, Serialize)]
struct PendingReport {
    signal: u32,
    code: i32,
    sender_pid: Option<u32>,
    sender_uid: Option<u32>,
}

impl PendingReport {
    fn new(pending: &PendingSignal) -> PendingReport {
        PendingReport {
            signal: pending.signal,
            code: pending.code,
            sender_pid: pending.sender.map(|(pid, _)| pid),
            sender_uid: pending.sender.map(|(_, uid)| uid),
        }
    }
}

/// Sets as in /proc/PID/status; `null` where no action is recorded.
#[derive(Debug, Serialize)]
struct SignalsReport {
    pending: Vec<PendingReport>,
    ignored: Option<String>,
    caught: Option<String>,
}

impl SignalsReport {
    fn new(process: &Process) -> SignalsReport {
        let set = |wanted: fn(u64) -> bool| {
            let bits = process.signal_actions.iter().filter(|action| wanted(action.handler));
            bits.filter_map(|action| 1u64.checked_shl(action.signal.checked_sub(1)?)).fold(0, |set, bit| set | bit)
        };
        let is_recorded = !process.signal_actions.is_empty();
        SignalsReport {
            pending: process.pending.iter().map(PendingReport::new).collect(),
            ignored: is_recorded.then(|| bit_set(set(|handler| handler == 1))),
            caught: is_recorded.then(|| bit_set(set(|handler| handler > 1))),
        }
    }
}

#[derive(Debug, Serialize)]
struct TimersReport {
    interval: Vec<IntervalTimerReport>,
    posix: Vec<PosixTimerReport>,
}

#[derive(Debug, Serialize)]
struct IntervalTimerReport {
    name: &'static str,
    interval_us: u64,
    value_us: u64,
}

#[derive(Debug, Serialize)]
struct PosixTimerReport {
    id: u32,
    clock_id: u32,
    signal: u32,
    notify: u32,
    overrun: u32,
    interval_ns: u64,
    value_ns: u64,
}

impl TimersReport {
    fn new(timers: &Timers) -> TimersReport {
        let interval = timers.interval.iter().map(|timer| IntervalTimerReport {
            name: timer.name,
            interval_us: timer.interval_us,
            value_us: timer.value_us,
        });
        let posix = timers.posix.iter().map(|timer| PosixTimerReport {
            id: timer.id,
            clock_id: timer.clock_id,
            signal: timer.signal,
            notify: timer.notify,
            overrun: timer.overrun,
            interval_ns: timer.interval_ns,
            value_ns: timer.value_ns,
        });
        TimersReport { interval: interval.collect(), posix: posix.collect() }
    }
}
