//! The jobs of nodes. They ask agents; the model learns what these said.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;

use super::{Change, NodeRow, NodeState, Told, Wanted};
use crate::acquire::custody::{Custody, Verified};
use crate::acquire::freeze::{self, Step, Way, Wishes};
use crate::acquire::pair::{self, Wish};
use crate::acquire::wire::JobState;
use crate::acquire::{Client, Nodes, PullControl, Pulled, Route, Target};
use crate::base::Progress as _;
use crate::checkpoint::Checkpoint;
use crate::home;
use crate::jobs::JobCtx;
use crate::session::driver::Say;
use crate::session::{NodesCommand, early};

/// Lists the user's nodes.
pub(in crate::session) fn list(ctx: &JobCtx) -> anyhow::Result<Vec<NodeRow>> {
    ctx.stage("listing nodes");
    let nodes = Nodes::open()?;
    let row = |name: String| match nodes.get(&name) {
        Ok(node) => NodeRow {
            address: node.address.to_string(),
            fingerprint: node.fingerprint().unwrap_or_default(),
            paired: node.paired,
            problem: None,
            state: NodeState::Unknown,
            name,
        },
        Err(error) => NodeRow {
            address: String::new(),
            fingerprint: String::new(),
            paired: jiff::Timestamp::UNIX_EPOCH,
            problem: Some(error.to_string()),
            state: NodeState::Failed(error.to_string()),
            name,
        },
    };
    Ok(nodes.names()?.into_iter().map(row).collect())
}

/// Pairs with an agent by the code that it printed; its name here.
pub(in crate::session) fn pair(
    address: &str,
    code: &str,
    name: &str,
    proxy: &str,
    ctx: &JobCtx,
) -> anyhow::Result<String> {
    ctx.stage("pairing");
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let wish = Wish { address: address.trim().parse()?, name: given(name), proxy: given(proxy) };
    Ok(pair::pair(&Nodes::open()?, &wish, code.trim())?.name)
}

/// Forgets a node here; its agent keeps the certificate until the operator takes it back.
pub(in crate::session) fn forget(name: &str) -> anyhow::Result<()> {
    Ok(Nodes::open()?.remove(name)?)
}

/// Asks a node what it is, what runs there, what waits there.
pub(in crate::session) fn ask(name: &str, ctx: &JobCtx) -> anyhow::Result<Told> {
    ctx.stage("asking the node");
    let client = Client::new(&Nodes::open()?.get(name)?, &Route::default())?;
    let node = client.node()?;
    ctx.check()?;
    let containers = client.containers()?;
    ctx.check()?;
    Ok(Told { node, containers, archives: client.archives()? })
}

/// Changes an archive that waits on a node.
pub(in crate::session) fn change(node: &str, archive: &str, change: Change, ctx: &JobCtx) -> anyhow::Result<()> {
    ctx.stage("asking the node");
    let client = Client::new(&Nodes::open()?.get(node)?, &Route::default())?;
    match change {
        Change::Keep(is_kept) => drop(client.keep(archive, is_kept)?),
        Change::Delete => client.delete(archive)?,
    }
    Ok(())
}

/// Where archives of nodes go.
pub(in crate::session) fn archives_dir() -> anyhow::Result<PathBuf> {
    let dir = home::data_dir()?.join("archives");
    home::make_dir(&dir)?;
    Ok(dir)
}

/// Acquires, and shows what has come while the rest does.
pub(in crate::session) fn acquire(
    node: &str,
    wanted: &Wanted,
    control: &PullControl,
    say: &Say,
    ctx: &JobCtx,
) -> anyhow::Result<Pulled> {
    thread::scope(|scope| {
        // Without a second thread there is no early look, and nothing else is lost.
        let _ =
            thread::Builder::new().name("follow".into()).spawn_scoped(scope, || early::follow(&control.growing, say));
        let pulled = bring(node, wanted, control, say, ctx);
        control.growing.end();
        pulled
    })
}

fn bring(node: &str, wanted: &Wanted, control: &PullControl, say: &Say, ctx: &JobCtx) -> anyhow::Result<Pulled> {
    let tell = |step| say.say(NodesCommand::Happened { job: say.job, step });
    let node = Nodes::open()?.get(node)?;
    let client = Client::new(&node, &Route::default())?;
    let target = Target::Dir(archives_dir()?);
    let way = Way { node: &node, client: &client, target: &target, control, progress: ctx };
    match wanted {
        Wanted::Fetch { archive } => {
            tell("fetching".into());
            Ok(way.fetch(archive)?)
        }
        Wanted::Freeze { container, method, reason, series } => {
            if let Some(series) = series {
                let wait = series.due.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    tell(format!("begins in {} s", wait.as_secs().max(1)));
                    freeze::sleep(wait, ctx)?;
                }
            }
            let containers = client.containers()?.containers;
            let found = containers.into_iter().find(|found| found.id == *container);
            let found = found.context("the container is not there any more; ask the node again")?;
            let wishes = Wishes { timeout_seconds: None, reason: reason.clone(), method: *method };
            tell("asking the node".into());
            Ok(way.freeze(&found, &wishes, &mut |step| tell(words(&step)))?)
        }
    }
}

fn words(step: &Step) -> String {
    match step {
        Step::Asked(job) | Step::Job(job) if job.step.is_empty() => match job.state {
            JobState::Queued => "waits for another job of the container".into(),
            _ => "freezing".into(),
        },
        Step::Asked(job) | Step::Job(job) => job.step.clone(),
        Step::Pulling { .. } => "fetching".into(),
        Step::Done(_) => "verified".into(),
    }
}

/// How an archive with this hash came from a node, and whether it is still what the node signed; `None` when it came from
/// elsewhere.
pub(in crate::session) fn custody(checkpoint: &Checkpoint, sha256: &str) -> Option<Result<Verified, String>> {
    let custody = Custody::open().ok()?;
    let record = match custody.find(sha256) {
        Ok(record) => record?,
        Err(error) => return Some(Err(error.to_string())),
    };
    let size_bytes = checkpoint.outer.size_bytes();
    Some(record.verify(size_bytes, sha256)?.map_err(|error| error.to_string()))
}
