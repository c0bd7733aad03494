//! Core files of frozen processes, as gdb and readelf read them.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and writes its own files")]

mod rebuild;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cryoscope::base::{Pid, Silent, VirtAddr};
use cryoscope::checkpoint::{self, Checkpoint};
use cryoscope::decode::schema::{FileEntry, MmEntry, PagemapEntry, VmaEntry};
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::{Content, CoreSummary, Memory, write_core};
use rebuild::Parts;

fn load(parts: &Parts) -> Arc<Checkpoint> {
    let options = OpenOptions::default();
    let evidence = Evidence::open_bytes("core.tar", parts.tar(), &options, &Silent).unwrap();
    checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0)
}

fn export(checkpoint: &Arc<Checkpoint>, pid: Pid, path: &Path) -> CoreSummary {
    let memory = Memory::new(Arc::clone(checkpoint));
    let space = memory.space(pid).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    write_core(checkpoint.process(pid).unwrap(), &space, &mut file, &Silent).unwrap()
}

fn output(program: &str, args: &[&str]) -> String {
    let ran = Command::new(program).args(args).env("LC_ALL", "C").output().unwrap();
    String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
}

fn gdb(core: &Path, commands: &[String]) -> String {
    let mut args = vec!["-nx", "-batch", "-iex", "set debuginfod enabled off", "-core", core.to_str().unwrap()];
    for command in commands {
        args.extend(["-ex", command]);
    }
    output("gdb", &args)
}

