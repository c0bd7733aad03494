//! Text for people: aligned, coloured where the terminal wants it, honest about what is missing.
//!
//! Everything from the evidence passes through [`crate::base::Text::label`] or
//! [`crate::base::escape_controls`]: nothing in it can move the cursor.

mod card;
mod columns;
mod hex;
mod human;
mod images;
mod inspect;
mod kernel;
mod process;
mod search;
mod style;
mod system;
mod tree;

pub use columns::{Align, Cell, Columns};
pub use hex::HexDump;
pub use human::{bytes, plural, unix_time};
pub use images::{images, records};
pub use inspect::{Sections, inspect};
pub use search::HitList;
pub use style::{Style, Tone};
