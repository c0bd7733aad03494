//! SHA-256 of the evidence as delivered.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use crate::base::{Progress, hex};

use super::{Delivered, Evidence, Member, OpenError};

const CHUNK_BYTES: usize = 1 << 20;

pub(super) fn sha256(evidence: &Evidence, progress: &dyn Progress) -> Result<[u8; 32], OpenError> {
    progress.stage("hashing");
    let mut hashed = Hashed { done: 0, total: evidence.size_bytes(), progress };
    match &evidence.0.delivered {
        Delivered::Stream(sha256) => Ok(*sha256),
        Delivered::Bytes(bytes) => hashed.bytes(bytes),
        Delivered::File(file) => hashed.file(file, evidence.name()),
        Delivered::Directory => directory(evidence, &mut hashed),
    }
}

/// SHA-256 of bytes that are at hand.
///
/// # Errors
/// Cancel.
pub(super) fn of_bytes(bytes: &[u8], progress: &dyn Progress) -> Result<[u8; 32], OpenError> {
    progress.stage("hashing");
    Hashed { done: 0, total: bytes.len() as u64, progress }.bytes(bytes)
}

/// One line for each file, as `sha256sum` prints it, in the order of the paths.
fn directory(evidence: &Evidence, hashed: &mut Hashed<'_>) -> Result<[u8; 32], OpenError> {
    let mut files: Vec<&Member> = evidence.members().iter().filter(|member| member.is_file()).collect();
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let mut lines = Sha256::new();
    for file in files {
        let digest = hashed.bytes(&evidence.read(file)?)?;
        let (is_escaped, path) = sha256sum_path(&file.path);
        if is_escaped {
            lines.update(b"\\");
        }
        lines.update(hex(&digest));
        lines.update(b"  ");
        lines.update(path);
        lines.update(b"\n");
    }
    Ok(lines.finalize().into())
}

/// `sha256sum` writes a backslash before the line and escapes these three, when one is in the path.
fn sha256sum_path(path: &[u8]) -> (bool, Vec<u8>) {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            byte => escaped.push(*byte),
        }
    }
    (escaped.len() != path.len(), escaped)
}

/// How far hashing is.
struct Hashed<'a> {
    done: u64,
    total: u64,
    progress: &'a dyn Progress,
}

impl Hashed<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<[u8; 32], OpenError> {
        let mut hasher = Sha256::new();
        for chunk in bytes.chunks(CHUNK_BYTES) {
            hasher.update(chunk);
            self.step(chunk.len())?;
        }
        Ok(hasher.finalize().into())
    }

    /// Reads instead of mapping, so that no page of the file counts as ours.
    fn file(&mut self, file: &File, name: &str) -> Result<[u8; 32], OpenError> {
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = 0_u64;
        loop {
            match file.read_at(&mut chunk, at) {
                Ok(0) => return Ok(hasher.finalize().into()),
                Ok(read) => {
                    hasher.update(chunk.get(..read).unwrap_or_default());
                    at = at.saturating_add(read as u64);
                    self.step(read)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(OpenError::Io { name: name.to_owned(), source }),
            }
        }
    }

    fn step(&mut self, read: usize) -> Result<(), OpenError> {
        self.done = self.done.saturating_add(read as u64);
        Ok(self.progress.step(self.done, Some(self.total))?)
    }
}
