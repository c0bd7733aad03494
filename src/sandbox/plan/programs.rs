//! Programs that are no files: run from a memfd, so that nothing of them was ever on a disk.
//!
//! criu opens the program of a process by its path, and of these finds none. So their content becomes a file of the root file
//! system, of the same name, and the images on the machine's disk say so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{FileId, MntId, Text};
use crate::checkpoint::files::{FileDetail, Memfd};
use crate::checkpoint::{Checkpoint, Process};

/// Most programs; more are left as they are, and criu fails.
const MAX_PROGRAMS: usize = 1000;
/// Longest name, in characters.
const MAX_NAME: usize = 200;

/// A program that runs from a memfd, and goes on from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The file, in the container.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its size.
    pub size_bytes: u64,
    /// Who runs it.
    pub pids: Vec<u32>,
    /// Number of the memfd among the open files of the images.
    pub memfd: u32,
    /// Number that the file gets there.
    pub file: u32,
    /// Number of the mount that `/` of its first process is on.
    pub mnt_id: Option<u32>,
}

/// All of them, by the number of their memfd.
pub(super) fn programs(checkpoint: &Checkpoint) -> Vec<Program> {
    let mut running: BTreeMap<FileId, (&Memfd, Vec<&Process>)> = BTreeMap::new();
    for process in &checkpoint.processes {
        let Some(id) = process.exe.known().and_then(|link| link.file) else { continue };
        if let Some(FileDetail::Memfd(memfd)) = checkpoint.file(id).map(|file| &file.detail) {
            running.entry(id).or_insert_with(|| (memfd, Vec::new())).1.push(process);
        }
    }
    let last = checkpoint.files.iter().map(|file| file.id.0).max().unwrap_or_default();
    let mut out: Vec<Program> = Vec::new();
    for ((id, (memfd, processes)), file) in running.into_iter().zip(last.saturating_add(1)..u32::MAX).take(MAX_PROGRAMS)
    {
        let mut path = format!("/memfd:{}", memfd.name.as_ref().map(name).unwrap_or_default());
        if out.iter().any(|program| program.path == path) {
            path = format!("{path}.{}", memfd.inode_id);
        }
        out.push(Program {
            path,
            // Of a program that ran somebody had the right to run it.
            mode: memfd.mode.unwrap_or(0o777) & 0o777 | 0o111,
            size_bytes: memfd.size_bytes.unwrap_or_default(),
            pids: processes.iter().map(|process| process.pid.0).collect(),
            memfd: id.0,
            file,
            mnt_id: processes.first().and_then(|process| root_mount(checkpoint, process)).map(|id| id.0),
        });
    }
    out
}

fn root_mount(checkpoint: &Checkpoint, process: &Process) -> Option<MntId> {
    match &checkpoint.file(process.root.known()?.file?)?.detail {
        FileDetail::Reg(root) => root.mnt_id,
        _ => None,
    }
}

/// The name of a memfd as a file may have it.
fn name(text: &Text) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    let name = String::from_utf8_lossy(text.as_bytes());
    name.chars().take(MAX_NAME).map(|c| if is_plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_memfds_stay_in_the_root_directory() {
        assert_eq!(name(&Text::from("kworker-u8:2")), "kworker-u8:2");
        assert_eq!(name(&Text::from("../etc/a\n\u{202e}")), ".._etc_a__");
        assert_eq!(name(&Text::from("x".repeat(300).as_str())).len(), MAX_NAME);
    }
}
