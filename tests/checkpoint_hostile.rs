//! Hostile checkpoints: whatever the images say, the model is built, nothing panics, and what does
//! not fit is an issue. The archives are real ones with changes that are told in each test.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod rebuild;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cryoscope::base::{Absent, Field, Pid, Silent};
use cryoscope::checkpoint::{self, Checkpoint, LoadError};
use cryoscope::decode::schema::{
    FileEntry, MmEntry, MntEntry, PagemapEntry, PagemapHead, PstreeEntry, RegFileEntry, RemapFilePathEntry, VmaEntry,
};
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::carve::find_images;
use cryoscope::memory::search::VmaFilter;
use cryoscope::memory::{Memory, fuzz_elf, fuzz_memory};
use object::{Object as _, ObjectSection as _};
use rebuild::{Parts, push_record};

fn load(tar: Bytes) -> Result<Vec<Arc<Checkpoint>>, LoadError> {
    let options = OpenOptions { max_spool_bytes: 64 << 20, ..OpenOptions::default() };
    let evidence = Evidence::open_bytes("hostile.tar", tar, &options, &Silent)?;
    checkpoint::load(&evidence, &options, &Silent)
}

fn one(parts: &Parts) -> Arc<Checkpoint> {
    load(parts.tar()).unwrap().remove(0)
}

#[track_caller]
fn assert_issue(checkpoint: &Checkpoint, part: &str) {
    let issues: Vec<String> = checkpoint.issues.iter().map(ToString::to_string).collect();
    assert!(issues.iter().any(|issue| issue.contains(part)), "{part:?} is not in {issues:#?}");
}

#[test]
fn untouched_parts_load_without_issues() {
    for fixture in ["compressed.tar", "process-zoo.tar.zst", "fd-zoo.tar.zst"] {
        assert_eq!(one(&Parts::of(fixture)).issues, [], "{fixture}");
    }
}

#[test]
fn archive_that_was_cut_off_in_its_pages_still_shows_its_processes() {
    let whole = Parts::of("process-zoo.tar.zst").tar();
    let all = one(&Parts::of("process-zoo.tar.zst"));
    // The members stand in the order of their names: pstree.img, seccomp.img and the other pages come behind.
    let pages = all.evidence.members().iter().find(|member| member.file_name() == b"pages-1.img").unwrap();
    let cut = usize::try_from(pages.archive_offset().unwrap()).unwrap() + 4096;
    let checkpoint = load(whole.slice(..cut)).unwrap().remove(0);
    let pids = |checkpoint: &Checkpoint| -> BTreeSet<Pid> { checkpoint.processes.iter().map(|p| p.pid).collect() };
    assert_eq!(pids(&checkpoint), pids(&all));
    for process in &checkpoint.processes {
        let whole = all.process(process.pid).unwrap();
        assert_eq!((&process.comm, &process.exe, process.fds.len()), (&whole.comm, &whole.exe, whole.fds.len()));
        assert_eq!(process.ppid, Field::Absent(Absent::Unreadable));
    }
    assert_issue(&checkpoint, "core-1.img: process 1 is not in pstree.img");
    assert_issue(&checkpoint, "threads have a core image and are not listed here");
    assert!(checkpoint.sizes.pages_bytes < all.sizes.pages_bytes);
}

#[test]
fn process_that_is_its_own_ancestor_is_kept_and_told() {
    let mut parts = Parts::of("process-zoo.tar.zst");
    let mut tree = parts.records::<PstreeEntry>("pstree.img");
    let count = tree.len();
    let last = tree.last().unwrap().pid;
    tree[0].ppid = last;
    parts.set_records("pstree.img", &tree);
    let checkpoint = one(&parts);
    assert_eq!(checkpoint.processes.len(), count);
    assert_issue(&checkpoint, "is its own ancestor");
}

#[test]
fn parent_of_itself_unknown_parent_and_duplicate_pid_are_told() {
    let mut parts = Parts::of("process-zoo.tar.zst");
    let mut tree = parts.records::<PstreeEntry>("pstree.img");
    let (second, third) = (tree[1].pid, tree[2].pid);
    tree[1].ppid = second;
    tree[2].ppid = 4_000_000;
    tree.push(tree[0].clone());
    parts.set_records("pstree.img", &tree);
    let checkpoint = one(&parts);
    assert_eq!(checkpoint.processes.len(), tree.len() - 1);
    assert_issue(&checkpoint, &format!("process {second} is its own parent"));
    assert_issue(&checkpoint, &format!("parent 4000000 of process {third} is not in the tree"));
    assert_issue(&checkpoint, "was already listed");
}

