//! The nodes that this workstation is paired with, each a file of the user's data: `acquire/nodes/NAME.json`.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::address::Address;
use super::identity::{self, Identity, IdentityError};
use crate::home::{self, HomeError};

/// Names the shape of a file.
const SCHEMA: &str = "cryoscope.node/1";
/// Most bytes of a file.
const MAX_BYTES: u64 = 1 << 20;
/// Most letters of a name.
const MAX_NAME: usize = 63;

/// A node that this workstation may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedNode {
    /// [`SCHEMA`].
    schema: String,
    /// What the analyst calls it.
    pub name: String,
    /// Where its agent is asked.
    pub address: Address,
    /// Proxy on the way to it, as `http://proxy:3128`.
    pub proxy: Option<String>,
    /// Name or address in the agent's certificate; that of the connection does not matter, it may be a tunnel.
    pub server_name: String,
    /// The only authority that is believed, in PEM.
    pub authority: String,
    /// Ed25519 key of its manifests, in hex.
    pub public_key: String,
    /// What the node calls itself.
    pub node: String,
    /// Who this workstation is to it.
    pub identity: Identity,
    /// Since when.
    pub paired: Timestamp,
}

/// What a node is known by, once it was asked.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) server_name: String,
    pub(super) authority: String,
    pub(super) public_key: String,
    pub(super) node: String,
}

/// Why a node is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodesError {
    /// It was not paired.
    #[error("{name}: no node of this name is paired; {}", there_are(known))]
    NoSuchNode {
        /// As it was given.
        name: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// The name is taken.
    #[error(
        "{name}: a node of this name is paired already; give another by --name, or run `cryoscope acquire forget {name}`"
    )]
    Taken {
        /// As it was given.
        name: String,
    },
    /// The name cannot be one of a file.
    #[error(
        "{name:?} is no name for a node: letters, digits, - _ and . make one, at most {MAX_NAME}, a letter or digit first"
    )]
    BadName {
        /// As it was given.
        name: String,
    },
    /// Its file cannot be read.
    #[error("{path}: is not a paired node ({why}); remove it and pair again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The directory refuses.
    #[error(transparent)]
    Home(#[from] HomeError),
}

fn there_are(known: &[String]) -> String {
    if known.is_empty() {
        return "none is: run `cryoscope-agent pair` on the node, then `cryoscope acquire pair ADDRESS CODE` here"
            .into();
    }
    format!("there are: {}", known.join(" "))
}

impl PairedNode {
    pub(super) fn new(name: String, address: Address, proxy: Option<String>, known: Known, identity: Identity) -> Self {
        let Known { server_name, authority, public_key, node } = known;
        let (schema, paired) = (SCHEMA.to_owned(), Timestamp::now());
        PairedNode { schema, name, address, proxy, server_name, authority, public_key, node, identity, paired }
    }

    /// SHA-256 of the authority's certificate: what is compared with what the node shows.
    ///
    /// # Errors
    /// The stored certificate is none.
    pub fn fingerprint(&self) -> Result<String, IdentityError> {
        identity::fingerprint(&self.authority)
    }

    /// Until when the node lets this workstation in; `None` when its certificate cannot be read.
    pub fn expires(&self) -> Option<Timestamp> {
        let chain = self.identity.chain().ok()?;
        let facts = identity::Facts::of(chain.first()?).ok()?;
        Timestamp::from_second(facts.not_after).ok()
    }
}

/// All paired nodes.
#[derive(Clone, Debug)]
pub struct Nodes {
    dir: PathBuf,
}

impl Nodes {
    /// Those of the user.
    ///
    /// # Errors
    /// There is no directory for data.
    pub fn open() -> Result<Nodes, NodesError> {
        Ok(Nodes::in_dir(home::data_dir()?.join("acquire/nodes")))
    }

    /// Those of a directory.
    pub fn in_dir(dir: PathBuf) -> Nodes {
        Nodes { dir }
    }

