//! Exit codes, error lines, pipes, and where files are written.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail; it starts the program, and looks at what it wrote"
)]

mod cli;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cli::{cryoscope, run_with};
use cryoscope::cli::Terminals;

/// Exit code 2, nothing on standard output, one line on standard error with all of these words.
fn check_refused(args: &[&str], words: &[&str]) {
    let ran = cryoscope(args);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.starts_with("cryoscope: "), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
}

#[test]
fn errors_are_one_line_that_says_what_where_and_what_to_do() {
    check_refused(&["show", "/no/such.tar"], &["/no/such.tar: no such file"]);
    check_refused(&["inspect", "fixtures/README.md"], &["fixtures/README.md", "open the archive"]);
    check_refused(&["inspect", "fixtures/criu-plain/pstree.img"], &["one CRIU image", "open the directory"]);
    check_refused(&["inspect", "fixtures/workloads"], &["fixtures/workloads", "no CRIU images", "give a checkpoint"]);
    check_refused(
        &["inspect", "fixtures/counter.tar.zst", "--pid", "99"],
        &["pstree.img has no process 99", "there are: 1"],
    );
    check_refused(&["images", "fixtures/criu-plain", "core-1.img"], &["no image file core-1.img", "core-31233.img"]);
    check_refused(&["files", "fixtures/counter.tar.zst", "cat", "/nope"], &["/nope: no such file", "files … list"]);
    check_refused(&["list", "/no/such/dir"], &["/no/such/dir: cannot be listed"]);
    check_refused(&["shwo"], &["shwo: no such file", "cryoscope --help"]);
    check_refused(&["/no/such\n\x1b[2J"], &["/no/such\\n\\x1b[2J"]);
    check_refused(&["fixtures/counter.tar.zst", "show", "x"], &["stands before the command"]);
}

#[test]
fn one_bad_archive_does_not_hide_the_others() {
    let ran = cryoscope(&["show", "/no/one", "fixtures/compressed.tar", "/no/two"]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("localhost/fixtures/small:1"), "{}", ran.out);
    let told: Vec<&str> = ran.err.lines().collect();
    assert_eq!(
        told,
        ["cryoscope: /no/one: no such file or directory", "cryoscope: /no/two: no such file or directory"]
    );
}

