//! A checkpoint of Docker as an archive. Docker makes criu's images alone; an analyst needs the rest as well.
//!
//! ```text
//! checkpoint/…      criu's images and descriptors.json, as Docker wrote them
//! spec.dump         the specification that the runtime was given, where containerd has it
//! rootfs-diff.tar   what the container changed, read after it went on
//! deleted.files     what it removed: a JSON list of paths
//! docker.json       which container it is, and how this was made
//! ```
//! `docker.json` has `schema` (`cryoscope.docker/1`), `version` and `container` (what Docker answered to `/version` and
//! `/containers/ID/json` before the freeze), `checkpointed` (RFC 3339, when criu wrote its inventory) and `not_read` (a list of
//! words: what the archive should have and does not).
//!
//! What Docker said is noted before it is asked for the checkpoint: a container that ends with it is forgotten by everybody else.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::changes::Changes;
use super::disk;
use super::sources::docker::CHECKPOINT_ID;
use super::sources::host_file;

/// Of the changes, among what is to be packed and in the archive.
pub const ROOTFS_DIFF: &str = "rootfs-diff.tar";
const NOTE: &str = "docker.json";
const SPEC: &str = "spec.dump";
const DELETED: &str = "deleted.files";
const IMAGES: &str = "checkpoint";
/// Most of a specification.
pub const MAX_SPEC_BYTES: u64 = 4 << 20;
/// Most of what is noted: an answer of Docker, and some.
const MAX_NOTE_BYTES: u64 = 65 << 20;
/// Most images: a container has seven for each process.
const MAX_IMAGES: usize = 1_000_000;
/// CRIU writes it last of all.
const INVENTORY: &str = "inventory.img";

/// Notes what Docker and containerd say of a container before it is frozen.
///
/// # Errors
/// It cannot be written.
pub fn note(work: &Path, version: &Value, container: &Value, spec: Option<&[u8]>) -> io::Result<()> {
    let not_read: &[&str] = if spec.is_some() {
        &[]
    } else {
        &["the runtime's specification: containerd's bundle of the container was not found"]
    };
    let note = json!({
        "schema": "cryoscope.docker/1",
        "version": version,
        "container": container,
        "not_read": not_read,
    });
    if let Some(spec) = spec {
        disk::write(&work.join(SPEC), spec)?;
    }
    disk::write(&work.join(NOTE), &serde_json::to_vec(&note)?)
}

/// What was noted.
///
/// # Errors
/// It cannot be read.
pub fn noted(work: &Path) -> io::Result<Value> {
    Ok(serde_json::from_slice(&disk::read(&work.join(NOTE), MAX_NOTE_BYTES)?)?)
}

/// Writes the archive out of what was noted, the images that Docker made, and the changes; with what of these could not be read.
/// Gives all that is not in it.
///
/// # Errors
/// There are no images, or somebody still writes them; the archive cannot be written.
pub fn write(work: &Path, changes: Result<Changes, String>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    let mut note = noted(work)?;
    let mut not_read = strings(note.get("not_read"));
    let dir = work.join(CHECKPOINT_ID);
    let images = images(&dir, &mut not_read)?;
    let mut tar = tar::Builder::new(out);
    let mut checkpointed = None;
    for name in images {
        let file = host_file::open_in(&dir, &name)?;
        if name == INVENTORY {
            checkpointed = Timestamp::try_from(file.metadata()?.modified()?).ok();
        }
        add(&mut tar, &format!("{IMAGES}/{name}"), file)?;
    }
    let checkpointed =
        checkpointed.ok_or_else(|| io::Error::other(format!("there is no {INVENTORY} among what Docker wrote")))?;
    if let Ok(spec) = host_file::open_in(work, SPEC) {
        add(&mut tar, SPEC, spec)?;
    }
    match changes {
        Ok(changes) => {
            add(&mut tar, ROOTFS_DIFF, host_file::open_in(work, ROOTFS_DIFF)?)?;
            add_bytes(&mut tar, DELETED, &serde_json::to_vec(&changes.deleted)?)?;
            not_read.extend(changes.not_read);
        }
        Err(why) => not_read.push(format!("changed files: {why}")),
    }
    if let Some(note) = note.as_object_mut() {
        note.insert("checkpointed".to_owned(), json!(checkpointed));
        note.insert("not_read".to_owned(), json!(not_read));
    }
    add_bytes(&mut tar, NOTE, &serde_json::to_vec_pretty(&note)?)?;
    tar.into_inner()?.flush()?;
    Ok(not_read)
}

