//! Which archives a hunt is over: those named, those below directories and in buckets, those of lists; of a share only its
//! part.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::context::Context;
use super::hunt_args::{HuntArgs, Shard};
use super::hunt_buckets;
use super::list::is_checkpoint_dir;
use crate::base::Progress;
use crate::evidence::{self, Evidence};
use crate::remote::{Remote, S3Uri};
use crate::report::hunt::{ArchiveName, IssueRow};

/// Deepest directory below one that was named.
const MAX_DEPTH: usize = 32;
/// Most archives of one hunt.
const MAX_ARCHIVES: usize = 5_000_000;
/// Longest line of a list.
const MAX_LINE: u64 = 64 << 10;

/// An archive of a hunt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Archive {
    /// A file, or a directory that is a checkpoint.
    Path(PathBuf),
    /// An http or https address.
    Url(String),
    /// An object of a bucket.
    Object(S3Uri),
}

impl Archive {
    /// As rows name it: without what follows the ? of a presigned address, which is a secret.
    pub(super) fn name(&self) -> String {
        match self {
            Archive::Path(path) => path.display().to_string(),
            Archive::Url(url) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
            Archive::Object(uri) => uri.to_string(),
        }
    }

    /// What a path names, a directory too.
    pub(super) fn named(path: &Path) -> anyhow::Result<Archive> {
        if let Some(uri) = of_bucket(path)? {
            return Ok(Archive::Object(uri));
        }
        let url = path.to_str().filter(|text| text.starts_with("https://") || text.starts_with("http://"));
        Ok(url.map_or_else(|| Archive::Path(path.to_owned()), |url| Archive::Url(url.to_owned())))
    }

    /// Opens it, wherever it lies.
    pub(super) fn open(
        &self,
        remote: &Remote,
        options: &evidence::OpenOptions,
        progress: &dyn Progress,
    ) -> anyhow::Result<Evidence> {
        let fetch = match self {
            Archive::Path(path) => return Ok(Evidence::open(path, options, progress)?),
            Archive::Url(url) => remote.open(url)?,
            Archive::Object(uri) => remote.bucket(&uri.bucket)?.open(&uri.key)?,
        };
        Ok(Evidence::open_reader(&self.name(), Box::new(fetch), options, progress)?)
    }

    /// Which share it is in: the same whatever others there are, so that shares that begin at different times agree.
    fn is_in(&self, shard: Shard) -> bool {
        let digest = Sha256::digest(self.name().as_bytes());
        let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % u64::from(shard.count.max(1)) == u64::from(shard.index)
    }
}

/// The archives of a share, sorted, and what could not be listed.
pub(super) fn find(
    args: &HuntArgs,
    shard: Shard,
    remote: &Remote,
    context: &mut Context<'_>,
) -> anyhow::Result<(Vec<Archive>, Vec<IssueRow>)> {
    let mut found = Found { archives: BTreeSet::new(), issues: Vec::new(), output: None };
    found.output = args.output.as_ref().and_then(|dir| fs::canonicalize(dir).ok());
    for path in &args.paths {
        match of_bucket(path)? {
            Some(uri) => found.bucket(&hunt_buckets::find(&uri, remote, &context.progress())?)?,
            None => found.add(path)?,
        }
    }
    for list in &args.list {
        let reader: Box<dyn Read> = if list.as_os_str() == "-" {
            context.take_stdin().context("-: standard input can be read only once")?
        } else {
            let opened = OpenOptions::new().read(true).open(list);
            Box::new(opened.with_context(|| format!("{}: cannot be read", list.display()))?)
        };
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line);
            if read.with_context(|| format!("{}: cannot be read", list.display()))? == 0 {
                break;
            }
            anyhow::ensure!(
                (line.len() as u64) < MAX_LINE,
                "{}: a line has more than {MAX_LINE} bytes: is it a list?",
                list.display()
            );
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let path = path_of(line);
            match of_bucket(&path) {
                Err(error) => {
                    let (given, what) = (path.display().to_string(), error.to_string());
                    found.issue(&given, what.strip_prefix(&format!("{given}: ")).unwrap_or(&what));
                }
                // A line is one object: a list may be long, and is not to cost a request for each.
                Ok(Some(uri)) if !hunt_buckets::is_many(&uri) => found.insert(Archive::Object(uri))?,
                Ok(Some(uri)) => found.bucket(&hunt_buckets::find(&uri, remote, &context.progress())?)?,
                Ok(None) => found.add(&path)?,
            }
        }
    }
    let archives = found.archives.into_iter().filter(|archive| archive.is_in(shard)).collect();
    // What cannot be listed is told by one share, not by all.
    let issues = if shard.index == 0 { found.issues } else { Vec::new() };
    Ok((archives, issues))
}

