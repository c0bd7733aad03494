//! What is known of an archive while it still unpacks.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{escape, escape_controls};
use crate::evidence::{Member, OnMember, OpenOptions};

/// How many of the members that came last are named.
const MAX_NAMES: usize = 12;

/// An archive that is being opened: what has come out of it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Where it lies.
    pub path: PathBuf,
    /// Members that are there.
    pub nr_members: u64,
    /// Images among them.
    pub nr_images: u64,
    /// Tasks among these: images of processes and threads.
    pub nr_tasks: u64,
    /// Bytes that have come out, those of a member that is not whole yet among them.
    pub unpacked_bytes: u64,
    /// Names of the members that came last, the newest first, with their sizes.
    pub newest: VecDeque<(String, u64)>,
}

impl Arrival {
    fn take_in(&mut self, member: &Member) {
        let name = member.file_name();
        self.nr_members += 1;
        self.nr_images += u64::from(name.ends_with(b".img"));
        self.nr_tasks += u64::from(name.starts_with(b"core-") && name.ends_with(b".img"));
        if self.newest.len() == MAX_NAMES {
            self.newest.pop_back();
        }
        let cut = member.path.get(..member.path.len().min(512)).unwrap_or_default();
        self.newest.push_front((escape_controls(&escape(cut)).into_owned(), member.available_bytes()));
    }
}

/// An [`Arrival`] that the opening job writes and the driver reads.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedArrival {
    arrival: Arc<Mutex<Arrival>>,
    unpacked: Arc<AtomicU64>,
}

impl SharedArrival {
    pub(super) fn new(path: PathBuf) -> SharedArrival {
        let arrival = Arrival { path, ..Arrival::default() };
        SharedArrival { arrival: Arc::new(Mutex::new(arrival)), unpacked: Arc::default() }
    }

    /// Options to open with, so that what arrives is taken in.
    pub(super) fn options(&self) -> OpenOptions {
        let shared = Arc::clone(&self.arrival);
        let on_member: OnMember =
            Arc::new(move |member, _| shared.lock().unwrap_or_else(PoisonError::into_inner).take_in(member));
        OpenOptions { on_member: Some(on_member), unpacked: Some(Arc::clone(&self.unpacked)), ..OpenOptions::default() }
    }

    /// What has arrived, if that is more than was told. Never waits.
    pub(super) fn news(&self, told: (u64, u64)) -> Option<Arrival> {
        let unpacked_bytes = self.unpacked.load(Ordering::Relaxed);
        let arrival = self.arrival.try_lock().ok()?;
        ((arrival.nr_members, unpacked_bytes) != told).then(|| Arrival { unpacked_bytes, ..arrival.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Silent;
    use crate::evidence::Evidence;

    #[test]
    fn members_are_counted_as_they_arrive() {
        let shared = SharedArrival::new("/e/a.tar.zst".into());
        let options = shared.options();
        let bytes = bytes::Bytes::from_static(crate::session::sample::ARCHIVE);
        let evidence = Evidence::open_bytes("sample", bytes, &options, &Silent).unwrap();
        let arrival = shared.news((0, 0)).unwrap();
        assert_eq!(arrival.nr_members, evidence.members().len() as u64);
        assert!(arrival.nr_images > 50 && arrival.nr_tasks >= 8 && arrival.nr_tasks < arrival.nr_images);
        assert_eq!(arrival.newest.len(), MAX_NAMES);
        assert!(arrival.unpacked_bytes > evidence.members().iter().map(Member::available_bytes).sum::<u64>());
        assert_eq!(shared.news((arrival.nr_members, arrival.unpacked_bytes)), None);
    }
}
