//! What the bytes of an image file say: framing, messages, payloads. Pure: bytes in, values out.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

pub mod kinds;
mod kinds_table;
pub mod schema;

pub use kinds::{Kind, kind_of};
pub use kinds_table::KINDS;
