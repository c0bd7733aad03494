//! What a target looks like to the search: pieces at ascending addresses (of a file: offsets).

use std::ops::Range;

use bytes::Bytes;

use crate::base::{Place, VirtAddr};
use crate::checkpoint::Vma;
use crate::checkpoint::pages::Pagemap;
use crate::memory::address_space::{place_in, stored_in_object};
use crate::memory::{AddressSpace, Content, Missing, PackedRun, Stored};

use super::scope::VmaFilter;

/// Something with bytes at addresses.
#[derive(Debug)]
pub(super) enum Space<'a> {
    /// The vmas of a process that pass a filter.
    Memory { space: AddressSpace<'a>, filter: &'a VmaFilter },
    /// A shared-memory object, but for ranges that are searched elsewhere.
    Object { pagemap: &'a Pagemap, size: u64, without: Vec<Range<u64>> },
    /// Pieces of bytes at offsets, each with its place; gaps are zeros.
    Pieces { pieces: Vec<(u64, Bytes, Option<Place>)>, size: u64 },
}

/// A part of a space, at least one byte long.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) range: Range<u64>,
    pub(super) what: What<'a>,
}

#[derive(Debug)]
pub(super) enum What<'a> {
    /// Lies in the evidence as it is.
    Plain {
        buffer: Bytes,
        from: usize,
    },
    Packed(PackedRun<'a>),
    Zero,
    Absent(Missing),
}

/// What [`Space::read`] hands on.
pub(super) enum Part<'p> {
    Bytes(&'p [u8]),
    Zero,
    Absent(Missing),
}

impl<'a> Space<'a> {
    /// The first piece that ends behind an address, from that address on.
    pub(super) fn next_piece(&self, at: u64) -> Option<Piece<'a>> {
        match self {
            Space::Memory { space, filter } => next_of_memory(space, filter, VirtAddr(at)),
            Space::Object { pagemap, size, without } => next_of_object(pagemap, *size, without, at),
            Space::Pieces { pieces, size } => next_of_pieces(pieces, *size, at),
        }
    }

    /// Hands on everything in a range, in order and without a gap: what lies between pieces is `Unmapped`.
    pub(super) fn read(&self, range: Range<u64>, part: &mut dyn FnMut(Range<u64>, Part<'_>)) {
        let mut at = range.start;
        while at < range.end {
            let piece = self.next_piece(at).filter(|piece| piece.range.start < range.end);
            let Some(Piece { range: found, what }) = piece else {
                return part(at..range.end, Part::Absent(Missing::Unmapped));
            };
            if at < found.start {
                part(at..found.start, Part::Absent(Missing::Unmapped));
            }
            let here = found.start.max(at)..found.end.min(range.end);
            match what {
                What::Plain { buffer, from } => {
                    let end = usize::try_from(here.end - here.start).ok().and_then(|len| from.checked_add(len));
                    match end.and_then(|end| buffer.get(from..end)) {
                        Some(bytes) => part(here.clone(), Part::Bytes(bytes)),
                        None => part(here.clone(), Part::Absent(Missing::Truncated)),
                    }
                }
                What::Packed(packed) => {
                    for chunk in packed.read(VirtAddr(here.start)..VirtAddr(here.end)) {
                        let of = chunk.range.start.0..chunk.range.end.0;
                        match &chunk.content {
                            Content::Bytes(bytes) => part(of, Part::Bytes(bytes)),
                            Content::Zero => part(of, Part::Zero),
                            Content::Absent(why) => part(of, Part::Absent(*why)),
                        }
                    }
                }
                What::Zero => part(here.clone(), Part::Zero),
                What::Absent(why) => part(here.clone(), Part::Absent(why)),
            }
            at = here.end;
        }
    }

    /// Whether a range is zeros that nobody wrote.
    pub(super) fn is_untouched(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        while at < range.end {
            match self.next_piece(at) {
                Some(piece) if piece.range.start <= at && matches!(piece.what, What::Zero) => at = piece.range.end,
                _ => return false,
            }
        }
        true
    }

    /// Up to `max` bytes from an address on, as far as they are there.
    pub(super) fn bytes_at(&self, at: u64, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut is_open = true;
        self.read(at..at.saturating_add(max as u64), &mut |range, part| {
            is_open &= !matches!(part, Part::Absent(_));
            if is_open {
                append(&mut out, &range, &part, max);
            }
        });
        out
    }

    /// Up to `max` bytes right before an address, as far as they are there.
    pub(super) fn bytes_before(&self, at: u64, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.read(at.saturating_sub(max as u64)..at, &mut |range, part| match part {
            Part::Absent(_) => out.clear(),
            part => append(&mut out, &range, &part, max),
        });
        out
    }

    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Space::Memory { .. })
    }

    pub(super) fn vma_at(&self, at: u64) -> Option<&'a Vma> {
        match self {
            Space::Memory { space, .. } => space.map().vma_at(VirtAddr(at)),
            _ => None,
        }
    }

    pub(super) fn place_of(&self, at: u64) -> Option<Place> {
        match self {
            Space::Memory { space, .. } => space.place_of(VirtAddr(at)),
            Space::Object { pagemap, .. } => place_in(pagemap, VirtAddr(at)),
            Space::Pieces { pieces, .. } => {
                let nr = pieces.partition_point(|(start, ..)| *start <= at).checked_sub(1)?;
                let (start, bytes, place) = pieces.get(nr)?;
                let inside = (at - start).min(bytes.len() as u64);
                let place = place.clone()?;
                Some(Place { offset: place.offset.map(|offset| offset.saturating_add(inside)), ..place })
            }
        }
    }
}

