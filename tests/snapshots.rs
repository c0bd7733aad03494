//! Pictures of the main views, light and dark, drawn by wgpu on whatever Vulkan there is: a software
//! rasterizer (Debian: mesa-vulkan-drivers) will do. `UPDATE_SNAPSHOTS=1` writes new pictures.

#![cfg(feature = "gui")]

use std::time::{Duration, Instant};

use cryoscope::base::{FileId, MntId, Pid, VirtAddr};
use cryoscope::session::search::Query;
use cryoscope::session::{
    ArchivesCommand, Command, ContentKey, NotificationsCommand, PanelKind, ProcessTab, Requested, SearchCommand,
    SearchRequest, Settings, Target, Theme, ViewCommand,
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

#[test]
fn memory() {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, [1100.0, 700.0]);
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

/// A window on the zoo of processes with its base image, at a target, when `is_ready`.
fn with_base(name: &str, target: Target, is_ready: impl Fn(&Harness<'_, App>) -> bool) {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, WHOLE);
        let (paths, base) = (vec!["fixtures/process-zoo.tar.zst".into()], "fixtures/base/image.tar.zst".into());
        harness.state_mut().ask(ArchivesCommand::OpenWithBase { paths, base });
        let started = Instant::now();
        let mut has_gone = false;
        while !has_gone || !is_ready(&harness) {
            assert!(started.elapsed() < Duration::from_secs(60), "{name} is not ready");
            harness.run_steps(1);
            std::thread::sleep(Duration::from_millis(5));
            let has_base = harness.state().model().active().is_some_and(|archive| archive.has_base());
            if has_base && !has_gone {
                has_gone = true;
                // Messages that come and go are no part of it.
                harness.state_mut().ask(NotificationsCommand::DismissAll);
                harness.state_mut().ask(Command::go(target.clone()));
                harness.run_steps(4);
            }
        }
        harness.run_steps(8);
        harness.snapshot(format!("{name}_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

fn is_read(harness: &Harness<'_, App>, key: ContentKey) -> bool {
    let content = harness.state().model().active().and_then(|archive| archive.content(&key));
    matches!(content, Some(Requested::Ready(_)))
}

#[test]
fn threads() {
    let target = Target::Thread { pid: Pid(16), tid: Pid(17) };
    with_base("threads", target, |harness| is_read(harness, ContentKey::Stacks(Pid(16))));
}

#[test]
fn disassembly() {
    let target = Target::Code { pid: Pid(16), addr: VirtAddr(0x44_6cfc) };
    with_base("disassembly", target, |harness| is_read(harness, ContentKey::Code(Pid(16))));
}

#[test]
fn structures() {
    let target = Target::Address { pid: Pid(16), addr: VirtAddr(0x40_0010) };
    with_base("structures", target, |harness| {
        is_read(harness, ContentKey::Fields(Pid(16)))
            && is_read(harness, ContentKey::Rows(Pid(16)))
            && is_read(harness, ContentKey::Shape(Pid(16)))
    });
}

#[test]
fn base_image() {
    view("base_image", true, Some(ArchivesCommand::AskForBase.into()));
}

#[test]
fn search() {
    let query = Query::text("AKIAIOSFODNN7EXAMPLE");
    let request = SearchRequest { query, ..SearchRequest::default() };
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, WHOLE);
        open_sample(&mut harness);
        harness.state_mut().ask(SearchCommand::Start(request.clone()));
        harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Search));
        let is_done = |app: &App| {
            let shown = app.model().active().and_then(|archive| archive.searches().shown());
            shown.is_some_and(|shown| !shown.is_running())
        };
        let started = Instant::now();
        while !is_done(harness.state()) {
            assert!(started.elapsed() < Duration::from_secs(60), "the search does not end");
            harness.run_steps(1);
        }
        harness.state_mut().ask(SearchCommand::Step { is_forward: true });
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(10));
            harness.run_steps(1);
        }
        harness.snapshot(format!("search_{suffix}"));
        results.extend_harness(&mut harness);
    }
}
