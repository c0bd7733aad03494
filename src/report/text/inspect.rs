//! `inspect` for people.

use std::io::{self, Write};

use crate::base::Pid;
use crate::checkpoint::{Checkpoint, Process};

use super::system::heading;
use super::{Style, card, kernel, process, system, tree};

/// What is shown besides the card and the process tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Credentials, links, limits of each process.
    pub details: bool,
    /// Descriptors and locks.
    pub files: bool,
    /// Sockets and networks.
    pub sockets: bool,
    /// Mounts.
    pub mounts: bool,
    /// Memory maps.
    pub maps: bool,
    /// Environments.
    pub environment: bool,
    /// Statistics of the dump.
    pub stats: bool,
    /// Signals, timers, namespaces, cgroups, seccomp filters.
    pub kernel: bool,
}

impl Sections {
    /// Everything.
    pub const ALL: Sections = Sections {
        details: true,
        files: true,
        sockets: true,
        mounts: true,
        maps: true,
        environment: true,
        stats: true,
        kernel: true,
    };
}

/// Writes card, process tree, the sections, and at the end what is missing.
///
/// Each section is a block of its own: the tree stays a tree.
///
/// # Errors
/// The writer fails.
pub fn inspect(
    out: &mut dyn Write,
    style: Style,
    checkpoint: &Checkpoint,
    sha256: Option<&[u8]>,
    sections: Sections,
    only: Option<Pid>,
) -> io::Result<()> {
    card::write(out, style, checkpoint, sha256)?;
    if sections.stats {
        writeln!(out)?;
        card::stats(out, style, checkpoint)?;
    }
    writeln!(out)?;
    tree::write(out, style, checkpoint, only)?;
    let processes: Vec<&Process> =
        checkpoint.processes.iter().filter(|process| only.is_none_or(|pid| process.pid == pid)).collect();
    if sections.details {
        heading(out, style, "Process details")?;
        processes.iter().try_for_each(|it| process::details(out, style, checkpoint, it))?;
    }
    if sections.environment {
        heading(out, style, "Environment")?;
        processes.iter().try_for_each(|it| process::environment(out, style, it))?;
    }
    if sections.files {
        heading(out, style, "Open files")?;
        processes.iter().try_for_each(|it| process::files(out, style, checkpoint, it))?;
        system::locks(out, style, checkpoint, only)?;
    }
    if sections.sockets {
        system::sockets(out, style, checkpoint, only)?;
        system::networks(out, style, checkpoint)?;
    }
    if sections.mounts {
        system::mounts(out, style, checkpoint)?;
    }
    if sections.maps {
        heading(out, style, "Memory maps")?;
        processes.iter().try_for_each(|it| process::maps(out, style, it))?;
    }
    if sections.kernel {
        kernel::signals(out, style, checkpoint.container.arch, &processes)?;
        kernel::namespaces(out, style, checkpoint)?;
        kernel::cgroups(out, style, checkpoint)?;
        kernel::seccomp(out, style, checkpoint)?;
    }
    system::limits(out, style, checkpoint)
}
