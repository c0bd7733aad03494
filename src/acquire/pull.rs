//! Fetching an archive from a node, over lines that break.
//!
//! 1. The signed manifest is fetched and checked first: it says how long the archive is and what its SHA-256.
//! 2. The bytes go to `NAME.part` and are hashed while they are written. A broken line is taken up where it broke, so is a
//!    pull that was killed; `If-Range` with the SHA-256 makes sure that it still is the same archive.
//! 3. `NAME` appears only when length, SHA-256 and manifest agree, and never in the place of something else.
//!
//! The peer may be hostile: its name for the file is taken apart, and no more bytes are written than were signed for.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::client::{Client, Content, ContentKind};
use super::control::PullControl;
use super::error::ClientError;
use super::manifest::{Manifest, ManifestError, SignedManifest};
use super::part::{Part, Whole};
use crate::base::{Cancelled, Progress, from_hex, hex};

const PIECE: usize = 1 << 17;
/// After so many bytes it is noted how much is on the disk.
const NOTE_AFTER: u64 = 32 << 20;
/// A line that brings fewer bytes in the time that it may stand still is given up.
const FEWEST_BYTES: u64 = 1 << 10;
/// How often an archive may change while it is fetched.
const MAX_CHANGES: u32 = 3;
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Most bytes of a file's name, so that the state's name fits too.
const MAX_NAME: usize = 200;

/// Why an archive was not fetched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PullError {
    /// The agent cannot be asked, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The line broke too often.
    #[error(
        "{source}; gave up after {tries} tries without a byte. {done} of {total} bytes are in {part}: the same command \
         goes on from there", part = part.display()
    )]
    GaveUp {
        /// Tries in a row that brought nothing.
        tries: u32,
        /// Bytes that are there.
        done: u64,
        /// Of so many.
        total: u64,
        /// Where.
        part: PathBuf,
        /// The last of it.
        source: Box<ClientError>,
    },
    /// How the archive was made is not believed, or the archive is not that one.
    #[error("{node}: {source}; {what}")]
    Manifest {
        /// The node.
        node: String,
        /// What became of the bytes.
        what: &'static str,
        /// What does not fit.
        source: Box<ManifestError>,
    },
    /// The agent sends something else than it promised.
    #[error("{node}: {what}; nothing of it is kept as an archive")]
    Promise {
        /// The node.
        node: String,
        /// What differs.
        what: String,
    },
    /// The archive changes faster than it can be fetched.
    #[error("{node}: the archive changed {MAX_CHANGES} times while it was fetched")]
    Changes {
        /// The node.
        node: String,
    },
    /// There is no room.
    #[error(
        "the disk is full: {needed} bytes are needed in {dir} and {free} are free. What has arrived stays: make room, and \
         the same command goes on from there", dir = dir.display()
    )]
    DiskFull {
        /// Bytes that are missing.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The directory.
        dir: PathBuf,
    },
    /// Something is there already.
    #[error("{path}: exists and is something else; nothing is overwritten, give another place by -o", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another pull is at it.
    #[error("{path}: another program is writing it; let that finish", path = path.display())]
    Busy {
        /// The part.
        path: PathBuf,
    },
    /// A file of this machine refuses.
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Stopped; what has arrived stays.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl PullError {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> PullError {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return PullError::DiskFull { needed: 1, free: free_bytes(dir).unwrap_or(0), dir: dir.to_owned() };
        }
        PullError::Io { what, path: path.to_owned(), source }
    }
}

/// Where an archive goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into this directory, under the name that the agent gives it, made harmless.
    Dir(PathBuf),
    /// To this file.
    File(PathBuf),
}

/// An archive that arrived whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// The file.
    pub path: PathBuf,
    /// How it was made, as it was signed.
    pub signed: SignedManifest,
    /// The same, read.
    pub manifest: Manifest,
    /// It was there before, and was only hashed.
    pub was_there: bool,
}

