//! Room: the spool's limit, the reserve of the file system, and who goes first.

use std::io;
use std::path::Path;

use crate::agent::problem::{Failure, Outcome};

use super::Spool;

pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

impl Spool {
    /// Makes room for so many bytes more, by removing the oldest archives that are not kept.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn make_room(&self, bytes: u64) -> Outcome<()> {
        let failed = |error| Failure::internal("room cannot be made in the spool", error);
        loop {
            let used = self.lock().used_bytes();
            let free = free_bytes(&self.config.path).map_err(failed)?;
            let fits_limit = used.saturating_add(bytes) <= self.config.limit_bytes;
            let fits_disk = bytes.saturating_add(self.config.reserve_bytes) <= free;
            if fits_limit && fits_disk {
                return Ok(());
            }
            let removable: Vec<_> = self.lock().entries.values().filter(|entry| !entry.view().keep).cloned().collect();
            let most: u64 = removable.iter().map(|entry| entry.archive.size_bytes).sum();
            let would_fit = used.saturating_sub(most).saturating_add(bytes) <= self.config.limit_bytes
                && bytes.saturating_add(self.config.reserve_bytes) <= free.saturating_add(most);
            // Nothing is removed for what would not fit all the same.
            let Some(oldest) = removable.first().filter(|_| would_fit) else {
                return Err(self.no_room(bytes, used, free, fits_limit));
            };
            tracing::warn!("{} ({}): removed to make room", oldest.archive.id, oldest.archive.name);
            self.remove(&oldest.archive.id).map_err(failed)?;
        }
    }

    fn no_room(&self, bytes: u64, used: u64, free: u64, fits_limit: bool) -> Failure {
        let (limit, reserve) = (self.config.limit_bytes, self.config.reserve_bytes);
        let message = if fits_limit {
            format!("{bytes} more bytes would leave less than {reserve} free on the node's disk, where {free} are")
        } else {
            format!("{bytes} more bytes would be more than the {limit} that the spool may take, where {used} are taken")
        };
        Failure::new(507, "no-room", message)
            .hint("fetch and delete archives, take the keep mark from one, or raise --spool-limit or lower --reserve")
    }
}
