//! The rows of the listing that are in view.

use egui::text::{LayoutJob, TextFormat};
use egui::{Align2, Color32, CursorIcon, Pos2, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo};

use super::view::View;
use super::{Shown, input};
use crate::base::{Pid, VirtAddr, escape_controls, hex};
use crate::checkpoint::Vma;
use crate::memory::disassembly::Line;
use crate::memory::{Missing, Origin};
use crate::session::Command;
use crate::session::space;
use crate::session::space::listing::Row;
use crate::session::space::operands::{self, Word};
use crate::ui::icons;
use crate::ui::panels::address_rows::{ROW, RowPainter, address_digits, char_width, origin_words};
use crate::ui::panels::base::attach_base_at;
use crate::ui::text;
use crate::ui::tokens::{self, CodeTokens, SPACE_S, Tokens};
use crate::ui::widgets::link_at;

/// Where addresses stand behind the left edge, in points.
const ADDRESS: f32 = 30.0;
/// Bytes of an instruction that are shown; most have fewer.
const MAX_BYTES: usize = 8;
/// Letters that a mnemonic has room for.
const MNEMONIC: usize = 8;
/// From this width on there is room for the bytes, in points.
const WITH_BYTES: f32 = 560.0;

/// Where the columns stand, in points.
#[derive(Clone, Copy, Debug)]
struct Columns {
    char_width: f32,
    bytes: Option<f32>,
    text: f32,
}

impl Columns {
    fn new(ui: &Ui, rect: Rect, shown: &Shown<'_>) -> Columns {
        let char_width = char_width(ui);
        let after = rect.left() + ADDRESS + char_width * (address_digits(shown.space.map()) as f32 + 2.0);
        let has_bytes = rect.width() >= WITH_BYTES;
        let text = if has_bytes { after + char_width * (MAX_BYTES * 3 + 2) as f32 } else { after };
        Columns { char_width, bytes: has_bytes.then_some(after), text }
    }
}

/// Draws the rows over `rect`.
pub(super) fn rows_ui(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, view: &mut View, commands: &mut Vec<Command>) {
    let response = ui.interact(rect, ui.scope_id().with("listing"), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Grid, true, format!("Code of process {}", shown.pid)));
    input::take(ui, &response, shown, view, commands);
    let rows = view.settle(&shown.listing(view), rect.height());
    let row_rect = |nr: usize| {
        let y = rect.top() - view.above + nr as f32 * ROW;
        Rect::from_min_max(Pos2::new(rect.left(), y), Pos2::new(rect.right(), y + ROW))
    };
    let under = |pos: Pos2| rows.get(((pos.y - rect.top() + view.above) / ROW).max(0.0) as usize).map(|(_, row)| row);
    let pressed = response.interact_pointer_pos().filter(|_| response.clicked() || response.secondary_clicked());
    let pressed = pressed.and_then(under).filter(|row| row.has_content());
    let clicked = pressed.map(|row| row.range().start);
    let hovered = response.hover_pos().and_then(under).filter(|row| row.has_content()).map(|row| row.range().start);
    let tokens = Tokens::get(ui);
    let draw = Drawing {
        tokens,
        rows: RowPainter::new(ui, rect, ADDRESS, shown.space.map()),
        columns: Columns::new(ui, rect, shown),
        shown,
        cursor: clicked.or(view.cursor),
        hovered,
    };
    let mut opened = None;
    for (nr, (spot, row)) in rows.iter().enumerate() {
        let row_rect = row_rect(nr);
        let visible = row_rect.intersect(rect);
        if rect.bottom() <= row_rect.top() {
            break;
        }
        let id = ui.scope_id().with(("row", spot.addr.0, spot.part));
        match row {
            Row::Border(vma) => {
                let x = draw.columns.bytes.unwrap_or(draw.columns.text);
                draw.rows.border_ui(ui, row_rect, id, (shown.pid, vma), x, commands);
                continue;
            }
            Row::Data(vma) => {
                let words = draw.data(row_rect, vma);
                let at = Rect::from_min_max(Pos2::new(words, visible.top()), visible.right_bottom());
                if link_at(ui, at, id.with("open"), "Decode it all the same").clicked() {
                    opened = Some(vma.start);
                }
            }
            Row::Code(line) => draw.code(ui, row_rect, visible, line, commands),
            Row::Gap(_) | Row::Absent(..) | Row::Zeros(_) | Row::Head(_) | Row::Label(..) | Row::Cut(..) => {
                let words = draw.other(row_rect, row);
                if matches!(row, Row::Absent(_, Missing::FilePage)) {
                    let at = Rect::from_min_max(Pos2::new(words, visible.top()), visible.right_bottom());
                    attach_base_at(ui, at, id.with("base"), shown.archive, commands);
                }
            }
        }
        let name = draw.name(row);
        let label = ui.interact(visible, id, Sense::hover());
        label.widget_info(|| WidgetInfo::labeled(Role::Row, true, &name));
    }
    if response.has_focus() {
        ui.painter().rect_stroke(rect.shrink(0.5), 0.0, Stroke::new(1.0, Tokens::get(ui).accent), StrokeKind::Inside);
    }
    if let Some(start) = clicked {
        view.cursor = Some(start);
        response.request_focus();
    }
    if response.double_clicked() {
        commands.extend(input::follow(shown, view));
    }
    if let Some(start) = opened {
        view.open(start);
    }
    input::menu(&response, shown, view, commands);
}

