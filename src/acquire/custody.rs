//! Who got an archive, when, from where, and how that is known: a log for each archive in the user's data,
//! `custody/SHA-256.jsonl`, that only grows.
//!
//! The archive itself is never written to; it is found by its hash, wherever it lies and whatever it is called.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::manifest::{Manifest, ManifestError, SignedManifest};
use super::nodes::PairedNode;
use super::pair::who;
use super::pull::Pulled;
use crate::base::from_hex;
use crate::home::{self, HomeError};

/// Names the shape of a line.
const SCHEMA: &str = "cryoscope.custody/1";
/// Most bytes of a log.
const MAX_BYTES: u64 = 32 << 20;

/// Why custody is not recorded or not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CustodyError {
    /// The user's data refuses.
    #[error("custody record: {0}")]
    Home(#[from] HomeError),
    /// A hash is none.
    #[error("{0:?} is no SHA-256")]
    NotAHash(String),
}

/// What happened to an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// It came from a node, whole, and its manifest was verified.
    Acquired(Box<Acquired>),
    /// Somebody looked whether it still is what it was.
    Checked(Checked),
    /// An event of a later version of this program.
    #[serde(other)]
    Unknown,
}

/// How an archive came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acquired {
    /// What the analyst calls the node.
    pub node: String,
    /// Where its agent was asked.
    pub address: String,
    /// SHA-256 of its authority.
    pub authority: String,
    /// Id of the archive on it.
    pub archive: String,
    /// Where it was written.
    pub path: PathBuf,
    /// Its length.
    pub size_bytes: u64,
    /// How it was made, as the node signed it.
    pub signed: SignedManifest,
}

/// A later look at an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Where it was.
    pub path: PathBuf,
    /// Whether hash, length and signature agreed.
    pub is_good: bool,
    /// What did not.
    pub problem: Option<String>,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// `cryoscope.custody/1`.
    pub schema: String,
    /// When.
    pub at: Timestamp,
    /// Who, as `analyst@desk`.
    pub who: String,
    /// With what.
    pub program: String,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// All that is known of an archive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The oldest first.
    pub entries: Vec<Entry>,
    /// Lines that cannot be read, in words.
    pub issues: Vec<String>,
}

/// How an archive came, and that it still is what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// How it came.
    pub acquired: Acquired,
    /// When, and by whom.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
    /// How it was made.
    pub manifest: Manifest,
}

impl Record {
    /// How it came, the last time.
    pub fn acquired(&self) -> Option<(&Entry, &Acquired)> {
        self.entries.iter().rev().find_map(|entry| match &entry.event {
            Event::Acquired(acquired) => Some((entry, &**acquired)),
            _ => None,
        })
    }

    /// Checks an archive of this length and hash by the manifest that came with it. `None` without one.
    ///
    /// # Errors
    /// The manifest was changed, or is for another archive.
    pub fn verify(&self, size_bytes: u64, sha256: &str) -> Option<Result<Verified, ManifestError>> {
        let (entry, acquired) = self.acquired()?;
        let verified = acquired.signed.verify(&acquired.signed.public_key).and_then(|manifest| {
            manifest.archive.check(size_bytes, sha256)?;
            Ok(Verified { acquired: acquired.clone(), at: entry.at, who: entry.who.clone(), manifest })
        });
        Some(verified)
    }
}

/// The records of the user.
#[derive(Clone, Debug)]
pub struct Custody {
    dir: PathBuf,
}

impl Custody {
    /// Those of the user.
    ///
    /// # Errors
    /// There is no directory for data.
    pub fn open() -> Result<Custody, CustodyError> {
        Ok(Custody::in_dir(home::data_dir()?.join("custody")))
    }

    /// Those of a directory.
    pub fn in_dir(dir: PathBuf) -> Custody {
        Custody { dir }
    }

