//! What the kubelet's errors mean. They are plain text, and their status codes mislead: a container that ended is 500, a bad
//! timeout is 404, and so is a gate that is off. Each text was observed on kubelets 1.31 and 1.36 with CRI-O and containerd.

use crate::agent::dumplog;
use crate::agent::problem::Failure;

/// Most letters of an answer that are passed on.
const MAX_DETAIL: usize = 8192;

/// The permissions that are asked for, in one line; `nodes/proxy` is neither enough for checkpoints nor harmless.
pub const RBAC_CHECKPOINT: &str = r#"a ClusterRole that is bound to the identity needs {apiGroups: [""], resources: ["nodes/checkpoint"], verbs: ["create"]}, and to list pods {apiGroups: [""], resources: ["nodes/pods"], verbs: ["get"]}; kubelets before 1.33 list them for nodes/proxy alone, which lets its holder run commands in every container of the node"#;

/// An error of the kubelet in words.
pub fn explain(status: u16, body: &str) -> Failure {
    let text = body.trim();
    let failure = match status {
        401 => Failure::new(502, "kubelet-unauthorized", "the kubelet does not know us")
            .hint("give --kubelet-cert and --kubelet-key signed by the cluster's authority, or --kubelet-token; a good token is refused, too, while the API server does not answer the kubelet"),
        403 => {
            Failure::new(502, "kubelet-forbidden", "the kubelet knows us, and does not let us").hint(RBAC_CHECKPOINT)
        }
        404 => not_found(text),
        400 => Failure::new(502, "kubelet-unreachable", "this port of the kubelet speaks another protocol")
            .hint("--kubelet-url is https://…:10250"),
        405 => Failure::new(502, "kubelet-unreachable", "this port of the kubelet does not let itself be asked")
            .hint("10255 is the port for reading; --kubelet-url is https://…:10250"),
        _ => runtime(text),
    };
    failure.detail(text.chars().take(MAX_DETAIL).collect::<String>())
}

fn not_found(text: &str) -> Failure {
    if text.starts_with('{') {
        // An API server lists its paths, or answers with an object.
        Failure::new(502, "kubelet-unreachable", "what answers for the kubelet is the API server")
            .hint("--kubelet-url is https://NODE:10250")
    } else if text.contains("pod does not exist") {
        Failure::new(404, "no-such-pod", "the kubelet has no such pod")
            .hint("it may have ended; a static pod goes by its name with the node's name behind it")
    } else if text.starts_with("container ") && text.contains("does not exist") {
        Failure::new(404, "no-such-container", "the pod has no such container")
    } else if text.contains("404 page not found") {
        Failure::new(502, "checkpoint-gate-off", "this kubelet does not make checkpoints")
            .hint("its feature gate ContainerCheckpoint is off (it is on by default since 1.30), or this is its port for reading")
    } else if text.contains("timeout parameter") {
        Failure::new(400, "bad-timeout", "the kubelet does not take this timeout")
    } else {
        Failure::new(502, "kubelet-unreachable", "there is no such path on what answers for the kubelet")
            .hint("is --kubelet-url the kubelet?")
    }
}

