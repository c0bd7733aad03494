//! Getting to know a node.
//!
//! 1. The operator runs `cryoscope-agent pair` and tells the code, by voice or by message.
//! 2. The workstation connects. It goes on only when one of the certificates shown has the SHA-256 whose first 15 bytes are
//!    in the code, and has signed the agent's own: then nobody is in between, and the secret may be told.
//! 3. It sends the secret and a request for a certificate; the key for that is made here and stays here.
//! 4. The answer must be of the same authority, and for that key. A first request with the new certificate ends it.
//!
//! Where the operator has an authority of their own, there is no code: certificate and key are given ([`add`]).

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use super::address::Address;
use super::client::{Client, Route};
use super::error::ClientError;
use super::identity::{Applicant, Facts, Identity, IdentityError, certificates};
use super::nodes::{Known, Nodes, NodesError, PairedNode, name_from};
use super::tls::{NodeTls, TlsError};
use super::wire::{Node, PairCode, PairRequest};
use crate::base::{from_hex, hex};

/// Why a node is not paired.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PairError {
    /// The code is none.
    #[error("this is no code of `cryoscope-agent pair`: it has 40 letters and digits, without 0, 1, I and O")]
    NotACode,
    /// The agent cannot be asked, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The agent is not the one of the code.
    #[error(
        "{address}: the agent there is not the one that made this code, or somebody is in between; nothing was told to \
         it. Compare address and code with what `cryoscope-agent pair` printed"
    )]
    OtherAgent {
        /// Where it was asked.
        address: Address,
    },
    /// The answer contradicts itself.
    #[error("{address}: the answer to the code cannot be used: {what}")]
    Answer {
        /// Where it was asked.
        address: Address,
        /// What is wrong with it.
        what: String,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificates or keys are none.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The node cannot be kept under this name.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// The node needs a name.
    #[error("the node calls itself {0:?}, which cannot be a name here; give one by --name")]
    NoName(String),
}

/// How a node is to be paired.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where its agent listens, or the near end of a tunnel to it.
    pub address: Address,
    /// What to call it; without one, as it calls itself.
    pub name: Option<String>,
    /// Proxy on the way.
    pub proxy: Option<String>,
}

/// What an operator with an authority of their own hands out, in PEM.
#[derive(Clone, Debug)]
pub struct OperatorFiles {
    /// The authority.
    pub authority: String,
    /// This workstation's certificate and key.
    pub identity: Identity,
    /// Name in the agent's certificate; without one, the host of the address.
    pub server_name: Option<String>,
}

/// Who the certificate is asked for: the user and the machine, as `analyst@desk`.
pub fn who() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |text: String| text.chars().filter(|c| c.is_alphanumeric() || "-._".contains(*c)).take(60).collect();
    let (user, machine): (String, String) = (plain(user.unwrap_or_else(|| "analyst".into())), plain(machine));
    format!("{user}@{machine}")
}

/// Pairs by a code, and keeps the node.
///
/// # Errors
/// See [`PairError`]; nothing is kept then.
pub fn pair(nodes: &Nodes, wish: &Wish, code: &str) -> Result<PairedNode, PairError> {
    let code = PairCode::parse(code).ok_or(PairError::NotACode)?;
    if let Some(name) = &wish.name {
        nodes.check_free(name)?;
    }
    let (tls, stranger) = NodeTls::pairing(code.authority)?;
    let client = Client::stranger(tls, &wish.address, wish.proxy.as_deref())?;
    let applicant = Applicant::new(&who())?;
    let request = PairRequest { secret: hex(&code.secret), csr: applicant.csr.clone() };
    let asked = client.pair(&request);
    let Some(seen) = stranger.seen() else {
        return Err(match asked {
            Err(ClientError::Trust { what, .. }) if what.contains("authority") => {
                PairError::OtherAgent { address: wish.address.clone() }
            }
            Err(error) => error.into(),
            Ok(_) => PairError::OtherAgent { address: wish.address.clone() },
        });
    };
    let answer = asked?;
    let wrong = |what: &str| PairError::Answer { address: wish.address.clone(), what: what.to_owned() };
    let authority = certificates(&answer.authority, "authority")?;
    if authority.first().map(CertificateDer::as_ref) != Some(&seen.authority[..]) {
        return Err(wrong("its authority is another one than that of the line"));
    }
    let identity = applicant.identity(&answer.certificate)?;
    let leaf = Facts::of(&seen.leaf)?;
    // The name of the node where the certificate is for that; the authority has signed every name in it.
    let named = leaf.names.iter().find(|name| **name == answer.node).or(leaf.names.first());
    let server_name = named.ok_or_else(|| wrong("the agent's certificate is for no name"))?.clone();
    let known =
        Known { server_name, authority: answer.authority, public_key: answer.public_key, node: answer.node.clone() };
    keep(nodes, wish, known, identity)
}

/// Adds a node whose certificates the operator makes, and keeps it.
///
/// # Errors
/// See [`PairError`]; nothing is kept then.
pub fn add(nodes: &Nodes, wish: &Wish, files: OperatorFiles) -> Result<PairedNode, PairError> {
    if let Some(name) = &wish.name {
        nodes.check_free(name)?;
    }
    let server_name = files.server_name.unwrap_or_else(|| wish.address.host().to_owned());
    let (public_key, node) = (String::new(), wish.address.host().to_owned());
    let known = Known { server_name, authority: files.authority, public_key, node };
    keep(nodes, wish, known, files.identity)
}

/// Asks the node by its new certificate, and keeps it when that works.
fn keep(nodes: &Nodes, wish: &Wish, known: Known, identity: Identity) -> Result<PairedNode, PairError> {
    let called = wish.name.clone().unwrap_or_else(|| known.node.clone());
    let mut node = PairedNode::new(called, wish.address.clone(), wish.proxy.clone(), known, identity);
    let told: Node = Client::new(&node, &Route::default())?.node()?;
    let wrong = |what: &str| PairError::Answer { address: wish.address.clone(), what: what.to_owned() };
    if from_hex::<32>(&told.public_key).is_none() {
        return Err(wrong("its key for manifests is none"));
    }
    if node.public_key.is_empty() {
        node.public_key = told.public_key;
        node.node = told.name;
    } else if !node.public_key.eq_ignore_ascii_case(&told.public_key) {
        return Err(wrong("it names two different keys for manifests"));
    }
    if wish.name.is_none() {
        node.name = name_from(&node.node).ok_or_else(|| PairError::NoName(node.node.clone()))?;
        nodes.check_free(&node.name)?;
    }
    node.paired = Timestamp::now();
    nodes.put(&node)?;
    Ok(node)
}
