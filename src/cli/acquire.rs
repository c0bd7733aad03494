//! `acquire`: nodes, what is on them, and getting archives from there.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::acquire_args::{AcquireAction, AcquireArgs, AddArgs, FreezeArgs, NodesArgs, OnNode, PairArgs, RouteArgs};
use super::context::Context;
use super::show::{self, size, word};
use super::{acquire_freeze, acquire_many, custody};
use crate::acquire::identity::Identity;
use crate::acquire::pair::{self, OperatorFiles, Wish};
use crate::acquire::selector::Called;
use crate::acquire::wire::Node;
use crate::acquire::{Client, Nodes, PairedNode, Route, freeze};
use crate::base::{Progress as _, escape_controls};
use crate::jobs::{self, Outcome};
use crate::report::text::bytes as human_size;

/// Most bytes of a file with certificates.
const MAX_PEM: u64 = 1 << 20;
/// How long a node may take to say that it is there.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(8);

pub(super) fn run(args: AcquireArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    if let Some(selector) = &args.selector {
        anyhow::ensure!(args.action.is_none(), "--selector: goes without a subcommand");
        return acquire_many::run(selector, &args, context);
    }
    match args.action {
        None => {
            let (Some(node), Some(container)) = (args.node, args.container) else {
                anyhow::bail!(
                    "give NODE CONTAINER, or --selector LABELS, or what to do; `cryoscope acquire --help` lists it"
                );
            };
            let on = OnNode { node, route: args.route };
            acquire_freeze::freeze(&FreezeArgs { on, container, options: args.freeze }, context)
        }
        Some(AcquireAction::Pair(args)) => pair(&args, context),
        Some(AcquireAction::Add(args)) => add(&args, context),
        Some(AcquireAction::Nodes(args)) => nodes(&args, context),
        Some(AcquireAction::Forget { node }) => Ok(Nodes::open()?.remove(&node)?),
        Some(AcquireAction::List(on)) => list(&on, context),
        Some(AcquireAction::Freeze(args)) => acquire_freeze::freeze(&args, context),
        Some(AcquireAction::Pull(args)) => acquire_freeze::pull(&args, context),
        Some(AcquireAction::Archives(on)) => archives(&on, context),
        Some(AcquireAction::Jobs(on)) => jobs(&on, context),
        Some(AcquireAction::Stop { on, job }) => stop(&on, &job, context),
        Some(AcquireAction::Log { on, archive }) => {
            let text = client(&on)?.1.log(&archive)?;
            let text = String::from_utf8_lossy(&text);
            // Lines stay lines; nothing else in it moves the cursor.
            for line in text.lines() {
                writeln!(context.out, "{}", escape_controls(line))?;
            }
            Ok(())
        }
        Some(AcquireAction::Keep { on, archive, off }) => keep(&on, &archive, !off, context),
        Some(AcquireAction::Delete { on, archive }) => Ok(client(&on)?.1.delete(&archive)?),
        Some(AcquireAction::Audit { on, after }) => audit(&on, after, context),
        Some(AcquireAction::Rootfs { on, container, output }) => rootfs(&on, &container, &output, context),
        Some(AcquireAction::Verify(args)) => custody::verify(&args, context),
    }
}

/// A paired node and the way to it.
pub(super) fn client(on: &OnNode) -> anyhow::Result<(PairedNode, Client)> {
    let node = Nodes::open()?.get(&on.node)?;
    let client = Client::new(&node, &route(&on.route))?;
    Ok((node, client))
}

fn route(args: &RouteArgs) -> Route {
    Route { address: args.address.clone(), proxy: args.proxy.clone(), patience: None }
}

/// A node without its key.
#[derive(Debug, Serialize)]
struct NodeLine {
    name: String,
    address: String,
    proxy: Option<String>,
    node: String,
    fingerprint: String,
    public_key: String,
    paired: jiff::Timestamp,
    /// Until when the node lets this workstation in.
    expires: Option<jiff::Timestamp>,
    /// `null` when it was not asked, or did not answer.
    agent: Option<Node>,
    /// Why it did not.
    problem: Option<String>,
}

