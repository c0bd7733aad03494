//! Address spaces: what lies at each address of a process, and searching all of it.
//!
//! [`Memory`] is the view of a whole checkpoint; it owns an `Arc` of it and an index of what processes share. A process's
//! [`AddressSpace`] joins its vmas with the runs of pages of its own pagemap, of the objects that it shares with others, of
//! parent checkpoints, and of files that the evidence holds. It is made in the time that it takes to walk the vmas, holds
//! nothing for each page, and every look-up is a few binary searches: a hundred gigabytes of sparse pages cost as much as
//! a hundred kilobytes.
//!
//! | type | answers |
//! |---|---|
//! | [`Memory`] | spaces by pid; who else maps a page; addresses of a byte of a pages file |
//! | [`AddressSpace`] | what is at an address; its bytes; where in the evidence they lie |
//! | [`Segment`] | a stretch of one vma with one [`Origin`] |
//! | [`Chunk`] | bytes, zeros, or a typed absence ([`Missing`]) |
//! | [`SegmentIndex`] | segments in order with the bytes before each, for a view that scrolls through all |
//! | [`Symbols`], [`stack`], [`disassembly`] | names of addresses, stacks of threads, instructions |
//! | [`overlay`] | named fields of structures that are recognised |
//! | [`write_core`] | a core file for debuggers |
//! | [`carve`] | programs and libraries in memory, as files |
//! | [`search`] | patterns, and scanning memory, queues, files |
//!
//! # Invariants
//! - Ranges are half-open and in the addresses of the checkpointed process; offsets are in bytes.
//! - A byte that is given is the byte that the process would have read, or the one in the evidence for files outside the
//!   images, whose origin says so. What is not there is [`Missing`], never a zero.
//! - Zeros are given only where the kernel gives them: private anonymous pages that were never written to, and holes of
//!   shared objects.

mod address_space;
pub mod carve;
mod core_file;
pub mod disassembly;
mod elf;
mod fuzz;
mod index;
mod mapped_file;
pub mod overlay;
pub mod search;
mod segment;
pub mod stack;
mod symbols;
mod whole;

pub use address_space::{AddressSpace, Chunk, Content, PackedRun, Stored};
pub(crate) use elf::build_id;

pub use core_file::{CoreError, CoreSummary, write_core};
pub use fuzz::{fuzz_elf, fuzz_memory};
pub use index::SegmentIndex;
pub use segment::{Missing, Origin, Segment};
pub use symbols::{AddressName, Module, Symbols};
pub use whole::Memory;