#[test]
fn archive_before_its_command_is_told_where_it_belongs() {
    let ran = cryoscope(&["x.tar", "inspect"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.ends_with("The archive stands behind the command: cryoscope inspect x.tar\n"), "{}", ran.err);
    assert!(!cryoscope(&["inspect"]).err.contains("stands behind"));
}

#[test]
fn wrong_searches_say_what_is_wrong_and_what_there_is() {
    let zoo = "fixtures/memory-zoo.tar.zst";
    check_refused(&["search", zoo, "--regex", "("], &["(: unclosed group"]);
    check_refused(&["search", zoo, "--regex", "x*"], &["matches the empty string"]);
    check_refused(&["search", zoo, ""], &["the pattern is empty"]);
    check_refused(&["search", zoo, "--hex", "7f 4"], &["4: not hex", "?"]);
    check_refused(&["search", zoo, "--value", "12u7"], &["12u7: not a number", "443u16"]);
    check_refused(&["search", zoo, "x", "--pid", "99"], &["no process 99", "there are: 1 2"]);
    check_refused(&["search", zoo, "x", "--map", "heap", "--in", "rootfs"], &["add memory to --in"]);
    for (wrong, words) in [
        (&["x", "--in", "heap"][..], "there are memory, pipe"),
        (&["x", "--kind", "heaps"], "there are heap, stack"),
        (&["x", "--perms", "q"], "rwx"),
        (&["x", "--regex", "--hex"], "cannot be used with"),
        (&["x", "--utf16", "--regex"], "cannot be used with"),
        (&[], "<PATTERN>"),
    ] {
        let ran = cryoscope(&[&["search", zoo], wrong].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{wrong:?}");
        assert!(ran.err.contains(words), "{wrong:?}: {}", ran.err);
    }
    let nothing = cryoscope(&["search", zoo, "not in there at all"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (1, ""));
    assert!(nothing.err.starts_with("cryoscope: not searched: 1.5 MiB of clean file pages"), "{}", nothing.err);
    let counted = cryoscope(&["search", "-q", "--count", "--json", zoo, "not in there at all"]);
    assert_eq!((counted.code, counted.out.as_str(), counted.err.as_str()), (1, "{\"count\":0}\n", ""));
    let capped = cryoscope(&["search", "-q", "-m", "3", zoo, "mem-"]);
    assert_eq!((capped.code, capped.out.lines().filter(|line| line.starts_with("  0x")).count()), (0, 3));
}

#[test]
fn raw_memory_is_exact_and_never_over_other_files() {
    let zoo = "fixtures/memory-zoo.tar.zst";
    let memory = |args: &[&str]| cryoscope(&[&["memory", zoo, "--pid", "1"], args].concat());
    check_refused(&["memory", zoo, "--pid", "1", "--range", "1000-2000"], &["nothing mapped there", "--maps"]);
    check_refused(
        &["memory", zoo, "--pid", "1", "--range", "400000-401000", "--raw"],
        &["clean page of a file", "-o FILE"],
    );
    check_refused(&["memory", "fixtures/process-zoo.tar.zst", "--pid", "14"], &["process 14 has no memory", "zombie"]);
    let text = memory(&["--range", "0x7f7a0835d04d+d", "--raw"]);
    assert_eq!((text.code, text.out.as_str()), (0, "mem-anon-9c1e"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("raw");
    let path = file.to_str().unwrap();
    // Two maps with a page between them that nothing maps: offsets in the file are those of the range.
    let ran = memory(&["--range", "0x4bf000..0x4c4000", "--raw", "-o", path]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("16.0 KiB of clean file pages"), "{}", ran.err);
    let raw = std::fs::read(&file).unwrap();
    assert_eq!((raw.len(), &raw[0x4000..0x4004]), (0x5000, &b" .D\0"[..]));
    assert!(raw[..0x4000].iter().all(|byte| *byte == 0));
    check_refused(&["memory", zoo, "--pid", "1", "--raw", "-o", path], &["exists", "--force"]);
    // All of the heap and of a map with 256 MiB of untouched memory: as large, and nearly nothing on the disk.
    let ran = memory(&["--kind", "heap,anon-private", "--raw", "--json", "-o", path, "--force"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let parts: Vec<serde_json::Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = std::fs::metadata(&file).unwrap();
    let total: u64 = parts.iter().map(|part| part["length"].as_u64().unwrap()).sum();
    assert_eq!(found.len(), total);
    assert!(total > 256 << 20 && std::os::unix::fs::MetadataExt::blocks(&found) < 16_384, "{found:?}");
    let heap = parts.iter().find(|part| part["map"] == "[heap]").unwrap();
    let at = usize::try_from(heap["file_offset"].as_u64().unwrap() + 0x2950).unwrap();
    assert_eq!(&std::fs::read(&file).unwrap()[at..at + 13], b"mem-heap-9c1e");

    let copy = dir.path().join("evidence.tar");
    std::fs::copy("fixtures/compressed.tar", &copy).unwrap();
    let copy = copy.to_str().unwrap();
    check_refused(&["memory", copy, "--pid", "1", "--raw", "-o", copy, "--force"], &["is the evidence"]);
    let images = dir.path().join("images");
    std::fs::create_dir(&images).unwrap();
    for entry in std::fs::read_dir("fixtures/criu-plain").unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), images.join(entry.file_name())).unwrap();
    }
    let inside = images.join("new.bin");
    let args = ["memory", images.to_str().unwrap(), "--pid", "31233", "--raw", "-o", inside.to_str().unwrap()];
    check_refused(&args, &["lies in the evidence"]);
    assert!(!inside.exists());
}

#[test]
fn limits_name_the_option_that_raises_them() {
    let small = ["show", "fixtures/counter.tar.zst", "--max-spool-size", "1K"];
    check_refused(&small, &["unpacks to more than 1024 bytes", "--max-spool-size"]);
}

#[test]
fn several_checkpoints_in_one_archive_are_told_apart() {
    check_refused(&["inspect", "fixtures/failures.tar.zst"], &["several checkpoints", "--checkpoint", "2 file-lock"]);
    let by_name = cryoscope(&["inspect", "fixtures/failures.tar.zst", "--checkpoint", "file-lock"]);
    let by_number = cryoscope(&["inspect", "fixtures/failures.tar.zst", "--checkpoint", "2"]);
    assert_eq!((by_name.code, &by_name.out), (0, &by_number.out));
    check_refused(&["inspect", "fixtures/failures.tar.zst", "--checkpoint", "99"], &["has no checkpoint 99"]);
}

#[test]
fn wrong_options_are_code_2_and_help_is_code_0() {
    let wrong = cryoscope(&["inspect"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("<ARCHIVE>"), "{}", wrong.err);
    for help in [&["--help"][..], &["inspect", "--help"], &["files", "x", "extract", "--help"], &["--version"]] {
        let ran = cryoscope(help);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{help:?}");
        assert!(!ran.out.is_empty());
    }
}

#[test]
fn a_dash_is_standard_input() {
    let archive = std::fs::read("fixtures/compressed.tar.gz").unwrap();
    let ran = run_with(&["inspect", "--hash", "-"], archive.clone(), Terminals::default());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let named = cryoscope(&["inspect", "--hash", "fixtures/compressed.tar.gz"]);
    assert_eq!(ran.out, named.out.replace("fixtures/compressed.tar.gz", "-"));
    let twice = run_with(&["show", "-", "-"], archive, Terminals::default());
    assert_eq!(twice.code, 2);
    assert!(twice.err.contains("only once"), "{}", twice.err);
}

#[test]
fn partial_evidence_is_shown_and_is_no_error() {
    let whole = std::fs::read("fixtures/criu-plain/pstree.img").unwrap();
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir("fixtures/criu-plain").unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(dir.path().join("core-31234.img"), &whole[..6]).unwrap();
    let ran = cryoscope(&["inspect", dir.path().to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("31233 plain"), "{}", ran.out);
    assert!(ran.out.contains("core-31234.img+0x"), "{}", ran.out);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cryoscope"))
        .args(["inspect", "--json", "fixtures/process-zoo.tar.zst"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn cat_writes_exact_bytes_and_holes_as_zeros() {
    let ran = cryoscope(&["files", "fixtures/fd-zoo.tar.zst", "cat", "ghost:/home/removed"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "secret-ghost-4f2d"));
    let sparse = cryoscope(&["files", "fixtures/fd-zoo.tar.zst", "cat", "ghost:/home/removed-sparse"]);
    assert_eq!(sparse.out.len(), 1_048_599);
    assert!(sparse.out[4096..1 << 20].bytes().all(|byte| byte == 0));
    let hard_link = cryoscope(&["files", "fixtures/rootfs-changes.tar.zst", "cat", "/srv/hard-link"]);
    let target = cryoscope(&["files", "fixtures/rootfs-changes.tar.zst", "cat", "/srv/added.txt"]);
    assert_eq!(hard_link.out, target.out);
    check_refused(&["files", "fixtures/rootfs-changes.tar.zst", "cat", "/srv/climbing-link"], &["symbolic link"]);
}

fn extract(dir: &Path, more: &[&str]) -> cli::Ran {
    let out = dir.to_str().unwrap();
    let args = ["files", "fixtures/rootfs-changes.tar.zst", "extract", "rootfs:", "-o", out];
    cryoscope(&[&args[..], more].concat())
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn extraction_stays_inside_its_directory_and_makes_plain_files() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let ran = extract(&out, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let srv = out.join("rootfs/srv");
    assert_eq!(std::fs::read(srv.join("added-directory/inside.txt")).unwrap().len(), 7);
    assert_eq!((mode(&srv.join("setuid.sh")), mode(&srv)), (0o600, 0o700));
    assert!(ran.err.contains("climbing-link: skipped: is a symbolic link"), "{}", ran.err);
    assert!(ran.err.contains("null-device: skipped: is a chardev"), "{}", ran.err);
    assert!(!srv.join("climbing-link").exists() && !srv.join("null-device").exists() && !srv.join("fifo").exists());
    let sparse = std::fs::metadata(srv.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 8 << 20);
    assert!(sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
    assert_eq!(std::fs::metadata(srv.join("dated")).unwrap().mtime(), 981_173_106);
    let only = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(only, 1, "something was written beside the directory");
}

#[test]
fn extraction_replaces_only_when_told_and_follows_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("victim"), "untouched").unwrap();
    let out = dir.path().join("out");
    let srv = out.join("rootfs/srv");
    std::fs::create_dir_all(&srv).unwrap();
    std::fs::write(srv.join("empty"), "mine").unwrap();
    std::os::unix::fs::symlink(outside.join("victim"), srv.join("added.txt")).unwrap();
    std::os::unix::fs::symlink(&outside, srv.join("added-directory")).unwrap();
    let ran = extract(&out, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("empty exists; --force replaces it"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(srv.join("empty")).unwrap(), "mine");
    let forced = extract(&out, &["--force", "--preserve-mode"]);
    assert_eq!(forced.code, 0, "{}", forced.err);
    assert_eq!(std::fs::read_to_string(srv.join("empty")).unwrap(), "");
    assert!(srv.join("added.txt").symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
    assert!(forced.err.contains("inside.txt: skipped"), "{}", forced.err);
    assert!(!outside.join("inside.txt").exists());
    assert_eq!(mode(&srv.join("setuid.sh")), 0o755, "set-id bits are never given");
}

#[test]
fn extraction_refuses_to_write_into_the_evidence() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir("fixtures/criu-plain").unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let evidence = dir.path().to_str().unwrap();
    let into = format!("{evidence}/new/out");
    check_refused(&["files", evidence, "extract", "metadata:", "log:", "-o", &into], &["inside the evidence"]);
    assert!(!dir.path().join("new").exists());
}

#[test]
fn ctrl_c_ends_with_130_and_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cryoscope"))
        .args(["show", "-", "--cache-dir"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let archive = std::fs::read("fixtures/compressed.tar.gz").unwrap();
    stdin.write_all(&archive[..2000]).unwrap();
    // The program may still be starting: until it listens, the signal ends it at once, which is no test.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[cfg(not(feature = "gui"))]
#[test]
fn without_the_window_the_command_line_is_named() {
    check_refused(
        &["fixtures/counter.tar.zst"],
        &["without its window", "`cryoscope inspect fixtures/counter.tar.zst`"],
    );
    check_refused(&[], &["without its window", "cryoscope inspect ARCHIVE"]);
}
