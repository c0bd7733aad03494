//! The memory map.

use std::cmp::Ordering;

use egui::Ui;

use super::Shown;
use crate::base::{Field, Pid, VirtAddr};
use crate::checkpoint::memory_map::{Vma, VmaKind};
use crate::session::export::MemoryExport;
use crate::session::{Command, ExportCommand, Target};
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState, empty_state};
use crate::ui::{icons, text};

const COLUMNS: &[Column] = &[
    Column::left("Start", 150.0, "First address; leads to its bytes"),
    Column::left("End", 150.0, "One past the last"),
    Column::right("Size", 90.0, ""),
    Column::left("Permissions", 100.0, "As in /proc/PID/maps"),
    Column::left("Kind", 120.0, "What kind of memory it is"),
    Column::right("In dump", 90.0, "Pages whose content is in this checkpoint, its own or a shared object's"),
    Column::right("Elsewhere", 100.0, "Pages in a parent checkpoint or left to a lazy server"),
    Column::right("Offset", 110.0, "Offset of the start in the file or object"),
    Column::left("Path", 460.0, "As in /proc/PID/maps"),
];

pub(super) fn memory_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut TableState, commands: &mut Vec<Command>) {
    match &shown.process.memory {
        Field::Known(memory) => {
            let rows = VmaRows { pid: shown.process.pid, vmas: &memory.vmas };
            let table = Table::new("areas", COLUMNS).empty_hint("The process had no address space left.");
            commands.extend(table.show(ui, state, &rows, shown.key(), shown.archive.target(), |_| {}));
        }
        Field::Absent(why) => empty_state(ui, icons::MEMORY, "No memory map", &format!("The memory map {why}.")),
    }
}

struct VmaRows<'a> {
    pid: Pid,
    vmas: &'a [Vma],
}

impl VmaRows<'_> {
    /// Its bytes, in the memory panel.
    fn address(&self, addr: VirtAddr) -> Target {
        Target::Address { pid: self.pid, addr }
    }
}

impl TableRows for VmaRows<'_> {
    fn len(&self) -> usize {
        self.vmas.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(vma) = self.vmas.get(row) else { return Cell::empty() };
        match column {
            0 => Cell::mono(format!("{:012x}", vma.start.0)).link(self.address(vma.start)),
            1 => Cell::mono(format!("{:012x}", vma.end.0)).muted(),
            2 => Cell::text(text::bytes(vma.len_bytes())),
            3 => {
                let cell = Cell::mono(vma.perms());
                if vma.prot & 6 == 6 { cell.tone(Tone::Warning).icon(icons::ISSUE, Tone::Warning) } else { cell }
            }
            4 => Cell::text(vma.kind.word()),
            5 => pages(vma.pages.dumped.saturating_add(vma.pages.shared), vma.pages.total),
            6 => pages(vma.pages.parent.saturating_add(vma.pages.lazy), vma.pages.total),
            7 if vma.pgoff == 0 => Cell::empty(),
            7 => Cell::mono(format!("{:#x}", vma.pgoff)),
            _ => {
                let is_anonymous_code = vma.prot & 4 != 0 && vma.path.is_empty() && vma.kind == VmaKind::AnonPrivate;
                match vma.file {
                    _ if is_anonymous_code => Cell::text("executable, no file").tone(Tone::Warning),
                    Some(file) => Cell::mono(vma.path.label()).link(Target::File(file)),
                    None => Cell::mono(vma.path.label()),
                }
            }
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.vmas.get(a), self.vmas.get(b)) else { return Ordering::Equal };
        let dumped = |vma: &Vma| vma.pages.dumped.saturating_add(vma.pages.shared);
        match column {
            0 => left.start.cmp(&right.start),
            1 => left.end.cmp(&right.end),
            2 => left.len_bytes().cmp(&right.len_bytes()),
            5 => dumped(left).cmp(&dumped(right)),
            6 => (left.pages.parent + left.pages.lazy).cmp(&(right.pages.parent + right.pages.lazy)),
            7 => left.pgoff.cmp(&right.pgoff),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn menu(&self, row: usize) -> Vec<(&'static str, Command)> {
        let Some(vma) = self.vmas.get(row) else { return Vec::new() };
        let what = MemoryExport::Raw(vma.start..vma.end);
        vec![("Save its bytes…", ExportCommand::SaveMemory { pid: self.pid, what }.into())]
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.vmas.get(row).map(|vma| Target::Vma { pid: self.pid, start: vma.start })
    }
}

fn pages(count: u64, total: u64) -> Cell<'static> {
    match count {
        0 => Cell::mono("·").muted(),
        _ if count == total => Cell::text("all"),
        _ => Cell::text(format!("{} of {}", text::grouped(count), text::grouped(total))),
    }
}
