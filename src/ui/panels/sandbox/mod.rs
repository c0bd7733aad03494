//! Letting the container go on in a machine of its own: readiness, plan, controls, what it does.
//!
//! | file | draws |
//! |---|---|
//! | `controls` | start, pause, stop, and what a run gets |
//! | `ready` | which parts of the sandbox are there |
//! | `plan` | what a restore would do, and what speaks against it |
//! | `console` | what the machine and the container say |
//! | `processes` | the processes as they are now |
//! | `calls` | system calls |
//! | `reached` | attempted connections, what the sink heard, sockets |
//! | `files` | open files, and those that changed |
//! | `changes` | what was frozen again against what it was before |

mod calls;
mod changes;
mod console;
mod controls;
mod files;
mod plan;
mod processes;
mod reached;
mod ready;

use egui::Ui;

use crate::session::sandbox::{PlanState, Readiness};
use crate::session::{ArchiveId, Command, JobRow, OpenArchive, SandboxCommand};
use crate::ui::widgets::{TableState, tab_strip};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct SandboxState {
    tab: Tab,
    /// The archive and the state of its run that the tab was chosen for.
    chosen_for: Option<(ArchiveId, bool)>,
    processes: TableState,
    calls: TableState,
    reached: TableState,
    files: TableState,
    changes: TableState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tab {
    #[default]
    Plan,
    Console,
    Processes,
    Calls,
    Reached,
    Files,
    Changes,
}

impl Tab {
    const ALL: [Tab; 7] = [Tab::Plan, Tab::Console, Tab::Processes, Tab::Calls, Tab::Reached, Tab::Files, Tab::Changes];
}

impl SandboxState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        match self.tab {
            Tab::Plan | Tab::Console => {}
            Tab::Processes => self.processes.focus_filter(),
            Tab::Calls => self.calls.focus_filter(),
            Tab::Reached => self.reached.focus_filter(),
            Tab::Files => self.files.focus_filter(),
            Tab::Changes => self.changes.focus_filter(),
        }
    }
}

/// Draws the panel.
#[must_use]
pub fn sandbox_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    readiness: &Readiness,
    jobs: &[JobRow],
    state: &mut SandboxState,
) -> Vec<Command> {
    let mut commands = Vec::new();
    let sandbox = archive.sandbox();
    if matches!(readiness, Readiness::Unknown) {
        commands.push(SandboxCommand::Check.into());
    }
    if matches!(sandbox.plan(), PlanState::Unknown) && archive.arriving().is_none() {
        commands.push(SandboxCommand::Plan(archive.id()).into());
    }
    // A run that starts is watched; another archive is shown with what it is at.
    let now = (archive.id(), sandbox.is_running());
    if state.chosen_for != Some(now) {
        let is_same = state.chosen_for.is_some_and(|(id, _)| id == archive.id());
        if sandbox.is_running() {
            state.tab = Tab::Console;
        } else if !is_same {
            state.tab = if sandbox.run().is_some() { Tab::Console } else { Tab::Plan };
        }
        state.chosen_for = Some(now);
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    controls::controls_ui(ui, archive, readiness, &mut commands);
    let run = sandbox.run();
    let tabs = [
        ("Plan", 0),
        ("Console", run.map_or(0, |run| run.lines().len())),
        ("Processes", run.map_or(0, |run| run.processes().len())),
        ("System calls", run.map_or(0, |run| run.seen().calls().len())),
        ("Network", run.map_or(0, |run| run.seen().reached().len())),
        ("Files", run.map_or(0, |run| run.seen().changed_files().len())),
        ("What changed", run.and_then(|run| run.seen().changes()).map_or(0, |changes| changes.processes.len())),
    ];
    let at = Tab::ALL.iter().position(|tab| *tab == state.tab).unwrap_or_default();
    state.tab = Tab::ALL.get(tab_strip(ui, &tabs, at)).copied().unwrap_or_default();
    match (state.tab, run) {
        (Tab::Plan, _) => plan::plan_ui(ui, archive, readiness, jobs, &mut commands),
        (_, None) => crate::ui::widgets::empty_state(
            ui,
            crate::ui::icons::SANDBOX,
            "It has not run yet",
            "Run lets the processes go on from where they were frozen, in a virtual machine that nothing leaves.",
        ),
        (Tab::Console, Some(run)) => console::console_ui(ui, run, &mut commands),
        (Tab::Processes, Some(run)) => {
            processes::processes_ui(ui, archive, run, &mut state.processes, &mut commands);
        }
        (Tab::Calls, Some(run)) => calls::calls_ui(ui, archive, run, &mut state.calls, &mut commands),
        (Tab::Reached, Some(run)) => reached::reached_ui(ui, archive, run, &mut state.reached, &mut commands),
        (Tab::Files, Some(run)) => files::files_ui(ui, archive, run, &mut state.files, &mut commands),
        (Tab::Changes, Some(run)) => changes::changes_ui(ui, archive, run, &mut state.changes, &mut commands),
    }
    commands
}
