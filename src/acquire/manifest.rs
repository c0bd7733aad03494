//! How an archive was made: written and signed by the agent when the archive is complete, checked by whoever holds it.
//!
//! The signature (Ed25519) is over the manifest's text as it was sent, byte for byte, behind words that name what is signed; so no two writers of
//! JSON need to agree on spaces.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::{from_hex, hex};

use super::wire::{Container, JobKind, Requester, SourceKind};

/// Names the shape of a manifest.
pub const SCHEMA: &str = "cryoscope.manifest/1";
/// Signed before the text, so that a signature of something else cannot be taken for one of a manifest.
const CONTEXT: &[u8] = b"cryoscope manifest 1\0";

/// A manifest as it travels and is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedManifest {
    /// JSON of a [`Manifest`].
    pub manifest: String,
    /// Ed25519, in hex.
    pub signature: String,
    /// The key that made it, in hex; believed only when it is the one known from pairing.
    pub public_key: String,
}

/// How an archive was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// What was made.
    pub archive: ArchiveFacts,
    /// Of what.
    pub container: Container,
    /// Where, and by which agent.
    pub node: NodeFacts,
    /// Who asked for it.
    pub requested_by: Requester,
    /// In their words.
    pub reason: Option<String>,
    /// When it was asked for.
    pub requested: Timestamp,
    /// When the runtime was asked.
    pub started: Timestamp,
    /// When the archive was complete.
    pub finished: Timestamp,
    /// Who made it.
    pub source: SourceKind,
    /// Their version.
    pub source_version: Option<String>,
    /// What was sent to them, as `POST https://127.0.0.1:10250/checkpoint/default/web/app?timeout=600`.
    pub command: String,
    /// The last line of criu's log and what stands out in it.
    pub log: Vec<String>,
    /// What the agent saw go wrong without failing.
    pub warnings: Vec<String>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveFacts {
    /// Name of the file.
    pub name: String,
    /// How it was made.
    pub kind: JobKind,
    /// Its length.
    pub size_bytes: u64,
    /// Of its bytes, in hex.
    pub sha256: String,
}

/// Where it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Name of the node.
    pub name: String,
    /// Release of its kernel.
    pub kernel: String,
    /// As `x86_64`.
    pub arch: String,
    /// Of the agent.
    pub agent_version: String,
}

/// Why a manifest is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestError {
    /// The key is another one than that of the node.
    #[error("the manifest is signed by the key {found}, and the node's is {expected}")]
    OtherKey {
        /// In the manifest.
        found: String,
        /// Known from pairing.
        expected: String,
    },
    /// The key or the signature is none.
    #[error("the manifest's {0} is not one")]
    Malformed(&'static str),
    /// It was signed for other text.
    #[error("the manifest's signature does not fit its text: one of them was changed")]
    WrongSignature,
    /// The text is not a manifest.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    /// The archive is another one.
    #[error("the archive's {what} is {found}, and the manifest says {expected}")]
    OtherArchive {
        /// `size` or `SHA-256`.
        what: &'static str,
        /// Of the archive.
        found: String,
        /// In the manifest.
        expected: String,
    },
}

impl SignedManifest {
    /// Signs.
    ///
    /// # Errors
    /// [`ManifestError::Unreadable`] when it cannot be written as JSON.
    pub fn sign(manifest: &Manifest, key: &SigningKey) -> Result<SignedManifest, ManifestError> {
        let text =
            serde_json::to_string_pretty(manifest).map_err(|error| ManifestError::Unreadable(error.to_string()))?;
        let signature = key.sign(&signed_bytes(&text));
        Ok(SignedManifest {
            manifest: text,
            signature: hex(&signature.to_bytes()),
            public_key: hex(key.verifying_key().as_bytes()),
        })
    }

