//! Open files, sockets, and what changes in the file systems: looked at from outside of the processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::boot::{pids, read};
use super::watch::Names;
use super::{EVIDENCE, Host, RUN};
use crate::sandbox::disk::ROOTFS;
use crate::sandbox::plan::{RestorePlan, StandIn};
use crate::sandbox::protocol::FromGuest;
use crate::sandbox::watched::{
    Change, FileChange, MAX_CAPTURED, MAX_CHANGES, MAX_OPEN_FILES, MAX_SOCKETS, OpenFile, SocketLine, fit,
};

/// Descriptors that are looked at, in all and of one process.
const MAX_LOOKED_AT: usize = 20_000;
const MAX_OF_ONE: usize = 4_000;
/// Files of a file system that are looked at.
const MAX_WALKED: usize = 20_000;
/// Deepest directory.
const MAX_DEPTH: usize = 64;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Files {
    open: Vec<OpenFile>,
    sockets: Vec<SocketLine>,
    /// Directories that are watched, with where they are in the container.
    places: Vec<(String, String)>,
    seen: BTreeMap<String, State>,
}

/// By what a change is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    change: Change,
    size_bytes: u64,
    changed: (i64, i64),
}

impl Files {
    /// What is there when the processes begin to go on.
    pub(super) fn start(plan: &RestorePlan) -> Files {
        let mut places = vec![(format!("{RUN}/layers/upper"), String::new())];
        let empty = plan.ext_mounts.iter().enumerate().filter(|(_, mount)| mount.stand_in == StandIn::EmptyDir);
        places.extend(empty.map(|(at, mount)| (format!("{RUN}/stand-ins/{at}"), mount.mountpoint.clone())));
        let mut files = Files { places, ..Files::default() };
        files.seen = files.walk();
        files
    }

    /// Tells what is other than before.
    pub(super) fn look(&mut self, root: Option<u32>, host: &Host) {
        let (open, more) = open_files();
        if open != self.open {
            let mut list = open.clone();
            let left_out = fit(&mut list, MAX_OPEN_FILES).saturating_add(more);
            host.say(&FromGuest::OpenFiles { list, left_out });
            self.open = open;
        }
        let sockets = root.map(sockets).unwrap_or_default();
        if sockets != self.sockets {
            let mut list = sockets.clone();
            let left_out = fit(&mut list, MAX_SOCKETS);
            host.say(&FromGuest::Sockets { list, left_out });
            self.sockets = sockets;
        }
        let now = self.walk();
        let mut list = changes(&self.seen, &now);
        if !list.is_empty() {
            let left_out = fit(&mut list, MAX_CHANGES);
            host.say(&FromGuest::Changes { list, left_out });
        }
        self.seen = now;
    }

    fn walk(&self) -> BTreeMap<String, State> {
        let mut seen = BTreeMap::new();
        for (dir, prefix) in &self.places {
            let mut next = vec![(String::new(), 0)];
            while let Some((path, depth)) = next.pop() {
                #[expect(clippy::disallowed_methods, reason = "the machine's own file systems")]
                let Ok(entries) = fs::read_dir(format!("{dir}{path}")) else { continue };
                for entry in entries.filter_map(Result::ok) {
                    if seen.len() >= MAX_WALKED {
                        return seen;
                    }
                    let path = format!("{path}/{}", entry.file_name().to_string_lossy());
                    let Ok(data) = entry.metadata() else { continue };
                    let is_before = prefix.is_empty()
                        && fs::symlink_metadata(Path::new(&format!("{EVIDENCE}/{ROOTFS}{path}"))).is_ok();
                    if data.is_dir() && depth < MAX_DEPTH {
                        next.push((path.clone(), depth + 1));
                        // One that was there before is in the layer for what is in it.
                        if is_before {
                            continue;
                        }
                    }
                    let is_whiteout = data.file_type().is_char_device() && data.rdev() == 0;
                    let change = match (is_whiteout, is_before) {
                        (true, _) => Change::Removed,
                        (false, true) => Change::Changed,
                        (false, false) => Change::New,
                    };
                    let size_bytes = if data.is_file() { data.size() } else { 0 };
                    let state = State { change, size_bytes, changed: (data.ctime(), data.ctime_nsec()) };
                    seen.insert(format!("{prefix}{path}"), state);
                }
            }
        }
        seen
    }
}

fn changes(before: &BTreeMap<String, State>, now: &BTreeMap<String, State>) -> Vec<FileChange> {
    let mut list = Vec::new();
    for (path, state) in now.iter().filter(|(path, state)| before.get(*path) != Some(state)) {
        let was_told = before.get(path).is_some_and(|old| old.change != Change::Removed);
        let change = if state.change == Change::New && was_told { Change::Changed } else { state.change };
        list.push(FileChange { path: cut(path), change, size_bytes: state.size_bytes });
    }
    let gone = before.iter().filter(|(path, state)| state.change != Change::Removed && !now.contains_key(*path));
    list.extend(gone.map(|(path, _)| FileChange { path: cut(path), change: Change::Removed, size_bytes: 0 }));
    list
}

