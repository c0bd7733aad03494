//! `inspect --json` says the same as /proc said when the processes were frozen.
//!
//! `fixtures/NAME.proc.json` is what /proc said (`fixtures/record_proc.py`). Every difference that is borne is named
//! in [`Tolerated`] with its reason; one that no longer occurs in any fixture fails the test, so that the list stays
//! as short as it can be.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cryoscope::cli::{Streams, Terminals, run};
use serde_json::Value;

/// A difference that is borne, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tolerated {
    /// CRIU keeps of a zombie its ids, name and exit status; what /proc still says of its credentials, its thread,
    /// its signals and its OOM score is not in the images.
    ZombieIsBare,
    /// CRIU makes one area of `[vvar]` and `[vvar_vclock]`, which kernels since 6.13 show as two.
    VvarIsOneArea,
    /// fdinfo has a position of 0 for kinds of files that have none; CRIU does not write it.
    NoPosition,
    /// CRIU does not write the open flags of tun devices.
    TunFlags,
    /// CRIU does not write inode numbers of packet sockets and namespaces, so `socket:[N]` and `net:[N]` cannot be
    /// told, nor the path of a mapped packet ring.
    InodeNotRecorded,
    /// A thread in sigwait shows in /proc the mask that holds meanwhile; the image has the one it will have again.
    MaskDuringSigwait,
}

const ALL_TOLERATED: [Tolerated; 6] = [
    Tolerated::ZombieIsBare,
    Tolerated::VvarIsOneArea,
    Tolerated::NoPosition,
    Tolerated::TunFlags,
    Tolerated::InodeNotRecorded,
    Tolerated::MaskDuringSigwait,
];

/// Fields that are compared as they are.
const PROCESS_FIELDS: [&str; 29] = [
    "ppid",
    "pgid",
    "sid",
    "comm",
    "comm_hex",
    "state",
    "cmdline",
    "cmdline_hex",
    "environ",
    "environ_hex",
    "exe",
    "exe_hex",
    "cwd",
    "cwd_hex",
    "root",
    "uids",
    "gids",
    "groups",
    "umask",
    "oom_score_adj",
    "rlimits",
    "cap_eff",
    "cap_prm",
    "cap_inh",
    "cap_bnd",
    "cap_amb",
    "no_new_privs",
    "seccomp_mode",
    "seccomp_filters",
];

/// What /proc tells of a zombie and CRIU does not keep.
const NOT_OF_ZOMBIES: [&str; 12] = [
    "uids",
    "gids",
    "groups",
    "oom_score_adj",
    "cap_eff",
    "cap_prm",
    "cap_inh",
    "cap_bnd",
    "cap_amb",
    "no_new_privs",
    "seccomp_mode",
    "seccomp_filters",
];

const THREAD_FIELDS: [&str; 13] = [
    "comm",
    "comm_hex",
    "uids",
    "gids",
    "groups",
    "cap_eff",
    "cap_prm",
    "cap_inh",
    "cap_bnd",
    "cap_amb",
    "no_new_privs",
    "seccomp_mode",
    "seccomp_filters",
];

struct Comparison {
    fixture: String,
    differences: Vec<String>,
    used: BTreeSet<Tolerated>,
}

impl Comparison {
    fn differs(&mut self, at: &str, proc: &Value, ours: &Value) {
        self.differences.push(format!("{}: {at}: /proc {proc}, inspect {ours}", self.fixture));
    }

    fn same(&mut self, at: &str, proc: &Value, ours: &Value) {
        if proc != ours {
            self.differs(at, proc, ours);
        }
    }

    /// Borne when `is_borne`; else as [`Comparison::same`].
    fn same_unless(&mut self, is_borne: bool, why: Tolerated, at: &str, proc: &Value, ours: &Value) {
        if proc != ours && is_borne {
            self.used.insert(why);
        } else {
            self.same(at, proc, ours);
        }
    }

