//! Search: patterns over memory, queues and files, in parallel, streaming, in an order that does not depend on threads.
//!
//! ```text
//! Pattern --compile--> Matcher
//! Scope --> targets (a process's memory, a queue, a file) --plan--> units of about 1 MiB --scan in parallel-->
//!   hits in order (pid, then address) --> SearchSink
//! ```
//!
//! # What is a match
//! - Memory is searched as stretches of contiguous *addresses*. A match may cross borders of pages, runs and vmas; bytes
//!   that are neighbours in a pages file only never make one.
//! - Matches of one pattern do not overlap: the search goes on behind each, from the lowest address up, as `grep -o` does.
//!   Of several literals that begin at the same address the longest is told.
//! - A match is at most [`MAX_MATCH_BYTES`] long: a pattern without bound finds what it would find if memory ended so many
//!   bytes behind the start. It has at least one byte.
//! - Zeros that take no room (untouched pages, holes, compressed blocks of zeros) can be a part of a match, and alone they
//!   are none.
//! - `^` and `$` (without `m`) are the ends of a stretch; `\b` looks across all borders inside it.
//!
//! # Bounds
//! Bytes are scanned where they lie; only borders and small runs are copied, a unit at a time. Bytes that several processes
//! show (pages of an object, of a file) are scanned once. Hits are handed on in order while later units are scanned; of one
//! unit at most 65,536 wait, the rest is found when its turn comes. Each unit asks `Progress::step`, so that a cancel is
//! seen within a few milliseconds. A checkpoint whose memory lies in hundreds of millions of small pieces is searched up to
//! a limit, and the sink is told.

mod engine;
mod hit;
mod matcher;
mod pattern;
mod plan;
mod scope;
pub mod secrets;
mod space;
mod strings;
mod targets;
#[cfg(feature = "yara")]
pub mod yara;

pub use engine::search;
pub use hit::{Hit, SearchSink, Skipped, WhySkipped};
pub use matcher::{MAX_MATCH_BYTES, Matcher};
pub use pattern::{HexPattern, Pattern, PatternError, parse_value};
pub use scope::{Scope, Source, VmaFilter};
pub use strings::{Encoding, strings_pattern};
