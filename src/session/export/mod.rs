//! What leaves the program as files: never the evidence, never beside what is in it, and sparse where there are holes.
//!
//! Window and command line write by the same code, which draws and prints nothing.

mod carved;
mod file;
mod memory;
mod raw;

pub use carved::CarveDir;
pub use file::{copy, create, write_sparse};
pub use memory::{MemoryExport, Written};
pub use raw::{RawFile, chosen, chunks, write_raw};

pub(super) use memory::write as write_memory;
