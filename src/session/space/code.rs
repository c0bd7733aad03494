//! What a listing of instructions needs of a whole process: names, where code lies, where threads stand.

use std::ops::Range;

use crate::base::{Cancelled, Pid, Progress, VirtAddr};
use crate::checkpoint::Vma;
use crate::checkpoint::memory_map::MemoryMap;
use crate::memory::disassembly::Isa;
use crate::memory::overlay::{Field, Fields, Structure};
use crate::memory::{AddressSpace, Memory, Symbols};

/// `PROT_EXEC`.
const EXEC: u32 = 4;
/// What an area without code counts in the scroll bar, in bytes.
const DATA_WEIGHT: u64 = 256;

/// Names and areas of the code of a process.
#[derive(Clone, Debug)]
pub struct Code {
    /// Names of addresses.
    pub symbols: Symbols,
    /// `None` for an architecture that is not disassembled.
    pub isa: Option<Isa>,
    /// Where threads stand, by address.
    threads: Vec<(VirtAddr, Pid)>,
    /// By address.
    heads: Vec<Head>,
    /// Weight of the areas before each.
    before: Vec<u64>,
    total: u64,
}

/// A header of an image that is mapped: no instructions, although it may lie in an area with some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its bytes.
    pub range: Range<VirtAddr>,
    /// What it is and says.
    pub words: String,
}

/// Whether an area may be executed.
pub fn is_code(vma: &Vma) -> bool {
    vma.prot & EXEC != 0
}

impl Code {
    /// Reads the files that the process maps: work for a job.
    ///
    /// # Errors
    /// The job shall stop.
    pub fn new(memory: &Memory, space: &AddressSpace<'_>, progress: &dyn Progress) -> Result<Code, Cancelled> {
        progress.stage("reading symbols");
        progress.step(0, None)?;
        let symbols = Symbols::new(memory, space);
        progress.step(1, None)?;
        let process = memory.checkpoint().process(space.pid());
        let mut threads: Vec<(VirtAddr, Pid)> = process
            .into_iter()
            .flat_map(|process| &process.threads)
            .filter_map(|thread| Some((VirtAddr(thread.registers.known()?.pc), thread.tid)))
            .collect();
        threads.sort();
        let mut code = Code {
            symbols,
            isa: Isa::of(memory.checkpoint(), space.pid()),
            threads,
            heads: Vec::new(),
            before: Vec::with_capacity(space.map().vmas.len()),
            total: 0,
        };
        let mut heads = heads(space.map(), &Fields::of_heads(space, progress)?);
        // Where a thread stands in one it is code.
        heads.retain(|head| code.threads_in(head.range.clone()).is_empty());
        code.heads = heads;
        for vma in &space.map().vmas {
            code.before.push(code.total);
            code.total = code.total.saturating_add(weight(vma));
        }
        Ok(code)
    }

    /// Threads whose program counter lies in a range, by address.
    pub fn threads_in(&self, range: Range<VirtAddr>) -> &[(VirtAddr, Pid)] {
        let from = self.threads.partition_point(|(at, _)| *at < range.start);
        let until = self.threads.partition_point(|(at, _)| *at < range.end);
        self.threads.get(from..until.max(from)).unwrap_or_default()
    }

    /// All threads, by address.
    pub fn threads(&self) -> &[(VirtAddr, Pid)] {
        &self.threads
    }

    /// The header of an image that an address lies in, and behind it the next one.
    pub fn heads_from(&self, addr: VirtAddr) -> &[Head] {
        self.heads.get(self.heads.partition_point(|head| head.range.end <= addr)..).unwrap_or_default()
    }

    /// The last header that ends at or before an address.
    pub fn head_before(&self, addr: VirtAddr) -> Option<&Head> {
        let after = self.heads.partition_point(|head| head.range.end <= addr);
        self.heads.get(after.checked_sub(1)?)
    }

    /// How far an address is in the listing, 0 to 1. An area without code counts little, whatever its size.
    pub fn share_of(&self, map: &MemoryMap, addr: VirtAddr) -> f64 {
        let after = map.vmas.partition_point(|vma| vma.start <= addr);
        let Some(at) = after.checked_sub(1) else { return 0.0 };
        let (Some(vma), Some(before)) = (map.vmas.get(at), self.before.get(at)) else { return 0.0 };
        let inside = addr.min(vma.end).0.saturating_sub(vma.start.0) as f64 / vma.len_bytes().max(1) as f64;
        (*before as f64 + weight(vma) as f64 * inside) / self.total.max(1) as f64
    }

    /// The address at a share of the listing; the inverse of [`Code::share_of`].
    pub fn address_at(&self, map: &MemoryMap, share: f64) -> VirtAddr {
        let wanted = (share.clamp(0.0, 1.0) * self.total as f64) as u64;
        let at = self.before.partition_point(|before| *before <= wanted).saturating_sub(1);
        let (Some(vma), Some(before)) = (map.vmas.get(at), self.before.get(at)) else { return VirtAddr(0) };
        if !is_code(vma) {
            return vma.start;
        }
        VirtAddr(vma.start.0.saturating_add(wanted - before).min(vma.end.0.saturating_sub(1)))
    }
}

/// Headers as a whole: what hangs together of the fields of each.
fn heads(map: &MemoryMap, fields: &Fields) -> Vec<Head> {
    let are_one = |a: &Field, b: &Field| a.structure == b.structure && a.range.end == b.range.start;
    let heads = fields.all().chunk_by(are_one).filter_map(|fields| {
        let (first, last) = (fields.first()?, fields.last()?);
        let range = first.range.start..last.range.end;
        map.vma_at(range.start).filter(|vma| range.end <= vma.end)?;
        let telling: &[&str] = match first.structure {
            Structure::ElfHeader => &["e_type", "e_machine", "e_entry"],
            _ => &["p_type", "p_flags", "p_vaddr"],
        };
        let told: Vec<&str> =
            fields.iter().filter(|it| telling.contains(&it.name)).map(|it| it.value.as_str()).collect();
        Some(Head { range, words: format!("{}  {}", first.structure, told.join(" ")) })
    });
    heads.collect()
}

fn weight(vma: &Vma) -> u64 {
    if is_code(vma) { vma.len_bytes() } else { DATA_WEIGHT }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Silent;
    use crate::session::space::rows::tests::memory;

    #[test]
    fn share_of_the_listing_leads_back_to_the_address() {
        let memory = memory("process-zoo.tar.zst");
        let space = memory.space(Pid(16)).unwrap();
        let code = Code::new(&memory, &space, &Silent).unwrap();
        let map = space.map();
        let (pc, tid) = code.threads()[0];
        assert_eq!(code.threads_in(pc..VirtAddr(pc.0 + 1)).first(), Some(&(pc, tid)));
        assert!(code.threads_in(VirtAddr(0)..VirtAddr(1)).is_empty());
        for vma in map.vmas.iter().filter(|vma| is_code(vma)) {
            let middle = VirtAddr(vma.start.0 + vma.len_bytes() / 2);
            let found = code.address_at(map, code.share_of(map, middle));
            assert!(found.0.abs_diff(middle.0) <= 1, "{found} is not {middle}");
        }
        assert_eq!(code.share_of(map, VirtAddr(0)), 0.0);
        assert!(code.share_of(map, VirtAddr(u64::MAX)) <= 1.0);
    }
}
