//! JSON as a tree: branches open and close, only the rows in view are drawn.

use std::collections::HashSet;

use egui::{ScrollArea, Ui};
use serde_json::Value;

use super::row::ListRow;
use crate::base::escape_controls;
use crate::session::Command;
use crate::ui::icons;
use crate::ui::tokens::{ROW_HEIGHT, Tone};

/// Most rows a tree shows; a hostile document has no more.
const MAX_ROWS: usize = 200_000;
/// Longest value shown in a row, in characters.
const MAX_VALUE: usize = 400;
/// Deepest level shown.
const MAX_DEPTH: u32 = 64;

/// What a panel keeps of a JSON tree.
#[derive(Debug, Default)]
pub struct JsonView {
    key: Option<(u64, String)>,
    /// JSON pointers of open branches.
    open: HashSet<String>,
    rows: Vec<JsonRow>,
}

#[derive(Debug)]
struct JsonRow {
    pointer: String,
    depth: u32,
    name: String,
    value: String,
    is_open: Option<bool>,
}

impl JsonView {
    /// Draws `document`; `key` changes when it does. A filter (lower case) keeps leaves that match, with their branches.
    pub fn show(&mut self, ui: &mut Ui, id: &str, key: u64, document: &Value, needle: &str) -> Vec<Command> {
        let mut commands = Vec::new();
        let wanted = (key, needle.to_owned());
        if self.key.as_ref().is_none_or(|(old, _)| *old != key) {
            self.open = HashSet::from([String::new()]);
            self.open.extend(first_level(document));
        }
        if self.key.as_ref() != Some(&wanted) {
            self.key = Some(wanted);
            self.flatten(document, needle);
        }
        let mut toggled = None;
        ui.spacing_mut().item_spacing.y = 0.0;
        ScrollArea::vertical().id_salt(id).auto_shrink(false).show_rows(
            ui,
            ROW_HEIGHT,
            self.rows.len(),
            |ui, range| {
                for row in self.rows.get(range).unwrap_or_default() {
                    let drawn = ListRow::new(&row.name).mono();
                    let drawn = match row.is_open {
                        Some(_) => drawn.secondary(&row.value),
                        None => drawn.value(&row.value),
                    };
                    let drawn = drawn
                        .needle(needle)
                        .depth(row.depth)
                        .branch(row.is_open)
                        .icon(if row.is_open.is_some() { icons::BRACES } else { "" }, Tone::Neutral)
                        .show(ui);
                    if row.is_open.is_some() && drawn.response.clicked() {
                        toggled = Some(row.pointer.clone());
                    }
                    drawn.response.context_menu(|ui| {
                        let whole = || document.pointer(&row.pointer).map(Value::to_string).unwrap_or_default();
                        if ui.button("Copy value").clicked() {
                            commands.push(Command::copy("value", whole()));
                            ui.close();
                        }
                        if ui.button("Copy path").clicked() {
                            commands.push(Command::copy("path", row.pointer.clone()));
                            ui.close();
                        }
                    });
                }
            },
        );
        if let Some(pointer) = toggled {
            if !self.open.remove(&pointer) {
                self.open.insert(pointer);
            }
            self.flatten(document, needle);
        }
        commands
    }

    fn flatten(&mut self, document: &Value, needle: &str) {
        self.rows.clear();
        // An explicit stack: documents may nest deeper than ours.
        let mut stack = vec![(String::new(), String::new(), document, 0u32)];
        while let Some((pointer, name, value, depth)) = stack.pop() {
            if self.rows.len() >= MAX_ROWS {
                break;
            }
            let children = children_of(value);
            let is_branch = children.is_some();
            let text = summary(value);
            let is_open = is_branch.then(|| !needle.is_empty() || self.open.contains(&pointer));
            let is_leaf_shown = needle.is_empty()
                || super::filter::contains_ignore_case(&name, needle)
                || super::filter::contains_ignore_case(&text, needle);
            if is_branch || is_leaf_shown {
                let label = if name.is_empty() { "document".to_owned() } else { escape_controls(&name).into_owned() };
                self.rows.push(JsonRow { pointer: pointer.clone(), depth, name: label, value: text, is_open });
            }
            if is_open == Some(true) && depth < MAX_DEPTH {
                for (name, child) in children.unwrap_or_default().into_iter().rev() {
                    let step = name.replace('~', "~0").replace('/', "~1");
                    stack.push((format!("{pointer}/{step}"), name, child, depth + 1));
                }
            }
        }
        if !needle.is_empty() {
            self.drop_childless_branches();
        }
    }

    /// Under a filter, a branch with nothing below it is noise.
    fn drop_childless_branches(&mut self) {
        let mut keep_depth = 0u32;
        let mut kept = Vec::new();
        for row in std::mem::take(&mut self.rows).into_iter().rev() {
            if row.is_open.is_none() || row.depth < keep_depth {
                keep_depth = row.depth;
                kept.push(row);
            }
        }
        kept.reverse();
        self.rows = kept;
    }
}

fn first_level(document: &Value) -> Vec<String> {
    let children = children_of(document).unwrap_or_default();
    children.into_iter().take(64).map(|(name, _)| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

fn children_of(value: &Value) -> Option<Vec<(String, &Value)>> {
    match value {
        Value::Object(map) => Some(map.iter().map(|(name, value)| (name.clone(), value)).collect()),
        Value::Array(list) => Some(list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()),
        _ => None,
    }
}

fn summary(value: &Value) -> String {
    let text = match value {
        Value::Object(map) => format!("{{{}}}", map.len()),
        Value::Array(list) => format!("[{}]", list.len()),
        Value::String(text) => text.chars().take(MAX_VALUE).collect(),
        other => other.to_string(),
    };
    escape_controls(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(view: &JsonView) -> Vec<String> {
        view.rows.iter().map(|row| format!("{}{} {}", "  ".repeat(row.depth as usize), row.name, row.value)).collect()
    }

    #[test]
    fn closed_branches_hide_what_is_below() {
        let document = serde_json::json!({"a": {"b": 1, "c": [true]}, "d": "x"});
        let mut view = JsonView { open: HashSet::from([String::new()]), ..JsonView::default() };
        view.flatten(&document, "");
        assert_eq!(shown(&view), ["document {2}", "  a {2}", "  d x"]);
    }

    #[test]
    fn filter_keeps_leaves_with_their_branches() {
        let document = serde_json::json!({"a": {"b": 1, "c": [true]}, "d": {"e": "x"}});
        let mut view = JsonView::default();
        view.flatten(&document, "true");
        assert_eq!(shown(&view), ["document {2}", "  a {2}", "    c [1]", "      0 true"]);
    }

    #[test]
    fn deep_nesting_ends() {
        let mut document = Value::Null;
        for _ in 0..100 {
            document = Value::Array(vec![document]);
        }
        let mut view = JsonView::default();
        view.flatten(&document, "null");
        assert!(view.rows.is_empty());
    }
}
