//! The agent under load: 1,000 list requests at once, 50 downloads of 200 MB at once. Says how long they took and how much memory
//! the agent needed; every answer is checked.
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

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use daemon::{Client, Daemon};
use kubelet::{CONTAINER, Kubelet, archive};

const N_LISTS: usize = 1000;
const N_DOWNLOADS: usize = 50;
const DOWNLOAD_BYTES: usize = 200 << 20;
const MAX_MEMORY_MIB: u64 = 150;

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(dir.path());
    let daemon = Daemon::start(dir.path(), &kubelet.arguments());
    let desk = daemon.pair();

    let began = Instant::now();
    let listed = at_once(N_LISTS, &desk, |client| {
        let answer = client.get("/v1/containers");
        assert_eq!(answer.ok()["containers"].as_array().unwrap().len(), 3);
    });
    report("lists", listed, began, &daemon);

    let content: Vec<u8> =
        (0..DOWNLOAD_BYTES).map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7]).collect();
    *kubelet.archive.lock().unwrap() = archive(&content, "Dumping finished successfully");
    drop(content);
    let job = desk.freeze(CONTAINER);
    let path = format!("/v1/archives/{}/content", job.archive.clone().unwrap_or_else(|| panic!("{job:?}")));
    let expected = Sha256::digest(kubelet.archive.lock().unwrap().as_slice());
    let began = Instant::now();
    let downloaded = at_once(N_DOWNLOADS, &desk, move |client| {
        let mut stream = client.connect().unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        assert_eq!(hash.finalize(), expected, "the bytes are those of the archive");
    });
    report("downloads of 200 MB", downloaded, began, &daemon);
}

fn at_once(n: usize, client: &Client, work: impl Fn(&Client) + Send + Sync + 'static) -> usize {
    let work = Arc::new(work);
    let barrier = Arc::new(Barrier::new(n));
    let threads: Vec<_> = (0..n)
        .map(|_| {
            let (client, work, barrier) = (client.clone(), Arc::clone(&work), Arc::clone(&barrier));
            let started = std::thread::Builder::new().stack_size(512 << 10).spawn(move || {
                barrier.wait();
                work(&client);
            });
            started.unwrap()
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).count()
}

fn report(what: &str, n: usize, began: Instant, daemon: &Daemon) {
    let took = began.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("agent: {n} {what} at once: {took:.2?}, no error; peak memory of the agent {} MiB", peak >> 10);
    assert!(peak >> 10 < MAX_MEMORY_MIB, "more than {MAX_MEMORY_MIB} MiB");
}
