//! The rows in view.

use std::fmt::Write as _;
use std::ops::Range;

use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, Painter, Pos2, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo};

use super::view::View;
use super::{MemoryState, Shown, input};
use crate::base::VirtAddr;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::sockets::SocketAddress;
use crate::memory::overlay::{Field, SOCKADDR_BYTES, Structure, socket_addresses};
use crate::memory::{Missing, Origin, Segment};
use crate::report::search::KeptHit;
use crate::session::Command;
use crate::session::space::rows::{ROW_BYTES, Row, Zeros};
use crate::session::space::shape::Source;
use crate::session::space::{self, SpaceId, cursor};
use crate::ui::panels::address_rows::{ROW, RowPainter, address_digits, char_width, is_of_base, origin_words};
use crate::ui::panels::base::attach_base_at;
use crate::ui::text;
use crate::ui::tokens::{self, OriginTokens, SPACE_S, SPACE_XS, StructureTokens, Tokens};

/// Bytes that are read at once.
const PAGE: u64 = 4096;
/// Where addresses stand behind the left edge, in points.
const ADDRESS: f32 = 14.0;
/// Pages that are kept.
const MAX_PAGES: usize = 32;

/// Bytes near what is in view, so that compressed pages are not unpacked for every row.
#[derive(Debug, Default)]
pub(super) struct PageCache {
    of: Option<(SpaceId, u32)>,
    pages: Vec<Page>,
    /// Ports of the checkpoint's sockets, sorted.
    ports: Vec<u16>,
}

#[derive(Debug)]
struct Page {
    nr: u64,
    cells: Vec<Option<u8>>,
    /// Fields of the addresses of sockets that begin in it.
    sockets: Vec<Field>,
}

impl PageCache {
    fn get(&mut self, shown: &Shown<'_>, addr: VirtAddr) -> Option<u8> {
        let inside = usize::try_from(addr.0 % PAGE).unwrap_or_default();
        self.page(shown, addr)?.cells.get(inside).copied().flatten()
    }

    fn page(&mut self, shown: &Shown<'_>, addr: VirtAddr) -> Option<&Page> {
        let nr = addr.0 / PAGE;
        let found = match self.pages.iter().position(|page| page.nr == nr) {
            Some(found) => found,
            None => {
                if self.pages.len() >= MAX_PAGES {
                    self.pages.remove(0);
                }
                let start = VirtAddr(nr * PAGE);
                // An address of a socket may end in the next page.
                let len = PAGE as usize + SOCKADDR_BYTES;
                let mut cells = space::cells(&shown.space, start..VirtAddr(start.0.saturating_add(len as u64)), len);
                let sockets = socket_addresses(&cells, start, PAGE as usize, shown.order, &self.ports);
                cells.truncate(PAGE as usize);
                self.pages.push(Page { nr, cells, sockets });
                self.pages.len() - 1
            }
        };
        self.pages.get(found)
    }

    /// Fields that reach into a range of less than a page.
    pub(super) fn fields(&mut self, shown: &Shown<'_>, range: &Range<VirtAddr>) -> Vec<Field> {
        let Some(known) = &shown.fields else { return Vec::new() };
        let mut out: Vec<Field> = known.in_range(range.clone()).cloned().collect();
        let before = VirtAddr(range.start.0.saturating_sub(SOCKADDR_BYTES as u64));
        let is_in = |field: &&Field| field.range.start < range.end && range.start < field.range.end;
        if before.0 / PAGE != range.start.0 / PAGE {
            out.extend(self.page(shown, before).into_iter().flat_map(|page| &page.sockets).filter(is_in).cloned());
        }
        out.extend(self.page(shown, range.start).into_iter().flat_map(|page| &page.sockets).filter(is_in).cloned());
        out
    }

    /// The field that a byte lies in.
    pub(super) fn field_at(&mut self, shown: &Shown<'_>, addr: VirtAddr) -> Option<Field> {
        self.fields(shown, &(addr..VirtAddr(addr.0.saturating_add(1)))).into_iter().next()
    }

    /// Takes in which space is shown.
    pub(super) fn open(&mut self, shown: &Shown<'_>) {
        let id = (SpaceId { archive: shown.archive.id(), pid: shown.pid }, shown.archive.memory_version());
        if self.of != Some(id) {
            *self = PageCache { of: Some(id), pages: Vec::new(), ports: ports_of(shown.archive.checkpoint()) };
        }
    }
}

