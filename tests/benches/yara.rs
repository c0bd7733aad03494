//! YARA rules over the memory of one big process, side by side with a YARA scanner over the same bytes as a plain file.
//!
//! `cargo bench --bench yara [-- GIB]`. Needs the release build of the program (`make bench` makes it), and as the peer `yr`
//! (yara-x) or `yara` in the path or in `YARA`. The checkpoint is synthetic (`synth.rs`); the peer gets its pages file
//! alone. Both have the same rules, warm, print every match, and keep as many of a pattern; places and lengths of all of
//! them are compared before times are. Peers scan one file on one thread, so the program is timed on one as well.
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

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cryoscope::evidence::OpenOptions;

/// The program under test, built by `make bench`.
const PROGRAM: &str = "target/release/cryoscope";
const NEEDLE: &str = "CRYOSCOPE-NEEDLE";
/// Matches of one pattern that the program tells of one process.
const MAX_MATCHES: usize = 10_000;

/// Rule, pattern, offset in the pages file, length.
type Match = (String, String, u64, u64);

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
        "| rules over {gib:.1} GiB of one process | matches | cryoscope | GB/s | on one thread | {} | ratio | on one thread |",
        peer.name
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
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
    let args = ["search", "-q", "--json", "--context", "0", tar.to_str().unwrap(), "--in", "memory", "--pid", "1"];
    let own = |threads: Option<&str>| {
        let mut command = Command::new(program);
        command.args(args).arg("--yara").arg(rules).envs(threads.map(|threads| ("RAYON_NUM_THREADS", threads)));
        best_of_3(&mut command)
    };
    let ((out, all), (_, one)) = (own(None), own(Some("1")));
    let found = own_matches(&out);
    let gb_per_s = len as f64 / all.as_secs_f64() / 1e9;
    let (theirs, ratio, ratio_of_one) = if peer.program.is_empty() {
        ["-"; 3].map(str::to_owned).into()
    } else {
        let mut command = Command::new(&peer.program);
        let max = MAX_MATCHES.to_string();
        match peer.name {
            "yr" => command.args(["scan", "-s", "-w", "-p", "1", "--max-matches-per-pattern", &max]),
            _ => command.args(["-s", "-L", "-w", "-p", "1"]),
        };
        let (out, time) = best_of_3(command.arg(rules).arg(pages));
        assert!(found == peer_matches(&out), "{what}: other matches");
        let ratio = |own: Duration| format!("{:.2}", time.as_secs_f64() / own.as_secs_f64());
        (format!("{:.2} s", time.as_secs_f64()), ratio(all), ratio(one))
    };
    let (nr, all, one) = (found.len(), all.as_secs_f64(), one.as_secs_f64());
    println!("| {what} | {nr} | {all:.2} s | {gb_per_s:.2} | {one:.2} s | {theirs} | {ratio} | {ratio_of_one} |");
}

/// Of JSON lines.
fn own_matches(out: &str) -> BTreeSet<Match> {
    let matched = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| line[key].as_str().unwrap().to_owned();
        let offset = word("where").rsplit_once("+0x").map(|(_, digits)| u64::from_str_radix(digits, 16).unwrap());
        (word("rule"), word("pattern"), offset.unwrap(), line["length"].as_u64().unwrap())
    };
    out.lines().map(matched).collect()
}

/// Of `rule file` and under it `0xoffset:length:$pattern: bytes`; the first matches of each pattern.
fn peer_matches(out: &str) -> BTreeSet<Match> {
    let (mut rule, mut found, mut last, mut of_last) = ("", BTreeSet::new(), ("", ""), 0);
    for line in out.lines() {
        let parts: Vec<&str> = line.splitn(4, ':').collect();
        let (Some(digits), [_, len, pattern, _]) = (line.strip_prefix("0x"), &parts[..]) else {
            rule = line.split(' ').next().unwrap();
            continue;
        };
        of_last = if last == (rule, *pattern) { of_last + 1 } else { 0 };
        last = (rule, pattern);
        if of_last < MAX_MATCHES {
            let offset = u64::from_str_radix(digits.split(':').next().unwrap(), 16).unwrap();
            found.insert((rule.to_owned(), (*pattern).to_owned(), offset, len.parse().unwrap()));
        }
    }
    found
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
