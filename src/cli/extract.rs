//! `files extract`: writes files of a checkpoint into a directory, and never anywhere else.
//!
//! The steps for each file, in order:
//! 1. The path is split; `..`, a NUL and over-long parts refuse it. What is left lies below `DIR/SOURCE/`.
//! 2. Its directories are made one by one (0700). One that is a link, or no directory, refuses the file.
//! 3. The content goes to a new file of a random name (0600) beside the target; pages of zeros become holes.
//! 4. It takes the target's name, which must be free unless `--force` was given. A link of that name is
//!    replaced, not followed.
//!
//! Links and devices are not made, owners not set, set-id bits not given.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use serde::Serialize;

use crate::base::Progress;
use crate::checkpoint::Checkpoint;
use crate::report::files::{FileList, FileRow, SOURCES};
use crate::report::text::{bytes, plural};
use crate::session::export::write_sparse;

use super::args::ExtractArgs;
use super::content;
use super::context::Context;

/// Longest name that file systems take.
const MAX_NAME_BYTES: usize = 255;

#[derive(Debug, Default, Serialize)]
struct Report {
    schema: &'static str,
    extracted: Vec<Extracted>,
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Extracted {
    name: String,
    path: String,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Skipped {
    name: String,
    why: String,
}

pub(super) fn run(
    args: &ExtractArgs,
    checkpoint: &Checkpoint,
    files: &FileList<'_>,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let target = Target::check(args, checkpoint)?;
    let mut report = Report { schema: "cryoscope.extract/1", ..Report::default() };
    let rows = chosen(files, &args.paths, &mut report.skipped)?;
    let target = target.make()?;
    let bar = context.progress();
    bar.stage("extracting");
    for row in rows {
        let name = row.name.clone();
        match target.extract(checkpoint, row, &bar)? {
            Ok((path, size_bytes)) => {
                report.extracted.push(Extracted { name, path: path.display().to_string(), size_bytes });
            }
            Err(why) => report.skipped.push(Skipped { name, why }),
        }
    }
    drop(bar);
    if context.json {
        return context.write_json(&report);
    }
    for file in &report.extracted {
        let line = format!("{}  {}", file.path, bytes(file.size_bytes));
        writeln!(context.out, "{}", crate::base::escape_controls(&line))?;
    }
    for skipped in &report.skipped {
        context.note(&format!("{}: skipped: {}", skipped.name, skipped.why))?;
    }
    let skipped = report.skipped.len();
    context.note(&format!("{} written, {skipped} skipped", plural(report.extracted.len(), "file", "files")))?;
    Ok(())
}

/// What the arguments name, each file once. Directories stand for what is in them.
fn chosen<'f, 'a>(
    files: &'f FileList<'a>,
    paths: &[String],
    skipped: &mut Vec<Skipped>,
) -> anyhow::Result<Vec<&'f FileRow<'a>>> {
    let mut is_chosen = std::collections::HashSet::new();
    for path in paths {
        let before = is_chosen.len();
        is_chosen.extend(files.select(path).map(|row| row.name.as_str()));
        if before == is_chosen.len() && files.select(path).next().is_none() {
            let is_source = path.strip_suffix(':').is_some_and(|source| SOURCES.contains(&source));
            anyhow::ensure!(is_source, "{path}: no such file; `files … list` names them");
            skipped.push(Skipped { name: path.clone(), why: "nothing of this source is in the checkpoint".into() });
        }
    }
    Ok(files.files.iter().filter(|row| is_chosen.contains(row.name.as_str()) && row.r#type != "directory").collect())
}

/// The directory that is written to.
struct Target {
    dir: PathBuf,
    /// Canonical path of the evidence.
    evidence: Option<PathBuf>,
    force: bool,
    preserve_mode: bool,
}

/// The file was written, or why it was left out.
type Outcome = Result<(PathBuf, u64), String>;

impl Target {
    /// Refuses a directory inside the evidence, before anything is made.
    fn check(args: &ExtractArgs, checkpoint: &Checkpoint) -> anyhow::Result<Target> {
        let dir = args.output.as_path();
        let shown = dir.display();
        let evidence = checkpoint.outer.path().and_then(|path| fs::canonicalize(path).ok());
        // The deepest directory that exists decides where DIR will lie.
        let absolute = std::path::absolute(dir).with_context(|| format!("{shown}: cannot be written to"))?;
        let existing = absolute.ancestors().find_map(|dir| fs::canonicalize(dir).ok());
        if let Some((existing, evidence)) = existing.zip(evidence.as_ref()) {
            anyhow::ensure!(
                !existing.starts_with(evidence),
                "{shown}: lies inside the evidence, which is never written to; name another directory"
            );
        }
        Ok(Target { dir: absolute, evidence, force: args.force, preserve_mode: args.preserve_mode })
    }

    /// Makes the directory.
    fn make(self) -> anyhow::Result<Target> {
        let cannot = || format!("{}: cannot be made", self.dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).with_context(cannot)?;
        let dir = fs::canonicalize(&self.dir).with_context(cannot)?;
        Ok(Target { dir, ..self })
    }

    /// Fails only where going on makes no sense (disk full, cancel); what concerns this file alone is its outcome.
    fn extract(&self, checkpoint: &Checkpoint, row: &FileRow<'_>, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        if !row.has_content {
            return Ok(Err(content::why_empty(row)));
        }
        let parts = match confined(row) {
            Ok(parts) => parts,
            Err(why) => return Ok(Err(why)),
        };
        let Some((file_name, dirs)) = parts.split_last() else { return Ok(Err("has no name".into())) };
        let dir = match self.make_dirs(dirs)? {
            Ok(dir) => dir,
            Err(why) => return Ok(Err(why)),
        };
        let path = dir.join(file_name);
        if let Some(why) = self.refusal(&path) {
            return Ok(Err(why));
        }
        let cannot = || format!("{}: cannot be written", path.display());
        let mut file = tempfile::NamedTempFile::new_in(&dir).with_context(cannot)?;
        let size = match write(checkpoint, row, progress, file.as_file_mut()) {
            Ok(size) => size,
            Err(error) if ends_all(&error) => return Err(error.context(cannot())),
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
        self.dress(file.as_file(), row).with_context(cannot)?;
        let kept = if self.force { file.persist(&path) } else { file.persist_noclobber(&path) };
        match kept {
            Ok(_) => Ok(Ok((path, size))),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(Err(exists(&path))),
            Err(error) => Err(error.error).with_context(cannot),
        }
    }

    fn make_dirs(&self, parts: &[&OsStr]) -> anyhow::Result<Result<PathBuf, String>> {
        let mut dir = self.dir.clone();
        for part in parts {
            dir.push(part);
            match fs::symlink_metadata(&dir) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Ok(Err(format!("{} is in the way and no directory", dir.display()))),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let made = DirBuilder::new().mode(0o700).create(&dir);
                    made.with_context(|| format!("{}: cannot be made", dir.display()))?;
                }
                // Too long as a whole, and the like.
                Err(error) => return Ok(Err(format!("its directory cannot be made: {error}"))),
            }
        }
        Ok(Ok(dir))
    }

    fn refusal(&self, path: &Path) -> Option<String> {
        let found = fs::symlink_metadata(path).ok()?;
        if found.is_dir() {
            return Some(format!("{} is a directory", path.display()));
        }
        if !self.force {
            return Some(exists(path));
        }
        let is_evidence = self.evidence.is_some() && fs::canonicalize(path).ok() == self.evidence;
        is_evidence.then(|| format!("{} is the evidence, which is never written to", path.display()))
    }

    /// Times and, if asked for, permission bits.
    fn dress(&self, file: &File, row: &FileRow<'_>) -> io::Result<()> {
        if let Some(seconds) = row.mtime.and_then(|mtime| u64::try_from(mtime).ok())
            && let Some(time) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
        {
            // A time that the file system cannot hold is no reason to lose the content.
            let _ = file.set_modified(time);
        }
        match row.mode_bits.filter(|_| self.preserve_mode) {
            Some(mode) => file.set_permissions(Permissions::from_mode(mode & 0o777)),
            None => Ok(()),
        }
    }
}

/// Whether the analyst's disk is at fault or stop was pressed, so that the rest would fare no better.
fn ends_all(error: &anyhow::Error) -> bool {
    use ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    error.is::<crate::base::Cancelled>()
        || matches!(io, Some(StorageFull | QuotaExceeded | PermissionDenied | ReadOnlyFilesystem))
}

fn exists(path: &Path) -> String {
    format!("{} exists; --force replaces it", path.display())
}

/// Parts of the path below the target directory, or why it has none.
fn confined<'r>(row: &'r FileRow<'_>) -> Result<Vec<&'r OsStr>, String> {
    let mut parts = vec![OsStr::new(row.source)];
    for part in row.raw_path.as_bytes().split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its path has a .. in it and would leave the directory".into()),
            part if part.contains(&0) => return Err("its path has a NUL byte in it".into()),
            part if part.len() > MAX_NAME_BYTES => {
                return Err(format!("a part of its path has {} bytes, more than file systems take", part.len()));
            }
            part => parts.push(OsStr::from_bytes(part)),
        }
    }
    if parts.len() < 2 { Err("has no name".into()) } else { Ok(parts) }
}

