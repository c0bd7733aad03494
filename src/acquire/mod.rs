//! From the node to the desk: what the workstation asks of a node agent, and what it believes of the answer.
//!
//! - [`wire`]: the messages of the agent's API, version 1; the agent (feature `agent`) answers in the same types.
//! - [`manifest`]: how an archive was made, signed by the agent, and how that is checked.
//! - [`identity`], [`nodes`], [`pair`]: who this workstation is to which node, and how they get to know each other.
//! - [`address`], `tls`, [`client`], [`error`]: the way to an agent, and one method for each request.
//! - [`mod@pull`], `part`, [`control`]: fetching an archive over lines that break.
//! - [`selector`], [`freeze`]: which containers are meant, and the whole way from one to an archive at the desk.
//! - [`custody`]: what is noted of an archive that came.
//!
//! An agent is believed no more than an archive is: what arrives is hashed here, and counts as whole only when its length, its
//! hash and the signature agree.

pub mod address;
pub mod client;
pub mod control;
pub mod custody;
pub mod error;
pub mod freeze;
pub mod identity;
pub mod manifest;
pub mod nodes;
pub mod pair;
mod part;
pub mod pull;
pub mod selector;
mod tls;
pub mod wire;

pub use address::Address;
pub use client::{Client, Route};
pub use control::{Patience, PullControl};
pub use custody::Custody;
pub use error::ClientError;
pub use nodes::{Nodes, PairedNode};
pub use pull::{PullError, Pulled, Target, pull};
pub use tls::TlsError;
