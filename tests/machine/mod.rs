//! Running the sandbox in tests: one bundle, one machine at a time, and a program that stands in for QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

/// Where the bundle of all tests is.
pub(crate) fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sandbox-cache");
        let status = json_lines(&program(&dir, &["sandbox", "status", "--json"]).output().unwrap()).remove(0);
        if status["bundle"].is_null() {
            let made = program(&dir, &["sandbox", "install"]).output().unwrap();
            assert!(made.status.success(), "{}", text(&made.stderr));
        }
        dir
    })
}

/// One machine at a time: two processors are what these tests count on.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn program(cache: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
    command
        .args(args)
        .env("CRYOSCOPE_CACHE_DIR", cache)
        .env("CRYOSCOPE_DATA_DIR", cache.join("data"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Documents of an output: lines, or one that spreads over many.
pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    let out = serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<Vec<Value>, _>>();
    out.unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

/// Events of `sandbox run ARGS`, which ends well.
pub(crate) fn events(args: &[&str]) -> Vec<Value> {
    events_in(&turn(), args)
}

/// The same in a turn that goes on afterwards, so that what is left can be looked at.
pub(crate) fn events_in(_turn: &MutexGuard<'static, ()>, args: &[&str]) -> Vec<Value> {
    let all: Vec<&str> = ["sandbox", "run", "--json"].iter().chain(args).copied().collect();
    let output = program(cache(), &all).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    json_lines(&output)
}

pub(crate) fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// pid and comm of every process that is no zombie, as the checkpoint has them.
pub(crate) fn alive(archive: &str) -> Vec<(u64, String)> {
    let output = program(cache(), &["inspect", "--json", archive]).output().unwrap();
    let document = json_lines(&output).remove(0);
    let processes = document["processes"].as_array().unwrap().iter().filter(|process| process["state"] != "zombie");
    let mut out: Vec<(u64, String)> = processes
        .map(|process| (process["pid"].as_u64().unwrap(), process["comm"].as_str().unwrap().to_owned()))
        .collect();
    out.sort();
    out
}

/// The same of the first list that a run told.
pub(crate) fn restored(events: &[Value]) -> Vec<(u64, String)> {
    let list = of(events, "processes")[0]["list"].as_array().unwrap();
    let lines = list.iter().filter(|line| line["state"] != "Z");
    let mut out: Vec<(u64, String)> =
        lines.map(|line| (line["ns_pid"].as_u64().unwrap(), line["comm"].as_str().unwrap().to_owned())).collect();
    out.sort();
    out
}

/// A directory with a program that stands in for QEMU: it speaks for a guest that means harm. The channel is its
/// descriptor 102.
pub(crate) fn fake_qemu(script: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("qemu-system-x86_64");
    fs::write(&file, format!("#!/bin/bash\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}
