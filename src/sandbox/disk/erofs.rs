//! Writing a read-only file system that Linux mounts: EROFS, without compression.
//!
//! Why this one: it keeps owners, devices and attributes without root on the analyst's machine and without any tool of
//! it, it is written in one pass, and the kernel of the bundle has it. Layout, in blocks of 4 KiB, all little-endian:
//! ```text
//! block 0       super block at byte 1024
//! from block 1  inodes, 64 bytes each ("extended"), aligned to 64, each followed by its extended attributes
//! then          names of directories, targets of links, contents of files, each from a block of its own
//! ```
//! Source: the kernel's `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::DiskError;
use super::tree::{Content, FileTree, Ino, Inode, Kind};
use crate::base::Progress;

const BLOCK: u64 = 4096;
const MAGIC: u32 = 0xE0F5_E1E2;
/// Inodes are numbered in steps of so many bytes.
const SLOT: u64 = 32;
const INODE_LEN: u64 = 64;
/// Bytes read of evidence at a time.
const PIECE: u64 = 4 << 20;
/// Extended attributes of one inode, names and values.
const MAX_XATTR_BYTES: usize = 32 << 10;
const XATTR_HEADER_LEN: usize = 12;
/// Prefixes that have a number.
const XATTR_PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];

/// An inode with its place.
struct Placed {
    ino: Ino,
    parent: Ino,
    nid: u64,
    xattrs: Vec<u8>,
    data: Data,
    first_block: u64,
    /// Names that lead to it; of a directory: `.`, its own, and `..` of those in it.
    nlink: u32,
}

enum Data {
    None,
    Owned(Vec<u8>),
    Content(Content),
}

impl Data {
    fn len(&self) -> u64 {
        match self {
            Data::None => 0,
            Data::Owned(bytes) => bytes.len() as u64,
            Data::Content(content) => content.len(),
        }
    }
}

/// Writes `tree` into `file` from its start; returns the size in bytes.
///
/// # Errors
/// It would be larger than `max_bytes`, evidence cannot be read, the file cannot be written, or cancel.
pub(super) fn write(tree: &FileTree, file: &File, max_bytes: u64, progress: &dyn Progress) -> Result<u64, DiskError> {
    let mut placed = place_inodes(tree);
    let nid_of = nids(&placed);
    for it in &mut placed {
        it.data = match &tree.get(it.ino).kind {
            Kind::Directory(names) => {
                let entries = names.iter().map(|(name, child)| (name.as_slice(), *child));
                Data::Owned(directory(tree, entries, it.ino, it.parent, &nid_of)?)
            }
            Kind::Symlink(target) => Data::Owned(target.clone()),
            Kind::File(content) if !content.is_empty() => Data::Content(content.clone()),
            _ => Data::None,
        };
    }
    let inodes_end = placed.last().map_or(BLOCK, |it| it.nid * SLOT + INODE_LEN + it.xattrs.len() as u64);
    let mut next_block = inodes_end.div_ceil(BLOCK);
    for it in &mut placed {
        it.first_block = next_block;
        next_block = next_block.saturating_add(it.data.len().div_ceil(BLOCK));
    }
    let size = next_block.saturating_mul(BLOCK);
    if max_bytes < size || u64::from(u32::MAX) < next_block {
        return Err(DiskError::TooLarge { needed: size, max: max_bytes });
    }
    file.set_len(size)?;
    file.write_all_at(&super_block(placed[0].nid, placed.len() as u64, next_block), 1024)?;
    for it in &placed {
        let mut bytes = inode(tree.get(it.ino), it).to_vec();
        bytes.extend_from_slice(&it.xattrs);
        file.write_all_at(&bytes, it.nid * SLOT)?;
    }
    for it in &placed {
        let at = it.first_block * BLOCK;
        match &it.data {
            Data::None | Data::Content(Content::Zeros(_)) => {}
            Data::Owned(bytes) => file.write_all_at(bytes, at)?,
            Data::Content(Content::Bytes(bytes)) => file.write_all_at(bytes, at)?,
            Data::Content(Content::Pieces { len, pieces }) => {
                for (offset, bytes) in pieces.iter().filter(|(offset, _)| offset < len) {
                    progress.step(at.saturating_add(*offset), Some(size))?;
                    let fits = usize::try_from(len - offset).unwrap_or(usize::MAX).min(bytes.len());
                    file.write_all_at(bytes.get(..fits).unwrap_or_default(), at + offset)?;
                }
            }
            Data::Content(Content::Member(evidence, member)) => {
                let len = member.available_bytes();
                let mut done = 0;
                while done < len {
                    progress.step(at.saturating_add(done), Some(size))?;
                    let end = len.min(done + PIECE);
                    let piece = evidence.read_range(member, done..end)?;
                    write_sparse(file, &piece, at + done)?;
                    done = end;
                }
            }
        }
    }
    Ok(size)
}

