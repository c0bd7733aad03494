//! Every file whose content lies in a checkpoint, and every path that was deleted: the document of `files --json`.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;

use crate::base::{Text, escape_controls};
use crate::checkpoint::documents::DocumentKind;
use crate::checkpoint::recovered::{Content, Source};
use crate::checkpoint::rootfs::RootfsEntry;
use crate::checkpoint::{Checkpoint, Document, RecoveredFile};
use crate::evidence::Evidence;

use super::system::IssueReport;
use super::value::{octal_mode, optional_text, text};

/// Every source that a file may have.
pub const SOURCES: [&str; 10] =
    ["rootfs", "deleted", "ghost", "memfd", "shm", "tmpfs", "devshm", "volume", "log", "metadata"];

/// All files of a checkpoint.
#[derive(Debug, Serialize)]
pub struct FileList<'a> {
    schema: &'static str,
    /// Rows: rootfs, deleted paths, recovered files, logs and metadata, each in the order of the evidence.
    pub files: Vec<FileRow<'a>>,
    issues: Vec<IssueReport>,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct FileRow<'a> {
    /// `source:path`, with `#2` and so on behind it when the same comes again. What `cat` and `extract` take.
    pub name: String,
    /// One of [`SOURCES`].
    pub source: &'static str,
    /// Path in the container, or the name it went by.
    pub path: Cow<'a, str>,
    /// Exact bytes of a path that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// `file`, `directory`, `symlink`, …; `deleted` for a path that was removed.
    pub r#type: &'static str,
    /// Permission bits, octal.
    pub mode: Option<String>,
    /// Owner.
    pub uid: Option<u64>,
    /// Group.
    pub gid: Option<u64>,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// Seconds since 1970.
    pub mtime: Option<i64>,
    /// Where a link leads.
    pub link_target: Option<Cow<'a, str>>,
    /// Exact bytes of a link target that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_target_hex: Option<String>,
    /// Whether there are bytes to read.
    pub has_content: bool,
    /// Where in the evidence.
    pub r#where: Option<String>,
    /// The path as bytes, not yet checked for what it would do to a file system.
    #[serde(skip)]
    pub raw_path: Text,
    /// Permission bits as a number.
    #[serde(skip)]
    pub mode_bits: Option<u32>,
    /// How to read it.
    #[serde(skip)]
    pub content: FileContent<'a>,
}

/// How to read a file.
#[derive(Clone, Debug)]
pub enum FileContent<'a> {
    /// A member of an archive.
    Member {
        /// The archive.
        archive: &'a Evidence,
        /// Index of the member.
        member: usize,
    },
    /// Runs of bytes at offsets.
    Chunks(&'a [(u64, Bytes)]),
    /// All its bytes.
    Bytes(&'a Bytes),
    /// Pages of the shared-memory object with this id.
    Shmem(u64),
    /// Nothing to read.
    None,
}

impl<'a> FileList<'a> {
    /// All files of the checkpoint.
    pub fn from_checkpoint(checkpoint: &'a Checkpoint) -> FileList<'a> {
        let rootfs = &checkpoint.rootfs;
        let archive = rootfs.archive.as_ref();
        let mut files: Vec<FileRow<'a>> =
            rootfs.entries.iter().map(|entry| FileRow::of_rootfs(entry, archive)).collect();
        files.extend(rootfs.deleted.iter().map(FileRow::of_deleted));
        files.extend(checkpoint.recovered.iter().map(FileRow::of_recovered));
        files.extend(checkpoint.documents.iter().map(FileRow::of_document));
        number_equal_names(&mut files);
        let issues = checkpoint.issues.iter().map(IssueReport::new).collect();
        FileList { schema: "cryoscope.files/1", files, issues }
    }

    /// Rows that an argument names: a name, a path, a directory and what is below it, or `source:` for all of one.
    pub fn select<'s>(&'s self, wanted: &'s str) -> impl Iterator<Item = &'s FileRow<'a>> + use<'s, 'a> {
        self.files.iter().filter(move |row| row.is_named(wanted))
    }

    /// Rows that an argument names exactly: with its source, or by its path.
    pub fn exact<'s>(&'s self, wanted: &'s str) -> impl Iterator<Item = &'s FileRow<'a>> + use<'s, 'a> {
        self.files.iter().filter(move |row| {
            let spelled = escape_controls(&row.name);
            row.name == wanted || spelled == wanted || row.path == wanted
        })
    }
}

