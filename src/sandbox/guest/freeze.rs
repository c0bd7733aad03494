//! Taking a new checkpoint in the machine.

use super::{GuestError, Host};
use crate::sandbox::protocol::FromGuest;

/// Freezes the processes again; the archive goes onto the second disk.
pub(super) fn freeze(_root_pid: u32, _leave_running: bool, host: &Host) -> Result<(), GuestError> {
    host.say(&FromGuest::Error { what: "freezing again is not there yet".into() });
    Ok(())
}