/// Of a path, which is longest in its last part.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_CAPTURED * 4);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", text.get(..end).unwrap_or_default())
}

/// Descriptors of all processes, and how many more there are at least.
fn open_files() -> (Vec<OpenFile>, u64) {
    let (mut out, mut looked_at) = (Vec::new(), 0);
    for pid in pids() {
        let dir = format!("/proc/{pid}/fd");
        #[expect(clippy::disallowed_methods, reason = "descriptors of the container's processes")]
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        let mut fds: Vec<u32> = entries
            .take(MAX_OF_ONE)
            .filter_map(|entry| entry.ok()?.file_name().to_string_lossy().parse().ok())
            .collect();
        fds.sort_unstable();
        looked_at += fds.len();
        let ns_pid = Names::look(pid).and_then(|names| names.pid).unwrap_or(pid);
        for fd in fds {
            if out.len() >= MAX_OPEN_FILES {
                break;
            }
            if let Ok(target) = fs::read_link(format!("{dir}/{fd}")) {
                out.push(OpenFile { pid: ns_pid, fd, target: cut(&target.to_string_lossy()) });
            }
        }
        if looked_at > MAX_LOOKED_AT {
            break;
        }
    }
    let more = looked_at.saturating_sub(out.len()) as u64;
    (out, if looked_at > MAX_OPEN_FILES { more } else { 0 })
}

/// Sockets of a process' network.
fn sockets(pid: u32) -> Vec<SocketLine> {
    let of = |proto: &'static str| {
        let text = read(&format!("/proc/{pid}/net/{proto}")).unwrap_or_default();
        let lines: Vec<SocketLine> =
            text.lines().skip(1).take(MAX_SOCKETS * 4).filter_map(|line| socket(proto, line)).collect();
        lines
    };
    ["tcp", "tcp6", "udp", "udp6"].into_iter().flat_map(of).collect()
}

/// A line of /proc/net/tcp and its like.
fn socket(proto: &str, line: &str) -> Option<SocketLine> {
    const STATES: [&str; 13] = [
        "",
        "ESTAB",
        "SYN-SENT",
        "SYN-RECV",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "UNCONN",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
        "SYN-RECV",
    ];
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let state = usize::from_str_radix(fields.get(3)?, 16).ok()?;
    Some(SocketLine {
        proto: proto.to_owned(),
        local: address(fields.get(1)?)?.to_string(),
        remote: address(fields.get(2)?)?.to_string(),
        state: STATES.get(state).copied().unwrap_or_default().to_owned(),
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Address and port, as words in the machine's byte order and a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_le_bytes());
    if address.len() == 8 {
        return Some((Ipv4Addr::from(word(0)?), port).into());
    }
    let mut bytes = [0; 16];
    for (at, piece) in bytes.chunks_exact_mut(4).enumerate() {
        piece.copy_from_slice(&word(at)?);
    }
    Some((Ipv6Addr::from(bytes), port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read() {
        let line = "   0: 0100007F:1F98 0771 00CB:0000 0A";
        assert_eq!(socket("tcp", line), None);
        let line =
            "   1: 0F02000A:8B2A 077100CB:115C 02 00000001:00000000 01:00000057 00000000     0        0 1234 2 0";
        let socket = socket("tcp", line).unwrap();
        assert_eq!((socket.local.as_str(), socket.remote.as_str()), ("10.0.2.15:35626", "203.0.113.7:4444"));
        assert_eq!((socket.state.as_str(), socket.inode), ("SYN-SENT", 1234));
        assert_eq!(address("B80D0120000000000000000007000000:1A0A").unwrap().to_string(), "[2001:db8::7]:6666");
        for bad in ["", ":", "0:0", "zz00007F:1", "0100007F:10000", "é100007F:1"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_became_of_files_is_told_once() {
        let state = |change, size_bytes| State { change, size_bytes, changed: (1, 0) };
        let before = BTreeMap::from([
            ("/a".to_owned(), state(Change::New, 1)),
            ("/b".to_owned(), state(Change::New, 1)),
            ("/c".to_owned(), state(Change::New, 1)),
        ]);
        let now = BTreeMap::from([
            ("/a".to_owned(), state(Change::New, 1)),
            ("/b".to_owned(), state(Change::New, 9)),
            ("/d".to_owned(), state(Change::New, 4)),
            ("/etc/x".to_owned(), state(Change::Removed, 0)),
        ]);
        let told: Vec<(String, &str)> =
            changes(&before, &now).into_iter().map(|it| (it.path, it.change.word())).collect();
        let expected = [("/b", "changed"), ("/d", "new"), ("/etc/x", "removed"), ("/c", "removed")];
        assert_eq!(told, expected.map(|(path, word)| (path.to_owned(), word)));
    }
}
