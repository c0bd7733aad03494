//! Texts that came with the checkpoint: specification, configuration, status, logs.

use bytes::Bytes;

/// One text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Path inside the evidence (`spec.dump`).
    pub name: String,
    /// What it is.
    pub kind: DocumentKind,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// OCI runtime specification, JSON.
    Spec,
    /// The engine's own configuration, JSON.
    Config,
    /// The engine's status, JSON.
    Status,
    /// Networks, JSON.
    Network,
    /// Other JSON of the engine.
    OtherJson,
    /// What the container printed.
    ContainerLog,
    /// What CRIU printed.
    CriuLog,
    /// Other text.
    OtherText,
}

use crate::base::{Issue, Limits};
use crate::evidence::{Evidence, Member};

/// Texts of one checkpoint: the engine's files beside the images, and the texts among the images.
pub(super) fn documents(
    evidence: &Evidence,
    base_dir: &[u8],
    images_dir: &[u8],
    limits: &Limits,
    issues: &mut Vec<Issue>,
) -> Vec<Document> {
    let mut documents = Vec::new();
    for member in evidence.members().iter().filter(|member| member.is_file()) {
        let is_beside = member.parent() == base_dir || member.parent() == images_dir;
        let Some(kind) = kind_of(member, is_beside && member.parent() == images_dir && base_dir != images_dir) else {
            continue;
        };
        if !is_beside || member.size_bytes > limits.max_owned_bytes {
            continue;
        }
        match evidence.read(member) {
            Ok(bytes) => {
                let document = Document { name: member.display_path().into_owned(), kind, bytes };
                document.check(issues);
                documents.push(document);
            }
            Err(err) => issues.push(Issue::new(member.place(), err.to_string())),
        }
    }
    documents.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    documents
}

fn kind_of(member: &Member, is_among_images: bool) -> Option<DocumentKind> {
    let name = std::str::from_utf8(member.file_name()).ok()?;
    Some(match name {
        "descriptors.json" => DocumentKind::OtherJson,
        _ if is_among_images && !name.ends_with(".log") => return None,
        "spec.dump" => DocumentKind::Spec,
        "config.dump" => DocumentKind::Config,
        "config.json" | "docker.json" => DocumentKind::Config,
        "status" | "status.dump" => DocumentKind::Status,
        "network.status" => DocumentKind::Network,
        "bind.mounts" | "deleted.files" | "pod.options" | "pod.dump" | "collection.json" => DocumentKind::OtherJson,
        "dump.log" | "restore.log" | "pre-dump.log" | "criu.log" | "criu-dump.log" | "page-server.log" => {
            DocumentKind::CriuLog
        }
        "ctr.log" | "container.log" | "io.kubernetes.cri-o.LogPath" => DocumentKind::ContainerLog,
        "tty.info" => DocumentKind::OtherText,
        _ if name.ends_with(".log") => DocumentKind::ContainerLog,
        _ => return None,
    })
}

impl Document {
    /// Whether it is meant to be JSON.
    pub fn is_json(&self) -> bool {
        match self.kind {
            DocumentKind::Spec
            | DocumentKind::Config
            | DocumentKind::Status
            | DocumentKind::Network
            | DocumentKind::OtherJson => true,
            DocumentKind::ContainerLog | DocumentKind::CriuLog | DocumentKind::OtherText => false,
        }
    }

    /// An issue for a document that should be JSON and is not.
    fn check(&self, issues: &mut Vec<Issue>) {
        if self.is_json()
            && let Err(err) = serde_json::from_slice::<serde::de::IgnoredAny>(&self.bytes)
        {
            issues
                .push(Issue::new(crate::base::Place::member(self.name.as_str()), format!("is not valid JSON: {err}")));
        }
    }
}
