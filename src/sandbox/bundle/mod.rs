//! The bundle: a kernel and a small system with criu and what it runs, made on the analyst's machine as a plain user
//! from packages of Debian stable.
//!
//! - `mirror` fetches, with a bound on everything; `release` verifies the signature; `index` picks the packages.
//! - `deb` reads packages in memory; `initrd` picks files and libraries; `cpio` writes what the kernel unpacks.
//! - `store` keeps it, exports it and takes it from a file; `manifest` says what is in it.
//!
//! `cryoscope-guest` is not part of it: it goes into the machine with each run, so that host and guest always are of one
//! build and a bundle outlives the program that made it.

mod deb;
mod error;
mod index;
mod initrd;
mod install;
mod manifest;
mod mirror;
mod release;
mod store;
mod wanted;

pub(in crate::sandbox) mod cpio;

pub use deb::{Node, Tree};
pub use error::BundleError;
pub use initrd::MODULES_IN_GUEST;
pub use install::install;
pub use manifest::{FileEntry, Manifest, PackageEntry, Part};
pub use mirror::DEFAULT_MIRROR;
pub use release::SUITE;
pub use store::Store;

use std::path::PathBuf;

/// A bundle on disk, with its digests compared.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The kernel's image.
    pub kernel: PathBuf,
    /// The first file system, packed by zstd.
    pub initrd: PathBuf,
    /// What it is made of.
    pub manifest: Manifest,
    /// Where it lies.
    pub dir: PathBuf,
}

/// Bundles are made for one processor so far.
fn check_arch() -> Result<(), BundleError> {
    let arch = std::env::consts::ARCH;
    if arch == "x86_64" { Ok(()) } else { Err(BundleError::Arch { arch }) }
}
