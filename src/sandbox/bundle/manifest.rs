//! What a bundle is made of, beside it as `manifest.json`.

use serde::{Deserialize, Serialize};

/// Names the shape of the JSON.
pub(super) const SCHEMA: &str = "cryoscope.bundle/1";

/// Versions, origins and digests of everything in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `cryoscope.bundle/1`.
    pub schema: String,
    /// The program that made it.
    pub made_by: String,
    /// Processor, as Debian calls it.
    pub arch: String,
    /// Debian's release, as `13.2`.
    pub release: String,
    /// When that list was made, as it says.
    pub release_date: String,
    /// Fingerprint of the key that signed the list.
    pub signed_by: String,
    /// Where the packages came from.
    pub mirror: String,
    /// The kernel's version, as its file name has it.
    pub kernel_version: String,
    /// The file `kernel`.
    pub kernel: Part,
    /// The file `initrd`.
    pub initrd: Part,
    /// Packages whose files are in it.
    pub packages: Vec<PackageEntry>,
    /// Files of the initrd.
    pub files: Vec<FileEntry>,
}

/// One of the two files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// In bytes.
    pub size_bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageEntry {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Of the package's file, in bytes.
    pub size_bytes: u64,
    /// Of the package's file, lower-case hex.
    pub sha256: String,
}

/// A file of the initrd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path in the machine.
    pub path: String,
    /// In bytes.
    pub size_bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

impl Manifest {
    /// Version of a package in it.
    pub fn version_of(&self, package: &str) -> Option<&str> {
        self.packages.iter().find(|it| it.name == package).map(|it| it.version.as_str())
    }
}
