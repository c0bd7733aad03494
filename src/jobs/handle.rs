//! Starting a job and taking what came out of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::anyhow;

use super::{JobCtx, ProgressView, Wake};
use crate::base::Cancelled;

/// How a job ended. Cancelled is an outcome, not an error.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It did what it was for.
    Done(T),
    /// It stopped because it was told to.
    Cancelled,
    /// It could not; the error says why. A panic ends here as well.
    Failed(anyhow::Error),
}

/// The owner's end of a running job. Dropping it cancels the job.
#[derive(Debug)]
pub struct JobHandle<T> {
    name: String,
    started: Instant,
    ctx: Arc<JobCtx>,
    outcome: mpsc::Receiver<Outcome<T>>,
}

impl<T> JobHandle<T> {
    /// What the job is called in the list of jobs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// How far it is.
    pub fn progress(&self) -> ProgressView {
        self.ctx.view()
    }

    /// Asks the job to stop; its outcome arrives as usual.
    pub fn cancel(&self) {
        self.ctx.cancel();
    }

    /// Whether it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.ctx.is_cancelled()
    }

    /// The outcome, once, when the job has ended. Never waits.
    pub fn try_take(&self) -> Option<Outcome<T>> {
        self.outcome.try_recv().ok()
    }

    /// Waits for the outcome: for programs without a window, and tests.
    pub fn wait(self) -> Outcome<T> {
        self.outcome.recv().unwrap_or_else(|_| Outcome::Failed(anyhow!("the job ended without an outcome")))
    }
}

impl<T> Drop for JobHandle<T> {
    fn drop(&mut self) {
        self.ctx.cancel();
    }
}

/// Runs `work` on a thread named `name`; `wake` is called on progress and when it has ended.
///
/// An error that has [`Cancelled`] in its chain is [`Outcome::Cancelled`]; a panic is
/// [`Outcome::Failed`], and so is a thread that the system would not start.
pub fn spawn<T, F>(name: impl Into<String>, wake: Wake, work: F) -> JobHandle<T>
where
    T: Send + 'static,
    F: FnOnce(&JobCtx) -> anyhow::Result<T> + Send + 'static,
{
    let name = name.into();
    let ctx = Arc::new(JobCtx::new(wake));
    let (sender, outcome) = mpsc::channel();
    let started = Instant::now();
    let spawned = {
        let (ctx, sender) = (Arc::clone(&ctx), sender.clone());
        std::thread::Builder::new().name(thread_name(&name)).spawn(move || {
            let outcome = match catch_unwind(AssertUnwindSafe(|| work(&ctx))) {
                Ok(Ok(value)) => Outcome::Done(value),
                Ok(Err(err)) if err.chain().any(|cause| cause.is::<Cancelled>()) => Outcome::Cancelled,
                Ok(Err(err)) => Outcome::Failed(err),
                Err(panic) => Outcome::Failed(anyhow!("internal error: {}", panic_message(panic.as_ref()))),
            };
            // The owner may have gone; then nobody wants the outcome.
            let _ = sender.send(outcome);
            ctx.wake_now();
        })
    };
    if let Err(err) = spawned {
        let _ = sender.send(Outcome::Failed(anyhow::Error::new(err).context("cannot start a thread")));
        ctx.wake_now();
    }
    JobHandle { name, started, ctx, outcome }
}

/// The system shows 15 bytes of a thread's name and refuses a NUL.
fn thread_name(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(15).collect()
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a panic without a message"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use anyhow::Context as _;

    use super::*;
    use crate::base::Progress as _;

    fn silent() -> Wake {
        Arc::new(|| {})
    }

    #[test]
    fn value_of_the_work_arrives_once() {
        let job = spawn("answer", silent(), |_| Ok(42));
        assert!(matches!(job.wait(), Outcome::Done(42)));
    }

    #[test]
    fn panic_is_a_failure_with_its_message() {
        let job = spawn::<(), _>("panics", silent(), |_| panic!("page 7 is upside down"));
        let Outcome::Failed(err) = job.wait() else { panic!("expected a failure") };
        assert_eq!(format!("{err:#}"), "internal error: page 7 is upside down");
    }

    #[test]
    fn cancel_stops_the_work_and_is_not_an_error() {
        let job = spawn("endless", silent(), |ctx| {
            let mut done = 0;
            loop {
                done += 1;
                ctx.step(done, None).context("while counting")?;
                std::thread::yield_now();
            }
            #[expect(unreachable_code, reason = "gives the closure its type")]
            Ok(())
        });
        job.cancel();
        assert!(job.is_cancelled());
        assert!(matches!(job.wait(), Outcome::Cancelled));
    }

    #[test]
    fn owner_is_woken_at_the_end_and_sees_stage_and_share() {
        let woken = Arc::new(AtomicUsize::new(0));
        let wake: Wake = {
            let woken = Arc::clone(&woken);
            Arc::new(move || {
                woken.fetch_add(1, Relaxed);
            })
        };
        let (tell, told) = mpsc::channel::<()>();
        let job = spawn("half", wake, move |ctx| {
            ctx.stage("hashing");
            ctx.step(50, Some(100))?;
            told.recv()?;
            Ok(())
        });
        while job.progress().done == 0 {
            std::thread::yield_now();
        }
        assert_eq!(job.progress(), ProgressView { stage: "hashing", done: 50, total: Some(100) });
        assert_eq!(job.progress().fraction(), Some(0.5));
        tell.send(()).unwrap();
        let outcome = loop {
            match job.try_take() {
                Some(outcome) => break outcome,
                None => std::thread::yield_now(),
            }
        };
        assert!(matches!(outcome, Outcome::Done(())));
        while woken.load(Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert!(job.try_take().is_none());
    }

    #[test]
    fn dropping_the_handle_cancels() {
        let (tell, told) = mpsc::channel();
        drop(spawn::<(), _>("dropped", silent(), move |ctx| {
            while ctx.check().is_ok() {
                std::thread::yield_now();
            }
            tell.send(())?;
            Ok(())
        }));
        assert!(told.recv_timeout(std::time::Duration::from_secs(10)).is_ok());
    }
}
