//! `inspect --json` says the same as /proc said when the processes were frozen.
//!
//! `fixtures/NAME.proc.json` is what /proc said (`fixtures/record_proc.py`). Every difference that is borne is named
//! in [`Tolerated`] with its reason; one that no longer occurs in any fixture fails the test, so that the list stays
//! as short as it can be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cryoscope::cli::{Streams, Terminals, run};
use serde_json::Value;

/// A difference that is borne, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tolerated {}

/// Fields that are compared as they are.
const PROCESS_FIELDS: [&str; 24] = [
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
    "loginuid",
    "personality",
    "state",
];

const THREAD_FIELDS: [&str; 14] = [
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
    "blocked",
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
        for field in PROCESS_FIELDS {
            self.same(&format!("{at} {field}"), &proc[field], &ours[field]);
        }
        for (theirs, field) in [("SigIgn", "ignored"), ("SigCgt", "caught")] {
            self.same(&format!("{at} {theirs}"), &proc["signals"][theirs], &ours["signals"][field]);
        }
        let theirs = by_number(&proc["threads"], "tid");
        let threads = by_number(&ours["threads"], "tid");
        self.same(&format!("{at} tids"), &keys(&theirs), &keys(&threads));
        for (tid, proc) in &theirs {
            let Some(ours) = threads.get(tid) else { continue };
            for field in THREAD_FIELDS {
                let theirs = if field == "blocked" { &proc["signals"]["SigBlk"] } else { &proc[field] };
                self.same(&format!("{at} tid {tid} {field}"), theirs, &ours[field]);
            }
        }
        let theirs = by_number(&proc["fds"], "fd");
        let fds = by_number(&ours["fds"], "fd");
        self.same(&format!("{at} fds"), &keys(&theirs), &keys(&fds));
        for (fd, proc) in &theirs {
            let Some(ours) = fds.get(fd) else { continue };
            let at = format!("{at} fd {fd} ({})", ours["kind"].as_str().unwrap_or("?"));
            for field in ["target", "target_hex", "flags", "pos"] {
                self.same(&format!("{at} {field}"), &proc[field], &ours[field]);
            }
        }
        let theirs = by_start(&proc["maps"]);
        let maps = by_start(&ours["maps"]);
        for start in theirs.keys().chain(maps.keys()).collect::<BTreeSet<_>>() {
            let (theirs, ours) = (theirs.get(start).copied(), maps.get(start).copied());
            let (theirs, ours) = (theirs.unwrap_or(&Value::Null), ours.unwrap_or(&Value::Null));
            let at = format!("{at} map {start:#x}");
            if theirs.is_null() || ours.is_null() {
                self.differs(&at, theirs, ours);
                continue;
            }
            self.same(&format!("{at} end"), &address(&theirs["end"]).into(), &address(&ours["end"]).into());
            for field in ["perms", "offset", "path", "path_hex"] {
                self.same(&format!("{at} {field}"), &theirs[field], &ours[field]);
            }
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
}
