//! Pictures of the main views, light and dark, drawn by wgpu on whatever Vulkan there is: a software
//! rasterizer (Debian: mesa-vulkan-drivers) will do. `UPDATE_SNAPSHOTS=1` writes new pictures.

#![cfg(feature = "gui")]

use std::time::{Duration, Instant};

use cryoscope::base::{FileId, MntId, Pid, VirtAddr};
use cryoscope::session::{
    ArchivesCommand, Command, ContentKey, PanelKind, ProcessTab, Requested, Settings, Target, Theme,
};
use cryoscope::ui::App;
use egui_kittest::{Harness, SnapshotOptions, SnapshotResults};

/// Rasterizers round differently: this many pixels may differ before it is a failure.
const MAX_DIFFERENT_PIXELS: usize = 400;

fn window(theme: Theme, size: [f32; 2]) -> Harness<'static, App> {
    let egui_theme = if theme == Theme::Light { egui::Theme::Light } else { egui::Theme::Dark };
    let app = App::new(&egui::Context::default(), Settings { theme, ..Settings::default() }, Vec::new())
        .with_settings_unsaved();
    Harness::builder()
        .with_size(size)
        .with_theme(egui_theme)
        .with_context_setup(cryoscope::ui::install)
        .with_options(SnapshotOptions::new().threshold(1.2).max_failed_pixels(MAX_DIFFERENT_PIXELS))
        .wgpu()
        .build_ui_state(
            |ui, app: &mut App| {
                app.tick(ui.ctx());
                app.draw(ui);
            },
            app,
        )
}

fn open_sample(harness: &mut Harness<'_, App>) {
    harness.state_mut().ask(ArchivesCommand::OpenSample);
    let started = Instant::now();
    while harness.state().model().active().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "the sample does not open");
        harness.run_steps(1);
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(8);
}

/// Large enough for the whole window.
const WHOLE: [f32; 2] = [1100.0, 700.0];
/// Large enough for a panel with details.
const SMALL: [f32; 2] = [860.0, 520.0];

fn view(name: &str, is_open: bool, command: Option<Command>) {
    view_of_size(name, WHOLE, is_open, command);
}

/// A panel by something that is selected in it. What jobs have to read is there when the picture is made.
fn panel(name: &str, target: Target) {
    view_of_size(name, SMALL, true, Some(Command::go(target)));
}

fn view_of_size(name: &str, size: [f32; 2], is_open: bool, command: Option<Command>) {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, size);
        if is_open {
            open_sample(&mut harness);
        }
        if let Some(command) = command.clone() {
            harness.state_mut().ask(command);
        }
        harness.run_steps(8);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(10));
            harness.run_steps(1);
        }
        harness.run_steps(4);
        harness.snapshot(format!("{name}_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

#[test]
fn start() {
    view("start", false, None);
}

#[test]
fn overview() {
    view("overview", true, None);
}

#[test]
fn process_summary() {
    view("process_summary", true, Some(Command::go(Target::process(Pid(7)))));
}

#[test]
fn memory_map() {
    view("memory_map", true, Some(Command::go(Target::process_tab(Pid(7), ProcessTab::Memory))));
}

#[test]
fn memory() {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, WHOLE);
        open_sample(&mut harness);
        let process = harness.state().model().active().unwrap().checkpoint().process(Pid(1)).unwrap();
        let sp = VirtAddr(process.threads[0].registers.known().unwrap().sp);
        harness.state_mut().ask(Command::go(Target::Address { pid: Pid(1), addr: sp }));
        let started = Instant::now();
        // Rows and minimap are made by jobs.
        let is_ready = |harness: &Harness<'_, App>| {
            let archive = harness.state().model().active().unwrap();
            let is_ready = |key| matches!(archive.content(&key), Some(Requested::Ready(_)));
            is_ready(ContentKey::Rows(Pid(1))) && is_ready(ContentKey::Shape(Pid(1)))
        };
        while !is_ready(&harness) {
            assert!(started.elapsed() < Duration::from_secs(60), "the memory is not laid out");
            harness.run_steps(1);
            std::thread::sleep(Duration::from_millis(5));
        }
        harness.run_steps(8);
        harness.snapshot(format!("memory_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

#[test]
fn files() {
    panel("files", Target::File(FileId(10)));
}

#[test]
fn sockets() {
    panel("sockets", Target::Socket(FileId(18)));
}

#[test]
fn mounts() {
    panel("mounts", Target::Mount(MntId(102)));
}

#[test]
fn filesystem() {
    panel("filesystem", Target::RootfsPath("/etc/ld.so.preload".into()));
}

#[test]
fn documents() {
    panel("documents", Target::Document("spec.dump".into()));
}

#[test]
fn images() {
    panel("images", Target::image("pstree.img"));
}

#[test]
fn issues() {
    panel("issues", Target::Panel(PanelKind::Issues));
}