    /// Checks the signature by the key that is known of the node, and reads the text.
    ///
    /// # Errors
    /// It is signed by another key, was changed, or is no manifest.
    pub fn verify(&self, public_key: &str) -> Result<Manifest, ManifestError> {
        if !self.public_key.eq_ignore_ascii_case(public_key) {
            return Err(ManifestError::OtherKey { found: self.public_key.clone(), expected: public_key.to_owned() });
        }
        let key = from_hex::<32>(public_key).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let key = key.ok_or(ManifestError::Malformed("key"))?;
        let signature = from_hex::<64>(&self.signature).ok_or(ManifestError::Malformed("signature"))?;
        key.verify_strict(&signed_bytes(&self.manifest), &Signature::from_bytes(&signature))
            .map_err(|_no_more_is_said| ManifestError::WrongSignature)?;
        let manifest: Manifest =
            serde_json::from_str(&self.manifest).map_err(|error| ManifestError::Unreadable(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(ManifestError::Unreadable(format!("its schema is {:?}", manifest.schema)));
        }
        Ok(manifest)
    }
}

impl ArchiveFacts {
    /// Compares with the archive that arrived.
    ///
    /// # Errors
    /// [`ManifestError::OtherArchive`].
    pub fn check(&self, size_bytes: u64, sha256: &str) -> Result<(), ManifestError> {
        let other = |what, found: String, expected: String| Err(ManifestError::OtherArchive { what, found, expected });
        if self.size_bytes != size_bytes {
            return other("size", format!("{size_bytes} bytes"), format!("{} bytes", self.size_bytes));
        }
        if !self.sha256.eq_ignore_ascii_case(sha256) {
            return other("SHA-256", sha256.to_owned(), self.sha256.clone());
        }
        Ok(())
    }
}

fn signed_bytes(text: &str) -> Vec<u8> {
    [CONTEXT, text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::wire::ContainerState;
    use super::*;

    fn manifest() -> Manifest {
        let at: Timestamp = "2026-11-23T14:42:13Z".parse().unwrap();
        Manifest {
            schema: SCHEMA.into(),
            archive: ArchiveFacts {
                name: "checkpoint-web_default-app-2026-11-23T14:42:13Z.tar".into(),
                kind: JobKind::Checkpoint,
                size_bytes: 7,
                sha256: "ab".repeat(32),
            },
            container: Container {
                id: "c0ffee".into(),
                name: "app".into(),
                pod: Some("web".into()),
                namespace: Some("default".into()),
                image: None,
                image_id: None,
                engine: "cri-o".into(),
                source: SourceKind::Kubelet,
                state: ContainerState::Running,
                created: None,
                pid: Some(7),
                labels: BTreeMap::new(),
                problem: None,
                caution: None,
            },
            node: NodeFacts {
                name: "node-a".into(),
                kernel: "6.12".into(),
                arch: "x86_64".into(),
                agent_version: "0.1.0".into(),
            },
            requested_by: Requester::default(),
            reason: None,
            requested: at,
            started: at,
            finished: at,
            source: SourceKind::Kubelet,
            source_version: None,
            command: "POST /checkpoint/default/web/app".into(),
            log: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn signed_manifest_is_read_back_and_every_change_to_it_is_seen() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let known = hex(key.verifying_key().as_bytes());
        let signed = SignedManifest::sign(&manifest(), &key).unwrap();
        assert_eq!(signed.verify(&known).unwrap(), manifest());
        let text = SignedManifest { manifest: signed.manifest.replace("node-a", "node-b"), ..signed.clone() };
        assert_eq!(text.verify(&known), Err(ManifestError::WrongSignature));
        let mut changed = signed.clone();
        changed.signature.replace_range(0..2, if changed.signature.starts_with("00") { "01" } else { "00" });
        assert_eq!(changed.verify(&known), Err(ManifestError::WrongSignature));
        let cut = SignedManifest { signature: signed.signature[2..].into(), ..signed.clone() };
        assert_eq!(cut.verify(&known), Err(ManifestError::Malformed("signature")));
        let foreign = SignedManifest::sign(&manifest(), &SigningKey::from_bytes(&[8; 32])).unwrap();
        assert!(matches!(foreign.verify(&known), Err(ManifestError::OtherKey { .. })));
        let claims = SignedManifest { public_key: known.clone(), ..foreign };
        assert_eq!(claims.verify(&known), Err(ManifestError::WrongSignature));
    }

    #[test]
    fn archive_is_the_one_of_the_manifest_only_with_its_size_and_hash() {
        let facts = manifest().archive;
        facts.check(7, &"AB".repeat(32)).unwrap();
        assert!(facts.check(8, &facts.sha256).unwrap_err().to_string().starts_with("the archive's size is 8 bytes"));
        assert!(facts.check(7, &"00".repeat(32)).unwrap_err().to_string().contains("SHA-256"));
    }
}
