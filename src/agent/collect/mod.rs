//! Processes of a container by way of /proc, where no checkpoint can be made: an archive of the shape of one, which Cryoscope
//! opens.
//!
//! ```text
//! checkpoint/…img       what CRIU would have written, as far as /proc tells: processes, threads, credentials, descriptors,
//!                       sockets, mappings, memory
//! proc/PID/…            the files of /proc word for word, PID as inside the container
//! config.dump, spec.dump  which container it is
//! collection.json       how it was made, and what could not be read
//! ```
//! Unless they are [`Held`], memory is read while the processes run, and may be torn, and there are no registers. There are no
//! pending signals, timers or contents of pipes and sockets. A page that is there and could not be read (or lies beyond the
//! limit) is written as one of a parent that is not supplied, so that nobody takes it for zeros.

mod hold;
mod images;
mod memory;
mod process;
mod sockets;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

use jiff::Timestamp;
use serde_json::json;

use crate::acquire::wire::Container;

pub use hold::Held;
use images::Files;
use memory::Shared;
use process::Facts;

/// Most processes of a container.
const MAX_PROCESSES: usize = 20_000;
/// Most things that are noted as not read.
const MAX_ISSUES: usize = 1000;
const BLOCK: u64 = 512;

/// What a collection is of, and how much it may read.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The container.
    pub container: &'a Container,
    /// Its processes, by their numbers on the node.
    pub pids: &'a [u32],
    /// Holds them meanwhile.
    pub held: Option<&'a Held>,
    /// Most bytes of memory.
    pub memory_limit_bytes: u64,
    /// As `x86_64`.
    pub arch: &'a str,
    /// When it was begun.
    pub now: Timestamp,
}

/// What could not be read, in words.
#[derive(Debug, Default)]
pub struct Issues {
    list: Vec<String>,
    more: usize,
}

impl Issues {
    fn add(&mut self, issue: String) {
        if self.list.len() < MAX_ISSUES {
            self.list.push(issue);
        } else {
            self.more += 1;
        }
    }

    /// All of them, those that are only counted summed up.
    pub fn into_list(mut self) -> Vec<String> {
        if 0 < self.more {
            self.list.push(format!("{} more", self.more));
        }
        self.list
    }
}

/// Writes the archive, and gives what could not be read, `issues` before it. `progress` gets the bytes so far, and may stop it.
///
/// # Errors
/// The archive cannot be written, it was stopped, or no process could be read.
pub fn write(
    wanted: &Wanted<'_>,
    file: File,
    mut issues: Issues,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let mut tar = Tar { file, at: 0, mtime: u64::try_from(wanted.now.as_second()).unwrap_or_default() };
    if MAX_PROCESSES < wanted.pids.len() {
        issues.add(format!("of {} processes {MAX_PROCESSES} are taken", wanted.pids.len()));
    }
    // One that ends meanwhile is no longer there; all else is told.
    let mut found = Vec::new();
    for pid in wanted.pids.iter().take(MAX_PROCESSES) {
        match Facts::read(*pid, &mut issues) {
            Ok(mut facts) => {
                if let Some(was_stopped) = wanted.held.and_then(|held| held.was_stopped(*pid)) {
                    facts.is_stopped = was_stopped;
                }
                found.push(facts);
            }
            Err(error) => issues.add(format!("process {pid} of the node: {error}")),
        }
    }
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no process of the container could be read"));
    }
    images::number_as_inside(&mut found);
    tar.add("config.dump", images::config(wanted).to_string().as_bytes())?;
    tar.add("spec.dump", images::spec(wanted, &found).to_string().as_bytes())?;
    let mut files = Files::default();
    let mut shared = Shared::default();
    let mut left = wanted.memory_limit_bytes;
    tar.add("checkpoint/inventory.img", &images::inventory())?;
    tar.add("checkpoint/pstree.img", &images::pstree(&found))?;
    for (n, facts) in found.iter().enumerate() {
        progress(tar.at)?;
        let pid = facts.inside;
        for (name, bytes) in &facts.raw {
            tar.add(&format!("proc/{pid}/{name}"), bytes)?;
        }
        let ids = u32::try_from(n + 1).unwrap_or(u32::MAX);
        for (name, bytes) in images::of_process(facts, ids, wanted, &mut files, &mut shared) {
            tar.add(&format!("checkpoint/{name}"), &bytes)?;
        }
        let place = tar.begin()?;
        let memory = memory::write(facts, &mut tar.file, &mut left, &mut shared, &mut issues, progress)?;
        tar.end(place, &format!("checkpoint/pages-{ids}.img"))?;
        tar.add(&format!("checkpoint/pagemap-{pid}.img"), &images::pagemap(ids, &memory.runs))?;
    }
    let first = u32::try_from(found.len() + 1).unwrap_or(u32::MAX);
    for (n, object) in shared.objects.values().enumerate() {
        let pages = first.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        let place = tar.begin()?;
        let runs = memory::write_shared(object, &mut tar.file, &mut left, &mut issues, progress)?;
        tar.end(place, &format!("checkpoint/pages-{pages}.img"))?;
        tar.add(&format!("checkpoint/pagemap-shmem-{}.img", object.id), &images::pagemap(pages, &runs))?;
    }
    tar.add("checkpoint/files.img", &files.image())?;
    let issues = issues.into_list();
    let note = json!({
        "schema": "cryoscope.collection/1",
        "how": if wanted.held.is_some() {
            "read out of /proc while the processes were held by ptrace; see not_read for those that were not"
        } else {
            "read out of /proc while the processes ran; nothing was frozen, so memory may be torn"
        },
        "held": wanted.held.is_some(),
        "begun": wanted.now,
        "memory_limit_bytes": wanted.memory_limit_bytes,
        "processes": found.iter().map(|facts| (facts.inside.to_string(), facts.outside)).collect::<BTreeMap<_, _>>(),
        "not_read": issues,
    });
    tar.add("collection.json", serde_json::to_string_pretty(&note)?.as_bytes())?;
    tar.file.write_all(&[0; 2 * BLOCK as usize])?;
    tar.file.sync_all()?;
    Ok(issues)
}

/// Writes members whose length is known only afterwards.
struct Tar {
    file: File,
    at: u64,
    mtime: u64,
}

impl Tar {
    fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let place = self.begin()?;
        self.file.write_all(bytes)?;
        self.end(place, name)
    }

    fn begin(&mut self) -> io::Result<u64> {
        self.file.write_all(&[0; BLOCK as usize])?;
        Ok(self.at)
    }

    fn end(&mut self, place: u64, name: &str) -> io::Result<()> {
        let end = self.file.stream_position()?;
        let size = end - place - BLOCK;
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header.set_cksum();
        self.file.seek(SeekFrom::Start(place))?;
        self.file.write_all(header.as_bytes())?;
        self.file.seek(SeekFrom::Start(end))?;
        let padding = size.next_multiple_of(BLOCK) - size;
        self.file.write_all(&[0; BLOCK as usize][..padding as usize])?;
        self.at = end + padding;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test starts programs and reads its own files")]
mod tests;