/// Fetches an archive. `authority` is the fingerprint of the node, for the note beside a part.
///
/// # Errors
/// See [`PullError`]. What has arrived stays in `NAME.part`, unless it is not what was signed for.
pub fn pull(
    client: &Client,
    authority: &str,
    archive: &str,
    target: &Target,
    control: &PullControl,
    progress: &dyn Progress,
) -> Result<Pulled, PullError> {
    progress.stage("asking for the manifest");
    progress.step(0, None)?;
    let (mut signed, mut manifest) = manifest_of(client, archive)?;
    let path = match target {
        Target::File(path) => path.clone(),
        Target::Dir(dir) => dir.join(safe_name(&manifest.archive.name, &manifest.archive.sha256)),
    };
    if let Some(sha256) = hash_of(&path, progress)? {
        let len = std::fs::metadata(&path).map_err(|error| PullError::io("cannot read", &path, error))?.len();
        if manifest.archive.check(len, &sha256).is_err() {
            return Err(PullError::Exists { path });
        }
        return Ok(Pulled { path, signed, manifest, was_there: true });
    }
    let (mut part, said) = Part::open(&path, whole_of(authority, archive, &manifest), progress)?;
    said.into_iter().for_each(|said| control.note(said));
    let mut run = Run { client, archive, control, progress, path: &path };
    control.growing.begin(path.clone(), part.reader()?, part.len_bytes());
    let (mut n_changes, mut is_resumed) = (0, part.len_bytes() > 0);
    loop {
        match run.all(&mut part)? {
            End::Arrived => {}
            End::Changed => {
                n_changes += 1;
                if n_changes > MAX_CHANGES {
                    return Err(PullError::Changes { node: client.node_name().to_owned() });
                }
                let before = manifest.archive.sha256.clone();
                (signed, manifest) = manifest_of(client, archive)?;
                if manifest.archive.sha256.eq_ignore_ascii_case(&before) {
                    return Err(run.promise("it serves another archive than its manifest is for".into()));
                }
                control.note("the archive has changed on the node: beginning anew".into());
                control.growing.end();
                part.begin_other(whole_of(authority, archive, &manifest))?;
                is_resumed = false;
                continue;
            }
        }
        match manifest.archive.check(part.len_bytes(), &part.sha256()) {
            Ok(()) => break,
            Err(_) if is_resumed => {
                control.note("what was here and what came do not make the archive: beginning anew".into());
                control.growing.end();
                part.begin()?;
                is_resumed = false;
            }
            Err(source) => {
                part.discard();
                let (node, what) = (client.node_name().to_owned(), "what it sent was removed");
                return Err(PullError::Manifest { node, what, source: Box::new(source) });
            }
        }
    }
    part.finish(&path)?;
    Ok(Pulled { path, signed, manifest, was_there: false })
}

/// How a round of tries ended.
enum End {
    /// All bytes are there.
    Arrived,
    /// The agent serves another archive now.
    Changed,
}

/// Why one line ended.
enum Broke {
    /// It may go on.
    Line(ClientError),
    /// The analyst holds it.
    Paused,
}

struct Run<'a> {
    client: &'a Client,
    archive: &'a str,
    control: &'a PullControl,
    progress: &'a dyn Progress,
    path: &'a Path,
}