#[test]
fn deep_tree_does_not_recurse() {
    let mut parts = Parts::of("compressed.tar");
    let first = parts.records::<PstreeEntry>("pstree.img").remove(0);
    let chain = (0..100_000).map(|nr| PstreeEntry { pid: nr + 1, ppid: nr, threads: vec![nr + 1], ..first.clone() });
    let chain: Vec<PstreeEntry> = chain.collect();
    parts.set_records("pstree.img", &chain);
    let checkpoint = one(&parts);
    assert_eq!(checkpoint.process(Pid(100_000)).unwrap().depth, 99_999);
}

#[test]
fn mounts_in_a_circle_are_kept_and_told() {
    let mut parts = Parts::of("compressed.tar");
    let name =
        parts.0.keys().find(|name| name.contains("mountpoints-")).unwrap().rsplit('/').next().unwrap().to_owned();
    let mut mounts = parts.records::<MntEntry>(&name);
    let ids: Vec<u32> = mounts.iter().map(|mount| mount.mnt_id).collect();
    for (at, mount) in mounts.iter_mut().enumerate() {
        mount.parent_mnt_id = ids[(at + 1) % ids.len()];
    }
    parts.set_records(&name, &mounts);
    let checkpoint = one(&parts);
    assert_eq!(checkpoint.mounts.len(), ids.len());
    assert_issue(&checkpoint, "is its own ancestor");
}

#[test]
fn pages_file_that_is_too_short_is_told_with_both_numbers() {
    let mut parts = Parts::of("compressed.tar");
    let pages = parts.image("pages-1.img").clone();
    parts.set_image("pages-1.img", pages.slice(..pages.len() / 2));
    assert_issue(&one(&parts), &format!("tells of {} bytes of pages, {} are there", pages.len(), pages.len() / 2));
}

#[test]
fn runs_that_overlap_or_leave_the_address_space_are_told() {
    let mut parts = Parts::of("compressed.tar");
    let head = parts.records::<PagemapHead>("pagemap-1.img");
    let entry =
        |vaddr, nr_pages| PagemapEntry { vaddr, nr_pages: Some(nr_pages), flags: Some(4), ..PagemapEntry::default() };
    parts.set_records("pagemap-1.img", &head);
    let mut bytes = parts.image("pagemap-1.img").to_vec();
    for entry in [entry(0x1000, 4), entry(0x2000, 1), entry(0xffff_ffff_ffff_f000, u64::MAX)] {
        push_record(&mut bytes, &entry);
    }
    parts.set_image("pagemap-1.img", bytes);
    let checkpoint = one(&parts);
    let told = checkpoint.issues.iter().filter(|issue| issue.place.member == "pagemap-1.img").count();
    assert!(told >= 2, "{:#?}", checkpoint.issues);
}

#[test]
fn missing_images_of_a_process_are_told_one_by_one() {
    let mut parts = Parts::of("compressed.tar");
    for name in ["core-1.img", "mm-1.img", "fs-1.img", "ids-1.img"] {
        parts.0.remove(&format!("checkpoint/{name}"));
    }
    let checkpoint = one(&parts);
    let process = checkpoint.process(Pid(1)).unwrap();
    assert!(process.comm.known().is_none() && process.memory.known().is_none() && process.cwd.known().is_none());
    for name in ["core-1.img", "mm-1.img"] {
        assert_issue(&checkpoint, name);
    }

    let mut parts = Parts::of("compressed.tar");
    parts.0.remove("checkpoint/fs-1.img");
    parts.0.remove("checkpoint/ids-1.img");
    let checkpoint = one(&parts);
    assert_issue(&checkpoint, "fs-1.img");
    assert_issue(&checkpoint, "ids-1.img");
}

#[test]
fn argument_area_of_any_size_is_not_allocated() {
    let mut parts = Parts::of("compressed.tar");
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    (mm.mm_arg_start, mm.mm_arg_end, mm.mm_env_start, mm.mm_env_end) = (0, u64::MAX, u64::MAX, 0);
    parts.set_records("mm-1.img", &[mm]);
    let checkpoint = one(&parts);
    assert!(checkpoint.process(Pid(1)).unwrap().cmdline.known().is_none());
    assert!(checkpoint.process(Pid(1)).unwrap().environ.known().is_none());
}

#[test]
fn remap_onto_itself_ends() {
    let mut parts = Parts::of("fd-zoo.tar.zst");
    let mut remaps = parts.records::<RemapFilePathEntry>("remap-fpath.img");
    for remap in &mut remaps {
        remap.remap_type = Some(0);
        remap.remap_id = remap.orig_id;
    }
    parts.set_records("remap-fpath.img", &remaps);
    assert!(!one(&parts).files.is_empty());
}

