//! What /proc says of one process.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use crate::agent::disk;
use crate::agent::processes::proc_file;

use super::Issues;
use super::sockets::{self, Socket};

/// Most of one file of /proc.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most descriptors, threads and mappings of one process.
const MAX_ITEMS: usize = 1_000_000;
/// Files that go into the archive word for word.
const RAW: [&str; 9] = ["status", "stat", "maps", "cmdline", "environ", "limits", "cgroup", "mountinfo", "auxv"];

/// One process.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Its number on the node.
    pub(super) outside: u32,
    /// Its number in the container.
    pub(super) inside: u32,
    /// All its numbers, from the node's to the innermost.
    pub(super) numbers: Vec<u32>,
    pub(super) parent_outside: u32,
    pub(super) parent_inside: u32,
    pub(super) groups_of: [Vec<u32>; 2],
    pub(super) pgid: u32,
    pub(super) sid: u32,
    pub(super) comm: Vec<u8>,
    pub(super) is_zombie: bool,
    pub(super) is_stopped: bool,
    pub(super) status: BTreeMap<String, String>,
    pub(super) stat: Vec<u64>,
    pub(super) auxv: Vec<u64>,
    pub(super) threads: Vec<Thread>,
    pub(super) maps: Vec<Map>,
    pub(super) fds: Vec<Fd>,
    pub(super) sockets: BTreeMap<u64, Socket>,
    pub(super) exe: Vec<u8>,
    pub(super) cwd: Vec<u8>,
    pub(super) root: Vec<u8>,
    pub(super) raw: Vec<(&'static str, Vec<u8>)>,
}

/// One thread.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    /// Its number on the node.
    pub(super) outside: u32,
    /// All its numbers, from the node's to the innermost.
    pub(super) numbers: Vec<u32>,
    /// Its number in the container.
    pub(super) inside: u32,
    pub(super) comm: Vec<u8>,
}

/// A mapping, by a line of `maps`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) perms: [u8; 4],
    pub(super) offset: u64,
    pub(super) device: String,
    pub(super) inode: u64,
    pub(super) path: Vec<u8>,
}

/// A descriptor.
#[derive(Clone, Debug, Default)]
pub(super) struct Fd {
    pub(super) number: u32,
    pub(super) target: Vec<u8>,
    pub(super) flags: u32,
    pub(super) pos: u64,
}

