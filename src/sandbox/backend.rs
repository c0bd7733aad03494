//! What a checkpoint is restored in.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::plan::Isolation;

/// What runs the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A virtual machine ([`super::microvm`]).
    #[default]
    Microvm,
    /// Namespaces of this kernel ([`super::container`]).
    Container,
}

impl Backend {
    /// What stands between the processes and this machine.
    pub fn isolation(self) -> Isolation {
        match self {
            Backend::Microvm => Isolation::Machine,
            Backend::Container => Isolation::Namespaces,
        }
    }

    /// What it is not able to do, of what was asked for: a thing and why.
    pub fn lacks(self, traces: bool, freezes_again: bool) -> Option<(&'static str, &'static str)> {
        match self {
            Backend::Container if traces => Some((
                "watch system calls",
                "the trace would be that of this machine's kernel, with the calls of all its processes",
            )),
            Backend::Container if freezes_again => {
                Some(("take a new checkpoint", "criu may not read filters of system calls in a user namespace"))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Microvm => "microvm",
            Backend::Container => "container",
        })
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Backend, String> {
        match text {
            "microvm" => Ok(Backend::Microvm),
            "container" => Ok(Backend::Container),
            _ => Err("microvm or container is wanted".into()),
        }
    }
}
