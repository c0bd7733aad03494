//! The program inside the machine or the container: init and agent (`cryoscope-guest`).
//!
//! # Steps
//! 1. `boot`: mounts, a root that can be pivoted, modules, the loopback device, the disk with a writable layer over it.
//! 2. It opens the one channel and says hello ([`super::protocol`]).
//! 3. `restore`: on the host's word it lays stand-ins ready and runs criu, after which the processes stand still.
//! 4. `sink`: the sealed network, where one is planned. `trace`: system calls are watched from the first one on. Then the processes go on, unless the host wants them stopped.
//! 5. `watch`: processes, and who has ended; `files`: open files, sockets, changed files; `output`: lines of the container;
//!    `connect`: talks to it over its network; `freeze`: takes a new checkpoint.
//! 6. When the host is gone the machine stops.
//!
//! In a container it is the same but for steps 1 and 2, which are `contain`'s, and for system calls, which are those of this
//! machine's kernel and not watched.
//!
//! It is linked to a loader at a path of its own ([`LOADER`]): the host that built it may have another C library than the
//! bundle, so its own goes into the machine with it.

mod boot;
mod connect;
pub(in crate::sandbox) mod contain;
mod files;
mod freeze;
mod modules;
mod output;
mod restore;
mod sink;
mod trace;
mod watch;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;

use super::container::Confinement;
use super::plan::{Netns, RestorePlan};
use super::protocol::{self, FromGuest, FromHost, MAX_FROM_GUEST, MAX_FROM_HOST, VERSION};
use super::watched::Watching;

/// Directory of its loader and libraries in the machine; the linker is told in `src/build.rs`.
pub const LIBRARIES: &str = "cryoscope/lib";
/// Its loader in the machine.
pub const LOADER: &str = "cryoscope/lib/ld.so";
/// Its name as the `tar` of a container.
pub const GUEST_TAR: &str = "cryoscope/bin/tar";
/// Where the disk is mounted.
const EVIDENCE: &str = "/evidence";
/// Where the root file system of the container is.
const CONTAINER: &str = "/container";
/// Files of the agent.
const RUN: &str = "/run/cryoscope";
/// How often it looks at the processes.
const INTERVAL: Duration = Duration::from_millis(500);
/// Looks at processes for each one at files, which takes longer.
const LOOKS_PER_FILES: u32 = 2;

