//! Start, pause, stop, and what a run gets.

use egui::{Align, ComboBox, Layout, RichText, Ui};

use crate::sandbox::backend::Backend;
use crate::sandbox::microvm::Acceleration;
use crate::sandbox::plan::NetworkMode;
use crate::sandbox::run::Why;
use crate::session::sandbox::{Ended, Phase, PlanState, Readiness, SandboxRun, Traced};
use crate::session::{Command, OpenArchive, SandboxCommand};
use crate::ui::icons;
use crate::ui::tokens::{SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{badge, button, primary_button};

const SECONDS: [u32; 6] = [10, 30, 60, 300, 900, 3600];
const MEMORY_MIB: [u32; 6] = [512, 1024, 2048, 4096, 8192, 16_384];
const CPUS: [u32; 4] = [1, 2, 4, 8];
/// Width of the row from which on a badge has room beside all that can be set.
const ROOM_FOR_BOTH: f32 = 1080.0;
/// How long a step is.
const STEP_MS: u64 = 100;

pub(super) fn controls_ui(ui: &mut Ui, archive: &OpenArchive, readiness: &Readiness, commands: &mut Vec<Command>) {
    let sandbox = archive.sandbox();
    // How the last run went and what the next one gets: side by side where there is room.
    let has_two_rows = sandbox.run().is_some() && ui.available_width() < ROOM_FOR_BOTH;
    ui.add_space(SPACE_XS);
    row(ui, |ui| {
        match sandbox.run().filter(|run| run.is_running()) {
            Some(run) => running_ui(ui, archive, run, commands),
            None => start_ui(ui, archive, readiness, commands),
        }
        if !sandbox.is_running() && !has_two_rows {
            wishes_ui(ui, archive, commands);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            if let Some(run) = sandbox.run() {
                state_ui(ui, run);
            }
        });
    });
    if !sandbox.is_running() && has_two_rows {
        row(ui, |ui| wishes_ui(ui, archive, commands));
    }
    ui.add_space(SPACE_XS);
    let y = ui.cursor().top() - 0.5;
    ui.painter().hline(ui.max_rect().x_range(), y, egui::Stroke::new(1.0, Tokens::get(ui).line));
}

fn row(ui: &mut Ui, draw: impl FnOnce(&mut Ui)) {
    let size = egui::vec2(ui.available_width(), 30.0);
    ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.add_space(SPACE_S);
        draw(ui);
    });
}

fn start_ui(ui: &mut Ui, archive: &OpenArchive, readiness: &Readiness, commands: &mut Vec<Command>) {
    let sandbox = archive.sandbox();
    let why_not = match (readiness, sandbox.plan()) {
        (Readiness::Known(_), _) if !readiness.is_ready(sandbox.wishes().backend) => {
            Some("Parts of the sandbox are missing: see the plan")
        }
        (Readiness::Known(_), PlanState::Made(planned)) if planned.is_refused() => {
            Some("The archive attacks whoever restores it: see the dangers in the plan")
        }
        (Readiness::Known(_), PlanState::Made(_)) => None,
        (_, PlanState::Failed(_)) => Some("There is no plan"),
        _ => Some("The plan is being made"),
    };
    let text = if sandbox.run().is_some() { "Run again" } else { "Run" };
    let response = ui.add_enabled_ui(why_not.is_none(), |ui| primary_button(ui, icons::PLAY, text)).inner;
    let response = match why_not {
        Some(why) => response.on_disabled_hover_text(why),
        None => response.on_hover_text("Lets the processes go on, in a sandbox that nothing leaves"),
    };
    if response.clicked() {
        commands.push(SandboxCommand::Start(archive.id()).into());
    }
}

fn running_ui(ui: &mut Ui, archive: &OpenArchive, run: &SandboxRun, commands: &mut Vec<Command>) {
    let id = archive.id();
    if button(ui, icons::STOP, "Stop").on_hover_text("Kills the machine; nothing of it is left").clicked() {
        commands.push(SandboxCommand::Stop(id).into());
    }
    let is_paused = run.is_paused();
    let (icon, text) = if is_paused { (icons::PLAY, "Go on") } else { (icons::PAUSE, "Pause") };
    let can_pause = run.phase() == &Phase::Running;
    let response = ui.add_enabled_ui(can_pause, |ui| button(ui, icon, text)).inner;
    if response.on_hover_text("All processes stand still where they are").clicked() {
        commands.push(SandboxCommand::Pause { archive: id, is_paused: !is_paused }.into());
    }
    if is_paused {
        let hint = "The processes go on for a tenth of a second, and stand still again";
        if button(ui, icons::PLAY, "Step 100 ms").on_hover_text(hint).clicked() {
            commands.push(SandboxCommand::Step { archive: id, ms: STEP_MS }.into());
        }
    }
}