/// Each of many maps is one of an executable file of its own, none of which is there.
#[test]
fn maps_of_very_many_files_are_told_in_time() {
    const COUNT: u32 = 100_000;
    let mut parts = Parts::of("compressed.tar");
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    let file = *mm.vmas.iter().find(|vma| vma.prot & 4 != 0 && vma.shmid != 0).unwrap();
    let mut files = parts.records::<FileEntry>("files.img");
    let known = files.iter().find(|known| u64::from(known.id) == file.shmid).unwrap().clone();
    for id in 1_000_000..1_000_000 + COUNT {
        let start = 0x10_0000_0000 + u64::from(id) * 0x2000;
        mm.vmas.push(VmaEntry { start, end: start + 0x1000, shmid: id.into(), ..file });
        let reg = known.reg.clone().map(|reg| Box::new(RegFileEntry { id, ..*reg }));
        files.push(FileEntry { id, reg, ..known.clone() });
    }
    mm.vmas.sort_by_key(|vma| vma.start);
    parts.set_records("mm-1.img", &[mm]);
    parts.set_records("files.img", &files);
    let memory = Memory::new(one(&parts));
    let space = memory.space(Pid(1)).unwrap();
    let started = Instant::now();
    let carved = find_images(&space, &VmaFilter::default(), &Silent).unwrap();
    let spent = started.elapsed();
    assert!(carved.headless.len() > 1000, "{}", carved.headless.len());
    assert!(spent < Duration::from_secs(20), "{spent:?}");
}

/// Numbers below others, in a fixed pseudo-random order.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).unwrap()
    }

    /// Cuts the bytes off, or turns some of them over from one on.
    fn damage(&mut self, bytes: &mut Vec<u8>, from: usize) {
        match self.next(4) {
            0 => bytes.truncate(from + self.next(bytes.len() - from).max(1)),
            1 => {
                let at = from + self.next(bytes.len() - from);
                let end = bytes.len().min(at + 4);
                bytes[at..end].fill(0xff);
            }
            _ => {
                for _ in 0..8 {
                    let at = from + self.next(bytes.len() - from);
                    bytes[at] ^= 1 << self.next(8);
                }
            }
        }
    }
}

/// Every image of a checkpoint, cut and with bits turned over; all memory of what is left is walked, searched by every kind
/// of pattern and by rules, unwound, disassembled, carved and written as a core file.
#[test]
fn damaged_images_never_panic_and_keep_the_rest() {
    for fixture in ["compressed.tar", "fd-zoo.tar.zst", "sockets.tar.zst", "memory-zoo.tar.zst", "namespaces.tar"] {
        let parts = Parts::of(fixture);
        let names: Vec<String> = parts.0.keys().filter(|name| name.ends_with(".img")).cloned().collect();
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        for _ in 0..60 {
            let mut damaged = Parts(parts.0.clone());
            for _ in 0..4 {
                let name = &names[dice.next(names.len())];
                let mut bytes = damaged.0[name].to_vec();
                if bytes.is_empty() || bytes.len() > 1 << 20 {
                    continue;
                }
                dice.damage(&mut bytes, 0);
                damaged.0.insert(name.clone(), bytes.into());
            }
            // A damaged inventory may hide the checkpoint; everything else must not.
            match load(damaged.tar()) {
                Ok(found) => {
                    assert!(!found.is_empty());
                    found.iter().for_each(fuzz_memory);
                }
                Err(err) => assert!(!err.to_string().is_empty()),
            }
        }
    }
}

/// A program and a library with bytes turned over in their headers, in their tables, or anywhere.
#[test]
fn damaged_programs_have_symbols_and_stacks_or_none_and_never_panic() {
    for (base, name) in [("base/image.tar.zst", "process-zoo"), ("base/webapp.tar.zst", "ld-linux-x86-64.so.2")] {
        let parts = Parts::of(base);
        let (_, program) = parts.0.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        fuzz_elf(program);
        let tables = object::File::parse(&program[..]).unwrap();
        let sections = [".eh_frame", ".eh_frame_hdr"].into_iter().filter_map(|name| tables.section_by_name(name));
        let tables: Vec<Range<usize>> = sections
            .map(|section| section.file_range().unwrap())
            .map(|(offset, len)| usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap())
            .collect();
        assert!(!tables.is_empty());
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        for round in 0..200 {
            let mut bytes = program.to_vec();
            for _ in 0..4 {
                let len = bytes.len();
                match round % 4 {
                    0 => dice.damage(&mut bytes, 0),
                    1 => bytes[dice.next(0x400.min(len))] ^= 1 << dice.next(8),
                    2 => dice.damage(&mut bytes, len.saturating_sub(0x1000)),
                    _ => {
                        for table in &tables {
                            for _ in 0..64 {
                                bytes[table.start + dice.next(table.len())] ^= 1 << dice.next(8);
                            }
                        }
                    }
                }
            }
            fuzz_elf(&bytes.into());
        }
    }
}
