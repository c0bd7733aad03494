//! The messages of the agent's API, version 1, as JSON over TLS 1.3 with certificates on both sides.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/node` | [`Node`] |
//! | `GET /v1/containers` | [`Containers`] |
//! | `GET /v1/containers/{id}/rootfs` | a tar of the container's base root file system, streamed; perhaps a header [`NOTE`] |
//! | `POST /v1/checkpoints` with [`CheckpointRequest`] | 202, [`Job`] |
//! | `POST /v1/collections` with [`CollectionRequest`] | 202, [`Job`]; the processes by way of /proc, nothing frozen |
//! | `GET /v1/jobs`, `GET /v1/jobs/{id}?wait=SECONDS` | [`Jobs`], [`Job`]; with `wait` when it changes, or after so long |
//! | `DELETE /v1/jobs/{id}` | [`Job`], asked to stop |
//! | `GET /v1/archives` | [`Archives`] |
//! | `GET /v1/archives/{id}` | [`Archive`] |
//! | `GET /v1/archives/{id}/content` | the bytes, with `Range`, `If-Range` and `ETag` = `"` SHA-256 in hex `"` |
//! | `GET /v1/archives/{id}/manifest` | [`super::manifest::SignedManifest`] |
//! | `GET /v1/archives/{id}/log` | text: dump.log of the archive |
//! | `PUT`, `DELETE /v1/archives/{id}/keep` | [`Archive`]; one that is kept is not removed to make room |
//! | `DELETE /v1/archives/{id}` | 204, where the operator allows it |
//! | `GET /v1/audit?after=N` | [`Audit`] |
//! | `POST /v1/pair` with [`PairRequest`] | [`PairAnswer`]; the only one that needs no certificate of the client |
//! | `GET /v1/openapi.json` | this table for programs |
//!
//! Every error is a [`Problem`]. Fields may be added within a version; readers pass over those that they do not know. Times
//! are RFC 3339 in UTC; sizes are bytes; hashes and keys are lower-case hex.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Header of an answer that is no JSON: what the analyst should know of it.
pub const NOTE: &str = "cryoscope-note";
/// Port that an agent listens on when it is told no other.
pub const DEFAULT_PORT: u16 = 7443;

/// The node, its agent, and what the agent can ask for checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Name of the node, as Kubernetes or the kernel has it.
    pub name: String,
    /// Of the agent.
    pub agent_version: String,
    /// Release of the kernel.
    pub kernel: String,
    /// As `x86_64`.
    pub arch: String,
    /// The node's clock when it answered.
    pub now: Timestamp,
    /// Ed25519 key that signs manifests.
    pub public_key: String,
    /// Who can be asked.
    pub sources: Vec<Source>,
    /// Where archives wait.
    pub spool: Spool,
    /// Whether the operator allows archives to be deleted.
    pub may_delete: bool,
}

/// Somebody on the node that makes checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Which.
    pub kind: SourceKind,
    /// Its address: a URL or a path.
    pub address: String,
    /// Name and version as it says them, as `containerd 2.1.9`.
    pub version: Option<String>,
    /// Whether it can be asked.
    pub ready: bool,
    /// Why not, and what to do.
    pub problem: Option<String>,
}

/// Kinds of sources, the one asked first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The kubelet's checkpoint endpoint.
    Kubelet,
    /// The socket of CRI-O or containerd.
    Cri,
    /// Podman's API.
    Podman,
    /// Docker's API.
    Docker,
    /// The agent itself, out of /proc.
    Proc,
}

/// Where archives wait until they are fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spool {
    /// Taken by archives.
    pub used_bytes: u64,
    /// At most so much is taken.
    pub limit_bytes: u64,
    /// Free on its file system.
    pub free_bytes: u64,
    /// Is left free there whatever happens.
    pub reserve_bytes: u64,
}

