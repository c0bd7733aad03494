//! What the agent did: `audit.jsonl` in the state directory, one JSON object a line, appended and synced before the answer goes
//! out. Nothing is ever changed in it; a line that a crash cut short is ended and passed over.
//!
//! Written down is what makes, takes or changes something, and every request that was refused for want of rights; reading of
//! lists is not. A full file is put aside as `audit-N.jsonl` (N: its first number), so that its size is bounded; the
//! [`MAX_FILES`] newest are kept.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::acquire::wire::{Audit, AuditEntry, Requester};

use super::disk;

/// A file of this length is put aside.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// Files that are kept besides the open one.
pub const MAX_FILES: usize = 16;
/// Most of a text that somebody else chose.
const MAX_TEXT_CHARS: usize = 500;
/// Most entries of one answer.
const MAX_ENTRIES: usize = 1000;
const MAX_LINE_BYTES: u64 = 16 << 10;

/// The log.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    last: u64,
    first_in_file: u64,
    length: u64,
}

/// What happened, without the number that the log gives it.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Who asked.
    pub who: Requester,
    /// As `checkpoint`.
    pub action: &'static str,
    /// Of what.
    pub subject: Option<String>,
    /// HTTP status.
    pub status: u16,
    /// More.
    pub detail: Option<String>,
}

impl AuditLog {
    /// Opens the log, and goes on counting where it ended.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(state: &Path) -> io::Result<AuditLog> {
        let path = state.join("audit.jsonl");
        let mut file = disk::append(&path)?;
        let mut length = file.metadata()?.len();
        if 0 < length {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        let entries = read_entries(&path, 0, usize::MAX)?;
        let mut last = entries.last().map(|entry| entry.number);
        if last.is_none() {
            last = put_aside(&path)?
                .pop()
                .map(|(_, path)| read_entries(&path, 0, usize::MAX))
                .transpose()?
                .and_then(|entries| entries.last().map(|entry| entry.number));
        }
        let last = last.unwrap_or(0);
        let first_in_file = entries.first().map_or(last + 1, |entry| entry.number);
        Ok(AuditLog { path, inner: Mutex::new(Inner { file, last, first_in_file, length }) })
    }

    /// Writes an entry and waits until it is on disk.
    ///
    /// # Errors
    /// It cannot be written: the action must not go on.
    pub fn write(&self, event: Event) -> io::Result<()> {
        let cut = |text: String| text.chars().take(MAX_TEXT_CHARS).collect::<String>();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if MAX_FILE_BYTES <= inner.length {
            self.put_aside(&mut inner)?;
        }
        let entry = AuditEntry {
            number: inner.last.saturating_add(1),
            at: Timestamp::now(),
            who: event.who,
            action: event.action.to_owned(),
            subject: event.subject.map(cut),
            status: event.status,
            detail: event.detail.map(cut),
        };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let before = inner.length;
        if let Err(error) = inner.file.write_all(&line).and_then(|()| inner.file.sync_data()) {
            // A half line would swallow the next one.
            let _ = inner.file.set_len(before);
            return Err(error);
        }
        inner.length += line.len() as u64;
        inner.last = entry.number;
        Ok(())
    }

    /// Entries after a number, the oldest first, at most 1000.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn after(&self, number: u64) -> io::Result<Audit> {
        let mut entries = Vec::new();
        let mut files = put_aside(&self.path)?;
        // The file before the first that begins after the number may still hold it.
        let begins_later = files.iter().position(|(first, _)| number.saturating_add(1) < *first).unwrap_or(files.len());
        files.drain(..begins_later.saturating_sub(1));
        files.push((u64::MAX, self.path.clone()));
        for (_, path) in files {
            entries.extend(read_entries(&path, number, MAX_ENTRIES - entries.len())?);
            if entries.len() == MAX_ENTRIES {
                break;
            }
        }
        Ok(Audit { entries })
    }

    fn put_aside(&self, inner: &mut Inner) -> io::Result<()> {
        let aside = self.path.with_file_name(format!("audit-{}.jsonl", inner.first_in_file));
        std::fs::rename(&self.path, aside)?;
        inner.file = disk::append(&self.path)?;
        disk::sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        inner.first_in_file = inner.last + 1;
        inner.length = 0;
        let files = put_aside(&self.path)?;
        for (_, path) in files.iter().take(files.len().saturating_sub(MAX_FILES)) {
            disk::remove(path)?;
        }
        Ok(())
    }
}

/// Files that were put aside with their first numbers, the oldest first.
#[expect(clippy::disallowed_methods, reason = "the state directory is the agent's own")]
fn put_aside(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[expect(clippy::disallowed_methods, reason = "the log is the agent's own")]
fn read_entries(path: &Path, after: u64, max: usize) -> io::Result<Vec<AuditEntry>> {
    let mut reader = io::BufReader::new(match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    });
    let mut entries = Vec::new();
    let mut line = Vec::new();
    while entries.len() < max {
        line.clear();
        if reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // Only the number is read of what is passed over.
        let entry: Option<AuditEntry> = serde_json::from_slice(&line).ok();
        entries.extend(entry.filter(|entry| after < entry.number));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log: &AuditLog, subject: &str) {
        let subject = Some(subject.to_owned());
        log.write(Event { action: "download", subject, status: 200, ..Event::default() }).unwrap();
    }

    fn subjects(log: &AuditLog, after: u64) -> Vec<(u64, String)> {
        let entries = log.after(after).unwrap().entries;
        entries.into_iter().map(|entry| (entry.number, entry.subject.unwrap())).collect()
    }

    #[test]
    fn log_goes_on_after_a_crash_that_cut_its_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        write(&log, "a");
        write(&log, "b");
        drop(log);
        let path = dir.path().join("audit.jsonl");
        let mut file = disk::append(&path).unwrap();
        file.write_all(b"{\"number\": 3, \"at\":").unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        write(&log, "c\n\x1b[2J");
        assert_eq!(subjects(&log, 0), [(1, "a".into()), (2, "b".into()), (3, "c\n\x1b[2J".into())]);
        assert_eq!(subjects(&log, 2).len(), 1);
        let text = String::from_utf8(disk::read(&path, 1 << 20).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 4, "control characters do not break lines: {text}");
    }

    #[test]
    fn full_file_is_put_aside_and_still_read() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        for n in 0..3 {
            write(&log, &format!("{n}"));
            log.inner.lock().unwrap().length = MAX_FILE_BYTES;
        }
        assert_eq!(subjects(&log, 0).len(), 3);
        assert_eq!(subjects(&log, 1), [(2, "1".into()), (3, "2".into())]);
        assert_eq!(put_aside(&log.path).unwrap().len(), 2);
        drop(log);
        let log = AuditLog::open(dir.path()).unwrap();
        write(&log, "3");
        assert_eq!(subjects(&log, 3), [(4, "3".into())]);
    }
}