#[test]
fn gdb_sees_every_thread_with_its_registers() {
    let checkpoint = load(&Parts::of("process-zoo.tar.zst"));
    let process = checkpoint.processes.iter().max_by_key(|process| process.threads.len()).unwrap();
    assert!(process.threads.len() > 1);
    let dir = tempfile::tempdir().unwrap();
    let core = dir.path().join("core");
    let summary = export(&checkpoint, process.pid, &core);
    assert_eq!(summary.threads, process.threads.len());
    let mut commands = vec!["info threads".to_owned()];
    for nr in 1..=process.threads.len() {
        commands.push(format!("thread {nr}"));
        commands.push(r#"printf "registers %lx %lx %lx %lx\n", $rip, $rsp, $rax, $fs_base"#.to_owned());
    }
    let told = gdb(&core, &commands);
    for thread in &process.threads {
        assert!(told.contains(&format!("LWP {}", thread.tid)), "{told}");
        let registers = thread.registers.known().unwrap();
        let general = |name: &str| registers.general.iter().find(|(known, _)| *known == name).unwrap().1;
        let (ip, sp, ax, fs) = (registers.pc, registers.sp, general("ax"), general("fs_base"));
        assert!(told.contains(&format!("registers {ip:x} {sp:x} {ax:x} {fs:x}\n")), "{}: {told}", thread.tid);
    }
    assert!(!told.to_lowercase().contains("warning: unexpected size"), "{told}");
}

#[test]
fn gdb_reads_planted_secrets_and_the_file_is_sparse() {
    let checkpoint = load(&Parts::of("memory-zoo.tar.zst"));
    let planted: serde_json::Value =
        serde_json::from_slice(&std::fs::read("fixtures/memory-zoo.planted.json").unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for process in &checkpoint.processes {
        let core = dir.path().join(format!("core.{}", process.pid));
        let summary = export(&checkpoint, process.pid, &core);
        let mut secrets = Vec::new();
        for secret in planted.as_object().unwrap().values() {
            let Some(hits) = secret["hits"].as_array() else { continue };
            for hit in hits.iter().filter(|hit| hit["pid"] == process.pid.0 && hit["anonymous"] == true) {
                secrets.push((secret["hex"].as_str().unwrap().to_owned(), hit["vaddr"].as_str().unwrap().to_owned()));
            }
        }
        let commands: Vec<String> =
            secrets.iter().map(|(hex, vaddr)| format!("x/{}xb {vaddr}", hex.len() / 2)).collect();
        let told = gdb(&core, &commands);
        let bytes: String = told
            .split("0x")
            .filter(|part| part.len() >= 2 && part.as_bytes()[2..].iter().all(|c| c.is_ascii_whitespace()))
            .map(|part| &part[..2])
            .collect();
        for (hex, vaddr) in &secrets {
            assert!(bytes.contains(hex.as_str()), "{vaddr}: {told}");
            seen += 1;
        }
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(&core).unwrap();
        assert_eq!(meta.len(), summary.file_bytes);
        assert!(meta.blocks() * 512 <= meta.len(), "{summary:?}");
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn more_segments_than_the_header_can_count() {
    let mut parts = Parts::of("compressed.tar");
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    let base = 0x1000_0000_0000;
    mm.vmas = (0..70_000)
        .map(|nr| VmaEntry {
            start: base + nr * 0x1000,
            end: base + (nr + 1) * 0x1000,
            prot: if nr % 2 == 0 { 1 } else { 3 },
            flags: 0x22,
            status: 0x201,
            fd: -1,
            ..VmaEntry::default()
        })
        .collect();
    parts.set_records("mm-1.img", &[mm]);
    let checkpoint = load(&parts);
    let dir = tempfile::tempdir().unwrap();
    let core = dir.path().join("core");
    assert_eq!(export(&checkpoint, Pid(1), &core).segments, 70_000);
    let head = output("readelf", &["-hW", core.to_str().unwrap()]);
    assert!(head.contains("65535 (70001)"), "{head}");
    let segments = output("readelf", &["-lW", core.to_str().unwrap()]);
    assert_eq!(segments.matches("LOAD").count(), 70_000);
}

#[test]
fn endless_names_of_mapped_files_do_not_make_an_endless_note() {
    let mut parts = Parts::of("compressed.tar");
    let mut files = parts.records::<FileEntry>("files.img");
    let file = files.iter_mut().find(|file| file.reg.is_some()).unwrap();
    file.reg.as_mut().unwrap().name = vec![b'n'; 1 << 20].into();
    let id = file.id;
    parts.set_records("files.img", &files);
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    let base = 0x1000_0000_0000;
    mm.vmas = (0..8000)
        .map(|nr| VmaEntry {
            start: base + nr * 0x2000,
            end: base + nr * 0x2000 + 0x1000,
            prot: 1,
            flags: 2,
            // A private map of a file.
            status: 1 | 1 << 6,
            shmid: id.into(),
            fd: -1,
            ..VmaEntry::default()
        })
        .collect();
    parts.set_records("mm-1.img", &[mm]);
    let checkpoint = load(&parts);
    let dir = tempfile::tempdir().unwrap();
    let summary = export(&checkpoint, Pid(1), &dir.path().join("core"));
    // The model has cut the name; that of each map makes twice of what the note may hold.
    assert!((3500..4500).contains(&summary.files_left_out), "{summary:?}");
    assert!(summary.file_bytes < 20 << 20, "{summary:?}");
}

#[test]
fn memory_in_the_file_is_what_the_address_space_has() {
    let checkpoint = load(&Parts::of("memory-zoo.tar.zst"));
    let dir = tempfile::tempdir().unwrap();
    let core = dir.path().join("core");
    let pid = checkpoint.processes[0].pid;
    export(&checkpoint, pid, &core);
    let file = std::fs::read(&core).unwrap();
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let memory = Memory::new(Arc::clone(&checkpoint));
    let space = memory.space(pid).unwrap();
    let mut compared = 0;
    let count = u16::from_le_bytes(file[56..58].try_into().unwrap());
    for nr in 1..usize::from(count) {
        let phdr = 64 + nr * 56;
        let (offset, start, in_file) = (u64_at(phdr + 8), u64_at(phdr + 16), u64_at(phdr + 32));
        for chunk in space.read(VirtAddr(start)..VirtAddr(start + in_file)) {
            let at = (offset + chunk.range.start.0 - start) as usize;
            let len = (chunk.range.end.0 - chunk.range.start.0) as usize;
            match chunk.content {
                Content::Bytes(bytes) => assert!(file[at..at + len] == bytes[..], "{:?}", chunk.range),
                Content::Zero => assert!(file[at..at + len].iter().all(|byte| *byte == 0), "{:?}", chunk.range),
                Content::Absent(why) => panic!("{:?} {why}", chunk.range),
            }
            compared += len;
        }
    }
    assert!(compared > 1 << 20, "{compared}");
}

#[test]
fn terabytes_that_were_reserved_and_never_touched_are_not_in_the_file() {
    let mut parts = Parts::of("compressed.tar");
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    let reserved = |start, len, prot| VmaEntry {
        start,
        end: start + len,
        prot,
        flags: 0x22,
        status: 0x201,
        fd: -1,
        ..VmaEntry::default()
    };
    // As address sanitizers and garbage collectors do; 40 TiB that may be read and written, 8 TiB that may not.
    mm.vmas.push(reserved(0x1000_0000_0000, 40 << 40, 3));
    mm.vmas.push(reserved(0x5000_0000_0000, 8 << 40, 0));
    mm.vmas.push(reserved(0x6000_0000_0000, 1 << 20, 3));
    mm.vmas.sort_by_key(|vma| vma.start);
    parts.set_records("mm-1.img", &[mm]);
    // A page that was touched lies among them.
    let entry = PagemapEntry { vaddr: 0x2000_0000_0000, nr_pages: Some(1), flags: Some(4), ..PagemapEntry::default() };
    parts.add_pages(vec![(entry, b"touched ".repeat(512))]);
    let checkpoint = load(&parts);
    let dir = tempfile::tempdir().unwrap();
    let core = dir.path().join("core");
    let summary = export(&checkpoint, Pid(1), &core);
    // Without the page that was touched, and with the page under the stack of a thread, which may not be.
    assert_eq!(summary.untouched_bytes, 48 << 40, "{summary:?}");
    assert!(summary.file_bytes < 1 << 30, "{summary:?}");
    let commands = ["x/2c 0x200000000008", "x/2xb 0x600000000100", "info registers rip"].map(str::to_owned);
    let told = gdb(&core, &commands);
    assert!(told.contains("116 't'") && told.contains("111 'o'"), "{told}");
    // A short stretch that was never touched is zeros, as it was for the process.
    assert!(told.contains("0x00\t0x00"), "{told}");
    assert!(told.contains("rip  "), "{told}");
    let segments = output("readelf", &["-lW", core.to_str().unwrap()]);
    assert!(segments.contains("0x000000 0x8000000000"), "{segments}");
}
