//! What rows of memory have in common, whether they show bytes or instructions: addresses, borders of areas, words.

use egui::text::{LayoutJob, TextWrapping};
use egui::{Align2, Color32, FontId, Id, Painter, Pos2, Rect, RichText, Role, Sense, Stroke, Ui, WidgetInfo};

use crate::base::{Pid, VirtAddr, escape_controls};
use crate::checkpoint::Vma;
use crate::checkpoint::memory_map::{MemoryMap, VmaKind};
use crate::memory::{AddressName, AddressSpace, Origin};
use crate::session::space::name_of;
use crate::session::{Command, OpenArchive, Target};
use crate::ui::text;
use crate::ui::tokens::{self, SPACE_S, Tokens};
use crate::ui::widgets::{mono_text, target_link};

/// Height of a row in points.
pub(in crate::ui::panels) const ROW: f32 = 18.0;

/// Words that have less room than this are left out, in points.
const LEAST_WIDTH: f32 = 24.0;

/// Draws the parts of rows over a rectangle.
pub(in crate::ui::panels) struct RowPainter {
    pub(in crate::ui::panels) tokens: &'static Tokens,
    pub(in crate::ui::panels) painter: Painter,
    /// Of all rows.
    pub(in crate::ui::panels) rect: Rect,
    /// Where addresses stand, in points.
    pub(in crate::ui::panels) addr: f32,
    /// Digits of an address.
    pub(in crate::ui::panels) digits: usize,
}

/// Width of a letter of the monospaced font, in points.
pub(in crate::ui::panels) fn char_width(ui: &Ui) -> f32 {
    // Of many, as they are laid out in a row: each is rounded on its own.
    let galley = ui.painter().layout_no_wrap("0".repeat(64), tokens::mono_font(), Color32::PLACEHOLDER);
    galley.size().x / 64.0
}

/// Digits that the addresses of a process need: 8, 12 or 16.
pub(in crate::ui::panels) fn address_digits(map: &MemoryMap) -> usize {
    // One area of the kernel at the very end does not make all addresses longer.
    let top = map.vmas.iter().rev().find(|vma| vma.kind != VmaKind::Vsyscall).map_or(0, |vma| vma.end.0);
    if top > 1 << 48 {
        16
    } else if top > 1 << 32 {
        12
    } else {
        8
    }
}

impl RowPainter {
    /// For the addresses of a process, so many points from the left edge.
    pub(in crate::ui::panels) fn new(ui: &Ui, rect: Rect, addr: f32, map: &MemoryMap) -> RowPainter {
        RowPainter {
            tokens: Tokens::get(ui),
            painter: ui.painter_at(rect),
            rect,
            addr: rect.left() + addr,
            digits: address_digits(map),
        }
    }

    /// Monospaced text at `x`; its place.
    pub(in crate::ui::panels) fn put(&self, x: f32, row: Rect, text: &str, color: Color32) -> Rect {
        let at = Pos2::new(x, row.center().y);
        self.painter.text(at, Align2::LEFT_CENTER, text, tokens::mono_font(), color)
    }

    /// Text in a line, cut at the right edge; where it ends.
    pub(in crate::ui::panels) fn put_cut(&self, x: f32, row: Rect, text: &str, font: FontId, color: Color32) -> f32 {
        self.put_job(x, row, LayoutJob::simple_singleline(text.to_owned(), font, color))
    }

    /// Small words, cut at the right edge; where they end.
    pub(in crate::ui::panels) fn put_words(&self, x: f32, row: Rect, text: &str, color: Color32) -> f32 {
        self.put_cut(x, row, text, tokens::small_font(), color)
    }

    /// A line in colours of its own, cut at the right edge; where it ends.
    pub(in crate::ui::panels) fn put_job(&self, x: f32, row: Rect, mut job: LayoutJob) -> f32 {
        let width = self.rect.right() - SPACE_S - x;
        if width < LEAST_WIDTH {
            return x;
        }
        job.wrap = TextWrapping::truncate_at_width(width);
        let galley = self.painter.layout_job(job);
        let end = x + galley.size().x;
        self.painter.galley(Pos2::new(x, row.center().y - galley.size().y / 2.0), galley, Color32::PLACEHOLDER);
        end
    }

    /// An address; the middle of one that is longer than the others is left out.
    pub(in crate::ui::panels) fn address(&self, row: Rect, addr: VirtAddr, color: Color32) {
        let digits = self.digits;
        let mut label = format!("{:0digits$x}", addr.0);
        if label.len() > digits {
            label = format!("{}…{}", &label[..4], &label[label.len() + 5 - digits..]);
        }
        self.put(self.addr, row, &label, color);
    }

