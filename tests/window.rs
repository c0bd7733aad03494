//! The window as a whole, driven by accessible names: no display and no graphics card needed.

#![cfg(feature = "gui")]

mod drive;

use std::time::Duration;

use cryoscope::base::Pid;
use cryoscope::jobs::ProgressView;
use cryoscope::session::{
    ArchivesCommand, Arrival, Command, JobsCommand, Model, PanelKind, ProcessTab, Settings, Target, ViewCommand,
};
use cryoscope::ui::App;
use drive::{run_until, until_open};
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

/// A window of 1280 by 800 without an archive.
fn window() -> Harness<'static, App> {
    drive::window([1280.0, 800.0], Vec::new())
}

/// Draws until what was asked for is carried out; spinners never come to rest, so no waiting for that.
fn settle(harness: &mut Harness<'_, App>) {
    harness.run_steps(4);
}

fn window_on_the_sample() -> Harness<'static, App> {
    let mut harness = window();
    harness.state_mut().ask(ArchivesCommand::OpenSample);
    until_open(&mut harness);
    harness
}

fn active_target(harness: &Harness<'_, App>) -> Target {
    harness.state().model().active().map(|archive| archive.target().clone()).unwrap_or_default()
}

#[test]
fn start_screen_offers_ways_to_begin() {
    let mut harness = window();
    settle(&mut harness);
    for name in ["Open archive…", "Open directory…", "Open the bundled sample", "Drop a checkpoint here"] {
        harness.get_by_label(name);
    }
}

#[test]
fn sample_opens_from_the_start_screen() {
    let mut harness = window();
    settle(&mut harness);
    harness.get_by_label("Open the bundled sample").click();
    until_open(&mut harness);
    harness.get_by_label("8 Processes");
    harness.get_by_label("7 .cache");
}

#[test]
fn click_on_a_process_shows_it_and_back_returns() {
    let mut harness = window_on_the_sample();
    harness.get_by_label("7 .cache").click();
    settle(&mut harness);
    assert_eq!(active_target(&harness), Target::process_tab(Pid(7), ProcessTab::Summary));
    harness.get_by_label("/tmp/.X11-unix/.cache (deleted)");
    harness.key_press_modifiers(Modifiers::ALT, Key::ArrowLeft);
    settle(&mut harness);
    assert_eq!(active_target(&harness), Target::Overview);
}

#[test]
fn place_that_was_visited_is_picked_from_the_list() {
    let mut harness = window_on_the_sample();
    for pid in [7, 8, 6] {
        harness.state_mut().ask(Command::go(Target::process(Pid(pid))));
        settle(&mut harness);
    }
    harness.get_by_label("Places visited").click();
    settle(&mut harness);
    harness.get_by_role_and_label(egui::Role::ListItem, "7 .cache, summary").click();
    settle(&mut harness);
    assert_eq!(active_target(&harness).pid(), Some(Pid(7)));
    // What lies ahead is there still.
    harness.get_by_label("Places visited").click();
    settle(&mut harness);
    harness.get_by_role_and_label(egui::Role::ListItem, "6 sh, summary").click();
    settle(&mut harness);
    assert_eq!(active_target(&harness).pid(), Some(Pid(6)));
}

#[test]
fn every_tab_of_every_process_can_be_drawn() {
    let mut harness = window_on_the_sample();
    let pids: Vec<_> = match harness.state().model().active() {
        Some(archive) => archive.checkpoint().processes.iter().map(|process| process.pid).collect(),
        None => Vec::new(),
    };
    assert_eq!(pids.len(), 8);
    for pid in pids {
        for tab in ProcessTab::ALL {
            harness.state_mut().ask(Command::go(Target::process_tab(pid, tab)));
            settle(&mut harness);
            assert_eq!(active_target(&harness), Target::process_tab(pid, tab));
        }
    }
    assert!(harness.state().model().notifications().is_empty(), "a panel has failed");
}

#[test]
fn every_panel_can_be_drawn_and_every_link_of_the_palette_followed() {
    let mut harness = window_on_the_sample();
    for kind in PanelKind::ALL {
        harness.state_mut().ask(ViewCommand::ShowPanel(kind));
        settle(&mut harness);
    }
    let targets: Vec<_> = match harness.state().model().active() {
        Some(archive) => archive.objects().iter().map(|object| object.target.clone()).collect(),
        None => Vec::new(),
    };
    assert!(targets.len() > 100);
    for target in targets {
        harness.state_mut().ask(Command::go(target.clone()));
        harness.run_steps(2);
    }
    settle(&mut harness);
    assert!(harness.state().model().notifications().is_empty(), "a panel has failed");
}

#[test]
fn palette_finds_a_process_by_a_few_letters() {
    let mut harness = window_on_the_sample();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::K);
    settle(&mut harness);
    harness.event(egui::Event::Text("healthch".into()));
    settle(&mut harness);
    harness.key_press(Key::Enter);
    settle(&mut harness);
    assert_eq!(active_target(&harness).pid(), Some(Pid(17)));
}

#[test]
fn filter_of_the_tree_keeps_ancestors() {
    let mut harness = window_on_the_sample();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num2);
    settle(&mut harness);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    settle(&mut harness);
    harness.event(egui::Event::Text("X11-unix/in".into()));
    settle(&mut harness);
    harness.get_by_label("16 cat");
    harness.get_by_label("6 sh");
    assert!(harness.query_by_label("17 healthcheck").is_none());
    harness.get_by_label("1 of 8 processes");
}

