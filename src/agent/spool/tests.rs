use std::collections::BTreeMap;
use std::io::Write as _;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;

use crate::acquire::manifest::{self, ArchiveFacts, Manifest, NodeFacts};
use crate::acquire::wire::{Container, ContainerState, JobKind, Requester, SourceKind};

use super::writing::Written;
use super::*;

fn spool(path: &Path, limit_bytes: u64) -> Arc<Spool> {
    Arc::new(Spool::open(SpoolConfig { path: path.join("spool"), limit_bytes, reserve_bytes: 0 }, &[]).unwrap())
}

fn manifest(written: &Written) -> Manifest {
    let at = Timestamp::now();
    Manifest {
        schema: manifest::SCHEMA.into(),
        archive: ArchiveFacts {
            name: "a.tar".into(),
            kind: JobKind::Checkpoint,
            size_bytes: written.size_bytes,
            sha256: written.sha256.clone(),
        },
        container: Container {
            id: "c0ffee".into(),
            name: "app".into(),
            pod: None,
            namespace: None,
            image: None,
            image_id: None,
            engine: "podman".into(),
            source: SourceKind::Podman,
            state: ContainerState::Running,
            created: None,
            pid: None,
            labels: BTreeMap::new(),
            problem: None,
            caution: None,
        },
        node: NodeFacts { name: "n".into(), kernel: "k".into(), arch: "a".into(), agent_version: "v".into() },
        requested_by: Requester::default(),
        reason: None,
        requested: at,
        started: at,
        finished: at,
        source: SourceKind::Podman,
        source_version: None,
        command: String::new(),
        log: Vec::new(),
        warnings: Vec::new(),
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn add(spool: &Arc<Spool>, bytes: &[u8]) -> Outcome<String> {
    let writing = spool.begin()?;
    let written = writing.copy(&mut &*bytes, &mut |_| Ok(()))?;
    Ok(writing.finish(&manifest(&written), &key())?.archive.id.clone())
}

fn content(spool: &Spool, id: &str) -> Outcome<Vec<u8>> {
    let (_, mut opened) = spool.open_archive(id)?;
    let mut bytes = Vec::new();
    opened.file.read_to_end(&mut bytes).unwrap();
    opened.check().unwrap();
    Ok(bytes)
}

#[test]
fn archive_survives_a_restart_with_its_manifest_and_mark() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(dir.path(), 1 << 20);
    let id = add(&first, b"bytes of an archive").unwrap();
    first.set_keep(&id, true).unwrap();
    drop(first);
    let again = spool(dir.path(), 1 << 20);
    again.verify_all();
    assert_eq!(content(&again, &id).unwrap(), b"bytes of an archive");
    let archive = again.list().pop().unwrap();
    assert!(archive.keep && archive.size_bytes == 19);
    let signed = again.manifest(&id).unwrap();
    let read = signed.verify(&hex(key().verifying_key().as_bytes())).unwrap();
    read.archive.check(19, &hex(&Sha256::digest(b"bytes of an archive"))).unwrap();
}

#[test]
fn half_written_archive_is_removed_at_start_and_one_without_a_record_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(dir.path(), 1 << 20);
    let writing = first.begin().unwrap();
    writing.copy(&mut &b"half"[..], &mut |_| Ok(())).unwrap();
    let new = writing.path().parent().unwrap().to_owned();
    std::mem::forget(writing);
    let no_record = dir.path().join("spool/0123456789abcdef0123");
    std::fs::create_dir(&no_record).unwrap();
    std::fs::File::create(no_record.join(ARCHIVE)).unwrap();
    assert!(new.exists());
    let again = spool(dir.path(), 1 << 20);
    assert!(!new.exists() && again.list().is_empty());
    assert_eq!(again.state().unwrap().used_bytes, 0);
}

#[test]
fn archive_that_was_stopped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path(), 1 << 20);
    let stopped = |_| Err(Failure::new(409, "cancelled", "stopped"));
    let writing = spool.begin().unwrap();
    assert_eq!(writing.copy(&mut &b"x"[..], &mut { stopped }).unwrap_err().problem.code, "cancelled");
    drop(writing);
    assert_eq!(std::fs::read_dir(dir.path().join("spool")).unwrap().count(), 0);
}

