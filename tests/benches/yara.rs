//! YARA rules over the memory of one big process, side by side with a YARA scanner over the same bytes as a plain file.
//!
//! `cargo bench --bench yara [-- GIB]`. Needs the release build of the program (`make bench` makes it), and as the peer `yr`
//! (yara-x) or `yara` in the path or in `YARA`. The checkpoint is synthetic (`synth.rs`); the peer gets its pages file
//! alone. Both have the same rules, warm, and the numbers of matches are compared before times are.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench makes files, runs peers, prints"
)]
#![expect(dead_code, reason = "synth.rs makes other checkpoints as well")]

#[path = "../rebuild/mod.rs"]
mod rebuild;
mod synth;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cryoscope::evidence::OpenOptions;

/// The program under test, built by `make bench`.
const PROGRAM: &str = "target/release/cryoscope";
const NEEDLE: &str = "CRYOSCOPE-NEEDLE";

fn main() {
    let gib: f64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1.0);
    let program = std::env::var("CRYOSCOPE").unwrap_or_else(|_| PROGRAM.to_owned());
    let len = (gib * f64::from(1 << 30)) as u64 / 4096 * 4096;
    let cache = OpenOptions::default().cache_dir().unwrap();
    fs::create_dir_all(&cache).unwrap();
    let dir = tempfile::tempdir_in(cache).unwrap();
    let (tar, pages) = (dir.path().join("big.tar"), dir.path().join("pages"));
    synth::big_memory(&tar, len, NEEDLE.as_bytes());
    unpack_pages(&tar, &pages);
    fs::read(&tar).unwrap(); // warm
    let peer = peer();
    println!(
        "| rules over {gib:.1} GiB of one process | matches | cryoscope | GB/s | {} | its time | ratio |",
        peer.name
    );
    println!("|---|---:|---:|---:|---|---:|---:|");
    let one = format!("rule needle {{ strings: $a = \"{NEEDLE}\" condition: $a }}");
    let regex = "rule digits { strings: $a = /[0-9A-F]{18}/ condition: $a }".to_owned();
    let mut many = one.clone();
    for nr in 0..500_u64 {
        let word = nr.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hex = word.to_be_bytes().map(|byte| format!("{byte:02x}")).join(" ");
        let _ = write!(
            many,
            "\nrule r{nr} {{ strings: $a = \"w{word:x}\" $b = {{ {hex} }} $c = \"T{word:x}\" nocase wide condition: any of them }}"
        );
    }
    for (what, rules) in
        [("one literal", one), ("501 rules of 1,501 patterns", many), ("a regex without a literal", regex)]
    {
        let file = dir.path().join("rules.yar");
        fs::write(&file, rules).unwrap();
        case(&program, &peer, what, &file, &tar, &pages, len);
    }
}

/// A scanner to compare with.
struct Peer {
    program: String,
    name: &'static str,
}

fn peer() -> Peer {
    let program = std::env::var("YARA").ok();
    let is_there = |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    let program = program.or_else(|| ["yr", "yara"].into_iter().find(|name| is_there(name)).map(str::to_owned));
    match program {
        Some(program) if Path::new(&program).file_name().is_some_and(|name| name == "yr") => {
            Peer { program, name: "yr" }
        }
        Some(program) => Peer { program, name: "yara" },
        None => Peer { program: String::new(), name: "no peer here" },
    }
}

fn unpack_pages(tar: &Path, to: &Path) {
    let mut tar = tar::Archive::new(fs::File::open(tar).unwrap());
    let mut entry =
        tar.entries().unwrap().map(Result::unwrap).find(|it| it.path().unwrap().ends_with("pages-1.img")).unwrap();
    std::io::copy(&mut entry, &mut fs::File::create(to).unwrap()).unwrap();
}

fn case(program: &str, peer: &Peer, what: &str, rules: &Path, tar: &Path, pages: &Path, len: u64) {
    let own_args = ["search", "-q", "--count", tar.to_str().unwrap(), "--in", "memory", "--pid", "1", "--yara"];
    let (found, own) = best_of_3(Command::new(program).args(own_args).arg(rules));
    let found: u64 = found.trim().parse().unwrap();
    let gb_per_s = len as f64 / own.as_secs_f64() / 1e9;
    let (theirs, ratio) = if peer.program.is_empty() {
        ("-".to_owned(), "-".to_owned())
    } else {
        let mut command = Command::new(&peer.program);
        match peer.name {
            "yr" => command.args(["scan", "--print-strings", "--disable-warnings"]),
            _ => command.args(["-s", "-w"]),
        };
        let (out, time) = best_of_3(command.arg(rules).arg(pages));
        let matches = out.lines().filter(|line| line.trim_start().starts_with("0x")).count() as u64;
        // The program tells of one pattern and process no more than this.
        assert_eq!(found.min(10_000), matches.min(10_000), "{what}");
        (format!("{:.2} s", time.as_secs_f64()), format!("{:.2}", time.as_secs_f64() / own.as_secs_f64()))
    };
    println!("| {what} | {found} | {:.2} s | {gb_per_s:.2} | {} | {theirs} | {ratio} |", own.as_secs_f64(), peer.name);
}

fn best_of_3(command: &mut Command) -> (String, Duration) {
    let mut runs = (0..3).map(|_| {
        let started = Instant::now();
        let ran = command.stderr(Stdio::null()).output().unwrap();
        (started.elapsed(), String::from_utf8_lossy(&ran.stdout).into_owned())
    });
    let first = runs.next().unwrap();
    let (time, out) = runs.fold(first, |best, run| if run.0 < best.0 { run } else { best });
    (out, time)
}
