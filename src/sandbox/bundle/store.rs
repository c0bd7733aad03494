//! Where the bundle is kept, and how it gets there whole or not at all.
//!
//! ```text
//! <cache>/sandbox/bundle/{manifest.json,kernel,initrd}    what is installed
//! <cache>/sandbox/downloads/                              what an installation that broke off has fetched
//! <cache>/sandbox/.new-XXXXXX/                            an installation under way
//! ```
//! An exported bundle is a plain tar of the three files, the manifest first. It is trusted as much as who hands it over:
//! the digests of its manifest are checked, signatures of Debian's archive are not in it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::manifest::{Manifest, Part, SCHEMA};
use super::{Bundle, BundleError};
use crate::base::{Progress, hex};
use crate::evidence::OpenOptions;

/// Files of a bundle, in the order of an export.
const MANIFEST: &str = "manifest.json";
const KERNEL: &str = "kernel";
const INITRD: &str = "initrd";
/// Most bytes of each.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;
const MAX_PART_BYTES: u64 = 256 << 20;

/// The directory of one user's bundle.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// In the cache directory that holds for evidence too.
    ///
    /// # Errors
    /// There is none.
    pub fn new(options: &OpenOptions) -> Result<Store, BundleError> {
        let cache = options.cache_dir().map_err(|_home| BundleError::NoCacheDir)?;
        Ok(Store { dir: cache.join("sandbox") })
    }

    /// Where the bundle is, or will be.
    pub fn bundle_dir(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    /// The directory of downloads, made.
    pub(super) fn downloads(&self) -> Result<PathBuf, BundleError> {
        let dir = self.dir.join("downloads");
        make_dir(&dir)?;
        Ok(dir)
    }

    /// The installed bundle, with its digests compared.
    ///
    /// # Errors
    /// It is not installed, or damaged.
    pub fn open(&self) -> Result<Bundle, BundleError> {
        let dir = self.bundle_dir();
        if !dir.join(MANIFEST).exists() {
            return Err(BundleError::NotInstalled);
        }
        let damaged = |what: String, name: &str| BundleError::Damaged { what, path: dir.join(name) };
        let text = read_bounded(&dir.join(MANIFEST), MAX_MANIFEST_BYTES)?;
        let manifest = parse_manifest(&text).map_err(|what| damaged(what, MANIFEST))?;
        for (name, part) in [(KERNEL, &manifest.kernel), (INITRD, &manifest.initrd)] {
            let content = read_bounded(&dir.join(name), MAX_PART_BYTES)?;
            check(&content, part).map_err(|what| damaged(what, name))?;
        }
        Ok(Bundle { kernel: dir.join(KERNEL), initrd: dir.join(INITRD), manifest, dir })
    }

    /// Puts a bundle in the place of the one that is there.
    pub(super) fn put(&self, manifest: &Manifest, kernel: &[u8], initrd: &[u8]) -> Result<Bundle, BundleError> {
        make_dir(&self.dir)?;
        let new = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&self.dir)
            .map_err(BundleError::io("cannot make a directory in", &self.dir))?;
        let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
        for (name, content) in [(KERNEL, kernel), (INITRD, initrd), (MANIFEST, &text)] {
            write(&new.path().join(name), content)?;
        }
        let dir = self.bundle_dir();
        // A directory cannot be renamed over one with files: the old one steps aside first.
        let old = tempfile::Builder::new().prefix(".old-").tempdir_in(&self.dir);
        let old = old.map_err(BundleError::io("cannot make a directory in", &self.dir))?;
        if dir.exists() {
            fs::rename(&dir, old.path().join("bundle")).map_err(BundleError::io("cannot move", &dir))?;
        }
        fs::rename(new.path(), &dir).map_err(BundleError::io("cannot rename to", &dir))?;
        drop(new);
        self.open()
    }

    /// Removes the bundle, downloads, and what broken-off installations have left; nothing else.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn remove(&self) -> Result<bool, BundleError> {
        let mut is_any = false;
        #[expect(clippy::disallowed_methods, reason = "the bundle's own directory is listed here only")]
        let listed = fs::read_dir(&self.dir);
        for entry in listed.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_ours =
                matches!(&*name, "bundle" | "downloads") || name.starts_with(".new-") || name.starts_with(".old-");
            if is_ours {
                fs::remove_dir_all(entry.path()).map_err(BundleError::io("cannot remove", entry.path()))?;
                is_any |= name == "bundle";
            }
        }
        // Stays where something else lies in it.
        let _ = fs::remove_dir(&self.dir);
        Ok(is_any)
    }

    /// Writes the installed bundle into one file.
    ///
    /// # Errors
    /// It is not installed, or the file cannot be written.
    pub fn export(&self, to: &Path, progress: &dyn Progress) -> Result<(), BundleError> {
        let bundle = self.open()?;
        progress.stage("exporting");
        let cannot = || BundleError::io("cannot write", to);
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(dir).map_err(cannot())?;
        let mut tar = tar::Builder::new(std::io::BufWriter::new(file));
        for name in [MANIFEST, KERNEL, INITRD] {
            progress.step(0, None)?;
            let content = read_bounded(&bundle.dir.join(name), MAX_PART_BYTES)?;
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_slice()).map_err(cannot())?;
        }
        let file = tar.into_inner().and_then(|out| out.into_inner().map_err(std::io::IntoInnerError::into_error));
        file.map_err(cannot())?.persist(to).map_err(|error| error.error).map_err(cannot())?;
        Ok(())
    }

    /// Installs from a file that another machine exported.
    ///
    /// # Errors
    /// The file is no bundle, or damaged.
    pub fn import(&self, from: &Path, progress: &dyn Progress) -> Result<Bundle, BundleError> {
        super::check_arch()?;
        progress.stage("reading the exported sandbox");
        let bad = |what: String| BundleError::NotABundle { path: from.to_owned(), what };
        #[expect(clippy::disallowed_methods, reason = "bundles are opened here only")]
        let file = File::open(from).map_err(BundleError::io("cannot open", from))?;
        let mut archive = tar::Archive::new(file);
        let entries = archive.entries().map_err(|error| bad(error.to_string()))?;
        let (mut manifest, mut kernel, mut initrd) = (None, None, None);
        for entry in entries.take(3) {
            progress.step(0, None)?;
            let entry = entry.map_err(|error| bad(error.to_string()))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut content = Vec::new();
            let size = entry.size();
            if MAX_PART_BYTES < size {
                return Err(bad(format!("{name} has {size} bytes, and at most {MAX_PART_BYTES} are taken")));
            }
            entry.take(MAX_PART_BYTES).read_to_end(&mut content).map_err(|error| bad(error.to_string()))?;
            match name.as_str() {
                MANIFEST => manifest = Some(parse_manifest(&content).map_err(bad)?),
                KERNEL => kernel = Some(content),
                INITRD => initrd = Some(content),
                _ => return Err(bad(format!("it holds {}", name.escape_default()))),
            }
        }
        let (Some(manifest), Some(kernel), Some(initrd)) = (manifest, kernel, initrd) else {
            return Err(bad("it does not hold manifest.json, kernel and initrd".into()));
        };
        for (name, content, part) in [(KERNEL, &kernel, &manifest.kernel), (INITRD, &initrd, &manifest.initrd)] {
            check(content, part).map_err(|what| bad(format!("{name}: {what}")))?;
        }
        self.put(&manifest, &kernel, &initrd)
    }
}

