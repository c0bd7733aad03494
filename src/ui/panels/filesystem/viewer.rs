//! One file: its content as text or hex, and what is known of it.

use egui::{Frame, Margin, RichText, Ui};

use super::super::files::kinds::mode_label;
use super::super::files::links::{file_link, place_link};
use super::{badges_of, look_of, time_label};
use crate::checkpoint::Checkpoint;
use crate::session::filesystem::{Entry, Origin};
use crate::session::{ArchivesCommand, Command, Content, ContentKey, OpenArchive, Requested};
use crate::ui::tokens::{SPACE_L, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{
    BytesView, Loading, Value, button, detail_page, detail_title, empty_state, property, property_ui, section,
    tab_strip,
};
use crate::ui::{icons, text};

/// Contents up to this size are read when they are looked at, larger ones when that is asked for.
const AT_ONCE: u64 = 32 << 20;

/// What the viewer keeps.
#[derive(Debug, Default)]
pub(super) struct ViewerState {
    is_info: bool,
    of: Option<Origin>,
    wants_large: bool,
    loading: Option<Loading>,
    view: BytesView,
}

/// Draws the viewer; true when it shall be closed.
pub(super) fn viewer_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    origin: Origin,
    state: &mut ViewerState,
    commands: &mut Vec<Command>,
) -> bool {
    let checkpoint = archive.checkpoint();
    let Some(entry) = origin.entry(checkpoint) else { return true };
    if state.of != Some(origin) {
        state.of = Some(origin);
        state.wants_large = false;
        state.loading = None;
    }
    let (icon, tone) = look_of(entry);
    let tone = if tone == Tone::Neutral { Tone::Accent } else { tone };
    let badges = badges_of(entry);
    let is_closed = detail_title(ui, icon, tone, &entry.path().label(), &badges);
    let key = entry.content_key();
    let tabs = [("Content", 0), ("Info", 0)];
    if key.is_some() {
        state.is_info = tab_strip(ui, &tabs, usize::from(state.is_info)) == 1;
    }
    match key {
        Some(key) if !state.is_info => content_ui(ui, archive, entry, key, state, commands),
        _ => info_ui(ui, checkpoint, entry, commands),
    }
    is_closed
}

fn content_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    entry: Entry<'_>,
    key: ContentKey,
    state: &mut ViewerState,
    commands: &mut Vec<Command>,
) {
    let size = entry.size_bytes().unwrap_or_default();
    ui.add_space(SPACE_XS);
    match archive.content(&key) {
        None if size > AT_ONCE && !state.wants_large => {
            let title = format!("{} of content", text::bytes(size));
            empty_state(ui, icons::BINARY, &title, "Large files are read when you ask for them.");
            ui.add_space(SPACE_S);
            ui.vertical_centered(|ui| state.wants_large = button(ui, icons::VIEW, "Read it").clicked());
        }
        None => commands.push(ArchivesCommand::Read { archive: archive.id(), key }.into()),
        Some(Requested::Loading(_)) => {
            state.loading.get_or_insert_with(Loading::start).show(ui, "Reading…");
        }
        Some(Requested::Failed(why)) => {
            empty_state(ui, icons::ERROR, "The content could not be read", &crate::base::escape_controls(why));
        }
        Some(Requested::Ready(Content::Bytes(bytes))) if bytes.is_empty() => {
            empty_state(ui, icons::FILE, "The file is empty", "");
        }
        Some(Requested::Ready(Content::Bytes(bytes))) => {
            let name = entry.path().label();
            let name = name.rsplit('/').next().unwrap_or_default();
            let seed = match key {
                ContentKey::RootfsEntry(at) => 2 * at as u64,
                ContentKey::Recovered(at) => 2 * at as u64 + 1,
                _ => 0,
            };
            let seed = u64::from(archive.id().0) << 32 ^ seed;
            commands.extend(state.view.show(ui, seed, bytes, 0, name));
        }
        Some(Requested::Ready(_)) => {}
    }
}

fn info_ui(ui: &mut Ui, checkpoint: &Checkpoint, entry: Entry<'_>, commands: &mut Vec<Command>) {
    let id =
        entry.path().as_bytes().iter().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    detail_page(ui, id, |ui| {
        section(ui, "File", entry.kind(), |ui| {
            property(ui, commands, "Path", "In the container", Value::Mono(&entry.path().label()));
            if let Some(target) = entry.link_target() {
                property(ui, commands, "Leads to", "Where the link leads", Value::Mono(&target.label()));
            }
            if let Some(mode) = entry.mode() {
                property(ui, commands, "Mode", "Type and permissions", Value::Mono(&mode_label(mode)));
            }
            if let Some((uid, gid)) = entry.owner() {
                property(ui, commands, "Owner", "User and group", Value::Mono(&format!("{uid}:{gid}")));
            }
            if let Some(size) = entry.size_bytes() {
                let size = format!("{} ({})", text::grouped(size), text::bytes(size));
                property(ui, commands, "Size", "In bytes", Value::Mono(&size));
            }
            if let Some(mtime) = entry.mtime() {
                property(ui, commands, "Modified", "In UTC", Value::Mono(&time_label(mtime)));
            }
            if let Entry::Recovered(_, file) = entry {
                property_ui(ui, "Recorded in", "Where the bytes lie", |ui| {
                    place_link(ui, checkpoint, &file.place, commands);
                });
                for id in file.files.iter().take(40) {
                    property_ui(ui, "Open file", "That leads here", |ui| file_link(ui, checkpoint, *id, commands));
                }
            }
        });
        if let Entry::Deleted { .. } = entry {
            Frame::NONE.inner_margin(Margin::symmetric(0, SPACE_L as i8)).show(ui, |ui| {
                let why = "Its content is in the container's image, not in the checkpoint. If a process still had it open, it is also listed as a ghost.";
                ui.add(egui::Label::new(RichText::new(why).color(Tokens::get(ui).muted)).wrap());
            });
        }
    });
}
