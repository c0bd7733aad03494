//! From the node to the desk, with the real daemon: only the container engine behind it is a stand-in, which speaks as much
//! of Podman's API as the daemon asks for.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use serde_json::Value;

use super::cli::{Desk, lines, text, wait_for};
use super::content;

/// What the engine gives as the checkpoint.
const ARCHIVE: &str = "fixtures/counter.tar.zst";
const ID: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

/// A daemon that is killed when dropped.
struct Daemon {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
}

impl Daemon {
    fn start(dir: &Path, listen: &str) -> Daemon {
        let socket = dir.join("podman.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_cryoscope-agent"))
            .args(["serve", "--listen", listen, "--node-name", "node-a", "--kubelet-url", "none", "--cri", "none"])
            .args(["--docker", "none", "--reserve", "1M", "--spool-limit", "100M", "--allow-delete"])
            .arg("--podman")
            .arg(socket)
            .arg("--state-dir")
            .arg(dir.join("state"))
            .arg("--spool")
            .arg(dir.join("spool"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Daemon { child, address, dir: dir.to_owned() }
    }

    fn code(&self) -> String {
        let ran = Command::new(env!("CARGO_BIN_EXE_cryoscope-agent"))
            .args(["pair", "--json", "--state-dir"])
            .arg(self.dir.join("state"))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        serde_json::from_slice::<Value>(&ran.stdout).unwrap()["code"].as_str().unwrap().to_owned()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Podman, as far as the daemon asks, with this archive as the checkpoint.
fn engine(dir: &Path, archive: Vec<u8>) {
    let listener = UnixListener::bind(dir.join("podman.sock")).unwrap();
    let serve = move |mut line: std::os::unix::net::UnixStream| -> std::io::Result<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                line.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let listed = format!(
                r#"[{{"Id":"{ID}","Names":["web"],"Image":"web:1","ImageID":"ab","State":"running","Pid":7,
                "Labels":{{"app":"web"}},"Created":"2026-11-23T14:42:13Z"}}]"#
            );
            let body: &[u8] = if path.ends_with("/version") {
                br#"{"Version":"5.4.2"}"#
            } else if path.contains("/containers/json") {
                listed.as_bytes()
            } else if path.contains("/checkpoint?") {
                &archive
            } else {
                b"{}"
            };
            write!(line, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
            line.write_all(body)?;
        }
    };
    thread::Builder::new()
        .spawn(move || {
            for line in listener.incoming() {
                let (serve, line) = (serve.clone(), line.unwrap());
                // The daemon hangs up when it has what it wants.
                thread::Builder::new().spawn(move || drop(serve(line))).unwrap();
            }
        })
        .unwrap();
}

/// A tunnel whose lines are cut after so many bytes each, as long as there are such numbers; then they hold, slowly.
fn tunnel(to: SocketAddr, cuts: &[usize], is_slow: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = listener.local_addr().unwrap();
    let (cuts, n_cut) = (Arc::new(Mutex::new(cuts.to_vec())), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&n_cut);
    thread::Builder::new()
        .spawn(move || {
            for line in listener.incoming() {
                let Ok(mut line) = line else { continue };
                let Ok(mut far) = TcpStream::connect(to) else { continue };
                let (mut up_from, mut up_to) = (line.try_clone().unwrap(), far.try_clone().unwrap());
                thread::Builder::new()
                    .spawn(move || {
                        let _ = std::io::copy(&mut up_from, &mut up_to);
                        let _ = up_to.shutdown(std::net::Shutdown::Write);
                    })
                    .unwrap();
                let (cuts, n_cut) = (Arc::clone(&cuts), Arc::clone(&n_cut));
                thread::Builder::new()
                    .spawn(move || {
                        let (mut piece, mut passed) = (vec![0; 16 << 10], 0);
                        while let Ok(n @ 1..) = far.read(&mut piece) {
                            if line.write_all(&piece[..n]).is_err() {
                                break;
                            }
                            passed += n;
                            let mut cuts = cuts.lock().unwrap();
                            if cuts.first().is_some_and(|after| *after < passed) {
                                cuts.remove(0);
                                n_cut.fetch_add(1, SeqCst);
                                break;
                            }
                            drop(cuts);
                            if is_slow {
                                thread::sleep(Duration::from_millis(2));
                            }
                        }
                        let _ = line.shutdown(std::net::Shutdown::Both);
                        let _ = far.shutdown(std::net::Shutdown::Both);
                    })
                    .unwrap();
            }
        })
        .unwrap();
    (near, counted)
}

fn only_file(dir: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    file.clone()
}

