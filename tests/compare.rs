//! `cryoscope compare` over the bundled samples; what a machine changed is in tests/sandbox.rs.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and starts the program")]

use std::process::{Command, Output};

use serde_json::Value;

fn compare(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
    command.arg("compare").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = compare(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn checkpoint_does_not_differ_from_itself() {
    for archive in ["fixtures/process-zoo.tar.zst", "fixtures/sockets.tar.zst", "fixtures/memory-zoo.tar.zst"] {
        let changes = json(&[archive, archive]);
        assert_eq!(changes["processes"].as_array().unwrap().len(), 0, "{archive}: {changes:#}");
        for list in ["sockets", "files"] {
            assert_eq!(changes[list]["added"].as_array().unwrap().len(), 0, "{archive} {list}");
            assert_eq!(changes[list]["removed"].as_array().unwrap().len(), 0, "{archive} {list}");
        }
        assert!(changes["nr_unchanged"].as_u64().unwrap() > 0);
    }
}

#[test]
fn other_container_differs_in_everything_and_both_directions_mirror_each_other() {
    let (one, other) = ("fixtures/counter.tar.zst", "fixtures/memory-zoo.tar.zst");
    let (there, back) = (json(&[one, other]), json(&[other, one]));
    assert_eq!(there["sockets"]["added"], back["sockets"]["removed"]);
    assert_eq!(there["files"]["removed"], back["files"]["added"]);
    let first = &there["processes"].as_array().unwrap()[0];
    assert_eq!((&first["pid"], &first["change"]), (&Value::from(1), &Value::from("changed")));
    let text = String::from_utf8(compare(&[one, other]).stdout).unwrap();
    assert!(text.starts_with("Processes") && text.contains("\nSockets\n") && text.contains("\nFiles\n"), "{text}");
}

#[test]
fn what_is_no_archive_is_said() {
    let output = compare(&["fixtures/counter.tar.zst", "Cargo.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Cargo.toml"));
}
