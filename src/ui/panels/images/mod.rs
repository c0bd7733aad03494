//! The image files of CRIU: a list, and the records of the selected one as they are.

mod fields;
mod kinds;
mod records;

use std::cmp::Ordering;
use std::collections::HashMap;

use egui::{Frame, Panel, RichText, Ui};

use super::files::links::process_link;
use crate::base::{Issue, Pid, escape_controls};
use crate::checkpoint::{Checkpoint, ImageFile};
use crate::session::{
    ArchiveId, ArchivesCommand, Command, Content, ContentKey, ExportCommand, OpenArchive, PanelKind, ProcessTab,
    RecordCount, Requested, Target,
};
use crate::ui::tokens::{SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{
    Cell, Column, Follow, Loading, Table, TableRows, TableState, badge, button, empty_state, icon_button, link_row,
    paint_icon, target_link,
};
use crate::ui::{icons, text};
use records::{Loaded, RecordsState};

/// Images up to this size are read when they are looked at, larger ones when that is asked for.
const AT_ONCE: u64 = 64 << 20;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct ImagesState {
    table: TableState,
    follow: Follow<Wanted>,
    known: Option<(ArchiveId, Known)>,
    shown: ShownState,
}

/// What of an image a target names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    spot: Spot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    Whole,
    Record(usize),
    Offset(u64),
}

/// What is counted once for each archive.
#[derive(Debug, Default)]
struct Known {
    issues: HashMap<String, usize>,
    /// Images in the order people count in: `core-9.img` before `core-10.img`.
    order: Vec<usize>,
    /// Who a pages file belongs to: the pagemaps that name it.
    pages: HashMap<String, Vec<(String, Option<Pid>)>>,
}

impl Known {
    fn of(checkpoint: &Checkpoint) -> Known {
        let mut known = Known::default();
        let images = &checkpoint.images;
        known.order = (0..images.len()).collect();
        known.order.sort_by_cached_key(|at| images.get(*at).map(|image| natural_key(&image.name)));
        for issue in &checkpoint.issues {
            let base = issue.place.member.rsplit('/').next().unwrap_or_default();
            *known.issues.entry(base.to_owned()).or_default() += 1;
        }
        for process in &checkpoint.processes {
            if let Some(memory) = process.memory.known() {
                let user = (format!("pagemap-{}.img", process.pid), Some(process.pid));
                known.pages.entry(memory.pagemap.pages_name.clone()).or_default().push(user);
            }
        }
        for (shmid, memory) in &checkpoint.shared_memory {
            let user = (format!("pagemap-shmem-{shmid}.img"), None);
            known.pages.entry(memory.pagemap.pages_name.clone()).or_default().push(user);
        }
        known
    }
}

/// What is kept of the image that is shown.
#[derive(Debug, Default)]
struct ShownState {
    of: Option<(ArchiveId, String)>,
    /// The spot that was last gone to.
    at: Option<Spot>,
    wants_large: bool,
    loading: Option<Loading>,
    records: Option<RecordsState>,
}

impl ImagesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        self.table.focus_filter();
    }
}

fn wanted_of(target: &Target) -> Option<Wanted> {
    match target {
        Target::Image { name, record } => {
            let spot = record.map_or(Spot::Whole, Spot::Record);
            Some(Wanted { name: name.clone(), spot })
        }
        Target::ImageAt { name, offset } => Some(Wanted { name: name.clone(), spot: Spot::Offset(*offset) }),
        _ => None,
    }
}

/// Draws the panel.
#[must_use]
pub fn images_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut ImagesState) -> Vec<Command> {
    let mut commands = Vec::new();
    let checkpoint = archive.checkpoint();
    if state.known.as_ref().is_none_or(|(id, _)| *id != archive.id()) {
        state.known = Some((archive.id(), Known::of(checkpoint)));
    }
    let Some((_, known)) = &state.known else { return commands };
    state.follow.update(archive, wanted_of);
    let shown = state.follow.shown().cloned();
    let width = (ui.available_width() * 0.44).clamp(240.0, 440.0);
    let panel = Panel::left(ui.scope_id().with("images")).default_size(width).resizable(true);
    panel.size_range(200.0..=(ui.available_width() - 260.0).max(200.0)).frame(Frame::NONE).show(ui, |ui| {
        ui.set_min_size(ui.available_size());
        let target = shown.as_ref().map_or(Target::Overview, |shown| Target::image(shown.name.clone()));
        let table = Table::new("images", COLUMNS).empty_hint("No image files: see Issues for why none was found.");
        let counts = match archive.content(&ContentKey::RecordCounts) {
            Some(Requested::Ready(Content::RecordCounts(counts))) => Some(counts.as_slice()),
            Some(_) => None,
            None => {
                commands.push(ArchivesCommand::Read { archive: archive.id(), key: ContentKey::RecordCounts }.into());
                None
            }
        };
        let rows = ImageRows { checkpoint, known, counts };
        let key = u64::from(archive.id().0) << 1 | u64::from(counts.is_some());
        commands.extend(table.show(ui, &mut state.table, &rows, key, &target, |_| {}));
    });
    state.follow.clicked(&commands, wanted_of);
    egui::CentralPanel::default().frame(Frame::NONE).show(ui, |ui| {
        let image = shown.as_ref().and_then(|shown| Some((shown, checkpoint.image(&shown.name)?)));
        match (image, &shown) {
            (Some((wanted, image)), _) => {
                image_ui(ui, archive, image, wanted.spot, known, &mut state.shown, &mut commands)
            }
            (None, Some(shown)) => {
                let title = format!("There is no {}", escape_controls(&shown.name));
                empty_state(ui, icons::IMAGES, &title, "It is named somewhere, but is not in the archive.");
            }
            (None, None) => {
                let hint = "Every record of it is shown here, field by field, with the bytes it was read from.";
                empty_state(ui, icons::IMAGES, "Pick an image at the left", hint);
            }
        }
    });
    commands
}