/// Zeros are holes: the file was made with its full length.
fn write_sparse(file: &File, piece: &[u8], at: u64) -> Result<(), DiskError> {
    let mut at = at;
    for block in piece.chunks(BLOCK as usize) {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at)?;
        }
        at += block.len() as u64;
    }
    Ok(())
}

/// All inodes that a name leads to, directories before what is in them, with their numbers.
fn place_inodes(tree: &FileTree) -> Vec<Placed> {
    let mut placed = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut next = vec![(tree.root(), tree.root())];
    let mut at = BLOCK;
    while let Some((ino, parent)) = next.pop() {
        if !seen.insert(ino.0) {
            continue;
        }
        let xattrs = xattrs(tree.get(ino));
        let nid = at / SLOT;
        at = (at + INODE_LEN + xattrs.len() as u64).next_multiple_of(INODE_LEN);
        placed.push(Placed { ino, parent, nid, xattrs, data: Data::None, first_block: 0, nlink: 0 });
        if let Kind::Directory(names) = &tree.get(ino).kind {
            next.extend(names.values().rev().map(|child| (*child, ino)));
        }
    }
    count_names(tree, &mut placed);
    placed
}

fn count_names(tree: &FileTree, placed: &mut [Placed]) {
    let mut count: std::collections::HashMap<usize, u32> = std::collections::HashMap::new();
    for it in placed.iter() {
        let Kind::Directory(names) = &tree.get(it.ino).kind else { continue };
        let own = count.entry(it.ino.0).or_default();
        *own = own.saturating_add(2);
        for child in names.values() {
            let is_directory = matches!(tree.get(*child).kind, Kind::Directory(_));
            let counted = if is_directory { it.ino } else { *child };
            let n = count.entry(counted.0).or_default();
            *n = n.saturating_add(1);
        }
    }
    for it in placed {
        it.nlink = count.get(&it.ino.0).copied().unwrap_or_default();
    }
}

fn nids(placed: &[Placed]) -> impl Fn(Ino) -> u64 + use<> {
    let map: std::collections::HashMap<usize, u64> = placed.iter().map(|it| (it.ino.0, it.nid)).collect();
    move |ino| map.get(&ino.0).copied().unwrap_or_default()
}

/// Blocks of entries, sorted by name: twelve bytes for each, then the names; the last block is as long as it must be.
fn directory<'a>(
    tree: &FileTree,
    entries: impl Iterator<Item = (&'a [u8], Ino)>,
    own: Ino,
    parent: Ino,
    nid_of: &dyn Fn(Ino) -> u64,
) -> Result<Vec<u8>, DiskError> {
    const ENTRY: usize = 12;
    let mut all: Vec<(&[u8], Ino)> = vec![(b".", own), (b"..", parent)];
    all.extend(entries);
    all.sort_by(|a, b| a.0.cmp(b.0));
    let mut out = Vec::new();
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let mut used = 0;
        let mut n = 0;
        for (name, _) in rest {
            if name.len() > 255 {
                return Err(DiskError::LongName { len: name.len() });
            }
            if used + ENTRY + name.len() > BLOCK as usize {
                break;
            }
            used += ENTRY + name.len();
            n += 1;
        }
        let (block, after) = rest.split_at(n);
        out.resize(out.len().next_multiple_of(BLOCK as usize), 0);
        let mut name_at = n * ENTRY;
        for (name, ino) in block {
            out.extend_from_slice(&nid_of(*ino).to_le_bytes());
            out.extend_from_slice(&(name_at as u16).to_le_bytes());
            out.push(file_type(&tree.get(*ino).kind));
            out.push(0);
            name_at += name.len();
        }
        for (name, _) in block {
            out.extend_from_slice(name);
        }
        rest = after;
    }
    Ok(out)
}

fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory(_) => 2,
        Kind::CharDevice(..) => 3,
        Kind::BlockDevice(..) => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}

