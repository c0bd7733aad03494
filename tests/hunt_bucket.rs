//! Hunting in buckets: lists, signatures, lines that break, what stores say, and stores that are hostile.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads and writes its own files"
)]

mod store;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use store::{ACCESS_KEY, SECRET_KEY, Store, WORKLOAD, WORKLOAD_TOKEN};

/// A key that the fixtures' processes hold in memory.
const PATTERN: &str = "RANDOM_1432_KEY";

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `cryoscope hunt -e PATTERN ARGS` with these variables, and checks that no secret is told.
fn hunt(store: &Store, vars: &[(&str, &str)], args: &[&str]) -> Ran {
    let cache = tempfile::tempdir().unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_cryoscope"))
        .args(["hunt", "-e", PATTERN])
        .args(args)
        .env_clear()
        .env("AWS_ENDPOINT_URL_S3", &store.url)
        .env("AWS_REGION", "eu-test-1")
        .env("CRYOSCOPE_CACHE_DIR", cache.path())
        .envs(vars.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: ran.status.code().unwrap(), out: text(ran.stdout), err: text(ran.stderr) };
    for secret in [SECRET_KEY, WORKLOAD[1], WORKLOAD[2], WORKLOAD_TOKEN, "X-Amz-", "Signature="] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{secret}: {ran:?}");
    }
    ran
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];

fn rows(ran: &Ran, row: &str) -> Vec<Value> {
    let all = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|it| it["row"] == row).collect()
}

