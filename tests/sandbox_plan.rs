//! What is told before a restore: what attacks a restorer, and which files are missing.
//!
//! The hostile archives are a real one with members added by hand; each comment says what attack it stands for.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

mod rebuild;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cryoscope::base::Silent;
use cryoscope::checkpoint::{self, Checkpoint};
use cryoscope::decode::Arch;
use cryoscope::decode::schema::MntEntry;
use cryoscope::evidence::{BaseImage, Evidence, OpenOptions};
use cryoscope::sandbox::plan::{
    Config, Danger, Dangers, Isolation, NetworkMode, Plan, Problem, Processor, Rule, Weight, lint, make, needed_files,
    review,
};
use rebuild::{Parts, builder, header};
use serde_json::json;
use tar::{Builder, EntryType};

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

fn open(path: &Path) -> Vec<Arc<Checkpoint>> {
    let options = OpenOptions::default();
    checkpoint::load(&Evidence::open(path, &options, &Silent).unwrap(), &options, &Silent).unwrap()
}

/// A real checkpoint with members that `add` puts in behind, and files that replace its own.
fn with(replaced: &[(&str, Vec<u8>)], add: impl FnOnce(&mut Builder<Vec<u8>>)) -> Arc<Checkpoint> {
    let parts = Parts::of("crio-crun-loop.tar");
    let mut tar = builder(Vec::new());
    for (name, bytes) in &parts.0 {
        if !replaced.iter().any(|(replaced, _)| replaced == name) {
            tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
        }
    }
    for (name, bytes) in replaced.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
    }
    add(&mut tar);
    let options = OpenOptions::default();
    let bytes = tar.into_inner().unwrap();
    let evidence = Evidence::open_bytes("hostile.tar", bytes.into(), &options, &Silent).unwrap();
    checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0)
}

/// Appends a member whose name is written as it stands, `..` and all.
fn raw<W: std::io::Write>(tar: &mut Builder<W>, name: &[u8], kind: EntryType, link: &str, device: (u32, u32)) {
    let mut header = header(0);
    header.set_entry_type(kind);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    if !link.is_empty() {
        header.set_link_name_literal(link).unwrap();
    }
    header.set_device_major(device.0).unwrap();
    header.set_device_minor(device.1).unwrap();
    header.set_cksum();
    tar.append(&header, &[][..]).unwrap();
}

fn plan_of(checkpoint: &Checkpoint) -> Plan {
    let config = Config { rootfs: None, memory_mib: 256, cpus: 1, max_seconds: 60, network: NetworkMode::None };
    make(checkpoint, None, &config)
}

fn ids(dangers: &Dangers) -> Vec<&str> {
    dangers.list.iter().map(|danger| danger.id.as_str()).collect()
}

/// The specification of the real checkpoint, changed.
fn spec(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let parts = Parts::of("crio-crun-loop.tar");
    let mut spec: serde_json::Value = serde_json::from_slice(&parts.0["spec.dump"]).unwrap();
    change(&mut spec);
    serde_json::to_vec(&spec).unwrap()
}

#[test]
fn what_real_runtimes_wrote_is_no_attack() {
    let mut seen = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.contains(".tar") || name == "failures.tar.zst" {
            continue;
        }
        for checkpoint in open(&path) {
            let dangers = lint(&checkpoint);
            assert_eq!(dangers.refusing(Isolation::Machine).collect::<Vec<_>>(), [] as [&Danger; 0], "{name}");
            // Some were made with rights of the host, and say so.
            let is_plain = ["counter", "crio", "containerd"].iter().any(|start| name.starts_with(start));
            assert!(!is_plain || dangers.list.is_empty(), "{name}: {dangers:?}");
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} checkpoints");
}

#[test]
fn names_that_leave_the_tree_are_refused() {
    let checkpoint = with(&[], |tar| {
        raw(tar, b"../../etc/cron.d/x", EntryType::Regular, "", (0, 0));
        raw(tar, b"/root/.ssh/authorized_keys", EntryType::Regular, "", (0, 0));
    });
    assert_eq!(ids(&lint(&checkpoint)), ["leaves-tree@etc/cron.d/x", "leaves-tree@root/.ssh/authorized_keys"]);
}

#[test]
fn members_behind_a_link_are_refused() {
    let checkpoint = with(&[], |tar| {
        raw(tar, b"out", EntryType::Symlink, "/etc", (0, 0));
        raw(tar, b"out/passwd", EntryType::Regular, "", (0, 0));
        // A link that nothing goes through is no danger.
        raw(tar, b"harmless", EntryType::Symlink, "/etc", (0, 0));
    });
    let dangers = lint(&checkpoint);
    assert_eq!(ids(&dangers), ["through-link@out/passwd"]);
    assert_eq!(dangers.list[0].what, "lies behind out, a symbolic link to /etc");
}