/// The containers of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Containers {
    /// Those found.
    pub containers: Vec<Container>,
    /// What could not be asked, in words.
    pub issues: Vec<String>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Of the runtime, without its prefix.
    pub id: String,
    /// The short name.
    pub name: String,
    /// Its pod, where it has one.
    pub pod: Option<String>,
    /// Namespace of Kubernetes.
    pub namespace: Option<String>,
    /// As it was asked for.
    pub image: Option<String>,
    /// As the runtime resolved it.
    pub image_id: Option<String>,
    /// As `cri-o`, `containerd`, `podman`, `docker`.
    pub engine: String,
    /// Who is asked for its checkpoint.
    pub source: SourceKind,
    /// What it does.
    pub state: ContainerState,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Process id of its root process on the node.
    pub pid: Option<u32>,
    /// Labels, of the pod too.
    pub labels: BTreeMap<String, String>,
    /// Why no checkpoint can be made of it now, and what to do.
    pub problem: Option<String>,
    /// What may become of it when it is frozen for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerState {
    /// It was never started.
    Created,
    /// It runs.
    Running,
    /// It is stopped where it is, whatever others say.
    Frozen,
    /// It ended.
    Exited,
    /// Nobody says.
    #[serde(other)]
    Unknown,
}

/// Asks for a checkpoint. The container goes on afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRequest {
    /// [`Container::id`], or so much of its beginning as is one of a kind.
    pub container: String,
    /// How long the runtime may take.
    #[serde(default = "default_timeout_seconds")]
    pub timeout_seconds: u32,
    /// Whom to ask, when not the first that can.
    #[serde(default)]
    pub source: Option<SourceKind>,
    /// Words of the requester for the manifest and the audit log: a case number.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Generous: a runtime that is cut off may leave its container frozen.
pub fn default_timeout_seconds() -> u32 {
    600
}

/// Asks for the processes by way of /proc, where no checkpoint can be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionRequest {
    /// As in [`CheckpointRequest`].
    pub container: String,
    /// Most bytes of memory that are read.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    /// The processes stand still meanwhile, so that memory is of one moment, and registers are taken.
    #[serde(default)]
    pub hold: bool,
    /// As in [`CheckpointRequest`].
    #[serde(default)]
    pub reason: Option<String>,
}

/// Work of the agent that takes a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// One of a kind on this node.
    pub id: String,
    /// What it makes.
    pub kind: JobKind,
    /// [`Container::id`].
    pub container: String,
    /// Where it stands.
    pub state: JobState,
    /// The same in words, as "the runtime writes memory".
    pub step: String,
    /// When it was asked for.
    pub requested: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Bytes so far, where they can be counted.
    pub done_bytes: Option<u64>,
    /// Id of the archive, once there is one.
    pub archive: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What the operator should know although it did not fail: a container that stayed frozen.
    pub warnings: Vec<String>,
}

/// What a job makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// An archive by way of CRIU.
    Checkpoint,
    /// An archive out of /proc.
    Collection,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It waits for another job of the same container.
    Queued,
    /// It is under way.
    Running,
    /// There is an archive.
    Done,
    /// There is none.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl JobState {
    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Done | JobState::Failed | JobState::Cancelled)
    }
}

/// The jobs of an agent, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Jobs {
    /// Those not forgotten.
    pub jobs: Vec<Job>,
}

/// The archives of a node, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Archives {
    /// In the spool.
    pub archives: Vec<Archive>,
}

/// An archive that waits on the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Archive {
    /// One of a kind on this node.
    pub id: String,
    /// Its file's name, as the kubelet names archives.
    pub name: String,
    /// Its length.
    pub size_bytes: u64,
    /// Of its bytes.
    pub sha256: String,
    /// When it was complete.
    pub created: Timestamp,
    /// How it was made.
    pub kind: JobKind,
    /// [`Container::id`].
    pub container: String,
    /// [`Container::name`].
    pub container_name: String,
    /// [`Container::pod`].
    pub pod: Option<String>,
    /// [`Container::namespace`].
    pub namespace: Option<String>,
    /// Whether it stays when room is needed.
    pub keep: bool,
}

/// What the agent did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The oldest first.
    pub entries: Vec<AuditEntry>,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts up.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who asked.
    pub who: Requester,
    /// As `checkpoint`, `download`, `pair`.
    pub action: String,
    /// Of what: a container, an archive.
    pub subject: Option<String>,
    /// HTTP status of the answer.
    pub status: u16,
    /// More, as the reason given, or bytes sent.
    pub detail: Option<String>,
}

