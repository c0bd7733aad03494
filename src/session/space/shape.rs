//! A whole address space squeezed into a strip: where its bytes come from, and how much information is in them.
//!
//! The strip is divided by mapped bytes, not by addresses, so that gaps take no room. Entropy is that of samples: a
//! hundred gigabytes cost as much as a few megabytes.

use std::ops::Range;

use crate::base::{Cancelled, Progress, VirtAddr};
use crate::memory::{AddressSpace, Content, Origin, Segment};

/// Parts of the strip.
const PARTS: u64 = 512;
/// Bytes that are looked at of each piece of memory.
const SAMPLE: u64 = 4096;
/// Samples that are taken of each part.
const MAX_SAMPLES: u32 = 8;

/// Where bytes come from, as few words as colours can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// This checkpoint.
    Dump,
    /// A parent checkpoint.
    Parent,
    /// A shared object or a file.
    Shared,
    /// Zeros of the kernel.
    Zero,
    /// Not there.
    Absent,
}

impl Source {
    /// All, in the order they are drawn.
    pub const ALL: [Source; 5] = [Source::Dump, Source::Parent, Source::Shared, Source::Zero, Source::Absent];

    /// Of an origin.
    pub fn of(origin: Origin) -> Source {
        match origin {
            Origin::Dump => Source::Dump,
            Origin::Parent { .. } => Source::Parent,
            Origin::Shared { depth: 0, .. } | Origin::File { .. } => Source::Shared,
            Origin::Shared { .. } => Source::Parent,
            Origin::Zero => Source::Zero,
            Origin::Absent(_) => Source::Absent,
        }
    }

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Source::Dump => "dump",
            Source::Parent => "parent",
            Source::Shared => "shared",
            Source::Zero => "zeros",
            Source::Absent => "absent",
        }
    }
}

/// One part of the strip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// First address in it.
    pub start: VirtAddr,
    /// Bytes of each [`Source`], in the order of [`Source::ALL`].
    pub bytes: [u64; 5],
    /// Bits of information a byte, 0 to 8, of samples of what is stored; `None` where nothing is.
    pub entropy: Option<f32>,
}

/// The strip.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Parts of equal size, in the order of addresses; fewer than 512 in a small space.
    pub parts: Vec<Part>,
    /// Mapped bytes of a part; the last may have less.
    pub part_bytes: u64,
}

impl Shape {
    /// Walks all segments and reads samples. Work for a job.
    ///
    /// # Errors
    /// The job shall stop.
    pub fn new(space: &AddressSpace<'_>, progress: &dyn Progress) -> Result<Shape, Cancelled> {
        let page = space.page_size().bytes();
        let part_bytes =
            space.mapped_bytes().div_ceil(PARTS).checked_next_multiple_of(page).unwrap_or(u64::MAX).max(page);
        let mut walk = Walk { space, part_bytes, parts: Vec::new(), filled: 0, counts: Box::new([0; 256]), samples: 0 };
        for (nr, segment) in space.segments().enumerate() {
            if nr % 256 == 0 {
                progress.step(walk.parts.len() as u64, Some(PARTS))?;
            }
            walk.add(&segment);
        }
        walk.close();
        Ok(Shape { parts: walk.parts, part_bytes })
    }

    /// How much of each source there is.
    pub fn sums(&self) -> [u64; 5] {
        self.parts.iter().fold([0; 5], |mut sums, part| {
            for (sum, bytes) in sums.iter_mut().zip(part.bytes) {
                *sum = sum.saturating_add(bytes);
            }
            sums
        })
    }
}

struct Walk<'a> {
    space: &'a AddressSpace<'a>,
    part_bytes: u64,
    parts: Vec<Part>,
    /// Bytes of the last part.
    filled: u64,
    counts: Box<[u32; 256]>,
    samples: u32,
}

impl Walk<'_> {
    fn add(&mut self, segment: &Segment<'_>) {
        let source = Source::of(segment.origin);
        let Range { start: mut at, end } = segment.range;
        while at < end {
            if self.parts.is_empty() || self.filled == self.part_bytes {
                self.close();
                self.parts.push(Part { start: at, ..Part::default() });
                self.filled = 0;
            }
            let len = (end.0 - at.0).min(self.part_bytes - self.filled);
            if let Some(part) = self.parts.last_mut() {
                let place = Source::ALL.iter().position(|known| *known == source).unwrap_or_default();
                if let Some(bytes) = part.bytes.get_mut(place) {
                    *bytes = bytes.saturating_add(len);
                }
            }
            if segment.origin.is_stored() {
                self.sample(at, len);
            }
            self.filled += len;
            at = VirtAddr(at.0 + len);
        }
    }

    /// Looks at the beginning of a piece, and at its middle when it is long.
    fn sample(&mut self, at: VirtAddr, len: u64) {
        for from in [Some(0), (len > 4 * SAMPLE).then_some(len / 2 / SAMPLE * SAMPLE)].into_iter().flatten() {
            if self.samples >= MAX_SAMPLES {
                return;
            }
            self.samples += 1;
            let start = VirtAddr(at.0 + from);
            for chunk in self.space.read(start..VirtAddr(start.0 + SAMPLE.min(len - from))) {
                if let Content::Bytes(bytes) = chunk.content {
                    for byte in &bytes {
                        self.counts[usize::from(*byte)] += 1;
                    }
                }
            }
        }
    }

    /// Ends a part.
    fn close(&mut self) {
        if let Some(part) = self.parts.last_mut() {
            part.entropy = entropy(&self.counts);
        }
        self.counts.fill(0);
        self.samples = 0;
    }
}

/// Shannon entropy in bits a byte; `None` of nothing.
fn entropy(counts: &[u32; 256]) -> Option<f32> {
    let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    if total == 0.0 {
        return None;
    }
    let bits = counts.iter().filter(|count| **count > 0).map(|count| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    });
    Some(bits.sum::<f64>() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Silent;

    #[test]
    fn entropy_goes_from_nothing_to_eight_bits() {
        let mut counts = [0; 256];
        assert_eq!(entropy(&counts), None);
        counts[7] = 100;
        assert_eq!(entropy(&counts), Some(0.0));
        assert_eq!(entropy(&[3; 256]), Some(8.0));
    }

    #[test]
    fn every_mapped_byte_is_in_one_part() {
        for name in ["memory-zoo.tar.zst", "incremental.tar"] {
            let memory = crate::session::space::rows::tests::memory(name);
            for space in memory.spaces() {
                let shape = Shape::new(&space, &Silent).unwrap();
                assert_eq!(shape.sums().iter().sum::<u64>(), space.mapped_bytes());
                assert!(shape.parts.len() <= 512 && shape.parts.is_sorted_by_key(|part| part.start));
            }
            let first = memory.spaces().next().unwrap();
            let shape = Shape::new(&first, &Silent).unwrap();
            assert!(shape.parts.iter().any(|part| part.entropy.is_some_and(|bits| bits > 1.0)));
            assert_eq!(shape.sums()[1] > 0, name == "incremental.tar", "{name}: {:?}", shape.sums());
        }
    }
}