    /// A dashed line through a row, from the left edge until `until` and on from `from`.
    pub(in crate::ui::panels) fn dashes(&self, row: Rect, until: f32, from: f32) {
        let stroke = Stroke::new(1.0, self.tokens.line);
        let y = row.center().y;
        for (from, until) in [(row.left() + SPACE_S, until - SPACE_S), (from + SPACE_S, row.right() - SPACE_S)] {
            let ends = [Pos2::new(from, y), Pos2::new(until, y)];
            self.painter.extend(egui::Shape::dashed_line(&ends, stroke, 3.0, 3.0));
        }
    }

    /// The row above an area, with its permissions at `x`; a click leads to its row in the memory map.
    pub(in crate::ui::panels) fn border_ui(
        &self,
        ui: &Ui,
        row: Rect,
        id: Id,
        of: (Pid, &Vma),
        x: f32,
        commands: &mut Vec<Command>,
    ) {
        let (tokens, (pid, vma)) = (self.tokens, of);
        let (size, kind, path) = (text::bytes(vma.len_bytes()), vma.kind.word(), vma.path.label());
        let name = format!("{} {} {size} {kind} {path}", vma.start, vma.perms()).trim_end().to_owned();
        let border = ui.interact(row.intersect(self.rect), id, Sense::click());
        border.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
        self.painter.rect_filled(row, 0.0, if border.hovered() { tokens.hover } else { tokens.chrome });
        self.painter.hline(row.x_range(), row.top() + 0.5, Stroke::new(1.0, tokens.line));
        self.address(row, vma.start, tokens.text);
        let is_rwx = vma.prot & 6 == 6;
        let perms = self.put(x, row, &vma.perms(), if is_rwx { tokens.warning } else { tokens.text });
        let end = self.put_words(perms.right() + 2.0 * SPACE_S, row, &format!("{size}  {kind}"), tokens.muted);
        self.put_cut(end + 2.0 * SPACE_S, row, &path, tokens::mono_font(), tokens.strong);
        if border.clicked() {
            commands.push(Command::go(Target::Vma { pid, start: vma.start }));
        }
        border.on_hover_text(format!("{name}\nClick for its row in the memory map"));
    }
}

/// An address in a line: what it is called and where its byte lies.
pub(in crate::ui::panels) fn place_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    space: &AddressSpace<'_>,
    at: VirtAddr,
    name: Option<&AddressName>,
    commands: &mut Vec<Command>,
) {
    let tokens = Tokens::get(ui);
    let small = |text: String| RichText::new(text).font(tokens::small_font()).color(tokens.muted);
    ui.label(mono_text(at.to_string()).color(tokens.strong));
    let Some(segment) = space.segment_at(at) else {
        ui.label(small("not mapped".to_owned()));
        return;
    };
    let name = name.map_or_else(|| name_of(segment.vma, at), ToString::to_string);
    ui.add(egui::Label::new(mono_text(escape_controls(&name)).color(tokens.text)).truncate());
    ui.label(mono_text(segment.vma.perms()).color(tokens.muted));
    if let Some(place) = space.place_of(at) {
        match Target::of_place(archive.checkpoint(), &place) {
            Some(target) => {
                target_link(ui, commands, &place.to_string(), target);
            }
            None => {
                ui.add(egui::Label::new(mono_text(place.to_string()).color(tokens.muted)).truncate());
            }
        }
    }
    ui.add(egui::Label::new(small(origin_words_in(archive, segment.origin))).truncate());
}

/// Where bytes come from, in a sentence's half.
pub(in crate::ui::panels) fn origin_words(origin: Origin) -> String {
    match origin {
        Origin::Dump => "in this checkpoint".to_owned(),
        Origin::Parent { depth: 1 } => "in the parent checkpoint".to_owned(),
        Origin::Parent { depth } => format!("in a parent checkpoint, {depth} before this"),
        Origin::Shared { shmid, depth: 0 } => format!("in shared memory {shmid}"),
        Origin::Shared { shmid, depth } => format!("in shared memory {shmid}, {depth} checkpoints before this"),
        Origin::File { file } => format!("from file {file}, as it was when the archive was made"),
        Origin::Zero => "zeros: never written to".to_owned(),
        Origin::Absent(why) => why.to_string(),
    }
}

/// As [`origin_words`], where a file may be one of the base image.
pub(in crate::ui::panels) fn origin_words_in(archive: &OpenArchive, origin: Origin) -> String {
    if is_of_base(archive, origin) { "clean page, from the base image".to_owned() } else { origin_words(origin) }
}

/// Whether bytes are of the base image.
pub(in crate::ui::panels) fn is_of_base(archive: &OpenArchive, origin: Origin) -> bool {
    matches!(origin, Origin::File { file } if archive.memory().is_of_base(file))
}
