//! Programs and libraries rebuilt out of memory, next to the files that they were loaded from, and as the tools read them.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

mod cli;
mod rebuild;

use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cli::cryoscope;
use cryoscope::base::{Pid, Silent, VirtAddr};
use cryoscope::checkpoint;
use cryoscope::decode::schema::{MmEntry, PagemapEntry, VmaEntry};
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::{Memory, Origin};
use object::Object as _;
use rebuild::Parts;
use serde_json::Value;

const WEBAPP: &str = "fixtures/compromised-webapp.tar.zst";

/// Lines of `memory --carve --json -o DIR`.
fn carve(archive: &str, pid: u32, dir: &Path, more: &[&str]) -> Vec<Value> {
    let (pid, dir) = (pid.to_string(), dir.to_str().unwrap());
    let args = ["memory", archive, "--pid", &pid, "--carve", "--json", "-o", dir];
    let ran = cryoscope(&[&args, more].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let written = std::fs::read_to_string(Path::new(dir).join("carved.jsonl")).unwrap();
    assert_eq!(written, ran.out);
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn find<'a>(lines: &'a [Value], map: &str) -> &'a Value {
    lines.iter().find(|line| line["map"].as_str().unwrap().contains(map)).unwrap()
}

fn file(line: &Value) -> Vec<u8> {
    std::fs::read(line["file"].as_str().unwrap()).unwrap()
}

/// Offset, length, virtual address, flags of each loaded segment.
fn loads(elf: &[u8]) -> Vec<(usize, usize, u64, u32)> {
    let number =
        |at: usize, len: usize| elf[at..at + len].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let headers = (0..number(56, 2) as usize).map(|nr| number(32, 8) as usize + nr * 56);
    let load = |at: usize| {
        (number(at + 8, 8) as usize, number(at + 32, 8) as usize, number(at + 16, 8), number(at + 4, 4) as u32)
    };
    headers.filter(|at| number(*at, 4) == 1).map(load).collect()
}