fn wishes_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let wishes = archive.sandbox().wishes();
    let mut new = wishes;
    backend_ui(ui, &mut new.backend);
    ui.label(RichText::new("for").color(tokens.muted));
    choose(ui, "Time", &SECONDS, &mut new.seconds, seconds);
    ui.label(RichText::new("with").color(tokens.muted));
    choose(ui, "Memory of the machine", &MEMORY_MIB, &mut new.memory_mib, |mib| {
        if mib % 1024 == 0 { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
    });
    choose(ui, "Processors of the machine", &CPUS, &mut new.cpus, |cpus| {
        if cpus == 1 { "1 processor".to_owned() } else { format!("{cpus} processors") }
    });
    let hint = "When the time is over a new checkpoint is taken in the machine, and opened beside this one";
    let why_not = new.backend.lacks(false, true).map(|(_, why)| why);
    ui.add_enabled_ui(why_not.is_none(), |ui| {
        ui.checkbox(&mut new.freezes_again, "freeze again")
            .on_hover_text(hint)
            .on_disabled_hover_text(why_not.unwrap_or_default());
    });
    let hint =
        "A sink inside the machine answers DNS, accepts every connection, and records all packets; nothing leaves";
    let mut has_sink = new.network == NetworkMode::Sink;
    ui.checkbox(&mut has_sink, "sink").on_hover_text(hint);
    new.network = if has_sink { NetworkMode::Sink } else { NetworkMode::None };
    let why_not = new.backend.lacks(true, false).map(|(_, why)| why);
    let traces = ui.add_enabled_ui(why_not.is_none(), |ui| trace_ui(ui, archive, &mut new.traced));
    traces.response.on_disabled_hover_text(why_not.unwrap_or_default());
    ui.checkbox(&mut new.starts_stopped, "stopped").on_hover_text("Restored, the processes stand still at first");
    if new != wishes {
        commands.push(SandboxCommand::Wish { archive: archive.id(), wishes: new }.into());
    }
}

/// What the processes are restored in. Whether this machine has it, the plan says.
fn backend_ui(ui: &mut Ui, backend: &mut Backend) {
    let words = |backend: Backend| match backend {
        Backend::Microvm => "microVM",
        Backend::Container => "container",
    };
    let combo = ComboBox::from_id_salt("sandbox backend").width(78.0).selected_text(words(*backend));
    let response = combo.show_ui(ui, |ui| {
        let hint = "A virtual machine of its own, with a kernel of its own";
        ui.selectable_value(backend, Backend::Microvm, words(Backend::Microvm)).on_hover_text(hint);
        let hint =
            "Namespaces of this machine's kernel: at once, and a hole in the kernel is a hole in all of it. Needs root";
        ui.selectable_value(backend, Backend::Container, words(Backend::Container)).on_hover_text(hint);
    });
    let text = format!("Restored in: {}", words(*backend));
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, &text));
    response.response.on_hover_text("What the processes are restored in");
}

/// Whose system calls are wanted: nobody's, everybody's, or those of a process; the selected one is offered.
fn trace_ui(ui: &mut Ui, archive: &OpenArchive, traced: &mut Traced) {
    let words = |traced: Traced| match traced {
        Traced::Nobody => "no calls".to_owned(),
        Traced::All => "all calls".to_owned(),
        Traced::Process(pid) => format!("calls of {pid}"),
    };
    let combo = ComboBox::from_id_salt("sandbox trace").width(84.0).selected_text(words(*traced));
    let response = combo.show_ui(ui, |ui| {
        for choice in [Traced::Nobody, Traced::All] {
            ui.selectable_value(traced, choice, words(choice));
        }
        if let Some(process) = archive.selected_pid().and_then(|pid| archive.checkpoint().process(pid)) {
            let name = process.comm_label();
            let choice = Traced::Process(process.pid);
            ui.selectable_value(traced, choice, format!("calls of {} {name}, the selected process", process.pid));
        }
    });
    let text = format!("System calls that are told: {}", words(*traced));
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, &text));
    let hint = "System calls are told by the kernel; no process is touched, and none can tell. A process' calls come \
                with those of what it starts";
    response.response.on_hover_text(hint);
}

fn seconds(seconds: u32) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn choose(ui: &mut Ui, name: &str, all: &[u32], value: &mut u32, words: impl Fn(u32) -> String) {
    let response =
        ComboBox::from_id_salt(("sandbox", name)).width(64.0).selected_text(words(*value)).show_ui(ui, |ui| {
            for choice in all {
                ui.selectable_value(value, *choice, words(*choice));
            }
        });
    let text = format!("{name}: {}", words(*value));
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, &text));
    response.response.on_hover_text(name);
}

/// What it is at, in a word.
fn state_ui(ui: &mut Ui, run: &SandboxRun) {
    let tokens = Tokens::get(ui);
    let (text, tone) = match run.phase() {
        Phase::Preparing => ("preparing the disk", Tone::Accent),
        Phase::Booting => ("booting", Tone::Accent),
        Phase::Restoring => ("restoring", Tone::Accent),
        Phase::Running if run.is_paused() => ("paused", Tone::Warning),
        Phase::Running => ("running", Tone::Success),
        Phase::Ended(Ended::Stopped(Why::TimeOver)) => ("time is over", Tone::Neutral),
        Phase::Ended(Ended::Stopped(Why::Exited)) => ("its processes have ended", Tone::Neutral),
        Phase::Ended(Ended::Stopped(Why::NotRestored) | Ended::NotRestored(_)) => ("not restored", Tone::Error),
        Phase::Ended(Ended::Stopped(Why::Told) | Ended::Cancelled) => ("stopped", Tone::Neutral),
        Phase::Ended(Ended::Failed(_)) => ("failed", Tone::Error),
    };
    badge(ui, text, tone);
    let mut note = format!("{} s", run.age().as_secs());
    if run.acceleration() == Some(Acceleration::Tcg) {
        note.push_str(", emulated");
    }
    let hint = "Without KVM every instruction is emulated: some ten times slower";
    ui.label(RichText::new(note).color(tokens.muted)).on_hover_text(hint);
    if run.is_running() {
        ui.ctx().request_repaint_after(std::time::Duration::from_millis(500));
    }
}
