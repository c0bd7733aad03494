//! Frames of the window on a checkpoint of 5,000 processes: no work per frame grows with it.

#![cfg(feature = "gui")]
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test makes its own archive")]

#[path = "rebuild/mod.rs"]
mod rebuild;
#[expect(dead_code, reason = "benches make more of it")]
#[path = "benches/synth.rs"]
mod synth;

use std::time::{Duration, Instant};

use cryoscope::base::Pid;
use cryoscope::session::{ArchivesCommand, Command, PanelKind, ProcessTab, Settings, Target, ViewCommand};
use cryoscope::ui::App;
use egui::{Key, Modifiers};
use egui_kittest::Harness;

/// What a frame may take on the processor at the 99th percentile, in a build for tests, which draws
/// several times slower than a release.
const BUDGET: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 16 });

/// Frames that are measured of every view.
const FRAMES: usize = 60;

fn window(path: &std::path::Path) -> Harness<'static, App> {
    let ctx = egui::Context::default();
    let app = App::new(&ctx, Settings::default(), vec![path.to_path_buf()]).with_settings_unsaved();
    let mut harness =
        Harness::builder().with_size([1280.0, 800.0]).with_context_setup(cryoscope::ui::install).build_ui_state(
            |ui, app: &mut App| {
                app.tick(ui.ctx());
                app.draw(ui);
            },
            app,
        );
    let started = Instant::now();
    while harness.state().model().active().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "the checkpoint does not open");
        harness.run_steps(1);
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(8);
    harness
}

/// The 99th percentile of frames while `input` happens before each of them.
fn percentile(harness: &mut Harness<'_, App>, mut input: impl FnMut(&mut Harness<'_, App>, usize)) -> Duration {
    let mut times: Vec<_> = (0..FRAMES)
        .map(|frame| {
            input(harness, frame);
            let started = Instant::now();
            harness.step();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[FRAMES * 99 / 100]
}

#[test]
fn no_view_of_many_processes_leaves_the_frame_budget() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("many.tar");
    synth::many_processes(&path, 5_000);
    let mut harness = window(&path);
    let mut slow = Vec::new();
    let mut check = |name: String, took: Duration| {
        if took > BUDGET {
            slow.push(format!("{name}: {took:?}"));
        }
    };
    for kind in PanelKind::ALL {
        harness.state_mut().ask(ViewCommand::ShowPanel(kind));
        harness.run_steps(4);
        check(format!("{kind:?} at rest"), percentile(&mut harness, |_, _| {}));
    }
    for tab in ProcessTab::ALL {
        harness.state_mut().ask(Command::go(Target::process_tab(Pid(1), tab)));
        harness.run_steps(4);
        check(format!("{tab:?} at rest"), percentile(&mut harness, |_, _| {}));
    }
    let pids: Vec<_> = match harness.state().model().active() {
        Some(archive) => archive.checkpoint().processes.iter().map(|process| process.pid).collect(),
        None => Vec::new(),
    };
    let walking = percentile(&mut harness, |harness, frame| {
        harness.state_mut().ask(Command::select(Target::process(pids[frame * 83 % pids.len()])));
    });
    check("walking through processes".into(), walking);
    harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Processes));
    harness.run_steps(4);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    harness.run_steps(2);
    let typing = percentile(&mut harness, |harness, frame| {
        let event = if frame % 6 < 3 { egui::Event::Text("1".into()) } else { key(Key::Backspace) };
        harness.event(event);
    });
    check("typing into the filter".into(), typing);
    harness.state_mut().ask(ArchivesCommand::CloseActive);
    assert!(slow.is_empty(), "{slow:#?}");
}

fn key(key: Key) -> egui::Event {
    egui::Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers: Modifiers::NONE }
}