fn inode(inode: &Inode, placed: &Placed) -> [u8; INODE_LEN as usize] {
    let (type_bits, device) = match inode.kind {
        Kind::File(_) => (0o100_000, None),
        Kind::Directory(_) => (0o040_000, None),
        Kind::Symlink(_) => (0o120_000, None),
        Kind::CharDevice(major, minor) => (0o020_000, Some((major, minor))),
        Kind::BlockDevice(major, minor) => (0o060_000, Some((major, minor))),
        Kind::Fifo => (0o010_000, None),
        Kind::Socket => (0o140_000, None),
    };
    let block_or_device = match device {
        // As the kernel's new_encode_dev has it.
        Some((major, minor)) => (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12),
        None if placed.data.len() == 0 => 0,
        None => placed.first_block as u32,
    };
    let n_xattr_words = if placed.xattrs.is_empty() { 0 } else { (placed.xattrs.len() - XATTR_HEADER_LEN) / 4 + 1 };
    let attributes = &inode.attributes;
    let mut out = [0; INODE_LEN as usize];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    // Bit 0: extended; the layout in bits 1 to 3 is 0: plain blocks.
    put(0, &1u16.to_le_bytes());
    put(2, &(n_xattr_words as u16).to_le_bytes());
    put(4, &((type_bits | (attributes.mode & 0o7777)) as u16).to_le_bytes());
    put(8, &placed.data.len().to_le_bytes());
    put(16, &block_or_device.to_le_bytes());
    put(20, &(placed.nid as u32).to_le_bytes());
    put(24, &attributes.uid.to_le_bytes());
    put(28, &attributes.gid.to_le_bytes());
    put(32, &attributes.mtime.to_le_bytes());
    put(40, &attributes.mtime_nanos.to_le_bytes());
    put(44, &placed.nlink.to_le_bytes());
    out
}

