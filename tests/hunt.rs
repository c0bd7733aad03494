//! Hunting over many archives: the tables, shares, broken archives, and the job for Kubernetes.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

mod cli;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;

use cli::{cryoscope, run_with};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

/// A key that the fixtures' processes hold in memory.
const PATTERN: &str = "RANDOM_1432_KEY";

/// A directory of archives, good and bad.
fn archives() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        fs::create_dir_all(dir.path().join(to).parent().unwrap()).unwrap();
        fs::copy(format!("fixtures/{from}"), dir.path().join(to)).unwrap();
    };
    copy("crio-crun-loop.tar", "a/loop.tar");
    copy("containerd-runc-loop.tar", "b/deeper/loop.tar");
    copy("compressed.tar.zst", "compressed.tar.zst");
    let whole = fs::read("fixtures/crio-crun-loop.tar").unwrap();
    fs::write(dir.path().join("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    fs::write(dir.path().join("broken.tar.zst"), b"\x28\xb5\x2f\xfdnonsense").unwrap();
    fs::write(dir.path().join("notes.txt"), "nothing to see").unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/circle")).unwrap();
    dir
}

fn rows(dir: &Path, table: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.starts_with('.'), "{name} stayed");
        if name.starts_with(table) && name.ends_with(".jsonl") {
            let text = fs::read_to_string(&path).unwrap();
            rows.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    rows.sort_by_key(Value::to_string);
    rows
}

/// The same from Parquet.
fn parquet_rows(dir: &Path, table: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !(name.starts_with(table) && name.ends_with(".parquet")) {
            continue;
        }
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let fields = row.get_column_iter().map(|(name, field)| {
                let value = match field {
                    Field::Null => Value::Null,
                    Field::Str(text) => json!(text),
                    Field::ULong(number) => json!(number),
                    Field::Double(number) => json!(number),
                    other => panic!("{other:?}"),
                };
                (name.clone(), value)
            });
            rows.push(Value::Object(fields.collect()));
        }
    }
    rows
}

/// Fields in the order of their names.
fn sorted(rows: Vec<Value>) -> Vec<String> {
    let mut texts: Vec<String> = rows
        .into_iter()
        .map(|row| {
            let fields: std::collections::BTreeMap<String, Value> = serde_json::from_value(row).unwrap();
            serde_json::to_string(&fields).unwrap()
        })
        .collect();
    texts.sort();
    texts
}

