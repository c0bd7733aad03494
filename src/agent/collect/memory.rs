//! Memory of a process: which pages it has of its own, by `/proc/PID/pagemap`, and their bytes, by `/proc/PID/mem`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use crate::agent::processes::proc_file;

use super::Issues;
use super::process::{Facts, Map};

/// Pages that are looked at and read at once.
const BATCH: u64 = 256;
/// Bits of an entry of `pagemap`.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_A_FILE: u64 = 1 << 61;

/// Pages one after the other, with their bytes in the pages file or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) address: u64,
    pub(super) n_pages: u64,
    pub(super) is_read: bool,
}

/// What was written of a process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) runs: Vec<Run>,
}

/// Memory without a file that processes share, by device and inode.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) objects: BTreeMap<(String, u64), Object>,
}

/// One piece of it, and a process that has it mapped.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) id: u32,
    /// Process, page size and mapping, for each part that is mapped.
    parts: Vec<(u32, u64, Map)>,
}

impl Shared {
    /// The number of a piece of shared memory; its parts are read later, once each.
    pub(super) fn id(&mut self, facts: &Facts, map: &Map) -> u32 {
        let next = u32::try_from(self.objects.len() + 1).unwrap_or(u32::MAX);
        let key = (map.device.clone(), map.inode);
        let object = self.objects.entry(key).or_insert(Object { id: next, parts: Vec::new() });
        let end = |map: &Map| map.offset.saturating_add(map.end - map.start);
        let is_known = object.parts.iter().any(|(_, _, known)| known.offset <= map.offset && end(map) <= end(known));
        if !is_known {
            object.parts.push((facts.outside, facts.page_bytes(), map.clone()));
        }
        object.id
    }
}

