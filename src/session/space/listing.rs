//! A process as instructions, row by row: forwards by decoding, backwards by finding where decoding meets.
//!
//! Instructions of x86 have no fixed length, so a row has no number: a place is an address. Areas that cannot be executed
//! are one row each, unless one of them is opened; what is not there is one row as well, with its reason.

use std::ops::Range;

use crate::base::VirtAddr;
use crate::checkpoint::Vma;
use crate::memory::disassembly::{Isa, Line, disassemble, starts_until};
use crate::memory::{AddressSpace, Missing, Origin};

use super::code::{Code, Head, is_code};

/// How far back a start is looked for from which decoding meets an address, in bytes.
const BACK: u64 = 512;
/// How many starts are tried.
const MAX_TRIES: u64 = 32;
/// Zeros shorter than this are decoded.
const MIN_ZEROS: u64 = 64;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// Nothing is mapped here.
    Gap(Range<VirtAddr>),
    /// An area begins.
    Border(&'a Vma),
    /// An area that cannot be executed, as a whole.
    Data(&'a Vma),
    /// A stretch that is not there.
    Absent(Range<VirtAddr>, Missing),
    /// Zeros that nobody wrote.
    Zeros(Range<VirtAddr>),
    /// A header of an image.
    Head(&'a Head),
    /// A symbol begins.
    Label(VirtAddr, String),
    /// An instruction.
    Code(Line),
    /// Bytes before the address that was gone to, before a header or before the end of an area, which the instruction
    /// that they begin would run over.
    Cut(Range<VirtAddr>, Vec<u8>),
}

impl Row<'_> {
    /// The addresses that it stands for; empty for borders and labels.
    pub fn range(&self) -> Range<VirtAddr> {
        match self {
            Row::Gap(range) | Row::Absent(range, _) | Row::Zeros(range) | Row::Cut(range, _) => range.clone(),
            Row::Border(vma) => vma.start..vma.start,
            Row::Data(vma) => vma.start..vma.end,
            Row::Head(head) => head.range.clone(),
            Row::Label(addr, _) => *addr..*addr,
            Row::Code(line) => line.addr..VirtAddr(line.addr.0.saturating_add(line.len_bytes())),
        }
    }

    /// Whether the cursor can stand on it.
    pub fn has_content(&self) -> bool {
        !matches!(self, Row::Gap(_) | Row::Border(_) | Row::Label(..))
    }
}

/// A row: an address, and which of the rows of that address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Where a stretch begins.
    pub addr: VirtAddr,
    /// 0 for the first row there.
    pub part: usize,
}

/// The listing of a process.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Its memory.
    pub space: &'a AddressSpace<'a>,
    /// Names.
    pub code: &'a Code,
    /// Which instructions it runs.
    pub isa: Isa,
    /// The start of an area that is decoded though it cannot be executed.
    pub opened: Option<VirtAddr>,
    /// An address at which a row begins in any case.
    pub pinned: Option<VirtAddr>,
}

