//! Holds the layer rules: a module may use only what stands above it in `src/lib.rs`.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with the layers of ours that it may use.
const MAY_USE: [(&str, &[&str]); 15] = [
    ("base", &[]),
    ("home", &["base"]),
    ("evidence", &["base"]),
    ("remote", &["base"]),
    ("decode", &["base"]),
    ("checkpoint", &["base", "evidence", "decode"]),
    ("memory", &["base", "evidence", "decode", "checkpoint"]),
    ("report", &["base", "evidence", "decode", "checkpoint", "memory"]),
    ("jobs", &["base"]),
    ("sandbox", &["base", "home", "evidence", "decode", "checkpoint", "memory", "report", "jobs"]),
    ("acquire", &["base", "home", "evidence", "jobs"]),
    ("agent", &["base", "home", "evidence", "decode", "checkpoint", "jobs", "acquire"]),
    (
        "session",
        &["base", "home", "evidence", "decode", "checkpoint", "memory", "report", "jobs", "sandbox", "acquire"],
    ),
    (
        "ui",
        &[
            "base",
            "home",
            "evidence",
            "decode",
            "checkpoint",
            "memory",
            "report",
            "jobs",
            "sandbox",
            "acquire",
            "session",
        ],
    ),
    (
        "cli",
        &[
            "base",
            "home",
            "evidence",
            "remote",
            "decode",
            "checkpoint",
            "memory",
            "report",
            "jobs",
            "sandbox",
            "acquire",
            "session",
            "ui",
        ],
    ),
];

/// What pure layers must not name: their facts come in as values.
const IMPURE: [&str; 7] = [
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::Tcp",
];

#[test]
fn modules_use_only_the_layers_above_them() {
    let mut wrong = Vec::new();
    let mut n_files = 0;
    for (layer, allowed) in MAY_USE {
        for file in sources(layer) {
            n_files += 1;
            let text = fs::read_to_string(&file).unwrap();
            for used in crate_paths(&text) {
                let is_layer = MAY_USE.iter().any(|(known, _)| *known == used);
                if is_layer && used != layer && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{} uses crate::{used}", file.display()));
                }
            }
        }
    }
    assert!(n_files > 50, "only {n_files} source files were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn decode_and_checkpoint_do_no_io_and_read_no_clock() {
    let mut wrong = Vec::new();
    for layer in ["base", "decode", "checkpoint", "memory", "report"] {
        for file in sources(layer) {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for name in IMPURE.iter().filter(|name| code.contains(**name)) {
                wrong.push(format!("{} names {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_window_knows_egui() {
    for (layer, _) in MAY_USE.iter().filter(|(layer, _)| *layer != "ui") {
        for file in sources(layer) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("egui::") && !text.contains("use egui"), "{} uses egui", file.display());
        }
    }
}

#[test]
fn only_the_command_line_and_reports_print() {
    for (layer, _) in MAY_USE.iter().filter(|(layer, _)| *layer != "cli") {
        for file in sources(layer) {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            assert!(!code.contains("println!(") && !code.contains("eprintln!("), "{} prints", file.display());
        }
    }
}

/// Names after `crate::`, also inside `use crate::{a, b}`.
fn crate_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for rest in line.split("crate::").skip(1) {
            let group = rest.strip_prefix('{').map(|group| group.split('}').next().unwrap_or_default());
            for path in group.unwrap_or(rest).split(',').take(if group.is_some() { usize::MAX } else { 1 }) {
                let name: String = path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.push(name);
            }
        }
    }
    found
}

fn sources(layer: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(layer)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
