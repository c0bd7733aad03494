//! The tree of tabs from a layout that was kept, and the layout of a tree.

use egui_tiles::{Container, Linear, LinearDir, Tabs, Tile, TileId, Tiles, Tree};

use crate::session::{Layout, Panel, PanelKind, Part};

/// Deepest nesting that is kept.
const MAX_DEPTH: usize = 12;

/// Processes at the left, all else in tabs; searches, jobs and messages below, closed until they are asked for.
pub(super) fn default_tree() -> Tree<PanelKind> {
    let mut tiles = Tiles::default();
    let mut tabs = |kinds: &[PanelKind]| {
        let children = kinds.iter().map(|kind| tiles.insert_pane(*kind)).collect();
        tiles.insert_tab_tile(children)
    };
    let left = tabs(&[PanelKind::Processes]);
    let main = tabs(&[
        PanelKind::Overview,
        PanelKind::Process,
        PanelKind::Memory,
        PanelKind::Disassembly,
        PanelKind::Files,
        PanelKind::Sockets,
        PanelKind::Mounts,
        PanelKind::Filesystem,
        PanelKind::Documents,
        PanelKind::Images,
        PanelKind::Issues,
        PanelKind::Sandbox,
        PanelKind::Nodes,
    ]);
    let below = tabs(&[PanelKind::Search, PanelKind::Jobs, PanelKind::Notifications]);
    let mut right = Linear::new(LinearDir::Vertical, vec![main, below]);
    right.shares.set_share(main, 0.54);
    right.shares.set_share(below, 0.46);
    let right = tiles.insert_container(Container::Linear(right));
    let mut root = Linear::new(LinearDir::Horizontal, vec![left, right]);
    root.shares.set_share(left, 0.27);
    root.shares.set_share(right, 0.73);
    let root = tiles.insert_container(Container::Linear(root));
    for closed in [PanelKind::Search, PanelKind::Jobs, PanelKind::Notifications] {
        if let Some(tile) = tiles.find_pane(&closed) {
            tiles.set_visible(tile, false);
        }
    }
    Tree::new(egui::Id::unique("dock"), root, tiles)
}

/// The tree of a layout that was repaired.
pub(super) fn tree_of(layout: &Layout) -> Tree<PanelKind> {
    let mut tiles = Tiles::default();
    let root = insert(&mut tiles, layout);
    Tree::new(egui::Id::unique("dock"), root, tiles)
}

/// Nesting is bounded: see [`Layout::repaired`].
fn insert(tiles: &mut Tiles<PanelKind>, layout: &Layout) -> TileId {
    let (parts, dir) = match layout {
        Layout::Tabs { panels, front } => {
            let children: Vec<TileId> = panels.iter().map(|panel| tiles.insert_pane(panel.kind)).collect();
            for (panel, tile) in panels.iter().zip(&children) {
                tiles.set_visible(*tile, panel.is_open);
            }
            let at = panels.iter().position(|panel| Some(panel.kind) == *front);
            let mut tabs = Tabs::new(children.clone());
            if let Some(tile) = at.and_then(|at| children.get(at)) {
                tabs.set_active(*tile);
            }
            return tiles.insert_container(tabs);
        }
        Layout::Beside(parts) => (parts, LinearDir::Horizontal),
        Layout::Below(parts) => (parts, LinearDir::Vertical),
    };
    let children: Vec<TileId> = parts.iter().map(|part| insert(tiles, &part.layout)).collect();
    let mut linear = Linear::new(dir, children.clone());
    for (part, tile) in parts.iter().zip(children) {
        linear.shares.set_share(tile, part.share);
    }
    tiles.insert_container(linear)
}

/// The layout of a tree; `None` when there is nothing in it.
pub(super) fn layout_of(tree: &Tree<PanelKind>) -> Option<Layout> {
    let layout = read(tree, tree.root?, 0)?;
    layout.repaired()
}

fn read(tree: &Tree<PanelKind>, tile: TileId, depth: usize) -> Option<Layout> {
    if depth > MAX_DEPTH {
        return None;
    }
    let panel = |tile: &TileId| {
        let kind = *tree.tiles.get_pane(tile)?;
        Some(Panel { kind, is_open: tree.is_visible(*tile) })
    };
    let container = match tree.tiles.get(tile)? {
        Tile::Pane(_) => return Some(Layout::Tabs { panels: vec![panel(&tile)?], front: None }),
        Tile::Container(container) => container,
    };
    let share_of = |tile: TileId| match container {
        Container::Linear(linear) => {
            linear.shares.iter().find(|(known, _)| **known == tile).map_or(1.0, |(_, share)| *share)
        }
        Container::Tabs(_) | Container::Grid(_) => 1.0,
    };
    let parts = || {
        let part = |tile: &TileId| Some(Part { share: share_of(*tile), layout: read(tree, *tile, depth + 1)? });
        container.children().filter_map(part).collect::<Vec<_>>()
    };
    Some(match container {
        Container::Tabs(tabs) if container.children().all(|child| tree.tiles.get_pane(child).is_some()) => {
            let front = tabs.active.and_then(|tile| tree.tiles.get_pane(&tile).copied());
            Layout::Tabs { panels: container.children().filter_map(panel).collect(), front }
        }
        Container::Linear(Linear { dir: LinearDir::Vertical, .. }) => Layout::Below(parts()),
        Container::Linear(_) | Container::Tabs(_) | Container::Grid(_) => Layout::Beside(parts()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_survives_being_kept() {
        let layout = layout_of(&default_tree()).unwrap();
        let text = serde_json::to_string(&layout).unwrap();
        let read: Layout = serde_json::from_str(&text).unwrap();
        assert_eq!(layout_of(&tree_of(&read)), Some(layout.clone()));
        let Layout::Beside(parts) = layout else { panic!("processes are at the left") };
        assert_eq!(parts.len(), 2);
        assert!((parts[0].share - 0.27).abs() < 1e-6);
    }

    #[test]
    fn closed_panels_and_the_one_in_front_are_kept() {
        let mut tree = default_tree();
        let closed = tree.tiles.find_pane(&PanelKind::Mounts).unwrap();
        tree.set_visible(closed, false);
        let front = tree.tiles.find_pane(&PanelKind::Images).unwrap();
        tree.make_active(|id, _| id == front);
        let tree = tree_of(&layout_of(&tree).unwrap());
        assert!(!tree.is_visible(tree.tiles.find_pane(&PanelKind::Mounts).unwrap()));
        assert!(tree.active_tiles().contains(&tree.tiles.find_pane(&PanelKind::Images).unwrap()));
    }
}