    fn document(&mut self, proc: &Value, ours: &Value) {
        let theirs = by_number(&proc["processes"], "pid");
        let ours = by_number(&ours["processes"], "pid");
        self.same("pids", &keys(&theirs), &keys(&ours));
        for (pid, proc) in &theirs {
            if let Some(ours) = ours.get(pid) {
                self.process(&format!("pid {pid}"), proc, ours);
            }
        }
    }

    fn process(&mut self, at: &str, proc: &Value, ours: &Value) {
        let is_zombie = proc["state"] == "zombie";
        for field in PROCESS_FIELDS {
            let is_bare = is_zombie && NOT_OF_ZOMBIES.contains(&field) && ours[field].is_null();
            self.same_unless(is_bare, Tolerated::ZombieIsBare, &format!("{at} {field}"), &proc[field], &ours[field]);
        }
        if is_zombie {
            // The record has no more of a zombie than this.
            self.same(&format!("{at} threads"), &Value::Array(Vec::new()), &ours["threads"]);
            return;
        }
        self.same(&format!("{at} personality"), &proc["personality"], &ours["personality"]);
        self.same(&format!("{at} loginuid"), &proc["loginuid"], &ours["loginuid"]);
        for (theirs, field) in [("SigIgn", "ignored"), ("SigCgt", "caught")] {
            self.same(&format!("{at} {theirs}"), &proc["signals"][theirs], &ours["signals"][field]);
        }
        self.threads(at, &proc["threads"], &ours["threads"]);
        self.fds(at, &proc["fds"], &ours["fds"]);
        self.maps(at, &proc["maps"], &ours["maps"]);
    }

    fn threads(&mut self, at: &str, proc: &Value, ours: &Value) {
        let (theirs, ours) = (by_number(proc, "tid"), by_number(ours, "tid"));
        self.same(&format!("{at} tids"), &keys(&theirs), &keys(&ours));
        for (tid, proc) in &theirs {
            let Some(ours) = ours.get(tid) else { continue };
            let at = format!("{at} tid {tid}");
            for field in THREAD_FIELDS {
                self.same(&format!("{at} {field}"), &proc[field], &ours[field]);
            }
            let blocked = &proc["signals"]["SigBlk"];
            let waits = self.fixture == "incremental.tar" && blocked == "0000000000000000";
            self.same_unless(waits, Tolerated::MaskDuringSigwait, &format!("{at} blocked"), blocked, &ours["blocked"]);
        }
    }

    fn fds(&mut self, at: &str, proc: &Value, ours: &Value) {
        let (theirs, ours) = (by_number(proc, "fd"), by_number(ours, "fd"));
        self.same(&format!("{at} fds"), &keys(&theirs), &keys(&ours));
        for (fd, proc) in &theirs {
            let Some(ours) = ours.get(fd) else { continue };
            let kind = ours["kind"].as_str().unwrap_or("?");
            let at = format!("{at} fd {fd} ({kind})");
            let is_untold = matches!(kind, "packetsk" | "ns") && ours["target"].is_null();
            let (theirs, told) = (&proc["target"], &ours["target"]);
            self.same_unless(is_untold, Tolerated::InodeNotRecorded, &format!("{at} target"), theirs, told);
            self.same(&format!("{at} target_hex"), &proc["target_hex"], &ours["target_hex"]);
            let is_tun = kind == "tunf" && ours["flags"].is_null();
            self.same_unless(is_tun, Tolerated::TunFlags, &format!("{at} flags"), &proc["flags"], &ours["flags"]);
            let has_none = kind != "reg" && proc["pos"] == 0 && ours["pos"].is_null();
            self.same_unless(has_none, Tolerated::NoPosition, &format!("{at} pos"), &proc["pos"], &ours["pos"]);
        }
    }

