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