    /// Notes that an archive came.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn note_acquired(&self, node: &PairedNode, archive: &str, pulled: &Pulled) -> Result<(), CustodyError> {
        let acquired = Acquired {
            node: node.name.clone(),
            address: node.address.to_string(),
            authority: node.fingerprint().unwrap_or_default(),
            archive: archive.to_owned(),
            path: absolute(&pulled.path),
            size_bytes: pulled.manifest.archive.size_bytes,
            signed: pulled.signed.clone(),
        };
        self.note(&pulled.manifest.archive.sha256, Event::Acquired(Box::new(acquired)))
    }

    /// Notes that an archive was looked at.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn note_checked(&self, sha256: &str, path: &Path, problem: Option<String>) -> Result<(), CustodyError> {
        let checked = Checked { path: absolute(path), is_good: problem.is_none(), problem };
        self.note(sha256, Event::Checked(checked))
    }

    fn note(&self, sha256: &str, event: Event) -> Result<(), CustodyError> {
        let entry = Entry {
            schema: SCHEMA.to_owned(),
            at: Timestamp::now(),
            who: who(),
            program: concat!("cryoscope ", env!("CARGO_PKG_VERSION")).to_owned(),
            sha256: sha256.to_ascii_lowercase(),
            event,
        };
        let line = serde_json::to_vec(&entry).unwrap_or_default();
        Ok(home::append_line(&self.path(sha256)?, &line)?)
    }

    /// What is known of the archive with this SHA-256, in hex; `None` when nothing is.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn find(&self, sha256: &str) -> Result<Option<Record>, CustodyError> {
        let Some(text) = home::read(&self.path(sha256)?, MAX_BYTES)? else { return Ok(None) };
        let mut record = Record::default();
        for (n, line) in text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_slice::<Entry>(line) {
                Ok(entry) => record.entries.push(entry),
                Err(why) => record.issues.push(format!("line {} of its custody record: {why}", n + 1)),
            }
        }
        Ok(Some(record))
    }

    /// Archives that came from somewhere under this path, by hash: one that was changed has another hash, so it is known
    /// by the place where it was put.
    ///
    /// # Errors
    /// The logs cannot be listed or read.
    pub fn find_by_path(&self, path: &Path) -> Result<Option<String>, CustodyError> {
        let wanted = absolute(path);
        let mut found: Option<(Timestamp, String)> = None;
        for sha256 in home::names(&self.dir, "jsonl")? {
            let Some(record) = self.find(&sha256)? else { continue };
            let Some((entry, _)) = record.acquired().filter(|(_, acquired)| acquired.path == wanted) else { continue };
            if found.as_ref().is_none_or(|(at, _)| *at < entry.at) {
                found = Some((entry.at, sha256));
            }
        }
        Ok(found.map(|(_, sha256)| sha256))
    }

    fn path(&self, sha256: &str) -> Result<PathBuf, CustodyError> {
        if from_hex::<32>(sha256).is_none() {
            return Err(CustodyError::NotAHash(sha256.chars().take(80).collect()));
        }
        Ok(self.dir.join(format!("{}.jsonl", sha256.to_ascii_lowercase())))
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_gone| std::path::absolute(path)).unwrap_or_else(|_no| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "abababababababababababababababababababababababababababababababab";

    #[test]
    fn log_of_an_archive_grows_and_survives_a_bad_line() {
        let dir = tempfile::tempdir().unwrap();
        let custody = Custody::in_dir(dir.path().join("custody"));
        assert_eq!(custody.find(HASH).unwrap(), None);
        custody.note_checked(HASH, Path::new("a.tar"), None).unwrap();
        home::append_line(&dir.path().join(format!("custody/{HASH}.jsonl")), b"{half").unwrap();
        custody.note_checked(&HASH.to_uppercase(), Path::new("a.tar"), Some("it is shorter".into())).unwrap();
        let record = custody.find(HASH).unwrap().unwrap();
        assert_eq!((record.entries.len(), record.issues.len()), (2, 1));
        assert!(record.issues[0].starts_with("line 2"), "{:?}", record.issues);
        assert!(matches!(&record.entries[1].event, Event::Checked(Checked { is_good: false, .. })));
        assert_eq!(record.verify(1, HASH), None);
    }

    #[test]
    fn hash_that_is_none_names_no_file() {
        let custody = Custody::in_dir("/nonexistent".into());
        for wrong in ["", "../../etc/passwd", &HASH[1..], &format!("{HASH}0"), &HASH.replace('a', "/")] {
            assert!(matches!(custody.find(wrong), Err(CustodyError::NotAHash(_))), "{wrong}");
        }
    }

    #[test]
    fn events_of_later_versions_do_no_harm() {
        let text = format!(
            r#"{{"schema":"cryoscope.custody/1","at":"2026-11-24T10:00:00Z","who":"a","program":"b","sha256":"{HASH}","event":"burned","new":1}}"#
        );
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap().event, Event::Unknown);
    }
}