impl NodeLine {
    fn new(node: &PairedNode) -> NodeLine {
        NodeLine {
            name: node.name.clone(),
            address: node.address.to_string(),
            proxy: node.proxy.clone(),
            node: node.node.clone(),
            fingerprint: node.fingerprint().unwrap_or_default(),
            public_key: node.public_key.clone(),
            paired: node.paired,
            expires: node.expires(),
            agent: None,
            problem: None,
        }
    }
}

fn pair(args: &PairArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let wish = Wish { address: args.address.clone(), name: args.name.clone(), proxy: args.proxy.clone() };
    let node = pair::pair(&Nodes::open()?, &wish, &args.code)?;
    paired(&node, context)
}

fn add(args: &AddArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let wish = Wish { address: args.address.clone(), name: Some(args.name.clone()), proxy: args.proxy.clone() };
    let files = OperatorFiles {
        authority: pem(&args.ca)?,
        identity: Identity { certificate: pem(&args.cert)?, key: pem(&args.key)? },
        server_name: args.server_name.clone(),
    };
    let node = pair::add(&Nodes::open()?, &wish, files)?;
    paired(&node, context)
}

/// The text of a PEM file.
pub(super) fn pem(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let opened = OpenOptions::new().read(true).open(path);
    let read = opened.and_then(|file| file.take(MAX_PEM).read_to_string(&mut text));
    read.with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(text)
}

fn paired(node: &PairedNode, context: &mut Context<'_>) -> anyhow::Result<()> {
    if context.json {
        return context.write_json(&NodeLine::new(node));
    }
    let fingerprint = node.fingerprint()?;
    writeln!(context.out, "{}: paired, at {}", node.name, node.address)?;
    writeln!(context.out, "  authority  {fingerprint}")?;
    Ok(writeln!(context.out, "  signs by   {}", node.public_key)?)
}

fn nodes(args: &NodesArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let nodes = Nodes::open()?;
    let names = nodes.names()?;
    let mut lines = Vec::new();
    let mut asked = Vec::new();
    for name in &names {
        let node = match nodes.get(name) {
            Ok(node) => node,
            Err(error) => {
                context.error(&error.into())?;
                continue;
            }
        };
        lines.push(NodeLine::new(&node));
        // All at once: one that hangs does not keep the others.
        asked.push((!args.offline).then(|| ask(node)));
    }
    let bar = context.progress();
    bar.stage("asking nodes");
    for (n, (line, job)) in lines.iter_mut().zip(asked).enumerate() {
        let Some(job) = job else { continue };
        let outcome = loop {
            bar.step(n as u64, Some(names.len() as u64))?;
            match job.try_take() {
                Some(outcome) => break outcome,
                None => freeze::sleep(std::time::Duration::from_millis(20), &crate::base::Silent)?,
            }
        };
        match outcome {
            Outcome::Done(agent) => line.agent = Some(agent),
            Outcome::Cancelled => {}
            Outcome::Failed(error) => line.problem = Some(format!("{error:#}")),
        }
    }
    drop(bar);
    if context.json {
        return lines.iter().try_for_each(|line| context.write_json_line(line));
    }
    if lines.is_empty() {
        return Ok(context.note(
            "no node is paired: run `cryoscope-agent pair` on one, then `cryoscope acquire pair ADDRESS CODE`",
        )?);
    }
    let mut table = show::table(context.style, &["NODE", "ADDRESS", "FINGERPRINT", "AGENT", "SPOOL", "STATE"]);
    for line in &lines {
        let spool = line
            .agent
            .as_ref()
            .map(|agent| format!("{} of {}", human_size(agent.spool.used_bytes), human_size(agent.spool.limit_bytes)));
        let is_soon =
            |until: jiff::Timestamp| until < jiff::Timestamp::now() + jiff::SignedDuration::from_hours(30 * 24);
        let state = match (&line.agent, &line.problem) {
            (Some(agent), _) => match line.expires.filter(|until| is_soon(*until)) {
                Some(until) => format!("{}; lets this workstation in until {until:.0} only", sources(agent)),
                None => sources(agent),
            },
            (None, Some(problem)) => problem.strip_prefix(&format!("{}: ", line.name)).unwrap_or(problem).to_owned(),
            (None, None) => "not asked".to_owned(),
        };
        table.add_row([
            word(Some(&line.name)),
            word(Some(&line.address)),
            word(Some(&line.fingerprint.chars().take(16).collect::<String>())),
            word(line.agent.as_ref().map(|agent| agent.agent_version.as_str())),
            word(spool.as_deref()),
            word(Some(&state)),
        ]);
    }
    show::write_table(context, &table)
}