#[test]
fn changed_archive_is_refused_however_it_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(dir.path(), 1 << 20);
    let [longer, touched, replaced, gone, linked] = [0; 5].map(|_| add(&first, b"0123456789").unwrap());
    let path = |id: &str| dir.path().join("spool").join(id).join(ARCHIVE);
    std::fs::OpenOptions::new().append(true).open(path(&longer)).unwrap().write_all(b"x").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::OpenOptions::new().write(true).open(path(&touched)).unwrap().write_all(b"y").unwrap();
    let mtime = std::fs::metadata(path(&replaced)).unwrap().modified().unwrap();
    std::fs::remove_file(path(&replaced)).unwrap();
    std::fs::write(path(&replaced), b"9876543210").unwrap();
    std::fs::File::options().write(true).open(path(&replaced)).unwrap().set_modified(mtime).unwrap();
    std::fs::remove_file(path(&gone)).unwrap();
    std::fs::rename(path(&linked), dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), path(&linked)).unwrap();
    for id in [&longer, &touched, &replaced, &gone] {
        assert_eq!(content(&first, id).unwrap_err().problem.code, "archive-changed", "{id}");
    }
    assert_eq!(content(&first, &linked).unwrap_err().status, 500);
}

#[test]
fn change_that_hides_its_traces_is_found_by_the_hash_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = spool(dir.path(), 1 << 20);
    let id = add(&first, b"0123456789").unwrap();
    let path = dir.path().join("spool").join(&id).join(ARCHIVE);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(b"y").unwrap();
    let dir_of_it = path.parent().unwrap();
    let mut record: entry::Record =
        serde_json::from_slice(&disk::read(&record_path(dir_of_it), 1 << 20).unwrap()).unwrap();
    record.stamp = entry::Stamp::of(&File::open(&path).unwrap()).unwrap();
    disk::write(&record_path(dir_of_it), &serde_json::to_vec(&record).unwrap()).unwrap();
    let again = spool(dir.path(), 1 << 20);
    again.verify_all();
    assert_eq!(content(&again, &id).unwrap_err().problem.code, "archive-changed");
}

#[test]
fn oldest_that_is_not_kept_makes_room_and_what_cannot_fit_costs_nobody_anything() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path(), 100);
    let kept = add(&spool, &[1; 40]).unwrap();
    spool.set_keep(&kept, true).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2));
    let old = add(&spool, &[2; 40]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2));
    let new = add(&spool, &[3; 60]).unwrap();
    let ids = |spool: &Spool| spool.list().into_iter().map(|archive| archive.id).collect::<Vec<_>>();
    assert_eq!(ids(&spool), [new.clone(), kept.clone()], "{old} is gone");
    assert_eq!(add(&spool, &[4; 101]).unwrap_err().problem.code, "no-room");
    assert_eq!(ids(&spool), [new.clone(), kept.clone()]);
    assert_eq!(spool.delete(&kept).unwrap_err().problem.code, "kept");
    spool.delete(&new).unwrap();
    assert_eq!((ids(&spool), spool.state().unwrap().used_bytes), (vec![kept], 40));
}

#[test]
fn archive_of_a_runtime_is_hashed_and_a_link_in_its_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path(), 1 << 20);
    let writing = spool.begin().unwrap();
    assert!(writing.adopt().is_err());
    std::fs::write(writing.path(), b"abc").unwrap();
    assert_eq!(writing.adopt().unwrap().sha256, hex(&Sha256::digest(b"abc")));
    std::fs::remove_file(writing.path()).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", writing.path()).unwrap();
    assert!(writing.adopt().is_err());
}

#[test]
fn name_of_an_archive_has_no_part_that_a_path_could_have() {
    let name = archive_name("checkpoint", &["../../etc", "a/b\0", "ünd"], "2026-11-23T14:42:13.5Z".parse().unwrap());
    assert_eq!(name, "checkpoint-....etc-ab-nd-2026-11-23T14:42:13.500Z.tar");
}
