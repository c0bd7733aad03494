//! The sandbox, really run: the bundle is made from a mirror, machines boot (KVM where it works, else TCG), checkpoints go
//! on. One machine at a time; the bundle is made once and kept in the target directory.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may fail, starts the program, and prints how long it took"
)]

mod machine;

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use machine::{alive, cache, events, fake_qemu, json_lines, of, program, restored, text, turn};

use serde_json::Value;

fn sha256(path: &str) -> String {
    let output = Command::new("sha256sum").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).output().unwrap();
    text(&output.stdout).split(' ').next().unwrap().to_owned()
}

const COUNTER: [&str; 4] =
    ["--rootfs=fixtures/base/webapp.tar.zst", "--for=1s", "--connect=127.0.0.1:8088", r"--send=GET / HTTP/1.0\r\n\r\n"];

/// Asks a counter once, in a machine of its own; what it answers.
fn count(archive: &str, more: &[&str]) -> String {
    let args: Vec<&str> = [archive].iter().chain(&COUNTER).chain(more).copied().collect();
    let events = events(&args);
    assert_eq!(restored(&events), alive(archive));
    assert_eq!(of(&events, "stopped")[0]["why"], "time-over");
    let time = |kind: &str| of(&events, kind)[0]["at_ms"].as_u64().unwrap();
    println!("{archive}: up after {} ms, restored after {} ms", time("booted"), time("restored"));
    of(&events, "answer")[0]["text"].as_str().unwrap().rsplit("\r\n").next().unwrap().to_owned()
}

