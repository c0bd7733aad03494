//! What the bytes of an image file say: framing, messages, payloads. Pure: bytes in, values out.
//!
//! An [`Img`] is a file of the image directory with its [`Kind`]; a [`Ctx`] is what all files of one checkpoint have in
//! common, found by [`Ctx::detect`]. Then:
//!
//! | function | gives |
//! |---|---|
//! | [`typed`], [`single`] | records as the generated types of [`schema`], for the model |
//! | [`pagemap::pagemap`] | runs of pages and their places in the pages file; [`lz4::unpack`] for compressed ones |
//! | [`ghost`], [`ipc_messages`], [`netlink::netlink`] | contents that have a shape of their own |
//! | [`raw`] | every record by reflection, for people |
//! | [`crit_json`], [`crit_entries`] | the JSON that `crit show` prints |
//! | [`names`] | names for numbers |
//!
//! Nothing fails as a whole: a [`Decoded`] has what could be read, and a [`DecodeError`] with image and offset for what
//! could not. All bytes borrow from the image.
//!
//! A new kind of image is a row in `kinds_table.rs`, its message in `assets/schema`, and a fixture that has it.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

mod crit_json;
mod crit_text;
mod error;
mod fuzz;
mod img;
pub mod kinds;
mod kinds_table;
pub mod lz4;
pub mod names;
pub mod netlink;
pub mod pagemap;
pub mod payload;
mod raw;
pub mod schema;
mod typed;
mod wire;

pub use crit_json::{crit_entries, crit_json};
pub use error::{DecodeError, DecodeErrorKind, Decoded, FieldName, ImgName, UnknownField, WireError};
pub use fuzz::fuzz_img;
pub use img::{Ctx, Framed, Img, Records};
pub use kinds::{Kind, kind_of};
pub use kinds_table::KINDS;
pub use names::Arch;
pub use payload::{Content, Part};
pub use raw::{RawImg, RawRecord, count_records, raw};
pub use typed::{Ghost, GhostChunk, Record, count_values, ghost, ipc_messages, single, typed};
pub use wire::RECORD_VALUES;
