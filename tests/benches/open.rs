//! Opening and decoding big checkpoints, side by side with peers where they are installed.
//!
//! `cargo bench --bench open [-- GIB]`. Needs the release build of the program (`make bench` makes
//! it) and twice the size in the cache directory. The checkpoints are synthetic (`synth.rs`).
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench makes files, runs peers, prints"
)]

#[path = "../rebuild/mod.rs"]
mod rebuild;
#[expect(dead_code, reason = "the other bench makes more of it")]
mod synth;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cryoscope::base::Silent;
use cryoscope::checkpoint;
use cryoscope::evidence::{Evidence, OpenOptions};

/// The program under test, built by `make bench`.
const PROGRAM: &str = "target/release/cryoscope";

fn main() {
    let gib: f64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1.8);
    let len = (gib * f64::from(1 << 30)) as u64 / 4096 * 4096;
    let cache = OpenOptions::default().cache_dir().unwrap();
    fs::create_dir_all(&cache).unwrap();
    let dir = tempfile::tempdir_in(cache).unwrap();

    println!("| work | cryoscope | peak private | peer | peer's time | ratio |");
    println!("|---|---:|---:|---|---:|---:|");
    big_tar(&dir.path().join("big.tar"), len);
    processes(&dir.path().join("many.tar"));
    compressed(dir.path(), len);
}

/// `show` and `inspect --all` of a plain tar that is mostly memory pages.
fn big_tar(path: &Path, len: u64) {
    synth::big_memory(path, len, b"CRYOSCOPE-NEEDLE");
    fs::read(path).unwrap(); // warm
    let file = path.to_str().unwrap();
    for args in [&["show", file][..], &["inspect", "--all", file]] {
        let (own, private) = best_of(5, || run(PROGRAM, args));
        let what = format!("{} of {:.1} GiB", args[..args.len() - 1].join(" "), len as f64 / f64::from(1 << 30));
        match installed("checkpointctl") {
            true => {
                let (peer, _) = best_of(2, || run("checkpointctl", args));
                row(&what, own, Some(private), "checkpointctl", Some(peer));
            }
            false => row(&what, own, Some(private), "checkpointctl", None),
        }
    }
}

/// Every image of a checkpoint of 5,000 processes: opened, decoded, joined.
fn processes(path: &Path) {
    const COUNT: u32 = 5_000;
    synth::many_processes(path, COUNT);
    let load = || {
        let options = OpenOptions::default();
        let evidence = Evidence::open(path, &options, &Silent).unwrap();
        let checkpoint = checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0);
        assert_eq!(checkpoint.processes.len(), COUNT as usize + 2);
        (checkpoint.images.len(), checkpoint.processes.iter().map(|process| process.fds.len()).sum::<usize>())
    };
    let (n_images, n_fds) = load();
    assert!(n_fds > COUNT as usize);
    let (own, _) = best_of(5, || {
        let start = Instant::now();
        load();
        (start.elapsed(), 0)
    });
    let what = format!("decode and join {COUNT} processes, {n_images} images");
    row(&what, own, None, "crit, one call an image (sampled)", crit(path, n_images));
}

/// Time that crit would take for as many images, from a sample of 40 in one process.
fn crit(path: &Path, n_images: usize) -> Option<Duration> {
    const SAMPLE: usize = 40;
    if !installed("crit") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let evidence = Evidence::open(path, &OpenOptions::default(), &Silent).unwrap();
    let cores = evidence.members().iter().filter(|member| member.file_name().starts_with(b"core-")).take(SAMPLE);
    let mut files = Vec::new();
    for member in cores {
        let file = dir.path().join(String::from_utf8_lossy(member.file_name()).as_ref());
        fs::write(&file, evidence.read(member).unwrap()).unwrap();
        files.push(file);
    }
    let start = Instant::now();
    for file in &files {
        run("crit", &["show", file.to_str().unwrap()]);
    }
    Some(start.elapsed() * u32::try_from(n_images).unwrap() / u32::try_from(files.len()).unwrap())
}

/// Opening a zstd archive, against `zstd -dc` into a file.
fn compressed(dir: &Path, len: u64) {
    if !installed("zstd") {
        return;
    }
    let (tar, packed, out) = (dir.join("big.tar"), dir.join("big.tar.zst"), dir.join("out.tar"));
    assert!(Command::new("zstd").args(["-q", "-1", "-T0", "-o"]).args([&packed, &tar]).status().unwrap().success());
    let options = OpenOptions { cache_dir: Some(dir.to_path_buf()), ..OpenOptions::default() };
    let (own, _) = best_of(3, || {
        let start = Instant::now();
        let evidence = Evidence::open(&packed, &options, &Silent).unwrap();
        assert!(evidence.members().len() > 20);
        (start.elapsed(), 0)
    });
    let (peer, _) = best_of(3, || {
        let start = Instant::now();
        let file = fs::File::create(&out).unwrap();
        assert!(Command::new("zstd").args(["-q", "-dc"]).arg(&packed).stdout(file).status().unwrap().success());
        (start.elapsed(), 0)
    });
    row(
        &format!("open a zstd archive of {:.1} GiB", len as f64 / f64::from(1 << 30)),
        own,
        None,
        "zstd -dc > file",
        Some(peer),
    );
}

/// Time of a run, and the most private memory it was seen to have.
fn run(program: &str, args: &[&str]) -> (Duration, u64) {
    let start = Instant::now();
    let mut child = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut private = 0;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{program} {args:?}: {status}");
            return (start.elapsed(), private);
        }
        let smaps = fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).unwrap_or_default();
        let kib =
            |line: &str| line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
        private = private.max(smaps.lines().filter(|line| line.starts_with("Private_Dirty")).map(kib).sum());
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn best_of(n: usize, mut work: impl FnMut() -> (Duration, u64)) -> (Duration, u64) {
    let runs: Vec<(Duration, u64)> = (0..n).map(|_| work()).collect();
    (runs.iter().map(|run| run.0).min().unwrap(), runs.iter().map(|run| run.1).max().unwrap())
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn row(what: &str, own: Duration, private_kib: Option<u64>, peer: &str, peer_time: Option<Duration>) {
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let private = private_kib.map_or_else(|| "–".to_owned(), |kib| format!("{:.1} MB", kib as f64 / 1e3));
    let ratio =
        peer_time.map_or_else(|| "–".to_owned(), |peer| format!("{:.1}", peer.as_secs_f64() / own.as_secs_f64()));
    let peer_time = peer_time.map_or_else(|| "not installed".to_owned(), ms);
    println!("| {what} | {} | {private} | {peer} | {peer_time} | {ratio} |", ms(own));
}
