//! Writing the archive that the kernel unpacks as its first root file system (cpio, format "newc").
//!
//! Source: the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`. Numbers are eight hex digits; names
//! and contents are padded to four bytes. Several archives, packed or not, may follow each other.

use super::deb::{Node, Tree};

/// The last entry.
const TRAILER: &str = "TRAILER!!!";
const HEADER_LEN: usize = 110;

/// An archive of `tree`, with the directories that lead to its files; owners are root, times are zero, so that the same
/// tree gives the same bytes.
pub(in crate::sandbox) fn archive(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    let mut ino = 0u32;
    let mut made = std::collections::BTreeSet::new();
    for (path, node) in tree {
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            if !tree.contains_key(parent) && made.insert(parent) {
                ino += 1;
                entry(&mut out, ino, parent, 0o040_755, b"");
            }
        }
        ino += 1;
        match node {
            Node::File(mode, content) => entry(&mut out, ino, path, 0o100_000 | mode, content),
            Node::Directory(mode) => entry(&mut out, ino, path, 0o040_000 | mode, b""),
            Node::Symlink(target) => entry(&mut out, ino, path, 0o120_777, target.as_bytes()),
        }
    }
    entry(&mut out, 0, TRAILER, 0, b"");
    out
}

/// What archives that follow each other hold, in their order; it ends where something is not as expected.
pub(in crate::sandbox) fn entries(bytes: &[u8]) -> impl Iterator<Item = (&str, Node)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let (name, node, next) = read_entry(bytes, at)?;
            at = next;
            if let Some(node) = node {
                return Some((name, node));
            }
        }
    })
}

/// The entry at `at`, and where the next one is. What is neither file, directory nor link is passed over.
fn read_entry(bytes: &[u8], at: usize) -> Option<(&str, Option<Node>, usize)> {
    let field = |number: usize| {
        let start = at.checked_add(6 + number * 8)?;
        usize::from_str_radix(std::str::from_utf8(bytes.get(start..start + 8)?).ok()?, 16).ok()
    };
    if bytes.get(at..at.checked_add(6)?)? != b"070701" {
        return None;
    }
    let (mode, size, name_len) = (u32::try_from(field(1)?).ok()?, field(6)?, field(11)?);
    let name_at = at.checked_add(HEADER_LEN)?;
    let name_end = name_at.checked_add(name_len)?;
    let name = std::str::from_utf8(bytes.get(name_at..name_end.checked_sub(1)?)?).ok()?;
    let content_at = name_end.next_multiple_of(4);
    let content_end = content_at.checked_add(size)?;
    let content = bytes.get(content_at..content_end)?;
    let is_plain = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let node = match mode & 0o170_000 {
        _ if !is_plain || name == TRAILER => None,
        0o100_000 => Some(Node::File(mode & 0o7777, content.to_vec())),
        0o040_000 => Some(Node::Directory(mode & 0o7777)),
        0o120_000 => String::from_utf8(content.to_vec()).ok().map(Node::Symlink),
        _ => None,
    };
    Some((name, node, content_end.next_multiple_of(4)))
}

fn entry(out: &mut Vec<u8>, ino: u32, name: &str, mode: u32, content: &[u8]) {
    let nlink = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let fields: [usize; 13] =
        [ino as usize, mode as usize, 0, 0, nlink, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

/// Archives start at a multiple of four, so padding may go by the length of the whole.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_parents_come_first() {
        let tree = Tree::from([
            ("usr/bin/a".to_owned(), Node::File(0o755, b"hello".to_vec())),
            ("usr/bin/b".to_owned(), Node::Symlink("a".into())),
        ]);
        let bytes = archive(&tree);
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let names: Vec<usize> = ["usr\0", "usr/bin\0", "usr/bin/a\0", "usr/bin/b\0", "TRAILER!!!\0"]
            .iter()
            .map(|name| text.find(name).unwrap())
            .collect();
        assert!(names.is_sorted());
        assert!(text.starts_with("07070100000001000041ed0000000000000000000000020000000000000000"));
        assert_eq!(text.matches("070701").count(), 5);
        // Two in a row are read back with the directories that were made, and a cut one as far as it goes.
        let twice = [bytes.as_slice(), &bytes].concat();
        let read: Vec<(&str, Node)> = entries(&twice).collect();
        assert_eq!(read.len(), 8);
        assert_eq!(read[2], ("usr/bin/a", Node::File(0o755, b"hello".to_vec())));
        assert_eq!(read[3], ("usr/bin/b", Node::Symlink("a".into())));
        assert_eq!(entries(&twice[..bytes.len() + 60]).count(), 4);
    }
}
