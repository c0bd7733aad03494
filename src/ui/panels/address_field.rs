//! The field that asks for an address, of every panel that shows memory.

use egui::{Key, RichText, TextEdit, Ui};

use crate::base::VirtAddr;
use crate::checkpoint::Process;
use crate::memory::AddressSpace;
use crate::session::space::{address, name_of};
use crate::ui::icons;
use crate::ui::tokens::{self, Tokens};
use crate::ui::widgets::icon_button;

/// The field that asks where to go.
#[derive(Debug, Default)]
pub(in crate::ui::panels) struct AddressField {
    text: String,
    wrong: String,
    wants_focus: bool,
}

impl AddressField {
    /// Puts the cursor into it.
    pub(in crate::ui::panels) fn focus(&mut self) {
        self.wants_focus = true;
    }

    /// Draws it; the mapped address to go to when Enter was pressed.
    pub(in crate::ui::panels) fn show(
        &mut self,
        ui: &mut Ui,
        process: &Process,
        space: &AddressSpace<'_>,
    ) -> Option<VirtAddr> {
        let tokens = Tokens::get(ui);
        let edit = TextEdit::singleline(&mut self.text)
            .hint_text("Go to 0x…, libc+0x1f0, rsp-0x20")
            .font(tokens::mono_font())
            .desired_width(236.0);
        let response = ui.add(edit);
        if std::mem::take(&mut self.wants_focus) {
            response.request_focus();
            select_all(ui, response.id, self.text.chars().count());
        }
        if response.changed() {
            self.wrong.clear();
        }
        let enter = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let pressed = icon_button(ui, icons::FORWARD, "Go to the address").clicked();
        let mut found = None;
        if enter || pressed {
            match address::parse(&self.text, process) {
                Ok(addr) if space.map().vma_at(addr).is_some() => {
                    self.wrong.clear();
                    found = Some(addr);
                }
                Ok(addr) => {
                    let vmas = &space.map().vmas;
                    let next = vmas.get(vmas.partition_point(|vma| vma.end <= addr)).or(vmas.last());
                    let next = next.map(|vma| format!("; nearest: {}", name_of(vma, vma.start))).unwrap_or_default();
                    self.wrong = format!("{addr} is not mapped{next}");
                }
                Err(err) => self.wrong = err.to_string(),
            }
            if !self.wrong.is_empty() {
                response.request_focus();
            }
        }
        if !self.wrong.is_empty() {
            let wrong = RichText::new(&self.wrong).color(tokens.error);
            ui.add(egui::Label::new(wrong).truncate()).on_hover_text(&self.wrong);
        }
        found
    }
}

/// So that typing replaces what was there.
fn select_all(ui: &Ui, id: egui::Id, len: usize) {
    let mut state = egui::text_edit::TextEditState::load(ui.ctx(), id).unwrap_or_default();
    let range = egui::text::CCursorRange::two(egui::text::CCursor::new(0), egui::text::CCursor::new(len));
    state.cursor.set_char_range(Some(range));
    state.store(ui.ctx(), id);
}