impl Facts {
    pub(super) fn read(pid: u32, issues: &mut Issues) -> io::Result<Facts> {
        let mut facts = Facts { outside: pid, ..Facts::default() };
        for name in RAW {
            match disk::read_named(&proc_file(pid, name), MAX_FILE_BYTES) {
                Ok(bytes) => facts.raw.push((name, bytes)),
                Err(error) if name == "status" => return Err(error),
                Err(error) => issues.add(format!("/proc/{pid}/{name}: {error}")),
            }
        }
        facts.status = lines(facts.raw_file("status"));
        facts.numbers = facts.numbers_of("NSpid");
        facts.groups_of = [facts.numbers_of("NSpgid"), facts.numbers_of("NSsid")];
        facts.parent_outside = facts.numbers_of("PPid").first().copied().unwrap_or_default();
        let state = facts.status.get("State").and_then(|state| state.chars().next());
        (facts.is_zombie, facts.is_stopped) = (matches!(state, Some('Z' | 'X')), matches!(state, Some('T' | 't')));
        facts.comm = comm(&proc_file(pid, "comm"));
        facts.stat = stat(facts.raw_file("stat"));
        facts.auxv = facts
            .raw_file("auxv")
            .chunks_exact(8)
            .filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)))
            .collect();
        facts.maps =
            String::from_utf8_lossy(facts.raw_file("maps")).lines().take(MAX_ITEMS).filter_map(Map::parse).collect();
        for thread in numbers_in(&proc_file(pid, "task")) {
            let dir = proc_file(pid, "task").join(thread.to_string());
            let status = lines(&disk::read_named(&dir.join("status"), MAX_FILE_BYTES).unwrap_or_default());
            let numbers: Vec<u32> = words(status.get("NSpid")).collect();
            if !numbers.is_empty() {
                facts.threads.push(Thread { outside: thread, numbers, inside: 0, comm: comm(&dir.join("comm")) });
            }
        }
        let link = |name: &str| std::fs::read_link(proc_file(pid, name)).map(|path| path.into_os_string().into_vec());
        if !facts.is_zombie {
            (facts.exe, facts.cwd, facts.root) = (link("exe").unwrap_or_default(), link("cwd")?, link("root")?);
            facts.read_fds(issues);
            facts.sockets = sockets::of(pid);
        }
        Ok(facts)
    }

    pub(super) fn raw_file(&self, name: &str) -> &[u8] {
        self.raw.iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.as_slice()).unwrap_or_default()
    }

    pub(super) fn numbers_of(&self, name: &str) -> Vec<u32> {
        words(self.status.get(name)).collect()
    }

    pub(super) fn page_bytes(&self) -> u64 {
        const AT_PAGESZ: u64 = 6;
        let pairs = self.auxv.chunks_exact(2);
        let size = pairs.filter(|pair| pair[0] == AT_PAGESZ).map(|pair| pair[1]).next();
        size.filter(|size| size.is_power_of_two() && (4096..=1 << 20).contains(size)).unwrap_or(4096)
    }

    fn read_fds(&mut self, issues: &mut Issues) {
        for number in numbers_in(&proc_file(self.outside, "fd")) {
            let name = number.to_string();
            let target = match std::fs::read_link(proc_file(self.outside, "fd").join(&name)) {
                Ok(target) => target.into_os_string().into_vec(),
                Err(error) => {
                    issues.add(format!("descriptor {number} of process {}: {error}", self.outside));
                    continue;
                }
            };
            let info = lines(
                &disk::read_named(&proc_file(self.outside, "fdinfo").join(&name), MAX_FILE_BYTES).unwrap_or_default(),
            );
            let flags = info.get("flags").and_then(|flags| u32::from_str_radix(flags, 8).ok()).unwrap_or_default();
            let pos = info.get("pos").and_then(|pos| pos.parse().ok()).unwrap_or_default();
            self.fds.push(Fd { number, target, flags, pos });
        }
    }
}

impl Map {
    /// `START-END PERMS OFFSET DEVICE INODE  PATH`
    fn parse(line: &str) -> Option<Map> {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
            rest = after;
            word
        };
        let (range, perms, offset, device, inode) = (word(), word(), word(), word(), word());
        let (start, end) = range.split_once('-')?;
        Some(Map {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            perms: perms.as_bytes().try_into().ok()?,
            offset: u64::from_str_radix(offset, 16).ok()?,
            device: device.to_owned(),
            inode: inode.parse().ok()?,
            path: rest.trim_start().as_bytes().to_vec(),
        })
        .filter(|map| map.start < map.end)
    }

    pub(super) fn is_shared(&self) -> bool {
        self.perms[3] == b's'
    }

    /// Shared memory without a file: its content is in no file system.
    pub(super) fn is_shared_memory(&self) -> bool {
        let starts = |prefix: &str| self.path.starts_with(prefix.as_bytes());
        self.is_shared() && (starts("/dev/zero") || starts("/SYSV") || starts("/memfd:"))
    }
}

fn comm(path: &Path) -> Vec<u8> {
    let mut comm = disk::read_named(path, 4096).unwrap_or_default();
    if comm.last() == Some(&b'\n') {
        comm.pop();
    }
    comm
}

/// `NAME:  VALUE` lines.
fn lines(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    text.lines().filter_map(pair).collect()
}

fn words(text: Option<&String>) -> impl Iterator<Item = u32> {
    text.map(String::as_str).unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok())
}

/// Fields of `stat` behind the name, which may itself hold brackets; the first of them is field 3.
fn stat(bytes: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(bytes);
    let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    rest.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect()
}

#[expect(clippy::disallowed_methods, reason = "/proc is the node's own, not evidence")]
pub(super) fn numbers_in(dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<u32> =
        entries.take(MAX_ITEMS).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    found
}
