//! The container backend, really run: the same checkpoints in namespaces of this kernel, what they see of this machine, and
//! what is left when they are gone. Needs root, and says what is lacking where it cannot run.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail, starts the program, looks at /proc, and says how long it took or why it cannot run"
)]

#[expect(dead_code, reason = "the tests of the machine use more of it")]
mod machine;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use machine::{alive, cache, json_lines, of, program, restored, text, turn};
use serde_json::Value;

/// How names of cgroups of the sandbox begin.
const CGROUP: &str = "cryoscope-sandbox-";

/// Whether a container can be had here; says why not.
fn can_run() -> bool {
    let planning = ["sandbox", "plan", "fixtures/counter.tar.zst", "--backend=container", "--json"];
    let output = program(cache(), &planning).output().unwrap();
    let plan = json_lines(&output).remove(0);
    let layers = plan["layers"].as_array().unwrap();
    let missing: Vec<String> = layers
        .iter()
        .filter(|layer| !layer["missing"].is_null())
        .map(|layer| format!("{}: {}", layer["id"], layer["missing"]))
        .collect();
    if !missing.is_empty() {
        eprintln!("not run: this machine lacks {}", missing.join("; "));
    }
    missing.is_empty()
}

fn command(args: &[&str]) -> Command {
    let all: Vec<&str> = ["sandbox", "run", "--json", "--backend=container"].iter().chain(args).copied().collect();
    program(cache(), &all)
}

/// Events of a run that ends well.
fn events(turn: &MutexGuard<'static, ()>, args: &[&str]) -> Vec<Value> {
    machine::events_in(turn, &[&["--backend=container"], args].concat())
}

/// Every process that runs in a container of the sandbox, by /proc.
fn processes() -> Vec<u32> {
    let is_ours = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&format!("/{CGROUP}")))
    };
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(is_ours).collect()
}

/// What a run could leave on this machine: cgroups, mounts, loop devices.
fn left_over() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let cgroups = Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("{CGROUP}*")]).output().unwrap();
    out.extend(text(&cgroups.stdout).lines().map(str::to_owned));
    out.extend(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned));
    let loops = fs::read_dir("/sys/block").unwrap().filter_map(Result::ok).map(|entry| entry.path().join("loop"));
    out.extend(loops.filter_map(|dir| fs::read_to_string(dir.join("backing_file")).ok()));
    out
}

/// Starts a run that lasts, and waits until its processes go on; what it says goes on to be said to the other.
fn start(args: &[&str]) -> (Child, impl BufRead + use<>) {
    let mut child = command(args).spawn().unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"event\":\"processes\"") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0, "it ended");
    }
    (child, told)
}

const COUNTER: [&str; 2] = ["fixtures/counter.tar.zst", "--rootfs=fixtures/base/webapp.tar.zst"];

fn count(turn: &MutexGuard<'static, ()>) -> String {
    let asking = ["--for=1s", "--connect=127.0.0.1:8088", r"--send=GET / HTTP/1.0\r\n\r\n"];
    let started = Instant::now();
    let events = events(turn, &[COUNTER.as_slice(), &asking].concat());
    assert_eq!(restored(&events), alive(COUNTER[0]));
    assert_eq!(of(&events, "stopped")[0]["why"], "time-over");
    let time = |kind: &str| of(&events, kind)[0]["at_ms"].as_u64().unwrap();
    println!(
        "agent after {} ms, restored after {} ms, all in {} ms",
        time("booted"),
        time("restored"),
        started.elapsed().as_millis()
    );
    of(&events, "answer")[0]["text"].as_str().unwrap().rsplit("\r\n").next().unwrap().to_owned()
}

#[test]
fn counter_goes_on_counting_from_the_same_start_each_time() {
    if !can_run() {
        return;
    }
    let turn = turn();
    // It had answered four requests, numbered from zero.
    assert_eq!(count(&turn), "counter: 4\n");
    assert_eq!(count(&turn), "counter: 4\n");
}

/// Restores a fixture over the image of all of them; every process comes back with its pid and name.
fn comes_back(fixture: &str) {
    comes_back_over(fixture, "--rootfs=fixtures/base/zoo.tar.zst");
}

fn comes_back_over(fixture: &str, rootfs: &str) {
    if !can_run() {
        return;
    }
    let archive = format!("fixtures/{fixture}.tar.zst");
    let events = events(&turn(), &[&archive, rootfs, "--for=1s"]);
    let spelled = |list: Vec<(u64, String)>| -> Vec<(u64, String)> {
        // A comm that is not UTF-8 is spelled in two ways.
        list.into_iter().map(|(pid, comm)| (pid, comm.replace("\\xe9", "\u{fffd}"))).collect()
    };
    assert_eq!(spelled(restored(&events)), spelled(alive(&archive)));
}

#[test]
fn process_tree_comes_back_with_the_pids_and_names_that_it_had() {
    comes_back("process-zoo");
}