fn image_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    image: &ImageFile,
    spot: Spot,
    known: &Known,
    state: &mut ShownState,
    commands: &mut Vec<Command>,
) {
    let key = ContentKey::Image(image.name.clone());
    if state.of.as_ref().is_none_or(|(id, name)| *id != archive.id() || *name != image.name) {
        *state = ShownState { of: Some((archive.id(), image.name.clone())), ..ShownState::default() };
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    let content = archive.content(&key);
    title_ui(ui, image, content, commands);
    let is_pages = matches!(image.kind, Some("PAGES" | "SHM_PAGES_OLD" | "TMPFS_DEV" | "TMPFS_IMG"));
    if is_pages {
        origin_ui(ui, archive.checkpoint(), image, known, commands);
    }
    match content {
        None if (image.size_bytes > AT_ONCE || is_pages) && !state.wants_large => {
            let hint = "Their bytes are read when you ask for them.";
            empty_state(ui, icons::BINARY, &text::bytes(image.size_bytes), hint);
            ui.add_space(SPACE_S);
            ui.vertical_centered(|ui| state.wants_large = button(ui, icons::VIEW, "Show the bytes").clicked());
        }
        None => commands.push(ArchivesCommand::Read { archive: archive.id(), key }.into()),
        Some(Requested::Loading(_)) => {
            ui.add_space(SPACE_S);
            state.loading.get_or_insert_with(Loading::start).show(ui, "Decoding…");
        }
        Some(Requested::Failed(why)) => {
            empty_state(ui, icons::ERROR, "The image could not be read", &escape_controls(why));
        }
        Some(Requested::Ready(Content::Image { raw, bytes, issues })) => {
            issues_ui(ui, issues, commands);
            let loaded = Loaded { raw, bytes, key: key_of(archive.id(), &image.name) };
            let records = state.records.get_or_insert_with(|| RecordsState::of(loaded));
            if state.at != Some(spot) {
                state.at = Some(spot);
                match spot {
                    Spot::Whole => {}
                    Spot::Record(at) => records.show_record(loaded, at),
                    Spot::Offset(offset) => {
                        let at = raw.records.partition_point(|record| record.offset <= offset);
                        records.show_record(loaded, at.saturating_sub(1));
                    }
                }
            }
            records::records_ui(ui, &image.name, loaded, records, commands);
        }
        Some(Requested::Ready(_)) => {}
    }
}

fn key_of(id: ArchiveId, name: &str) -> u64 {
    let seed = u64::from(id.0).wrapping_add(0x9e37_79b9);
    name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn title_ui(ui: &mut Ui, image: &ImageFile, content: Option<&Requested>, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    ui.add_space(SPACE_XS);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_M);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(18.0, 24.0), egui::Sense::hover());
        paint_icon(ui, rect, icons::IMAGES, 16.0, tokens.accent);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.add_space(SPACE_S);
            if let Some(Requested::Ready(Content::Image { bytes, .. })) = content
                && icon_button(ui, icons::SAVE, "Save as…").clicked()
            {
                let save = ExportCommand::SaveBytes { file_name: image.name.clone(), bytes: bytes.clone() };
                commands.push(save.into());
            }
            ui.label(RichText::new(text::bytes(image.size_bytes)).color(tokens.muted));
            badge(ui, image.kind.unwrap_or("unknown kind"), Tone::Neutral)
                .on_hover_text("The name crit has for the kind");
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                let name = escape_controls(&image.name).into_owned();
                let name = RichText::new(name).font(crate::ui::tokens::strong_font(14.0)).color(tokens.strong);
                ui.add(egui::Label::new(name).truncate().selectable(true));
            });
        });
    });
    ui.horizontal(|ui| {
        ui.add_space(SPACE_M);
        let sentence = RichText::new(kinds::sentence(image.kind)).color(tokens.muted);
        ui.add(egui::Label::new(sentence).truncate());
    });
    ui.add_space(SPACE_XS);
}

