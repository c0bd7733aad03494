//! What people read, over the fixtures, word for word.

mod cli;

use cli::{cryoscope, run_with};
use cryoscope::cli::Terminals;

/// What a command line prints, and that it ends well.
fn printed(line: &str) -> String {
    let args: Vec<&str> = line.split(' ').collect();
    let ran = cryoscope(&args);
    assert_eq!(ran.code, 0, "{line}: {}", ran.err);
    let err = if ran.err.is_empty() { String::new() } else { format!("--- standard error\n{}", ran.err) };
    format!("{}{err}", ran.out)
}

macro_rules! golden {
    ($($name:ident: $line:literal,)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(printed($line));
        })*
    };
}

golden! {
    show_of_every_engine: "show fixtures/counter.tar.zst fixtures/crio-crun-loop.tar fixtures/containerd-runc-loop.tar \
        fixtures/podman-oci.tar fixtures/docker-checkpoint.tar fixtures/runc-image.tar fixtures/criu-plain --hash",
    inspect_counter_all: "inspect fixtures/counter.tar.zst --all --hash",
    inspect_cri_o: "inspect fixtures/crio-crun-loop.tar",
    inspect_compromised_webapp: "inspect fixtures/compromised-webapp.tar.zst --files --sockets",
    inspect_process_tree: "inspect fixtures/process-zoo.tar.zst",
    inspect_process_details: "inspect fixtures/process-zoo.tar.zst --ps --env --pid 23",
    inspect_zombie: "inspect fixtures/process-zoo.tar.zst --ps --files --maps --env --pid 14",
    inspect_threads: "inspect fixtures/process-zoo.tar.zst --ps --pid 16",
    inspect_credentials: "inspect fixtures/credentials.tar.zst --ps",
    inspect_one_process: "inspect fixtures/fd-zoo.tar.zst --pid 7 --files",
    inspect_sockets: "inspect fixtures/sockets.tar.zst --sockets",
    inspect_namespaces: "inspect fixtures/namespaces.tar --mounts --sockets --stats",
    inspect_memory_maps: "inspect fixtures/memory-zoo.tar.zst --maps",
    images_of_a_directory: "images fixtures/criu-plain",
    images_records_of_a_process_tree: "images fixtures/criu-plain pstree.img",
    images_records_with_a_payload: "images fixtures/criu-plain pipes-data.img",
    images_records_of_netlink: "images fixtures/namespaces.tar ifaddr-10.img",
    images_records_of_a_deleted_file: "images fixtures/fd-zoo.tar.zst ghost-file-2.img",
    files_of_every_source: "files fixtures/fd-zoo.tar.zst",
    search_in_memory_queues_and_files: "search fixtures/fd-zoo.tar.zst secret-",
    search_in_two_processes: "search fixtures/memory-zoo.tar.zst mem-sh",
    search_as_json: "search fixtures/memory-zoo.tar.zst mem-joins --json -C 8",
    search_for_secrets: "search fixtures/compromised-webapp.tar.zst --secrets --in memory,pipe,socket,ghost,rootfs",
    search_for_secrets_as_json: "search fixtures/compromised-webapp.tar.zst --secrets --json --pid 6",
    search_that_counts: "search fixtures/memory-zoo.tar.zst -i MEM- --count --in memory",
    search_for_a_pointer: "search fixtures/memory-zoo.tar.zst --value 0x443130 --max-count 4",
    memory_of_private_and_shared_maps: "memory fixtures/memory-zoo.tar.zst --pid 1 --range 0x7f7a08350000..0x7f7a08353000",
    memory_that_is_not_there: "memory fixtures/memory-zoo.tar.zst --pid 1 --range 0x4bf000..0x4c3020",
    memory_as_json: "memory fixtures/memory-zoo.tar.zst --pid 2 --range 0x7f7a08351ff0+0x20 --json",
    strings_of_a_heap: "strings fixtures/memory-zoo.tar.zst --pid 1 --map [heap] --encoding ascii,utf16le",
    strings_as_json: "strings fixtures/fd-zoo.tar.zst --in ghost --json",
    files_with_odd_names: "files fixtures/rootfs-changes.tar.zst list",
}

#[test]
fn text_is_cut_and_coloured_on_a_terminal() {
    let terminals = Terminals { stdout_width: Some(60), ..Terminals::default() };
    let args = ["inspect", "fixtures/compromised-webapp.tar.zst"];
    let ran = run_with(&args, Vec::new(), terminals);
    assert!(ran.out.contains("\x1b[1mwebapp\x1b[0m"), "{}", ran.out);
    assert!(ran.out.contains('…'), "{}", ran.out);
    let no_color = run_with(&args, Vec::new(), Terminals { no_color: true, ..terminals });
    assert!(!no_color.out.contains('\x1b'));
    assert!(!cryoscope(&args).out.contains('\x1b'));
    assert!(cryoscope(&["inspect", "--color", "always", args[1]]).out.contains('\x1b'));
}

#[test]
fn json_of_inspect_has_every_key_always() {
    let keys = [
        "schema",
        "evidence",
        "container",
        "stats",
        "sizes",
        "processes",
        "sockets",
        "mounts",
        "namespaces",
        "net_namespaces",
        "locks",
        "seccomp",
        "rootfs_diff",
        "coverage",
        "issues",
    ];
    for line in ["inspect --json fixtures/criu-plain", "inspect --json --env fixtures/counter.tar.zst"] {
        let document: serde_json::Value = serde_json::from_str(&printed(line)).unwrap();
        let found: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, keys, "{line}");
        assert_eq!(document["schema"], "cryoscope.inspect/1");
    }
}

#[test]
fn json_of_inspect_is_limited_to_a_process() {
    let printed = printed("inspect --json --pid 7 fixtures/fd-zoo.tar.zst");
    let document: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let pids: Vec<u64> =
        document["processes"].as_array().unwrap().iter().map(|it| it["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, [7]);
}

#[test]
fn streams_of_documents_are_json_lines() {
    let printed = printed("show --json fixtures/counter.tar.zst fixtures/criu-plain");
    let rows: Vec<serde_json::Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["container"], "counter");
    assert!(rows[1]["container"].is_null());
}

#[test]
fn list_names_what_cannot_be_read_and_why() {
    let listed = printed("list fixtures");
    let line = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name}"));
    assert!(line("counter.tar.zst ").contains("localhost/counter:latest"));
    assert!(line("fixtures/criu-plain ").contains("criu"));
    assert!(line("README.md").contains("unreadable: not a checkpoint"));
    assert_eq!(listed.lines().filter(|line| line.contains("workloads")).count(), 0);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&format!("completions {shell}"));
        assert!(["show", "inspect", "images", "files", "list"].iter().all(|it| script.contains(it)), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    printed(&format!("man -q -o {}", dir.path().display()));
    for page in ["cryoscope.1", "cryoscope-inspect.1", "cryoscope-files-extract.1"] {
        assert!(dir.path().join(page).is_file(), "{page}");
    }
}
