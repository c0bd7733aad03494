//! What the window writes: memory as core files, bytes and programs, never over evidence; and a parent checkpoint that is
//! supplied to an archive that is open. The application runs without pixels, with its jobs.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

mod cli;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cli::cryoscope;
use cryoscope::base::{Pid, VirtAddr};
use cryoscope::session::export::MemoryExport;
use cryoscope::session::{ArchivesCommand, Command, Driver, Effect, ExportCommand, FileChoice, Level, Model, apply};

/// Model and jobs.
struct Session {
    model: Model,
    driver: Driver,
}

impl Session {
    fn open(path: &Path) -> Session {
        let mut driver = Driver::new(Arc::new(|| ()));
        driver.keep_settings();
        let mut session = Session { model: Model::default(), driver };
        session.ask(ArchivesCommand::Open(vec![path.to_path_buf()]));
        assert!(session.model.active().is_some(), "{:?}", session.told());
        session
    }

    /// Applies it, and what follows from it, until no job runs; effects that need a window come back.
    fn ask(&mut self, command: impl Into<Command>) -> Vec<Effect> {
        let mut commands = vec![command.into()];
        let mut for_window = Vec::new();
        let started = Instant::now();
        loop {
            for command in commands.drain(..) {
                for effect in apply(&mut self.model, command) {
                    for_window.extend(self.driver.run(effect));
                }
            }
            if self.model.running_jobs().next().is_none() {
                return for_window;
            }
            assert!(started.elapsed() < Duration::from_secs(120), "a job does not end");
            std::thread::sleep(Duration::from_millis(2));
            commands = self.driver.poll();
        }
    }

    fn told(&self) -> Option<(Level, String, String)> {
        let newest = self.model.notifications().newest_first().next();
        newest.map(|told| (told.level, told.title.clone(), told.detail.clone()))
    }

    /// Writes as if the analyst had chosen the path in the dialog that is asked for.
    fn write(&mut self, pid: u32, what: &MemoryExport, path: &Path) -> (Level, String, String) {
        let asked = self.ask(ExportCommand::SaveMemory { pid: Pid(pid), what: what.clone() });
        let [Effect::ChooseFile(FileChoice::SaveMemory { archive, pid, what })] = asked.as_slice() else {
            panic!("{asked:?}");
        };
        let path = path.to_path_buf();
        let _ = self.ask(ExportCommand::WriteMemory { archive: *archive, pid: *pid, what: what.clone(), path });
        self.told().unwrap()
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new("fixtures").join(name)
}

#[test]
fn files_of_memory_are_those_that_the_command_writes() {
    let archive = fixture("counter.tar.zst");
    let mut session = Session::open(&archive);
    let pid = session.model.active().unwrap().selected_pid().unwrap().0;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);

