//! Checkpoints that were taken on top of others, where the others lie elsewhere: in directories beside, or in archives that
//! the analyst supplies. The fixture holds three of one chain; each is cut out of it, with its bytes as they are.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

mod cli;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cli::cryoscope;
use cryoscope::base::{Pid, Silent, VirtAddr, hex};
use cryoscope::checkpoint::{self, Checkpoint, SuppliedParent};
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::{Content, Memory, Missing, Origin};
use sha2::{Digest, Sha256};

const FIXTURE: &str = "fixtures/incremental.tar";

/// An archive of some of the directories of the fixture.
fn part(dir: &Path, name: &str, kept: &[&str]) -> PathBuf {
    let mut from = tar::Archive::new(std::fs::File::open(FIXTURE).unwrap());
    let path = dir.join(name);
    let mut to = tar::Builder::new(std::fs::File::create(&path).unwrap());
    for entry in from.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut header = entry.header().clone();
        let member = entry.path().unwrap().into_owned();
        if !kept.iter().any(|kept| member.starts_with(kept)) {
            continue;
        }
        match entry.link_name().unwrap().map(|link| link.into_owned()) {
            Some(link) => to.append_link(&mut header, member, link).unwrap(),
            None => to.append_data(&mut header, member, &mut entry).unwrap(),
        }
    }
    to.finish().unwrap();
    path
}

/// The fixture unpacked.
fn unpacked() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tar::Archive::new(std::fs::File::open(FIXTURE).unwrap()).unpack(dir.path()).unwrap();
    dir
}

fn open(path: &Path) -> Evidence {
    Evidence::open(path, &OpenOptions::default(), &Silent).unwrap()
}

fn load(path: &Path, parents: &[&Path]) -> Arc<Checkpoint> {
    let options = OpenOptions::default();
    let supplied: Vec<_> =
        parents.iter().map(|path| SuppliedParent::of(&open(path), &options, &Silent).unwrap()).collect();
    let found = checkpoint::load_with_parents(&open(path), &supplied, &options, &Silent);
    found.unwrap().into_iter().find(|it| !it.processes.is_empty()).unwrap()
}

/// How many mappings have the bytes that `/proc/PID/mem` gave, and why others are not there.
fn compare(checkpoint: &Arc<Checkpoint>) -> (usize, BTreeMap<Missing, usize>) {
    let recorded: BTreeMap<u32, Vec<serde_json::Value>> =
        serde_json::from_slice(&std::fs::read("fixtures/incremental.mem.sha256.json").unwrap()).unwrap();
    let memory = Memory::new(Arc::clone(checkpoint));
    let (mut nr_equal, mut absent) = (0, BTreeMap::new());
    for (pid, mappings) in &recorded {
        let space = memory.space(Pid(*pid)).unwrap();
        for mapping in mappings {
            let address = |key: &str| {
                VirtAddr(u64::from_str_radix(mapping[key].as_str().unwrap().trim_start_matches("0x"), 16).unwrap())
            };
            let Some(expected) = mapping["sha256"].as_str() else { continue };
            let mut hash = Sha256::new();
            let mut missing = None;
            for chunk in space.read(address("start")..address("end")) {
                match chunk.content {
                    Content::Bytes(bytes) => hash.update(&bytes),
                    Content::Zero => hash.update(vec![0; (chunk.range.end.0 - chunk.range.start.0) as usize]),
                    Content::Absent(why) => missing = Some(why),
                }
            }
            match missing {
                Some(why) => *absent.entry(why).or_insert(0) += 1,
                None => {
                    assert_eq!(hex(&hash.finalize()), expected, "pid {pid} {}", address("start"));
                    nr_equal += 1;
                }
            }
        }
    }
    (nr_equal, absent)
}

/// Pages in parents by how far away they are.
fn depths(checkpoint: &Arc<Checkpoint>) -> BTreeMap<u32, u64> {
    let memory = Memory::new(Arc::clone(checkpoint));
    let mut depths = BTreeMap::new();
    for space in memory.spaces() {
        for segment in space.segments() {
            if let Origin::Parent { depth } = segment.origin {
                *depths.entry(depth).or_insert(0) += segment.len_bytes() / 4096;
            }
        }
    }
    depths
}

fn issues(checkpoint: &Checkpoint) -> Vec<String> {
    checkpoint.issues.iter().map(ToString::to_string).filter(|issue| issue.contains("parent")).collect()
}