/// What a path names, where that is a bucket.
fn of_bucket(path: &Path) -> anyhow::Result<Option<S3Uri>> {
    match path.to_str() {
        Some(text) if text.starts_with("s3://") => Ok(Some(text.parse()?)),
        _ => Ok(None),
    }
}

fn path_of(line: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(line))
}

struct Found {
    archives: BTreeSet<Archive>,
    issues: Vec<IssueRow>,
    /// Tables that an earlier hunt wrote are no archives.
    output: Option<PathBuf>,
}

impl Found {
    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        if let Some((scheme, _)) = path.to_str().and_then(|text| text.split_once("://")) {
            let archive = Archive::Url(path.to_string_lossy().into_owned());
            let url = archive.name();
            match scheme {
                "http" | "https" => self.insert(archive)?,
                "gs" | "gcs" => self.issue(
                    &url,
                    "Google's buckets are read as s3://BUCKET with --endpoint https://storage.googleapis.com and HMAC keys",
                ),
                "az" | "abfs" | "abfss" => {
                    self.issue(&url, "Azure's containers are not read: mount it, or give https addresses with a signature");
                }
                _ => self.issue(&url, "only paths, s3://BUCKET, and http and https addresses can be opened"),
            }
            return Ok(());
        }
        // A path that is not there becomes an issue when it is opened.
        if path.is_dir() && !is_checkpoint_dir(path) {
            return self.walk(path);
        }
        self.insert(Archive::Path(path.to_owned()))
    }

    /// What was found in a bucket.
    fn bucket(&mut self, found: &hunt_buckets::InBucket) -> anyhow::Result<()> {
        for dir in &found.dirs {
            self.issue(
                &dir.to_string(),
                "is a checkpoint as a directory of objects: pack it as a tar, or mount the bucket",
            );
        }
        found.objects.iter().try_for_each(|uri| self.insert(Archive::Object(uri.clone())))
    }

    fn insert(&mut self, archive: Archive) -> anyhow::Result<()> {
        anyhow::ensure!(self.archives.len() < MAX_ARCHIVES, "there are more than {MAX_ARCHIVES} archives");
        self.archives.insert(archive);
        Ok(())
    }

    /// Links to directories are not followed, so that nothing is walked in a circle.
    fn walk(&mut self, root: &Path) -> anyhow::Result<()> {
        let mut dirs = vec![(root.to_owned(), 0)];
        while let Some((dir, depth)) = dirs.pop() {
            if fs::canonicalize(&dir).ok().is_some_and(|dir| Some(dir) == self.output) {
                continue;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "looks for evidence; what is found is opened by src/evidence"
            )]
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) => {
                    self.issue(&dir.display().to_string(), &format!("cannot be listed: {error}"));
                    continue;
                }
            };
            for entry in entries {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        self.issue(&dir.display().to_string(), &format!("cannot be listed whole: {error}"));
                        continue;
                    }
                };
                let path = entry.path();
                let Ok(kind) = entry.file_type() else { continue };
                let is_link_to_file = kind.is_symlink() && path.is_file();
                if kind.is_file() || is_link_to_file || (kind.is_dir() && is_checkpoint_dir(&path)) {
                    self.insert(Archive::Path(path))?;
                } else if kind.is_dir() && depth < MAX_DEPTH {
                    dirs.push((path, depth + 1));
                } else if kind.is_dir() {
                    self.issue(
                        &path.display().to_string(),
                        &format!("more than {MAX_DEPTH} directories deep: left out"),
                    );
                }
            }
        }
        Ok(())
    }

    fn issue(&mut self, archive: &str, what: &str) {
        let name = ArchiveName { archive: archive.to_owned(), sha256: None };
        self.issues.push(IssueRow { name, images_dir: None, kind: "archive", r#where: None, what: what.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_divide_archives_whatever_others_there_are() {
        let all: Vec<Archive> = (0..1000).map(|n| Archive::Path(format!("/evidence/{n}.tar").into())).collect();
        let mut sizes = Vec::new();
        for index in 0..10 {
            sizes.push(all.iter().filter(|archive| archive.is_in(Shard { index, count: 10 })).count());
        }
        assert_eq!(sizes.iter().sum::<usize>(), 1000);
        assert!(sizes.iter().all(|size| (60..140).contains(size)), "{sizes:?}");
        assert!(all.iter().all(|archive| archive.is_in(Shard::WHOLE)));
    }

    #[test]
    fn presigned_address_is_named_without_its_secret() {
        let archive = Archive::Url("https://bucket.example/a.tar?X-Amz-Signature=secret".into());
        assert_eq!(archive.name(), "https://bucket.example/a.tar");
    }
}
