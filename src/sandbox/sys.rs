//! What has to be said to the kernel around fork and exec. The one place with unsafe code of the sandbox.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::UnshareFlags;

/// Bounds of a program that is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Address space in bytes.
    pub(super) address_space: u64,
    /// Seconds of processor time.
    pub(super) cpu_seconds: u64,
}

/// Hands `command` open files by number: the first of `files` becomes `first`, the next one `first + 1`, and so on. With
/// bounds it ends with the thread that starts it, too.
///
/// That thread must live as long as it shall: the kernel counts threads, not processes.
pub(super) fn confine(command: &mut Command, files: Vec<OwnedFd>, first: RawFd, bounds: Option<Bounds>) {
    let parent = rustix::process::getpid();
    let setup = move || {
        if let Some(bounds) = bounds {
            end_with(parent)?;
            for (resource, limit) in
                [(Resource::Core, 0), (Resource::As, bounds.address_space), (Resource::Cpu, bounds.cpu_seconds)]
            {
                rustix::process::setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
            }
        }
        // In two rounds, so that no number is taken over while it is still to be copied.
        let mut above = [-1; MAX_FILES];
        for (file, slot) in files.iter().zip(&mut above) {
            let copy = rustix::io::fcntl_dupfd_cloexec(file, first + MAX_FILES as RawFd)?;
            *slot = copy.as_raw_fd();
            std::mem::forget(copy);
        }
        for (number, copy) in (first..).zip(above).take(files.len()) {
            dup_onto(copy, number)?;
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec. It makes system calls through rustix, which allocates nothing and
    // takes no lock; the files it owns were opened before.
    // JUSTIFICATION: std has no safe way to set a death signal and limits, or to hand over files by number.
    #[expect(unsafe_code, reason = "pre_exec is unsafe; see above")]
    unsafe {
        command.pre_exec(setup);
    }
}

/// Lets the kernel kill this process when the thread that started it ends.
fn end_with(parent: rustix::process::Pid) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        // The parent ended before the line above.
        return Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    }
    Ok(())
}

/// Most files that are handed over.
pub(super) const MAX_FILES: usize = 8;

/// Makes `number` another number of the open file `copy`, without close-on-exec.
fn dup_onto(copy: RawFd, number: RawFd) -> std::io::Result<()> {
    // SAFETY: `copy` was just opened by the caller and stays open; `number` is handed to exec and closed by nobody here.
    // JUSTIFICATION: the number is what the program is told on its command line.
    #[expect(unsafe_code, reason = "numbers of descriptors are what is handed over; see above")]
    let (copy, mut target) = unsafe {
        use std::os::fd::FromRawFd as _;
        (BorrowedFd::borrow_raw(copy), std::mem::ManuallyDrop::new(OwnedFd::from_raw_fd(number)))
    };
    rustix::io::dup2(copy.as_fd(), &mut target)?;
    Ok(())
}

/// An open file that was handed to this program by its number; what it starts does not get it.
pub(super) fn handed_over(number: RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: `confine` of the program that started this one has put an open file there, and each number is taken once.
    // JUSTIFICATION: numbers are all that is left of files over an exec.
    #[expect(unsafe_code, reason = "numbers of descriptors are what is handed over; see above")]
    let file = unsafe {
        use std::os::fd::FromRawFd as _;
        OwnedFd::from_raw_fd(number)
    };
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC)?;
    Ok(file)
}

/// Leaves namespaces for new ones.
pub(super) fn unshare(namespaces: UnshareFlags) -> std::io::Result<()> {
    // SAFETY: of all flags only `FILES` breaks what Rust holds to be true of descriptors, and it is taken away.
    // JUSTIFICATION: there is no safe way to make namespaces.
    #[expect(unsafe_code, reason = "unshare is unsafe for one of its flags; see above")]
    unsafe {
        rustix::thread::unshare_unsafe(namespaces - UnshareFlags::FILES)?;
    }
    Ok(())
}
