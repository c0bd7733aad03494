//! The way from the node to the desk with faults all the time: lines that are cut anywhere or stand still, a runtime that
//! hangs up, floods and comes late, an agent that is killed every few seconds, pulls that are stopped in the middle. What
//! arrives has to be what the runtime wrote, byte for byte; everything else has to be an error.
//!
//! `cargo bench --bench soak [-- SECONDS]`; 30 when not told.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench may fail, and prints numbers"
)]

#[path = "../agent/daemon.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod daemon;
#[path = "../agent/kubelet.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod kubelet;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cryoscope::acquire::pair::{Wish, pair};
use cryoscope::acquire::wire::JobState;
use cryoscope::acquire::{Client, Nodes, Patience, PullControl, PullError, Route, Target, pull};
use cryoscope::base::{Cancelled, Progress, hex};
use sha2::{Digest as _, Sha256};

use daemon::Daemon;
use kubelet::{CONTAINER, Kubelet, Mood, archive};

const PULLERS: u64 = 3;
/// Between two deaths of the agent.
const LIFE: Duration = Duration::from_secs(4);

/// What was frozen: id of the archive, and what its SHA-256 has to be.
type Frozen = Arc<Mutex<BTreeMap<String, String>>>;

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let seconds: u64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(30);
    let dir = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(dir.path());
    let mut daemon = Daemon::start(dir.path(), &kubelet.arguments());
    let line = Line::start(daemon.address);
    let nodes = Nodes::in_dir(dir.path().join("nodes"));
    let wish = Wish { address: format!("localhost:{}", line.near.port()).parse().unwrap(), name: None, proxy: None };
    let node = pair(&nodes, &wish, &daemon.code().to_text()).unwrap();
    let desk = daemon.pair();
    line.is_bad.store(true, Relaxed);
    let (frozen, counts, is_over) = (Frozen::default(), Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let pullers: Vec<_> = (0..PULLERS)
        .map(|nr| {
            let client = Client::new(&node, &Route::default()).unwrap();
            let (frozen, counts, is_over) = (Arc::clone(&frozen), Arc::clone(&counts), Arc::clone(&is_over));
            let out = dir.path().join(format!("out-{nr}"));
            thread::spawn(move || pull_all_the_time(nr, &client, &out, &frozen, &counts, &is_over))
        })
        .collect();

    let mut random = Random(1);
    let began = Instant::now();
    let mut born = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        if LIFE < born.elapsed() {
            daemon.restart();
            *line.far.lock().unwrap() = daemon.address;
            counts.deaths.fetch_add(1, Relaxed);
            born = Instant::now();
        }
        kubelet.be(match random.below(8) {
            0 => Mood::HangsUp,
            1 => Mood::Floods,
            2 => Mood::Late(Duration::from_millis(300)),
            3 => Mood::Once(500, "a client connected while it was frozen"),
            _ => Mood::Good,
        });
        let content: Vec<u8> = (0..random.below(8 << 20)).map(|_| random.next() as u8).collect();
        *kubelet.archive.lock().unwrap() = archive(&content, "Dumping finished successfully");
        let sha256 = hex(&Sha256::digest(kubelet.archive.lock().unwrap().as_slice()));
        let desk = desk.at(daemon.address);
        let job = desk.freeze(CONTAINER);
        match (job.state, job.archive) {
            (JobState::Done, Some(id)) => drop(frozen.lock().unwrap().insert(id, sha256)),
            (JobState::Failed, None) => drop(counts.not_frozen.fetch_add(1, Relaxed)),
            other => panic!("{other:?}"),
        }
    }
    is_over.store(true, Relaxed);
    pullers.into_iter().for_each(|puller| puller.join().unwrap());

    // After its last death the agent still has all that it ever said it has.
    daemon.restart();
    let desk = desk.at(daemon.address);
    let frozen = frozen.lock().unwrap();
    for (id, sha256) in frozen.iter() {
        let answer = desk.get(&format!("/v1/archives/{id}/content"));
        assert!(answer.is_whole && hex(&Sha256::digest(&answer.body)) == *sha256, "{id}: {}", answer.status);
    }
    let Counts { pulled, resumed, broken, stopped, deaths, not_frozen } = &*counts;
    let count = |count: &AtomicU64| count.load(Relaxed);
    println!(
        "soak of {seconds} s: {} archives frozen, {} refused; {} pulls whole and right, {} of them in several parts; {} given up, \
         {} stopped; {} lines cut; the agent died {} times",
        frozen.len(),
        count(not_frozen),
        count(pulled),
        count(resumed),
        count(broken),
        count(stopped),
        line.cut.load(Relaxed),
        count(deaths)
    );
    assert!(!frozen.is_empty() && 0 < count(pulled), "nothing was tried");
}

