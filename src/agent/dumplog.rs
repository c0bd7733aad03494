//! What criu's log says: whether the dump was made, and if not, why, and what helps.
//!
//! A line with `Error` in it is no proof of failure (each good dump on some machines has one); the last line decides. Texts are
//! those that CRIU 4.x writes, each tried with a program that provokes it.

/// The last line of a log of a dump that was made.
const FINISHED: &str = "Dumping finished successfully";
/// Most lines of a log that go into a manifest.
const MAX_LINES: usize = 20;
const MAX_LINE_CHARS: usize = 400;

/// Why a dump fails, by the words of CRIU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For programs.
    pub code: &'static str,
    /// What the container does, in words.
    pub what: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Trying again may be enough.
    pub passes: bool,
    words: &'static str,
}

/// In the order of how much they explain.
const CAUSES: [Cause; 15] = [
    cause(
        "In-flight connection",
        "in-flight-connection",
        "somebody connected to the container while it was frozen, and the half-open connection cannot be dumped",
        "try again; a line `skip-in-flight` in /etc/criu/runc.conf (crun.conf) on the node cures it for good",
    )
    .passing(),
    cause(
        "Connected TCP socket",
        "tcp-established",
        "a process of the container has an open TCP connection",
        "put a line `tcp-established` into /etc/criu/runc.conf on the node (crun reads crun.conf first); no restart is needed",
    ),
    cause(
        "Can't dump ghost file",
        "ghost-file",
        "a process uses a big file that was deleted, perhaps its own program: malware does this",
        "put a line `ghost-limit 1073741824` into /etc/criu/runc.conf (crun.conf) on the node",
    ),
    cause(
        "anon_inode:[io_uring]",
        "io-uring",
        "a process uses io_uring, which criu cannot dump",
        "take a collection by way of /proc instead",
    ),
    cause(
        "send_fds failed",
        "io-uring",
        "a process has a descriptor that cannot be handed over, as of io_uring",
        "take a collection by way of /proc instead",
    ),
    cause(
        "Unknown socket collected (family 40)",
        "vsock",
        "a process has a socket to the hypervisor (AF_VSOCK)",
        "take a collection by way of /proc instead",
    ),
    cause(
        "/secretmem (deleted)",
        "secret-memory",
        "a process hides memory from everybody with memfd_secret",
        "take a collection by way of /proc instead; the hidden memory is in neither",
    ),
    cause(
        "Can't dump file",
        "undumpable-file",
        "a process has a descriptor that criu cannot dump: userfaultfd, a performance counter, a BPF map",
        "take a collection by way of /proc instead; for BPF maps criu must be built with libbpf",
    ),
    cause(
        "Unseizable non-zombie",
        "traced",
        "a process is being traced already, perhaps by one of its own container to hinder this",
        "end the tracer, and try again; or take a collection by way of /proc",
    ),
    cause(
        "Unable to convert uid or gid",
        "user-namespace",
        "a process has made a user namespace of its own",
        "take a collection by way of /proc instead",
    ),
    cause(
        "Net namespace is required",
        "network-namespace",
        "the container shares its network with the host",
        "take a collection by way of /proc instead",
    ),
    cause(
        "Some file locks are hold",
        "file-locks",
        "a process holds file locks",
        "put a line `file-locks` into /etc/criu/runc.conf (crun.conf) on the node",
    ),
    cause(
        "unix socket with unprocessed queue",
        "unix-socket",
        "a Unix socket leads out of the container",
        "put a line `ext-unix-sk` into /etc/criu/runc.conf (crun.conf) on the node",
    ),
    cause(
        "Can't lookup mount=",
        "unknown-mount",
        "a process has a file open on a mount that the container does not have",
        "take a collection by way of /proc instead",
    ),
    cause(
        "could not load `libcriu.so",
        "libcriu-missing",
        "crun finds no libcriu",
        "install the package libcriu2 (criu-libs) on the node",
    ),
];

const fn cause(words: &'static str, code: &'static str, what: &'static str, remedy: &'static str) -> Cause {
    Cause { code, what, remedy, passes: false, words }
}

impl Cause {
    const fn passing(self) -> Cause {
        Cause { passes: true, ..self }
    }
}

/// Why a dump failed, as far as a log or a message says.
pub fn cause_of(text: &str) -> Option<Cause> {
    CAUSES.iter().find(|cause| text.contains(cause.words)).copied()
}

/// Why a dump failed, by the errors of its log.
pub fn cause_in(log: &str) -> Option<Cause> {
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("Error (")).collect();
    cause_of(&errors.join("\n"))
}

/// Whether the log is of a dump that was made: by its last line.
pub fn is_finished(log: &str) -> bool {
    log.lines().rev().find(|line| !line.trim().is_empty()).is_some_and(|line| line.contains(FINISHED))
}

/// The last line and what stands out, for a manifest.
pub fn highlights(log: &str) -> Vec<String> {
    let mut lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.pop();
    let stands_out = |line: &&str| line.contains("Error (") || line.contains("Warn  (");
    let mut found: Vec<&str> = lines.into_iter().filter(stands_out).collect();
    let n_passed = found.len().saturating_sub(MAX_LINES);
    found.drain(..n_passed);
    found.extend(last);
    found.into_iter().map(|line| line.chars().take(MAX_LINE_CHARS).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "(00.000010) Version: 4.1.1\n(00.000020) Error (criu/rlimit.c:12): rlimit: Can't setup RLIMIT_NOFILE for self\n(00.1) Dumping finished successfully\n";

    #[test]
    fn error_line_is_no_failure_and_the_last_line_decides() {
        assert!(is_finished(GOOD));
        assert!(!is_finished(&GOOD.replace("finished successfully", "FAILED.")));
        assert!(!is_finished(""));
        assert_eq!(highlights(GOOD).len(), 2);
        let long = format!("{}{GOOD}", "(00.1) Error (x): y\n".repeat(10_000));
        assert_eq!(highlights(&long).len(), MAX_LINES + 1);
    }

    #[test]
    fn each_known_failure_has_its_remedy() {
        let code = |text: &str| cause_of(text).map(|cause| (cause.code, cause.passes));
        assert_eq!(
            code("Error (criu/sk-inet.c:191): Connected TCP socket, consider using --tcp-established option."),
            Some(("tcp-established", false))
        );
        assert_eq!(code("Error: In-flight connection (l) of 3"), Some(("in-flight-connection", true)));
        assert_eq!(code("Can't dump ghost file /x of 6800000 size, increase limit"), Some(("ghost-file", false)));
        assert_eq!(code("something new"), None);
    }
}