#[test]
fn container_comes_from_node_to_desk_over_a_line_that_is_cut_three_times() {
    let (node, desk) = (tempfile::tempdir().unwrap(), Desk::new());
    engine(node.path(), fs::read(ARCHIVE).unwrap());
    let daemon = Daemon::start(node.path(), "127.0.0.1:0");
    desk.good(&["pair", &daemon.address.to_string(), &daemon.code()]);
    let listed: Value = serde_json::from_str(&desk.good(&["list", "node-a", "--json"])).unwrap();
    assert_eq!((&listed["containers"][0]["name"], &listed["containers"][0]["id"]), (&"web".into(), &ID.into()));
    let (near, n_cut) = tunnel(daemon.address, &[300_000, 500_000, 200_000], false);
    let near = format!("localhost:{}", near.port());
    let args = ["node-a", "web", "-o", "evidence", "--reason", "case 1432", "--address", &near, "--json"];
    let out = lines(&desk.good(&args));
    assert_eq!(n_cut.load(SeqCst), 3);
    assert_eq!(out.iter().filter(|line| line["event"] == "note").count(), 3, "{out:#?}");
    let done = out.last().unwrap();
    assert_eq!((&done["event"], &done["verified"], &done["node"]), (&"done".into(), &true.into(), &"node-a".into()));
    assert_eq!(done["manifest"]["reason"], "case 1432");
    let file = only_file(&desk.out());
    assert_eq!(fs::read(&file).unwrap(), fs::read(ARCHIVE).unwrap());
    let shown = file.to_str().unwrap();
    assert!(desk.good(&["verify", shown]).contains("good: web of node-a"));
    // It opens, and so does what the daemon keeps of it.
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
    inspect.args(["inspect", "--json", "--hash", shown]).env("CRYOSCOPE_DATA_DIR", desk.data());
    let opened: Value = serde_json::from_slice(&inspect.output().unwrap().stdout).unwrap();
    let custody = &opened["evidence"]["custody"];
    assert_eq!((&custody["is_good"], &custody["node"]), (&true.into(), &"node-a".into()), "{custody}");
    assert!(!opened["processes"].as_array().unwrap().is_empty());
    let archives: Value = serde_json::from_str(&desk.good(&["archives", "node-a", "--json"])).unwrap();
    assert_eq!(archives["archives"][0]["sha256"], done["sha256"]);
    let id = archives["archives"][0]["id"].as_str().unwrap();
    let kept: Value = serde_json::from_str(&desk.good(&["keep", "node-a", id, "--json"])).unwrap();
    assert_eq!((&kept["id"], &kept["keep"]), (&id.into(), &true.into()));
    assert!(desk.bad(&["delete", "node-a", id]).contains("marked as to stay"));
    assert!(desk.good(&["keep", "node-a", id, "--off"]).contains("may be removed"));
    desk.good(&["delete", "node-a", id]);
    assert!(desk.bad(&["delete", "node-a", id]).contains("no archive with this id"));
    let audit: Value = serde_json::from_str(&desk.good(&["audit", "node-a", "--json"])).unwrap();
    let actions: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().filter_map(|it| it["action"].as_str()).collect();
    for action in ["pair", "checkpoint", "keep", "delete"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
    assert!(desk.good(&["jobs", "node-a"]).contains("done"));
    assert!(desk.good(&["nodes"]).contains("podman 5.4.2"));
}

#[test]
fn daemon_that_is_killed_while_it_serves_costs_nothing_but_time() {
    let (node, desk) = (tempfile::tempdir().unwrap(), Desk::new());
    // More than the buffers of a line hold.
    let archive = content(24 << 20);
    engine(node.path(), archive.clone());
    let mut daemon = Daemon::start(node.path(), "127.0.0.1:0");
    let address = daemon.address.to_string();
    desk.good(&["pair", &address, &daemon.code()]);
    let (near, _) = tunnel(daemon.address, &[], true);
    let near = format!("localhost:{}", near.port());
    let pulling = desk.command(&["node-a", "web", "-o", "evidence", "--address", &near]);
    let mut pulling = { pulling }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let part = || {
        let names = fs::read_dir(desk.out()).into_iter().flatten().flatten();
        names.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|it| it == "part"))
    };
    wait_for(|| part().and_then(|part| fs::metadata(part).ok()).is_some_and(|data| data.len() > 200_000));
    daemon.kill();
    assert!(pulling.try_wait().unwrap().is_none(), "it was over before the daemon was killed");
    let _again = Daemon::start(node.path(), &address);
    let ran = pulling.wait_with_output().unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).contains("going on from byte"), "{}", text(&ran.stderr));
    assert_eq!(fs::read(only_file(&desk.out())).unwrap(), archive);
}
