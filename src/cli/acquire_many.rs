//! `acquire --selector`: containers of many nodes at once, with a table of where each stands.
//!
//! Each node has a thread and does one container after another; nodes do not wait for each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::acquire_args::AcquireArgs;
use super::acquire_freeze::{Line, make_dir, wishes};
use super::context::Context;
use super::show::{self, size, word};
use crate::acquire::freeze::{Step, Way, Wishes};
use crate::acquire::selector::{Called, Selector};
use crate::acquire::wire::ContainerState;
use crate::acquire::{Client, Nodes, PairedNode, PullControl, Pulled, Route, Target};
use crate::base::{Progress as _, escape_controls};
use crate::jobs::{self, JobCtx, JobHandle, Outcome};

/// How often the table on the terminal is drawn anew.
const TICK: Duration = Duration::from_millis(100);

/// What threads tell, in the order in which it happened.
#[derive(Debug)]
enum Told {
    /// A container was chosen, or stands elsewhere.
    At { node: String, container: String, state: String },
    /// A job moved; only for JSON.
    Step { node: String, container: String, step: Step },
    /// It is here.
    Done { node: String, container: String, pulled: Box<Pulled> },
    /// It is not, or a node cannot be asked.
    Failed { node: String, container: Option<String>, problem: String },
    /// The analyst should know.
    Note { node: String, text: String },
}

type Inbox = Arc<Mutex<Vec<Told>>>;

/// A row of the table.
#[derive(Debug, Default)]
struct Row {
    state: String,
    size_bytes: Option<u64>,
    path: Option<String>,
    is_bad: bool,
}

pub(super) fn run(selector: &Selector, args: &AcquireArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let nodes = Nodes::open()?;
    let names = if args.on.is_empty() { nodes.names()? } else { args.on.clone() };
    anyhow::ensure!(!names.is_empty(), "no node is paired: `cryoscope acquire pair ADDRESS CODE` first");
    make_dir(&args.freeze.output)?;
    let inbox: Inbox = Inbox::default();
    let mut running = Vec::new();
    let mut table = Table::new(context.shows_progress());
    for name in names {
        match nodes.get(&name).map_err(anyhow::Error::from) {
            Ok(node) => running.push(start(node, selector, args, &inbox)),
            Err(error) => {
                tell(&inbox, Told::Failed { node: name, container: None, problem: format!("{error:#}") });
            }
        }
    }
    while !running.is_empty() {
        if super::interrupt::is_pressed() {
            // Dropping them cancels; what has arrived stays, and the nodes go on.
            drop(running);
            table.clear();
            return Err(crate::base::Cancelled.into());
        }
        std::thread::sleep(TICK);
        running.retain(|job: &JobHandle<()>| match job.try_take() {
            None => true,
            Some(outcome) => {
                if let Outcome::Failed(error) = outcome {
                    let node = job.name().to_owned();
                    tell(&inbox, Told::Failed { node, container: None, problem: format!("{error:#}") });
                }
                false
            }
        });
        table.take(&inbox, context)?;
    }
    table.take(&inbox, context)?;
    table.clear();
    table.finish(context)
}

fn tell(inbox: &Inbox, told: Told) {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).push(told);
}

fn start(node: PairedNode, selector: &Selector, args: &AcquireArgs, inbox: &Inbox) -> JobHandle<()> {
    let (selector, inbox) = (selector.clone(), Arc::clone(inbox));
    let route = Route { proxy: args.route.proxy.clone(), ..Route::default() };
    let (wishes, target) = (wishes(&args.freeze), Target::Dir(args.freeze.output.clone()));
    jobs::spawn(node.name.clone(), Arc::new(|| {}), move |ctx| {
        one_node(&node, &route, &selector, &wishes, &target, &inbox, ctx)
    })
}

fn one_node(
    node: &PairedNode,
    route: &Route,
    selector: &Selector,
    wishes: &Wishes,
    target: &Target,
    inbox: &Inbox,
    ctx: &JobCtx,
) -> anyhow::Result<()> {
    let client = Client::new(node, route)?;
    let containers = client.containers()?;
    let name = || node.name.clone();
    for text in containers.issues {
        tell(inbox, Told::Note { node: name(), text });
    }
    let is_meant = |it: &&crate::acquire::wire::Container| {
        selector.selects(it) && !matches!(it.state, ContainerState::Exited | ContainerState::Created)
    };
    let chosen: Vec<_> = containers.containers.iter().filter(is_meant).collect();
    for container in &chosen {
        let (node, container) = (name(), Called(container).to_string());
        tell(inbox, Told::At { node, container, state: "waits".into() });
    }
    for container in chosen {
        ctx.step(0, None)?;
        let called = Called(container).to_string();
        let control = PullControl::default();
        let way = Way { node, client: &client, target, control: &control, progress: ctx };
        let outcome = way.freeze(container, wishes, &mut |step| {
            let state = match &step {
                Step::Asked(job) | Step::Job(job) => format!("{}: {}", super::acquire::spelled(&job.state), job.step),
                Step::Pulling { .. } => "fetching".to_owned(),
                Step::Done(_) => return,
            };
            tell(inbox, Told::At { node: name(), container: called.clone(), state });
            tell(inbox, Told::Step { node: name(), container: called.clone(), step });
        });
        for text in control.take_notes() {
            tell(inbox, Told::Note { node: name(), text });
        }
        let container = called;
        match outcome {
            Ok(pulled) => tell(inbox, Told::Done { node: name(), container, pulled: Box::new(pulled) }),
            Err(error) => {
                let error = anyhow::Error::from(error);
                if super::is_cancelled(&error) {
                    return Err(error);
                }
                // One that fails does not keep the others.
                let problem = format!("{error:#}");
                tell(inbox, Told::Failed { node: name(), container: Some(container), problem });
            }
        }
    }
    Ok(())
}

