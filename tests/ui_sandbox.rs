//! The sandbox panel, driven by accessible names, without a machine: what it says and offers before one runs.

#![cfg(feature = "gui")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod drive;

use cryoscope::session::sandbox::PlanState;
use cryoscope::session::{ArchivesCommand, PanelKind, ViewCommand};
use cryoscope::ui::App;
use drive::{run_until, until_open};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

type Window = Harness<'static, App>;

/// The panel on the sample without its base image, with its plan.
fn window() -> Window {
    let mut harness = drive::window([1400.0, 1000.0], vec!["fixtures/compromised-webapp.tar.zst".into()]);
    until_open(&mut harness);
    with_plan(harness)
}

fn with_plan(mut harness: Window) -> Window {
    harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Sandbox));
    run_until(&mut harness, |harness| {
        let sandbox = harness.state().model().active().unwrap().sandbox();
        matches!(sandbox.plan(), PlanState::Made(_))
    });
    harness.run_steps(4);
    harness
}

#[test]
fn plan_says_what_is_missing_and_what_stands_in() {
    let harness = window();
    let has = |part: &str| harness.query_all_by_label_contains(part).next().is_some();
    for part in
        ["Root file system", "are missing or others than they were", "Attach a base image", "/etc/hosts", "Build id"]
    {
        assert!(has(part), "{part}");
    }
}

#[test]
fn bundled_sample_brings_its_base_image_and_gets_it_again() {
    let mut harness = drive::window([1400.0, 1000.0], Vec::new());
    harness.state_mut().ask(ArchivesCommand::OpenSample);
    let has_base = |harness: &Window| harness.state().model().active().is_some_and(|open| open.has_base());
    run_until(&mut harness, has_base);
    let mut harness = with_plan(harness);
    assert!(harness.query_by_label_contains("9 in the base image, 3 among the changes, of 12").is_some());
    assert!(harness.query_by_label_contains("are missing or others").is_none());
    let sample = harness.state().model().active().unwrap().id();
    harness.state_mut().ask(ArchivesCommand::DetachBase(sample));
    run_until(&mut harness, |harness| !has_base(harness));
    harness.state_mut().ask(ArchivesCommand::OpenSample);
    run_until(&mut harness, has_base);
    assert_eq!(harness.state().model().archives().len(), 1);
    let told = |harness: &Window| {
        let list = harness.state().model().notifications().newest_first();
        list.map(|note| note.title.clone()).collect::<Vec<_>>()
    };
    assert!(told(&harness).is_empty(), "nobody asked for it: {:?}", told(&harness));
    // One that the analyst chooses is told, also one that does not fit.
    harness
        .state_mut()
        .ask(ArchivesCommand::AttachBase { archive: sample, path: "fixtures/base/namespaces.tar.zst".into() });
    run_until(&mut harness, |harness| !told(harness).is_empty());
    assert_eq!(told(&harness), ["namespaces.tar.zst has none of the mapped files"]);
}

#[test]
fn console_and_processes_say_that_nothing_has_run() {
    let mut harness = window();
    for tab in ["Console", "Processes", "System calls", "Network", "Files", "What changed"] {
        harness.get_all_by_label(tab).last().unwrap().click();
        harness.run_steps(4);
        assert!(harness.query_by_label("It has not run yet").is_some(), "{tab}");
    }
}