fn write(checkpoint: &Checkpoint, row: &FileRow<'_>, progress: &dyn Progress, file: &mut File) -> anyhow::Result<u64> {
    let size = content::read(checkpoint, row, progress, &mut |offset, bytes| Ok(write_sparse(file, offset, bytes)?))?;
    file.set_len(size)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::files::FileContent;

    fn row(path: &[u8]) -> FileRow<'static> {
        FileRow {
            name: String::new(),
            source: "ghost",
            path: "".into(),
            path_hex: None,
            r#type: "file",
            mode: None,
            uid: None,
            gid: None,
            size_bytes: None,
            mtime: None,
            link_target: None,
            link_target_hex: None,
            has_content: true,
            r#where: None,
            raw_path: path.to_vec().into(),
            mode_bits: None,
            content: FileContent::None,
        }
    }

    #[test]
    fn paths_stay_below_the_source() {
        let check = |path: &[u8], expected: Result<&str, &str>| {
            let row = row(path);
            let found = confined(&row).map(|parts| parts.join(OsStr::new("/")));
            match expected {
                Ok(parts) => assert_eq!(found.as_deref(), Ok(OsStr::new(parts))),
                Err(why) => assert!(found.unwrap_err().contains(why)),
            }
        };
        check(b"/etc/passwd", Ok("ghost/etc/passwd"));
        check(b"//a/./b/", Ok("ghost/a/b"));
        check(b"/../etc/passwd", Err(".."));
        check(b"a/../../b", Err(".."));
        check(b"a\0b", Err("NUL"));
        check(b"/", Err("no name"));
        check(&[b'a'; 256], Err("256 bytes"));
    }
}