#[test]
fn a_log_that_is_a_link_is_refused() {
    // CVE-2026-53489: the log is opened for writing, as root.
    let checkpoint = with(&[("container.log", Vec::new())], |tar| {
        raw(tar, b"container.log", EntryType::Symlink, "/etc/shadow", (0, 0));
    });
    assert_eq!(ids(&lint(&checkpoint)), ["not-a-file@container.log"]);
}

#[test]
fn removing_files_of_the_host_is_refused() {
    // podman#27977.
    let list = serde_json::to_vec(&json!(["../../../etc/shadow", "/tmp/gone", "/", "a/../../b"])).unwrap();
    let checkpoint = with(&[("deleted.files", list)], |_| {});
    assert_eq!(
        ids(&lint(&checkpoint)),
        [
            "deleted-files@deleted.files:/../../../etc/shadow",
            "deleted-files@deleted.files:/",
            "deleted-files@deleted.files:/a/../../b"
        ]
    );
}

#[test]
fn devices_are_refused_but_for_the_harmless_ones() {
    let mut diff = Builder::new(Vec::new());
    raw(&mut diff, b"dev/sda", EntryType::Block, "", (8, 0));
    raw(&mut diff, b"dev/null", EntryType::Char, "", (1, 3));
    raw(&mut diff, b"dev/mem", EntryType::Char, "", (1, 1));
    raw(&mut diff, b"etc/removed", EntryType::Char, "", (0, 0));
    let checkpoint = with(&[("rootfs-diff.tar", diff.into_inner().unwrap())], |tar| {
        raw(tar, b"disk", EntryType::Block, "", (254, 0));
    });
    let dangers = lint(&checkpoint);
    assert_eq!(
        ids(&dangers),
        ["device-node@disk", "device-node@rootfs-diff.tar/dev/sda", "device-node@rootfs-diff.tar/dev/mem"]
    );
    assert_eq!(dangers.list[1].what, "is block device 8:0");
}

#[test]
fn file_systems_that_criu_would_mount_from_a_device_are_refused() {
    let mut parts = Parts::of("crio-crun-loop.tar");
    let mut mounts = parts.records::<MntEntry>("mountpoints-13.img");
    let tmpfs = mounts.iter_mut().find(|mount| &mount.mountpoint[..] == b"/dev").unwrap();
    (tmpfs.source, tmpfs.root_dev, tmpfs.fstype) = ("/dev/sda1".into(), 0x0080_0001, 0);
    parts.set_records("mountpoints-13.img", &mounts);
    let image = parts.image("mountpoints-13.img").to_vec();
    let dangers = lint(&with(&[("checkpoint/mountpoints-13.img", image)], |_| {}));
    assert_eq!(dangers.list.len(), 1, "{dangers:?}");
    assert_eq!(dangers.list[0].rule, Rule::DeviceMount);
}

#[test]
fn hooks_and_injected_devices_are_refused() {
    let hostile = spec(|spec| {
        spec["hooks"] = json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", "x"]}]});
        // CVE-2026-53492.
        spec["annotations"]["cdi.k8s.io/x"] = json!("vendor.com/device=all");
    });
    let dangers = lint(&with(&[("spec.dump", hostile)], |_| {}));
    assert_eq!(ids(&dangers), ["hooks@spec.dump:/hooks/poststop/0", "cdi@spec.dump:cdi.k8s.io/x"]);
}

#[test]
fn parts_of_the_host_are_refused() {
    let hostile = spec(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/host", "type": "bind", "source": "/", "options": ["rbind"]}));
        mounts.push(json!({"destination": "/s", "source": "/var/run/docker.sock", "options": ["bind"]}));
        mounts.push(json!({"destination": "/data", "source": "/srv/data", "options": ["bind"]}));
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
        namespaces.iter_mut().find(|it| it["type"] == "network").unwrap()["path"] = json!("/proc/1/ns/net");
        spec["process"]["capabilities"]["bounding"].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
    });
    let dangers = lint(&with(&[("spec.dump", hostile)], |_| {}));
    assert_eq!(
        ids(&dangers),
        [
            "bind-source@spec.dump:/host",
            "bind-source@spec.dump:/s",
            "host-access@spec.dump:/linux/namespaces/pid",
            "host-access@spec.dump:/linux/namespaces/network",
            "host-access@spec.dump:CAP_SYS_ADMIN"
        ]
    );
}