fn gap(checkpoint: &Checkpoint) -> Option<&str> {
    let found = checkpoint.coverage.iter().find(|gap| gap.what == "pages of the parent checkpoint");
    found.map(|gap| gap.why.as_str())
}

#[test]
fn every_way_to_the_parents_gives_the_same_bytes() {
    let whole = load(FIXTURE.as_ref(), &[]);
    let (expected, of_origin) = (compare(&whole), depths(&whole));
    assert!(expected.0 >= 8 && of_origin.len() == 2, "{expected:?} {of_origin:?}");
    assert!(expected.1.keys().all(|why| matches!(why, Missing::FilePage | Missing::NotKept)), "{expected:?}");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, kept: &[&str]| part(dir.path(), name, kept);
    let (three, two, one) = (at("3.tar", &["3"]), at("2.tar", &["2"]), at("1.tar", &["1"]));
    let (last_two, first_two) = (at("32.tar", &["3", "2"]), at("21.tar", &["2", "1"]));
    let directories = unpacked();
    let below = |name: &str| directories.path().join(name);
    let ways: Vec<(&Path, Vec<&Path>)> = vec![
        (&three, vec![&two, &one]),
        (&three, vec![&first_two]),
        (&last_two, vec![&one]),
        // Both of the chain are in it, and the name that the link leads to says which is meant.
        (&last_two, vec![FIXTURE.as_ref()]),
    ];
    let directory = below("3");
    let mut loaded: Vec<_> = ways.iter().map(|(path, parents)| load(path, parents)).collect();
    loaded.push(load(&directory, &[]));
    // An archive has no directories beside it, whatever lies there.
    std::fs::copy(&three, below("3.tar")).unwrap();
    std::fs::remove_file(below("2/parent")).unwrap();
    // The link of the second is lost, and its pages are not: the next that is supplied has them.
    loaded.push(load(&below("3.tar"), &[&below("2"), &below("1")]));
    for checkpoint in &loaded {
        assert_eq!((compare(checkpoint), depths(checkpoint)), (expected.clone(), of_origin.clone()));
        assert_eq!((issues(checkpoint), gap(checkpoint)), (vec![], None));
        assert_eq!(checkpoint.parents.len(), 2, "{:?}", checkpoint.parents);
    }
    assert_eq!(whole.parents, ["2", "1"]);
    let named = |path: &Path, rest: &str| format!("{}{rest}", path.display());
    assert_eq!(loaded[0].parents, [named(&two, "!2"), named(&one, "!1")]);
    let canonical = directories.path().canonicalize().unwrap();
    assert_eq!(loaded[4].parents, [named(&canonical, "/2"), named(&canonical, "/1")]);

    // Where a byte lies is told with the name of the parent.
    let memory = Memory::new(Arc::clone(&loaded[0]));
    let space = memory.spaces().next().unwrap();
    let far = space.segments().find(|segment| segment.origin == Origin::Parent { depth: 2 }).unwrap();
    let place = space.place_of(far.range.start).unwrap();
    assert!(place.member.starts_with(&named(&one, "!1/pages-")), "{place}");
    assert!(memory.addresses_of(&place.member, place.offset.unwrap(), 4).contains(&(space.pid(), far.range.start)));
}

#[test]
fn a_parent_that_is_not_here_is_said_with_what_would_supply_it() {
    let dir = tempfile::tempdir().unwrap();
    let (three, two) = (part(dir.path(), "3.tar", &["3"]), part(dir.path(), "2.tar", &["2"]));
    let alone = load(&three, &[]);
    let told = issues(&alone);
    assert!(told.iter().any(|it| it.contains("leads to ../2") || it.contains("leads to 2")), "{told:?}");
    assert!(told.iter().any(|it| it.contains("--parent")), "{told:?}");
    let lost = |checkpoint: &Checkpoint| gap(checkpoint).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    let whole = depths(&load(FIXTURE.as_ref(), &[]));
    assert_eq!(lost(&alone), whole.values().sum::<u64>());
    assert_eq!(alone.parents, [""; 0]);
    assert!(compare(&alone).1.contains_key(&Missing::Parent));

    let half = load(&three, &[&two]);
    assert_eq!(lost(&half), whole[&2]);
    assert!(gap(&half).unwrap().contains("2.tar"), "{:?}", gap(&half));
    assert!(issues(&half)[0].contains("2.tar!2/parent: the parent checkpoint is not here"), "{:?}", issues(&half));

    // Another checkpoint has other pages: none of them is taken for one of ours.
    let other = load(&three, &["fixtures/counter.tar.zst".as_ref()]);
    assert_eq!(lost(&other), whole.values().sum::<u64>());
    assert!(gap(&other).unwrap().contains("counter.tar.zst"), "{:?}", gap(&other));
}

