//! Long work: named threads that report progress and can be cancelled.
//!
//! A job is one closure that runs on its own thread with a [`JobCtx`]; its owner keeps the
//! [`JobHandle`]. The worker reports through [`base::Progress`](crate::base::Progress), the owner
//! polls [`JobHandle::progress`] and takes the [`Outcome`] once. Nobody waits: the worker calls a
//! wake function where something worth looking at has changed, at most every 50 ms.
//!
//! Knows no analysis and no window. This is the only module that starts threads.

mod ctx;
mod handle;

pub use ctx::{JobCtx, ProgressView, Wake};
pub use handle::{JobHandle, Outcome, spawn};
