//! Archives that appear after the kubelet has given up: CRI-O goes on, and writes a whole archive that nobody is told about,
//! named after the time of the request.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::acquire::wire::Container;
use crate::agent::problem::Outcome;

use super::checked_name;
use super::kubelet::open;

const POLL: Duration = Duration::from_millis(500);
/// Clocks of file systems tick coarsely.
const SLACK: Duration = Duration::from_secs(2);
/// Most files of the directory that are looked at.
const MAX_FILES: usize = 100_000;
/// Two blocks of zeros end a tar.
const TAR_END: usize = 1024;

/// Waits for the archive of a request that was sent at `since`; none when `patience` is over.
///
/// # Errors
/// The container's names cannot be such.
pub async fn wait_for(
    dir: &Path,
    container: &Container,
    since: SystemTime,
    patience: Duration,
) -> Outcome<Option<(String, File)>> {
    let pod = checked_name(container.pod.as_deref().unwrap_or_default())?;
    let namespace = checked_name(container.namespace.as_deref().unwrap_or_default())?;
    let prefix = format!("checkpoint-{pod}_{namespace}-{}-", checked_name(&container.name)?);
    let until = Instant::now() + patience;
    let mut last = None;
    loop {
        let (dir, prefix) = (dir.to_owned(), prefix.clone());
        let looked = tokio::task::spawn_blocking(move || newest(&dir, &prefix, since)).await;
        match looked {
            Ok(Ok(Some((name, size, file)))) => {
                // Whole when it ends as a tar does, and grows no more.
                if last == Some((name.clone(), size)) {
                    return Ok(Some((name, file)));
                }
                last = Some((name, size));
            }
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => tracing::debug!("late archives: {error}"),
            Err(error) => tracing::error!("late archives: {error}"),
        }
        if until <= Instant::now() {
            return Ok(None);
        }
        sleep(POLL).await;
    }
}

/// The newest whole archive with this prefix, not older than the request.
#[expect(clippy::disallowed_methods, reason = "the kubelet's directory is looked through, not evidence")]
fn newest(dir: &Path, prefix: &str, since: SystemTime) -> io::Result<Option<(String, u64, File)>> {
    let mut found: Option<(SystemTime, String, u64, File)> = None;
    for entry in std::fs::read_dir(dir)?.take(MAX_FILES) {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let stamp = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".tar"));
        // The rest is a time: of another container with a longer name it would not be.
        if !stamp.is_some_and(|stamp| stamp.starts_with(|c: char| c.is_ascii_digit()) && stamp.contains('T')) {
            continue;
        }
        let Ok(mut file) = open(dir, &name) else { continue };
        let data = file.metadata()?;
        let modified = data.modified()?;
        let is_newer = found.as_ref().is_none_or(|(at, ..)| *at < modified);
        if since <= modified + SLACK && is_newer && ends_as_tar(&mut file, data.size())? {
            found = Some((modified, name, data.size(), file));
        }
    }
    Ok(found.map(|(_, name, size, file)| (name, size, file)))
}

fn ends_as_tar(file: &mut File, size: u64) -> io::Result<bool> {
    if size < TAR_END as u64 || !size.is_multiple_of(512) {
        return Ok(false);
    }
    let mut end = [0xff; TAR_END];
    file.seek(SeekFrom::End(-(TAR_END as i64)))?;
    file.read_exact(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(end.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes files")]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_archive_of_this_container_since_the_request_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        let look = |since| newest(dir.path(), "checkpoint-web_default-app-", since).unwrap().map(|(name, ..)| name);
        let now = SystemTime::now();
        write("checkpoint-web_default-app-side-2026-11-23T14:42:13Z.tar", &[0; 2048]);
        assert_eq!(look(now), None, "another container");
        write("checkpoint-web_default-app-2026-11-23T14:42:13Z.tar", &[1; 2048]);
        assert_eq!(look(now), None, "it has no end yet");
        write("checkpoint-web_default-app-2026-11-23T14:42:13Z.tar", &[0; 2048]);
        assert_eq!(look(now).as_deref(), Some("checkpoint-web_default-app-2026-11-23T14:42:13Z.tar"));
        assert_eq!(look(now + Duration::from_secs(60)), None, "it was there before");
    }
}