#[test]
fn hunt_finds_what_search_finds_and_broken_archives_are_rows() {
    let (dir, out) = (archives(), tempfile::tempdir().unwrap());
    let (from, to) = (dir.path().to_str().unwrap(), out.path().to_str().unwrap());
    let ran = cryoscope(&["hunt", "-e", PATTERN, "--hash", from, "-o", to, "--jobs", "3"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("of 6 archives"), "{}", ran.out);
    let hits = rows(out.path(), "hits");
    let mut n_searched = 0;
    for archive in ["a/loop.tar", "b/deeper/loop.tar", "compressed.tar.zst", "cut.tar"] {
        let path = dir.path().join(archive);
        let path = path.to_str().unwrap();
        let searched = cryoscope(&["search", path, PATTERN, "--json"]);
        let found: Vec<&Value> = hits.iter().filter(|hit| hit["archive"] == path).collect();
        assert_eq!(found.len(), searched.out.lines().count(), "{archive}");
        n_searched += found.len();
        for line in searched.out.lines() {
            let line: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
            assert!(found.iter().any(|hit| line.iter().all(|(name, value)| hit[name] == *value)), "{line:?}");
        }
    }
    assert!(n_searched > 0 && n_searched == hits.len());
    let archives = rows(out.path(), "archives");
    let state = |name: &str| archives.iter().find(|row| row["archive"].as_str().unwrap().ends_with(name)).unwrap();
    assert_eq!(state("a/loop.tar")["state"], "searched");
    assert_eq!(state("a/loop.tar")["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(state("broken.tar.zst")["state"], "unreadable");
    assert_eq!(state("notes.txt")["state"], "unreadable");
    let issues = rows(out.path(), "issues");
    let of = |name: &str| issues.iter().filter(|row| row["archive"].as_str().unwrap().ends_with(name)).count();
    assert!(of("broken.tar.zst") == 1 && of("notes.txt") == 1 && of("cut.tar") > 0, "{issues:#?}");
    for table in ["hits", "issues", "archives"] {
        assert_eq!(sorted(rows(out.path(), table)), sorted(parquet_rows(out.path(), table)), "{table}");
    }
    // What is there is replaced only on demand.
    let again = cryoscope(&["hunt", "-e", PATTERN, from, "-o", to]);
    assert!(again.code == 2 && again.err.contains("--force"), "{}", again.err);
    assert_eq!(cryoscope(&["hunt", "-e", PATTERN, from, "-o", to, "--force"]).code, 0);
}

#[test]
fn shares_together_find_what_one_hunt_finds() {
    let (dir, whole, shares) = (archives(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = dir.path().to_str().unwrap();
    assert_eq!(cryoscope(&["hunt", "-e", PATTERN, from, "-o", whole.path().to_str().unwrap()]).code, 0);
    for index in 0..3 {
        let shard = format!("{index}/3");
        let to = shares.path().to_str().unwrap();
        // A share without hits is no failure.
        let ran = cryoscope(&["hunt", "-e", PATTERN, from, "-o", to, "--shard", &shard, "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["shard"], shard);
    }
    for table in ["hits", "issues"] {
        assert_eq!(rows(whole.path(), table), rows(shares.path(), table));
    }
    assert_eq!(fs::read_dir(shares.path()).unwrap().count(), 18);
}

#[test]
fn lists_and_addresses_are_taken_and_what_is_not_read_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::Builder::new()
        .spawn(move || {
            for line in listener.incoming() {
                let mut line = line.unwrap();
                let mut head = [0; 2000];
                let n = line.read(&mut head).unwrap();
                if head[..n].starts_with(b"GET /loop.tar?secret=1 ") {
                    let bytes = fs::read("fixtures/crio-crun-loop.tar").unwrap();
                    write!(line, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).unwrap();
                    line.write_all(&bytes).unwrap();
                } else {
                    line.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
                }
            }
        })
        .unwrap();
    let list = format!(
        "# two\n{url}/loop.tar?secret=1\n\nfixtures/containerd-runc-loop.tar\ngs://bucket/x.tar\n{url}/gone?secret=2\nmissing.tar\n"
    );
    let ran = run_with(&["hunt", "-e", PATTERN, "--list", "-", "--json"], list.into_bytes(), Default::default());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.out.contains("secret="), "{}", ran.out);
    let rows: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |row: &str, end: &str| {
        rows.iter()
            .filter(|it| it["row"] == row && it["archive"].as_str().unwrap().ends_with(end))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(!of("hit", "/loop.tar").is_empty() && !of("hit", "containerd-runc-loop.tar").is_empty());
    assert!(of("issue", "gs://bucket/x.tar")[0]["what"].as_str().unwrap().contains("https://storage.googleapis.com"));
    assert_eq!(of("issue", "/gone")[0]["what"], "the server answers 403");
    assert_eq!(of("archive", "missing.tar")[0]["state"], "unreadable");
}

#[test]
fn hits_of_one_archive_have_a_limit_that_is_told() {
    let ran = cryoscope(&["hunt", "-e", "e", "--max-count", "5", "fixtures/crio-crun-loop.tar", "--json"]);
    let rows: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |row: &str| rows.iter().filter(|it| it["row"] == row).count();
    assert_eq!(count("hit"), 5);
    assert!(rows.iter().any(|it| it["what"].as_str().is_some_and(|what| what.contains("more than 5 hits"))));
    assert_eq!(rows.last().unwrap()["state"], "stopped");
}

#[test]
fn nothing_found_and_wrong_requests_have_their_codes() {
    let check = |args: &[&str], code: u8, said: &str| {
        let ran = cryoscope(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    };
    check(&["hunt", "-e", "not in there at all", "fixtures/crio-crun-loop.tar"], 1, "0 hits");
    check(&["hunt", "fixtures"], 2, "--pattern");
    check(&["hunt", "-e", "x"], 2, "name archives");
    check(&["hunt", "-e", "(", "--regex", "fixtures"], 2, "--pattern: unclosed group");
    check(&["hunt", "-e", "x", "--kubernetes"], 2, "--image");
    check(&["hunt", "-e", "x", "fixtures", "--shard", "3/3"], 2, "3/10");
}

#[test]
fn job_for_kubernetes_is_indexed_and_its_pods_run_the_same_hunt() {
    let args = [
        "hunt",
        "-e",
        "$(PATH) é: x",
        "--ignore-case",
        "--kubernetes",
        "--image",
        "r.example/cryoscope:1",
        "--archives-claim",
        "evidence",
        "--shards",
        "20",
        "--namespace",
        "forensics",
        "--hash",
    ];
    let ran = cryoscope(&[&args[..], &["--json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["spec"]["accessModes"], json!(["ReadWriteMany"]));
    let job = &items[1];
    assert_eq!(
        (&job["apiVersion"], &job["kind"], &job["metadata"]["namespace"]),
        (&json!("batch/v1"), &json!("Job"), &json!("forensics"))
    );
    let spec = &job["spec"];
    assert_eq!(
        (&spec["completionMode"], &spec["completions"], &spec["parallelism"]),
        (&json!("Indexed"), &json!(20), &json!(10))
    );
    let pod = &spec["template"]["spec"];
    assert_eq!((&pod["restartPolicy"], &pod["automountServiceAccountToken"]), (&json!("Never"), &json!(false)));
    let container = &pod["containers"][0];
    // Each mount has its volume.
    let names = |list: &Value| -> Vec<String> {
        let mut names: Vec<String> =
            list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().into()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
    // The pod's command line is one that this program takes, with the index in its place.
    let args: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
    assert!(args.contains(&"--pattern=$$(PATH) é: x".to_owned()), "{args:?}");
    let args: Vec<String> = args
        .iter()
        .map(|arg| arg.replace("$(JOB_COMPLETION_INDEX)", "19").replace("$$", "$").replace("/results", "."))
        .map(|arg| if arg == "/evidence" { "fixtures/crio-crun-loop.tar".to_owned() } else { arg })
        .collect();
    let out = tempfile::tempdir().unwrap();
    let args: Vec<&str> = args.iter().map(|arg| if arg == "." { out.path().to_str().unwrap() } else { arg }).collect();
    let ran = cryoscope(&args);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    assert!(out.path().join("hits-00019-of-00020.parquet").exists());
}

#[test]
fn job_over_a_bucket_needs_no_volume_and_has_no_secret_in_it() {
    let args = ["hunt", "-e", "x", "--kubernetes", "--image", "i", "--json"];
    let store = ["--endpoint", "https://minio.example", "--region", "eu-1", "--credentials-secret", "case-117"];
    let ran = cryoscope(&[&args[..], &["s3://case-117/nodes/", "--service-account", "hunter"], &store].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    let pod = &list["items"][1]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!((&pod["serviceAccountName"], &pod["automountServiceAccountToken"]), (&json!("hunter"), &json!(false)));
    assert_eq!(container["envFrom"], json!([{"secretRef": {"name": "case-117"}}]));
    let variables = container["env"].as_array().unwrap();
    assert!(variables.contains(&json!({"name": "AWS_ENDPOINT_URL_S3", "value": "https://minio.example"})));
    assert!(variables.contains(&json!({"name": "AWS_REGION", "value": "eu-1"})));
    assert!(container["args"].as_array().unwrap().ends_with(&[json!("--"), json!("s3://case-117/nodes/")]));
    assert!(!ran.out.contains("/evidence"), "{}", ran.out);
    // What is named by a path lies in a volume, the base image too.
    let with = |more: &[&str]| cryoscope(&[&args[..], more].concat());
    for more in [
        &["s3://b", "/evidence/x.tar"][..],
        &["s3://b", "--list", "l"],
        &["s3://b", "--rootfs", "/evidence/i.tar"],
        &[],
    ] {
        let ran = with(more);
        assert!(ran.code == 2 && ran.err.contains("--archives-claim"), "{more:?}: {}", ran.err);
    }
    let ran = with(&["s3://b", "--rootfs", "/evidence/i.tar", "--archives-claim", "c"]);
    assert!(
        ran.out.contains("\"--rootfs=/evidence/i.tar\"") && ran.out.contains("\"mountPath\": \"/evidence\""),
        "{}",
        ran.out
    );
    // Pods would all fail of what is wrong here.
    assert!(with(&["s3://"]).err.contains("names no bucket"));
    let ran = with(&["https://h/a.tar?X-Amz-Signature=1"]);
    assert!(ran.code == 2 && ran.err.contains("--list") && !ran.err.contains("Signature"), "{}", ran.err);
    assert!(with(&["s3://b", "--endpoint", "https://key:secret@h"]).err.contains("credentials in it"));
}

#[test]
fn archives_are_read_with_the_base_image_that_fits() {
    // A text of the C library, which lies in clean pages of files.
    let args =
        ["hunt", "-e", "malloc(): corrupted", "fixtures/process-zoo.tar.zst", "fixtures/crio-crun-loop.tar", "--json"];
    let image = ["--rootfs", "fixtures/base/image.tar.zst", "--rootfs", "fixtures/crun-image.tar"];
    let rows = |more: &[&str]| -> Vec<Value> {
        let ran = cryoscope(&[&args[..], more].concat());
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of = |rows: &[Value], row: &str, name: &str| -> Vec<Value> {
        let is_it = |it: &&Value| it["row"] == row && it["archive"].as_str().unwrap().ends_with(name);
        rows.iter().filter(is_it).cloned().collect()
    };
    let (without, with) = (rows(&[]), rows(&image));
    let n_hits = |rows: &[Value]| of(rows, "hit", "process-zoo.tar.zst").len();
    assert_eq!((n_hits(&without), n_hits(&with)), (0, 120));
    assert_eq!(of(&with, "archive", "process-zoo.tar.zst")[0]["rootfs"], "fixtures/base/image.tar.zst");
    assert_eq!(of(&with, "archive", "loop.tar")[0]["rootfs"], Value::Null);
    let told = of(&with, "issue", "loop.tar");
    assert!(
        told.iter().any(|it| it["kind"] == "rootfs" && it["what"].as_str().unwrap().contains("no file that it maps"))
    );
    let ran = cryoscope(&["hunt", "-e", "x", "fixtures", "--rootfs", "nowhere"]);
    assert!(ran.code == 2 && ran.err.contains("--rootfs: nowhere"), "{}", ran.err);
}

/// Rules in every pod and here are the same files.
#[cfg(feature = "yara")]
#[test]
fn rules_are_hunted_here_and_go_into_a_config_map() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("my rules.yar");
    fs::write(&rules, format!("rule key {{ strings: $a = \"{PATTERN}\" condition: $a }}\n")).unwrap();
    let rules = rules.to_str().unwrap();
    let ran = cryoscope(&["hunt", "--yara", rules, "fixtures/crio-crun-loop.tar", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let hits: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(hits.iter().any(|hit| hit["row"] == "hit" && hit["rule"] == "key" && hit["pattern"] == "$a"), "{hits:#?}");
    let args = ["hunt", "--yara", rules, "--kubernetes", "--image", "i", "--archives-claim", "c", "--json"];
    let list: Value = serde_json::from_str(&cryoscope(&args).out).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!((&items[0]["kind"], items.len()), (&json!("ConfigMap"), 3));
    assert!(items[0]["data"]["0-myrules.yar"].as_str().unwrap().contains(PATTERN));
    let args = items[2]["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(args.contains(&json!("--yara=/rules/0-myrules.yar")), "{args:?}");
    fs::write(rules, "rule broken {").unwrap();
    assert_eq!(cryoscope(&["hunt", "--yara", rules, "--kubernetes", "--image", "i", "--archives-claim", "c"]).code, 2);
}

#[test]
fn hunt_that_could_read_nothing_does_not_say_that_nothing_was_found() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("broken.tar.zst"), b"\x28\xb5\x2f\xfdnonsense").unwrap();
    let path = dir.path().to_str().unwrap();
    let out = tempfile::tempdir().unwrap();
    let out = out.path();
    let hunt = |more: &[&str]| {
        let mut args = vec!["hunt", "-e", PATTERN, path, "--force", "-o", out.to_str().unwrap()];
        args.extend(more);
        cryoscope(&args)
    };
    let whole = hunt(&[]);
    assert_eq!((whole.code, whole.err.contains("no archive could be read")), (2, true), "{}", whole.err);
    assert_eq!(rows(out, "archives").len(), 1, "the tables tell which");
    // A share of one broken archive is no failure of its pod.
    assert_eq!(hunt(&["--shard", "0/1"]).code, 0);
}
