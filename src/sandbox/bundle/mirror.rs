//! Which mirror, and fetching from it: every answer has a bound, and every file a digest from the signed lists.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::BundleError;
use super::release::Listed;
use crate::base::{Progress, hex};

/// Debian's public mirror, where the machine names none.
pub const DEFAULT_MIRROR: &str = "https://deb.debian.org/debian";

/// How long to wait for a connection, and for each next piece.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a download that breaks off goes on where it stopped.
const TRIES: u32 = 4;
const PIECE: usize = 1 << 16;

/// A mirror of Debian.
#[derive(Debug)]
pub(super) struct Mirror {
    base: String,
    agent: ureq::Agent,
}

impl Mirror {
    /// The mirror of this address; `None`: that of the machine's own package sources, else [`DEFAULT_MIRROR`]. Proxies
    /// are those of the environment (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).
    ///
    /// # Errors
    /// The address makes no sense.
    pub(super) fn new(address: Option<&str>) -> Result<Mirror, BundleError> {
        let base = match address {
            Some(given) => given.to_owned(),
            None => of_this_machine().unwrap_or_else(|| DEFAULT_MIRROR.to_owned()),
        };
        let base = base.trim_end_matches('/').to_owned();
        let is_web = ["http://", "https://"].iter().any(|scheme| base.len() > scheme.len() && base.starts_with(scheme));
        if !is_web || base.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return Err(BundleError::BadMirror { given: base });
        }
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .user_agent(concat!("cryoscope/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Mirror { base, agent: config.into() })
    }

    /// Its address.
    pub(super) fn address(&self) -> &str {
        &self.base
    }

    /// A small file, whole, in memory.
    ///
    /// # Errors
    /// It cannot be fetched, has more than `max` bytes, or cancel.
    pub(super) fn get(&self, path: &str, max: u64, progress: &dyn Progress) -> Result<Vec<u8>, BundleError> {
        let url = self.url(path);
        let mut reader = self.open(&url, 0)?.1;
        let mut out = Vec::new();
        let mut piece = vec![0; PIECE];
        loop {
            progress.step(out.len() as u64, None)?;
            let n = reader.read(&mut piece).map_err(|error| fetch(&url, error))?;
            if n == 0 {
                return Ok(out);
            }
            out.extend_from_slice(piece.get(..n).unwrap_or_default());
            if max < out.len() as u64 {
                return Err(BundleError::Mismatch { url, what: format!("it has more than {max} bytes") });
            }
        }
    }

    /// A file of known size and digest, into `to`: what is there of it from an earlier try is kept, and checked with the
    /// rest. `done` bytes of `total` are done already, for the progress.
    ///
    /// # Errors
    /// It cannot be fetched, is not what `listed` says, cannot be written, or cancel.
    pub(super) fn get_file(
        &self,
        path: &str,
        listed: &Listed,
        to: &Path,
        progress: &dyn Progress,
        (done, total): (u64, u64),
    ) -> Result<(), BundleError> {
        if is_as_listed(to, listed) {
            return Ok(());
        }
        let url = self.url(path);
        let part = to.with_extension("part");
        let mut failed = None;
        for _try in 0..TRIES {
            match self.go_on(&url, listed, &part, progress, (done, total)) {
                Ok(()) => {
                    failed = None;
                    break;
                }
                Err(error @ BundleError::Fetch { .. }) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if !is_as_listed(&part, listed) {
            // What came is of no use; the next try begins anew.
            let _ = fs::remove_file(&part);
            return Err(BundleError::Mismatch { url, what: format!("its SHA-256 is not {}", listed.sha256) });
        }
        fs::rename(&part, to).map_err(BundleError::io("cannot rename to", to))
    }

    fn go_on(
        &self,
        url: &str,
        listed: &Listed,
        part: &Path,
        progress: &dyn Progress,
        (done, total): (u64, u64),
    ) -> Result<(), BundleError> {
        let cannot_write = || BundleError::io("cannot write", part);
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(part).map_err(cannot_write())?;
        let mut at = file.seek(SeekFrom::End(0)).map_err(cannot_write())?;
        if listed.size_bytes <= at {
            at = 0;
        }
        let (start, mut reader) = self.open(url, at)?;
        at = start;
        file.set_len(at).map_err(cannot_write())?;
        file.seek(SeekFrom::Start(at)).map_err(cannot_write())?;
        let mut piece = vec![0; PIECE];
        while at < listed.size_bytes {
            progress.step(done.saturating_add(at), Some(total))?;
            let n = reader.read(&mut piece).map_err(|error| fetch(url, error))?;
            if n == 0 {
                return Err(fetch(url, format!("it ends after {at} of {} bytes", listed.size_bytes)));
            }
            file.write_all(piece.get(..n).unwrap_or_default()).map_err(cannot_write())?;
            at = at.saturating_add(n as u64);
        }
        Ok(())
    }

    /// Opens an address from `at` on; the mirror may decide to begin at 0 all the same.
    fn open(&self, url: &str, at: u64) -> Result<(u64, impl Read + use<>), BundleError> {
        let mut request = self.agent.get(url);
        if at > 0 {
            request = request.header("Range", format!("bytes={at}-"));
        }
        let response = request.call().map_err(|error| fetch(url, error))?;
        let start = if response.status().as_u16() == 206 { at } else { 0 };
        Ok((start, response.into_body().into_reader()))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

fn fetch(url: &str, what: impl ToString) -> BundleError {
    BundleError::Fetch { url: url.to_owned(), what: what.to_string() }
}

/// Whether a file has the size and digest of the list.
fn is_as_listed(path: &Path, listed: &Listed) -> bool {
    #[expect(clippy::disallowed_methods, reason = "downloads of the bundle are read here only")]
    let Ok(mut file) = File::open(path) else { return false };
    if file.metadata().map_or(0, |data| data.len()) != listed.size_bytes {
        return false;
    }
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return hex(&digest.finalize()) == listed.sha256,
            Ok(n) => digest.update(piece.get(..n).unwrap_or_default()),
            Err(_) => return false,
        }
    }
}

/// The first mirror of the machine's package sources, where the machine is a Debian.
fn of_this_machine() -> Option<String> {
    let read = |path: &Path| {
        #[expect(clippy::disallowed_methods, reason = "the machine's package sources are read here only")]
        fs::read_to_string(path).ok()
    };
    let release = read(Path::new("/etc/os-release"))?;
    release.lines().find(|line| matches!(line.trim(), "ID=debian" | "ID=\"debian\""))?;
    let mut files = vec![Path::new("/etc/apt/sources.list").to_owned()];
    #[expect(clippy::disallowed_methods, reason = "the machine's package sources are listed here only")]
    let dir = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut more: Vec<_> = dir.filter_map(|entry| Some(entry.ok()?.path())).collect();
    more.sort();
    files.extend(more);
    files.iter().filter_map(|file| read(file)).find_map(|text| mirror_in(&text))
}

/// The first mirror of Debian itself that a file of sources names, in either format.
fn mirror_in(text: &str) -> Option<String> {
    for line in text.lines().map(str::trim) {
        let mut words = line.split_ascii_whitespace().skip_while(|word| word.starts_with('[') || word.ends_with(']'));
        if !matches!(words.next(), Some("deb" | "URIs:")) {
            continue;
        }
        let found = words.find(|word| {
            let is_web = word.starts_with("http://") || word.starts_with("https://");
            is_web && word.trim_end_matches('/').ends_with("/debian")
        });
        if let Some(found) = found {
            return Some(found.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_found_in_both_formats_of_sources() {
        let check = |text: &str, found: Option<&str>| assert_eq!(mirror_in(text).as_deref(), found, "{text}");
        check("Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n", Some("http://mirror.example/debian"));
        check(
            "# deb http://old.example/debian x\ndeb [arch=amd64] https://m.example/debian/ trixie main\n",
            Some("https://m.example/debian/"),
        );
        check(
            "deb cdrom:[Debian]/ trixie main\ndeb http://security.example/debian-security trixie-security main",
            None,
        );
        check("URIs: mirror+file:/etc/apt/mirrors/debian.list", None);
        check("deb http://archive.example/ubuntu noble main", None);
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for given in ["", "http://", "ftp://x/debian", "/srv/mirror", "http://a b/", "https://x\n/"] {
            assert!(matches!(Mirror::new(Some(given)), Err(BundleError::BadMirror { .. })), "{given}");
        }
        assert_eq!(Mirror::new(Some("http://m.example/debian/")).unwrap().address(), "http://m.example/debian");
    }
}
