//! What Docker's errors mean: `{"message": …}` with a status. Each text was observed with Docker 28.5, but for terminals, which
//! older ones refuse.

use serde::Deserialize;

use crate::agent::problem::Failure;

use super::kubelet_errors;

/// How a daemon comes to make checkpoints.
pub const MEND: &str = "put `\"experimental\": true` into /etc/docker/daemon.json and restart Docker (which ends its containers, unless it has `\"live-restore\": true`)";

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Why a daemon makes no checkpoints, and what to do, in one line.
pub fn not_experimental() -> String {
    format!("Docker makes no checkpoints while its experimental features are off: {MEND}")
}

/// How a container that stayed frozen is made to go on. A dockerd that is killed before it hears of the freeze takes the
/// container for running ever after, and will not unpause it.
pub fn cure(id: &str) -> String {
    format!(
        "`docker unpause {id}` lets it go on; where Docker says that it is not paused, `ctr -n moby tasks resume {id}` does"
    )
}

/// An error of the API in words.
pub fn explain(status: u16, body: &str, id: &str) -> Failure {
    let text = serde_json::from_str::<Refusal>(body).map_or_else(|_| body.trim().to_owned(), |said| said.message);
    let has = |words: &str| text.contains(words);
    let failure = if status == 501 || has("experimental feature is disabled") {
        Failure::new(501, "docker-not-experimental", "Docker makes no checkpoints: its experimental features are off")
            .hint(MEND)
    } else if status == 404 || has("No such container") {
        Failure::new(404, "no-such-container", "Docker has no such container")
    } else if status == 409 || has("is not running") {
        Failure::new(409, "container-not-running", "the container does not run")
    } else if has("with tty") {
        Failure::new(502, "terminal", "this Docker makes no checkpoints of containers that have a terminal (`-t`)")
            .hint("a newer Docker does (28 is known to); or take a collection by way of /proc")
    } else if has("already exists for container") {
        Failure::new(409, "checkpoint-exists", "there is a checkpoint of this name already").hint("try again")
    } else if has("cannot pause a paused container") {
        Failure::new(409, "container-busy", "somebody else makes a checkpoint of this container")
            .hint(format!("try again in a minute; if it stays frozen, {}", cure(id)))
    } else {
        kubelet_errors::runtime(&text)
    };
    failure.detail(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_observed_error_has_a_name() {
        let failed = |what: &str| format!("Cannot checkpoint container 8d36: {what}");
        let criu = "runc did not terminate successfully: exit status 1: ";
        for (status, message, expected) in [
            (
                501,
                "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.".to_owned(),
                "docker-not-experimental",
            ),
            (404, "No such container: 8d36".to_owned(), "no-such-container"),
            (409, "container 8d36 is not running".to_owned(), "container-not-running"),
            (500, "checkpoint not support on containers with tty".to_owned(), "terminal"),
            (
                500,
                "cannot checkpoint container 8d36: checkpoint with name one already exists for container 8d36".to_owned(),
                "checkpoint-exists",
            ),
            (500, failed("cannot pause a paused container"), "container-busy"),
            (
                500,
                failed(&format!("{criu}CRIU version check failed: exec: \"criu\": executable file not found in $PATH path= /x/criu-dump.log")),
                "criu-missing",
            ),
            (500, failed(&format!("{criu}criu failed: type NOTIFY errno 0 path= /x/criu-dump.log")), "checkpoint-failed"),
            (500, "mkdir /x: no space left on device".to_owned(), "no-room"),
            (500, "something new".to_owned(), "runtime-failed"),
        ] {
            let failure = explain(status, &serde_json::json!({"message": message}).to_string(), "8d36");
            assert_eq!(failure.problem.code, expected, "{message}");
            assert_eq!(failure.problem.detail, Some(message));
        }
        assert_eq!(explain(500, "no JSON\n", "8d36").problem.detail.as_deref(), Some("no JSON"));
    }
}