fn ask(node: PairedNode) -> jobs::JobHandle<Node> {
    jobs::spawn(format!("ask {}", node.name), std::sync::Arc::new(|| {}), move |_| {
        let route = Route { patience: Some(PATIENCE), ..Route::default() };
        Ok(Client::new(&node, &route)?.node()?)
    })
}

/// Whom a node can ask, in words.
fn sources(node: &Node) -> String {
    let ready: Vec<String> = node.sources.iter().filter(|source| source.ready).map(kind).collect();
    if ready.is_empty() {
        return "answers, and can ask nobody for checkpoints".to_owned();
    }
    format!("ready: {}", ready.join(", "))
}

fn kind(source: &crate::acquire::wire::Source) -> String {
    source.version.clone().unwrap_or_else(|| spelled(&source.kind))
}

/// As JSON spells it.
pub(super) fn spelled(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn list(on: &OnNode, context: &mut Context<'_>) -> anyhow::Result<()> {
    let containers = client(on)?.1.containers()?;
    if context.json {
        return context.write_json(&containers);
    }
    let mut table = show::table(context.style, &["CONTAINER", "ID", "STATE", "ENGINE", "IMAGE", "NOTE"]);
    for container in &containers.containers {
        table.add_row([
            word(Some(&Called(container).to_string())),
            word(Some(&container.id.chars().take(12).collect::<String>())),
            word(Some(&spelled(&container.state))),
            word(Some(&container.engine)),
            word(container.image.as_deref()),
            word(container.problem.as_deref().or(container.caution.as_deref())),
        ]);
    }
    show::write_table(context, &table)?;
    for issue in &containers.issues {
        context.note(issue)?;
    }
    let is_silent = containers.containers.is_empty() && !containers.issues.is_empty();
    anyhow::ensure!(!is_silent, "{}: nobody could say which containers there are", on.node);
    Ok(())
}

fn archives(on: &OnNode, context: &mut Context<'_>) -> anyhow::Result<()> {
    let archives = client(on)?.1.archives()?;
    if context.json {
        return context.write_json(&archives);
    }
    let columns = ["ARCHIVE", "CONTAINER", "CREATED", "SIZE", "KEPT", "SHA-256", "NAME"];
    let mut table = show::table(context.style, &columns);
    for archive in &archives.archives {
        let parts = [&archive.namespace, &archive.pod].into_iter().flatten().map(String::as_str);
        let called = parts.chain([archive.container_name.as_str()]).collect::<Vec<_>>().join("/");
        table.add_row([
            word(Some(&archive.id)),
            word(Some(&called)),
            word(Some(&format!("{:.0}", archive.created))),
            size(Some(archive.size_bytes)),
            word(Some(if archive.keep { "yes" } else { "no" })),
            word(Some(&archive.sha256.chars().take(12).collect::<String>())),
            word(Some(&archive.name)),
        ]);
    }
    show::write_table(context, &table)
}

fn jobs(on: &OnNode, context: &mut Context<'_>) -> anyhow::Result<()> {
    let jobs = client(on)?.1.jobs()?;
    if context.json {
        return context.write_json(&jobs);
    }
    let mut table = show::table(context.style, &["JOB", "CONTAINER", "REQUESTED", "STATE", "STEP", "ARCHIVE"]);
    for job in &jobs.jobs {
        // `--json` has what the runtime said, and what helps.
        let step = job.problem.as_ref().map_or_else(|| job.step.clone(), |problem| problem.message.clone());
        table.add_row([
            word(Some(&job.id)),
            word(Some(&job.container.chars().take(12).collect::<String>())),
            word(Some(&format!("{:.0}", job.requested))),
            word(Some(&spelled(&job.state))),
            word(Some(&step)),
            word(job.archive.as_deref()),
        ]);
    }
    show::write_table(context, &table)
}

fn stop(on: &OnNode, job: &str, context: &mut Context<'_>) -> anyhow::Result<()> {
    let job = client(on)?.1.stop_job(job)?;
    if context.json {
        return context.write_json(&job);
    }
    let line = format!("{}: {} ({})", job.id, spelled(&job.state), job.step);
    Ok(writeln!(context.out, "{}", escape_controls(&line))?)
}

fn keep(on: &OnNode, archive: &str, is_kept: bool, context: &mut Context<'_>) -> anyhow::Result<()> {
    let archive = client(on)?.1.keep(archive, is_kept)?;
    if context.json {
        return context.write_json(&archive);
    }
    let end = if archive.keep { "is kept" } else { "may be removed when room is needed" };
    Ok(writeln!(context.out, "{}", escape_controls(&format!("{} ({}) {end}", archive.id, archive.name)))?)
}

fn audit(on: &OnNode, after: u64, context: &mut Context<'_>) -> anyhow::Result<()> {
    let audit = client(on)?.1.audit(after)?;
    if context.json {
        return context.write_json(&audit);
    }
    let mut table = show::table(context.style, &["NUMBER", "AT", "WHO", "ACTION", "SUBJECT", "STATUS", "DETAIL"]);
    for entry in &audit.entries {
        let who = entry.who.name.as_ref().or(entry.who.address.as_ref());
        table.add_row([
            word(Some(&entry.number.to_string())),
            word(Some(&format!("{:.0}", entry.at))),
            word(who.map(String::as_str)),
            word(Some(&entry.action)),
            word(entry.subject.as_deref()),
            word(Some(&entry.status.to_string())),
            word(entry.detail.as_deref()),
        ]);
    }
    show::write_table(context, &table)
}

/// The agent makes the tar while it sends it: there is no hash to compare, only an end.
fn rootfs(on: &OnNode, container: &str, output: &Path, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (_, client) = client(on)?;
    let container = freeze::container(&client, container)?;
    let (mut reader, note) = client.rootfs(&container.id)?;
    if let Some(note) = note {
        context.note(&note)?;
    }
    let dir = output.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".cryoscope-").tempfile_in(dir)?;
    let bar = context.progress();
    bar.stage("fetching the image");
    let mut piece = vec![0; 1 << 17];
    let mut done = 0_u64;
    loop {
        bar.step(done, None)?;
        let n = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("the image broke off; nothing of it is kept"),
        };
        file.write_all(piece.get(..n).unwrap_or_default()).with_context(|| output.display().to_string())?;
        done = done.saturating_add(n as u64);
    }
    drop(bar);
    file.as_file().sync_all()?;
    let put = file.persist_noclobber(output).map_err(|error| error.error);
    put.with_context(|| format!("{}: nothing is overwritten", output.display()))?;
    let line = format!("{}: {} of {}", output.display(), human_size(done), Called(&container));
    Ok(writeln!(context.out, "{}", escape_controls(&line))?)
}