impl Run<'_> {
    /// Fetches what is missing, over as many lines as it takes.
    fn all(&mut self, part: &mut Part) -> Result<End, PullError> {
        let (mut n_in_vain, mut wait) = (0, self.control.patience.first_wait);
        loop {
            self.progress.stage("fetching");
            let before = part.len_bytes();
            let ended = self.one_line(part);
            self.control.stands_still();
            // What came is kept, whatever ended the line.
            if part.len_bytes() != before && !matches!(ended, Err(PullError::DiskFull { .. })) {
                part.note()?;
            }
            let error = match ended? {
                Ok(end) => return Ok(end),
                Err(Broke::Paused) => {
                    self.paused(part)?;
                    continue;
                }
                Err(Broke::Line(error)) => error,
            };
            if before < part.len_bytes() {
                (n_in_vain, wait) = (0, self.control.patience.first_wait);
            }
            n_in_vain += 1;
            if self.control.patience.tries <= n_in_vain {
                let (done, total) = (part.len_bytes(), part.whole().size_bytes);
                let part = PathBuf::from(format!("{}.part", self.path.display()));
                return Err(PullError::GaveUp { tries: n_in_vain, done, total, part, source: Box::new(error) });
            }
            self.control.note(format!("{error}; going on from byte {}", part.len_bytes()));
            self.progress.stage("waiting for the line");
            self.sleep(wait, part)?;
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }

    /// Fetches as much as one line brings.
    fn one_line(&self, part: &mut Part) -> Result<Result<End, Broke>, PullError> {
        let total = part.whole().size_bytes;
        self.progress.step(part.len_bytes(), Some(total))?;
        let left = total.saturating_sub(part.len_bytes());
        if left == 0 {
            return Ok(Ok(End::Arrived));
        }
        self.check_room(left)?;
        let content = match self.client.content(self.archive, part.len_bytes(), &part.whole().sha256) {
            Ok(content) => content,
            Err(ClientError::Refused { status: 416, .. }) => return Ok(Ok(End::Changed)),
            Err(error) if error.is_transient() => return Ok(Err(Broke::Line(error))),
            Err(error) => return Err(error.into()),
        };
        if content.etag.as_ref().is_some_and(|etag| *etag != part.whole().sha256) {
            return Ok(Ok(End::Changed));
        }
        self.check_promise(&content, part)?;
        let mut reader = content.reader;
        let mut piece = vec![0; PIECE];
        let mut noted = part.len_bytes();
        let mut slow = (Instant::now(), part.len_bytes());
        while part.len_bytes() < total {
            self.progress.step(part.len_bytes(), Some(total))?;
            if self.control.is_paused() {
                return Ok(Err(Broke::Paused));
            }
            let wanted = usize::try_from(total.saturating_sub(part.len_bytes())).map_or(PIECE, |left| left.min(PIECE));
            let n = match reader.read(piece.get_mut(..wanted).unwrap_or_default()) {
                Ok(0) => {
                    let what = format!("the answer ended after {} of {total} bytes", part.len_bytes());
                    return Ok(Err(Broke::Line(self.line(what))));
                }
                Ok(n) => n,
                Err(error) => return Ok(Err(Broke::Line(ClientError::from_io(self.client.node_name(), error)))),
            };
            part.write(piece.get(..n).unwrap_or_default())?;
            self.control.arrived(n as u64);
            self.control.growing.grew(part.len_bytes());
            if noted.saturating_add(NOTE_AFTER) <= part.len_bytes() {
                noted = part.len_bytes();
                part.note()?;
            }
            if self.client.still() <= slow.0.elapsed() {
                if part.len_bytes().saturating_sub(slow.1) < FEWEST_BYTES {
                    return Ok(Err(Broke::Line(self.line("the line brings next to nothing".into()))));
                }
                slow = (Instant::now(), part.len_bytes());
            }
        }
        // All is here; one more byte would be one that was not promised.
        if matches!(reader.read(&mut [0]), Ok(1)) {
            return Err(self.promise(format!("it sends more than the {total} bytes that it signed for")));
        }
        Ok(Ok(End::Arrived))
    }

    /// Compares what is announced with what was asked for.
    fn check_promise(&self, content: &Content, part: &mut Part) -> Result<(), PullError> {
        let (at, size) = (part.len_bytes(), part.whole().size_bytes);
        match content.kind {
            ContentKind::From { start, total } if start == at && total == size => Ok(()),
            ContentKind::From { start, total } => Err(self.promise(format!(
                "it was asked for the bytes from {at} of {size}, and sends those from {start} of {total}"
            ))),
            ContentKind::Whole(Some(len)) if len != size => {
                Err(self.promise(format!("it signed for {size} bytes, and sends {len}")))
            }
            ContentKind::Whole(_) => {
                if at > 0 {
                    self.control.note("the agent sends the archive from its beginning".into());
                    self.control.growing.end();
                    part.begin()?;
                }
                Ok(())
            }
        }
    }

    fn check_room(&self, needed: u64) -> Result<(), PullError> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match free_bytes(dir) {
            Some(free) if free < needed => Err(PullError::DiskFull { needed, free, dir: dir.to_owned() }),
            _ => Ok(()),
        }
    }

    fn paused(&self, part: &Part) -> Result<(), PullError> {
        self.progress.stage("paused");
        while self.control.is_paused() {
            self.sleep(Duration::from_millis(100), part)?;
        }
        Ok(())
    }

    fn sleep(&self, how_long: Duration, part: &Part) -> Result<(), PullError> {
        let until = Instant::now() + how_long;
        loop {
            self.progress.step(part.len_bytes(), Some(part.whole().size_bytes))?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    fn line(&self, what: String) -> ClientError {
        ClientError::Line { node: self.client.node_name().to_owned(), what }
    }

    fn promise(&self, what: String) -> PullError {
        PullError::Promise { node: self.client.node_name().to_owned(), what }
    }
}

/// The manifest of an archive, checked by the key of the node.
fn manifest_of(client: &Client, archive: &str) -> Result<(SignedManifest, Manifest), PullError> {
    let signed = client.manifest(archive)?;
    let node = || client.node_name().to_owned();
    let manifest = signed.verify(client.public_key()).map_err(|source| PullError::Manifest {
        node: node(),
        what: "nothing was fetched",
        source: Box::new(source),
    })?;
    if from_hex::<32>(&manifest.archive.sha256).is_none() {
        return Err(PullError::Promise { node: node(), what: "its manifest names no SHA-256".into() });
    }
    Ok((signed, manifest))
}

fn whole_of(authority: &str, archive: &str, manifest: &Manifest) -> Whole {
    Whole {
        authority: authority.to_owned(),
        archive: archive.to_owned(),
        size_bytes: manifest.archive.size_bytes,
        sha256: manifest.archive.sha256.to_ascii_lowercase(),
    }
}

/// SHA-256 of a file, in hex; `None` where there is none.
///
/// # Errors
/// It cannot be read, or cancel.
pub fn hash_of(path: &Path, progress: &dyn Progress) -> Result<Option<String>, PullError> {
    let cannot = |error| PullError::io("cannot read", path, error);
    let mut file = match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(cannot)?,
    };
    let data = file.metadata().map_err(cannot)?;
    if !data.is_file() {
        return Err(PullError::Exists { path: path.to_owned() });
    }
    progress.stage("hashing");
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut done = 0_u64;
    loop {
        progress.step(done, Some(data.len()))?;
        let n = file.read(&mut piece).map_err(cannot)?;
        if n == 0 {
            return Ok(Some(hex(&digest.finalize())));
        }
        digest.update(piece.get(..n).unwrap_or_default());
        done = done.saturating_add(n as u64);
    }
}