    fn maps(&mut self, at: &str, proc: &Value, ours: &Value) {
        let (mut theirs, ours) = (by_start(proc), by_start(ours));
        let clock = theirs.iter().find(|(_, map)| map["path"] == "[vvar_vclock]").map(|(start, map)| (*start, *map));
        if let Some((start, _)) = clock.filter(|(start, _)| !ours.contains_key(start)) {
            self.used.insert(Tolerated::VvarIsOneArea);
            theirs.remove(&start);
        }
        self.same(&format!("{at} maps"), &keys(&theirs), &keys(&ours));
        for (start, proc) in &theirs {
            let Some(ours) = ours.get(start) else { continue };
            let at = format!("{at} map {start:#x}");
            let vvar_end =
                clock.filter(|(clock, _)| *clock == address(&proc["end"])).map(|(_, map)| address(&map["end"]));
            let end = address(&ours["end"]);
            let is_one_area = proc["path"] == "[vvar]" && vvar_end == Some(end);
            let theirs = address(&proc["end"]).into();
            self.same_unless(is_one_area, Tolerated::VvarIsOneArea, &format!("{at} end"), &theirs, &end.into());
            self.same(&format!("{at} perms"), &proc["perms"], &ours["perms"]);
            self.same(&format!("{at} offset"), &proc["offset"], &ours["offset"]);
            let is_ring = ours["kind"] == "socket" && ours["path"] == "";
            let (theirs, told) = (&proc["path"], &ours["path"]);
            self.same_unless(is_ring, Tolerated::InodeNotRecorded, &format!("{at} path"), theirs, told);
            self.same(&format!("{at} path_hex"), &proc["path_hex"], &ours["path_hex"]);
        }
    }
}

fn address(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("an address");
    u64::from_str_radix(digits, 16).expect("hex digits")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn by_number<'a>(items: &'a Value, key: &str) -> BTreeMap<u64, &'a Value> {
    list(items).iter().map(|item| (item[key].as_u64().expect("a number"), item)).collect()
}

fn by_start(maps: &Value) -> BTreeMap<u64, &Value> {
    list(maps).iter().map(|map| (address(&map["start"]), map)).collect()
}

fn keys(map: &BTreeMap<u64, &Value>) -> Value {
    map.keys().copied().collect::<Vec<_>>().into()
}

/// Runs the command line and returns what it printed.
fn cryoscope(args: &[&str]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let streams = Streams { stdin: None, out: &mut out, err: &mut err, terminals: Terminals::default() };
    let code = run(std::iter::once("cryoscope").chain(args.iter().copied()).map(Into::into), streams);
    assert_eq!(code, 0, "{args:?}: {}", String::from_utf8_lossy(&err));
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Name, /proc record and the archives of each fixture that has a record.
#[expect(clippy::disallowed_methods, reason = "reads the fixtures")]
fn recorded() -> Vec<(String, Value, Vec<PathBuf>)> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let of = |name: &str| {
        let is_archive = |path: &&PathBuf| {
            let file = path.file_name().unwrap().to_str().unwrap();
            file == name || file.strip_prefix(name).is_some_and(|rest| rest.starts_with(".tar"))
        };
        names.iter().filter(is_archive).cloned().collect::<Vec<_>>()
    };
    let records = names.iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".proc.json")?;
        let record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Some((name.to_owned(), record, of(name)))
    });
    records.collect()
}

#[test]
fn inspect_agrees_with_proc_on_every_fixture() {
    let recorded = recorded();
    assert!(recorded.len() >= 8, "fixtures are missing: {}", recorded.len());
    let mut differences = Vec::new();
    let mut used = BTreeSet::new();
    for (name, proc, archives) in &recorded {
        assert!(!archives.is_empty(), "{name}: a record without an archive");
        for archive in archives {
            let printed = cryoscope(&["inspect", "--json", archive.to_str().unwrap()]);
            let ours = serde_json::from_str(&printed).unwrap();
            let fixture = archive.file_name().unwrap().to_string_lossy().into_owned();
            let mut comparison = Comparison { fixture, differences: Vec::new(), used: BTreeSet::new() };
            comparison.document(proc, &ours);
            differences.append(&mut comparison.differences);
            used.append(&mut comparison.used);
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
    let unused: Vec<_> = ALL_TOLERATED.iter().filter(|it| !used.contains(it)).collect();
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}
