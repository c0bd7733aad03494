//! Making a bundle from a mirror: signed list, list of packages, packages, kernel and initrd.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::deb::{self, Node, Tree};
use super::index::{Index, Package};
use super::manifest::{FileEntry, Manifest, PackageEntry, Part, SCHEMA};
use super::mirror::Mirror;
use super::release::{Listed, Release, SUITE};
use super::store::Store;
use super::{Bundle, BundleError, cpio, initrd, wanted};
use crate::base::{Progress, hex};

/// Most bytes of the signed list.
const MAX_RELEASE_BYTES: u64 = 8 << 20;
/// Most bytes of the list of packages, packed and unpacked.
const MAX_PACKED_LIST_BYTES: u64 = 64 << 20;
const MAX_LIST_BYTES: u64 = 512 << 20;
/// Most bytes of one package, and of all.
const MAX_PACKAGE_BYTES: u64 = 256 << 20;
const MAX_TOTAL_BYTES: u64 = 512 << 20;
/// How hard zstd tries; the kernel unpacks it fast whatever that was.
const LEVEL: i32 = 15;
const LIST: &str = "main/binary-amd64/Packages.xz";

/// Makes a bundle from `mirror` (`None`: the machine's own) and puts it in the place of what was installed.
///
/// # Errors
/// See [`BundleError`]; what was installed stays then.
pub fn install(store: &Store, mirror: Option<&str>, progress: &dyn Progress) -> Result<Bundle, BundleError> {
    super::check_arch()?;
    let mirror = Mirror::new(mirror)?;
    progress.stage("reading the list of packages");
    let release = Release::verify(&mirror.get(&format!("dists/{SUITE}/InRelease"), MAX_RELEASE_BYTES, progress)?)?;
    let downloads = store.downloads()?;
    let index = Index::parse(&list(&mirror, &release, &downloads, progress)?);
    let packages = index.closure(&wanted::PACKAGES, &wanted::SKIPPED)?;
    let all = fetch_and_unpack(&mirror, &packages, &downloads, progress)?;
    progress.stage("packing");
    progress.step(0, None)?;
    let (kernel_path, kernel) = initrd::kernel(&all)?;
    let tree = initrd::tree(&all)?;
    let packed =
        zstd::bulk::compress(&cpio::archive(&tree), LEVEL).map_err(BundleError::io("cannot pack", "initrd"))?;
    let manifest = Manifest {
        schema: SCHEMA.to_owned(),
        made_by: concat!("cryoscope ", env!("CARGO_PKG_VERSION")).to_owned(),
        arch: "amd64".to_owned(),
        release: release.version.clone(),
        release_date: release.date.clone(),
        signed_by: release.signed_by.clone(),
        mirror: mirror.address().to_owned(),
        kernel_version: kernel_path.trim_start_matches("boot/vmlinuz-").to_owned(),
        kernel: part(kernel),
        initrd: part(&packed),
        packages: packages.iter().map(|package| entry(package)).collect(),
        files: files(&tree),
    };
    progress.step(0, None)?;
    let bundle = store.put(&manifest, kernel, &packed)?;
    // The packages are of no more use, and the mirror has them.
    let _ = fs::remove_dir_all(&downloads);
    Ok(bundle)
}

/// The text of the list of packages.
fn list(mirror: &Mirror, release: &Release, dir: &Path, progress: &dyn Progress) -> Result<String, BundleError> {
    let listed = release.listed(LIST)?;
    let url = format!("dists/{SUITE}/{LIST}");
    check_size(&url, listed.size_bytes, MAX_PACKED_LIST_BYTES)?;
    let file = dir.join("Packages.xz");
    // By its digest first: the plain name may already be the next release's.
    let by_hash = format!("dists/{SUITE}/main/binary-amd64/by-hash/SHA256/{}", listed.sha256);
    let total = (0, listed.size_bytes);
    match mirror.get_file(&by_hash, &listed, &file, progress, total) {
        Err(BundleError::Fetch { .. }) => mirror.get_file(&url, &listed, &file, progress, total)?,
        other => other?,
    }
    let packed = read(&file)?;
    let mut text = String::new();
    let mut reader = liblzma::read::XzDecoder::new(packed.as_slice()).take(MAX_LIST_BYTES);
    reader
        .read_to_string(&mut text)
        .map_err(|error| BundleError::Mismatch { url, what: format!("it cannot be unpacked: {error}") })?;
    Ok(text)
}

/// All files of all packages that may be of use.
fn fetch_and_unpack(
    mirror: &Mirror,
    packages: &[&Package],
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Tree, BundleError> {
    let total = packages.iter().fold(0u64, |sum, package| sum.saturating_add(package.size_bytes));
    check_size("the packages", total, MAX_TOTAL_BYTES)?;
    progress.stage("fetching packages");
    let mut done = 0u64;
    for package in packages {
        check_size(&package.filename, package.size_bytes, MAX_PACKAGE_BYTES)?;
        let listed = Listed { size_bytes: package.size_bytes, sha256: package.sha256.clone() };
        let file = dir.join(format!("{}.deb", package.sha256));
        mirror.get_file(&package.filename, &listed, &file, progress, (done, total))?;
        done = done.saturating_add(package.size_bytes);
    }
    progress.stage("unpacking packages");
    let mut all = Tree::new();
    let mut done = 0u64;
    for package in packages {
        progress.step(done, Some(total))?;
        let content = read(&dir.join(format!("{}.deb", package.sha256)))?;
        deb::unpack(&content, &initrd::is_of_use, &mut all)
            .map_err(|source| BundleError::Deb { package: package.name.clone(), source })?;
        done = done.saturating_add(package.size_bytes);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<u8>, BundleError> {
    #[expect(clippy::disallowed_methods, reason = "downloads of the bundle are read here only")]
    fs::read(path).map_err(BundleError::io("cannot read", path))
}

fn check_size(what: &str, size: u64, max: u64) -> Result<(), BundleError> {
    if size <= max {
        return Ok(());
    }
    Err(BundleError::Mismatch { url: what.to_owned(), what: format!("{size} bytes, and at most {max} are taken") })
}

fn part(content: &[u8]) -> Part {
    Part { size_bytes: content.len() as u64, sha256: hex(&Sha256::digest(content)) }
}

fn entry(package: &Package) -> PackageEntry {
    PackageEntry {
        name: package.name.clone(),
        version: package.version.clone(),
        size_bytes: package.size_bytes,
        sha256: package.sha256.clone(),
    }
}

fn files(tree: &Tree) -> Vec<FileEntry> {
    let files = tree.iter().filter_map(|(path, node)| match node {
        Node::File(_, content) => {
            let Part { size_bytes, sha256 } = part(content);
            Some(FileEntry { path: format!("/{path}"), size_bytes, sha256 })
        }
        _ => None,
    });
    files.collect()
}
