//! The application without pixels: one model, one command enum, one writer.
//!
//! What the analyst asks for is a [`Command`]; [`apply`] is the only writer of the [`Model`] and
//! answers with [`Effect`]s, which the [`Driver`] runs (jobs) or hands to the window (clipboard,
//! dialogs, layout). What jobs find comes back as commands. Panels draw from `&Model` and return
//! commands; they do no IO, take no locks and start no jobs.
//!
//! ```text
//! panels, keys, menus, palette ──Command──▶ apply(&mut Model) ──Effect──▶ Driver ──▶ jobs
//!            ▲                                     ▲                                  │
//!            └──────────── &Model ─────────────────┴─────────────Command──────────────┘
//! ```
//!
//! Recipes: a new thing to ask = a variant of a command, its arm in `apply/`, and, when it shall
//! stand in menus and palette, a row in [`actions`]. A new place to link to = a variant of
//! [`Target`] and its row in [`Target::panel`].

pub mod actions;
mod apply;
mod arrival;
mod base;
mod command;
mod content;
mod driver;
mod early;
mod effect;
pub mod export;
pub mod filesystem;
mod history;
mod jobs_list;
mod layout;
mod model;
mod notifications;
mod objects;
#[cfg(feature = "gui")]
pub mod palette;
mod panel;
pub mod sample;
pub mod sandbox;
pub mod search;
mod settings;
pub mod space;
mod target;

pub use apply::apply;
pub use arrival::Arrival;
pub use base::{AttachedBase, BaseState};
pub use command::{
    ArchivesCommand, BookmarksCommand, Command, ExportCommand, JobsCommand, NavigateCommand, NotificationsCommand,
    SandboxCommand, SearchCommand, ViewCommand,
};
pub use content::{Content, ContentKey, RecordCount, Requested};
pub use driver::Driver;
pub use effect::{Effect, FileChoice, JobWork};
pub use history::History;
pub use jobs_list::{JobEnd, JobId, JobRow};
pub use layout::{Layout, Panel, Part};
pub use model::{ArchiveId, HashState, Loaded, Model, OpenArchive, Place};
pub use notifications::{Level, Notification, NotificationId, Notifications};
pub use objects::{Object, ObjectKind, objects_of};
pub use panel::PanelKind;
pub use search::{QueryKind, SearchId, SearchNews, SearchRequest};
pub use settings::{RecentArchive, Settings, Theme};
pub use target::{ProcessTab, Target};

/// Process 1 of the bundled sample, for tests.
#[cfg(test)]
fn sample_process() -> crate::checkpoint::Process {
    use crate::evidence::{Evidence, OpenOptions};
    let options = OpenOptions::default();
    let bytes = bytes::Bytes::from_static(sample::ARCHIVE);
    let evidence = Evidence::open_bytes("sample", bytes, &options, &crate::base::Silent).unwrap();
    let checkpoint = crate::checkpoint::load(&evidence, &options, &crate::base::Silent).unwrap().remove(0);
    checkpoint.process(crate::base::Pid(1)).unwrap().clone()
}
