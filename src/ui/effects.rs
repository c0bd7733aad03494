//! Effects that need a window.

use crate::session::{ArchivesCommand, Command, Effect, ExportCommand, FileChoice, JobId, SearchCommand, Theme};

use super::App;
use super::dialogs::{BaseDialog, Dialog, PairDialog, ParentDialog};
use super::palette::Palette;

/// The job that lists the system's fonts.
pub(super) const FONTS: JobId = JobId(FIRST_DIALOG);

/// Numbers of system dialogs lie above those of the model's jobs.
const FIRST_DIALOG: u64 = 1 << 48;

pub(super) fn run(app: &mut App, ctx: &egui::Context, effect: Effect) {
    match effect {
        Effect::CopyText(text) => ctx.copy_text(text),
        Effect::ShowPanel(kind) => app.show_panel(kind),
        Effect::ResetLayout => app.dock.reset(),
        Effect::OpenPalette => app.palette = Some(Palette::new(&app.model)),
        Effect::OpenShortcuts => app.dialog = Some(Dialog::Shortcuts),
        Effect::OpenAbout => app.dialog = Some(Dialog::About),
        Effect::FocusFilter => app.focus_filter(),
        Effect::FocusAddress => app.focus_address(),
        Effect::FocusSearch { pid } => app.panels.focus_search(pid),
        Effect::AskForBase => app.dialog = Some(Dialog::Base(BaseDialog::default())),
        Effect::AskToPair => app.dialog = Some(Dialog::Pair(PairDialog::default())),
        Effect::AskForParent => app.dialog = Some(Dialog::Parent(ParentDialog::default())),
        Effect::SetTheme(theme) => set_theme(ctx, theme),
        Effect::SetZoom(percent) => set_zoom(ctx, percent),
        Effect::ChooseFile(choice) => choose_file(app, choice),
        Effect::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
        // The driver has run these.
        Effect::StartJob { .. } | Effect::CancelJob(_) | Effect::OrderSandbox { .. } | Effect::HoldPull { .. } => {}
    }
}

pub(super) fn set_theme(ctx: &egui::Context, theme: Theme) {
    ctx.set_theme(match theme {
        Theme::System => egui::ThemePreference::System,
        Theme::Light => egui::ThemePreference::Light,
        Theme::Dark => egui::ThemePreference::Dark,
    });
}

pub(super) fn set_zoom(ctx: &egui::Context, percent: u32) {
    ctx.set_zoom_factor(percent as f32 / 100.0);
}

/// Asks through the system's dialog, on a thread of its own.
fn choose_file(app: &mut App, choice: FileChoice) {
    app.next_dialog += 1;
    let id = JobId(FIRST_DIALOG + app.next_dialog);
    app.driver.start(id, "File dialog".into(), move |_| {
        let dialog = rfd::FileDialog::new();
        let command: Option<Command> = match choice {
            FileChoice::OpenFiles => dialog
                .set_title("Open checkpoint archives")
                .pick_files()
                .map(|paths| ArchivesCommand::Open(paths).into()),
            FileChoice::OpenDirectory => dialog
                .set_title("Open a checkpoint directory")
                .pick_folders()
                .map(|paths| ArchivesCommand::Open(paths).into()),
            FileChoice::OpenBase { archive, is_directory } => {
                let dialog = dialog.set_title("Attach a base image");
                let path = if is_directory { dialog.pick_folder() } else { dialog.pick_file() };
                path.map(|path| ArchivesCommand::AttachBase { archive, path }.into())
            }
            FileChoice::OpenParent { archive, is_directory } => {
                let dialog = dialog.set_title("Supply a parent checkpoint");
                let path = if is_directory { dialog.pick_folder() } else { dialog.pick_file() };
                path.map(|path| ArchivesCommand::SupplyParent { archive, path }.into())
            }
            FileChoice::OpenRules => dialog
                .set_title("Choose YARA rules")
                .add_filter("YARA rules", &["yar", "yara", "rule", "rules"])
                .add_filter("All files", &["*"])
                .pick_files()
                .map(|paths| SearchCommand::UseRules(paths).into()),
            FileChoice::SaveHits { file_name, hits } => dialog
                .set_title("Save hits")
                .set_file_name(file_name)
                .save_file()
                .map(|path| ExportCommand::WriteHits { path, hits }.into()),
            FileChoice::SaveCopy(from) => {
                let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let path = dialog.set_title("Save").set_file_name(name).save_file();
                path.map(|path| ExportCommand::WriteCopy { from, path }.into())
            }
            FileChoice::SaveMemory { archive, pid, what } => {
                let dialog = dialog.set_title(what.title());
                let path = match what.file_name(pid) {
                    Some(name) => dialog.set_file_name(name).save_file(),
                    None => dialog.pick_folder(),
                };
                path.map(|path| ExportCommand::WriteMemory { archive, pid, what, path }.into())
            }
            FileChoice::Save { file_name, bytes } => dialog
                .set_title("Save")
                .set_file_name(file_name)
                .save_file()
                .map(|path| ExportCommand::WriteFile { path, bytes }.into()),
        };
        Ok(command)
    });
}
