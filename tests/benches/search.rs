//! Searching all memory of a big checkpoint, side by side with ripgrep where it is installed.
//!
//! `cargo bench --bench search [-- GIB]`. Needs the release build of the program (`make bench` makes it) and the size in
//! the cache directory. The checkpoint is synthetic (`synth.rs`); both programs get the same plain tar, warm. Answers are
//! compared before times are.
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

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cryoscope::evidence::OpenOptions;

/// The program under test, built by `make bench`.
const PROGRAM: &str = "target/release/cryoscope";
const NEEDLE: &str = "CRYOSCOPE-NEEDLE";
/// Runs of each program, of which the best counts.
const RUNS: usize = 4;
/// In text pages every 20 letters in 150 megabytes or so, and no literal to look for.
const REGEX: &str = "[0-9A-F]{20}";

fn main() {
    let gib: f64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1.8);
    let program = std::env::var("CRYOSCOPE").unwrap_or_else(|_| PROGRAM.to_owned());
    let len = (gib * f64::from(1 << 30)) as u64 / 4096 * 4096;
    let cache = OpenOptions::default().cache_dir().unwrap();
    fs::create_dir_all(&cache).unwrap();
    let dir = tempfile::tempdir_in(cache).unwrap();
    let tar = dir.path().join("big.tar");
    synth::big_memory(&tar, len, NEEDLE.as_bytes());
    fs::read(&tar).unwrap(); // warm
    let file = tar.to_str().unwrap();

    println!("| search of {gib:.1} GiB | found | cryoscope | GB/s | peak private | ripgrep | its time | ratio |");
    println!("|---|---:|---:|---:|---:|---|---:|---:|");
    let needles = len.div_ceil(64 << 20);
    let one = case(&program, "one literal", &[NEEDLE], &["-F", NEEDLE], file, len, Some(needles));
    case(&program, "regex without a literal", &["--regex", REGEX], &[&format!("(?-u){REGEX}")], file, len, None);
    let words: Vec<String> = (1..64_u64).map(|nr| format!("w{:x}", nr.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let mut args = vec![NEEDLE];
    words.iter().for_each(|word| args.extend(["-e", word]));
    let mut peer = vec!["-F", "-e", NEEDLE];
    words.iter().for_each(|word| peer.extend(["-e", word]));
    let many = case(&program, "64 literals", &args, &peer, file, len, Some(needles));
    case(
        &program,
        "any case",
        &["-i", "cryoscope-needle"],
        &["-i", "-F", "cryoscope-needle"],
        file,
        len,
        Some(needles),
    );
    case(
        &program,
        "hex with wildcards",
        &["--hex", "43 52 59 ?? 53 4? 4f"],
        &["(?-u)CRY.S[@-O]O"],
        file,
        len,
        Some(needles),
    );
    println!("\n64 literals take {:.2} times as long as one.", many.as_secs_f64() / one.as_secs_f64());
    secrets(&program, &tar, len);
    holes(&program, &dir.path().join("holes.tar"));
}

/// Memory that a search needs does not grow with what it searches: 100 GiB, of which nearly all is a hole of the file.
fn holes(program: &str, tar: &Path) {
    synth::holes(tar, 100 << 30, NEEDLE.as_bytes());
    let args = ["search", "-q", "--count", tar.to_str().unwrap(), NEEDLE];
    let start = Instant::now();
    let private = peak_private(program, &args);
    println!("100 GiB of holes: {:.1} MB private, {:.0} s.", private as f64 / 1e3, start.elapsed().as_secs_f64());
}

/// One search of both; ripgrep counts matches over the whole tar.
fn case(
    program: &str,
    what: &str,
    args: &[&str],
    peer_args: &[&str],
    file: &str,
    len: u64,
    expected: Option<u64>,
) -> Duration {
    let own_args = [&["search", "-q", "--count", file], args].concat();
    let peer_args = [&["-a", "--count-matches", "--no-filename"], peer_args, &[file]].concat();
    let (mut found, mut own) = (0, Duration::MAX);
    let mut peer = None;
    // In turns, so that whatever else the machine does hits both.
    for _ in 0..RUNS {
        let took;
        (found, took) = run(program, &own_args);
        own = own.min(took);
        if let Some(expected) = expected {
            assert_eq!(found, expected, "{what}");
        }
        if installed("rg") {
            let (peer_found, took) = run("rg", &peer_args);
            assert_eq!(found, peer_found, "{what}: ripgrep finds another number");
            peer = Some(peer.map_or(took, |best: Duration| best.min(took)));
        }
    }
    let private = peak_private(program, &own_args);
    let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
    let ratio = peer.map_or_else(|| "–".to_owned(), |peer| format!("{:.2}", peer.as_secs_f64() / own.as_secs_f64()));
    let peer_time = peer.map_or_else(|| "not installed".to_owned(), ms);
    println!(
        "| {what} | {found} | {} | {:.1} | {:.1} MB | rg {} | {peer_time} | {ratio} |",
        ms(own),
        len as f64 / 1e9 / own.as_secs_f64(),
        private as f64 / 1e3,
        peer_args.iter().take(4).copied().collect::<Vec<_>>().join(" "),
    );
    own
}

fn secrets(program: &str, tar: &Path, len: u64) {
    let args = ["search", "-q", "--count", "--secrets", tar.to_str().unwrap()];
    let (found, own) = (0..RUNS).map(|_| run(program, &args)).min_by_key(|run| run.1).unwrap();
    println!(
        "Secrets: {found} in {:.0} ms, {:.1} GB/s.",
        own.as_secs_f64() * 1e3,
        len as f64 / 1e9 / own.as_secs_f64()
    );
}

/// The answer, and how long it took.
fn run(program: &str, args: &[&str]) -> (u64, Duration) {
    let start = Instant::now();
    let output = Command::new(program).args(args).stderr(Stdio::null()).output().unwrap();
    let took = start.elapsed();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{program} {args:?}: {}", output.status);
    (String::from_utf8(output.stdout).unwrap().trim().parse().unwrap_or(0), took)
}

/// The most private memory seen in KiB.
fn peak_private(program: &str, args: &[&str]) -> u64 {
    let mut child = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut private = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = anonymous.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        private = private.max(kib.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(2));
    }
    private
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
