//! What goes wrong with the bundle, and what to do then.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::deb::DebError;
use crate::base::Cancelled;

/// Why there is no bundle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It was not installed yet.
    #[error(
        "the sandbox is not installed: run `cryoscope sandbox install` (about 50 MB from a Debian mirror), or \
             `cryoscope sandbox install --from FILE` with a file that another machine exported"
    )]
    NotInstalled,
    /// What is installed does not fit its manifest.
    #[error("the installed sandbox is damaged ({what}): run `cryoscope sandbox install` again: {}", path.display())]
    Damaged {
        /// What does not fit.
        what: String,
        /// The file.
        path: PathBuf,
    },
    /// There is no home directory to keep it in.
    #[error("there is no home directory to keep the sandbox in; set CRYOSCOPE_CACHE_DIR or --cache-dir")]
    NoCacheDir,
    /// There are no packages for this machine's processor.
    #[error("there is a sandbox for x86-64 only, and this machine is {arch}")]
    Arch {
        /// As Rust calls it.
        arch: &'static str,
    },
    /// The mirror's address makes no sense.
    #[error(
        "--mirror wants the http or https address of a Debian mirror, as http://deb.debian.org/debian, not {given}"
    )]
    BadMirror {
        /// As it was given.
        given: String,
    },
    /// The mirror does not answer.
    #[error(
        "{url} cannot be fetched ({what}); name another mirror by --mirror, or take a file that another machine \
             exported: `cryoscope sandbox install --from FILE`"
    )]
    Fetch {
        /// What was asked for.
        url: String,
        /// What went wrong.
        what: String,
    },
    /// What came is not what the signed lists say.
    #[error("{url} is not what the signed list says: {what}")]
    Mismatch {
        /// What was asked for.
        url: String,
        /// What differs.
        what: String,
    },
    /// The list of lists makes no sense.
    #[error("the mirror's InRelease {what}")]
    BadRelease {
        /// What is wrong with it.
        what: String,
    },
    /// No key of ours has signed.
    #[error("the mirror's InRelease has no signature of Debian's archive keys; nothing was taken from it")]
    NotSigned,
    /// The keys in the program cannot be read.
    #[error("the archive keys in this program cannot be read: {what}")]
    Keys {
        /// What is wrong with them.
        what: String,
    },
    /// A package that is needed is not in the list.
    #[error("the mirror's list has no package {name}, which {needed_by} needs")]
    NoPackage {
        /// Its name.
        name: String,
        /// The package that depends on it.
        needed_by: String,
    },
    /// A package cannot be unpacked.
    #[error("package {package}: {source}")]
    Deb {
        /// Its name.
        package: String,
        /// What is wrong with it.
        source: DebError,
    },
    /// A file that is needed is in none of the packages.
    #[error("none of the packages has {file}, which {needed_by} needs")]
    NoFile {
        /// What is missing.
        file: String,
        /// What needs it.
        needed_by: String,
    },
    /// A file of this machine cannot be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file given by `--from` is no bundle.
    #[error("{}: is no exported sandbox ({what}); one is made by `cryoscope sandbox install --export FILE`", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Stopped.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

impl BundleError {
    /// An error of the file system, with what was being done to which file.
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BundleError {
        let path = path.into();
        move |source| BundleError::Io { what, path, source }
    }
}
