//! The window: egui panels over the session.
//!
//! | file | draws |
//! |---|---|
//! | [`app`] | one frame: keys, top bar, workspace, status bar, what lies over them |
//! | [`dock`] | the workspace of panels |
//! | [`menu`] | top bar: menus, places, archives |
//! | [`palette`] | the command palette |
//! | [`dialogs`] | sheet of keys, about |
//! | [`notifications`] | messages that come and go |
//! | [`status_bar`] | what is open, what runs |
//! | [`start`], [`opening`] | the screen without an archive, and while the first one unpacks |
//! | [`panels`] | one file each |
//! | [`widgets`] | what panels are made of |
//! | [`tokens`], [`fonts`], [`icons`] | the look |
//!
//! A panel is a function `NAME_ui(ui, what it draws, &mut its state) -> Vec<Command>`. It does no
//! IO and no work that grows with the evidence: lists are virtual, what is derived is kept in the
//! panel's state under a key.
//!
//! Recipe for a new panel: a file in [`panels`] with state and function, a field in
//! [`panels::Panels`] and an arm in its `ui`, a [`PanelKind`](crate::session::PanelKind) with an
//! action, a click test.

pub mod app;
pub mod arriving;
pub mod dialogs;
pub mod dock;
mod effects;
pub mod fonts;
pub mod icons;
mod keys;
mod layout;
pub mod menu;
pub mod names;
pub mod notifications;
pub mod opening;
pub mod palette;
pub mod panels;
pub mod start;
pub mod status_bar;
pub mod text;
pub mod tokens;
pub mod widgets;

use std::path::PathBuf;

pub use app::App;

/// Opens the window, on `paths` if there are any, with `base` as the image that their containers started from, and on the
/// bundled sample if that is wanted. Returns when it is closed.
///
/// # Errors
/// There is no display, or no way to draw on it.
pub fn run(paths: Vec<PathBuf>, base: Option<PathBuf>, opens_sample: bool) -> anyhow::Result<()> {
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Cryoscope")
            .with_app_id("cryoscope")
            .with_inner_size([1280.0, 800.0])
            .with_min_inner_size([760.0, 480.0])
            .with_drag_and_drop(true),
        // We add them ourselves, without making a frame wait for them.
        system_font_fallback: false,
        ..eframe::NativeOptions::default()
    };
    let create = move |cc: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, Box<dyn std::error::Error + Send + Sync>> {
        install(&cc.egui_ctx);
        let (settings, problem) = crate::session::Settings::load();
        let mut app = match base {
            Some(base) => {
                let mut app = App::new(&cc.egui_ctx, settings, Vec::new());
                app.ask(crate::session::ArchivesCommand::OpenWithBase { paths, base });
                app
            }
            None => App::new(&cc.egui_ctx, settings, paths),
        }
        .with_system_fonts(&cc.egui_ctx);
        if let Some(detail) = problem {
            let title = "Settings could not be read".to_owned();
            app.ask(crate::session::NotificationsCommand::ReportFailure { title, detail });
        }
        if opens_sample {
            app.ask(crate::session::ArchivesCommand::OpenSample);
        }
        Ok(Box::new(app))
    };
    eframe::run_native("cryoscope", options, Box::new(create))
        .map_err(|err| anyhow::anyhow!("cannot open a window: {err}"))
}

/// Gives `ctx` our fonts and our look.
pub fn install(ctx: &egui::Context) {
    fonts::install(ctx);
    tokens::install(ctx);
    // Zoom is an action of ours, with its own keys.
    ctx.options_mut(|options| options.zoom_with_keyboard = false);
}