/// Who asked, as their certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// Common name; nothing for a request without a certificate.
    pub name: Option<String>,
    /// SHA-256 of the certificate.
    pub fingerprint: Option<String>,
    /// Address of the other end.
    pub address: Option<String>,
}

/// Asks for a certificate, with the code that `cryoscope-agent pair` printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairRequest {
    /// [`PairCode::secret`], in hex.
    pub secret: String,
    /// Certificate request in PEM, made by the workstation, whose key never leaves it.
    pub csr: String,
}

/// The certificates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairAnswer {
    /// For the workstation, in PEM.
    pub certificate: String,
    /// Authority of the agent, in PEM; both ends' certificates are signed by it.
    pub authority: String,
    /// [`Node::name`].
    pub node: String,
    /// [`Node::public_key`].
    pub public_key: String,
}

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs, as `no-such-container`.
    pub code: String,
    /// What went wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What the runtime or the kubelet said, word for word.
    pub detail: Option<String>,
    /// Of a dump that failed: the last line of criu's log, and before it what stands out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// What `cryoscope-agent pair` prints: a secret that is good once and for minutes, and enough of the agent's certificate to
/// know it by, so that the secret is told to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairCode {
    /// Known to the agent.
    pub secret: [u8; 10],
    /// The first bytes of the SHA-256 of the agent's authority (DER).
    pub authority: [u8; 15],
}

/// Letters of a code: no 0, 1, I, O that look alike.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

impl PairCode {
    /// Five letters and a dash, eight times: 25 bytes, five bits a letter.
    pub fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.secret.iter().chain(&self.authority).copied().collect();
        let mut text = String::new();
        for (n, five) in bytes.chunks(5).enumerate() {
            let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for letter in (0..8).rev() {
                if n * 8 + 7 - letter > 0 && (n * 8 + 7 - letter) % 5 == 0 {
                    text.push('-');
                }
                text.push(char::from(LETTERS[(bits >> (letter * 5) & 31) as usize]));
            }
        }
        text
    }

    /// Reads a code; dashes, spaces and case do not matter. `None` when it is none.
    pub fn parse(text: &str) -> Option<PairCode> {
        let mut bytes = Vec::with_capacity(25);
        let mut bits = 0_u64;
        let mut n_letters = 0;
        for letter in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let value = LETTERS.iter().position(|known| *known == letter.to_ascii_uppercase())?;
            bits = bits << 5 | value as u64;
            n_letters += 1;
            if n_letters % 8 == 0 {
                bytes.extend_from_slice(&bits.to_be_bytes()[3..]);
                bits = 0;
            }
            if n_letters > 40 {
                return None;
            }
        }
        let (secret, authority) = bytes.split_at_checked(10)?;
        Some(PairCode { secret: secret.try_into().ok()?, authority: authority.try_into().ok()? })
            .filter(|_| n_letters == 40)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_read_as_it_was_printed_however_it_is_typed() {
        let code = PairCode { secret: *b"0123456789", authority: [0xff; 15] };
        let text = code.to_text();
        assert_eq!(text.len(), 47);
        assert!(text.split('-').all(|group| group.len() == 5), "{text}");
        assert_eq!(PairCode::parse(&text), Some(code.clone()));
        assert_eq!(PairCode::parse(&text.to_lowercase().replace('-', " ")), Some(code));
        for wrong in ["", "ABCDE", &text[1..], &format!("{text}A"), &text.replace('Z', "0"), &text.repeat(1000)] {
            assert_eq!(PairCode::parse(wrong), None, "{wrong:.60}");
        }
    }

    #[test]
    fn request_needs_a_container_only_and_fields_of_later_agents_do_no_harm() {
        let request: CheckpointRequest = serde_json::from_str(r#"{"container": "abc", "new": [1]}"#).unwrap();
        assert_eq!((request.timeout_seconds, request.source, request.reason), (600, None, None));
        let state: ContainerState = serde_json::from_str(r#""hibernating""#).unwrap();
        assert_eq!(state, ContainerState::Unknown);
    }
}