/// Where everything stands.
struct Table {
    rows: BTreeMap<(String, Option<String>), Row>,
    drawn: Option<MultiProgress>,
    bars: BTreeMap<(String, Option<String>), ProgressBar>,
}

impl Table {
    fn new(is_drawn: bool) -> Table {
        let drawn = is_drawn.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Table { rows: BTreeMap::new(), drawn, bars: BTreeMap::new() }
    }

    /// Takes what was told, and writes it for programs.
    fn take(&mut self, inbox: &Inbox, context: &mut Context<'_>) -> anyhow::Result<()> {
        let told = std::mem::take(&mut *inbox.lock().unwrap_or_else(PoisonError::into_inner));
        let is_any = !told.is_empty();
        for told in told {
            match told {
                Told::At { node, container, state } => {
                    self.set((node, Some(container)), Row { state, ..Row::default() });
                }
                Told::Step { node, container, step } if context.json => match &step {
                    Step::Asked(job) | Step::Job(job) => {
                        context.write_json_line(&Line::Job { node: &node, container: &container, job })?;
                    }
                    Step::Pulling { archive } => {
                        let container = Some(container.as_str());
                        context.write_json_line(&Line::Pulling { node: &node, container, archive })?;
                    }
                    Step::Done(_) => {}
                },
                Told::Step { .. } => {}
                Told::Done { node, container, pulled } => {
                    if context.json {
                        context.write_json_line(&Line::done(&node, Some(&container), &pulled))?;
                    }
                    let row = Row {
                        state: "verified".into(),
                        size_bytes: Some(pulled.manifest.archive.size_bytes),
                        path: Some(pulled.path.display().to_string()),
                        is_bad: false,
                    };
                    self.set((node, Some(container)), row);
                }
                Told::Failed { node, container, problem } => {
                    if context.json {
                        let (container, problem) = (container.as_deref(), problem.clone());
                        context.write_json_line(&Line::Failed { node: &node, container, problem })?;
                    }
                    let problem = problem.strip_prefix(&format!("{node}: ")).unwrap_or(&problem).to_owned();
                    let row = Row { state: format!("failed: {problem}"), is_bad: true, ..Row::default() };
                    self.set((node, container), row);
                }
                Told::Note { node, text } if context.json => {
                    context.write_json_line(&Line::Note { node: &node, text })?;
                }
                Told::Note { node, text } => context.note(&format!("{node}: {text}"))?,
            }
        }
        if is_any && context.json {
            context.out.flush()?;
        }
        Ok(())
    }

    fn set(&mut self, key: (String, Option<String>), row: Row) {
        if let Some(drawn) = &self.drawn {
            let bar = self.bars.entry(key.clone()).or_insert_with(|| {
                let bar = drawn.add(ProgressBar::no_length());
                let style = ProgressStyle::with_template("{spinner} {wide_msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.enable_steady_tick(TICK);
                bar
            });
            let line = format!("{:<16} {:<32} {}", key.0, key.1.as_deref().unwrap_or(""), row.state);
            bar.set_message(escape_controls(&line).into_owned());
        }
        self.rows.insert(key, row);
    }

    fn clear(&mut self) {
        if let Some(drawn) = self.drawn.take() {
            // The table on standard output says it again.
            let _ = drawn.clear();
        }
    }

    fn finish(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let n_bad = self.rows.values().filter(|row| row.is_bad).count();
        let n_all = self.rows.len();
        if !context.json {
            let mut table = show::table(context.style, &["NODE", "CONTAINER", "STATE", "SIZE", "ARCHIVE"]);
            for ((node, container), row) in &self.rows {
                table.add_row([
                    word(Some(node)),
                    word(container.as_deref()),
                    word(Some(&row.state)),
                    size(row.size_bytes),
                    word(row.path.as_deref()),
                ]);
            }
            show::write_table(context, &table)?;
        }
        anyhow::ensure!(n_all > 0, "no running container of these nodes has these labels");
        anyhow::ensure!(n_bad == 0, "{n_bad} of {n_all} were not acquired");
        Ok(())
    }
}