fn names(ran: &Ran, row: &str) -> Vec<String> {
    let mut names: Vec<String> = rows(ran, row).iter().map(|it| it["archive"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// Keys with archives, good and bad, and such that are hard to spell.
fn objects() -> BTreeMap<String, Vec<u8>> {
    let of = |name: &str| fs::read(format!("fixtures/{name}")).unwrap();
    let whole = of("crio-crun-loop.tar");
    let mut objects = BTreeMap::new();
    let mut put = |key: &str, bytes: Vec<u8>| objects.insert(key.to_owned(), bytes);
    put("a/flaky loop.tar", whole.clone());
    put("a/", Vec::new());
    put("b/case é+&?#=%2F~(1)'*.tar", of("containerd-runc-loop.tar"));
    put("b//deeper/compressed.tar.zst", of("compressed.tar.zst"));
    put("cut.tar", whole[..whole.len() / 2].to_vec());
    put("broken.tar.zst", b"\x28\xb5\x2f\xfdnonsense".to_vec());
    put("notes.txt", b"nothing to see".to_vec());
    objects
}

/// The same as files.
fn directory(objects: &BTreeMap<String, Vec<u8>>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (key, bytes) in objects.iter().filter(|(key, _)| !key.ends_with('/')) {
        let path = dir.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

/// Rows of all tables but for what differs each time, with one name for where they were found.
fn tables(dir: &Path, from: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            for line in fs::read_to_string(&path).unwrap().lines() {
                let mut row: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
                row.remove("seconds");
                lines.push(serde_json::to_string(&row).unwrap().replace(from, "FROM").replace("b/deeper", "b//deeper"));
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn bucket_is_hunted_as_a_directory_with_the_same_files() {
    let objects = objects();
    let (dir, store) = (directory(&objects), Store::new(objects));
    let outs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [here, there, shares] = outs.each_ref().map(|out| out.path().to_str().unwrap());
    let from = dir.path().to_str().unwrap();
    assert_eq!(hunt(&store, &[], &[from, "-o", here, "--hash"]).code, 0);
    let ran = hunt(&store, &KEYS, &["s3://evidence", "-o", there, "--hash"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("of 6 archives"), "{}", ran.out);
    let (wanted, found) = (tables(outs[0].path(), from), tables(outs[1].path(), "s3://evidence"));
    assert!(wanted.len() > 20 && wanted == found, "{wanted:#?}\n{found:#?}");
    // The broken line went on where it broke, and the list came in pages.
    let asked = store.asked();
    let loops: Vec<&String> = asked.iter().filter(|line| line.starts_with("/evidence/a/flaky")).collect();
    assert_eq!(loops.len(), 2, "{loops:?}");
    assert!(loops[1].contains("bytes=") && asked.iter().filter(|line| line.contains("list-type=2")).count() == 4);
    for index in 0..3 {
        let shard = format!("{index}/3");
        let ran = hunt(&store, &KEYS, &["s3://evidence/", "-o", shares, "--hash", "--shard", &shard]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    assert_eq!(tables(outs[2].path(), "s3://evidence"), found);
}

#[test]
fn what_is_named_is_an_object_what_lies_below_it_or_what_begins_so() {
    let tar = fs::read("fixtures/crio-crun-loop.tar").unwrap();
    let keys =
        ["a.tar", "a.tar.old", "a.tar/inner.tar", "case-1/x.tar", "case-2/y.tar", "case-2/checkpoint/inventory.img"];
    let store = Store::new(keys.iter().map(|key| ((*key).to_owned(), tar.clone())).collect());
    let check = |named: &str, wanted: &[&str]| {
        let ran = hunt(&store, &KEYS, &[named, "--json"]);
        let wanted: Vec<String> = wanted.iter().map(|key| format!("s3://evidence/{key}")).collect();
        assert_eq!(names(&ran, "archive"), wanted, "{named}: {}", ran.err);
        ran
    };
    check("s3://evidence/a.tar", &["a.tar", "a.tar/inner.tar"]);
    check("s3://evidence/a.tar/", &["a.tar/inner.tar"]);
    check("s3://evidence/case-1", &["case-1/x.tar"]);
    check("s3://evidence/a.tar.*", &["a.tar.old"]);
    // A checkpoint whose files are objects is told, once.
    let ran = check("s3://evidence/case-*", &["case-1/x.tar"]);
    let issues = rows(&ran, "issue");
    assert!(issues[0]["archive"] == "s3://evidence/case-2/" && issues[0]["what"].as_str().unwrap().contains("pack it"));
    let ran = check("s3://evidence/missing", &["missing"]);
    assert!(ran.out.contains("404 NoSuchKey: there is no object of this name"), "{}", ran.out);
    // A line of a list is one object, and costs no list.
    let n_before = store.asked().len();
    let list = tempfile::NamedTempFile::new().unwrap();
    fs::write(list.path(), "s3://evidence/a.tar\ns3://evidence/case-1/\naz://evidence/x\ns3://evidence/a/../a.tar\n")
        .unwrap();
    let ran = hunt(&store, &KEYS, &["--list", list.path().to_str().unwrap(), "--json"]);
    assert_eq!(names(&ran, "hit"), ["s3://evidence/a.tar", "s3://evidence/case-1/x.tar"]);
    assert_eq!(store.asked().len(), n_before + 3, "{:?}", store.asked());
    let told =
        |archive: &str| rows(&ran, "issue").into_iter().find(|row| row["archive"] == archive).unwrap()["what"].clone();
    assert!(told("az://evidence/x").as_str().unwrap().contains("mount it"));
    assert!(told("s3://evidence/a/../a.tar").as_str().unwrap().contains("no address can name"));
}

#[test]
fn what_a_store_says_is_told_with_what_to_do() {
    let store = Store::new(objects());
    let check = |vars: &[(&str, &str)], args: &[&str], said: &str| {
        let ran = hunt(&store, vars, args);
        assert!(ran.code == 2 && ran.err.contains(said), "{args:?}: {ran:?}");
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    };
    check(
        &KEYS,
        &["s3://gone"],
        "s3://gone/: cannot be listed: the server answers 404 NoSuchBucket: there is no bucket",
    );
    check(&KEYS, &["s3://denied/"], "403 AccessDenied: the credentials may not do this: s3:ListBucket");
    check(&KEYS, &["s3://late"], "403 RequestTimeTooSkewed: the clocks");
    check(&KEYS, &["s3://moved"], "the bucket is in the region us-far-2: give --region us-far-2");
    check(&KEYS, &["s3://evidence", "--region", "us-far-2"], "AuthorizationQueryParametersError");
    check(&[], &["s3://evidence"], "403 AccessDenied: it was asked without credentials: set AWS_ACCESS_KEY_ID");
    check(&KEYS[..1], &["s3://evidence"], "AWS_SECRET_ACCESS_KEY: is not set, and AWS_ACCESS_KEY_ID is");
    check(
        &[KEYS[0], ("AWS_SECRET_ACCESS_KEY", "no")],
        &["s3://evidence"],
        "SignatureDoesNotMatch: AWS_SECRET_ACCESS_KEY",
    );
    check(&[("AWS_ACCESS_KEY_ID", "no"), KEYS[1]], &["s3://evidence"], "InvalidAccessKeyId: the store does not know");
    check(
        &KEYS,
        &["s3://evidence", "--endpoint", "https://a:b@h"],
        "the endpoint: credentials in it would end up in logs",
    );
    check(&KEYS, &["s3://evidence", "--endpoint", "http://127.0.0.1:1"], "nothing listens there");
    check(&KEYS, &["s3://a b/c"], "no bucket can have this name");
    // Who may not list may still read what is named.
    let ran = hunt(&store, &KEYS, &["s3://denied/x.tar", "--json"]);
    assert_eq!(names(&ran, "archive"), ["s3://denied/x.tar"]);
}

#[test]
fn stores_that_are_hostile_are_found_out() {
    let store = Store::new(objects());
    let check = |bucket: &str, said: &str| {
        let ran = hunt(&store, &KEYS, &[bucket]);
        assert!(ran.code == 2 && ran.err.contains(said), "{bucket}: {ran:?}");
    };
    check("s3://circle", "its list goes in a circle");
    check("s3://endless", "its list has no end");
    check("s3://elsewhere/a/", "keys that were not asked for");
    check("s3://huge", "a page of a list that is too long");
    check("s3://page", "is this a store that speaks S3?");
}

#[test]
fn lines_that_break_go_on_where_it_is_the_same_object() {
    let tar = fs::read("fixtures/crio-crun-loop.tar").unwrap();
    let packed = fs::read("fixtures/compressed.tar.zst").unwrap();
    let keys = ["flaky.tar", "plain.tar", "replaced.tar", "stubborn.tar", "stubborn.tar.zst"];
    let objects =
        || keys.iter().map(|key| ((*key).to_owned(), if key.ends_with("zst") { &packed } else { &tar }.clone()));
    let store = Store::new(objects().collect());
    let check = |ran: &Ran, from: &str| {
        assert_eq!(names(ran, "hit"), [format!("{from}/flaky.tar")], "{}", ran.err);
        let issues = rows(ran, "issue");
        let told = |key: &str| {
            let is_it = |row: &&Value| row["archive"] == format!("{from}/{key}");
            issues.iter().find(is_it).unwrap()["what"].as_str().unwrap().to_owned()
        };
        assert!(told("plain.tar").contains("the server does not give the rest alone"), "{}", told("plain.tar"));
        assert!(told("replaced.tar").contains("it was replaced while it was read"), "{}", told("replaced.tar"));
        // What came of a packed one is not searched as if it were all.
        for key in ["stubborn.tar", "stubborn.tar.zst"] {
            assert!(told(key).contains("the line broke after"), "{}", told(key));
        }
        assert!(rows(ran, "archive").iter().filter(|row| row["state"] == "unreadable").count() == 4, "{}", ran.out);
    };
    check(&hunt(&store, &KEYS, &["s3://evidence", "--json"]), "s3://evidence");
    // What lies behind an address is read in the same way.
    let store = Store::new(objects().collect());
    let from = format!("{}/public", store.url);
    let addresses = keys.map(|key| format!("{from}/{key}"));
    let mut args: Vec<&str> = addresses.iter().map(String::as_str).collect();
    args.push("--json");
    check(&hunt(&store, &[], &args), &from);
}

#[test]
fn public_and_busy_buckets_are_read_and_workloads_get_credentials() {
    let objects = BTreeMap::from([("x.tar".to_owned(), fs::read("fixtures/crio-crun-loop.tar").unwrap())]);
    let store = Store::new(objects);
    assert_eq!(hunt(&store, &[], &["s3://public"]).code, 0);
    assert_eq!(hunt(&store, &KEYS, &["s3://busy"]).code, 0);
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), format!("{WORKLOAD_TOKEN}\n")).unwrap();
    let vars = [
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/hunter"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &store.url),
    ];
    let ran = hunt(&store, &vars, &["s3://evidence"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    fs::write(token.path(), "another").unwrap();
    let ran = hunt(&store, &vars, &["s3://evidence"]);
    assert!(
        ran.code == 2 && ran.err.contains("InvalidIdentityToken: the credentials are no longer valid"),
        "{}",
        ran.err
    );
    let ran = hunt(&store, &[vars[0], (vars[1].0, "/nonexistent"), vars[2]], &["s3://evidence"]);
    assert!(ran.code == 2 && ran.err.contains("/nonexistent cannot be read"), "{}", ran.err);
}
