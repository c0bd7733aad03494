//! Whether this machine can restore: the bundle, QEMU, the guest's program.

use std::sync::Arc;

use crate::session::JobId;

/// What is known of it.
#[derive(Clone, Debug, Default)]
pub enum Readiness {
    /// Nobody looked.
    #[default]
    Unknown,
    /// A job looks.
    Checking(JobId),
    /// A job makes the bundle.
    Installing(JobId),
    /// This was found.
    Known(Arc<Parts>),
}

impl Readiness {
    /// Whether everything is there.
    pub fn is_ready(&self) -> bool {
        matches!(self, Readiness::Known(parts) if parts.missing().next().is_none())
    }
}

/// What was found: each part in a line, or why it is not there and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Kernel, criu and its helpers.
    pub bundle: Result<String, String>,
    /// The emulator.
    pub qemu: Result<String, String>,
    /// The program that goes into the machine.
    pub guest: Result<String, String>,
    /// `/dev/kvm` can be opened; whether it works is seen when a machine boots.
    pub may_have_kvm: bool,
}

impl Parts {
    /// Names of the parts with what was found.
    pub fn rows(&self) -> [(&'static str, &Result<String, String>); 3] {
        [("Bundle", &self.bundle), ("QEMU", &self.qemu), ("Guest program", &self.guest)]
    }

    /// Why it is not ready.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.rows().into_iter().filter_map(|(_, part)| part.as_ref().err().map(String::as_str))
    }
}
