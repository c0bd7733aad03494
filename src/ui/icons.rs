//! Icons of the Phosphor font, by what they stand for here.

use crate::session::PanelKind;
use crate::session::actions::{ActionId, ThemeChoice};

/// One glyph of the icon font.
pub type Icon = &'static str;

macro_rules! icons {
    ($($name:ident = $glyph:literal, $what:literal;)*) => {
        $(#[doc = $what] pub const $name: Icon = $glyph;)*

        /// All of them, so that a test can look for each in the font.
        #[cfg(test)]
        const ALL: &[(&str, Icon)] = &[$((stringify!($name), $name)),*];
    };
}

icons! {
    ABOUT = "\u{e2ce}", "Information.";
    ARCHIVE = "\u{e390}", "A checkpoint archive.";
    BACK = "\u{e058}", "Back.";
    BELL = "\u{e0ce}", "Notifications.";
    BINARY = "\u{ee60}", "Bytes.";
    BOOKMARK = "\u{e0ea}", "A place that is kept.";
    BRACES = "\u{e860}", "JSON.";
    CARET_DOWN = "\u{e136}", "Open branch; sorted downwards.";
    CARET_RIGHT = "\u{e13a}", "Closed branch.";
    CARET_UP = "\u{e13c}", "Sorted upwards.";
    CHECK = "\u{e182}", "On.";
    CLOCK = "\u{e19a}", "Time, recent.";
    CLOSE = "\u{e4f6}", "Close, clear.";
    CODE = "\u{e1bc}", "Instructions.";
    CONTAINER = "\u{e1da}", "The container.";
    COPY = "\u{e1ca}", "Copy.";
    CPU = "\u{e610}", "Thread, registers.";
    DEVICE = "\u{e2a0}", "Device, mount.";
    DOCUMENT = "\u{e23a}", "Document.";
    ENVIRONMENT = "\u{eae8}", "Environment, terminal.";
    ERROR = "\u{e4f8}", "Failed.";
    EVENT = "\u{e2de}", "Eventfd, signal.";
    FILE = "\u{e230}", "A file.";
    FILES = "\u{e710}", "Open files.";
    FILE_DELETED = "\u{e23c}", "A deleted file.";
    FILTER = "\u{e266}", "Filter.";
    FOLDER = "\u{e24a}", "Directory.";
    FOLDER_OPEN = "\u{e256}", "Open an archive.";
    FORWARD = "\u{e06c}", "Forward.";
    GAP = "\u{e3de}", "What is not there.";
    GHOST = "\u{e62a}", "Recovered, zombie.";
    HASH = "\u{e23e}", "Digest.";
    IMAGES = "\u{e466}", "Raw images.";
    ISSUE = "\u{e4e0}", "Issue, warning.";
    JOBS = "\u{e2b2}", "Background work.";
    KEY = "\u{e2d6}", "Credentials.";
    KEYBOARD = "\u{e2d8}", "Keys.";
    LAYOUT = "\u{e6d6}", "Layout.";
    LETTER_CASE = "\u{e6ee}", "Letters in either case.";
    LINK = "\u{e2e6}", "Link.";
    LIST = "\u{e2f2}", "List.";
    MEMORY = "\u{e9c4}", "Memory.";
    MINUS = "\u{e32a}", "Smaller.";
    MOON = "\u{e330}", "Dark.";
    NAMESPACE = "\u{e466}", "Namespace.";
    NETWORK = "\u{edde}", "Network.";
    OVERVIEW = "\u{e2c2}", "Overview.";
    PAUSE = "\u{e3a0}", "Stopped, stand still.";
    PLAY = "\u{e3d0}", "Go on.";
    PIPE = "\u{ed86}", "Pipe.";
    PLUS = "\u{e3d4}", "Larger, add.";
    PROCESS = "\u{e610}", "A process.";
    QUESTION = "\u{e3e8}", "Unknown.";
    RAW = "\u{e914}", "Raw records.";
    RESET = "\u{e038}", "Back to the beginning.";
    SAMPLE = "\u{e79e}", "The bundled sample.";
    REFRESH = "\u{e094}", "Look again.";
    SAVE = "\u{e20c}", "Save.";
    SEARCH = "\u{e30c}", "Search.";
    SHIELD = "\u{e40c}", "Seccomp, verified.";
    SIGNAL = "\u{e000}", "Signals.";
    SNOWFLAKE = "\u{e5aa}", "Cryoscope.";
    SANDBOX = "\u{e79e}", "Sandbox.";
    SOCKET = "\u{eb5a}", "Socket.";
    STOP = "\u{e46e}", "Stop.";
    SUCCESS = "\u{e184}", "Done.";
    SUN = "\u{e472}", "Light.";
    SYSTEM_THEME = "\u{e18c}", "As the system.";
    TIMER = "\u{e492}", "Timer.";
    TREE = "\u{e67c}", "Tree.";
    UNFOLD = "\u{e536}", "Show what is folded.";
    USER = "\u{e4c2}", "User.";
    VIEW = "\u{e220}", "Look at.";
}

/// Icon of a panel.
pub fn of_panel(kind: PanelKind) -> Icon {
    match kind {
        PanelKind::Overview => OVERVIEW,
        PanelKind::Processes => TREE,
        PanelKind::Process => PROCESS,
        PanelKind::Memory => MEMORY,
        PanelKind::Disassembly => CODE,
        PanelKind::Search => SEARCH,
        PanelKind::Files => FILES,
        PanelKind::Sockets => SOCKET,
        PanelKind::Mounts => DEVICE,
        PanelKind::Filesystem => FOLDER,
        PanelKind::Documents => DOCUMENT,
        PanelKind::Images => IMAGES,
        PanelKind::Issues => ISSUE,
        PanelKind::Sandbox => SANDBOX,
        PanelKind::Jobs => JOBS,
        PanelKind::Notifications => BELL,
    }
}

/// Icon of an action.
pub fn of_action(id: ActionId) -> Icon {
    match id {
        ActionId::OpenFile => FOLDER_OPEN,
        ActionId::OpenDirectory => FOLDER,
        ActionId::OpenSample => SAMPLE,
        ActionId::CloseArchive | ActionId::Quit => CLOSE,
        ActionId::AttachBase => IMAGES,
        ActionId::SupplyParent => ARCHIVE,
        ActionId::SaveCore | ActionId::SavePrograms => SAVE,
        ActionId::DetachBase => MINUS,
        ActionId::NextArchive | ActionId::PreviousArchive => ARCHIVE,
        ActionId::HashEvidence => HASH,
        ActionId::Back => BACK,
        ActionId::Forward => FORWARD,
        ActionId::Palette => SEARCH,
        ActionId::Filter => FILTER,
        ActionId::GoToAddress => MEMORY,
        ActionId::NextHit => CARET_DOWN,
        ActionId::PreviousHit => CARET_UP,
        ActionId::Panel(kind) => of_panel(kind),
        ActionId::ResetLayout => LAYOUT,
        ActionId::Theme(ThemeChoice::System) => SYSTEM_THEME,
        ActionId::Theme(ThemeChoice::Light) => SUN,
        ActionId::Theme(ThemeChoice::Dark) => MOON,
        ActionId::ZoomIn => PLUS,
        ActionId::ZoomOut => MINUS,
        ActionId::ZoomReset => RESET,
        ActionId::CancelJobs => STOP,
        ActionId::DismissNotifications => BELL,
        ActionId::Shortcuts => KEYBOARD,
        ActionId::About => ABOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_icon_is_in_the_font() {
        let ctx = egui::Context::default();
        super::super::fonts::install(&ctx);
        let mut missing = Vec::new();
        let output = ctx.run_ui(egui::RawInput::default(), |ui| {
            missing.clear();
            for (name, glyph) in ALL {
                if !ui.ctx().fonts_mut(|fonts| fonts.has_glyphs(&super::super::tokens::icon_font(15.0), glyph)) {
                    missing.push(*name);
                }
            }
        });
        output.drop_without_applying_deltas();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