#[test]
fn tree_is_walked_by_keys() {
    let mut harness = window_on_the_sample();
    harness.get_by_role_and_label(egui::Role::ListItem, "1 python3").click();
    settle(&mut harness);
    for _ in 0..2 {
        harness.key_press(Key::ArrowDown);
        settle(&mut harness);
    }
    assert_eq!(active_target(&harness).pid(), Some(Pid(6)));
    assert!(harness.query_by_role_and_label(egui::Role::ListItem, "16 cat").is_some());
    harness.key_press(Key::ArrowLeft);
    settle(&mut harness);
    assert!(harness.query_by_role_and_label(egui::Role::ListItem, "16 cat").is_none());
    harness.key_press(Key::ArrowLeft);
    settle(&mut harness);
    assert_eq!(active_target(&harness).pid(), Some(Pid(1)));
}

#[test]
fn sheet_of_keys_opens_and_closes() {
    let mut harness = window();
    settle(&mut harness);
    harness.key_press(Key::Questionmark);
    settle(&mut harness);
    harness.get_by_label("Lists and tables");
    harness.key_press(Key::Escape);
    settle(&mut harness);
    assert!(harness.query_by_label("Lists and tables").is_none());
}

#[test]
fn evidence_is_hashed_in_the_background() {
    let mut harness = window_on_the_sample();
    harness.get_by_label("not hashed").click();
    run_until(&mut harness, |harness| {
        harness
            .state()
            .model()
            .active()
            .is_some_and(|archive| matches!(archive.hash(), cryoscope::session::HashState::Known(_)))
    });
    harness.get_by_label_contains("sha256 ");
}

#[test]
fn file_that_is_no_checkpoint_is_a_message_and_no_crash() {
    let mut harness = window();
    harness.state_mut().ask(ArchivesCommand::Open(vec!["/nonexistent/a.tar".into()]));
    run_until(&mut harness, |harness| !harness.state().model().notifications().is_empty());
    harness.get_by_label("Failed: Open a.tar");
    assert!(harness.state().model().active().is_none());
}

#[test]
fn panels_are_where_they_were_and_reset_puts_them_back() {
    let mut harness = window_on_the_sample();
    harness.get_by_role_and_label(egui::Role::Tab, "Mounts").click();
    settle(&mut harness);
    harness.get_by_label("Close Mounts").click();
    settle(&mut harness);
    let layout = harness.state().model().settings().layout.clone();
    assert!(layout.is_some());
    let settings = Settings { layout, ..Settings::default() };
    let app = App::new(&egui::Context::default(), settings, Vec::new()).with_settings_unsaved();
    *harness.state_mut() = app;
    harness.state_mut().ask(ArchivesCommand::OpenSample);
    until_open(&mut harness);
    assert!(harness.query_by_role_and_label(egui::Role::Tab, "Mounts").is_none());
    assert!(harness.query_by_role_and_label(egui::Role::Tab, "Images").is_some());
    harness.state_mut().ask(ViewCommand::ResetLayout);
    settle(&mut harness);
    harness.get_by_role_and_label(egui::Role::Tab, "Mounts");
    assert_eq!(harness.state().model().settings().layout, None);
}

#[test]
fn archive_that_is_opening_is_shown_once_it_takes_long() {
    let path = std::path::PathBuf::from("/evidence/slow.tar");
    let id = cryoscope::session::JobId(1);
    // What the driver would say of a job: it is not run here.
    let mut model = Model::new(Settings::default());
    let _ = cryoscope::session::apply(&mut model, ArchivesCommand::Open(vec![path.clone()]).into());
    let newest = [("checkpoint/core-1.img".to_owned(), 700)].into();
    let arrival = Arrival { path, nr_members: 12, nr_images: 9, nr_tasks: 3, unpacked_bytes: 4 << 20, newest };
    let _ = cryoscope::session::apply(&mut model, JobsCommand::Arrived { id, arrival }.into());
    let progress = ProgressView { stage: "decompressing", done: 1 << 20, total: Some(10 << 20) };
    let _ = cryoscope::session::apply(&mut model, JobsCommand::Progressed { id, progress }.into());
    std::thread::sleep(Duration::from_millis(220));
    let mut shown = Harness::builder().with_context_setup(cryoscope::ui::install).build_ui_state(
        |ui, asked: &mut Vec<Command>| match cryoscope::ui::opening::opening_of(ui, &model) {
            Some((job, arrival)) => asked.extend(cryoscope::ui::opening::opening_ui(ui, job, arrival)),
            None => panic!("it is not shown"),
        },
        Vec::new(),
    );
    shown.get_by_label("Opening slow.tar");
    shown.get_by_label_contains("1.0 MiB of 10.0 MiB  ·  4.0 MiB unpacked, 4.0 times as much");
    shown.get_by_label("12 members, 9 images, 3 tasks");
    shown.get_by_label("checkpoint/core-1.img");
    shown.get_by_label("Cancel").click();
    shown.run_steps(2);
    assert!(matches!(shown.state().as_slice(), [Command::Jobs(JobsCommand::Cancel(cancelled))] if *cancelled == id));
}