/// What pages and archives belong to.
fn origin_ui(ui: &mut Ui, checkpoint: &Checkpoint, image: &ImageFile, known: &Known, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.add_space(SPACE_M);
        link_row(ui, |ui| {
            if matches!(image.kind, Some("TMPFS_DEV" | "TMPFS_IMG")) {
                let target = Target::Panel(PanelKind::Filesystem);
                target_link(ui, commands, "Its files are in Filesystem", target);
            }
            for (pagemap, pid) in known.pages.get(&image.name).into_iter().flatten().take(8) {
                ui.label("laid out by");
                target_link(ui, commands, pagemap, Target::image(pagemap.clone()));
                if let Some(pid) = pid {
                    ui.label("memory of");
                    process_link(ui, checkpoint, *pid, commands);
                    target_link(ui, commands, "Memory map", Target::process_tab(*pid, ProcessTab::Memory));
                }
            }
        });
    });
    ui.add_space(SPACE_XS);
}

fn issues_ui(ui: &mut Ui, issues: &[Issue], commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    for issue in issues.iter().take(3) {
        ui.horizontal(|ui| {
            ui.add_space(SPACE_M);
            let (rect, _) = ui.allocate_exact_size(egui::vec2(16.0, 20.0), egui::Sense::hover());
            paint_icon(ui, rect, icons::ISSUE, 14.0, tokens.warning);
            let text = RichText::new(escape_controls(&issue.to_string()).into_owned()).color(tokens.warning);
            ui.add(egui::Label::new(text).truncate());
        });
    }
    if issues.len() > 3 {
        ui.horizontal(|ui| {
            ui.add_space(SPACE_M + 24.0);
            let label = format!("{} more issues", text::grouped(issues.len() as u64 - 3));
            target_link(ui, commands, &label, Target::Panel(PanelKind::Issues));
        });
    }
}

const COLUMNS: &[Column] = &[
    Column::left("Image", 180.0, "File of CRIU's image directory").at_least(150.0),
    Column::right("Records", 70.0, "How many it has; a + where it is cut, a dash where it has none by its kind"),
    Column::right("Size", 76.0, "In bytes"),
    Column::left("Kind", 110.0, "The name crit has for it; issues are counted beside"),
];

struct ImageRows<'a> {
    checkpoint: &'a Checkpoint,
    known: &'a Known,
    /// Records of each image, once they are counted.
    counts: Option<&'a [Option<RecordCount>]>,
}

impl ImageRows<'_> {
    fn count(&self, row: usize) -> Option<RecordCount> {
        *self.counts?.get(*self.known.order.get(row)?)?
    }

    fn image(&self, row: usize) -> Option<&ImageFile> {
        self.checkpoint.images.get(*self.known.order.get(row)?)
    }
}

impl TableRows for ImageRows<'_> {
    fn len(&self) -> usize {
        self.known.order.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(image) = self.image(row) else { return Cell::empty() };
        match column {
            0 => Cell::mono(escape_controls(&image.name)),
            1 => match (self.count(row), self.counts) {
                (Some(RecordCount { count, is_whole: true }), _) => Cell::mono(text::grouped(count as u64)),
                (Some(RecordCount { count, is_whole: false }), _) => {
                    Cell::mono(format!("{}+", text::grouped(count as u64))).tone(Tone::Warning)
                }
                (None, Some(_)) => Cell::mono("–").muted(),
                (None, None) => Cell::empty(),
            },
            2 => Cell::mono(text::bytes(image.size_bytes)).muted(),
            _ => {
                let kind = image.kind.unwrap_or("unknown");
                match self.known.issues.get(&image.name) {
                    Some(count) => {
                        let issues = text::counted(*count, "issue", "issues");
                        Cell::text(format!("{kind}, {issues}")).icon(icons::ISSUE, Tone::Warning)
                    }
                    None => Cell::text(kind).muted(),
                }
            }
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.image(a), self.image(b)) else { return Ordering::Equal };
        match column {
            // Rows stand in the order of names.
            0 => a.cmp(&b),
            1 => self.count(a).cmp(&self.count(b)),
            2 => left.size_bytes.cmp(&right.size_bytes),
            _ => left.kind.cmp(&right.kind),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.image(row).map(|image| Target::image(image.name.clone()))
    }
}

/// Orders `core-9.img` before `core-10.img`.
fn natural_key(name: &str) -> (String, Option<u64>, String) {
    let stem = name.trim_end_matches(".img");
    let prefix = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = stem.get(prefix.len()..).and_then(|digits| digits.parse().ok());
    (prefix.to_owned(), number, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["core-10.img", "core-9.img", "core-9", "pstree.img"];
        names.sort_by_key(|name| natural_key(name));
        assert_eq!(names, ["core-9", "core-9.img", "core-10.img", "pstree.img"]);
    }
}