struct Drawing<'a> {
    tokens: &'static Tokens,
    rows: RowPainter,
    columns: Columns,
    shown: &'a Shown<'a>,
    cursor: Option<VirtAddr>,
    hovered: Option<VirtAddr>,
}

impl Drawing<'_> {
    fn background(&self, row: Rect, addr: VirtAddr) -> bool {
        let is_on = self.cursor == Some(addr);
        if is_on {
            self.rows.painter.rect_filled(row, 0.0, self.tokens.selected);
        } else if self.hovered == Some(addr) {
            self.rows.painter.rect_filled(row, 0.0, self.tokens.hover);
        }
        is_on
    }

    /// An area that cannot be executed; where its words end.
    fn data(&self, row: Rect, vma: &Vma) -> f32 {
        let is_on = self.background(row, vma.start);
        self.rows.address(row, vma.start, self.tokens.muted);
        let color = if is_on { self.tokens.strong } else { self.tokens.muted };
        self.rows.put_words(self.columns.text, row, &words_of(&Row::Data(vma)), color) + 2.0 * SPACE_S
    }

    /// A row that is no instruction; where there is room behind its words.
    fn other(&self, row: Rect, what: &Row<'_>) -> f32 {
        let tokens = self.tokens;
        let start = what.range().start;
        match what {
            Row::Label(_, name) => {
                let mut job = LayoutJob::default();
                let format = |color| TextFormat::simple(tokens::mono_font(), color);
                job.append(&escape_controls(name), 0.0, format(tokens.strong));
                job.append(":", 0.0, format(tokens.muted));
                self.rows.put_job(self.rows.addr, row, job);
            }
            Row::Gap(_) => {
                let end = self.rows.put_words(self.columns.text, row, &words_of(what), tokens.muted);
                self.rows.dashes(row, self.columns.text, end);
            }
            Row::Head(head) => {
                let color = if self.background(row, start) { tokens.strong } else { tokens.muted };
                self.rows.address(row, start, color);
                self.bytes(row, &self.shown.space.bytes_at(start, MAX_BYTES + 1));
                self.rows.put_words(self.columns.text, row, &head.words, color);
            }
            Row::Cut(_, bytes) => {
                self.background(row, start);
                self.rows.address(row, start, tokens.muted);
                self.bytes(row, bytes);
                self.rows.put_words(self.columns.text, row, &words_of(what), tokens.warning);
            }
            _ => {
                let is_on = self.background(row, start);
                self.rows.address(row, start, tokens.muted);
                let color = if is_on { tokens.strong } else { tokens.muted };
                let end = self.rows.put_words(self.columns.text, row, &words_of(what), color);
                return self.threads(row, end + 2.0 * SPACE_S, self.shown.code.threads_in(what.range()));
            }
        }
        row.right()
    }

    fn bytes(&self, row: Rect, bytes: &[u8]) {
        let Some(x) = self.columns.bytes else { return };
        let mut digits = String::with_capacity(MAX_BYTES * 3 + 1);
        for byte in bytes.iter().take(MAX_BYTES) {
            digits.push_str(&hex(&[*byte]));
            digits.push(' ');
        }
        if bytes.len() > MAX_BYTES {
            digits.pop();
            digits.push('…');
        }
        self.rows.put(x, row, digits.trim_end(), self.tokens.muted);
    }

    fn code(&self, ui: &mut Ui, row: Rect, visible: Rect, line: &Line, commands: &mut Vec<Command>) {
        let tokens = self.tokens;
        let is_on = self.background(row, line.addr);
        let end = VirtAddr(line.addr.0.saturating_add(line.len_bytes()));
        let threads = self.shown.code.threads_in(line.addr..end);
        self.rows.address(row, line.addr, if is_on || !threads.is_empty() { tokens.strong } else { tokens.muted });
        self.bytes(row, &line.bytes);
        let text_end = self.text(row, line);
        let mut at = text_end + self.columns.char_width * 2.0;
        let mut link = Rect::from_min_max(Pos2::new(self.columns.text, visible.top()), visible.max);
        if let Some(target) = line.target {
            let comment = self.comment(line, target);
            let is_mapped = self.shown.space.map().vma_at(target).is_some();
            let color = if is_mapped { tokens.accent } else { tokens.muted };
            let end = self.rows.put_cut(at, row, &comment, tokens::mono_font(), color);
            link.max.x = end.min(visible.right());
            link.min.x += self.columns.char_width * (MNEMONIC as f32 - 1.0);
            if is_mapped && link.is_positive() {
                let id = ui.scope_id().with(("target", line.addr.0));
                let response = ui.interact(link, id, Sense::click());
                let vma = self.shown.space.map().vma_at(target);
                let tip = vma.map(|vma| format!("{} {}", space::name_of(vma, target), vma.perms())).unwrap_or_default();
                response.widget_info(|| WidgetInfo::labeled(Role::Link, true, format!("Follow to {target}")));
                if response.hovered() || response.has_focus() {
                    let x = egui::Rangef::new(at, end);
                    self.rows.painter.hline(x, row.bottom() - 2.5, Stroke::new(1.0, tokens.accent));
                }
                let response = response.on_hover_cursor(CursorIcon::PointingHand);
                if response.on_hover_text(format!("{target} → {tip}\nClick or Enter follows; Back returns")).clicked()
                {
                    commands.extend(self.shown.jump(Some(line.addr), target));
                }
            }
            at = end + self.columns.char_width * 2.0;
        }
        self.threads(row, at, threads);
    }

    /// Where threads stand: an arrow at the left, their numbers behind the text; where there is room behind these.
    fn threads(&self, row: Rect, at: f32, threads: &[(VirtAddr, Pid)]) -> f32 {
        let Some((_, first)) = threads.first() else { return at };
        let accent = self.tokens.accent;
        let arrow = Rect::from_min_size(Pos2::new(row.left() + 8.0, row.top()), egui::vec2(16.0, row.height()));
        self.rows.painter.text(arrow.center(), Align2::CENTER_CENTER, icons::FORWARD, tokens::icon_font(14.0), accent);
        let label = match threads.len() {
            1 => format!("thread {first}"),
            2 => format!("threads {first} and {}", threads.last().map_or(*first, |(_, tid)| *tid)),
            len => format!("thread {first} and {} more", len - 1),
        };
        let galley = self.rows.painter.layout_no_wrap(label, tokens::small_font(), accent);
        let size = galley.size() + egui::vec2(10.0, 1.0);
        let min = Pos2::new(at, row.center().y - size.y / 2.0);
        let chip = Rect::from_min_size(min, size);
        self.rows.painter.rect_stroke(chip, 3.0, Stroke::new(1.0, accent), StrokeKind::Inside);
        self.rows.painter.galley(chip.min + egui::vec2(5.0, 0.5), galley, accent);
        chip.right() + 2.0 * SPACE_S
    }

    /// The words of an instruction in their colours; where they end.
    fn text(&self, row: Rect, line: &Line) -> f32 {
        let tokens = self.tokens;
        let mut job = LayoutJob::default();
        let mut push = |text: &str, color| job.append(text, 0.0, TextFormat::simple(tokens::mono_font(), color));
        let is_bad = line.text == "(bad)";
        let (mut end, mut is_padded) = (0, false);
        for (range, word) in operands::words(&line.text) {
            let is_operand = !matches!(word, Word::Mnemonic | Word::Flow);
            let gap = range.start.saturating_sub(end);
            let padding = if is_operand && !is_padded && !is_bad { MNEMONIC.saturating_sub(end).max(gap) } else { gap };
            is_padded |= is_operand;
            push(&" ".repeat(padding), tokens.text);
            let color = if is_bad { tokens.warning } else { color_of(&tokens.code, word) };
            let text = line.text.get(range.clone()).unwrap_or_default();
            let leads = word == Word::Number && line.target.is_some_and(|target| is_number(text, target));
            push(text, if leads { tokens.accent } else { color });
            end = range.end;
        }
        if is_bad {
            push("  no instruction begins with these bytes", tokens.muted);
        }
        self.rows.put_job(self.columns.text, row, job)
    }

    /// Where an instruction leads, in words: the symbol, without the file when it is the same.
    fn comment(&self, line: &Line, target: VirtAddr) -> String {
        let symbols = &self.shown.code.symbols;
        let own = symbols.module_at(line.addr).map(|module| module.range.start);
        let is_own = own.is_some() && symbols.module_at(target).map(|module| module.range.start) == own;
        let vma = self.shown.space.map().vma_at(target);
        let name = match &line.target_name {
            Some(name) => match &name.symbol {
                Some(symbol) if is_own && name.offset == 0 => symbol.clone(),
                Some(symbol) if is_own => format!("{symbol}+{:#x}", name.offset),
                _ => name.to_string(),
            },
            None => vma.map_or_else(|| "not mapped".to_owned(), |vma| space::name_of(vma, target)),
        };
        escape_controls(&format!("; {name}")).into_owned()
    }

    /// A row for those who do not see it.
    fn name(&self, row: &Row<'_>) -> String {
        match row {
            Row::Code(line) => {
                let end = VirtAddr(line.addr.0.saturating_add(line.len_bytes()));
                let threads = self.shown.code.threads_in(line.addr..end);
                let here: Vec<String> = threads.iter().take(8).map(|(_, tid)| format!("thread {tid}")).collect();
                let here = if here.is_empty() { String::new() } else { format!(" ({} here)", here.join(", ")) };
                format!("{}: {}{here}", line.addr, line.text)
            }
            Row::Label(_, name) => format!("{}:", escape_controls(name)),
            row => format!("{}: {}", row.range().start, words_of(row)),
        }
    }
}

fn color_of(code: &CodeTokens, word: Word) -> Color32 {
    match word {
        Word::Mnemonic => code.mnemonic,
        Word::Flow => code.flow,
        Word::Register => code.register,
        Word::Number => code.number,
        Word::Keyword | Word::Punctuation => code.keyword,
    }
}

fn is_number(text: &str, addr: VirtAddr) -> bool {
    text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) == Some(addr.0)
}

/// What stands in a row that is no instruction.
fn words_of(row: &Row<'_>) -> String {
    let range = row.range();
    let size = text::bytes(range.end.0.saturating_sub(range.start.0));
    match row {
        Row::Gap(_) => format!("{size} not mapped"),
        Row::Data(_) => format!("{size} of data: not executable"),
        Row::Absent(_, why) => format!("{size}  {}", origin_words(Origin::Absent(*why))),
        Row::Zeros(_) => format!("{size}  {}", origin_words(Origin::Zero)),
        Row::Head(head) => head.words.clone(),
        Row::Cut(_, bytes) => {
            format!("{}: the instruction would run over what begins next", text::counted(bytes.len(), "byte", "bytes"))
        }
        Row::Border(_) | Row::Label(..) | Row::Code(_) => String::new(),
    }
}
