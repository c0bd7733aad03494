//! Reading Debian packages: an `ar` archive that holds `data.tar` in some compression. In memory, nothing is written.
//!
//! Packages are checked against a signed list before they come here; their lengths are not believed all the same.
//! Formats: deb(5), ar(5).

use std::collections::BTreeMap;
use std::io::Read;

use thiserror::Error;

/// Most bytes of files that are kept of one package.
const MAX_KEPT_BYTES: u64 = 512 << 20;
/// Most bytes that a package may unpack to.
const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// Most members of one package.
const MAX_MEMBERS: usize = 200_000;
const AR_MAGIC: &[u8] = b"!<arch>\n";
const AR_HEADER_LEN: usize = 60;

/// What cannot be read of a package.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DebError {
    /// It does not begin as an ar archive does.
    #[error("is no Debian package: it does not begin with !<arch>")]
    NotAr,
    /// A header of ar makes no sense.
    #[error("header of ar at {offset:#x} makes no sense")]
    BadHeader {
        /// Bytes from the start of the package.
        offset: usize,
    },
    /// A member is longer than what is left.
    #[error("{name} needs {needed} bytes, {left} left")]
    Truncated {
        /// Of the member.
        name: String,
        /// Bytes it says it has.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// There is no `data.tar` that can be read.
    #[error("has no data.tar packed by xz, zstd, gzip or nothing")]
    NoData,
    /// It unpacks to more than is borne.
    #[error("unpacks to more than {max} {what}")]
    TooLarge {
        /// The bound.
        max: u64,
        /// What it bounds.
        what: &'static str,
    },
    /// The archive in it is damaged.
    #[error("data.tar: {0}")]
    Tar(#[from] std::io::Error),
}

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Regular file: permission bits and content.
    File(u32, Vec<u8>),
    /// Directory with its permission bits.
    Directory(u32),
    /// Symbolic link.
    Symlink(String),
}

/// Files by path, without a slash in front.
pub type Tree = BTreeMap<String, Node>;

/// Unpacks the files that `wants` says yes to into `tree`; a hard link becomes a copy.
///
/// # Errors
/// The package is damaged or too large.
pub(super) fn unpack(deb: &[u8], wants: &dyn Fn(&str) -> bool, tree: &mut Tree) -> Result<(), DebError> {
    let (name, data) = data_member(deb)?;
    let reader: Box<dyn Read + '_> = match name.rsplit('.').next() {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(data)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(data)?),
        Some("gz") => Box::new(flate2::read::GzDecoder::new(data)),
        Some("tar") => Box::new(data),
        _ => return Err(DebError::NoData),
    };
    let mut archive = tar::Archive::new(reader.take(MAX_UNPACKED_BYTES));
    let mut kept = 0u64;
    for (n_members, entry) in archive.entries()?.enumerate() {
        if MAX_MEMBERS <= n_members {
            return Err(DebError::TooLarge { max: MAX_MEMBERS as u64, what: "members" });
        }
        let mut entry = entry?;
        let Some(path) = clean_path(&entry.path_bytes()).filter(|path| wants(path)) else { continue };
        let mode = entry.header().mode()? & 0o7777;
        let node = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                kept = kept.saturating_add(entry.size());
                if MAX_KEPT_BYTES < kept {
                    return Err(DebError::TooLarge { max: MAX_KEPT_BYTES, what: "bytes" });
                }
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                Node::File(mode, content)
            }
            tar::EntryType::Directory => Node::Directory(mode),
            tar::EntryType::Symlink => match entry.link_name_bytes() {
                Some(target) => Node::Symlink(String::from_utf8_lossy(&target).into_owned()),
                None => continue,
            },
            tar::EntryType::Link => {
                let target = entry.link_name_bytes().and_then(|target| clean_path(&target));
                match target.and_then(|target| tree.get(&target).cloned()) {
                    Some(node) => node,
                    None => continue,
                }
            }
            _ => continue,
        };
        tree.insert(path, node);
    }
    Ok(())
}