#[test]
fn rights_of_the_host_are_refused_where_the_host_is_near() {
    let dangers = lint(&open(&fixtures().join("credentials.tar.zst")).remove(0));
    assert!(!dangers.is_refused(Isolation::Machine));
    assert!(dangers.is_refused(Isolation::Namespaces) && dangers.is_refused(Isolation::Engine));
}

#[test]
fn dangers_are_allowed_one_by_one() {
    let list = serde_json::to_vec(&json!(["/../a", "/../b"])).unwrap();
    let mut dangers = lint(&with(&[("deleted.files", list)], |_| {}));
    assert!(dangers.is_refused(Isolation::Machine));
    assert_eq!(
        dangers.allow(&["deleted-files@deleted.files:/../nothing".into()]).unwrap_err(),
        "deleted-files@deleted.files:/../nothing"
    );
    dangers.allow(&["deleted-files@deleted.files:/../a".into()]).unwrap();
    assert_eq!(dangers.refusing(Isolation::Machine).count(), 1);
    dangers.allow(&["deleted-files@deleted.files:/../b".into()]).unwrap();
    assert!(!dangers.is_refused(Isolation::Machine));
}

#[test]
fn more_dangers_than_are_listed_cannot_be_allowed() {
    let list: Vec<String> = (0..5000).map(|nr| format!("/../{nr}")).collect();
    let mut dangers = lint(&with(&[("deleted.files", serde_json::to_vec(&list).unwrap())], |_| {}));
    assert_eq!(dangers.left_out, [(Rule::DeletedFiles, 4800)]);
    let all: Vec<String> = dangers.list.iter().map(|danger| danger.id.clone()).collect();
    dangers.allow(&all).unwrap();
    assert!(dangers.is_refused(Isolation::Machine));
}

#[test]
fn files_are_compared_with_the_base_image() {
    let base = BaseImage::open(&fixtures().join("base/image.tar.zst"), &OpenOptions::default(), &Silent).unwrap();
    let checkpoint = open(&fixtures().join("memory-zoo.tar.zst")).remove(0);
    let all_there = needed_files(&checkpoint, Some(&base));
    assert_eq!(all_there.problems, []);
    assert!(all_there.total > 2 && all_there.in_base + all_there.in_diff == all_there.total, "{all_there:?}");

    let nothing = review(&plan_of(&checkpoint), &checkpoint, None, Processor::Emulated, Arch::X86);
    assert_eq!(nothing.files.problems.len(), all_there.in_base);
    let exe = nothing.files.problems.iter().find(|file| file.path == "/usr/local/bin/memory-zoo").unwrap();
    assert_eq!(exe.problem, Problem::Missing);
    assert!(exe.build_id.as_ref().is_some_and(|id| id.len() == 40), "{exe:?}");
    assert_eq!(exe.used_as, ["exe of 1, 2", "mapped by 1, 2"]);
    assert_eq!(nothing.concerns[0].weight, Weight::Fatal);
    assert!(nothing.concerns[0].what.contains("are missing or others than they were"));

    // Another machine's image: not the same files.
    let other = open(&fixtures().join("counter.tar.zst")).remove(0);
    let others = needed_files(&other, Some(&base));
    assert!(others.problems.iter().any(|file| file.problem == Problem::Missing && file.path.contains("python3")));
}

#[test]
fn a_machine_of_another_kind_is_told() {
    let checkpoint = open(&fixtures().join("memory-zoo.tar.zst")).remove(0);
    let review = review(&plan_of(&checkpoint), &checkpoint, None, Processor::Emulated, Arch::Aarch64);
    assert!(
        review.concerns.iter().any(|concern| concern.what == "the container ran on x86_64, and the machine is aarch64")
    );
}

#[test]
fn mounts_of_the_host_and_pages_of_parents_are_told_to_fail_and_what_containers_have_is_not() {
    let fails = |name: &str, why: &str| {
        let checkpoint = open(&fixtures().join(name)).remove(0);
        let review = review(&plan_of(&checkpoint), &checkpoint, None, Processor::Emulated, Arch::X86);
        review.concerns.iter().any(|it| it.weight == Weight::Fatal && it.what.contains(why))
    };
    const MOUNTS: &str = "the mounts of their host";
    const PARENTS: &str = "earlier checkpoints (2, 1)";
    assert!(fails("criu-plain", MOUNTS) && fails("incremental.tar", MOUNTS) && fails("incremental.tar", PARENTS));
    for name in ["counter.tar.zst", "namespaces.tar", "crun-image.tar", "crio-crun-loop.tar", "docker-checkpoint.tar"] {
        assert!(!fails(name, MOUNTS) && !fails(name, "earlier checkpoints"), "{name}");
    }
}
