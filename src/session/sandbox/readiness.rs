//! Whether this machine can restore: the bundle, QEMU, the guest's program.

use std::sync::Arc;

use crate::sandbox::backend::Backend;
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
    /// Whether everything is there that a backend needs.
    pub fn is_ready(&self, backend: Backend) -> bool {
        matches!(self, Readiness::Known(parts) if parts.is_ready(backend))
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
    /// Isolation by this kernel.
    pub container: Result<String, String>,
    /// `/dev/kvm` can be opened; whether it works is seen when a machine boots.
    pub may_have_kvm: bool,
}

impl Parts {
    /// Names of the parts that a backend needs, with what was found.
    pub fn rows(&self, backend: Backend) -> [(&'static str, &Result<String, String>); 3] {
        let own = match backend {
            Backend::Microvm => ("QEMU", &self.qemu),
            Backend::Container => ("Container", &self.container),
        };
        [("Bundle", &self.bundle), own, ("Guest program", &self.guest)]
    }

    /// Whether all of them are there.
    pub fn is_ready(&self, backend: Backend) -> bool {
        self.rows(backend).into_iter().all(|(_, part)| part.is_ok())
    }
}