/// Header and entries of extended attributes; those whose names have no known prefix, or that are too long, are left out.
fn xattrs(inode: &Inode) -> Vec<u8> {
    let mut out = vec![0; XATTR_HEADER_LEN];
    for (name, value) in &inode.attributes.xattrs {
        let found = XATTR_PREFIXES.iter().find_map(|(number, prefix)| Some((*number, name.strip_prefix(*prefix)?)));
        // Marks of overlayfs would be obeyed by the one that lies over this disk.
        let Some((number, rest)) = found.filter(|_| !name.starts_with(b"trusted.overlay.")) else { continue };
        let (Ok(name_len), Ok(value_len)) = (u8::try_from(rest.len()), u16::try_from(value.len())) else { continue };
        if out.len() + rest.len() + value.len() > MAX_XATTR_BYTES {
            continue;
        }
        out.push(name_len);
        out.push(number);
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    if out.len() == XATTR_HEADER_LEN {
        out.clear();
    }
    out
}

fn super_block(root_nid: u64, n_inodes: u64, n_blocks: u64) -> [u8; 128] {
    let mut out = [0; 128];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_le_bytes());
    put(12, &[12]);
    put(14, &(root_nid as u16).to_le_bytes());
    put(16, &n_inodes.to_le_bytes());
    put(36, &(n_blocks as u32).to_le_bytes());
    // Inodes are numbered from the start of block 0; no attributes are shared.
    put(40, &0u32.to_le_bytes());
    put(64, b"evidence");
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::tree::Attributes;
    use super::*;
    use crate::base::Silent;

    /// The written disk, and a small reader of it: what the kernel does, as far as these tests look.
    struct Image(Vec<u8>);

    impl Image {
        fn of(tree: &FileTree) -> Image {
            let file = tempfile::tempfile().unwrap();
            let size = write(tree, &file, 1 << 30, &Silent).unwrap();
            let mut bytes = vec![0; size as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            Image(bytes)
        }

        fn number<const N: usize>(&self, at: usize) -> u64 {
            let mut whole = [0; 8];
            whole[..N].copy_from_slice(&self.0[at..at + N]);
            u64::from_le_bytes(whole)
        }

        fn data(&self, nid: u64) -> &[u8] {
            let at = (nid * SLOT) as usize;
            let (size, block) = (self.number::<8>(at + 8) as usize, self.number::<4>(at + 16) as usize);
            &self.0[block * 4096..block * 4096 + size]
        }

        /// Names of a directory with their inodes, in the order of the disk.
        fn names(&self, nid: u64) -> Vec<(String, u64)> {
            let mut out = Vec::new();
            for block in self.data(nid).chunks(4096) {
                let n = usize::from(u16::from_le_bytes([block[8], block[9]])) / 12;
                let at = |i: usize| usize::from(u16::from_le_bytes([block[i * 12 + 8], block[i * 12 + 9]]));
                for i in 0..n {
                    let end = if i + 1 < n { at(i + 1) } else { block.len() };
                    let name = block[at(i)..end].split(|byte| *byte == 0).next().unwrap();
                    let nid = u64::from_le_bytes(block[i * 12..i * 12 + 8].try_into().unwrap());
                    out.push((String::from_utf8(name.to_vec()).unwrap(), nid));
                }
            }
            out
        }

        fn find(&self, path: &str) -> u64 {
            path.split('/').fold(self.number::<2>(1024 + 14), |dir, name| {
                self.names(dir).into_iter().find(|(found, _)| found == name).unwrap().1
            })
        }

        fn field<const N: usize>(&self, path: &str, at: usize) -> u64 {
            self.number::<N>((self.find(path) * SLOT) as usize + at)
        }
    }

    fn file(bytes: Vec<u8>) -> Kind {
        Kind::File(Content::Bytes(Bytes::from(bytes)))
    }

    #[test]
    fn files_links_and_devices_are_found_again_with_what_they_have() {
        let mut tree = FileTree::new(1000);
        let attributes = Attributes { mode: 0o4755, uid: 70_000, gid: 5, mtime: -7, ..Attributes::default() };
        let ino = tree.put(b"usr/bin/su", file(vec![7; 5000]), attributes).unwrap();
        tree.put_link(b"usr/bin/again", ino).unwrap();
        tree.put(b"bin", Kind::Symlink(b"usr/bin".to_vec()), Attributes::default()).unwrap();
        tree.put(b"dev/sda", Kind::BlockDevice(8, 300), Attributes::default()).unwrap();
        tree.put(b"gone/deep", file(vec![1]), Attributes::default()).unwrap();
        tree.remove(b"gone");
        let image = Image::of(&tree);
        assert_eq!(image.data(image.find("usr/bin/su")), [7; 5000]);
        assert_eq!(image.find("usr/bin/again"), image.find("usr/bin/su"));
        assert_eq!(image.field::<4>("usr/bin/su", 44), 2);
        assert_eq!(image.field::<4>("usr", 44), 3);
        assert_eq!(image.field::<2>("usr/bin/su", 4), 0o104_755);
        assert_eq!((image.field::<4>("usr/bin/su", 24), image.field::<4>("usr/bin/su", 28)), (70_000, 5));
        assert_eq!(image.field::<8>("usr/bin/su", 32) as i64, -7);
        assert_eq!(image.data(image.find("bin")), b"usr/bin");
        assert_eq!(image.field::<4>("dev/sda", 16), 300 & 0xff | 8 << 8 | (300 & !0xff) << 12);
        let top: Vec<String> = image.names(image.number::<2>(1024 + 14)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(top, [".", "..", "bin", "dev", "usr"]);
        assert_eq!(image.number::<8>(1024 + 16), 7);
    }

    #[test]
    fn large_directory_is_sorted_over_its_blocks() {
        let mut tree = FileTree::new(10_000);
        for number in 0..2000 {
            tree.put(format!("d/{number:0>40}").as_bytes(), file(vec![]), Attributes::default()).unwrap();
        }
        let image = Image::of(&tree);
        let names: Vec<String> = image.names(image.find("d")).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 2002);
        assert!(names.is_sorted());
    }

    #[test]
    fn attributes_are_written_and_those_of_overlays_are_not() {
        let mut tree = FileTree::new(10);
        let xattrs: Box<[crate::evidence::Xattr]> = Box::new([
            (b"security.capability".as_slice().into(), [1, 2, 3].as_slice().into()),
            (b"trusted.overlay.redirect".as_slice().into(), b"/etc".as_slice().into()),
            (b"odd.name".as_slice().into(), b"x".as_slice().into()),
        ]);
        tree.put(b"ping", file(vec![]), Attributes { xattrs, ..Attributes::default() }).unwrap();
        let image = Image::of(&tree);
        let at = (image.find("ping") * SLOT + INODE_LEN) as usize;
        assert_eq!(image.field::<2>("ping", 2), 6);
        assert_eq!(image.0[at + 12..at + 12 + 4], [10, 6, 3, 0]);
        assert_eq!(&image.0[at + 16..at + 29], b"capability\x01\x02\x03");
        assert!(!image.0.windows(8).any(|window| window == b"redirect"));
    }

    #[test]
    fn names_and_sizes_that_do_not_fit_are_refused() {
        let mut tree = FileTree::new(10);
        tree.put(&[b'x'; 256], file(vec![]), Attributes::default()).unwrap();
        let disk = tempfile::tempfile().unwrap();
        assert!(matches!(write(&tree, &disk, 1 << 30, &Silent), Err(DiskError::LongName { len: 256 })));
        let mut tree = FileTree::new(10);
        tree.put(b"x", file(vec![1; 100_000]), Attributes::default()).unwrap();
        assert!(matches!(write(&tree, &disk, 50_000, &Silent), Err(DiskError::TooLarge { max: 50_000, .. })));
    }
}
