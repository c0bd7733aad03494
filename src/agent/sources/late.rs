//! Archives that appear after their request was given up: CRI-O goes on, and writes a whole archive that nobody is told about, in
//! the kubelet's directory under the time of the request, or where the agent asked for it.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::acquire::wire::Container;
use crate::agent::problem::Outcome;

use super::checked_name;
use super::host_file::open_in;

const POLL: Duration = Duration::from_millis(500);
/// Clocks of file systems tick coarsely.
pub(super) const SLACK: Duration = Duration::from_secs(2);
/// Most files of the directory that are looked at.
const MAX_FILES: usize = 100_000;
/// Two blocks of zeros end a tar.
const TAR_END: usize = 1024;

/// An archive that is whole: its name, its length, and it.
type Found = (String, u64, File);

/// Waits for the kubelet's archive of a request that was sent at `since`; none when `patience` is over.
///
/// # Errors
/// The container's names cannot be such.
pub async fn of_kubelet(
    dir: &Path,
    container: &Container,
    since: Timestamp,
    patience: Duration,
) -> Outcome<Option<(String, File)>> {
    let pod = checked_name(container.pod.as_deref().unwrap_or_default())?;
    let namespace = checked_name(container.namespace.as_deref().unwrap_or_default())?;
    let prefix = format!("checkpoint-{pod}_{namespace}-{}-", checked_name(&container.name)?);
    let dir = dir.to_owned();
    Ok(settled(move || first(&dir, &prefix, since), patience).await)
}

/// Waits until the file at `path` is a whole archive; `false` when `patience` is over.
pub async fn at(path: &Path, patience: Duration) -> bool {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let (dir, name) = (dir.to_owned(), name.to_owned());
    let look = move || match open_in(&dir, &name) {
        Ok(file) => whole(name.clone(), file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    settled(look, patience).await.is_some()
}

/// Looks until an archive is found twice with the same length: it ends as a tar does, and grows no more.
async fn settled(
    look: impl Fn() -> io::Result<Option<Found>> + Clone + Send + 'static,
    patience: Duration,
) -> Option<(String, File)> {
    let until = Instant::now() + patience;
    let mut last = None;
    loop {
        match tokio::task::spawn_blocking(look.clone()).await {
            Ok(Ok(Some((name, size, file)))) => {
                if last == Some((name.clone(), size)) {
                    return Some((name, file));
                }
                last = Some((name, size));
            }
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => tracing::debug!("late archives: {error}"),
            Err(error) => tracing::error!("late archives: {error}"),
        }
        if until <= Instant::now() {
            return None;
        }
        sleep(POLL).await;
    }
}

/// The first whole archive with this prefix that is not older than the request: a later one is of another request.
#[expect(clippy::disallowed_methods, reason = "the kubelet's directory is looked through, not evidence")]
fn first(dir: &Path, prefix: &str, since: Timestamp) -> io::Result<Option<Found>> {
    let mut found: Option<(Timestamp, Found)> = None;
    for entry in std::fs::read_dir(dir)?.take(MAX_FILES) {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        // The rest is a time in seconds: of another container with a longer name it would not be.
        let stamp = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".tar")?.parse::<Timestamp>().ok());
        let Some(stamp) = stamp.filter(|stamp| since.as_second() <= stamp.as_second()) else { continue };
        let Ok(file) = open_in(dir, &name) else { continue };
        let is_new = since <= modified(&file.metadata()?)? + SLACK;
        if is_new
            && found.as_ref().is_none_or(|(first, _)| stamp < *first)
            && let Some(whole) = whole(name, file)?
        {
            found = Some((stamp, whole));
        }
    }
    Ok(found.map(|(_, found)| found))
}

pub(super) fn modified(file: &Metadata) -> io::Result<Timestamp> {
    Timestamp::try_from(file.modified()?).map_err(io::Error::other)
}

fn whole(name: String, mut file: File) -> io::Result<Option<Found>> {
    let size = file.metadata()?.size();
    if size < TAR_END as u64 || !size.is_multiple_of(512) {
        return Ok(None);
    }
    let mut end = [0xff; TAR_END];
    file.seek(SeekFrom::End(-(TAR_END as i64)))?;
    file.read_exact(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(end.iter().all(|byte| *byte == 0).then_some((name, size, file)))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes files")]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_whole_archive_of_this_container_since_the_request_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        let look = |since| first(dir.path(), "checkpoint-web_default-app-", since).unwrap().map(|(name, ..)| name);
        let now = Timestamp::now();
        let name = |seconds: i64| {
            let at = Timestamp::from_second(now.as_second() + seconds).unwrap();
            format!("checkpoint-web_default-app-{at:.0}.tar")
        };
        write(&name(0).replace("app-", "app-side-"), &[0; 2048]);
        assert_eq!(look(now), None, "another container");
        write(&name(0), &[1; 2048]);
        assert_eq!(look(now), None, "it has no end yet");
        write(&name(0), &[0; 2048]);
        write(&name(-1), &[0; 2048]);
        write(&name(1), &[0; 2048]);
        assert_eq!(look(now), Some(name(0)), "neither the one before nor the one after");
        assert_eq!(look(now + Duration::from_secs(60)), None, "all were there before");
        let zoned = name(0).replace("Z.tar", "+00:00.tar");
        std::fs::rename(dir.path().join(name(0)), dir.path().join(&zoned)).unwrap();
        assert_eq!(look(now), Some(zoned));
    }

    #[tokio::test]
    async fn file_that_a_runtime_writes_is_waited_for_until_it_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.tar");
        assert!(!at(&path, Duration::ZERO).await);
        std::fs::write(&path, [1; 2048]).unwrap();
        assert!(!at(&path, Duration::from_millis(600)).await, "it has no end yet");
        std::fs::write(&path, [0; 2048]).unwrap();
        assert!(at(&path, Duration::from_secs(5)).await);
    }
}