impl<'a> Listing<'a> {
    /// The rows of a stretch that begins at an address; empty behind the last area.
    pub fn at(&self, addr: VirtAddr) -> Vec<Row<'a>> {
        let map = self.space.map();
        let Some(vma) = map.vma_at(addr) else {
            let next = map.vmas.get(map.vmas.partition_point(|vma| vma.end <= addr));
            return next.map(|next| Row::Gap(addr..next.start)).into_iter().collect();
        };
        let mut rows = Vec::new();
        if addr == vma.start {
            rows.push(Row::Border(vma));
        }
        if !self.is_decoded(vma) {
            rows.push(Row::Data(vma));
            return rows;
        }
        if let Some(head) = self.head_at(addr).filter(|head| head.range.start == addr) {
            rows.push(Row::Head(head));
            return rows;
        }
        let segment = self.space.segment_at(addr);
        match segment.map(|segment| (segment.range, segment.origin)) {
            Some((range, Origin::Absent(why))) => rows.push(Row::Absent(addr..range.end, why)),
            Some((range, Origin::Zero)) if self.ends_at(addr, range.end) - addr.0 >= MIN_ZEROS => {
                rows.push(Row::Zeros(addr..VirtAddr(self.ends_at(addr, range.end))));
            }
            _ => self.decode(addr, vma, &mut rows),
        }
        rows
    }

    /// The end of a stretch, or the pinned address or header inside of it.
    fn ends_at(&self, addr: VirtAddr, end: VirtAddr) -> u64 {
        let head = self.code.heads_from(addr).iter().find(|head| self.is_shown(head)).map(|head| head.range.start);
        self.pinned.into_iter().chain(head).filter(|at| addr < *at && *at < end).min().unwrap_or(end).0
    }

    /// The header that an address lies in.
    fn head_at(&self, addr: VirtAddr) -> Option<&'a Head> {
        self.code.heads_from(addr).first().filter(|head| head.range.start <= addr && self.is_shown(head))
    }

    /// Where the last header before an address ends.
    fn behind_head(&self, addr: VirtAddr) -> VirtAddr {
        self.code.head_before(addr).filter(|head| self.is_shown(head)).map_or(VirtAddr(0), |head| head.range.end)
    }

    /// Whether a header is a row: where the analyst has gone into one, it is decoded.
    fn is_shown(&self, head: &Head) -> bool {
        self.pinned.is_none_or(|pinned| pinned <= head.range.start || head.range.end <= pinned)
    }

    fn decode(&self, addr: VirtAddr, vma: &Vma, rows: &mut Vec<Row<'a>>) {
        let Some(line) = disassemble(self.space, &self.code.symbols, self.isa, addr, 1).pop() else { return };
        if line.bytes.is_empty() {
            // Damaged pages of a segment that else can be read.
            let end = VirtAddr(addr.0.saturating_add(line.len_bytes())).min(vma.end);
            rows.push(Row::Absent(addr..end, Missing::Damaged));
            return;
        }
        if let Some(label) = &line.label {
            rows.push(Row::Label(addr, label.clone()));
        }
        let end = addr.0.saturating_add(line.len_bytes());
        // An area ends where it ends, also in the middle of what would be an instruction.
        let cut = self.ends_at(addr, vma.end);
        if cut < end {
            let len = usize::try_from(cut - addr.0).unwrap_or_default();
            rows.push(Row::Cut(addr..VirtAddr(cut), line.bytes.get(..len).unwrap_or_default().to_vec()));
        } else {
            rows.push(Row::Code(line));
        }
    }

    fn is_decoded(&self, vma: &Vma) -> bool {
        is_code(vma) || self.opened == Some(vma.start)
    }

    /// The start of the stretch that holds an address; of code the address itself.
    pub fn start_of(&self, addr: VirtAddr) -> VirtAddr {
        let map = self.space.map();
        let Some(vma) = map.vma_at(addr) else {
            let after = map.vmas.partition_point(|vma| vma.end <= addr);
            return after.checked_sub(1).and_then(|at| map.vmas.get(at)).map_or(VirtAddr(0), |vma| vma.end);
        };
        if !self.is_decoded(vma) {
            return vma.start;
        }
        match self.space.segment_at(addr) {
            Some(segment) if matches!(segment.origin, Origin::Absent(_)) => segment.range.start,
            _ => self.head_at(addr).map_or(addr, |head| head.range.start),
        }
    }

    /// An address near another at which an instruction may begin: for a place that nobody has chosen, as that of a scroll
    /// bar.
    pub fn nearest(&self, addr: VirtAddr) -> VirtAddr {
        let start = self.start_of(addr);
        let Some(vma) = self.space.map().vma_at(addr).filter(|_| start == addr) else { return start };
        let lowest = VirtAddr(addr.0.saturating_sub(64)).max(vma.start).max(self.behind_head(addr));
        let there = self.space.bytes_before(addr, usize::try_from(addr.0 - lowest.0).unwrap_or_default());
        let from = VirtAddr(addr.0.saturating_sub(there.len() as u64) / 4 * 4).max(vma.start);
        let ends = (0..16).filter_map(|nr| addr.checked_add(nr)).filter(|end| *end < vma.end);
        ends.into_iter().find(|end| starts_until(self.space, self.isa, from, *end).is_some()).unwrap_or(addr)
    }

    /// Up to `max` rows from one on, each with its place.
    pub fn rows_from(&self, spot: Spot, max: usize) -> Vec<(Spot, Row<'a>)> {
        let mut out = Vec::with_capacity(max);
        let mut at = spot;
        while out.len() < max {
            let rows = self.at(at.addr);
            let Some(end) = rows.last().map(|row| row.range().end) else { break };
            let place = |(part, row)| (Spot { addr: at.addr, part }, row);
            let wanted = max - out.len();
            out.extend(rows.into_iter().enumerate().skip(at.part).map(place).take(wanted));
            if end <= at.addr {
                break;
            }
            at = Spot { addr: end, part: 0 };
        }
        out
    }

    /// The place so many rows before another, or the first of all.
    pub fn spot_before(&self, spot: Spot, nr: usize) -> Spot {
        if nr <= spot.part {
            return Spot { part: spot.part - nr, ..spot };
        }
        let mut left = nr - spot.part;
        let mut at = spot.addr;
        loop {
            let starts = self.starts_before(at);
            if starts.is_empty() {
                return Spot { addr: at, part: 0 };
            }
            for start in starts.into_iter().rev() {
                let parts = self.at(start).len();
                if left <= parts {
                    return Spot { addr: start, part: parts - left };
                }
                left -= parts;
                at = start;
            }
        }
    }

    /// Where some stretches right before an address begin, ascending; empty before the first.
    fn starts_before(&self, addr: VirtAddr) -> Vec<VirtAddr> {
        let map = self.space.map();
        let Some(last) = addr.0.checked_sub(1).map(VirtAddr) else { return Vec::new() };
        let Some(vma) = map.vma_at(last) else {
            // A gap, unless nothing is mapped below.
            let after = map.vmas.partition_point(|vma| vma.end <= last);
            let below = after.checked_sub(1).and_then(|at| map.vmas.get(at));
            return below.map(|vma| vma.end).into_iter().collect();
        };
        if !self.is_decoded(vma) {
            return vec![vma.start];
        }
        if let Some(head) = self.head_at(last) {
            return vec![head.range.start];
        }
        let Some(segment) = self.space.segment_at(last) else { return Vec::new() };
        match segment.origin {
            Origin::Absent(_) => return vec![segment.range.start],
            Origin::Zero if addr.0 - segment.range.start.0 >= MIN_ZEROS => return vec![segment.range.start],
            _ => {}
        }
        let lowest = self.first_readable(vma, addr);
        self.instructions_before(lowest, addr).unwrap_or_else(|| vec![last])
    }

    /// The lowest address, not more than [`BACK`] below, from which on there are bytes.
    fn first_readable(&self, vma: &Vma, addr: VirtAddr) -> VirtAddr {
        let lowest = VirtAddr(addr.0.saturating_sub(BACK)).max(vma.start).max(self.behind_head(addr));
        let there = self.space.bytes_before(addr, usize::try_from(addr.0 - lowest.0).unwrap_or_default());
        VirtAddr(addr.0.saturating_sub(there.len() as u64)).max(lowest)
    }

    /// Instructions that meet an address, from the symbol that holds it on, or from as far before it as is tried.
    fn instructions_before(&self, lowest: VirtAddr, addr: VirtAddr) -> Option<Vec<VirtAddr>> {
        let inside = VirtAddr(addr.0.checked_sub(1)?);
        let symbol = self.code.symbols.name_of(inside).filter(|name| name.symbol.is_some());
        let symbol = symbol.and_then(|name| inside.0.checked_sub(name.offset)).map(VirtAddr);
        let first = symbol.filter(|start| lowest <= *start && *start < addr);
        let step = if self.isa == Isa::Aarch64 { 4 } else { 1 };
        let aligned = if self.isa == Isa::Aarch64 { addr.0 % 4 } else { 0 };
        let from = lowest.0 + (aligned + 4 - lowest.0 % 4) % 4 * u64::from(step == 4);
        let tried = (0..MAX_TRIES).map(|nr| VirtAddr(from + nr * step)).filter(|start| *start < addr);
        // Near the beginning few starts are left: then each byte before it is one.
        let near = (1..=15).rev().filter_map(|nr| addr.0.checked_sub(nr)).map(VirtAddr).filter(|at| lowest <= *at);
        let meets = |start| starts_until(self.space, self.isa, start, addr).filter(|starts| !starts.is_empty());
        if let Some(found) = first.and_then(meets) {
            return Some(found);
        }
        let mut found = tried.chain(near).find_map(meets)?;
        // The first ones may be wrong still.
        if lowest < addr && found.len() > 8 {
            found.drain(..found.len() / 4);
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Pid, Silent};
    use crate::checkpoint::{self};
    use crate::evidence::{BaseImage, Evidence, OpenOptions};
    use crate::memory::Memory;
    use std::sync::Arc;

    fn memory() -> Memory {
        let options = OpenOptions::default();
        let open = |name: &str| Evidence::open(name.as_ref(), &options, &Silent).unwrap();
        let checkpoint = checkpoint::load(&open("fixtures/process-zoo.tar.zst"), &options, &Silent).unwrap().remove(0);
        let base = BaseImage::open("fixtures/base/image.tar.zst".as_ref(), &options, &Silent).unwrap();
        Memory::with_base(Arc::clone(&checkpoint), &base)
    }

    fn listing<'a>(space: &'a AddressSpace<'a>, code: &'a Code) -> Listing<'a> {
        Listing { space, code, isa: code.isa.unwrap(), opened: None, pinned: None }
    }

    #[test]
    fn rows_walked_backwards_are_those_walked_forwards() {
        let memory = memory();
        let space = memory.space(Pid(16)).unwrap();
        let code = Code::new(&memory, &space, &Silent).unwrap();
        let listing = listing(&space, &code);
        let start = code.symbols.address_of("pause").unwrap();
        let forward = listing.rows_from(Spot { addr: start, part: 0 }, 400);
        assert_eq!(forward.len(), 400);
        assert!(matches!(&forward[0].1, Row::Label(_, name) if name == "pause"));
        for (nr, (spot, row)) in forward.iter().enumerate().step_by(7) {
            let back = listing.spot_before(*spot, nr);
            assert_eq!(back, forward[0].0, "{nr} rows before {row:?}");
        }
    }

    #[test]
    fn whole_space_is_walked_once_from_its_first_to_its_last_area() {
        let memory = memory();
        let space = memory.space(Pid(16)).unwrap();
        let code = Code::new(&memory, &space, &Silent).unwrap();
        let listing = listing(&space, &code);
        let vmas = &space.map().vmas;
        let mut at = vmas[0].start;
        let (mut borders, mut data, mut rows) = (0, 0, 0u64);
        loop {
            let found = listing.at(at);
            let Some(last) = found.last() else { break };
            borders += found.iter().filter(|row| matches!(row, Row::Border(_))).count();
            data += found.iter().filter(|row| matches!(row, Row::Data(_))).count();
            rows += found.len() as u64;
            assert!(at < last.range().end, "{last:?} does not end");
            at = last.range().end;
        }
        assert_eq!(at, vmas.last().unwrap().end);
        assert_eq!(borders, vmas.len());
        assert_eq!(data, vmas.iter().filter(|vma| !is_code(vma)).count());
        assert!(rows > 10_000);
        assert_eq!(listing.spot_before(Spot { addr: vmas[0].start, part: 0 }, 5).addr, vmas[0].start);
    }

    #[test]
    fn address_that_is_gone_to_begins_a_row_even_inside_an_instruction() {
        let memory = memory();
        let space = memory.space(Pid(16)).unwrap();
        let code = Code::new(&memory, &space, &Silent).unwrap();
        let all = listing(&space, &code);
        let start = code.symbols.address_of("pause").unwrap();
        let rows = all.rows_from(Spot { addr: start, part: 0 }, 20);
        let long = rows.iter().find_map(|(spot, row)| match row {
            Row::Code(line) if line.bytes.len() > 3 && spot.part == 0 => Some(line.clone()),
            _ => None,
        });
        let long = long.unwrap();
        let pinned = VirtAddr(long.addr.0 + 2);
        let cut = Listing { pinned: Some(pinned), ..all };
        let rows = cut.rows_from(Spot { addr: long.addr, part: 0 }, 2);
        assert!(matches!(&rows[0].1, Row::Cut(range, bytes) if range.end == pinned && bytes.len() == 2));
        assert_eq!(rows[1].0.addr, pinned);
    }

    #[test]
    fn headers_of_an_image_are_rows_and_no_instructions_until_somebody_goes_into_them() {
        let memory = memory();
        let space = memory.space(Pid(16)).unwrap();
        let code = Code::new(&memory, &space, &Silent).unwrap();
        let listing = listing(&space, &code);
        let start = space.map().vmas.iter().find(|vma| vma.path.label() == "[vdso]").unwrap().start;
        let rows = listing.rows_from(Spot { addr: start, part: 0 }, 40);
        let words: Vec<&str> = rows
            .iter()
            .filter_map(|(_, row)| if let Row::Head(head) = row { Some(head.words.as_str()) } else { None })
            .collect();
        assert_eq!(words[..2], ["ELF header  ET_DYN EM_X86_64 0x0", "program header 0  PT_LOAD r-x 0x0"]);
        let at = rows.iter().rposition(|(_, row)| matches!(row, Row::Head(_))).unwrap();
        assert_eq!((at, words.len()), (words.len(), words.len()), "header by header behind the border");
        assert!(matches!(rows[at + 1].1, Row::Code(_)));
        for (nr, (spot, row)) in rows.iter().enumerate().take(at + 2) {
            assert_eq!(listing.spot_before(*spot, nr), rows[0].0, "{nr} rows before {row:?}");
        }
        let inside = VirtAddr(start.0 + 0x12);
        assert_eq!((listing.start_of(inside), listing.nearest(inside)), (start, start));
        let pinned = Listing { pinned: Some(inside), ..listing };
        assert_eq!(pinned.start_of(inside), inside);
        assert!(!pinned.at(start).iter().any(|row| matches!(row, Row::Head(_))));
        assert!(matches!(pinned.at(inside).last(), Some(Row::Code(_))));
        let second = pinned.rows_from(Spot { addr: VirtAddr(start.0 + 0x40), part: 0 }, 1);
        assert!(matches!(&second[0].1, Row::Head(head) if head.words.starts_with("program header 0")));
        assert!(pinned.spot_before(second[0].0, 1).addr < second[0].0.addr);
    }

    #[test]
    fn areas_that_cannot_be_executed_are_a_row_until_they_are_opened() {
        let memory = memory();
        let space = memory.space(Pid(16)).unwrap();
        let code = Code::new(&memory, &space, &Silent).unwrap();
        let closed = listing(&space, &code);
        let stack = space.map().vmas.iter().find(|vma| vma.path.label() == "[stack]").unwrap();
        assert!(matches!(closed.at(stack.start).as_slice(), [Row::Border(_), Row::Data(_)]));
        assert_eq!(closed.start_of(VirtAddr(stack.end.0 - 1)), stack.start);
        let open = Listing { opened: Some(stack.start), ..closed };
        assert!(!open.at(stack.start).iter().any(|row| matches!(row, Row::Data(_))));
        let sp = memory.checkpoint().process(Pid(16)).unwrap().threads[0].registers.known().unwrap().sp;
        assert!(matches!(open.at(VirtAddr(sp)).last(), Some(Row::Code(_))));
    }
}
