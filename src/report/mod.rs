//! What leaves the program: the shapes of the JSON, and the text that people read.
//!
//! The types here are not the model: they borrow from it, are written once, and name what programs
//! rely on. A field may be added; none is renamed or dropped, and `schema` counts up when one means
//! something else.
//!
//! # Rules of the JSON
//! - A value that the checkpoint does not record is `null`, never an invented zero.
//! - A string whose bytes are valid UTF-8 is written as it is. One that is not has `\xNN` for the bad
//!   bytes, and its exact bytes stand beside it in hex under the same name with `_hex`; for a list of
//!   strings that is a list, of all of them.
//! - Addresses are `"0x…"`, capability sets and signal sets 16 hex digits without `0x`, modes and open
//!   flags octal as /proc writes them, sizes and counts numbers with their unit in the name.
//! - Lists that are long (processes, maps) are made while they are written: a document needs memory
//!   for one process, not for all.
//!
//! | document | type |
//! |---|---|
//! | `inspect --json` | [`inspect::Inspect`] |
//! | `show --json`, `list --json` | [`overview::Overview`] |
//! | `images --json` | [`images::ImageList`] |
//! | `compare --json` | [`changes::Changes`] |
//! | `files --json` | [`files::FileList`] |
//! | `search --json`, `strings --json`, `memory --json` | lines: [`search::HitLine`], [`search::StringLine`], [`search::MemoryLine`] |
//! | `memory --disassemble --json`, `memory --stacks --json` | lines: [`code::CodeLine`], [`code::StackLine`] |
//! | `hunt` | rows of three tables: [`hunt::HitRow`], [`hunt::IssueRow`], [`hunt::ArchiveRow`]; [`parquet`] writes them too |
//! | `memory --carve --json` | lines: [`carve::CarvedLine`] |

pub mod carve;
pub mod changes;
pub mod code;
pub mod files;
pub mod hunt;
pub mod images;
pub mod inspect;
pub mod missing;
pub mod overview;
pub mod parquet;
pub mod search;
pub mod text;

mod container;
mod descriptors;
mod maps;
mod process;
mod system;
mod value;