fn ports_of(checkpoint: &Checkpoint) -> Vec<u16> {
    let ends = checkpoint.sockets.iter().flat_map(|socket| [&socket.local, &socket.peer]).flatten();
    let mut ports: Vec<u16> = ends
        .filter_map(|end| match end {
            SocketAddress::Inet(addr) => Some(addr.port()),
            _ => None,
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Where the columns stand, in points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metrics {
    pub(super) rect: Rect,
    char_width: f32,
    hex: f32,
    text: f32,
    note: f32,
}

impl Metrics {
    fn new(ui: &Ui, rect: Rect, shown: &Shown<'_>) -> Metrics {
        let char_width = char_width(ui);
        let hex = rect.left() + ADDRESS + char_width * (address_digits(shown.space.map()) as f32 + 2.0);
        let text = hex + char_width * (3.0 * 16.0 + 2.0);
        let note = text + char_width * 17.5;
        Metrics { rect, char_width, hex, text, note }
    }

    fn row_rect(&self, row: u64, view: &View) -> Rect {
        let y = self.rect.top() - view.above + row as f32 * ROW;
        Rect::from_min_max(Pos2::new(self.rect.left(), y), Pos2::new(self.rect.right(), y + ROW))
    }

    /// Cells of columns `from..to` in the hex column.
    fn hex_rect(&self, row: Rect, from: u64, to: u64) -> Rect {
        let x = |column: u64| self.hex + self.char_width * (3 * column + u64::from(column > 7)) as f32;
        let right = x(to.saturating_sub(1)) + 2.0 * self.char_width;
        Rect::from_min_max(Pos2::new(x(from) - 2.0, row.top()), Pos2::new(right + 2.0, row.bottom()))
    }

    /// As [`Metrics::hex_rect`], without a gap to the cells beside.
    fn field_rect(&self, row: Rect, from: u64, to: u64) -> Rect {
        self.hex_rect(row, from, to).expand2(egui::vec2(self.char_width / 2.0 - 2.0, 0.0))
    }

    fn text_rect(&self, row: Rect, from: u64, to: u64) -> Rect {
        let x = |column: u64| self.text + self.char_width * column as f32;
        Rect::from_min_max(Pos2::new(x(from), row.top()), Pos2::new(x(to), row.bottom()))
    }

    /// Which row in view is at a height, counted from the top one.
    pub(super) fn row_at(&self, y: f32, view: &View) -> u64 {
        ((y - self.rect.top() + view.above) / ROW).max(0.0) as u64
    }

    /// Which column is at a place from the left.
    pub(super) fn column_at(&self, x: f32) -> u64 {
        if x < self.text - self.char_width {
            let at = ((x - self.hex) / self.char_width + 0.5).max(0.0);
            let at = if at > 24.5 { at - 1.0 } else { at };
            (at / 3.0) as u64
        } else {
            ((x - self.text) / self.char_width).max(0.0) as u64
        }
        .min(ROW_BYTES - 1)
    }
}

/// Draws the rows over `rect`.
pub(super) fn grid_ui(
    ui: &mut Ui,
    rect: Rect,
    shown: &Shown<'_>,
    state: &mut MemoryState,
    commands: &mut Vec<Command>,
) {
    let metrics = Metrics::new(ui, rect, shown);
    let response = ui.interact(rect, ui.scope_id().with("bytes"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Grid, true, format!("Memory of process {}", shown.pid)));
    input::take(ui, &response, &metrics, shown, state, commands);
    state.view.settle(&shown.space, &shown.rows, rect.height());
    let hovered = response.hover_pos().filter(|_| response.hovered());
    let hovered = hovered.and_then(|pos| input::address_at(pos, &metrics, shown, &state.view));
    let tokens = Tokens::get(ui);
    let mut drawing = Drawing {
        tokens,
        has_focus: response.has_focus(),
        rows: RowPainter::new(ui, rect, ADDRESS, shown.space.map()),
        metrics,
        shown,
        view: state.view.clone(),
        pages: &mut state.pages,
        hovered,
        line: String::new(),
    };
    let in_view = (rect.height() / ROW).ceil() as u64 + 1;
    for nr in 0..in_view {
        let Some(row) = shown.rows.get(&shown.space, drawing.view.top.saturating_add(nr), drawing.view.zeros) else {
            break;
        };
        let row_rect = drawing.metrics.row_rect(nr, &drawing.view);
        if rect.bottom() <= row_rect.top() {
            break;
        }
        let name = match &row {
            Row::Gap(gap) => drawing.gap(row_rect, gap),
            Row::Border(vma) => {
                let id = ui.scope_id().with(("border", vma.start.0));
                let hex = drawing.metrics.hex;
                drawing.rows.border_ui(ui, row_rect, id, (shown.pid, vma), hex, commands);
                continue;
            }
            Row::Folded(segment) => {
                let (name, words) = drawing.folded(row_rect, segment);
                if segment.origin == Origin::Absent(Missing::FilePage) {
                    let visible = row_rect.intersect(rect);
                    let at = Rect::from_min_max(Pos2::new(words, visible.top()), visible.right_bottom());
                    let id = ui.scope_id().with(("base", segment.range.start.0));
                    attach_base_at(ui, at, id, shown.archive, commands);
                }
                name
            }
            Row::Bytes { base, range } => drawing.bytes(row_rect, *base, range, nr == 0),
        };
        let label = ui.interact(row_rect.intersect(rect), ui.scope_id().with(("row", nr)), Sense::hover());
        label.widget_info(|| WidgetInfo::labeled(Role::Row, true, &name));
    }
    if response.has_focus() {
        ui.painter().rect_stroke(rect.shrink(0.5), 0.0, Stroke::new(1.0, Tokens::get(ui).accent), StrokeKind::Inside);
    }
    let field = hovered.and_then(|at| state.pages.field_at(shown, at));
    pointer_tip(&response, shown, hovered, field.as_ref());
}

/// Says what field is under the mouse, and where the pointer there leads.
fn pointer_tip(response: &Response, shown: &Shown<'_>, hovered: Option<VirtAddr>, field: Option<&Field>) {
    let mut tip =
        field.map(|field| format!("{}: {} = {}", field.structure, field.name, field.value)).unwrap_or_default();
    let found = hovered.and_then(|at| cursor::pointer_under(&shown.space, at, shown.pointer_len, shown.order));
    if let Some((to, vma)) = found.and_then(|(_, to)| Some((to, shown.space.map().vma_at(to)?))) {
        let line = if tip.is_empty() { "" } else { "\n" };
        let name = space::name_of(vma, to);
        let _ = write!(tip, "{line}{to} → {name} {}\nDouble-click or Enter follows", vma.perms());
    }
    if !tip.is_empty() {
        response.clone().on_hover_text_at_pointer(tip);
    }
}

/// Colour of a structure.
pub(super) fn structure_color(tokens: &StructureTokens, structure: Structure) -> Color32 {
    match structure {
        Structure::ElfHeader => tokens.image,
        Structure::ProgramHeader(_) => tokens.segment,
        Structure::RDebug | Structure::LinkMap(_) => tokens.linker,
        Structure::SockaddrIn | Structure::SockaddrIn6 | Structure::SockaddrUn => tokens.socket,
    }
}

/// What a structure that begins in a row is called there.
fn structure_label(fields: &[Field], first: &Field) -> String {
    const TELLING: [&str; 5] = ["p_type", "l_name", "sin_addr", "sin6_addr", "sun_path"];
    let own =
        fields.iter().filter(|field| field.structure == first.structure && field.range.start >= first.range.start);
    let mut telling = own.filter(|field| TELLING.contains(&field.name)).map(|field| match field.structure {
        // The address of the name says less than the name.
        Structure::LinkMap(_) => field.value.split_once(' ').map_or(field.value.as_str(), |(_, name)| name),
        _ => field.value.as_str(),
    });
    let telling = telling.next().unwrap_or_default();
    match first.structure {
        Structure::ProgramHeader(nr) => format!("{telling}, header {nr}"),
        structure if telling.is_empty() => structure.to_string(),
        structure => format!("{structure} {telling}"),
    }
}

struct Drawing<'a> {
    tokens: &'static Tokens,
    has_focus: bool,
    rows: RowPainter,
    metrics: Metrics,
    shown: &'a Shown<'a>,
    view: View,
    pages: &'a mut PageCache,
    hovered: Option<VirtAddr>,
    line: String,
}

impl Drawing<'_> {
    fn gap(&self, row: Rect, gap: &Range<VirtAddr>) -> String {
        let label = format!("{} not mapped", text::bytes(gap.end.0.saturating_sub(gap.start.0)));
        let end = self.rows.put_words(self.metrics.hex, row, &label, self.tokens.muted);
        self.rows.dashes(row, self.metrics.hex, end);
        format!("{label} from {} to {}", gap.start, gap.end)
    }

    /// A stretch in one row: its name, and where there is room behind its words.
    fn folded(&self, row: Rect, segment: &Segment<'_>) -> (String, f32) {
        let tokens = self.tokens;
        let is_on = self.view.cursor.is_some_and(|cursor| segment.range.contains(&cursor));
        let is_selected = self.view.selection().is_some_and(|selection| {
            selection.start < segment.range.end && segment.range.start < selection.end && self.view.anchor.is_some()
        });
        if is_on || is_selected {
            self.rows.painter.rect_filled(row, 0.0, tokens.selected);
        }
        self.gutter(row, segment.origin);
        self.rows.address(row, segment.range.start, tokens.muted);
        let label = format!("{}  {}", text::bytes(segment.len_bytes()), origin_words(segment.origin));
        let color = if is_on || is_selected { tokens.strong } else { tokens.muted };
        let words = self.rows.put_words(self.metrics.hex, row, &label, color);
        (format!("{}: {label}", segment.range.start), words + 2.0 * SPACE_S)
    }

    /// The mark at the left edge: where the bytes come from.
    fn gutter(&self, row: Rect, origin: Origin) {
        let color = source_color(&self.tokens.origins, Source::of(origin));
        let bar = Rect::from_min_size(Pos2::new(row.left() + 4.0, row.top()), egui::vec2(3.0, row.height()));
        self.rows.painter.rect_filled(bar, 0.0, color);
    }

    fn bytes(&mut self, row: Rect, base: VirtAddr, range: &Range<VirtAddr>, is_first: bool) -> String {
        let tokens = self.tokens;
        let mut cells = [None; ROW_BYTES as usize];
        for (column, cell) in cells.iter_mut().enumerate() {
            let addr = VirtAddr(base.0.saturating_add(column as u64));
            if range.contains(&addr) {
                *cell = self.pages.get(self.shown, addr);
            }
        }
        let selection = self.view.selection();
        let column_of = |addr: VirtAddr| addr.0.saturating_sub(base.0).min(ROW_BYTES);
        let selected = selection.map(|selection| {
            let selection = selection.start.max(range.start)..selection.end.min(range.end);
            if selection.start < selection.end { column_of(selection.start)..column_of(selection.end) } else { 0..0 }
        });
        let selected = selected.filter(|selected| !selected.is_empty());
        let segment = self.shown.space.segment_at(range.start);
        if let Some(segment) = &segment {
            self.gutter(row, segment.origin);
        }
        let fields = self.pages.fields(self.shown, range);
        self.fields(row, base, range, &fields);
        self.marks(row, base, range, selected.as_ref());
        let is_cursor_row = self.view.cursor.is_some_and(|cursor| range.contains(&cursor));
        self.rows.address(row, base, if is_cursor_row { tokens.strong } else { tokens.muted });
        let mut hit_columns = 0u32;
        for (_, hit) in self.hits(range) {
            let (from, to) = (hit.offset, hit.offset.saturating_add(hit.len_bytes));
            let is_in = |column: &u64| (from..to).contains(&base.0.saturating_add(*column));
            hit_columns |= (0..ROW_BYTES).filter(is_in).fold(0, |all, column| all | 1 << column);
        }
        let color = |column: usize, byte: u8| {
            let is_selected = selected.as_ref().is_some_and(|selected| selected.contains(&(column as u64)));
            if is_selected || hit_columns & 1 << column != 0 { tokens.strong } else { tokens.bytes.of(byte) }
        };
        let mut hex = Line::default();
        let mut text = Line::default();
        for (column, cell) in cells.iter().enumerate() {
            let is_inside = range.contains(&VirtAddr(base.0.saturating_add(column as u64)));
            self.line.clear();
            match cell {
                Some(byte) => {
                    let _ = write!(self.line, "{byte:02x} ");
                }
                None => self.line.push_str(if is_inside { "-- " } else { "   " }),
            }
            if column == 7 {
                self.line.push(' ');
            }
            let at = cell.map_or(tokens.muted, |byte| color(column, byte));
            hex.push(&self.line, at);
            let c = match cell {
                Some(byte @ 0x20..=0x7e) => char::from(*byte),
                Some(_) => '.',
                None => ' ',
            };
            text.push(c.encode_utf8(&mut [0; 4]), at);
        }
        let name = format!("{base}: {} {}", hex.text.trim_end(), text.text.trim_end());
        hex.paint(&self.rows.painter, self.metrics.hex, row);
        text.paint(&self.rows.painter, self.metrics.text, row);
        self.pointers(row, base, &cells);
        self.note(row, range, segment.as_ref(), is_first, &fields);
        name
    }

    /// Tints under the fields of structures, with an edge where each begins.
    fn fields(&self, row: Rect, base: VirtAddr, range: &Range<VirtAddr>, fields: &[Field]) {
        for field in fields {
            let color = structure_color(&self.tokens.structures, field.structure);
            let start = field.range.start.max(range.start);
            let (from, to) = (start.0 - base.0, field.range.end.min(range.end).0 - base.0);
            let cells = self.metrics.field_rect(row, from, to);
            for rect in [cells, self.metrics.text_rect(row, from, to)] {
                self.rows.painter.rect_filled(rect, 0.0, color.gamma_multiply(StructureTokens::TINT));
            }
            if start == field.range.start {
                let stroke = Stroke::new(1.0, color.gamma_multiply(0.7));
                self.rows.painter.vline(cells.left() + 0.5, cells.y_range(), stroke);
            }
        }
    }

    /// What stands behind the text: selection, bookmarks, the byte under the mouse, the cursor.
    fn marks(&self, row: Rect, base: VirtAddr, range: &Range<VirtAddr>, selected: Option<&Range<u64>>) {
        let tokens = self.tokens;
        let both = |from: u64, to: u64| [self.metrics.hex_rect(row, from, to), self.metrics.text_rect(row, from, to)];
        if let Some(selected) = selected {
            for rect in both(selected.start, selected.end) {
                self.rows.painter.rect_filled(rect, 0.0, tokens.selected);
            }
        }
        let column = |addr: VirtAddr| range.contains(&addr).then(|| addr.0.saturating_sub(base.0));
        for (is_current, hit) in self.hits(range) {
            let start = VirtAddr(hit.offset).max(range.start);
            let end = VirtAddr(hit.offset.saturating_add(hit.len_bytes)).min(range.end);
            for rect in both(start.0 - base.0, end.0 - base.0) {
                self.rows.painter.rect_filled(rect, 2.0, tokens.highlight);
                if is_current {
                    let stroke = Stroke::new(1.0, tokens.warning);
                    self.rows.painter.rect_stroke(rect, 2.0, stroke, StrokeKind::Inside);
                }
            }
        }
        for bookmark in self.shown.bookmarks.iter().filter(|known| known.pid == self.shown.pid.0) {
            if let Some(column) = column(VirtAddr(bookmark.addr)) {
                for rect in both(column, column + 1) {
                    self.rows.painter.rect_filled(rect, 2.0, tokens.highlight);
                }
            }
        }
        if let Some(column) = self.hovered.and_then(column) {
            for rect in both(column, column + 1) {
                self.rows.painter.rect_filled(rect, 2.0, tokens.hover);
            }
        }
        if let Some(column) = self.view.cursor.and_then(column) {
            let color = if self.has_focus { tokens.accent } else { tokens.muted };
            for rect in both(column, column + 1) {
                let stroke = Stroke::new(1.0, color);
                self.rows.painter.rect_stroke(rect.shrink2(egui::vec2(0.0, 1.0)), 2.0, stroke, StrokeKind::Inside);
            }
        }
    }

    /// Hits of the search that is shown which reach into a row, each with whether the analyst is at it.
    fn hits(&self, range: &Range<VirtAddr>) -> impl Iterator<Item = (bool, &KeptHit)> {
        let session = self.shown.archive.searches().shown();
        session.into_iter().flat_map(move |session| {
            let hits = session.hits().in_memory(self.shown.pid, range.clone());
            hits.map(move |(nr, hit)| (session.current() == Some(nr), hit))
        })
    }

    /// Underlines aligned words that lead into mapped memory.
    fn pointers(&self, row: Rect, base: VirtAddr, cells: &[Option<u8>]) {
        let len = usize::try_from(self.shown.pointer_len).unwrap_or(8);
        if !base.0.is_multiple_of(ROW_BYTES) {
            return;
        }
        for (nr, word) in cells.chunks_exact(len).enumerate() {
            let bytes: Vec<u8> = word.iter().flatten().copied().collect();
            let leads = space::pointer_of(&bytes, self.shown.order)
                .is_some_and(|to| to.0 != 0 && self.shown.space.map().vma_at(to).is_some());
            if leads {
                let cells = self.metrics.hex_rect(row, (nr * len) as u64, ((nr + 1) * len) as u64);
                let stroke = Stroke::new(1.0, self.tokens.accent.gamma_multiply(0.55));
                self.rows.painter.hline(cells.shrink2(egui::vec2(2.0, 0.0)).x_range(), row.bottom() - 1.5, stroke);
            }
        }
    }

    /// Right of the text: bookmarks on the row, structures that begin there, or where its bytes come from when that
    /// changes here.
    fn note(
        &self,
        row: Rect,
        range: &Range<VirtAddr>,
        segment: Option<&Segment<'_>>,
        is_first: bool,
        fields: &[Field],
    ) {
        let marked = self.shown.bookmarks.iter().filter(|known| known.pid == self.shown.pid.0);
        let notes: Vec<&str> = marked
            .filter(|known| range.contains(&VirtAddr(known.addr)))
            .map(|known| if known.note.is_empty() { "bookmark" } else { known.note.as_str() })
            .collect();
        let x = self.metrics.note + SPACE_XS;
        let rules = self.hits(range).filter_map(|(_, hit)| hit.label.as_ref()).map(|label| label.rule.as_str());
        let notes: Vec<&str> = notes.into_iter().chain(rules).collect();
        let is_begin = |field: &&Field| {
            let name = ["e_ident: magic", "p_type", "r_version", "l_addr", "sin_family", "sin6_family", "sun_family"];
            range.contains(&field.range.start) && name.contains(&field.name)
        };
        let first = fields.iter().find(is_begin);
        if !notes.is_empty() {
            self.rows.put_words(x, row, &notes.join(" · "), self.tokens.warning);
        } else if let Some(first) = first {
            let label = structure_label(fields, first);
            self.rows.put_words(x, row, &label, structure_color(&self.tokens.structures, first.structure));
        } else if let Some(segment) = segment.filter(|segment| is_first || range.contains(&segment.range.start)) {
            let is_base = is_of_base(self.shown.archive, segment.origin);
            let label = if is_base { "base image".to_owned() } else { origin_label(segment.origin) };
            self.rows.put_words(x, row, &label, self.tokens.muted);
        }
    }
}

/// Text in colours; neighbours of one colour are one section.
#[derive(Default)]
struct Line {
    text: String,
    sections: Vec<(usize, Color32)>,
}

impl Line {
    fn push(&mut self, text: &str, color: Color32) {
        self.text.push_str(text);
        match self.sections.last_mut() {
            Some((len, last)) if *last == color => *len += text.len(),
            _ => self.sections.push((text.len(), color)),
        }
    }

    fn paint(self, painter: &Painter, x: f32, row: Rect) {
        let mut job = LayoutJob::default();
        let mut at = 0;
        for (len, color) in self.sections {
            let part = self.text.get(at..at + len).unwrap_or_default();
            job.append(part, 0.0, TextFormat::simple(tokens::mono_font(), color));
            at += len;
        }
        let galley = painter.layout_job(job);
        painter.galley(Pos2::new(x, row.center().y - galley.size().y / 2.0), galley, Color32::PLACEHOLDER);
    }
}

/// Colour of the mark of a source.
pub(super) fn source_color(origins: &OriginTokens, source: Source) -> Color32 {
    match source {
        Source::Dump => origins.dump,
        Source::Parent => origins.parent,
        Source::Shared => origins.shared,
        Source::Zero => origins.zero,
        Source::Absent => origins.absent,
    }
}

/// Where bytes come from, in a word or two.
fn origin_label(origin: Origin) -> String {
    match origin {
        Origin::Dump => "dump".to_owned(),
        Origin::Parent { depth } => format!("parent {depth}"),
        Origin::Shared { depth: 0, .. } => "shared".to_owned(),
        Origin::Shared { depth, .. } => format!("shared, parent {depth}"),
        Origin::File { .. } => "file".to_owned(),
        Origin::Zero => "zeros".to_owned(),
        Origin::Absent(why) => why.to_string(),
    }
}

/// Whether a double-click shall open folded zeros.
pub(super) fn is_folded_zero(row: &Row<'_>, zeros: Zeros) -> bool {
    zeros == Zeros::Folded && matches!(row, Row::Folded(segment) if segment.origin == Origin::Zero)
}