    /// Their names, sorted.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, NodesError> {
        Ok(home::names(&self.dir, "json")?)
    }

    /// The node of a name.
    ///
    /// # Errors
    /// There is none, or its file is damaged.
    pub fn get(&self, name: &str) -> Result<PairedNode, NodesError> {
        let path = self.path(name)?;
        let Some(text) = home::read(&path, MAX_BYTES)? else {
            return Err(NodesError::NoSuchNode { name: name.to_owned(), known: self.names()? });
        };
        let damaged = |why: String| NodesError::Damaged { path: path.clone(), why };
        let node: PairedNode = serde_json::from_slice(&text).map_err(|why| damaged(why.to_string()))?;
        if node.schema != SCHEMA {
            return Err(damaged(format!("its schema is {:?}", node.schema)));
        }
        Ok(PairedNode { name: name.to_owned(), ..node })
    }

    /// Whether a node can be added under this name.
    ///
    /// # Errors
    /// The name is taken, or is none.
    pub fn check_free(&self, name: &str) -> Result<(), NodesError> {
        let taken = home::read(&self.path(name)?, MAX_BYTES)?.is_some();
        if taken { Err(NodesError::Taken { name: name.to_owned() }) } else { Ok(()) }
    }

    /// Keeps a node, in the place of the one of the same name.
    ///
    /// # Errors
    /// The name is none, or the file cannot be written.
    pub fn put(&self, node: &PairedNode) -> Result<(), NodesError> {
        let text = serde_json::to_vec_pretty(node).unwrap_or_default();
        Ok(home::write(&self.path(&node.name)?, &text)?)
    }

    /// Forgets a node, with the key that was made for it.
    ///
    /// # Errors
    /// There is none of this name, or its file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), NodesError> {
        if home::remove(&self.path(name)?)? {
            return Ok(());
        }
        Err(NodesError::NoSuchNode { name: name.to_owned(), known: self.names()? })
    }

    fn path(&self, name: &str) -> Result<PathBuf, NodesError> {
        if is_name(name) {
            return Ok(self.dir.join(format!("{name}.json")));
        }
        Err(NodesError::BadName { name: name.chars().take(100).collect() })
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= MAX_NAME && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain)
}

/// A name for a node that calls itself `given`, which may be anything.
pub(super) fn name_from(given: &str) -> Option<String> {
    let short = given.trim();
    is_name(short).then(|| short.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn node(name: &str) -> PairedNode {
        let known = Known {
            server_name: "node-a".into(),
            authority: "PEM".into(),
            public_key: "00".repeat(32),
            node: "node-a".into(),
        };
        let identity = Identity { certificate: "PEM".into(), key: "PEM".into() };
        PairedNode::new(name.into(), "node-a".parse().unwrap(), None, known, identity)
    }

    #[test]
    fn nodes_are_kept_for_the_user_alone_and_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = Nodes::in_dir(dir.path().join("nodes"));
        let error = nodes.get("a").unwrap_err().to_string();
        assert!(error.contains("cryoscope acquire pair"), "{error}");
        nodes.put(&node("b")).unwrap();
        nodes.put(&node("a.example")).unwrap();
        assert_eq!(nodes.names().unwrap(), ["a.example", "b"]);
        assert_eq!(nodes.get("b").unwrap(), PairedNode { paired: nodes.get("b").unwrap().paired, ..node("b") });
        let mode = std::fs::metadata(dir.path().join("nodes/b.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(nodes.check_free("b"), Err(NodesError::Taken { .. })));
        nodes.check_free("c").unwrap();
        let error = nodes.get("c").unwrap_err().to_string();
        assert!(error.ends_with("there are: a.example b"), "{error}");
        nodes.remove("b").unwrap();
        assert!(matches!(nodes.remove("b"), Err(NodesError::NoSuchNode { .. })));
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let nodes = Nodes::in_dir("/nonexistent".into());
        for name in ["", ".", "..", "../a", "a/b", ".a", "-a", "a b", "a\0", "ä", &"a".repeat(64)] {
            assert!(matches!(nodes.get(name), Err(NodesError::BadName { .. })), "{name:?}");
            assert_eq!(name_from(name), None, "{name:?}");
        }
    }

    #[test]
    fn damaged_file_is_told_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = Nodes::in_dir(dir.path().into());
        home::write(&dir.path().join("a.json"), b"{}").unwrap();
        let error = nodes.get("a").unwrap_err().to_string();
        assert!(error.contains("a.json") && error.contains("pair again"), "{error}");
    }
}
