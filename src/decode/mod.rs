//! What the bytes of an image file say: framing, messages, payloads. Pure: bytes in, values out.
//!
//! An [`Img`] is a file of the image directory with its [`Kind`]; [`typed`] gives its records as the generated types of
//! [`schema`], with everything that could not be decoded as [`DecodeError`]s beside them.
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

pub use crit_json::crit_json;
pub use error::{DecodeError, DecodeErrorKind, Decoded, FieldName, ImgName, UnknownField, WireError};
pub use fuzz::fuzz_img;
pub use img::{Ctx, Framed, Img, Records};
pub use kinds::{Kind, kind_of};
pub use kinds_table::KINDS;
pub use names::Arch;
pub use payload::{Content, Part};
pub use raw::{RawImg, RawRecord, raw};
pub use typed::{Ghost, GhostChunk, Record, ghost, ipc_messages, single, typed};