#[test]
fn memory_of_all_kinds_comes_back() {
    comes_back("memory-zoo");
}

#[test]
fn intruders_come_back_with_the_program_that_ran_from_memory_alone() {
    comes_back_over("compromised-webapp", "--rootfs=fixtures/base/webapp.tar.zst");
}

#[test]
fn sockets_and_loopback_connections_come_back() {
    comes_back("sockets");
}

#[test]
fn what_criu_cannot_restore_in_a_user_namespace_is_said_before_and_after() {
    if !can_run() {
        return;
    }
    let args = [
        "fixtures/credentials.tar.zst",
        "--rootfs=fixtures/base/zoo.tar.zst",
        "--allow=host-access@spec.dump:CAP_BPF",
        "--allow=host-access@spec.dump:CAP_SYS_ADMIN",
    ];
    let planning = [["sandbox", "plan", "--json", "--backend=container"].as_slice(), &args].concat();
    let plan = json_lines(&program(cache(), &planning).output().unwrap()).remove(0);
    let concerns = plan["concerns"].as_array().unwrap();
    let fatal = concerns.iter().filter(|concern| concern["weight"] == "fatal");
    assert!(fatal.into_iter().any(|it| it["what"].as_str().unwrap().contains("strict seccomp")), "{concerns:#?}");
    let _turn = turn();
    let started = Instant::now();
    let output = command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    let events = json_lines(&output);
    let explanation = of(&events, "failed")[0]["explanation"].as_str().unwrap();
    assert!(explanation.contains("microVM"), "{explanation}");
    // criu itself would wait for ever.
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn program_of_32_bits_is_ended_by_the_filter_and_that_is_explained() {
    if !can_run() {
        return;
    }
    let _turn = turn();
    let old = ["fixtures/sandbox/beacon-i386.tar.zst", "--rootfs=fixtures/sandbox/beacon-i386-image.tar.zst"];
    let output = command(&old).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    let events = json_lines(&output);
    let explanation = of(&events, "failed")[0]["explanation"].as_str().unwrap();
    assert!(explanation.contains("32 bits") && explanation.contains("microVM"), "{explanation}");
}

#[test]
fn nothing_of_this_machine_is_seen_inside_and_little_may_be_done() {
    if !can_run() {
        return;
    }
    let _turn = turn();
    let (mut child, _told) = start(&[COUNTER.as_slice(), &["--for=30s"]].concat());
    let ours = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let mounted: BTreeSet<String> = fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .filter_map(|line| line.split(" - ").nth(1)?.split(' ').nth(1).map(str::to_owned))
        .filter(|source| source.starts_with('/'))
        .collect();
    let inside = processes();
    assert!(inside.len() >= 3, "{inside:?}");
    for pid in &inside {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
        let status = read("status");
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{key}: {status}")).trim().to_owned()
        };
        // Whoever enters is root of nothing, too.
        let uid: u32 = value("Uid:").split('\t').next().unwrap().parse().unwrap();
        assert!(uid >= 0x7000_0000, "{pid} is {uid}");
        let is_agent_or_restored = value("NSpid:").split('\t').count() > 1;
        if !is_agent_or_restored {
            continue;
        }
        for name in ["user", "pid", "net", "mnt", "ipc", "uts", "cgroup"] {
            assert_ne!(fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap(), ours(name), "{pid} {name}");
        }
        assert_eq!((value("Seccomp:").as_str(), value("NoNewPrivs:").as_str()), ("2", "1"), "{pid}");
        // CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_BPF.
        let bounds = u64::from_str_radix(&value("CapBnd:"), 16).unwrap();
        assert_eq!(bounds & (1 << 16 | 1 << 17 | 1 << 22 | 1 << 39), 0, "{pid}: {bounds:x}");
        for line in read("mountinfo").lines() {
            let (place, fs) = line.split_once(" - ").unwrap();
            let (kind, source) = (fs.split(' ').next().unwrap(), fs.split(' ').nth(1).unwrap());
            let known = [
                "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "erofs", "overlay", "devtmpfs",
                "nsfs",
            ];
            assert!(known.contains(&kind), "{pid}: {line}");
            assert!(!mounted.contains(source), "{pid}: {line}");
            assert!(!kind.starts_with("cgroup") || place.contains(&format!(" /{CGROUP}")), "{pid}: {line}");
            // Of this machine's own file systems, devices and nothing else.
            let root = place.split(' ').nth(3).unwrap();
            let devices = ["/null", "/zero", "/full", "/random", "/urandom", "/tty"];
            assert!(kind != "devtmpfs" || devices.contains(&root), "{pid}: {line}");
        }
        let interfaces = read("net/dev");
        let names: Vec<&str> =
            interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
        assert!(names.iter().all(|name| matches!(*name, "lo" | "eth0") || name.starts_with("end")), "{names:?}");
    }
    // /proc as the restored process sees it.
    let counter = inside
        .iter()
        .find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "python3"));
    let seen = fs::read_dir(format!("/proc/{}/root/proc", counter.unwrap())).unwrap();
    let seen: Vec<u32> = seen.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    assert_eq!(seen, [1]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_program_leaves_no_process_no_cgroup_no_mount_and_no_loop_device() {
    if !can_run() {
        return;
    }
    let _turn = turn();
    let before = left_over();
    let (mut child, _told) = start(&[COUNTER.as_slice(), &["--for=60s"]].concat());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let killed = Instant::now();
    while !processes().is_empty() || left_over() != before {
        let more: Vec<String> = left_over().difference(&before).cloned().collect();
        assert!(killed.elapsed() < Duration::from_secs(1), "left: {:?} {more:?}", processes());
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("gone after {} ms", killed.elapsed().as_millis());
}

#[test]
fn killed_keeper_takes_everything_with_it_and_the_next_run_clears_up() {
    if !can_run() {
        return;
    }
    let turn = turn();
    let before = left_over();
    let (mut child, _told) = start(&[COUNTER.as_slice(), &["--for=60s"]].concat());
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let keeper = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    let killed = Instant::now();
    // Zombies wait for init of this machine.
    let alive = || processes().into_iter().filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok()).count();
    while alive() > 0 {
        assert!(killed.elapsed() < Duration::from_secs(1), "{} are alive", alive());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(count(&turn), "counter: 4\n");
    assert_eq!(left_over(), before);
}

#[test]
fn processes_that_do_their_worst_are_held_within_their_limits_and_ended_in_time() {
    if !can_run() {
        return;
    }
    let turn = turn();
    let before = left_over();
    let started = Instant::now();
    let events = events(
        &turn,
        &[
            "fixtures/sandbox/hostile.tar.zst",
            "--rootfs=fixtures/sandbox/hostile-image.tar.zst",
            "--for=4s",
            "--memory=512M",
        ],
    );
    let restored = of(&events, "restored")[0]["at_ms"].as_u64().unwrap();
    let stopped = of(&events, "stopped")[0];
    assert!(stopped["at_ms"].as_u64().unwrap() < restored + 10_000, "{stopped}");
    // In time also means that it is all gone when the program has ended.
    assert!(processes().is_empty());
    assert_eq!(left_over(), before);
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn sealed_network_answers_and_records_in_a_container_too() {
    if !can_run() {
        return;
    }
    let beacon = ["fixtures/sandbox/beacon.tar.zst", "--rootfs=fixtures/sandbox/beacon-image.tar.zst"];
    let events = events(&turn(), &[beacon.as_slice(), &["--network=sink", "--for=10s"]].concat());
    let contacts = of(&events, "contact");
    let has = |to: &str, key: &str, value: &str| {
        let found = contacts.iter().any(|contact| contact["to"] == to && contact[key] == value);
        assert!(found, "{to} {key} {value}: {contacts:#?}");
    };
    has("198.51.100.53:53", "question", "c2.example.net");
    has("198.18.0.1:8080", "request", "GET /gate.php?id=7 HTTP/1.1");
    has("192.0.2.99:9999", "first", "stolen");
    let changes: BTreeSet<&str> = of(&events, "file-change").iter().map(|it| it["path"].as_str().unwrap()).collect();
    assert!(changes.contains("/home/loot-0"), "{changes:?}");
}

#[test]
fn processes_stand_still_go_on_for_a_step_and_stand_still_again() {
    if !can_run() {
        return;
    }
    let _turn = turn();
    let mut child =
        command(&[COUNTER.as_slice(), &["--stopped", "--orders"]].concat()).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"step 100ms\nresume\npause\nend\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let events = json_lines(&output);
    let paused: Vec<bool> = of(&events, "paused").iter().map(|it| it["is_paused"].as_bool().unwrap()).collect();
    assert_eq!(paused, [true, false, true, false, true]);
}

#[test]
fn what_a_container_cannot_do_is_refused_with_the_reason() {
    let check = |command: &mut Command, words: &[&str]| {
        let output = command.output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{err}");
    };
    let run = ["sandbox", "run", "fixtures/counter.tar.zst", "--backend=container"];
    if can_run() {
        let traced = [run.as_slice(), &["--trace"]].concat();
        check(&mut program(cache(), &traced), &["system calls", "all its processes", "--backend microvm"]);
        let frozen = [run.as_slice(), &["--checkpoint-to=/nowhere/x.tar"]].concat();
        check(&mut program(cache(), &frozen), &["new checkpoint", "--backend microvm"]);
    }
    // Without root there is none, and the plan says so.
    let user = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
        command.arg(env!("CARGO_BIN_EXE_cryoscope")).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("CRYOSCOPE_CACHE_DIR", std::env::temp_dir().join("of-nobody")).stdin(Stdio::null());
        command
    };
    if !rustix::process::geteuid().is_root() {
        check(&mut program(cache(), &run), &["sudo", "--backend microvm"]);
        return;
    }
    check(&mut user(&run), &["sudo", "--backend microvm"]);
}
