//! What a search hands on.

use std::ops::{ControlFlow, Range};

use crate::base::{Pid, Place, VirtAddr};
use crate::checkpoint::Vma;
use crate::memory::Missing;

use super::scope::Source;
use super::targets::Target;

/// Receives the results of a search, in order: memory by pid and address, then the other sources.
pub trait SearchSink {
    /// One match; `Break` ends the search early.
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()>;

    /// Something that should have been searched and is not there.
    fn skipped(&mut self, skipped: &Skipped<'_>);
}

/// One match.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'h> {
    pub(super) target: &'h Target<'h>,
    pub(super) at: u64,
    pub(super) len: u64,
    pub(super) pattern: usize,
}

impl<'h> Hit<'h> {
    /// Whose memory; of a queue or file the first process that has it open.
    pub fn pid(&self) -> Option<Pid> {
        self.target.pid
    }

    /// Where in memory; `None` outside of it.
    pub fn vaddr(&self) -> Option<VirtAddr> {
        (self.len != 0 && self.target.space.is_memory()).then_some(VirtAddr(self.at))
    }

    /// The address, or the offset in the queue or file, in bytes.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// Length of the match in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Number of the pattern.
    pub fn pattern(&self) -> usize {
        self.pattern
    }

    /// What holds it.
    pub fn source(&self) -> Source {
        self.target.source
    }

    /// The vma that it begins in.
    pub fn vma(&self) -> Option<&'h Vma> {
        self.target.space.vma_at(self.at).filter(|_| self.len != 0)
    }

    /// The name of the vma as /proc/PID/maps shows it, or of the queue or file.
    pub fn name(&self) -> crate::base::Text {
        match self.vma() {
            Some(vma) => vma.path.clone(),
            None => self.target.name.clone(),
        }
    }

    /// Where it begins in the evidence.
    pub fn place(&self) -> Option<Place> {
        self.target.space.place_of(self.at).filter(|_| self.len != 0)
    }

    /// The match itself, at most `max` bytes of it.
    pub fn bytes(&self, max: usize) -> Vec<u8> {
        self.target.space.bytes_at(self.at, usize::try_from(self.len).unwrap_or(max).min(max))
    }

    /// Up to `max` bytes right before it, as far as they are there.
    pub fn before(&self, max: usize) -> Vec<u8> {
        self.target.space.bytes_before(self.at, max)
    }

    /// Up to `max` bytes right behind it, as far as they are there.
    pub fn after(&self, max: usize) -> Vec<u8> {
        self.target.space.bytes_at(self.at.saturating_add(self.len), max)
    }
}

/// A range that could not be searched.
#[derive(Clone, Debug)]
pub struct Skipped<'s> {
    /// What should have held it.
    pub source: Source,
    /// Whose.
    pub pid: Option<Pid>,
    /// The addresses, or offsets in the file; empty when all of it.
    pub range: Range<u64>,
    /// Name of the file.
    pub name: &'s str,
    /// Why.
    pub why: WhySkipped<'s>,
}

/// Why a range could not be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhySkipped<'s> {
    /// It is not in the evidence.
    Missing(Missing),
    /// It could not be read.
    Unreadable(&'s str),
}