/// The tools read all of it and have nothing to complain about.
fn check_tools(path: &str) {
    let run = |program: &str, args: &[&str]| {
        let ran = Command::new(program).args(args).arg(path).env("LC_ALL", "C").output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&ran.stdout).into_owned(), String::from_utf8_lossy(&ran.stderr).into_owned());
        assert!(ran.status.success(), "{program} {path}: {err}");
        assert!(err.is_empty(), "{program} {path}: {err}");
        out
    };
    assert!(run("readelf", &["-aW"]).contains("LOAD"));
    assert!(run("objdump", &["-d"]).contains("ret"), "{path}");
    let gdb = run("gdb", &["-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "info files"]);
    assert!(gdb.contains("Symbols from"), "{gdb}");
}

fn of_base(name: &str) -> Vec<u8> {
    let packed = std::fs::File::open("fixtures/base/image.tar.zst").unwrap();
    let mut tar = tar::Archive::new(zstd::Decoder::new(packed).unwrap());
    let mut entry = tar.entries().unwrap().map(Result::unwrap).find(|it| it.path().unwrap().ends_with(name)).unwrap();
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn code_of_mapped_programs_is_that_of_their_files() {
    for (name, pid) in [("memory-zoo", 1), ("process-zoo", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let archive = format!("fixtures/{name}.tar.zst");
        let lines = carve(&archive, pid, dir.path(), &["--rootfs", "fixtures/base/image.tar.zst"]);
        let line = find(&lines, name);
        assert_eq!(
            (&line["layout"], &line["absent_bytes"], &line["machine"]),
            (&"loaded".into(), &0.into(), &"x86-64".into())
        );
        let (carved, original) = (file(line), of_base(name));
        let options = OpenOptions::default();
        let evidence = Evidence::open(archive.as_ref(), &options, &Silent).unwrap();
        let memory = Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0));
        let space = memory.space(Pid(pid)).unwrap();
        let segments = loads(&original);
        assert_eq!(loads(&carved), segments);
        let mut nr_fixed = 0;
        for (offset, len, vaddr, flags) in segments {
            let is_same = carved[offset..offset + len] == original[offset..offset + len];
            // What is written to may differ; headers tell of other sections.
            if flags & 2 == 0 {
                let from = if offset == 0 { 64 } else { 0 };
                let differing = (offset + from..offset + len).filter(|at| carved[*at] != original[*at]);
                // The zoo of memory has written to a page of its code: that is in the checkpoint.
                let is_own = |at: usize| {
                    let addr = VirtAddr(vaddr + (at - offset) as u64);
                    space.segment_at(addr).unwrap().origin == Origin::Dump
                };
                let differing: Vec<usize> = differing.collect();
                assert!(differing.iter().all(|at| is_own(*at)), "{name}: {differing:x?}");
                assert_eq!(differing.is_empty(), name != "memory-zoo" || flags & 1 == 0, "{name} {differing:x?}");
                nr_fixed += 1;
            } else {
                assert!(!is_same, "{name}: the program has written to its data");
            }
        }
        assert!(nr_fixed >= 2);
        check_tools(line["file"].as_str().unwrap());
        assert_eq!(find(&lines, "[vdso]")["section_headers"], "memory");
    }
}

#[test]
fn without_the_file_a_mapped_program_is_named_and_not_rebuilt() {
    let ran = cryoscope(&["memory", "fixtures/memory-zoo.tar.zst", "--pid", "1", "--carve", "--map", "memory-zoo"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("/usr/local/bin/memory-zoo; --rootfs IMAGE supplies them"), "{}", ran.err);
}

#[test]
fn programs_that_no_file_on_disk_backs_are_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let relay =
        cryoscope(&["files", WEBAPP, "extract", "rootfs:/tmp/.X11-unix/relay", "-o", dir.path().to_str().unwrap()]);
    assert_eq!(relay.code, 0, "{}", relay.err);
    let original = std::fs::read(dir.path().join("rootfs/tmp/.X11-unix/relay")).unwrap();

    // Executed from a memfd.
    let lines = carve(WEBAPP, 8, &dir.path().join("8"), &[]);
    let memfd = find(&lines, "memfd:");
    assert_eq!((&memfd["layout"], &memfd["absent_bytes"]), (&"loaded".into(), &0.into()));
    let carved = file(memfd);
    assert_eq!(loads(&carved), loads(&original));
    for (offset, len, _, flags) in loads(&original).into_iter().filter(|(.., flags)| flags & 2 == 0) {
        let from = if offset == 0 { 64 } else { 0 };
        assert_eq!(carved[offset + from..offset + len], original[offset + from..offset + len], "{flags}");
    }
    check_tools(memfd["file"].as_str().unwrap());
    let symbols = Command::new("objdump").args(["-T", memfd["file"].as_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&symbols.stdout).contains("memfd_create"));
    assert!(memfd["dynamic_addresses_undone"].as_u64().unwrap() > 5);
    assert_eq!(lines.len(), 2, "headers that the loader left on the stack are no programs: {lines:?}");

    // Read into anonymous memory, as a file.
    let lines = carve(WEBAPP, 9, &dir.path().join("9"), &[]);
    let anonymous = lines.iter().find(|line| line["kind"] == "anon-private").unwrap();
    assert_eq!((&anonymous["layout"], &anonymous["section_headers"]), (&"file".into(), &"memory".into()));
    assert_eq!(file(anonymous), original);

    // The byte of its code that the process has changed is the only one that differs.
    let changed = file(find(&lines, "relay"));
    let code = loads(&original).into_iter().find(|(.., flags)| flags & 1 != 0).unwrap();
    let differing = (code.0..code.0 + code.1).filter(|at| changed[*at] != original[*at]);
    assert_eq!(differing.map(|at| (original[at], changed[at])).collect::<Vec<_>>(), [(42, 23)]);
}

#[test]
fn the_evidence_and_files_that_exist_are_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = dir.path().join("dump");
    std::fs::create_dir(&evidence).unwrap();
    for entry in std::fs::read_dir("fixtures/criu-plain").unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, evidence.join(path.file_name().unwrap())).unwrap();
    }
    let pids = cryoscope(&["inspect", evidence.to_str().unwrap(), "--json"]);
    let pid = serde_json::from_str::<Value>(&pids.out).unwrap()["processes"][0]["pid"].to_string();
    let into = |out: &Path| {
        let args = ["memory", evidence.to_str().unwrap(), "--pid", &pid, "--carve", "-q", "-o", out.to_str().unwrap()];
        cryoscope(&args)
    };
    let inside = into(&evidence.join("new/carved"));
    assert_eq!(inside.code, 2);
    assert!(inside.err.contains("lies in the evidence"), "{}", inside.err);
    assert!(!evidence.join("new").exists());
    assert_eq!(into(&dir.path().join("out")).code, 0);
    let again = into(&dir.path().join("out"));
    assert_eq!(again.code, 2);
    assert!(again.err.contains("exists; --force replaces it"), "{}", again.err);
}