#[test]
fn counter_goes_on_counting_from_the_same_start_each_time_and_from_where_it_was_frozen_again() {
    const ARCHIVE: &str = "fixtures/counter.tar.zst";
    let before = sha256(ARCHIVE);
    let dir = tempfile::tempdir().unwrap();
    let later = dir.path().join("later.tar");
    let later = later.to_str().unwrap();
    // It had answered four requests, numbered from zero.
    assert_eq!(count(ARCHIVE, &["--checkpoint-to", later]), "counter: 4\n");
    assert_eq!(count(ARCHIVE, &[]), "counter: 4\n");
    assert_eq!(sha256(ARCHIVE), before);
    assert_eq!(count(later, &[]), "counter: 5\n");
    // Each run was noted when it began and when it was over.
    let log = fs::read_to_string(cache().join("data/sandbox-log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_later: Vec<Value> = lines.filter(|line| line["archive"] == later).collect();
    assert_eq!((of_later.len(), &of_later[0]["event"]), (1, &"started".into()));
    let end =
        log.lines().find(|line| line.contains(of_later[0]["run"].as_str().unwrap()) && line.contains("\"ended\""));
    assert!(end.is_some_and(|end| end.contains("\"time-over\"")), "{log}");
}

#[test]
fn file_made_in_the_machine_is_among_the_changes_of_the_new_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let later = dir.path().join("later.tar");
    let later = later.to_str().unwrap();
    let request = r"--send=GET /create?third-file HTTP/1.0\r\n\r\n";
    let rootfs = "--rootfs=fixtures/base/webapp.tar.zst";
    let told = events(&[
        "fixtures/counter.tar.zst",
        rootfs,
        "--for=6s",
        "--connect=127.0.0.1:8088",
        request,
        "--checkpoint-to",
        later,
    ]);
    // What changed is told by the run and by the command: the file, and memory of the server.
    let output = program(cache(), &["compare", "fixtures/counter.tar.zst", later, "--json"]).output().unwrap();
    let changes = json_lines(&output).remove(0);
    assert_eq!(changes["schema"], "cryoscope.compare/1");
    let added = changes["files"]["added"].as_array().unwrap();
    assert!(added.iter().any(|file| file.as_str().unwrap().contains("/home/third-file")), "{changes:#}");
    let server =
        changes["processes"].as_array().unwrap().iter().find(|process| process["change"] == "changed").unwrap();
    assert!(server["pages"]["changed"].as_u64().unwrap() > 0, "{changes:#}");
    assert_eq!(told.last().unwrap()["files"], changes["files"]);
    let output = program(cache(), &["files", later]).output().unwrap();
    let listed = text(&output.stdout);
    for name in ["test-file", "second-file", "third-file"] {
        assert_eq!(listed.matches(&format!("rootfs:/home/{name}\n")).count(), 1, "{name}: {listed}");
    }
    let output = program(cache(), &["files", later, "cat", "rootfs:/home/third-file"]).output().unwrap();
    assert_eq!(text(&output.stdout), "created by request 4\n");
}

/// Restores a fixture over the image of all of them; every process comes back with its pid and name.
fn comes_back(fixture: &str) {
    comes_back_over(&format!("fixtures/{fixture}.tar.zst"), "--rootfs=fixtures/base/zoo.tar.zst");
}

fn comes_back_over(archive: &str, rootfs: &str) {
    let events = events(&[archive, rootfs, "--for=1s"]);
    let spelled = |list: Vec<(u64, String)>| -> Vec<(u64, String)> {
        // A comm that is not UTF-8 is spelled in two ways.
        list.into_iter().map(|(pid, comm)| (pid, comm.replace("\\xe9", "\u{fffd}"))).collect()
    };
    assert_eq!(spelled(restored(&events)), spelled(alive(archive)));
}

#[test]
fn process_tree_comes_back_with_the_pids_and_names_that_it_had() {
    comes_back("process-zoo");
}

/// Network namespaces with a bridge, pairs of interfaces and rules of iptables; mounts of its own; clocks that were moved.
#[test]
fn namespaces_of_all_kinds_come_back() {
    comes_back_over("fixtures/namespaces.tar", "--rootfs=fixtures/base/namespaces.tar.zst");
}

#[test]
fn memory_of_all_kinds_comes_back() {
    comes_back("memory-zoo");
}

#[test]
fn credentials_and_seccomp_filters_come_back() {
    comes_back("credentials");
}

#[test]
fn sockets_and_loopback_connections_come_back() {
    comes_back("sockets");
}

/// The bundled sample: a reverse shell on a connection within the container, deleted programs, and one that never was a file,
/// which criu alone cannot restore.
#[test]
fn intruders_come_back_with_the_program_that_ran_from_memory_alone() {
    const ARCHIVE: &str = "fixtures/compromised-webapp.tar.zst";
    let dir = tempfile::tempdir().unwrap();
    let later = dir.path().join("later.tar");
    let events = events(&[
        ARCHIVE,
        "--rootfs=fixtures/base/webapp.tar.zst",
        "--for=2s",
        "--checkpoint-to",
        later.to_str().unwrap(),
    ]);
    assert_eq!(restored(&events), alive(ARCHIVE));
    let inspected = |archive: &Path| -> Value {
        let output = program(cache(), &["inspect", "--all", "--json", archive.to_str().unwrap()]).output().unwrap();
        json_lines(&output).remove(0)
    };
    let (before, after) = (inspected(Path::new(ARCHIVE)), inspected(&later));
    let of = |checkpoint: &Value, pid: u64| -> Value {
        let processes = checkpoint["processes"].as_array().unwrap();
        processes.iter().find(|process| process["pid"] == pid).unwrap().clone()
    };
    assert_eq!(of(&before, 8)["exe"], "/memfd:kworker-u8:2 (deleted)");
    assert_eq!(of(&after, 8)["exe"], "/memfd:kworker-u8:2");
    // It maps what it mapped, and its title is the one that it hides behind.
    let maps = |checkpoint: &Value| -> Vec<(Value, Value, Value)> {
        let maps = of(checkpoint, 8)["maps"].as_array().unwrap().clone();
        let is_kernels = |map: &Value| map["path"].as_str().is_some_and(|path| path.starts_with("[vsyscall"));
        let kept = maps.into_iter().filter(|map| !is_kernels(map));
        kept.map(|map| (map["start"].clone(), map["end"].clone(), map["perms"].clone())).collect()
    };
    assert_eq!(maps(&after), maps(&before));
    assert_eq!(of(&after, 8)["cmdline"], of(&before, 8)["cmdline"]);
    // The file has the content of the memfd.
    let raw = |archive: &str, path: &str| program(cache(), &["files", archive, "cat", path]).output().unwrap().stdout;
    let (memfd, file) =
        (raw(ARCHIVE, "memfd:/memfd:kworker-u8:2"), raw(later.to_str().unwrap(), "memfd:/memfd:kworker-u8:2"));
    assert!(memfd.starts_with(b"\x7fELF"));
    assert_eq!(memfd, file);
}

#[test]
fn file_that_criu_linked_for_the_dump_only_is_made_of_zeros_and_said() {
    let output =
        program(Path::new("/nonexistent"), &["sandbox", "plan", "fixtures/fd-zoo.tar.zst", "--json"]).output().unwrap();
    let document = text(&output.stdout);
    let placeholders = document.split("\"placeholders\"").nth(1).unwrap_or_else(|| panic!("{}", text(&output.stderr)));
    assert!(placeholders.split(']').next().unwrap().contains("/home/link_remap.19"), "{document}");
    assert!(document.contains("come back as zeros"), "{document}");
}

#[test]
fn changes_of_the_root_file_system_come_back() {
    comes_back("rootfs-changes");
}

#[test]
fn without_a_base_image_the_error_of_criu_is_explained() {
    let _turn = turn();
    let output = program(cache(), &["sandbox", "run", "--json", "fixtures/memory-zoo.tar.zst"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let events = json_lines(&output);
    let explanation = of(&events, "failed")[0]["explanation"].as_str().unwrap();
    assert!(explanation.contains("--rootfs"), "{explanation}");
    assert!(text(&output.stderr).contains("could not be restored"), "{}", text(&output.stderr));
}

#[test]
fn bundle_goes_to_another_machine_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sandbox.tar");
    let other = dir.path().join("other");
    let exported = program(cache(), &["sandbox", "install", "--export", file.to_str().unwrap()]).output().unwrap();
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert!(fs::metadata(&file).unwrap().len() < 60 << 20);
    let installed = program(&other, &["sandbox", "install", "--from", file.to_str().unwrap()]).output().unwrap();
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    let status =
        |cache: &Path| json_lines(&program(cache, &["sandbox", "status", "--json"]).output().unwrap()).remove(0);
    assert_eq!(status(&other)["bundle"], status(cache())["bundle"]);
    let packages = status(&other)["bundle"]["packages"].as_array().unwrap().clone();
    let criu = packages.iter().find(|package| package["name"] == "criu").unwrap();
    assert!(criu["version"].as_str().unwrap().starts_with("4."), "{criu}");
    assert!(program(&other, &["sandbox", "remove"]).output().unwrap().status.success());
    assert!(!other.join("sandbox").exists());
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let check = |command: &mut Command, words: &[&str]| {
        let output = command.output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{err}");
    };
    let run = ["sandbox", "run", "fixtures/counter.tar.zst"];
    check(&mut program(dir.path(), &run), &["not installed", "cryoscope sandbox install", "--from"]);
    check(program(dir.path(), &run).env("PATH", ""), &["qemu-system-x86_64", "package qemu-system-x86"]);
    check(program(dir.path(), &run).env("CRYOSCOPE_GUEST", "/nowhere"), &["cryoscope-guest", "/nowhere"]);
    let mirror = ["sandbox", "install", "--mirror", "http://127.0.0.1:9/debian"];
    check(&mut program(dir.path(), &mirror), &["127.0.0.1:9", "--mirror", "--from"]);
    check(&mut program(dir.path(), &["sandbox", "install", "--mirror", "/srv"]), &["--mirror wants", "/srv"]);
    fs::write(dir.path().join("x"), "no bundle").unwrap();
    let from = dir.path().join("x");
    check(&mut program(dir.path(), &["sandbox", "install", "--from", from.to_str().unwrap()]), &["--export"]);
}

#[test]
fn processes_that_do_their_worst_are_watched_and_ended_in_time() {
    let started = Instant::now();
    let events = events(&[
        "fixtures/sandbox/hostile.tar.zst",
        "--rootfs=fixtures/sandbox/hostile-image.tar.zst",
        "--for=6s",
        "--memory=512M",
    ]);
    // Flooded output is cut to what a person could read, and the rest counted.
    let output = of(&events, "output");
    assert!(output.iter().any(|line| line["dropped"].as_u64().unwrap() > 0), "{} lines", output.len());
    assert!(output.len() < 60_000, "{} lines", output.len());
    assert!(output.iter().any(|line| line["line"] == "FLOOD \u{1b}[2J\u{fffd} of output"));
    // They fork without end, and the list says how many it leaves out.
    let lists = of(&events, "processes");
    let most = lists.iter().map(|list| list["list"].as_array().unwrap().len()).max().unwrap();
    assert!(most > 20 && most <= 512, "{most} processes");
    let restored = of(&events, "restored")[0]["at_ms"].as_u64().unwrap();
    let stopped = of(&events, "stopped")[0];
    assert!(stopped["at_ms"].as_u64().unwrap() < restored + 20_000, "{stopped}");
    assert!(started.elapsed() < Duration::from_secs(150));
}

#[test]
fn hostile_guest_is_cut_off_with_a_message() {
    const HELLO: &str = r#"m() { printf "\\$(printf %03o ${#1})\\0\\0\\0%s" "$1" >&102; }; m '{"type":"hello","version":3,"kernel":"x","uptime_ms":1}'"#;
    let check = |script: &str, words: &str| {
        let dir = fake_qemu(script);
        let started = Instant::now();
        let mut command = program(cache(), &["sandbox", "run", "fixtures/memory-zoo.tar.zst", "--for=6s"]);
        let output = command.env("PATH", dir.path()).output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{script}: {err}{}", text(&output.stdout));
        assert!(err.contains(words), "{script}: {err}");
        assert!(started.elapsed() < Duration::from_secs(60), "{script}");
    };
    let _turn = turn();
    check(r"printf '\377\377\377\377' >&102; sleep 100", "a message of 4294967295 bytes");
    check(r"printf '\004\000\000\000{{{{' >&102; sleep 100", "makes no sense");
    check(r"head -c 100000 /dev/urandom >&102; sleep 100", "the machine was stopped");
    check("echo no such luck >&2; exit 3", "no such luck");
    check(&HELLO.replace("\"version\":3", "\"version\":7"), "must be of one build");
    let flood = format!("{HELLO}\nwhile :; do m '{{\"type\":\"stage\",\"name\":\"x\"}}'; done");
    check(&flood, "messages a second");
    check(&format!("{HELLO}\nm '{{\"type\":\"stage\"}}'; sleep 100"), "makes no sense");
}

#[test]
fn killed_program_leaves_neither_machine_nor_files() {
    let _turn = turn();
    let files = || {
        let listed = Command::new("find").arg(cache()).args(["-type", "f"]).output().unwrap();
        let mut files: Vec<String> = text(&listed.stdout).lines().map(str::to_owned).collect();
        files.sort();
        files
    };
    let is_there = |pid: &str| Path::new("/proc").join(pid).join("exe").exists();
    let args = ["sandbox", "run", "fixtures/memory-zoo.tar.zst", "--rootfs=fixtures/base/image.tar.zst", "--for=60s"];
    let before = files();
    let mut child: Child = program(cache(), &args).spawn().unwrap();
    let started = Instant::now();
    let machine = loop {
        assert!(started.elapsed() < Duration::from_secs(60), "no machine was started");
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        if let Some(pid) = children.split_whitespace().next().filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("qemu-system"))
        }) {
            break pid.to_owned();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    std::thread::sleep(Duration::from_secs(1));
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    while is_there(&machine) {
        assert!(killed.elapsed() < Duration::from_secs(5), "the machine outlives the program");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut after = files();
    // What was learned about KVM is kept beside the bundle.
    after.retain(|file| !file.ends_with("/no-kvm") || before.contains(file));
    assert_eq!(after, before);
}