#[test]
fn links_of_a_directory_lead_to_images_beside_it_and_nowhere_else() {
    let check = |target: &str, prepare: &dyn Fn(&Path), expected: &str| {
        let directories = unpacked();
        let link = directories.path().join("3/parent");
        std::fs::remove_file(&link).unwrap();
        symlink(target, &link).unwrap();
        prepare(directories.path());
        let checkpoint = load(&directories.path().join("3"), &[]);
        let told = issues(&checkpoint).join("; ");
        assert!(told.contains(expected), "{target}: {told}");
        assert_eq!(checkpoint.parents, [""; 0], "{target}");
        assert!(gap(&checkpoint).is_some(), "{target}");
    };
    let nothing = |_: &Path| {};
    check("../../2", &nothing, "which is outside the evidence");
    check("/etc", &nothing, "which is outside the evidence");
    check("..", &nothing, "which is outside the evidence");
    check("../2/../../2", &nothing, "which is outside the evidence");
    check("../nothing", &nothing, "which is outside the evidence");
    check("../3", &nothing, "leads back to itself");
    check("../linked", &|dir| symlink("2", dir.join("linked")).unwrap(), "");
    check("../other", &|dir| std::fs::create_dir_all(dir.join("other/deep/2")).unwrap(), "which is outside");
    check("../pipe", &|dir| rustix_fifo(&dir.join("pipe")), "");
}

fn rustix_fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn chains_over_directories_that_go_in_a_circle_end() {
    let directories = unpacked();
    symlink("../3", directories.path().join("1/parent")).unwrap();
    let checkpoint = load(&directories.path().join("3"), &[]);
    assert_eq!(checkpoint.parents.len(), 2);
    assert!(issues(&checkpoint).join("; ").contains("leads back to itself"), "{:?}", issues(&checkpoint));
    assert_eq!(gap(&checkpoint), None);
}

#[test]
fn parents_of_the_command_line_supply_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let name = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (three, rest) = (name(part(dir.path(), "3.tar", &["3"])), name(part(dir.path(), "21.tar", &["2", "1"])));
    let pid = load(FIXTURE.as_ref(), &[]).processes[0].pid.to_string();
    let memory = &["memory", "--pid", &pid, "--kind", "anon-private,heap,stack"][..];
    let search = &["search", "--count", "--hex", "7f454c46"];
    for command in [&["inspect"][..], memory, search, &["strings", "-n", "8"], &["files"]] {
        let ask = |archive: &[&str]| match command {
            ["search", rest @ .., pattern] => cryoscope(&[&["search"], rest, archive, &[pattern]].concat()),
            command => cryoscope(&[command, archive].concat()),
        };
        let (without, with) = (ask(&[&three]), ask(&[&three, "--parent", &rest]));
        let whole = ask(&[FIXTURE]);
        let same_name = |text: &str| text.replace(&three, "X").replace(FIXTURE, "X");
        assert_eq!(with.code, 0, "{}", with.err);
        if command[0] == "inspect" {
            assert!(without.out.contains("--parent") && !with.out.contains("--parent"), "{}", with.out);
        } else {
            let (with, whole) = (same_name(&with.out), same_name(&whole.out));
            // Places in a parent have its name.
            let plain = |text: &str| text.lines().filter(|line| !line.contains(".img")).collect::<Vec<_>>().join("\n");
            assert_eq!(plain(&with), plain(&whole));
            assert!(!plain(&whole).is_empty());
        }
    }
    let inspected = cryoscope(&["inspect", &three, "--parent", &rest]);
    assert!(inspected.out.contains(&format!("on top of     {rest}!2, {rest}!1\n")), "{}", inspected.out);
    let wrong = cryoscope(&["inspect", &three, "--parent", "Cargo.toml"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.starts_with("cryoscope: --parent: Cargo.toml: "), "{}", wrong.err);
    let unused = cryoscope(&["inspect", FIXTURE, "--parent", &rest, "--parent", &rest]);
    assert!(unused.out.contains("is not used"), "{}", unused.out);
}