/// A name that comes again gets a number, so that each names one file.
fn number_equal_names(files: &mut [FileRow<'_>]) {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(files.len());
    for row in files {
        let n = seen.entry(row.name.clone()).or_insert(0);
        *n += 1;
        if *n > 1 {
            row.name = format!("{}#{n}", row.name);
        }
    }
}

impl<'a> FileRow<'a> {
    fn new(source: &'static str, raw_path: &'a Text, kind: &'static str, content: FileContent<'a>) -> FileRow<'a> {
        let (path, path_hex) = text(raw_path);
        FileRow {
            name: format!("{source}:{path}"),
            source,
            path,
            path_hex,
            r#type: kind,
            mode: None,
            uid: None,
            gid: None,
            size_bytes: None,
            mtime: None,
            link_target: None,
            link_target_hex: None,
            has_content: !matches!(content, FileContent::None),
            r#where: None,
            raw_path: raw_path.clone(),
            mode_bits: None,
            content,
        }
    }

    fn of_rootfs(entry: &'a RootfsEntry, archive: Option<&'a Evidence>) -> FileRow<'a> {
        let content = match (entry.kind, archive) {
            ("file" | "hardlink", Some(archive)) => FileContent::Member { archive, member: entry.member },
            _ => FileContent::None,
        };
        let (link_target, link_target_hex) = optional_text(entry.link_target.as_ref());
        FileRow {
            mode: Some(octal_mode(entry.mode)),
            mode_bits: Some(entry.mode),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            size_bytes: Some(entry.size_bytes),
            mtime: entry.mtime,
            link_target,
            link_target_hex,
            r#where: archive.map(|archive| archive.name().to_owned()),
            ..FileRow::new("rootfs", &entry.path, entry.kind, content)
        }
    }

    fn of_deleted(path: &'a Text) -> FileRow<'a> {
        FileRow::new("deleted", path, "deleted", FileContent::None)
    }

    fn of_recovered(file: &'a RecoveredFile) -> FileRow<'a> {
        let content = match &file.content {
            Content::Chunks(chunks) => FileContent::Chunks(chunks),
            Content::Shmem(id) => FileContent::Shmem(*id),
            Content::Member { archive, member } if matches!(file.kind, "file" | "hardlink") => {
                FileContent::Member { archive, member: *member }
            }
            Content::Member { .. } | Content::None => FileContent::None,
        };
        let (link_target, link_target_hex) = optional_text(file.link_target.as_ref());
        FileRow {
            mode: file.mode.map(|mode| octal_mode(mode & 0o7777)),
            mode_bits: file.mode.map(|mode| mode & 0o7777),
            uid: file.owner.map(|(uid, _)| uid),
            gid: file.owner.map(|(_, gid)| gid),
            size_bytes: Some(file.size_bytes),
            mtime: file.mtime,
            link_target,
            link_target_hex,
            r#where: Some(file.place.to_string()),
            ..FileRow::new(source_word(file.source), &file.path, file.kind, content)
        }
    }

    fn of_document(document: &'a Document) -> FileRow<'a> {
        let source = match document.kind {
            DocumentKind::ContainerLog | DocumentKind::CriuLog => "log",
            _ => "metadata",
        };
        let path = Text::from(document.name.clone());
        let name = format!("{source}:{}", document.name);
        FileRow {
            name,
            source,
            path: Cow::Borrowed(document.name.as_str()),
            path_hex: None,
            r#type: "file",
            mode: None,
            uid: None,
            gid: None,
            size_bytes: Some(document.bytes.len() as u64),
            mtime: None,
            link_target: None,
            link_target_hex: None,
            has_content: true,
            r#where: Some(document.name.clone()),
            raw_path: path,
            mode_bits: None,
            content: FileContent::Bytes(&document.bytes),
        }
    }

    fn is_named(&self, wanted: &str) -> bool {
        let path = match wanted.split_once(':') {
            Some((source, "")) if source == self.source => return true,
            Some((source, path)) if source == self.source => path,
            _ => wanted,
        };
        let below = |own: &str| own.strip_prefix(path.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
        self.name == wanted || escape_controls(&self.name) == wanted || self.path == path || below(&self.path)
    }
}

fn source_word(source: Source) -> &'static str {
    source.word()
}
