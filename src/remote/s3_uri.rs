//! `s3://BUCKET/KEY`.

use std::fmt;
use std::str::FromStr;

use super::RemoteError;

/// Longest name of a bucket: 63 bytes today, 255 of old.
const MAX_NAME: usize = 255;
/// Longest key that is asked for; S3 has at most 1024 bytes.
pub(super) const MAX_KEY: usize = 4096;

/// An object, or where several lie. Shown as it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct S3Uri {
    /// The bucket.
    pub bucket: String,
    /// The key, or what keys begin with; empty for all of the bucket.
    pub key: String,
}

impl FromStr for S3Uri {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<S3Uri, RemoteError> {
        let bad = |why| RemoteError::BadAddress { given: text.to_owned(), why };
        let rest = text.strip_prefix("s3://").ok_or_else(|| bad("does not begin with s3://"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(bucket).map_err(bad)?;
        if key.len() > MAX_KEY {
            return Err(bad("its key is too long"));
        }
        Ok(S3Uri { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// Whether a bucket can have this name: in any store, old or new.
pub(super) fn check_bucket(name: &str) -> Result<(), &'static str> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() {
        return Err("names no bucket: s3://BUCKET/ is all of one");
    }
    if MAX_NAME < name.len() || !name.chars().all(is_right) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("no bucket can have this name");
    }
    Ok(())
}

/// Whether an address can be made of a key: one that has `.` or `..` between slashes would become another's.
pub(super) fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || MAX_KEY < key.len() {
        return Err("no object can have this key");
    }
    if key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(
            "its key has . or .. between slashes, which no address can name; copy the object under another key",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_bucket_and_what_keys_begin_with() {
        let check = |text: &str, bucket: &str, key: &str| {
            let uri: S3Uri = text.parse().expect(text);
            assert_eq!((uri.bucket.as_str(), uri.key.as_str()), (bucket, key));
        };
        check("s3://evidence", "evidence", "");
        check("s3://evidence/", "evidence", "");
        check("s3://case.117/2026/é ?#%.tar", "case.117", "2026/é ?#%.tar");
        check("s3://b/a//b", "b", "a//b");
        for wrong in ["s3://", "s3:///x", "s3://a b/x", "s3://../x", "s3://u:p@h/x", "https://b/x", "s3://é/x"] {
            assert!(wrong.parse::<S3Uri>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_that_would_become_other_addresses_are_not_asked_for() {
        for wrong in ["", "..", "a/../b", "a/.", "./a"] {
            assert!(check_key(wrong).is_err(), "{wrong}");
        }
        for right in ["a", "a//b", "a/..b", "%2e%2e/a", "/a", "a\\..\\b"] {
            assert!(check_key(right).is_ok(), "{right}");
        }
    }
}