/// Names of the images in their order.
#[expect(clippy::disallowed_methods, reason = "the spool is the agent's own")]
fn images(dir: &Path, not_read: &mut Vec<String>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if MAX_IMAGES <= names.len() {
            return Err(io::Error::other("Docker wrote more files than a checkpoint has"));
        }
        let entry = entry?;
        match entry.file_name().into_string() {
            Ok(name) if entry.file_type()?.is_file() => names.push(name),
            Ok(name) => not_read.push(format!("{name}: Docker wrote it among the images, and it is no file")),
            Err(_) => not_read.push("a file among the images whose name is no text".to_owned()),
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn add(tar: &mut tar::Builder<&mut dyn Write>, name: &str, file: File) -> io::Result<()> {
    let found = file.metadata()?;
    let modified = Timestamp::try_from(found.modified()?).map_err(io::Error::other)?;
    let mut exact = file.take(found.len());
    tar.append_data(&mut header(found.len(), modified), name, &mut exact)?;
    if exact.limit() != 0 {
        return Err(io::Error::other(format!("{name}: became shorter while it was read")));
    }
    Ok(())
}

fn add_bytes(tar: &mut tar::Builder<&mut dyn Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(bytes.len() as u64, Timestamp::now()), name, bytes)
}

fn header(size: u64, modified: Timestamp) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(u64::try_from(modified.as_second()).unwrap_or_default());
    header
}

fn strings(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes files")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn work() -> tempfile::TempDir {
        let work = tempfile::tempdir().unwrap();
        note(work.path(), &json!({"Version": "28.5.2"}), &json!({"Name": "/web"}), Some(b"{}")).unwrap();
        std::fs::create_dir(work.path().join(CHECKPOINT_ID)).unwrap();
        std::fs::write(work.path().join(ROOTFS_DIFF), [0; 1024]).unwrap();
        work
    }

    fn put(work: &Path, name: &str, text: &str) {
        std::fs::write(work.join(CHECKPOINT_ID).join(name), text).unwrap();
    }

    fn members(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        });
        entries.collect()
    }

    #[test]
    fn archive_has_the_images_and_what_docker_lacks() {
        let work = work();
        for name in ["pstree.img", INVENTORY, "descriptors.json"] {
            put(work.path(), name, name);
        }
        std::os::unix::fs::symlink("/etc/shadow", work.path().join(CHECKPOINT_ID).join("link")).unwrap();
        let changes =
            Changes { deleted: vec!["bin/head".into()], not_read: vec!["a note".into()], ..Changes::default() };
        let mut bytes = Vec::new();
        let not_read = write(work.path(), Ok(changes), &mut bytes).unwrap();
        assert!(not_read.len() == 2 && not_read[0].starts_with("link: ") && not_read[1] == "a note", "{not_read:?}");
        let found = members(&bytes);
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let expected = [
            "checkpoint/descriptors.json",
            "checkpoint/inventory.img",
            "checkpoint/pstree.img",
            DELETED,
            NOTE,
            ROOTFS_DIFF,
            SPEC,
        ];
        assert_eq!(names, expected);
        assert_eq!(found["checkpoint/pstree.img"], b"pstree.img");
        assert_eq!(found[DELETED], br#"["bin/head"]"#);
        let note: Value = serde_json::from_slice(&found[NOTE]).unwrap();
        assert_eq!((&note["version"]["Version"], &note["container"]["Name"]), (&json!("28.5.2"), &json!("/web")));
        assert!(note["checkpointed"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!(note["not_read"], json!(not_read));
    }

    #[test]
    fn without_changes_the_archive_says_so_and_without_an_inventory_there_is_none() {
        let work = work();
        put(work.path(), "pstree.img", "x");
        assert!(write(work.path(), Err("x".to_owned()), &mut Vec::new()).is_err());
        put(work.path(), INVENTORY, "x");
        let mut bytes = Vec::new();
        let not_read = write(work.path(), Err("no overlay".to_owned()), &mut bytes).unwrap();
        assert_eq!(not_read, ["changed files: no overlay"]);
        assert!(!members(&bytes).contains_key(ROOTFS_DIFF));
    }
}