/// What goes wrong in the machine.
#[derive(Debug, Error)]
enum GuestError {
    #[error("cannot {what} {path}: {source}")]
    File { what: &'static str, path: String, source: io::Error },
    #[error("{program} {args} ended with {status}: {said}")]
    Program { program: String, args: String, status: String, said: String },
    #[error("criu cannot freeze again what runs in a container: it may not read filters of system calls there")]
    NoFreeze,
    #[error("the machine has no port named {}", protocol::PORT)]
    NoPort,
    #[error(transparent)]
    Channel(#[from] protocol::ChannelError),
}

impl GuestError {
    fn file<E: Into<io::Error>>(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> GuestError {
        let path = path.as_ref().display().to_string();
        move |source| GuestError::File { what, path, source: source.into() }
    }
}

/// The host's end of the channel, shared by the threads that say something.
#[derive(Clone, Debug)]
struct Host(Arc<Mutex<File>>);

impl Host {
    fn say(&self, message: &FromGuest) {
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A channel that is broken is seen where it is read.
        let _ = protocol::write(&mut *port, message, MAX_FROM_GUEST);
    }

    fn stage(&self, name: &str) {
        self.say(&FromGuest::Stage { name: name.to_owned() });
    }
}

/// The moment from which times are counted: the processes go on, or could. The trace has a mark of its own for it.
#[derive(Clone, Debug, Default)]
struct Start(Arc<OnceLock<(Instant, u64)>>);

impl Start {
    fn set_now(&self) {
        let _ = self.0.set((Instant::now(), clock_us()));
    }

    /// Microseconds since then; 0 before.
    fn elapsed_us(&self) -> u64 {
        self.0.get().map_or(0, |(at, _)| micros(at.elapsed()))
    }

    /// The machine's clock, in microseconds since 1970; whoever sets it after the start does not move it.
    fn clock_us(&self) -> u64 {
        self.0.get().map_or_else(clock_us, |(_, clock)| clock.saturating_add(self.elapsed_us()))
    }
}

fn clock_us() -> u64 {
    micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// What the agent is the first process of.
#[derive(Clone, Debug)]
enum Holder {
    /// A machine with a kernel of its own.
    Machine,
    /// Namespaces of this kernel.
    Container(Confinement),
}

impl Holder {
    fn is_container(&self) -> bool {
        matches!(self, Holder::Container(_))
    }

    /// Hierarchies in which the container has a cgroup.
    fn hierarchies(&self) -> Vec<String> {
        match self {
            Holder::Machine => vec![boot::CGROUPS.to_owned()],
            Holder::Container(confinement) => contain::hierarchies(confinement),
        }
    }
}

/// Runs as the first process of the machine, as its `modprobe`, or as a part of a container (see `contain`); as the first
/// of a machine it does not return.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().map(std::path::PathBuf::from).unwrap_or_default();
    match name.file_name().and_then(|name| name.to_str()) {
        Some("modprobe") => return modules::modprobe(args),
        Some("tar") => return contain::tar(args),
        _ => {}
    }
    let words: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [contain::KEEP, told] => contain::keep(told),
        [contain::ENTER, root, told] => contain::enter(root, told),
        [contain::AGENT, told] if std::process::id() == 1 => in_container(told),
        _ => return in_machine(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cryoscope-guest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The agent of a container. When it returns the kernel kills the rest.
fn in_container(told: &str) -> Result<(), GuestError> {
    let confinement: Confinement =
        serde_json::from_str(told).map_err(|error| GuestError::file("read", "what the agent is told")(error))?;
    let channel = contain::channel()?;
    contain::early(&confinement)?;
    serve(channel, Holder::Container(confinement))
}

fn in_machine() -> ExitCode {
    if std::process::id() != 1 {
        let _ =
            writeln!(io::stderr(), "cryoscope-guest runs inside the sandbox's machine only; see `cryoscope sandbox`");
        return ExitCode::from(2);
    }
    if let Err(error) = boot::early().and_then(|()| serve(boot::open_port()?, Holder::Machine)) {
        let _ = writeln!(io::stderr(), "cryoscope-guest: {error}");
    }
    // The first process must not end: the kernel would panic where it shall stop.
    loop {
        let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Does as the host says, until it is gone.
fn serve(port: File, holder: Holder) -> Result<(), GuestError> {
    let mut from_host = port.try_clone().map_err(GuestError::file("duplicate", "port"))?;
    let host = Host(Arc::new(Mutex::new(port)));
    host.say(&FromGuest::Hello { version: VERSION, kernel: boot::kernel_release(), uptime_ms: boot::uptime_ms() });
    let (sender, messages) = mpsc::sync_channel(64);
    let listen = move || {
        // An end or an error drops the sender, and the machine stops.
        while let Ok(Some(message)) = protocol::read::<FromHost>(&mut from_host, MAX_FROM_HOST) {
            if sender.send(message).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("host".into()).spawn(listen).map_err(GuestError::file("start", "a thread"))?;
    let mut agent = Agent::new(host, holder);
    loop {
        match messages.recv_timeout(agent.patience()) {
            Ok(message) => {
                if let Err(error) = agent.handle(message) {
                    agent.host.say(&FromGuest::Error { what: protocol::cut(error.to_string()) });
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
        agent.pause_if_due();
        agent.look();
    }
}

/// What the agent knows.
#[derive(Debug)]
struct Agent {
    host: Host,
    holder: Holder,
    root_pid: Option<u32>,
    plan: Option<Box<RestorePlan>>,
    restored: Option<Instant>,
    watch: watch::Watch,
    files: files::Files,
    tracer: Option<trace::Tracer>,
    /// When a step is over.
    pause_at: Option<Instant>,
    nr_looks: u32,
}

impl Agent {
    fn new(host: Host, holder: Holder) -> Agent {
        Agent {
            host,
            holder,
            root_pid: None,
            plan: None,
            restored: None,
            watch: watch::Watch::default(),
            files: files::Files::default(),
            tracer: None,
            pause_at: None,
            nr_looks: 0,
        }
    }

    fn handle(&mut self, message: FromHost) -> Result<(), GuestError> {
        match message {
            FromHost::Restore { plan, watching } => self.restore(plan, &watching),
            FromHost::Pause => self.pause(true),
            FromHost::Resume => self.pause(false),
            FromHost::Step { ms } => {
                self.pause(false)?;
                self.pause_at = Instant::now().checked_add(Duration::from_millis(ms));
                Ok(())
            }
            FromHost::Finish => self.finish(),
            FromHost::Connect { id, address, send } => {
                connect::start(self.host.clone(), self.root_pid, id, address, send);
                Ok(())
            }
            FromHost::Freeze { leave_running } => match (self.root_pid, &self.plan) {
                _ if self.holder.is_container() => Err(GuestError::NoFreeze),
                (Some(pid), Some(plan)) => freeze::freeze(pid, leave_running, plan, &self.host),
                _ => Ok(()),
            },
        }
    }

    fn restore(&mut self, plan: Box<RestorePlan>, watching: &Watching) -> Result<(), GuestError> {
        let started = Instant::now();
        self.host.stage("preparing");
        let ready = match &self.holder {
            Holder::Machine => boot::late(&self.host),
            Holder::Container(confinement) => contain::late(confinement),
        };
        let outcome = ready.and_then(|()| restore::restore(&plan, &self.holder, &self.host));
        let pid = match outcome {
            Ok(restore::Outcome::Restored { pid }) => pid,
            Ok(restore::Outcome::Failed { errors, log }) => {
                self.host.say(&FromGuest::Failed { errors, log });
                return Ok(());
            }
            Err(error) => {
                let errors = vec![protocol::cut(error.to_string())];
                self.host.say(&FromGuest::Failed { errors, log: Vec::new() });
                return Ok(());
            }
        };
        if plan.netns == Netns::InImages {
            self.or_say(restore::unlock_network(pid));
        }
        if self.holder.is_container() {
            self.or_say(contain::set_host_name(pid));
        }
        let start = Start::default();
        if let Err(error) = restore::join_sink(&plan, watching, pid, &start, &self.host) {
            // Without the network that was planned nothing goes on.
            let errors = vec![protocol::cut(format!("the sink cannot be had: {error}"))];
            self.host.say(&FromGuest::Failed { errors, log: Vec::new() });
            return Ok(());
        }
        self.files = files::Files::start(&plan);
        if !self.holder.is_container() {
            self.tracer = self.or_say(trace::Tracer::start(&watching.trace, self.host.clone()));
        }
        self.root_pid = Some(pid);
        self.plan = Some(plan);
        if self.tracer.is_some() {
            self.or_say(trace::Tracer::mark());
        }
        start.set_now();
        let clock_us = start.clock_us();
        if !watching.is_stopped {
            boot::freeze_cgroup(false)?;
        }
        self.restored = Some(Instant::now());
        self.host.say(&FromGuest::Restored { pid, took_ms: millis(started.elapsed()), clock_us });
        if watching.is_stopped {
            self.host.say(&FromGuest::Paused { is_paused: true });
        }
        Ok(())
    }

    /// What fails beside the restore is told, and all else goes on.
    fn or_say<T>(&self, result: Result<T, GuestError>) -> Option<T> {
        result.map_err(|error| self.host.say(&FromGuest::Error { what: protocol::cut(error.to_string()) })).ok()
    }

    fn pause(&mut self, is_paused: bool) -> Result<(), GuestError> {
        self.pause_at = None;
        boot::freeze_cgroup(is_paused)?;
        self.host.say(&FromGuest::Paused { is_paused });
        Ok(())
    }

    /// How long to wait for the host.
    fn patience(&self) -> Duration {
        let until = self.pause_at.map(|at| at.saturating_duration_since(Instant::now()));
        until.map_or(INTERVAL, |until| until.min(INTERVAL))
    }

    fn pause_if_due(&mut self) {
        if self.pause_at.is_some_and(|at| at <= Instant::now()) {
            let result = self.pause(true);
            self.or_say(result);
        }
    }

    /// The last words: nothing happens any more, and all that did has been told.
    fn finish(&mut self) -> Result<(), GuestError> {
        boot::freeze_cgroup(true)?;
        if self.restored.is_some() {
            self.files.look(self.root_pid, &self.host);
        }
        if let Some(tracer) = &self.tracer {
            tracer.flush();
        }
        if self.plan.as_ref().is_some_and(|plan| plan.sink.is_some()) {
            std::thread::sleep(sink::SETTLED);
        }
        self.host.say(&FromGuest::Finished);
        Ok(())
    }

    /// Looks at the processes, and says what is new.
    fn look(&mut self) {
        let ended = watch::reap(self.root_pid);
        let Some(restored) = self.restored else { return };
        if let Some(message) = self.watch.look(millis(restored.elapsed())) {
            self.host.say(&message);
        }
        self.nr_looks = self.nr_looks.wrapping_add(1);
        if self.nr_looks.is_multiple_of(LOOKS_PER_FILES) {
            self.files.look(self.root_pid, &self.host);
        }
        if let Some((code, signal)) = ended {
            self.files.look(None, &self.host);
            if let Some(tracer) = &self.tracer {
                tracer.flush();
            }
            self.host.say(&FromGuest::Exited { code, signal });
            self.root_pid = None;
            self.restored = None;
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
