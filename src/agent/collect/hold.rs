//! Processes that stand still while they are read, and the registers of their threads.
//!
//! By ptrace(2), as CRIU does it: nothing is sent to them, and the kernel lets them go on when the thread that holds them ends,
//! be it by kill -9. A call that they sleep in may end early (EINTR).

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::agent::processes::{self, proc_file};
use crate::decode::schema;

use super::Issues;
use super::process::numbers_in;

/// A thread that sleeps where nothing wakes it stops no sooner than it wakes.
const PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(1);
/// Threads may begin while others are stopped, so often.
const MAX_ROUNDS: usize = 50;

/// Processes that are held until this is dropped, by the thread that made it.
#[derive(Debug)]
pub struct Held {
    threads: BTreeMap<u32, Thread>,
    /// ptrace(2) knows a tracer by its thread.
    _not_send: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Thread {
    /// Was about to be delivered.
    signal: Option<Signal>,
    /// A signal had stopped its process before.
    is_stopped: bool,
    registers: Option<schema::ThreadInfoX86>,
}

impl Held {
    /// Stops all threads of the processes that `list` gives, which is asked again until there are no others. Threads that cannot
    /// be stopped go on, and are told.
    pub fn new(list: impl Fn() -> Vec<u32>, issues: &mut Issues) -> Held {
        let mut held = Held { threads: BTreeMap::new(), _not_send: PhantomData };
        let mut refused = BTreeSet::new();
        for _ in 0..MAX_ROUNDS {
            let pids = list().into_iter().filter(|pid| *pid != std::process::id());
            let tids = pids.flat_map(|pid| numbers_in(&proc_file(pid, "task")));
            let new: Vec<u32> = tids.filter(|tid| !held.threads.contains_key(tid) && !refused.contains(tid)).collect();
            if new.is_empty() {
                return held;
            }
            for (tid, why) in held.stop(&new) {
                refused.insert(tid);
                if let Some(why) = why {
                    issues.add(format!("thread {tid} of the node goes on while it is read: {why}"));
                }
            }
        }
        issues.add("threads begin faster than they can be stopped: some go on".to_owned());
        held
    }

    /// Those that are not stopped, and why; without a reason those that have ended.
    fn stop(&mut self, tids: &[u32]) -> Vec<(u32, Option<String>)> {
        let mut refused = Vec::new();
        let mut asked = Vec::new();
        for tid in tids {
            let seized = ptrace::seize(pid(*tid), ptrace::Options::empty()).and_then(|()| ptrace::interrupt(pid(*tid)));
            match seized {
                Ok(()) => asked.push(*tid),
                Err(Errno::ESRCH) => refused.push((*tid, None)),
                // Ended, and not yet waited for.
                Err(Errno::EPERM) if processes::is_zombie(*tid) => refused.push((*tid, None)),
                Err(error) => refused.push((*tid, Some(format!("it cannot be stopped ({error}); is it traced?")))),
            }
        }
        let until = Instant::now() + PATIENCE;
        while !asked.is_empty() {
            asked.retain(|tid| match stopped(*tid) {
                Ok(None) => true,
                Ok(Some(thread)) => {
                    self.threads.insert(*tid, thread);
                    false
                }
                Err(_ended) => {
                    refused.push((*tid, None));
                    false
                }
            });
            if until < Instant::now() {
                let why = format!("it did not stop within {PATIENCE:?}");
                refused.extend(asked.drain(..).map(|tid| (tid, Some(why.clone()))));
            }
            if !asked.is_empty() {
                std::thread::sleep(TICK);
            }
        }
        refused
    }

    /// Whether a signal had stopped this process before it was held; `None` for one that is not.
    pub(super) fn was_stopped(&self, pid: u32) -> Option<bool> {
        self.threads.get(&pid).map(|thread| thread.is_stopped)
    }

    /// The registers of a thread.
    pub(super) fn registers(&self, tid: u32) -> Option<schema::ThreadInfoX86> {
        self.threads.get(&tid)?.registers.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (tid, thread) in &self.threads {
            // One that was killed meanwhile is gone.
            let _ = ptrace::detach(pid(*tid), thread.signal);
        }
    }
}

/// `None` for one that runs yet.
fn stopped(tid: u32) -> Result<Option<Thread>, Errno> {
    let (signal, is_stopped) = match waitpid(pid(tid), Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL))? {
        WaitStatus::StillAlive => return Ok(None),
        WaitStatus::Stopped(_, signal) => (Some(signal), false),
        // A trap is our own interruption, another signal a stop of the whole process.
        WaitStatus::PtraceEvent(_, signal, _) => (None, signal != Signal::SIGTRAP),
        WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Err(Errno::ESRCH),
        WaitStatus::Continued(_) | WaitStatus::PtraceSyscall(_) => (None, false),
    };
    Ok(Some(Thread { signal, is_stopped, registers: registers(pid(tid)) }))
}

fn pid(number: u32) -> Pid {
    // Such a number is no process, and the kernel says so.
    Pid::from_raw(i32::try_from(number).unwrap_or(i32::MAX))
}

/// Of other processors none are read yet.
#[cfg(not(target_arch = "x86_64"))]
fn registers(_tid: Pid) -> Option<schema::ThreadInfoX86> {
    None
}

/// Not of a 32-bit program: the kernel gives its floating-point registers in another shape.
#[cfg(target_arch = "x86_64")]
fn registers(tid: Pid) -> Option<schema::ThreadInfoX86> {
    const USER32_CS: u64 = 0x23;
    let general = ptrace::getregs(tid).ok().filter(|general| general.cs != USER32_CS)?;
    let float = ptrace::getregset::<ptrace::regset::NT_PRFPREG>(tid).ok()?;
    let gpregs = schema::UserX86RegsEntry {
        r15: general.r15,
        r14: general.r14,
        r13: general.r13,
        r12: general.r12,
        bp: general.rbp,
        bx: general.rbx,
        r11: general.r11,
        r10: general.r10,
        r9: general.r9,
        r8: general.r8,
        ax: general.rax,
        cx: general.rcx,
        dx: general.rdx,
        si: general.rsi,
        di: general.rdi,
        orig_ax: general.orig_rax,
        ip: general.rip,
        cs: general.cs,
        flags: general.eflags,
        sp: general.rsp,
        ss: general.ss,
        fs_base: general.fs_base,
        gs_base: general.gs_base,
        ds: general.ds,
        es: general.es,
        fs: general.fs,
        gs: general.gs,
        mode: Some(schema::UserX86RegsMode::Native.into()),
    };
    let fpregs = schema::UserX86FpregsEntry {
        cwd: float.cwd.into(),
        swd: float.swd.into(),
        twd: float.ftw.into(),
        fop: float.fop.into(),
        rip: float.rip,
        rdp: float.rdp,
        mxcsr: float.mxcsr,
        mxcsr_mask: float.mxcr_mask,
        st_space: float.st_space.to_vec(),
        xmm_space: float.xmm_space.to_vec(),
        ..schema::UserX86FpregsEntry::default()
    };
    Some(schema::ThreadInfoX86 { gpregs, fpregs, ..schema::ThreadInfoX86::default() })
}
