//! Copy as: the format that was used last comes first, and is what Ctrl+C copies.

use egui::Ui;

use super::Shown;
use super::view::View;
use crate::session::space::copy::{CopyFormat, MAX_COPIED};
use crate::session::space::{self};
use crate::session::{Command, NotificationsCommand};
use crate::ui::icons;
use crate::ui::text::{bytes, grouped};
use crate::ui::widgets::ListRow;

/// Formats, the last used first.
#[derive(Debug)]
pub(super) struct CopyMenu(Vec<CopyFormat>);

impl Default for CopyMenu {
    fn default() -> CopyMenu {
        CopyMenu(CopyFormat::ALL.to_vec())
    }
}

impl CopyMenu {
    fn used(&mut self, format: CopyFormat) {
        self.0.retain(|known| *known != format);
        self.0.insert(0, format);
    }
}

/// Draws a row for each format; whether one was chosen.
pub(super) fn menu_ui(
    ui: &mut Ui,
    shown: &Shown<'_>,
    view: &View,
    menu: &mut CopyMenu,
    commands: &mut Vec<Command>,
) -> bool {
    let mut chosen = None;
    for (nr, format) in menu.0.iter().enumerate() {
        let label = format!("Copy as {}", format.title());
        let row = ListRow::new(&label).icon(icons::COPY, Default::default()).flat();
        let row = if nr == 0 { row.trailing("Ctrl+C") } else { row };
        if row.show(ui).response.clicked() {
            chosen = Some(*format);
        }
    }
    if let Some(format) = chosen {
        commands.extend(copy(shown, view, menu, Some(format)));
    }
    chosen.is_some()
}

/// Copies what is selected; in the last format when none is named.
pub(super) fn copy(shown: &Shown<'_>, view: &View, menu: &mut CopyMenu, format: Option<CopyFormat>) -> Option<Command> {
    let format = format.or(menu.0.first().copied())?;
    menu.used(format);
    let selection = view.selection()?;
    let failed = |title: &str, detail: String| {
        Some(NotificationsCommand::ReportFailure { title: title.to_owned(), detail }.into())
    };
    let len = selection.end.0.saturating_sub(selection.start.0);
    if len > MAX_COPIED as u64 {
        let detail = format!("{} are selected, {} are copied at most.", bytes(len), bytes(MAX_COPIED as u64));
        return failed("Too much to copy", detail);
    }
    let cells = space::cells(&shown.space, selection.clone(), MAX_COPIED);
    match format.write(selection.start, &cells) {
        Ok(text) => {
            let what = if len == 1 { "one byte".to_owned() } else { format!("{} bytes", grouped(len)) };
            Some(Command::copy_of(format!("{what} as {}", format.title()), text))
        }
        Err(at) => {
            let why = match shown.space.segment_at(at) {
                Some(segment) => crate::ui::panels::address_rows::origin_words(segment.origin),
                None => "not mapped".to_owned(),
            };
            failed(
                "Not copied",
                format!("{at} has no byte: {why}. Select less, or copy as hexdump or YARA string, which can say so."),
            )
        }
    }
}
