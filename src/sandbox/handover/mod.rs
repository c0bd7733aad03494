//! Handing a checkpoint over to another engine, which restores it by its own means and with its own isolation.
//!
//! | module | answers |
//! |---|---|
//! | `origin` | which engine wrote the checkpoint, and hence which can restore it |
//! | [`image`] | the checkpoint as an OCI image: layout directory or archive, one layer |
//! | `layer`, `output`, `annotations` | its layer, its files, what it says of itself |
//! | [`registry`] | pushing it, by the OCI distribution API; [`mod@reference`] and [`auth`] are names and credentials |
//! | [`crictl`] | files and commands for CRI-O and containerd |
//! | [`pod`] | a Pod manifest whose container is the image |
//! | [`podman`] | Podman's command, in a network namespace without a way out |
//!
//! An engine restores as root of its host and does as the archive says. So whatever [`super::plan::lint`] finds refuses
//! the hand-over until the analyst allows it by its id, and the image says what was allowed. Evidence is only read.

mod annotations;
pub mod auth;
pub mod crictl;
mod error;
pub mod image;
mod layer;
mod origin;
mod output;
pub mod pod;
pub mod podman;
pub mod reference;
pub mod registry;

pub use error::HandoverError;
pub use origin::{Engine, Origin, cri_origin, origin};

use super::plan::{Dangers, Isolation, Plan};

/// Refuses what attacks the engine and is not allowed.
///
/// # Errors
/// `Refused` with the ids.
pub fn check(dangers: &Dangers) -> Result<(), HandoverError> {
    if !dangers.is_refused(Isolation::Engine) {
        return Ok(());
    }
    let ids = dangers.refusing(Isolation::Engine).map(|danger| danger.id.clone()).collect();
    Err(HandoverError::Refused { ids, left_out: dangers.left_out.iter().map(|(_, count)| count).sum() })
}

/// Ids of the dangers that the analyst allowed, in their order.
pub fn allowed(dangers: &Dangers) -> Vec<String> {
    dangers.list.iter().filter(|danger| danger.allowed).map(|danger| danger.id.clone()).collect()
}

/// What an engine's criu cannot do, and the sandbox can.
fn beyond_criu(plan: &Plan) -> Option<String> {
    let pids = plan.restore.programs.iter().flat_map(|program| &program.pids);
    let pids = pids.take(8).map(u32::to_string).collect::<Vec<_>>().join(", ");
    (!pids.is_empty()).then(|| {
        format!(
            "criu fails, since programs run from memory alone (memfd; pid {pids}): `sandbox run` makes them files first"
        )
    })
}
