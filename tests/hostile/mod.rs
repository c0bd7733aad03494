//! Runs the program on hostile evidence and holds it to its promises: it ends in time and within memory, with code 0 or
//! 2, with few words and none that move a cursor, and leaves the evidence and everything beside it as they were.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Ten seconds are promised of the release build on a quiet machine; tests run unoptimised on busy ones.
const DEADLINE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 20 });
/// Resident memory, the pages of mapped evidence included.
const MAX_MEMORY_KIB: u64 = 1 << 20;
/// Address space: a bomb that the watch on resident memory is too slow for.
const MAX_ADDRESSES_KIB: u64 = 6 << 20;

/// Every way to ask that reads all of an archive; `{}` is its path.
const COMMANDS: [&[&str]; 8] = [
    &["inspect", "--all", "{}"],
    &["inspect", "--json", "{}"],
    &["show", "{}"],
    &["images", "{}"],
    &["images", "{}", "pstree.img"],
    &["images", "{}", "files.img", "--json"],
    &["files", "{}", "list"],
    &["search", "-q", "{}", "--regex", "hostile [0-9]x"],
];

/// A place for evidence, and a cache directory that must be empty after each run.
pub(crate) struct Lab {
    evidence: tempfile::TempDir,
    cache: tempfile::TempDir,
}

/// What a run left behind; of a long answer only both ends.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        Lab { evidence: tempfile::tempdir().unwrap(), cache: tempfile::tempdir().unwrap() }
    }

    /// Where evidence may be put.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.evidence.path().join(name)
    }

    /// Asks everything of an archive; every question must have an answer, or be refused with a line.
    #[track_caller]
    pub(crate) fn ask_all(&self, name: &str, bytes: &[u8]) -> Vec<Ran> {
        fs::write(self.path(name), bytes).unwrap();
        self.ask_all_of(name)
    }

    /// Asks everything of evidence that lies in [`Lab::path`].
    #[track_caller]
    pub(crate) fn ask_all_of(&self, name: &str) -> Vec<Ran> {
        COMMANDS.iter().map(|command| self.ask(name, command)).collect()
    }

    #[track_caller]
    pub(crate) fn ask(&self, name: &str, command: &[&str]) -> Ran {
        let path = self.path(name);
        let before = listing(self.evidence.path());
        let args: Vec<String> = command.iter().map(|arg| arg.replace("{}", &path.to_string_lossy())).collect();
        let (ran, spent, memory_kib) = self.run(&args);
        let told = format!("{name}: {}: code {}, {spent:.1?}, {memory_kib} KiB: {}", args.join(" "), ran.code, ran.err);
        let is_empty_search = ran.code == 1 && command[0] == "search" && ran.out.is_empty() && ran.err.is_empty();
        assert!(ran.code == 0 || ran.code == 2 || is_empty_search, "{told}");
        assert!(spent < DEADLINE, "takes too long: {told}");
        assert!(memory_kib <= MAX_MEMORY_KIB, "takes too much memory: {told}");
        assert!(!ran.err.contains("panicked"), "{told}");
        assert!(ran.err.lines().count() <= 2, "says too much: {told}");
        assert_eq!(ran.code == 2, ran.err.starts_with("cryoscope: ") && ran.out.is_empty() && ran.code != 0, "{told}");
        for text in [ran.err.as_bytes(), &ran.out] {
            let moves = |c: char| c.is_control() && c != '\n';
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(moves), "{told}: {:?}", text.lines().find(|line| line.contains(moves)));
        }
        assert_eq!(listing(self.evidence.path()), before, "the evidence was touched: {told}");
        assert_eq!(fs::read_dir(self.cache.path()).unwrap().count(), 0, "the cache was not emptied: {told}");
        ran
    }

    fn run(&self, args: &[String]) -> (Ran, Duration, u64) {
        let out = tempfile::tempfile().unwrap();
        let err = tempfile::tempfile().unwrap();
        let limit = format!("ulimit -v {MAX_ADDRESSES_KIB}; exec \"$0\" \"$@\"");
        let started = Instant::now();
        let mut child = Command::new("bash")
            .args(["-c", &limit, env!("CARGO_BIN_EXE_cryoscope")])
            .args(args)
            .env("CRYOSCOPE_CACHE_DIR", self.cache.path())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut memory_kib = 0;
        let code = loop {
            // The peak so far; gone together with the process.
            let peak = fs::read_to_string(&status).ok().and_then(|status| {
                let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
                line.split_whitespace().nth(1)?.parse().ok()
            });
            memory_kib = memory_kib.max(peak.unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                break status.code().unwrap_or(-1);
            }
            if started.elapsed() > DEADLINE || memory_kib > 2 * MAX_MEMORY_KIB {
                child.kill().unwrap();
                child.wait().unwrap();
                break -9;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let spent = started.elapsed();
        (Ran { code, out: ends(out), err: String::from_utf8_lossy(&ends(err)).into_owned() }, spent, memory_kib)
    }
}

/// The first and the last megabytes of what was written.
fn ends(file: fs::File) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    const PIECE_BYTES: u64 = 4 << 20;
    let len = file.metadata().unwrap().len();
    let first = len.min(PIECE_BYTES);
    let last = (len - first).min(PIECE_BYTES);
    let mut bytes = vec![0; usize::try_from(first + last).unwrap()];
    let (to_first, to_last) = bytes.split_at_mut(usize::try_from(first).unwrap());
    file.read_exact_at(to_first, 0).unwrap();
    file.read_exact_at(to_last, len - last).unwrap();
    bytes
}

/// Names, sizes, times and hashes of all that lies in a directory.
fn listing(dir: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>, u64)> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut hasher = DefaultHasher::new();
            // What is larger is a sparse file of a test.
            if meta.is_file() && meta.len() < 64 << 20 {
                fs::read(&path).unwrap().hash(&mut hasher);
            }
            (path, meta.len(), meta.modified().ok(), hasher.finish())
        })
        .collect();
    found.sort();
    found
}