/// Writes the pages that the process has of its own.
pub(super) fn write(
    facts: &Facts,
    out: &mut File,
    left: &mut u64,
    shared: &mut Shared,
    issues: &mut Issues,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Memory> {
    let mut memory = Memory::default();
    if facts.is_zombie {
        return Ok(memory);
    }
    let mut reader = match Reader::open(facts.outside, facts.page_bytes()) {
        Ok(reader) => reader,
        Err(error) => {
            issues.add(format!("memory of process {}: {error}", facts.inside));
            // All of it is there, and none was read.
            let of_its_own = facts.maps.iter().filter(|map| !map.is_shared() && !map.path.starts_with(b"[v"));
            memory.runs.extend(of_its_own.map(|map| Run {
                address: map.start,
                n_pages: (map.end - map.start) / facts.page_bytes(),
                is_read: false,
            }));
            return Ok(memory);
        }
    };
    for map in &facts.maps {
        if map.is_shared_memory() {
            shared.id(facts, map);
        }
        // Pages of the kernel's own, and of devices, whose reading may do something.
        let is_device = map.path.starts_with(b"/dev/")
            && !map.path.starts_with(b"/dev/zero")
            && !map.path.starts_with(b"/dev/shm/");
        if map.is_shared() || map.path.starts_with(b"[v") || is_device {
            continue;
        }
        reader.copy(map.start, map.end, 0, OF_A_FILE, out, left, &mut memory.runs, progress)?;
    }
    let n_missed: u64 = memory.runs.iter().filter(|run| !run.is_read).map(|run| run.n_pages).sum();
    if 0 < n_missed {
        issues.add(format!(
            "{n_missed} pages of process {} were not read: the limit, or the process changed them meanwhile",
            facts.inside
        ));
    }
    Ok(memory)
}

/// Writes a piece of shared memory, at offsets within it.
pub(super) fn write_shared(
    object: &Object,
    out: &mut File,
    left: &mut u64,
    issues: &mut Issues,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut parts: Vec<&(u32, u64, Map)> = object.parts.iter().collect();
    parts.sort_by_key(|(_, _, map)| map.offset);
    let mut done = 0;
    for (pid, page, map) in parts {
        // What an earlier part had already is not written twice.
        let start = map.start.saturating_add(done.max(map.offset) - map.offset);
        if map.end <= start {
            continue;
        }
        match Reader::open(*pid, *page) {
            Ok(mut reader) => {
                let shift = map.start.wrapping_sub(map.offset);
                reader.copy(start, map.end, shift, 0, out, left, &mut runs, progress)?;
            }
            Err(error) => issues.add(format!("shared memory {}: {error}", object.id)),
        }
        done = done.max(map.offset.saturating_add(map.end - map.start));
    }
    Ok(runs)
}

struct Reader {
    mem: File,
    pagemap: File,
    page: u64,
    buffer: Vec<u8>,
}

impl Reader {
    #[expect(clippy::disallowed_methods, reason = "/proc is the node's own, not evidence")]
    fn open(pid: u32, page: u64) -> io::Result<Reader> {
        let (mem, pagemap) = (File::open(proc_file(pid, "mem"))?, File::open(proc_file(pid, "pagemap"))?);
        Ok(Reader { mem, pagemap, page, buffer: vec![0; usize::try_from(BATCH * page).unwrap_or_default()] })
    }

    /// Copies the pages of a range that are there, except those with a bit of `passed`.
    #[expect(clippy::too_many_arguments, reason = "what is read, whereto, and what is kept of it")]
    fn copy(
        &mut self,
        start: u64,
        end: u64,
        shift: u64,
        passed: u64,
        out: &mut File,
        left: &mut u64,
        runs: &mut Vec<Run>,
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = start;
        while at < end {
            let n_pages = ((end - at) / self.page).min(BATCH);
            if n_pages == 0 {
                break;
            }
            let mut entries = vec![0; usize::try_from(n_pages * 8).unwrap_or_default()];
            // Of what is not told everything is tried.
            if self.pagemap.read_exact_at(&mut entries, at / self.page * 8).is_err() {
                entries.fill(0xff);
            }
            let is_there = |entry: &[u8]| {
                let entry = entry.try_into().map_or(u64::MAX, u64::from_ne_bytes);
                entry == u64::MAX || (entry & (PRESENT | SWAPPED) != 0 && entry & passed == 0)
            };
            let there: Vec<bool> = entries.chunks(8).map(is_there).collect();
            let mut first = 0;
            while first < there.len() {
                let n_same = there[first..].iter().take_while(|is_there| **is_there == there[first]).count();
                if there[first] {
                    let address = at + first as u64 * self.page;
                    self.copy_run(address, n_same as u64, shift, out, left, runs)?;
                }
                first += n_same;
            }
            at += n_pages * self.page;
            progress(0)?;
        }
        Ok(())
    }

    fn copy_run(
        &mut self,
        address: u64,
        n_pages: u64,
        shift: u64,
        out: &mut File,
        left: &mut u64,
        runs: &mut Vec<Run>,
    ) -> io::Result<()> {
        let wanted = n_pages.min(*left / self.page);
        let bytes = &mut self.buffer[..usize::try_from(wanted * self.page).unwrap_or_default()];
        // Up to the first page that cannot be read.
        let mut n_read = 0;
        while n_read < bytes.len() {
            match self.mem.read_at(&mut bytes[n_read..], address + n_read as u64) {
                Ok(0) => break,
                Ok(n) => n_read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let good = n_read as u64 / self.page;
        out.write_all(&bytes[..usize::try_from(good * self.page).unwrap_or_default()])?;
        *left -= good * self.page;
        let address = address.wrapping_sub(shift);
        push(runs, Run { address, n_pages: good, is_read: true }, self.page);
        let after = address + good * self.page;
        if good < wanted {
            // The one that failed, and then the rest.
            push(runs, Run { address: after, n_pages: 1, is_read: false }, self.page);
            let rest = n_pages - good - 1;
            if 0 < rest {
                return self.copy_run(after.wrapping_add(shift) + self.page, rest, shift, out, left, runs);
            }
        } else if good < n_pages {
            push(runs, Run { address: after, n_pages: n_pages - good, is_read: false }, self.page);
        }
        Ok(())
    }
}

fn push(runs: &mut Vec<Run>, run: Run, page: u64) {
    if run.n_pages == 0 {
        return;
    }
    match runs.last_mut() {
        Some(last) if last.is_read == run.is_read && last.address + last.n_pages * page == run.address => {
            last.n_pages += run.n_pages;
        }
        _ => runs.push(run),
    }
}
