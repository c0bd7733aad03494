//! An early look at an archive that is still unpacked or fetched: the images that have passed, decoded while the rest
//! arrives.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::driver::Say;
use super::{ArchivesCommand, Loaded};
use crate::base::{Cancelled, Issue, Place, Progress, Silent};
use crate::checkpoint;
use crate::evidence::{Evidence, Growing, OpenError, OpenOptions, Passed};
use crate::jobs::JobCtx;

/// Until the first look. Each further one waits twice as long: what it decodes grows.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// Opens evidence; of what takes longer than a moment to unpack, says what has passed of it.
pub(super) fn open(path: &Path, options: &OpenOptions, say: &Say, ctx: &JobCtx) -> Result<Evidence, OpenError> {
    while_looking(path, "unpacked", options, say, |options| Evidence::open(path, options, ctx))
}

/// Says what has arrived of evidence that is fetched. Returns when no more comes.
pub(super) fn follow(growing: &Growing, say: &Say) {
    let Some(path) = growing.path() else { return };
    let options = OpenOptions::default();
    // What is wrong is told when all is there.
    let _ = while_looking(&path, "fetched", &options, say, |options| Evidence::follow(growing, options, &Silent));
}

/// Does `work`, which shows members as they pass; of what takes longer than a moment, says what has passed. `doing` is
/// what is done to the evidence.
fn while_looking<T>(
    path: &Path,
    doing: &'static str,
    options: &OpenOptions,
    say: &Say,
    work: impl FnOnce(&OpenOptions) -> T,
) -> T {
    let passed = Arc::new(Mutex::new(Passed::default()));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (over, wait) = channel::<()>();
        let look = Look { path, doing, passed: Arc::clone(&passed), options, until: Until(&is_over), say };
        // Without a second thread there is no early look, and nothing else is lost.
        let _ = thread::Builder::new().name("early look".into()).spawn_scoped(scope, move || look.until_over(&wait));
        let also = options.on_member.clone();
        let on_member = move |member: &_, content: Option<&_>| {
            passed.lock().unwrap_or_else(PoisonError::into_inner).add(member, content);
            if let Some(also) = &also {
                also(member, content);
            }
        };
        let options = OpenOptions { on_member: Some(Arc::new(on_member)), ..options.clone() };
        let done = work(&options);
        is_over.store(true, Relaxed);
        drop(over);
        done
    })
}

struct Look<'a> {
    path: &'a Path,
    doing: &'static str,
    passed: Arc<Mutex<Passed>>,
    options: &'a OpenOptions,
    until: Until<'a>,
    say: &'a Say,
}

impl Look<'_> {
    /// Looks again and again, until the archive is there.
    fn until_over(&self, wait: &Receiver<()>) {
        let mut pause = FIRST_LOOK;
        let mut seen = 0;
        while wait.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            pause = pause.saturating_mul(2);
            let evidence = {
                let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
                if passed.members().len() == seen {
                    continue;
                }
                seen = passed.members().len();
                passed.evidence(&self.path.to_string_lossy(), &self.options.limits)
            };
            // Before inventory.img has passed there is nothing to see, and what is wrong is told when all is there.
            let Ok(checkpoints) = checkpoint::load(&evidence, self.options, &self.until) else { continue };
            let checkpoints = checkpoints.into_iter().map(|checkpoint| early(checkpoint, self.doing, seen)).collect();
            if !self.until.is_over() {
                let (job, path) = (self.say.job, self.path.to_owned());
                self.say.say(ArchivesCommand::Arrives { job, path, checkpoints });
            }
        }
    }
}

/// What seems to be wrong is only not there yet.
fn early(mut checkpoint: Arc<checkpoint::Checkpoint>, doing: &str, seen: usize) -> Loaded {
    if let Some(checkpoint) = Arc::get_mut(&mut checkpoint) {
        let what =
            format!("is still being {doing}: {seen} members have passed, and of those over 1 MiB no bytes are shown");
        checkpoint.issues = vec![Issue::new(Place::member(checkpoint.outer.name()), what)];
    }
    Loaded::new(checkpoint)
}

/// Ends a look when what it looks at is there as a whole.
struct Until<'a>(&'a AtomicBool);

