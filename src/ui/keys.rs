//! Keys of actions.

use egui::{Key, KeyboardShortcut, Modifiers};

use crate::session::actions::{ACTIONS, Action};
use crate::session::{Command, Model};

/// `Ctrl+Shift+O` as egui has it; Ctrl is Cmd on a Mac.
pub(super) fn parse(shortcut: &str) -> Option<KeyboardShortcut> {
    let mut modifiers = Modifiers::NONE;
    let mut parts = shortcut.split('+').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return Key::from_name(part).map(|key| KeyboardShortcut::new(modifiers, key));
        }
        modifiers |= match part {
            "Ctrl" => Modifiers::COMMAND,
            "Shift" => Modifiers::SHIFT,
            "Alt" => Modifiers::ALT,
            _ => return None,
        };
    }
    None
}

/// The key of an action as it is written on this system.
pub(super) fn label(ctx: &egui::Context, action: &Action) -> String {
    match action.shortcut {
        Some("Questionmark") => "?".into(),
        Some(shortcut) => parse(shortcut).map(|shortcut| ctx.format_shortcut(&shortcut)).unwrap_or_default(),
        None => String::new(),
    }
}

/// Takes the keys of enabled actions out of the input.
pub(super) fn take(ctx: &egui::Context, model: &Model) -> Vec<Command> {
    let is_typing = ctx.text_edit_focused();
    let mut keyed: Vec<_> = ACTIONS.iter().filter_map(|action| Some((parse(action.shortcut?)?, action))).collect();
    // Ctrl+O would also take Ctrl+Shift+O: more modifiers first.
    keyed.sort_by_key(|(shortcut, _)| {
        let modifiers = shortcut.modifiers;
        std::cmp::Reverse(u8::from(modifiers.shift) + u8::from(modifiers.alt) + u8::from(modifiers.command))
    });
    let mut commands = Vec::new();
    for (shortcut, action) in keyed {
        // No letter comes of F4.
        let is_function = shortcut.logical_key.name().strip_prefix('F').is_some_and(|nr| nr.parse::<u8>().is_ok());
        if is_typing && shortcut.modifiers.is_none() && !is_function {
            continue;
        }
        if action.is_enabled(model) && ctx.input_mut(|input| input.consume_shortcut(&shortcut)) {
            commands.extend(action.commands(model));
        }
    }
    for (button, action) in [(egui::PointerButton::Extra1, "Back"), (egui::PointerButton::Extra2, "Forward")] {
        if ctx.input(|input| input.pointer.button_clicked(button))
            && let Some(action) = ACTIONS.iter().find(|row| row.name == action && row.is_enabled(model))
        {
            commands.extend(action.commands(model));
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_is_one_that_egui_knows() {
        for action in ACTIONS {
            if let Some(shortcut) = action.shortcut {
                assert!(parse(shortcut).is_some(), "{shortcut}");
            }
        }
    }
}
