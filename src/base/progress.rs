//! How long work says how far it is, and learns that it shall stop.

/// The analyst has pressed stop. An outcome, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Receives progress and says when to stop. Called from worker threads.
pub trait Progress: Sync {
    /// `done` of `total` bytes or items are done; `total` is `None` while unknown.
    ///
    /// # Errors
    /// `Cancelled` once the work shall stop; the caller returns at once.
    fn step(&self, done: u64, total: Option<u64>) -> Result<(), Cancelled>;

    /// Names what is being done now ("decompressing", "decoding images").
    fn stage(&self, _name: &'static str) {}
}

/// Nobody watches and nobody cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _done: u64, _total: Option<u64>) -> Result<(), Cancelled> {
        Ok(())
    }
}