impl Until<'_> {
    fn is_over(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Progress for Until<'_> {
    fn step(&self, _done: u64, _total: Option<u64>) -> Result<(), Cancelled> {
        if self.is_over() { Err(Cancelled) } else { Ok(()) }
    }

    fn stage(&self, _name: &'static str) {}
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes what arrives")]
mod tests {
    use std::io::Write as _;
    use std::time::Instant;

    use super::*;
    use crate::base::Pid;
    use crate::session::{Command, Driver, Effect, JobId, JobWork, sample};

    /// What the driver says next that is not progress.
    fn next(driver: &mut Driver) -> Option<Command> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(60) {
            let found = driver.poll().into_iter().find(|command| matches!(command, Command::Archives(_)));
            if found.is_some() {
                return found;
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    #[test]
    fn images_that_have_passed_are_seen_before_the_rest_has_come() {
        let tar = bytes::Bytes::from(zstd::decode_all(sample::ARCHIVE).unwrap());
        let evidence = Evidence::open_bytes("x", tar.clone(), &OpenOptions::default(), &crate::base::Silent).unwrap();
        let pages = evidence.members().iter().find(|member| member.file_name() == b"pages-1.img").unwrap();
        // Within the pages: pstree.img comes behind them.
        let first = usize::try_from(pages.archive_offset().unwrap() + pages.size_bytes / 2).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let mut driver = Driver::new(Arc::new(|| {}));
        let work = JobWork::OpenArchive(path.clone());
        assert!(driver.run(Effect::StartJob { id: JobId(1), title: "Open".into(), work }).is_none());
        let mut pipe = std::fs::File::options().write(true).open(&path).unwrap();
        // The rest is not written before the early look was there.
        pipe.write_all(&tar[..first]).unwrap();
        let Some(Command::Archives(ArchivesCommand::Arrives { job, checkpoints, .. })) = next(&mut driver) else {
            panic!("no early look");
        };
        let early = &checkpoints[0].checkpoint;
        assert_eq!(job, JobId(1));
        let pids: Vec<Pid> = early.processes.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [1, 4, 6, 7, 8, 9, 16, 17].map(Pid));
        assert_eq!(early.issues.len(), 1);
        pipe.write_all(&tar[first..]).unwrap();
        drop(pipe);
        let Some(Command::Archives(ArchivesCommand::Opened { checkpoints, .. })) = next(&mut driver) else {
            panic!("never opened");
        };
        assert_eq!(checkpoints[0].checkpoint.issues, []);
    }
    #[test]
    fn archive_is_seen_while_it_is_fetched() {
        let tar = zstd::decode_all(sample::ARCHIVE).unwrap();
        let compressed = sample::ARCHIVE.to_vec();
        for whole in [tar, compressed] {
            let dir = tempfile::tempdir().unwrap();
            let part = dir.path().join("a.part");
            std::fs::write(&part, &whole).unwrap();
            let growing = Growing::default();
            let (commands, said) = channel();
            let say = Say::new(JobId(3), commands, Arc::new(|| {}));
            thread::scope(|scope| {
                scope.spawn(|| follow(&growing, &say));
                // The end is not told of before the look was there.
                let told = whole.len() as u64 - 1024;
                growing.begin(dir.path().join("a"), std::fs::File::open(&part).unwrap(), 0);
                growing.grew(told / 2);
                growing.grew(told);
                let Ok(Command::Archives(ArchivesCommand::Arrives { job, path, checkpoints })) =
                    said.recv_timeout(Duration::from_secs(60))
                else {
                    panic!("no early look");
                };
                growing.end();
                assert_eq!((job, path), (JobId(3), dir.path().join("a")));
                let early = &checkpoints[0].checkpoint;
                assert_eq!(early.processes.iter().map(|process| process.pid.0).next(), Some(1));
                assert!(early.issues[0].to_string().contains("is still being fetched"), "{}", early.issues[0]);
            });
        }
    }

    #[test]
    fn what_never_begins_or_is_given_up_is_not_waited_for() {
        let growing = Growing::default();
        let (commands, said) = channel();
        let say = Say::new(JobId(3), commands, Arc::new(|| {}));
        thread::scope(|scope| {
            let followed = scope.spawn(|| follow(&growing, &say));
            growing.end();
            followed.join().unwrap();
        });
        assert!(said.try_recv().is_err());
    }
}