fn parse_manifest(text: &[u8]) -> Result<Manifest, String> {
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if manifest.schema != SCHEMA {
        return Err(format!("its shape is {:?}, and this program knows {SCHEMA:?}", manifest.schema));
    }
    Ok(manifest)
}

fn check(content: &[u8], part: &Part) -> Result<(), String> {
    if content.len() as u64 != part.size_bytes {
        return Err(format!("{} bytes, and the manifest says {}", content.len(), part.size_bytes));
    }
    if hex(&Sha256::digest(content)) == part.sha256 {
        Ok(())
    } else {
        Err("its SHA-256 is not that of the manifest".into())
    }
}

fn make_dir(dir: &Path) -> Result<(), BundleError> {
    fs::create_dir_all(dir).map_err(BundleError::io("cannot make the directory", dir))
}

fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, BundleError> {
    let cannot = || BundleError::io("cannot read", path);
    #[expect(clippy::disallowed_methods, reason = "the bundle's own files are read here only")]
    let file = File::open(path).map_err(cannot())?;
    let mut out = Vec::new();
    file.take(max).read_to_end(&mut out).map_err(cannot())?;
    Ok(out)
}

fn write(path: &Path, content: &[u8]) -> Result<(), BundleError> {
    let cannot = || BundleError::io("cannot write", path);
    #[expect(clippy::disallowed_methods, reason = "the bundle's own files are written here only")]
    let mut file = File::create(path).map_err(cannot())?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(cannot())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at what was written")]
mod tests {
    use super::*;
    use crate::base::Silent;

    fn store(dir: &Path) -> Store {
        Store { dir: dir.join("sandbox") }
    }

    fn part(content: &[u8]) -> Part {
        Part { size_bytes: content.len() as u64, sha256: hex(&Sha256::digest(content)) }
    }

    fn manifest(kernel: &[u8], initrd: &[u8]) -> Manifest {
        let text = |word: &str| word.to_owned();
        Manifest {
            schema: text(SCHEMA),
            made_by: text("test"),
            arch: text("amd64"),
            release: text("13.0"),
            release_date: text("today"),
            signed_by: text("nobody"),
            mirror: text("http://m.example/debian"),
            kernel_version: text("6.12"),
            kernel: part(kernel),
            initrd: part(initrd),
            packages: Vec::new(),
            files: Vec::new(),
        }
    }

    #[test]
    fn bundle_travels_through_a_file_and_removal_takes_only_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (store(&dir.path().join("one")), store(&dir.path().join("two")));
        assert!(matches!(one.open(), Err(BundleError::NotInstalled)));
        one.put(&manifest(b"kernel", b"initrd"), b"kernel", b"initrd").unwrap();
        one.put(&manifest(b"newer", b"initrd"), b"newer", b"initrd").unwrap();
        let file = dir.path().join("bundle.tar");
        one.export(&file, &Silent).unwrap();
        let bundle = two.import(&file, &Silent).unwrap();
        assert_eq!(fs::read(&bundle.kernel).unwrap(), b"newer");
        fs::write(two.dir.join("notes"), b"mine").unwrap();
        assert!(two.remove().unwrap());
        assert_eq!(fs::read(two.dir.join("notes")).unwrap(), b"mine");
        assert!(one.remove().unwrap());
        assert!(!one.dir.exists());
        assert!(!one.remove().unwrap());
    }

    #[test]
    fn damage_is_found_and_said_before_anything_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let bundle = store.put(&manifest(b"kernel", b"initrd"), b"kernel", b"initrd").unwrap();
        let file = dir.path().join("bundle.tar");
        store.export(&file, &Silent).unwrap();
        let whole = fs::read(&file).unwrap();
        let at = whole.windows(6).rposition(|it| it == b"initrd").unwrap();
        let mut changed = whole.clone();
        changed[at] = b'I';
        fs::write(&file, &changed).unwrap();
        let error = store.import(&file, &Silent).unwrap_err().to_string();
        assert!(error.contains("initrd: its SHA-256 is not that of the manifest"), "{error}");
        fs::write(&file, &whole[..600]).unwrap();
        assert!(matches!(store.import(&file, &Silent), Err(BundleError::NotABundle { .. })));
        assert!(store.open().is_ok());
        fs::write(&bundle.kernel, b"kernal").unwrap();
        let error = store.open().unwrap_err().to_string();
        assert!(error.contains("its SHA-256 is not that of the manifest") && error.contains("install"), "{error}");
    }
}
