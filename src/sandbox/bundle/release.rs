//! Debian's signed list of lists: `InRelease`, a cleartext-signed message, verified against the archive keys that come
//! with this program (`assets/debian/`, the archive keys of Debian 13 as its `debian-archive-keyring` has them).

use std::io::Cursor;

use pgp::composed::{CleartextSignedMessage, Deserializable as _, SignedPublicKey};
use pgp::types::KeyDetails as _;

use super::BundleError;

/// Archive keys of Debian 13 (trixie): the automatic one, and the one of stable releases.
const KEYS: &[u8] = include_bytes!("../../../assets/debian/trixie-archive-keys.pgp");

/// The suite that bundles are made from, by its code name: what is stable changes, this does not.
pub const SUITE: &str = "trixie";

/// A verified list.
#[derive(Clone, Debug)]
pub(super) struct Release {
    /// The release, as `13.2`.
    pub version: String,
    /// When it was made, as it says.
    pub date: String,
    /// Fingerprint of the key, or of the subkey, whose signature holds.
    pub signed_by: String,
    text: String,
}

/// Size and digest of a list that a release names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// In bytes.
    pub size_bytes: u64,
    /// Lower-case hex digits.
    pub sha256: String,
}

impl Release {
    /// Verifies a downloaded `InRelease`.
    ///
    /// # Errors
    /// It is not signed by a key of Debian's archive, is not of [`SUITE`], or makes no sense.
    pub(super) fn verify(bytes: &[u8]) -> Result<Release, BundleError> {
        Release::verify_with(bytes, KEYS)
    }

    fn verify_with(bytes: &[u8], keys: &[u8]) -> Result<Release, BundleError> {
        let bad = |what: String| BundleError::BadRelease { what };
        let text = std::str::from_utf8(bytes).map_err(|_utf8| bad("is not text".into()))?;
        let (message, _) =
            CleartextSignedMessage::from_string(text).map_err(|error| bad(format!("is no signed message: {error}")))?;
        let signed_by = signer(&message, keys)?;
        let text = message.signed_text();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned).ok_or_else(|| bad(format!("has no field {name}")))
        };
        let codename = field("Codename")?;
        if codename != SUITE {
            return Err(bad(format!("is of {}, not of {SUITE}", codename.escape_default())));
        }
        Ok(Release { version: field("Version")?, date: field("Date")?, signed_by, text })
    }

    /// The entry of a list, as `main/binary-amd64/Packages.xz`.
    ///
    /// # Errors
    /// The release does not name it.
    pub(super) fn listed(&self, path: &str) -> Result<Listed, BundleError> {
        let digests = self.text.lines().skip_while(|line| *line != "SHA256:").skip(1);
        for line in digests.take_while(|line| line.starts_with(' ')) {
            let mut words = line.split_ascii_whitespace();
            let (Some(sha256), Some(size), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
            if name == path
                && let Ok(size_bytes) = size.parse()
            {
                return Ok(Listed { size_bytes, sha256: sha256.to_owned() });
            }
        }
        Err(BundleError::BadRelease { what: format!("does not name {path}") })
    }
}

/// Fingerprint of the first key of ours whose signature holds. Other signatures are of no matter.
fn signer(message: &CleartextSignedMessage, keys: &[u8]) -> Result<String, BundleError> {
    let keys = SignedPublicKey::from_bytes_many(Cursor::new(keys))
        .map_err(|error| BundleError::Keys { what: error.to_string() })?;
    for key in keys {
        let key = key.map_err(|error| BundleError::Keys { what: error.to_string() })?;
        if message.verify(&key).is_ok() {
            return Ok(format!("{}", key.fingerprint()));
        }
        for subkey in &key.public_subkeys {
            if message.verify(subkey).is_ok() {
                return Ok(format!("{}", subkey.fingerprint()));
            }
        }
    }
    Err(BundleError::NotSigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Signed by a key that was made for this and thrown away; `key.pgp` is its public half.
    const LIST: &str = include_str!("../../../fixtures/release/InRelease");
    const OLDER: &str = include_str!("../../../fixtures/release/InRelease.older");
    const KEY: &[u8] = include_bytes!("../../../fixtures/release/key.pgp");

    #[test]
    fn signed_list_is_read_and_names_its_lists() {
        let release = Release::verify_with(LIST.as_bytes(), KEY).unwrap();
        assert_eq!((release.version.as_str(), release.date.as_str()), ("13.2", "Sat, 15 Nov 2025 09:00:00 UTC"));
        let listed = release.listed("main/binary-amd64/Packages.xz").unwrap();
        assert_eq!(listed.size_bytes, 9_679_304);
        assert!(listed.sha256.starts_with("be3d7d96"));
        let error = release.listed("main/binary-arm64/Packages.xz").unwrap_err();
        assert_eq!(error.to_string(), "the mirror's InRelease does not name main/binary-arm64/Packages.xz");
    }

    #[test]
    fn list_of_another_key_or_with_a_changed_byte_is_refused() {
        assert!(matches!(Release::verify(LIST.as_bytes()), Err(BundleError::NotSigned)));
        let changed = LIST.replacen("be3d7d96", "be3d7d97", 1);
        assert!(matches!(Release::verify_with(changed.as_bytes(), KEY), Err(BundleError::NotSigned)));
        // What stands outside of what is signed does not count.
        let around = format!("Codename: trixie\nSHA256:\n 00 1 evil\n{LIST}");
        if let Ok(release) = Release::verify_with(around.as_bytes(), KEY) {
            assert!(release.listed("evil").is_err());
        }
    }

    #[test]
    fn list_of_another_release_or_no_list_is_refused() {
        let error = Release::verify_with(OLDER.as_bytes(), KEY).unwrap_err();
        assert_eq!(error.to_string(), "the mirror's InRelease is of bookworm, not of trixie");
        for bytes in [b"".as_slice(), b"<html>", b"\xff\xfe", &LIST.as_bytes()[..400]] {
            assert!(matches!(Release::verify_with(bytes, KEY), Err(BundleError::BadRelease { .. })));
        }
    }

    #[test]
    fn keys_of_the_program_are_those_of_debian_13() {
        let keys = SignedPublicKey::from_bytes_many(Cursor::new(KEYS)).unwrap();
        let names: Vec<String> =
            keys.map(|key| String::from_utf8_lossy(key.unwrap().details.users[0].id.id()).into_owned()).collect();
        assert_eq!(
            names,
            [
                "Debian Archive Automatic Signing Key (13/trixie) <ftpmaster@debian.org>",
                "Debian Stable Release Key (13/trixie) <debian-release@lists.debian.org>",
            ]
        );
    }
}
