//! From the node to the desk: what the workstation asks of a node agent, and what it believes of the answer.
//!
//! - [`wire`]: the messages of the agent's API, version 1; the agent (feature `agent`) answers in the same types.
//! - [`manifest`]: how an archive was made, signed by the agent, and how that is checked.
//!
//! An agent is believed no more than an archive is: what arrives is hashed here, and counts as whole only when its length, its
//! hash and the signature agree.

pub mod manifest;
pub mod wire;