fn append(out: &mut Vec<u8>, range: &Range<u64>, part: &Part<'_>, max: usize) {
    match part {
        Part::Bytes(bytes) => out.extend_from_slice(bytes),
        _ => {
            let len = usize::try_from(range.end - range.start).unwrap_or(max);
            out.resize(out.len().saturating_add(len).min(max), 0);
        }
    }
}

fn next_of_memory<'a>(space: &AddressSpace<'a>, filter: &VmaFilter, at: VirtAddr) -> Option<Piece<'a>> {
    let vmas = &space.map().vmas;
    let limits = filter.range.clone().unwrap_or(VirtAddr(0)..VirtAddr(u64::MAX));
    let first = vmas.partition_point(|vma| vma.end <= at);
    let vma = vmas.get(first..)?.iter().find(|vma| filter.is_all() || filter.has(vma))?;
    let addr = vma.start.max(at).max(limits.start);
    let (segment, stored) = space.stored_at(addr)?;
    let (end, stored) = stored.first_part(addr..segment.range.end.min(limits.end));
    if end <= addr {
        return None;
    }
    Some(Piece { range: addr.0..end.0, what: what(stored) })
}

fn next_of_object<'a>(pagemap: &'a Pagemap, size: u64, without: &[Range<u64>], mut at: u64) -> Option<Piece<'a>> {
    let mut nr = without.partition_point(|range| range.end <= at);
    if let Some(range) = without.get(nr).filter(|range| range.start <= at) {
        at = range.end;
        nr += 1;
    }
    let end = without.get(nr).map_or(size, |range| range.start.min(size));
    if end <= at {
        return None;
    }
    let (until, stored) = stored_in_object(pagemap, VirtAddr(at));
    let (until, stored) = stored.first_part(VirtAddr(at)..until.min(VirtAddr(end)));
    Some(Piece { range: at..until.0, what: what(stored) })
}

fn what(stored: Stored<'_>) -> What<'_> {
    match stored {
        Stored::Plain { buffer, from } => What::Plain { buffer: buffer.clone(), from },
        Stored::Packed(packed) => What::Packed(packed),
        Stored::Zero => What::Zero,
        Stored::Absent(why) => What::Absent(why),
    }
}

fn next_of_pieces<'a>(pieces: &[(u64, Bytes, Option<Place>)], size: u64, at: u64) -> Option<Piece<'a>> {
    let end_of = |(start, bytes, _): &(u64, Bytes, Option<Place>)| start.saturating_add(bytes.len() as u64);
    let after = pieces.partition_point(|(start, ..)| *start <= at);
    if let Some(piece) = after.checked_sub(1).and_then(|nr| pieces.get(nr)).filter(|piece| at < end_of(piece)) {
        let from = usize::try_from(at - piece.0).ok()?;
        let what = What::Plain { buffer: piece.1.clone(), from };
        return Some(Piece { range: at..end_of(piece), what });
    }
    let end = pieces.get(after).map_or(size, |(start, ..)| *start);
    (at < end).then_some(Piece { range: at..end, what: What::Zero })
}
