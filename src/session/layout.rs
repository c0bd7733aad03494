//! Where the panels of the window are: what is remembered of it between sessions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::PanelKind;

/// Most levels that splits and tabs are nested in.
const MAX_DEPTH: usize = 12;

/// Splits, and tabs in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Beside each other, from left to right.
    Beside(Vec<Part>),
    /// From top to bottom.
    Below(Vec<Part>),
    /// One over the other.
    Tabs {
        /// From left to right.
        panels: Vec<Panel>,
        /// The one in front.
        front: Option<PanelKind>,
    },
}

/// One part of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// How much of the room it has, beside the others' shares.
    pub share: f32,
    /// What is in it.
    pub layout: Layout,
}

/// A panel that is open, or closed and has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panel {
    /// Which.
    pub kind: PanelKind,
    /// Whether it is shown.
    pub is_open: bool,
}

impl Layout {
    /// The same with every panel once and every share a number that makes sense; panels that it
    /// leaves out are put beside the first tabs. `None` when there are no tabs at all.
    pub fn repaired(mut self) -> Option<Layout> {
        let mut seen = BTreeSet::new();
        self.keep_valid(&mut seen, 0);
        let missing = PanelKind::ALL.into_iter().filter(|kind| !seen.contains(kind));
        let missing: Vec<Panel> = missing.map(|kind| Panel { kind, is_open: false }).collect();
        if seen.is_empty() {
            return None;
        }
        self.add_to_largest(missing);
        Some(self)
    }

    fn keep_valid(&mut self, seen: &mut BTreeSet<PanelKind>, depth: usize) {
        match self {
            Layout::Tabs { panels, front } => {
                panels.retain(|panel| seen.insert(panel.kind));
                *front = front.filter(|front| panels.iter().any(|panel| panel.kind == *front && panel.is_open));
            }
            Layout::Beside(parts) | Layout::Below(parts) => {
                for part in parts.iter_mut() {
                    if depth >= MAX_DEPTH {
                        part.layout = Layout::Tabs { panels: Vec::new(), front: None };
                    }
                    part.layout.keep_valid(seen, depth + 1);
                    part.share = if part.share.is_finite() { part.share.clamp(0.02, 50.0) } else { 1.0 };
                }
                parts.retain(|part| !part.layout.is_empty());
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Layout::Tabs { panels, .. } => panels.is_empty(),
            Layout::Beside(parts) | Layout::Below(parts) => parts.is_empty(),
        }
    }

    fn most_panels(&self) -> usize {
        match self {
            Layout::Tabs { panels, .. } => panels.len(),
            Layout::Beside(parts) | Layout::Below(parts) => {
                parts.iter().map(|part| part.layout.most_panels()).max().unwrap_or_default()
            }
        }
    }

    fn add_to_largest(&mut self, missing: Vec<Panel>) {
        match self {
            Layout::Tabs { panels, .. } => panels.extend(missing),
            Layout::Beside(parts) | Layout::Below(parts) => {
                if let Some(part) = parts.iter_mut().max_by_key(|part| part.layout.most_panels()) {
                    part.layout.add_to_largest(missing);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tabs(kinds: &[PanelKind]) -> Layout {
        let panels = kinds.iter().map(|kind| Panel { kind: *kind, is_open: true }).collect();
        Layout::Tabs { panels, front: kinds.first().copied() }
    }

    fn kinds(layout: &Layout) -> Vec<PanelKind> {
        match layout {
            Layout::Tabs { panels, .. } => panels.iter().map(|panel| panel.kind).collect(),
            Layout::Beside(parts) | Layout::Below(parts) => parts.iter().flat_map(|part| kinds(&part.layout)).collect(),
        }
    }

    #[test]
    fn panels_that_are_missing_or_twice_are_there_once() {
        let part = |layout, share| Part { share, layout };
        let layout = Layout::Beside(vec![
            part(tabs(&[PanelKind::Files]), f32::NAN),
            part(tabs(&[PanelKind::Files, PanelKind::Overview, PanelKind::Images]), -3.0),
            part(tabs(&[PanelKind::Files]), 1.0),
        ]);
        let Some(Layout::Beside(parts)) = layout.repaired() else { panic!("it is gone") };
        let mut all = kinds(&Layout::Beside(parts.clone()));
        all.sort();
        assert_eq!(all, {
            let mut every = PanelKind::ALL.to_vec();
            every.sort();
            every
        });
        assert_eq!(parts.iter().map(|part| part.share).collect::<Vec<_>>(), [1.0, 0.02]);
        assert_eq!(kinds(&parts[0].layout), [PanelKind::Files]);
    }

    #[test]
    fn nothing_and_too_much_nesting_are_no_layout() {
        assert_eq!(Layout::Below(Vec::new()).repaired(), None);
        let mut deep = tabs(&[PanelKind::Files]);
        for _ in 0..60 {
            deep = Layout::Below(vec![Part { share: 1.0, layout: deep }]);
        }
        assert_eq!(deep.repaired(), None);
    }
}
