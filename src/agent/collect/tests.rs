use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::acquire::wire::{ContainerState, SourceKind};
use crate::base::Silent;
use crate::checkpoint;
use crate::evidence::{Evidence, OpenOptions};

use super::*;

fn container() -> Container {
    Container {
        id: "c0ffee".into(),
        name: "app".into(),
        pod: Some("web".into()),
        namespace: Some("shop".into()),
        image: Some("reg/app:1".into()),
        image_id: None,
        engine: "containerd".into(),
        source: SourceKind::Kubelet,
        state: ContainerState::Running,
        created: None,
        pid: None,
        labels: BTreeMap::new(),
        problem: None,
        caution: None,
    }
}

/// A shell with a secret in its environment and in a variable, and a child.
fn with_collected(memory_limit_bytes: u64, is_held: bool, check: impl FnOnce(u32, &checkpoint::Checkpoint, &[String])) {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "held=$(printf 'in-memory-%s' 4711); sleep 600 & echo \"$held\" >/dev/null; echo ready; wait"])
        .env("SECRET", "RANDOM_1432_KEY")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let shell = child.id();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let mut pids = vec![shell];
    pids.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let container = container();
    let mut issues = Issues::default();
    let held = is_held.then(|| Held::new(|| pids.clone(), &mut issues));
    let wanted = Wanted {
        container: &container,
        pids: &pids,
        held: held.as_ref(),
        memory_limit_bytes,
        arch: "x86_64",
        now: Timestamp::now(),
    };
    let state = || std::fs::read_to_string(format!("/proc/{shell}/stat")).unwrap().contains(") t ");
    assert_eq!(state(), is_held);
    let file = File::options().write(true).create_new(true).open(&path).unwrap();
    let issues = write(&wanted, file, issues, &mut |_| Ok(())).unwrap();
    drop(held);
    assert!(!state(), "it goes on");
    for pid in pids.iter().rev() {
        let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    child.wait().unwrap();
    let options = OpenOptions::default();
    let evidence = Evidence::open(&path, &options, &Silent).unwrap();
    let found = checkpoint::load(&evidence, &options, &Silent).unwrap();
    check(shell, &found[0], &issues);
}

#[test]
fn collection_opens_as_a_checkpoint_with_processes_environment_and_memory() {
    with_collected(1 << 30, false, |shell, found, issues| {
        assert!(issues.is_empty(), "{issues:?}");
        assert_eq!(found.processes.len(), 2);
        let text = format!("{:?}", found.processes);
        assert!(text.contains("RANDOM_1432_KEY"), "the environment comes out of memory");
        assert!(found.processes.iter().any(|process| process.pid.0 == shell));
        assert!(format!("{:?}", found.container).contains("shop"));
        let container = &found.container;
        assert_eq!((container.layout.word(), container.engine), ("collection", None));
        assert_eq!((&container.criu_version, container.criu_version_at_least), (&None, None), "CRIU had no part in it");
        let gap = |what: &str| found.coverage.iter().find(|gap| gap.what == what).map(|gap| gap.why.as_str());
        assert!(gap("one moment").is_some_and(|why| why.contains("went on while their memory was read")));
        assert!(gap("registers").is_some() && !found.coverage.iter().any(|gap| gap.why.contains("CRIU")));
        let unexpected: Vec<_> = found.issues.iter().map(ToString::to_string).collect();
        assert!(unexpected.is_empty(), "{unexpected:#?}");
    });
}

#[test]
fn memory_beyond_the_limit_is_absent_and_told() {
    with_collected(4096, false, |_, found, issues| {
        assert!(issues.iter().any(|issue| issue.contains("were not read")), "{issues:?}");
        let text = format!("{:?}", found.processes);
        assert!(!text.contains("RANDOM_1432_KEY"), "it was not read, and is not made up");
        assert!(found.coverage.iter().any(|gap| gap.what == "pages that were not read"), "{:?}", found.coverage);
    });
}

#[test]
fn processes_that_are_held_stand_still_and_have_registers() {
    with_collected(1 << 30, true, |_, found, issues| {
        assert!(issues.is_empty(), "{issues:?}");
        assert_eq!(found.processes.len(), 2);
        for process in &found.processes {
            assert_eq!(process.state.known(), Some(&checkpoint::process::TaskState::Alive));
            let memory = process.memory.known().unwrap();
            for thread in &process.threads {
                let registers = thread.registers.known().unwrap();
                let prot_at = |address: u64| {
                    let mut vmas = memory.vmas.iter();
                    vmas.find(|vma| vma.start.0 <= address && address < vma.end.0).map(|vma| vma.prot)
                };
                // PROT_EXEC, and PROT_WRITE.
                assert!(prot_at(registers.pc).is_some_and(|prot| prot & 4 != 0), "{registers:?}");
                assert!(prot_at(registers.sp).is_some_and(|prot| prot & 2 != 0), "{registers:?}");
            }
        }
        assert!(
            !found.coverage.iter().any(|gap| matches!(gap.what, "one moment" | "registers")),
            "{:?}",
            found.coverage
        );
    });
}

#[test]
fn zombie_is_nothing_to_hold() {
    let mut parent = Command::new("/bin/sh").args(["-c", "true & exec sleep 600"]).spawn().unwrap();
    let pid = parent.id();
    let zombie = || {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let child: u32 = children.trim().parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.contains(") Z ").then_some(child)
    };
    let zombie = std::iter::repeat_with(zombie).find_map(|found| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        found
    });
    let mut issues = Issues::default();
    let held = Held::new(|| [pid].into_iter().chain(zombie).collect(), &mut issues);
    assert!(held.was_stopped(pid).is_some() && held.was_stopped(zombie.unwrap()).is_none());
    drop(held);
    assert!(issues.into_list().is_empty());
    parent.kill().unwrap();
    parent.wait().unwrap();
}
