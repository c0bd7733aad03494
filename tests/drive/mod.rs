//! A window without a display, driven by accessible names, and frames until a job has done its work.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cryoscope::session::{Settings, Theme};
use cryoscope::ui::App;
use egui_kittest::Harness;

/// A window of this size that opens `paths`. Settings of whoever runs the tests stay as they are.
pub(crate) fn window(size: [f32; 2], paths: Vec<PathBuf>) -> Harness<'static, App> {
    let settings = Settings { theme: Theme::Dark, ..Settings::default() };
    let app = App::new(&egui::Context::default(), settings, paths).with_settings_unsaved();
    Harness::builder().with_size(size).with_max_steps(60).with_context_setup(cryoscope::ui::install).build_ui_state(
        |ui, app: &mut App| {
            app.tick(ui.ctx());
            app.draw(ui);
        },
        app,
    )
}

/// Runs frames until `is_done`, which jobs may take a while to bring about, and a few more.
pub(crate) fn run_until<'a>(harness: &mut Harness<'a, App>, is_done: impl Fn(&Harness<'a, App>) -> bool) {
    let started = Instant::now();
    while !is_done(harness) {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come about");
        harness.run_steps(1);
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(4);
}

/// Until the first archive is open, and not only looked at on its way.
pub(crate) fn until_open(harness: &mut Harness<'_, App>) {
    run_until(harness, |harness| harness.state().model().active().is_some_and(|open| open.arriving().is_none()));
}