#[derive(Default)]
struct Counts {
    pulled: AtomicU64,
    resumed: AtomicU64,
    broken: AtomicU64,
    stopped: AtomicU64,
    deaths: AtomicU64,
    not_frozen: AtomicU64,
}

/// Pulls one archive after another, and some of them to the middle only.
fn pull_all_the_time(nr: u64, client: &Client, out: &Path, frozen: &Frozen, counts: &Counts, is_over: &AtomicBool) {
    std::fs::create_dir_all(out).unwrap();
    let mut random = Random(nr + 100);
    let mut n = 0;
    while !is_over.load(Relaxed) {
        let chosen = {
            let frozen = frozen.lock().unwrap();
            let at = random.below(frozen.len().max(1) as u64) as usize;
            frozen.iter().nth(at).map(|(id, sha256)| (id.clone(), sha256.clone()))
        };
        let Some((id, sha256)) = chosen else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        n += 1;
        let path = out.join(format!("{n}.tar"));
        let mut parts = 0;
        loop {
            parts += 1;
            let control = PullControl::new(Patience { tries: 6, first_wait: Duration::from_millis(20) });
            let until = if random.below(3) == 0 { random.below(4 << 20) } else { u64::MAX };
            match pull(client, "authority", &id, &Target::File(path.clone()), &control, &StopAfter(until)) {
                Ok(pulled) => {
                    let bytes = std::fs::read(&pulled.path).unwrap();
                    assert_eq!(hex(&Sha256::digest(&bytes)), sha256, "{id} is another archive here than there");
                    counts.pulled.fetch_add(1, Relaxed);
                    counts.resumed.fetch_add(u64::from(parts > 1), Relaxed);
                    std::fs::remove_file(&pulled.path).unwrap();
                    break;
                }
                Err(error) => {
                    assert!(!path.exists(), "a part is taken for the whole: {error}");
                    let is_stopped = matches!(error, PullError::Cancelled(_));
                    (if is_stopped { &counts.stopped } else { &counts.broken }).fetch_add(1, Relaxed);
                    // The line may be bad, and the agent dead; nobody lies here.
                    let is_expected =
                        matches!(error, PullError::Cancelled(_) | PullError::Client(_) | PullError::GaveUp { .. });
                    assert!(is_expected, "{id}: {error}");
                }
            }
            if is_over.load(Relaxed) {
                return;
            }
        }
    }
}

/// Stops once so many bytes are there.
struct StopAfter(u64);

impl Progress for StopAfter {
    fn step(&self, done: u64, _total: Option<u64>) -> Result<(), Cancelled> {
        if self.0 < done { Err(Cancelled) } else { Ok(()) }
    }
}

/// A way to the agent on which lines break.
struct Line {
    near: SocketAddr,
    far: Arc<Mutex<SocketAddr>>,
    is_bad: Arc<AtomicBool>,
    cut: Arc<AtomicU64>,
}

impl Line {
    fn start(far: SocketAddr) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = listener.local_addr().unwrap();
        let line = Line { near, far: Arc::new(Mutex::new(far)), is_bad: Arc::default(), cut: Arc::default() };
        let (far, is_bad, cut) = (Arc::clone(&line.far), Arc::clone(&line.is_bad), Arc::clone(&line.cut));
        thread::spawn(move || {
            let mut random = Random(7);
            for near in listener.incoming() {
                let to = *far.lock().unwrap();
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(to)) else { continue };
                // Of three lines one holds, one breaks somewhere, one stands still for a while and breaks.
                let fault = if is_bad.load(Relaxed) { random.below(3) } else { 0 };
                let after = if fault == 0 { u64::MAX } else { random.below(3 << 20) };
                let stands = Duration::from_millis(if fault == 2 { random.below(400) } else { 0 });
                let (near_up, far_up) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || pass(near_up, far_up, u64::MAX, Duration::ZERO));
                let cut = Arc::clone(&cut);
                thread::spawn(move || cut.fetch_add(u64::from(pass(far, near, after, stands)), Relaxed));
            }
        });
        line
    }
}

/// Passes bytes on until one end is gone, or so many have passed: whether it was that.
fn pass(mut from: TcpStream, mut to: TcpStream, after: u64, stands: Duration) -> bool {
    let (mut passed, mut piece) = (0, vec![0; 16 << 10]);
    let is_cut = loop {
        match from.read(&mut piece) {
            Ok(n @ 1..) => {
                if to.write_all(&piece[..n]).is_err() {
                    break false;
                }
                passed += n as u64;
                if after < passed {
                    thread::sleep(stands);
                    break true;
                }
            }
            _ => break false,
        }
    };
    for stream in [from, to] {
        // One that is gone already is gone.
        let _ = stream.shutdown(if is_cut { Shutdown::Both } else { Shutdown::Write });
    }
    is_cut
}

/// Numbers that are the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}