/// What a runtime said, by way of the kubelet or its own socket.
pub fn runtime(text: &str) -> Failure {
    let has = |words: &str| text.contains(words);
    if has("Authorization error (") {
        Failure::new(502, "authorizer-failed", "the kubelet could not find out whether we may")
            .hint("the API server does not answer the node; a client certificate does not help, nor does trying again at once")
    } else if has("method CheckpointContainer not implemented") || has("Unimplemented") {
        Failure::new(502, "runtime-too-old", "the container runtime cannot make checkpoints")
            .hint("containerd can from 2.0 on, CRI-O from 1.25 on")
    } else if has("checkpoint/restore support not available") {
        Failure::new(502, "runtime-criu-off", "CRI-O makes no checkpoints")
            .hint("set enable_criu_support = true in crio.conf, see that criu is in the PATH of CRI-O, and restart it")
    } else if has("does not support checkpoint/restore") {
        Failure::new(502, "runtime-without-criu", "the container's runtime is built without criu")
            .hint("`crun --version` says +CRIU where it is not; `runtime = \"runc\"` in containers.conf holds for containers that are made afterwards")
    } else if has("CRIU binary not found or too old") || has("executable file not found in $PATH") {
        Failure::new(502, "criu-missing", "the runtime finds no criu, or too old a one")
            .hint("install criu on the node")
    } else if has("no space left on device") {
        Failure::new(507, "no-room", "the runtime found the node's disk full")
            .hint("it needs room for the memory twice: in its own directory, and for the archive")
    } else if has("DeadlineExceeded") || has("deadline exceeded") || has("RST_STREAM") || has("context canceled") {
        Failure::new(504, "runtime-timeout", "the runtime took too long")
            .hint("ask for a longer timeout; look whether the container is frozen before anything else")
    } else if has("cannot pause a paused container") || has("state is paused") {
        Failure::new(409, "container-frozen", "the container is frozen already")
            .hint("an earlier checkpoint was cut off, or somebody paused it; `ctr -n k8s.io tasks resume ID` (containerd) lets it go on")
    } else if has("failed to pause container") || has("ctrd-checkpoint/status") {
        Failure::new(409, "container-busy", "somebody else makes a checkpoint of this container")
            .hint("try again in a minute")
    } else if let Some(cause) = dumplog::cause_of(text) {
        Failure::new(502, cause.code, cause.what).hint(cause.remedy)
    } else if has("not found)") || has("NotFound") || has("no such container") {
        Failure::new(409, "container-not-running", "the container does not run")
            .hint("it ended, or waits for its image; right after a restart of the kubelet: try again in a minute")
    } else if has("criu failed") || has("checkpoint") {
        Failure::new(502, "checkpoint-failed", "criu could not dump the container")
            .hint("the detail has what the runtime said; a collection by way of /proc needs no criu")
    } else {
        Failure::new(502, "runtime-failed", "the runtime failed").hint("the detail has what it said")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_observed_error_has_a_name_and_advice() {
        let failed = |what: &str| format!("checkpointing of default/counter-node-a/counter failed ({what})");
        for (status, body, expected) in [
            (404, "pod does not exist".to_owned(), "no-such-pod"),
            (404, "container nosuch does not exist".to_owned(), "no-such-container"),
            (500, failed("container done not found"), "container-not-running"),
            (404, "cannot parse value of timeout parameter".to_owned(), "bad-timeout"),
            (405, "405: Method Not Allowed".to_owned(), "kubelet-unreachable"),
            (404, "404: Page Not Found".to_owned(), "kubelet-unreachable"),
            (404, "404 page not found\n".to_owned(), "checkpoint-gate-off"),
            (404, "{\n  \"paths\": [\n    \"/apis\"\n  ]\n}".to_owned(), "kubelet-unreachable"),
            (401, "Unauthorized".to_owned(), "kubelet-unauthorized"),
            (400, "Client sent an HTTP request to an HTTPS server.".to_owned(), "kubelet-unreachable"),
            (
                403,
                "Forbidden (user=limited-user, verb=create, resource=nodes, subresource(s)=[checkpoint])\n".to_owned(),
                "kubelet-forbidden",
            ),
            (
                403,
                "Forbidden (user=limited-user, verb=create, resource=nodes, subresource=checkpoint)".to_owned(),
                "kubelet-forbidden",
            ),
            (
                500,
                "Authorization error (user=a, verb=create, resource=nodes, subresource=checkpoint)".to_owned(),
                "authorizer-failed",
            ),
            (
                500,
                failed("rpc error: code = Unimplemented desc = method CheckpointContainer not implemented"),
                "runtime-too-old",
            ),
            (
                500,
                failed("rpc error: code = Unknown desc = checkpoint/restore support not available"),
                "runtime-criu-off",
            ),
            (
                500,
                failed(
                    "CRIU binary not found or too old (<31600). Failed to checkpoint container \"x\": failed to check for criu version: exec: \"criu\": executable file not found in $PATH",
                ),
                "criu-missing",
            ),
            (500, failed("could not load `libcriu.so.2`"), "libcriu-missing"),
            (500, "configured runtime does not support checkpoint/restore".to_owned(), "runtime-without-criu"),
            (500, failed("rpc error: code = DeadlineExceeded desc = context deadline exceeded"), "runtime-timeout"),
            (
                500,
                failed(
                    "rpc error: code = DeadlineExceeded desc = stream terminated by RST_STREAM with error code: CANCEL",
                ),
                "runtime-timeout",
            ),
            (500, failed("cannot pause a paused container"), "container-frozen"),
            (
                500,
                failed("failed to pause container \"x\" before checkpointing: container not running"),
                "container-busy",
            ),
            (500, failed("open /x/ctrd-checkpoint/status: no such file or directory"), "container-busy"),
            (500, failed("crun ...: Error (criu/sk-inet.c): In-flight connection (l) for 5"), "in-flight-connection"),
            (500, failed("criu failed: type DUMP errno 0 path= /x/criu-dump.log"), "checkpoint-failed"),
            (500, failed("write /x/a.tar: no space left on device"), "no-room"),
            (500, "something new".to_owned(), "runtime-failed"),
        ] {
            let failure = explain(status, &body);
            assert_eq!(failure.problem.code, expected, "{body}");
            assert_eq!(failure.problem.detail.as_deref(), Some(body.trim()));
        }
        let hint = explain(403, "Forbidden (").problem.hint.unwrap();
        assert!(hint.contains("nodes/checkpoint") && !hint.contains('\n'), "it is one line: {hint}");
    }
}