/// Name and content of `data.tar.*`.
fn data_member(deb: &[u8]) -> Result<(&str, &[u8]), DebError> {
    let mut rest = deb.strip_prefix(AR_MAGIC).ok_or(DebError::NotAr)?;
    while !rest.is_empty() {
        let offset = deb.len() - rest.len();
        let bad = || DebError::BadHeader { offset };
        let (header, after) = rest.split_at_checked(AR_HEADER_LEN).ok_or_else(bad)?;
        let header = std::str::from_utf8(header).map_err(|_utf8| bad())?;
        let (name, size) = (header.get(..16).ok_or_else(bad)?, header.get(48..58).ok_or_else(bad)?);
        if !header.ends_with("`\n") {
            return Err(bad());
        }
        let name = name.trim_end().trim_end_matches('/');
        let size: usize = size.trim_end().parse().map_err(|_number| bad())?;
        let content = after.get(..size).ok_or_else(|| DebError::Truncated {
            name: name.escape_default().to_string(),
            needed: size,
            left: after.len(),
        })?;
        if name.starts_with("data.tar") {
            return Ok((name, content));
        }
        // Members begin at even offsets.
        rest = after.get(size + size % 2..).unwrap_or_default();
    }
    Err(DebError::NoData)
}

/// A path below the root; `None` for one that is not text, or climbs out.
fn clean_path(raw: &[u8]) -> Option<String> {
    let raw = std::str::from_utf8(raw).ok()?;
    let parts: Vec<&str> = raw.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = AR_MAGIC.to_vec();
        for (name, content) in members {
            out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, content.len()).as_bytes());
            out.extend_from_slice(content);
            if content.len() % 2 == 1 {
                out.push(b'\n');
            }
        }
        out
    }

    fn data() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind, link: Option<&str>, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            if let Some(link) = link {
                header.set_link_name_literal(link).unwrap();
            }
            header.set_cksum();
            builder.append(&header, content).unwrap();
        };
        add("./usr/", tar::EntryType::Directory, None, b"");
        add("./usr/bin/tool", tar::EntryType::Regular, None, b"\x7fELF");
        add("./usr/bin/again", tar::EntryType::Link, Some("./usr/bin/tool"), b"");
        add("./usr/bin/link", tar::EntryType::Symlink, Some("tool"), b"");
        add("../../etc/passwd", tar::EntryType::Regular, None, b"evil");
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_of_a_package_come_out_and_paths_that_climb_do_not() {
        let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar", b"odd"), ("data.tar", &data())]);
        let mut tree = Tree::new();
        unpack(&deb, &|_| true, &mut tree).unwrap();
        let paths: Vec<&str> = tree.keys().map(String::as_str).collect();
        assert_eq!(paths, ["usr", "usr/bin/again", "usr/bin/link", "usr/bin/tool"]);
        assert_eq!(tree["usr/bin/again"], Node::File(0o755, b"\x7fELF".to_vec()));
        assert_eq!(tree["usr/bin/link"], Node::Symlink("tool".into()));
    }

    #[test]
    fn damaged_packages_are_refused_with_their_place() {
        let check = |deb: &[u8], message: &str| {
            let error = unpack(deb, &|_| true, &mut Tree::new()).unwrap_err();
            assert_eq!(error.to_string(), message);
        };
        check(b"PK\x03\x04", "is no Debian package: it does not begin with !<arch>");
        check(b"!<arch>\n", "has no data.tar packed by xz, zstd, gzip or nothing");
        check(b"!<arch>\nshort", "header of ar at 0x8 makes no sense");
        let whole = ar(&[("debian-binary", b"2.0\n"), ("data.tar.xz", &[0; 100])]);
        check(&whole[..whole.len() - 60], "data.tar.xz needs 100 bytes, 40 left");
        let mut minus = whole.clone();
        minus[8 + 48..8 + 58].copy_from_slice(b"-1        ");
        check(&minus, "header of ar at 0x8 makes no sense");
        check(&ar(&[("data.tar.lzma", b"x")]), "has no data.tar packed by xz, zstd, gzip or nothing");
    }

    #[test]
    fn no_cut_or_changed_package_makes_it_panic() {
        let deb = ar(&[("debian-binary", b"2.0\n"), ("data.tar", &data())]);
        for at in 0..deb.len() {
            let _ = unpack(&deb[..at], &|_| true, &mut Tree::new());
            let mut changed = deb.clone();
            changed[at] ^= 0x55;
            let _ = unpack(&changed, &|_| true, &mut Tree::new());
        }
    }
}
