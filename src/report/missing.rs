//! What could not be searched or dumped, summed up in one line.

use std::collections::BTreeMap;

use crate::memory::Missing;
use crate::memory::search::{Skipped, Source, WhySkipped};
use crate::report::text::{bytes, plural};

/// Sums of what was skipped.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    missing: BTreeMap<Missing, u64>,
    unreadable: BTreeMap<Source, (usize, String)>,
}

impl Tally {
    /// Takes in what a search has skipped.
    pub fn add(&mut self, skipped: &Skipped<'_>) {
        match skipped.why {
            WhySkipped::Missing(why) => self.add_missing(why, skipped.range.end.saturating_sub(skipped.range.start)),
            WhySkipped::Unreadable(why) => {
                let first = || (0, format!("{}: {why}", skipped.name));
                self.unreadable.entry(skipped.source).or_insert_with(first).0 += 1;
            }
        }
    }

    /// Takes in so many bytes that are not there.
    pub fn add_missing(&mut self, why: Missing, len_bytes: u64) {
        let sum = self.missing.entry(why).or_default();
        *sum = sum.saturating_add(len_bytes);
    }

    /// Whether something is missing for this reason.
    pub fn has_missing(&self, why: Missing) -> bool {
        self.missing.contains_key(&why)
    }

    /// `2.1 MiB clean page of a file: not in the checkpoint; …`, or nothing.
    pub fn line(&self) -> Option<String> {
        let all = self.parts();
        if all.is_empty() { None } else { Some(all.join("; ")) }
    }

    /// Each reason by itself.
    pub fn parts(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|(why, len)| format!("{} {}", bytes(*len), words(*why)));
        let unreadable = self.unreadable.iter().map(|(source, (count, first))| {
            let what = plural(*count, "part", "parts");
            let more = if *count > 1 { " and others" } else { "" };
            format!("{what} of {source} that cannot be read ({first}{more})")
        });
        missing.chain(unreadable).collect()
    }
}

/// Why, behind a number of bytes.
fn words(why: Missing) -> &'static str {
    match why {
        Missing::Unmapped => "that are not mapped",
        Missing::Guard => "of guard regions",
        Missing::BehindEnd => "behind the end of mapped files",
        Missing::FilePage => "of clean file pages, which a checkpoint does not hold",
        Missing::Lazy => "left to a lazy-pages server",
        Missing::Parent => "in a parent checkpoint that is not here",
        Missing::Object => "of shared memory without its pages",
        Missing::NotKept => "of the kernel or of devices",
        Missing::Truncated => "behind the end of a pages file",
        Missing::Damaged => "of compressed pages that do not unpack",
    }
}
