//! criu's log of a dump that failed, where the runtime left it: of why, runtimes often say no more than "criu failed".
//!
//! | runtime | log |
//! |---|---|
//! | containerd | `io.containerd.runtime.v2.task/k8s.io/ID/criu-dump.log` beside its socket |
//! | Docker | the same of containerd, whose words it passes on: `…/io.containerd.runtime.v2.task/moby/ID/criu-dump.log` |
//! | CRI-O, Podman | `overlay-containers/ID/userdata/dump.log` of their store |
//!
//! A store may be elsewhere; then the runtime's words name the place, and are believed where the container's own id is a part of
//! it. Nothing of a request goes into a path but an id that was looked up.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use crate::agent::problem::Failure;
use crate::agent::{doctor, dumplog};

use super::host_file;
use super::late::{SLACK, modified};

/// Most of a log that is read: its end decides.
const MAX_LOG_BYTES: u64 = 4 << 20;
/// Most paths of a runtime's words that are looked at.
const MAX_NAMED: usize = 16;
/// Where stores of CRI-O and Podman are by default.
const STORES: [&str; 2] = ["/var/lib/containers/storage", "/run/containers/storage"];
/// What is said where a runtime does not say more.
const VAGUE: [&str; 2] = ["checkpoint-failed", "runtime-failed"];

/// Adds what criu's log says of why the dump of a container failed that was asked for at `since`.
pub fn explain(failure: Failure, id: &str, sockets: &[PathBuf], since: Timestamp) -> Failure {
    let words = failure.problem.detail.clone().unwrap_or_default();
    let places = places(id, sockets, &words);
    let log = places.iter().find_map(|path| match read(&doctor::host_root(), path, since) {
        Ok(log) => log.map(|log| (path, log)),
        Err(error) => {
            tracing::debug!("{}: {error}", path.display());
            None
        }
    });
    // Where criu was content, something else failed.
    let Some((path, log)) = log.filter(|(_, log)| !dumplog::is_finished(log)) else { return failure };
    tracing::info!("{}: why the dump failed", path.display());
    let is_vague = VAGUE.contains(&failure.problem.code.as_str());
    let explained = match dumplog::cause_in(&log).filter(|_| is_vague) {
        Some(cause) => Failure::new(failure.status, cause.code, cause.what).hint(cause.remedy).detail(words),
        None => failure,
    };
    explained.log(dumplog::highlights(&log))
}

/// Where it may be.
fn places(id: &str, sockets: &[PathBuf], words: &str) -> Vec<PathBuf> {
    let beside = |socket: &PathBuf| {
        Some(socket.parent()?.join("io.containerd.runtime.v2.task/k8s.io").join(id).join("criu-dump.log"))
    };
    let stores =
        STORES.iter().map(|store| Path::new(store).join("overlay-containers").join(id).join("userdata/dump.log"));
    named(id, words).into_iter().chain(sockets.iter().filter_map(beside)).chain(stores).collect()
}

/// Logs of this container that a runtime's words name, or whose directory they name.
fn named(id: &str, words: &str) -> Vec<PathBuf> {
    let parts = words.split(|c: char| c.is_whitespace() || "\"'`()[],".contains(c));
    let paths = parts.map(|part| Path::new(part.trim_end_matches([':', ';', '.'])));
    let is_of_container = |path: &&Path| {
        path.has_root()
            && path.components().any(|part| part == Component::Normal(id.as_ref()))
            && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
    };
    let log = |path: &Path| {
        let is_log = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("dump.log"));
        if is_log { path.to_owned() } else { path.join("dump.log") }
    };
    paths.filter(is_of_container).map(log).take(MAX_NAMED).collect()
}

/// The end of a log that was written since.
fn read(host: &Path, path: &Path, since: Timestamp) -> io::Result<Option<String>> {
    let Some(mut file) = host_file::open(host, path)? else { return Ok(None) };
    let facts = file.metadata()?;
    if modified(&facts)? + SLACK < since {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(facts.len().saturating_sub(MAX_LOG_BYTES)))?;
    let mut log = Vec::new();
    file.take(MAX_LOG_BYTES).read_to_end(&mut log)?;
    Ok(Some(String::from_utf8_lossy(&log).into_owned()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes files")]
mod tests {
    use std::time::Duration;

    use super::*;

    const LOG: &str = "(00.01) Error (criu/rlimit.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self\n(00.02) a word on /x\n\
        (00.03) Error (criu/files-reg.c:1031): Can't dump ghost file /big of 3002368 size, increase limit\n\
        (00.04) Error (criu/cr-dump.c:2111): Dumping FAILED.\n";

    fn id() -> String {
        "0123456789abcdef".repeat(4)
    }

    #[test]
    fn places_that_runtimes_name_are_taken_when_they_are_of_the_container() {
        let id = id();
        let log = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/criu-dump.log");
        let said = format!("criu failed: type NOTIFY errno 0 path= {log}: unknown");
        assert_eq!(named(&id, &said), [PathBuf::from(&log)]);
        let work = format!("/var/lib/containers/storage/overlay-containers/{id}/userdata");
        let said = format!(r#"running "/usr/bin/runc" ["checkpoint" "--work-path" "{work}" "{id}"] failed"#);
        assert_eq!(named(&id, &said), [PathBuf::from(format!("{work}/dump.log"))]);
        for other in
            ["/etc/shadow", "x", "", &format!("/x/{}/dump.log", &id[1..]), &format!("/x/{id}/../../etc/dump.log")]
        {
            assert!(named(&id, other).is_empty(), "{other}");
        }
        assert!(places(&id, &[PathBuf::from("/run/containerd/containerd.sock")], "criu failed").contains(&log.into()));
    }

    #[test]
    fn log_of_this_dump_says_why_and_an_older_or_linked_one_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (id, since) = (id(), Timestamp::now());
        let socket = dir.path().join("containerd.sock");
        let bundle = dir.path().join("io.containerd.runtime.v2.task/k8s.io").join(&id);
        std::fs::create_dir_all(&bundle).unwrap();
        let log = bundle.join("criu-dump.log");
        let vague =
            || Failure::new(502, "checkpoint-failed", "criu could not dump the container").detail("criu failed");
        let told = |since| explain(vague(), &id, std::slice::from_ref(&socket), since).problem;
        assert_eq!(told(since), vague().problem, "there is none");
        std::fs::write(&log, LOG).unwrap();
        let problem = told(since);
        assert_eq!((problem.code.as_str(), problem.log.len()), ("ghost-file", 3));
        assert!(problem.hint.unwrap().contains("ghost-limit") && problem.detail.unwrap() == "criu failed");
        assert_eq!(told(since + Duration::from_secs(60)), vague().problem, "it was there before");
        let clear = Failure::new(504, "runtime-timeout", "late");
        assert_eq!(explain(clear, &id, std::slice::from_ref(&socket), since).problem.code, "runtime-timeout");
        std::fs::write(&log, "Dumping finished successfully\n").unwrap();
        assert_eq!(told(since), vague().problem, "criu was content");
        std::fs::remove_file(&log).unwrap();
        std::os::unix::fs::symlink("/proc/self/environ", &log).unwrap();
        assert_eq!(told(since), vague().problem);
    }
}
