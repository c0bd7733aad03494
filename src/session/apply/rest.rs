//! The window's own state, messages, and what leaves the program.

use std::path::PathBuf;
use std::sync::Arc;

use super::{save_settings, start_job};
use crate::session::export::Written;
use crate::session::space::bookmarks;
use crate::session::{
    BookmarksCommand, Effect, ExportCommand, FileChoice, JobWork, Level, Model, NotificationsCommand, OpenArchive,
    ViewCommand,
};

pub(super) fn apply_view(model: &mut Model, command: ViewCommand) -> Vec<Effect> {
    match command {
        ViewCommand::ShowPanel(panel) => vec![Effect::ShowPanel(panel)],
        ViewCommand::ResetLayout => {
            model.settings.layout = None;
            vec![Effect::ResetLayout, save_settings(model)]
        }
        ViewCommand::KeepLayout(layout) => {
            if model.settings.layout.as_ref() == Some(&layout) {
                return Vec::new();
            }
            model.settings.layout = Some(layout);
            vec![save_settings(model)]
        }
        ViewCommand::OpenPalette => vec![Effect::OpenPalette],
        ViewCommand::OpenShortcuts => vec![Effect::OpenShortcuts],
        ViewCommand::OpenAbout => vec![Effect::OpenAbout],
        ViewCommand::FocusFilter => vec![Effect::FocusFilter],
        ViewCommand::GoToAddress => vec![Effect::FocusAddress],
        ViewCommand::SetTheme(theme) => {
            model.settings.theme = theme;
            vec![Effect::SetTheme(theme), save_settings(model)]
        }
        ViewCommand::ZoomIn => {
            model.settings.zoom_in();
            zoomed(model)
        }
        ViewCommand::ZoomOut => {
            model.settings.zoom_out();
            zoomed(model)
        }
        ViewCommand::ZoomReset => {
            model.settings.set_zoom(100);
            zoomed(model)
        }
    }
}

fn zoomed(model: &mut Model) -> Vec<Effect> {
    vec![Effect::SetZoom(model.settings.zoom_percent), save_settings(model)]
}

pub(super) fn apply_notifications(model: &mut Model, command: NotificationsCommand) -> Vec<Effect> {
    match command {
        NotificationsCommand::Dismiss(id) => model.notifications.see(id),
        NotificationsCommand::DismissAll => model.notifications.see_all(),
        NotificationsCommand::Clear => model.notifications.clear(),
        NotificationsCommand::ReportFailure { title, detail } => {
            model.notifications.push(Level::Error, title, detail);
        }
    }
    Vec::new()
}

pub(super) fn apply_export(model: &mut Model, command: ExportCommand) -> Vec<Effect> {
    match command {
        ExportCommand::CopyText { what, text } => {
            model.notifications.push(Level::Success, format!("Copied: {what}"), "");
            vec![Effect::CopyText(text)]
        }
        ExportCommand::SaveBytes { file_name, bytes } => {
            vec![Effect::ChooseFile(FileChoice::Save { file_name: safe_file_name(&file_name), bytes })]
        }
        ExportCommand::WriteFile { path, bytes } => {
            let title = format!("Save {}", path.display());
            vec![start_job(model, title, JobWork::WriteFile { path, bytes, evidence: evidence(model) }).1]
        }
        ExportCommand::WriteHits { path, hits } => {
            let title = format!("Save {}", path.display());
            vec![start_job(model, title, JobWork::WriteHits { path, hits, evidence: evidence(model) }).1]
        }
        ExportCommand::SaveCopy(from) => vec![Effect::ChooseFile(FileChoice::SaveCopy(from))],
        ExportCommand::WriteCopy { from, path } => {
            let title = format!("Save {}", path.display());
            let evidence = evidence(model).into_iter().chain([from.clone()]).collect();
            vec![start_job(model, title, JobWork::Copy { from, path, evidence }).1]
        }
        ExportCommand::SaveMemory { pid, what } => {
            let archive = model.active().map(OpenArchive::id);
            let choice = archive.map(|archive| FileChoice::SaveMemory { archive, pid, what });
            choice.map(Effect::ChooseFile).into_iter().collect()
        }
        ExportCommand::WriteMemory { archive, pid, what, path } => {
            let Some(archive) = model.archive(archive) else { return Vec::new() };
            let (checkpoint, memory) = (Arc::clone(&archive.checkpoint), Arc::clone(&archive.memory));
            let title = format!("Save {}", path.display());
            let work = JobWork::WriteMemory { checkpoint, memory, pid, what, path, evidence: evidence(model) };
            vec![start_job(model, title, work).1]
        }
        ExportCommand::MemoryWritten(Written { path, detail, lacks_some }) => {
            let level = if lacks_some { Level::Warning } else { Level::Success };
            model.notifications.push(level, format!("Saved {}", path.display()), detail);
            Vec::new()
        }
        ExportCommand::Written { path, len_bytes } => {
            model.notifications.push(Level::Success, format!("Saved {}", path.display()), format!("{len_bytes} bytes"));
            Vec::new()
        }
    }
}

pub(super) fn apply_bookmarks(model: &mut Model, command: BookmarksCommand) -> Vec<Effect> {
    let Some(evidence) = model.active().map(|archive| bookmarks::evidence_name(archive.path())) else {
        return Vec::new();
    };
    let all = &mut model.settings.bookmarks;
    match command {
        BookmarksCommand::Set { pid, addr, note } => bookmarks::set(all, evidence, pid, addr, &note),
        BookmarksCommand::Remove { pid, addr } => bookmarks::remove(all, &evidence, pid, addr),
    }
    vec![save_settings(model)]
}

/// Every archive that is open.
fn evidence(model: &Model) -> Vec<PathBuf> {
    model.archives.iter().filter(|archive| !archive.is_sample).map(|archive| archive.path.clone()).collect()
}

/// A name from evidence as the proposal of a file name: no directories, nothing invisible.
fn safe_file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe: String =
        last.chars().filter(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ')).take(120).collect();
    let safe = safe.trim_start_matches('.').trim();
    if safe.is_empty() { "recovered.bin".into() } else { safe.into() }
}

#[cfg(test)]
mod tests {
    use super::safe_file_name;

    #[test]
    fn names_from_evidence_lose_directories_and_oddities() {
        assert_eq!(safe_file_name("../../etc/passwd"), "passwd");
        assert_eq!(safe_file_name("a\u{202e}gnp.exe"), "agnp.exe");
        assert_eq!(safe_file_name("/tmp/..."), "recovered.bin");
        assert_eq!(safe_file_name(".bashrc"), "bashrc");
    }
}
