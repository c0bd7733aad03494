//! The evidence layer over archives that real engines wrote.
#![expect(clippy::disallowed_methods, reason = "tests read the fixtures")]

use std::path::{Path, PathBuf};

use cryoscope::base::Silent;
use cryoscope::evidence::{CheckpointRoot, Compression, Evidence, OpenOptions, find_checkpoints};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn open(name: &str) -> Evidence {
    let evidence = Evidence::open(&fixture(name), &OpenOptions::default(), &Silent).expect(name);
    assert_eq!(evidence.issues(), [], "{name}");
    evidence
}

fn checkpoints(evidence: &Evidence) -> Vec<CheckpointRoot> {
    let (found, issues) =
        find_checkpoints(evidence, &OpenOptions::default(), &Silent).expect("not cancelled, no limit");
    assert_eq!(issues, [], "{}", evidence.name());
    found
}

#[test]
fn every_fixture_opens_without_an_issue_and_holds_a_checkpoint() {
    let mut opened = 0;
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.contains(".tar") && name != "criu-plain" {
            continue;
        }
        let evidence = open(&name);
        let found = checkpoints(&evidence);
        assert!(!found.is_empty(), "{name}");
        for member in evidence.members().iter().filter(|member| member.is_file()) {
            assert_eq!(evidence.read(member).unwrap().len() as u64, member.size_bytes, "{name}");
        }
        opened += 1;
    }
    assert!(10 < opened, "only {opened} fixtures");
}

#[test]
fn one_archive_in_five_packings_has_the_same_members() {
    let plain = open("compressed.tar");
    for (suffix, compression) in
        [("gz", Compression::Gzip), ("zst", Compression::Zstd), ("xz", Compression::Xz), ("bz2", Compression::Bzip2)]
    {
        let packed = open(&format!("compressed.tar.{suffix}"));
        assert_eq!(packed.compression(), compression);
        assert_eq!(packed.members().len(), plain.members().len());
        for (one, other) in plain.members().iter().zip(packed.members()) {
            assert_eq!((&one.path, one.mtime, &one.kind), (&other.path, other.mtime, &other.kind));
            assert_eq!(plain.read(one).ok(), packed.read(other).ok());
        }
    }
}

#[test]
fn checkpoint_images_are_opened_down_to_their_layer() {
    for (name, reference, annotation, value) in [
        (
            "podman-oci.tar",
            "localhost/fixtures/checkpoint:1",
            "io.podman.annotations.checkpoint.host.arch",
            Some("amd64"),
        ),
        (
            "crio-checkpoint-oci.tar.zst",
            "localhost:5000/checkpoint-counter:crio",
            "io.kubernetes.cri-o.annotations.checkpoint.name",
            Some("counter"),
        ),
    ] {
        let found = checkpoints(&open(name));
        let [root] = &found[..] else { panic!("{name}: {} checkpoints", found.len()) };
        assert_eq!((&root.images_dir[..], &root.base_dir[..]), (&b"checkpoint"[..], &b""[..]));
        let oci = root.oci.as_ref().unwrap();
        assert_eq!(oci.reference.as_deref(), Some(reference));
        assert_eq!(oci.annotation(annotation), value, "{:?}", oci.annotations);
        assert!(root.evidence.get(b"spec.dump").is_some());
    }
}

#[test]
fn a_chain_of_incremental_dumps_is_one_checkpoint_with_its_parent() {
    let found = checkpoints(&open("incremental.tar"));
    let [root] = &found[..] else { panic!("{} checkpoints", found.len()) };
    assert_eq!((&root.images_dir[..], root.parent_dir.as_deref()), (&b"3"[..], Some(&b"2"[..])));
}

#[test]
fn archives_inside_an_archive_open() {
    let evidence = open("rootfs-changes.tar.zst");
    let mut opened = Vec::new();
    for member in evidence.members() {
        let name = member.display_path();
        if name.ends_with(".tar") || name.ends_with(".tar.gz.img") {
            let nested = evidence.open_nested(member, &OpenOptions::default(), &Silent).unwrap();
            assert_eq!(nested.issues(), [], "{name}");
            opened.push(name.into_owned());
        }
    }
    assert!(opened.iter().any(|name| name == "rootfs-diff.tar"), "{opened:?}");
    assert!(opened.iter().any(|name| name.starts_with("checkpoint/tmpfs-dev-")), "{opened:?}");
}