/// A name of a file from what a peer calls it: one component, nothing that hides it or that a terminal obeys.
pub fn safe_name(given: &str, sha256: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:+@=, ".contains(c);
    let plain: String = given.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut name = plain.trim_start_matches(['.', '-', ' ']).trim_end().to_owned();
    while MAX_NAME < name.len() {
        name.pop();
    }
    if name.is_empty() {
        let short: String = sha256.chars().filter(char::is_ascii_hexdigit).take(12).collect();
        return format!("checkpoint-{short}.tar");
    }
    name
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let data = rustix::fs::statvfs(dir).ok()?;
    Some(data.f_bavail.saturating_mul(data.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_peer_stay_in_their_directory() {
        let check = |given: &str, name: &str| assert_eq!(safe_name(given, "abcdef"), name);
        check(
            "checkpoint-web_default-app-2026-11-23T14:42:13Z.tar",
            "checkpoint-web_default-app-2026-11-23T14:42:13Z.tar",
        );
        check("../../etc/cron.d/x", "_.._etc_cron.d_x");
        check("/etc/passwd", "_etc_passwd");
        check("..", "checkpoint-abcdef.tar");
        check(".bashrc", "bashrc");
        check("-rf", "rf");
        check("a\u{1b}[2J\n\u{202e}b\0.tar", "a__2J__b_.tar");
        assert!(safe_name(&"ä".repeat(500), "").len() <= MAX_NAME);
    }

    proptest::proptest! {
        #[test]
        fn name_of_a_peer_is_one_component_that_hides_nothing(given in ".{0,300}", hash in "[0-9a-f]{64}") {
            let name = safe_name(&given, &hash);
            let is_bad = |c: char| c.is_control() || c == '/' || c == '\\';
            proptest::prop_assert!(!name.is_empty() && name.len() <= MAX_NAME && !name.contains(is_bad), "{:?}", name);
            proptest::prop_assert!(!name.starts_with(['.', '-']) && name.trim() == name, "{:?}", name);
            proptest::prop_assert_eq!(Path::new(&name).components().count(), 1);
        }
    }
}
