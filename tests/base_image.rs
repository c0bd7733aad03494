//! What the image that a container started from adds to its checkpoint: clean pages of files, and with them stacks,
//! symbols and instructions. gdb is asked about the same.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads and writes its own files"
)]

mod rebuild;

use std::process::Command;
use std::sync::Arc;

use cryoscope::base::{Pid, Silent, VirtAddr};
use cryoscope::checkpoint::{self, Checkpoint};
use cryoscope::decode::schema::FileEntry;
use cryoscope::evidence::{BaseImage, Evidence, OpenOptions};
use cryoscope::memory::disassembly::{Isa, disassemble};
use cryoscope::memory::stack::{StackEnd, Stacks};
use cryoscope::memory::{Memory, Missing, Origin, Symbols, write_core};
use rebuild::Parts;

fn base() -> BaseImage {
    BaseImage::open("fixtures/base/image.tar.zst".as_ref(), &OpenOptions::default(), &Silent).unwrap()
}

fn load(parts: &Parts) -> Arc<Checkpoint> {
    let options = OpenOptions::default();
    let evidence = Evidence::open_bytes("base.tar", parts.tar(), &options, &Silent).unwrap();
    checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0)
}

#[test]
fn stacks_are_those_that_gdb_sees() {
    let checkpoint = load(&Parts::of("process-zoo.tar.zst"));
    let base = base();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let (layer, member) = base.get(b"/usr/local/bin/process-zoo").unwrap();
    std::fs::write(&program, layer.read(member).unwrap()).unwrap();
    let memory = Memory::with_base(Arc::clone(&checkpoint), &base);
    let process = checkpoint.processes.iter().max_by_key(|process| process.threads.len()).unwrap();
    let space = memory.space(process.pid).unwrap();
    let core = dir.path().join("core");
    write_core(process, &space, &mut std::fs::File::create(&core).unwrap(), &Silent).unwrap();
    let ran = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set debuginfod enabled off"])
        .args([program.as_os_str(), "-core".as_ref(), core.as_os_str()])
        .args(["-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry on", "-ex", "thread apply all bt"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let stacks = Stacks::new(&memory, &space);
    assert_eq!(process.threads.len(), 7);
    for thread in &process.threads {
        let tid = thread.tid;
        let stack = stacks.unwind(thread.registers.known().unwrap()).unwrap();
        assert_eq!(stack.end, StackEnd::Outermost);
        assert!(stack.frames.iter().all(|frame| frame.has_tables));
        let thread = told.split("\nThread ").skip(1).find(|part| part.contains(&format!("LWP {tid})"))).unwrap();
        let frames: Vec<(u64, &str)> = thread
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                (u64::from_str_radix(words[1].trim_start_matches("0x"), 16).unwrap(), words[3])
            })
            .collect();
        let ours: Vec<(u64, &str)> = stack
            .frames
            .iter()
            .map(|frame| (frame.addr.0, frame.name.as_ref().unwrap().symbol.as_deref().unwrap()))
            .collect();
        assert_eq!(ours, frames, "thread {tid}: {told}");
        assert!(frames.len() >= 7);
    }
}

#[test]
fn without_tables_a_stack_says_that_it_is_lost() {
    let memory = Memory::new(load(&Parts::of("process-zoo.tar.zst")));
    let space = memory.space(Pid(16)).unwrap();
    let stacks = Stacks::new(&memory, &space);
    for thread in &memory.checkpoint().process(Pid(16)).unwrap().threads {
        let stack = stacks.unwind(thread.registers.known().unwrap()).unwrap();
        assert_eq!(stack.end, StackEnd::Lost);
        assert!(!stack.frames[0].has_tables);
    }
}

#[test]
fn instructions_are_decoded_with_the_names_of_where_they_lead() {
    let memory = Memory::with_base(load(&Parts::of("process-zoo.tar.zst")), &base());
    let space = memory.space(Pid(16)).unwrap();
    let symbols = Symbols::new(&memory, &space);
    let isa = Isa::of(memory.checkpoint(), Pid(16)).unwrap();
    let pause = symbols.address_of("pause").unwrap();
    let lines = disassemble(&space, &symbols, isa, pause, 12);
    assert_eq!(lines[0].label.as_deref(), Some("pause"));
    let call = lines.iter().find(|line| line.text.starts_with("call")).unwrap();
    assert_eq!(call.target_name.as_ref().unwrap().to_string(), "process-zoo!__syscall_cancel");
    // The bytes are those of the file, and follow each other.
    for pair in lines.windows(2) {
        assert_eq!(pair[0].addr.0 + pair[0].bytes.len() as u64, pair[1].addr.0);
    }
    // Without the image one line says that they are not there.
    let bare = Memory::new(load(&Parts::of("process-zoo.tar.zst")));
    let space = bare.space(Pid(16)).unwrap();
    let lines = disassemble(&space, &Symbols::new(&bare, &space), isa, pause, 1);
    assert!(lines[0].bytes.is_empty() && lines[0].text.ends_with("clean page of a file: not in the checkpoint"));
}

#[test]
fn file_that_is_not_the_one_that_was_mapped_is_told_and_not_used() {
    let is_zoo =
        |file: &FileEntry| file.reg.as_ref().is_some_and(|reg| reg.name.as_ref() == b"/usr/local/bin/process-zoo");
    let change = |change: fn(&mut FileEntry)| {
        let mut parts = Parts::of("process-zoo.tar.zst");
        let mut files = parts.records::<FileEntry>("files.img");
        files.iter_mut().filter(|file| is_zoo(file)).for_each(change);
        parts.set_records("files.img", &files);
        let memory = Memory::with_base(load(&parts), &base());
        let space = memory.space(Pid(16)).unwrap();
        let code = space.segment_at(VirtAddr(0x0040_2125)).unwrap();
        assert_eq!(code.origin, Origin::Absent(Missing::FilePage));
        memory.issues().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = change(|file| file.reg.as_mut().unwrap().build_id[0] ^= 1);
    assert!(told.iter().any(|told| told.contains("build id 6ef57187")), "{told:?}");
    let told = change(|file| file.reg.as_mut().unwrap().size = Some(7));
    assert!(told.iter().any(|told| told.contains("919560 bytes in the base image and had 7")), "{told:?}");
}