    let (_, title, detail) = session.write(pid, &MemoryExport::Core, &at("window.core"));
    assert!(title.starts_with("Saved ") && detail.contains("of memory in"), "{title}: {detail}");
    let (archive, number) = (archive.to_str().unwrap(), pid.to_string());
    let out = |name: &str| at(name).to_str().unwrap().to_owned();
    let done = cryoscope(&["memory", archive, "--pid", &number, "--core", "-o", &out("command.core")]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    assert!(std::fs::read(at("window.core")).unwrap() == std::fs::read(at("command.core")).unwrap());

    let checkpoint = session.model.active().unwrap().checkpoint();
    let heap = checkpoint.process(Pid(pid)).unwrap().memory.known().unwrap();
    let heap = heap.vmas.iter().find(|vma| vma.path.label() == "[heap]").unwrap();
    let (start, end) = (heap.start, heap.end);
    let (_, _, detail) = session.write(pid, &MemoryExport::Raw(start..end), &at("window.raw"));
    let range = format!("{start}..{end}");
    let done = cryoscope(&["memory", archive, "--pid", &number, "--range", &range, "--raw", "-o", &out("command.raw")]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let written = std::fs::read(at("window.raw")).unwrap();
    assert!(written == std::fs::read(at("command.raw")).unwrap() && written.iter().any(|byte| *byte != 0), "{detail}");

    let (_, _, detail) = session.write(pid, &MemoryExport::Carved, &at("window"));
    assert!(detail.contains("carved.jsonl"), "{detail}");
    let done = cryoscope(&["memory", archive, "--pid", &number, "--carve", "-o", &out("command")]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let files = |dir: PathBuf| {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries
            .filter(|path| path.extension().is_some_and(|extension| extension == "elf"))
            .map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let carved = files(at("window"));
    assert!(!carved.is_empty() && carved == files(at("command")), "{}", carved.len());
}

#[test]
fn evidence_is_not_written_over_whatever_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = dir.path().join("evidence.tar.zst");
    std::fs::copy(fixture("counter.tar.zst"), &evidence).unwrap();
    let before = std::fs::read(&evidence).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&evidence, &link).unwrap();
    let mut session = Session::open(&evidence);
    let pid = session.model.active().unwrap().selected_pid().unwrap().0;
    for path in [&evidence, &link] {
        let (level, _, detail) = session.write(pid, &MemoryExport::Core, path);
        assert!(level == Level::Error && detail.contains("is the evidence"), "{level:?} {detail}");
        let bytes = bytes::Bytes::from_static(b"gone");
        let _ = session.ask(ExportCommand::WriteFile { path: path.clone(), bytes });
        let (level, _, detail) = session.told().unwrap();
        assert!(level == Level::Error && detail.contains("is the evidence"), "{level:?} {detail}");
        let _ = session.ask(ExportCommand::WriteHits { path: path.clone(), hits: Vec::new() });
        let (level, _, detail) = session.told().unwrap();
        assert!(level == Level::Error && detail.contains("is the evidence"), "{level:?} {detail}");
        let _ = session.ask(ExportCommand::WriteCopy { from: fixture("README.md"), path: path.clone() });
        let (level, _, detail) = session.told().unwrap();
        assert!(level == Level::Error && detail.contains("is the evidence"), "{level:?} {detail}");
    }
    assert!(std::fs::read(&evidence).unwrap() == before);

    let (level, _, detail) =
        session.write(pid, &MemoryExport::Raw(VirtAddr(0x1000)..VirtAddr(0x2000)), &dir.path().join("nothing"));
    assert!(level == Level::Error && detail.contains("nothing is mapped from 0x1000"), "{detail}");
    assert!(!dir.path().join("nothing").exists());
}

#[test]
fn packets_of_a_run_are_copied_and_not_onto_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("webapp-1.pcap"), dir.path().join("copy.pcap"));
    let packets: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    std::fs::write(&from, &packets).unwrap();
    std::fs::write(&to, "what lay there before").unwrap();
    let mut session = Session::open(&fixture("counter.tar.zst"));
    let asked = session.ask(ExportCommand::SaveCopy(from.clone()));
    assert!(matches!(asked.as_slice(), [Effect::ChooseFile(FileChoice::SaveCopy(path))] if *path == from), "{asked:?}");
    let _ = session.ask(ExportCommand::WriteCopy { from: from.clone(), path: to.clone() });
    let (level, _, detail) = session.told().unwrap();
    assert_eq!((level, detail.as_str()), (Level::Success, "3000000 bytes"));
    assert!(std::fs::read(&to).unwrap() == packets);
    let _ = session.ask(ExportCommand::WriteCopy { from: from.clone(), path: from.clone() });
    assert_eq!(session.told().unwrap().0, Level::Error);
    assert!(std::fs::read(&from).unwrap() == packets);
    // Without what is copied, nothing is made.
    let nothing = dir.path().join("nothing.pcap");
    let _ = session.ask(ExportCommand::WriteCopy { from: dir.path().join("gone"), path: nothing.clone() });
    assert!(session.told().unwrap().0 == Level::Error && !nothing.exists());
}

#[test]
fn parent_that_is_supplied_brings_its_pages_and_keeps_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let part = |name: &str| {
        let mut from = tar::Archive::new(std::fs::File::open(fixture("incremental.tar")).unwrap());
        let path = dir.path().join(format!("{name}.tar"));
        let mut to = tar::Builder::new(std::fs::File::create(&path).unwrap());
        for entry in from.entries().unwrap() {
            let mut entry = entry.unwrap();
            let (mut header, member) = (entry.header().clone(), entry.path().unwrap().into_owned());
            match entry.link_name().unwrap().map(|link| link.into_owned()) {
                _ if !member.starts_with(name) => {}
                Some(link) => to.append_link(&mut header, member, link).unwrap(),
                None => to.append_data(&mut header, member, &mut entry).unwrap(),
            }
        }
        to.finish().unwrap();
        path
    };
    let (three, two, one) = (part("3"), part("2"), part("1"));
    let lacks = |session: &Session| {
        let coverage = &session.model.active().unwrap().checkpoint().coverage;
        coverage.iter().any(|gap| gap.what == "pages of the parent checkpoint")
    };
    let mut session = Session::open(&three);
    assert!(lacks(&session));
    let process = session.model.active().unwrap().selected_pid();
    let supply = |session: &mut Session, path: &Path| {
        let archive = session.model.active().unwrap().id();
        let _ = session.ask(ArchivesCommand::SupplyParent { archive, path: path.to_path_buf() });
    };
    supply(&mut session, &two);
    assert!(lacks(&session), "its parent is still missing");
    supply(&mut session, &dir.path().join("no-such-file"));
    assert_eq!(session.told().unwrap().0, Level::Error);
    supply(&mut session, &one);
    assert!(!lacks(&session));
    let active = session.model.active().unwrap();
    assert_eq!(active.parents(), [two, one]);
    assert_eq!((session.model.archives().len(), active.selected_pid()), (1, process));
}