/// In the place of permissions: nothing is mapped.
const GAP: u32 = u32::MAX;

/// Process 1 of a small checkpoint with these pages at an address, in maps of these permissions.
fn with_memory(dir: &Path, at: u64, maps: &[(u64, u32)], bytes: &[u8]) -> String {
    let mut parts = Parts::of("counter.tar.zst");
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    let mut start = at;
    for (len, prot) in maps {
        let end = start + len;
        if *prot == GAP {
            start = end;
            continue;
        }
        mm.vmas.push(VmaEntry { start, end, prot: *prot, flags: 0x22, status: 0x201, fd: -1, ..VmaEntry::default() });
        start = end;
    }
    mm.vmas.sort_by_key(|vma| vma.start);
    parts.set_records("mm-1.img", &[mm]);
    assert_eq!(bytes.len() % 4096, 0);
    let nr_pages = (bytes.len() / 4096) as u64;
    let entry = PagemapEntry { vaddr: at, nr_pages: Some(nr_pages), flags: Some(4), ..PagemapEntry::default() };
    parts.add_pages(vec![(entry, bytes.to_vec())]);
    let path = dir.join("patched.tar");
    std::fs::write(&path, parts.tar()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// No fixture has a program that was loaded by hand into anonymous memory: these bytes are patched in.
#[test]
fn program_that_was_loaded_into_anonymous_memory_is_rebuilt_whether_it_may_run_or_not() {
    let original = of_base("memory-zoo");
    let at = 0x4000_0000_0000u64;
    // A program for fixed addresses would stand at these; as a library it may stand anywhere.
    let mut image = original.clone();
    image[16] = 3;
    let (segments, loaded) = (loads(&image), laid_out(&image));
    for prot in [7, 3] {
        let dir = tempfile::tempdir().unwrap();
        let archive = with_memory(dir.path(), at, &[(2 << 20, prot)], &loaded);
        let lines = carve(&archive, 1, &dir.path().join("out"), &["--kind", "anon-private"]);
        // Without a dynamic section nothing tells a program that may not run from a file that was read.
        if prot == 3 {
            assert_eq!(lines[0]["layout"], "file", "{lines:?}");
            continue;
        }
        let line = &lines[0];
        assert_eq!((&line["layout"], &line["vaddr"]), (&"loaded".into(), &format!("{at:#x}").into()));
        let carved = file(line);
        for (offset, len, ..) in &segments {
            let from = if *offset == 0 { 64 } else { 0 };
            assert!(carved[offset + from..offset + len] == image[offset + from..offset + len]);
        }
        check_tools(line["file"].as_str().unwrap());
    }
}

/// As an injector does it: segments copied, words that hold addresses moved, section headers left behind, in memory that may
/// be executed or may not any more. Patched in as well.
#[test]
fn program_with_relocations_that_was_loaded_by_hand_is_rebuilt_and_its_moved_words_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["files", WEBAPP, "extract", "rootfs:/tmp/.X11-unix/relay", "-o", dir.path().to_str().unwrap()];
    assert_eq!(cryoscope(&args).code, 0);
    let original = std::fs::read(dir.path().join("rootfs/tmp/.X11-unix/relay")).unwrap();
    let at = 0x4000_0000_0000u64;
    let (mut loaded, segments) = (laid_out(&original), loads(&original));
    let elf = object::File::parse(&original[..]).unwrap();
    let mut moved = Vec::new();
    for (vaddr, relocation) in elf.dynamic_relocations().unwrap() {
        if relocation.flags() == (object::RelocationFlags::Elf { r_type: object::elf::R_X86_64_RELATIVE }) {
            let value = at.wrapping_add_signed(relocation.addend()).to_le_bytes();
            loaded[vaddr as usize..vaddr as usize + 8].copy_from_slice(&value);
            let (offset, _, start, _) = segments.iter().find(|it| (it.2..it.2 + it.1 as u64).contains(&vaddr)).unwrap();
            moved.push((offset + (vaddr - start) as usize, value));
        }
    }
    assert!(moved.len() > 2);
    for prot in [7, 3] {
        let archive = with_memory(dir.path(), at, &[(2 << 20, prot)], &loaded);
        let out = dir.path().join(prot.to_string());
        let line = carve(&archive, 1, &out, &["--kind", "anon-private"]).remove(0);
        assert_eq!((&line["layout"], &line["absent_bytes"]), (&"loaded".into(), &0.into()));
        let mut expected = original.clone();
        for (offset, value) in &moved {
            expected[*offset..*offset + 8].copy_from_slice(value);
        }
        let carved = file(&line);
        for (offset, len, ..) in &segments {
            let from = if *offset == 0 { 64 } else { 0 };
            assert!(carved[offset + from..offset + len] == expected[offset + from..offset + len], "{prot} {offset:#x}");
        }
        let path = line["file"].as_str().unwrap();
        check_tools(path);
        let symbols = Command::new("objdump").args(["-T", path]).output().unwrap();
        assert!(String::from_utf8_lossy(&symbols.stdout).contains("memfd_create"));
    }
}

/// The bytes of a program as the loader lays them out.
fn laid_out(elf: &[u8]) -> Vec<u8> {
    let segments = loads(elf);
    let mut loaded = vec![0u8; 2 << 20];
    for (offset, len, vaddr, _) in &segments {
        let from = (vaddr - segments[0].2) as usize;
        loaded[from..from + len].copy_from_slice(&elf[*offset..offset + len]);
    }
    loaded
}

#[test]
fn what_is_missing_of_a_program_is_told_and_a_header_alone_is_none() {
    let mut elf = of_base("memory-zoo");
    elf[16] = 3;
    let dir = tempfile::tempdir().unwrap();
    let at = 0x4000_0000_0000u64;
    let maps = [(0x10_000, 5), (0x10_000, GAP), ((2 << 20) - 0x20_000, 5)];
    let archive = with_memory(dir.path(), at, &maps, &laid_out(&elf));
    let line = carve(&archive, 1, &dir.path().join("out"), &["--kind", "anon-private"]).remove(0);
    assert_eq!((&line["layout"], &line["absent_bytes"]), (&"loaded".into(), &0x10_000.into()));
    let expected =
        serde_json::json!([{"offset": 0x10_000, "length": 0x10_000, "vaddr": "0x400000010000", "why": "unmapped"}]);
    assert_eq!(line["absent"], expected);
    let carved = file(&line);
    assert!(carved[0x10_000..0x20_000].iter().all(|byte| *byte == 0));
    assert!(carved[0x20_000..0x30_000] == elf[0x20_000..0x30_000]);
    let list = cryoscope(&["memory", &archive, "--pid", "1", "--carve", "--kind", "anon-private"]);
    assert!(list.out.contains("64.0 KiB"), "{}", list.out);

    let archive = with_memory(dir.path(), at, &[(0x3000, 5)], &laid_out(&elf)[..0x3000]);
    let list = cryoscope(&["memory", &archive, "--pid", "1", "--carve", "--kind", "anon-private"]);
    assert_eq!(list.out, "");
}

#[test]
fn headers_that_lie_cost_little() {
    let at = 0x4000_0000_0000u64;
    let mut page = of_base("memory-zoo")[..4096].to_vec();
    page[16] = 3;
    // Every segment as long as a file may be, and one on top of the other.
    let headers = u64::from_le_bytes(page[32..40].try_into().unwrap()) as usize;
    page[56..58].copy_from_slice(&60u16.to_le_bytes());
    for nr in 0..60 {
        let header = headers + nr * 56;
        let number = |value: u64| value.to_le_bytes();
        page[header..header + 8].copy_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]);
        for (field, value) in [(8, nr as u64), (16, nr as u64), (32, (4 << 30) - 100), (40, 4 << 30)] {
            page[header + field..header + field + 8].copy_from_slice(&number(value));
        }
    }
    let many = page.repeat(256);
    let mut dense = b"\x7fELF\x02\x01\x01\0".repeat(1 << 20);
    dense.truncate(8 << 20);
    for bytes in [many, dense] {
        let dir = tempfile::tempdir().unwrap();
        let archive = with_memory(dir.path(), at, &[(64 << 30, 7)], &bytes);
        let started = Instant::now();
        let out = dir.path().join("out");
        let args = ["memory", &archive, "--pid", "1", "--carve", "--kind", "anon-private", "--map", "", "-o"];
        let ran = cryoscope(&[&args[..], &[out.to_str().unwrap()]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let spent = started.elapsed();
        assert!(spent < Duration::from_secs(120), "{spent:?}");
        use std::os::unix::fs::MetadataExt as _;
        let on_disk: u64 =
            std::fs::read_dir(&out).unwrap().map(|it| it.unwrap().metadata().unwrap().blocks() * 512).sum();
        assert!(on_disk < 100 << 20, "{on_disk}");
    }
}
