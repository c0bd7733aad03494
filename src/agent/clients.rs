//! The workstations that were paired, and those that may no longer come.
//!
//! `clients.json` in the state directory: every certificate that this agent issued, by its SHA-256. The daemon looks at the file
//! again when it has changed, so that `cryoscope-agent revoke` works at once.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk;

const MAX_FILE_BYTES: u64 = 4 << 20;

/// A certificate that was issued, or one of the operator's that was revoked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// Its common name.
    pub name: String,
    /// When it was issued, or entered here.
    pub since: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// The file.
#[derive(Debug)]
pub struct Clients {
    path: PathBuf,
    cached: Mutex<Cached>,
}

/// What was read, and of which state of the file: its time and inode.
#[derive(Debug, Default)]
struct Cached {
    of: Option<(SystemTime, u64)>,
    list: Vec<Client>,
}

impl Clients {
    /// Of an agent with this state directory.
    pub fn new(state: &Path) -> Clients {
        Clients { path: state.join("clients.json"), cached: Mutex::default() }
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// The file is there and cannot be read: nobody is let in then.
    pub fn list(&self) -> io::Result<Vec<Client>> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match std::fs::symlink_metadata(&self.path) {
            Ok(found) => Some((found.modified()?, found.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if cached.of != changed {
            let list = match changed {
                Some(_) => serde_json::from_slice(&disk::read(&self.path, MAX_FILE_BYTES)?)?,
                None => Vec::new(),
            };
            *cached = Cached { of: changed, list };
        }
        Ok(cached.list.clone())
    }

    /// Whether a certificate was revoked.
    ///
    /// # Errors
    /// As [`Clients::list`].
    pub fn is_revoked(&self, fingerprint: &str) -> io::Result<bool> {
        Ok(self.list()?.iter().any(|client| client.fingerprint == fingerprint && client.revoked.is_some()))
    }

    /// Enters a certificate that was issued.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&self, fingerprint: &str, name: &str, now: Timestamp) -> io::Result<()> {
        let mut list = self.list()?;
        list.push(Client { fingerprint: fingerprint.to_owned(), name: name.to_owned(), since: now, revoked: None });
        self.write(&list)
    }

    /// Revokes every client whose name or fingerprint is this; a full fingerprint that is not known is entered as revoked.
    /// Gives those that were revoked by it.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn revoke(&self, name: &str, now: Timestamp) -> io::Result<Vec<Client>> {
        let mut list = self.list()?;
        let wanted: String = name.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
        let is_fingerprint = wanted.len() == 64 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_fingerprint && !list.iter().any(|client| client.fingerprint == wanted) {
            list.push(Client { fingerprint: wanted.clone(), name: String::new(), since: now, revoked: None });
        }
        let mut revoked = Vec::new();
        for client in &mut list {
            if client.revoked.is_none() && (client.fingerprint == wanted || client.name == name) {
                client.revoked = Some(now);
                revoked.push(client.clone());
            }
        }
        if !revoked.is_empty() {
            self.write(&list)?;
        }
        Ok(revoked)
    }

    fn write(&self, list: &[Client]) -> io::Result<()> {
        disk::write(&self.path, &serde_json::to_vec_pretty(list)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocation_by_another_process_is_seen_at_once_and_a_broken_file_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let (daemon, command) = (Clients::new(dir.path()), Clients::new(dir.path()));
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        daemon.add(&one, "desk", Timestamp::now()).unwrap();
        assert!(!daemon.is_revoked(&one).unwrap());
        assert_eq!(command.revoke("desk", Timestamp::now()).unwrap().len(), 1);
        assert_eq!(command.revoke("nobody", Timestamp::now()).unwrap(), []);
        assert!(daemon.is_revoked(&one).unwrap() && !daemon.is_revoked(&two).unwrap());
        command.revoke(&two.to_uppercase(), Timestamp::now()).unwrap();
        assert!(daemon.is_revoked(&two).unwrap());
        disk::write(&dir.path().join("clients.json"), b"[{").unwrap();
        assert!(daemon.is_revoked(&one).is_err());
    }
}
