//! A tree of files in memory: names and attributes, with contents that stay where they are until the disk is written.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::evidence::{Evidence, Member, Xattr};

/// Whose files are that belong to no id.
const NOBODY: u32 = 65_534;

/// Number of an inode in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ino(pub(super) usize);

/// Permission bits, owner, time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds on top.
    pub mtime_nanos: u32,
    /// Extended attributes.
    pub xattrs: Box<[Xattr]>,
}

/// What an inode is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Names in it; a `BTreeMap` since the disk wants them sorted as bytes.
    Directory(BTreeMap<Vec<u8>, Ino>),
    /// Regular file.
    File(Content),
    /// As stored.
    Symlink(Vec<u8>),
    /// Major and minor number.
    CharDevice(u32, u32),
    /// Major and minor number.
    BlockDevice(u32, u32),
    /// Named pipe.
    Fifo,
    /// Socket of the file system.
    Socket,
}

/// Where the content of a file is.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here.
    Bytes(Bytes),
    /// So many zeros, which take no place.
    Zeros(u64),
    /// In evidence.
    Member(Evidence, Box<Member>),
    /// Pieces with where they begin, of which later ones lie over earlier ones; what is between them is zeros, and what
    /// goes over the end does not count.
    Pieces {
        /// In bytes.
        len: u64,
        /// Offset and bytes.
        pieces: Vec<(u64, Bytes)>,
    },
}

impl Content {
    /// In bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Zeros(len) => *len,
            Content::Member(_, member) => member.available_bytes(),
            Content::Pieces { len, .. } => *len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One inode.
#[derive(Clone, Debug)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, owner, time.
    pub attributes: Attributes,
}

/// The tree is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {max} files")]
pub struct TooMany {
    /// The bound.
    pub max: usize,
}

/// A tree of files. Inodes that nothing leads to any more stay in it and are not written.
#[derive(Clone, Debug)]
pub struct FileTree {
    inodes: Vec<Inode>,
    max: usize,
}

impl FileTree {
    /// An empty root directory; at most `max` inodes.
    pub fn new(max: usize) -> FileTree {
        let root = Inode {
            kind: Kind::Directory(BTreeMap::new()),
            attributes: Attributes { mode: 0o755, ..Attributes::default() },
        };
        FileTree { inodes: vec![root], max }
    }

    /// The root directory.
    pub fn root(&self) -> Ino {
        Ino(0)
    }

    /// An inode of this tree.
    pub fn get(&self, ino: Ino) -> &Inode {
        &self.inodes[ino.0]
    }

    /// As [`FileTree::get`], to be changed.
    pub fn get_mut(&mut self, ino: Ino) -> &mut Inode {
        &mut self.inodes[ino.0]
    }

    /// Gives everything to owners whose ids are higher by so much; ids that there are not are those of nobody.
    pub fn shift_owners(&mut self, first: u32, count: u32) {
        let shifted = |id: u32| first.saturating_add(if id < count { id } else { NOBODY });
        for inode in &mut self.inodes {
            let attributes = &mut inode.attributes;
            (attributes.uid, attributes.gid) = (shifted(attributes.uid), shifted(attributes.gid));
        }
    }

    /// The inode of a path below the root, without following links.
    pub fn find(&self, path: &[u8]) -> Option<Ino> {
        let mut at = self.root();
        for part in parts(path) {
            let Kind::Directory(names) = &self.get(at).kind else { return None };
            at = *names.get(part)?;
        }
        Some(at)
    }

    /// Puts something at a path, in the place of what was there; directories on the way are made, and what is no
    /// directory on the way becomes one, as in a layer. A directory over a directory keeps what is in it.
    ///
    /// # Errors
    /// The tree is full.
    pub fn put(&mut self, path: &[u8], kind: Kind, attributes: Attributes) -> Result<Ino, TooMany> {
        let Some((dir, name)) = self.place(path)? else {
            self.get_mut(Ino(0)).attributes = attributes;
            return Ok(Ino(0));
        };
        if let (Kind::Directory(_), Some(there)) = (&kind, self.child(dir, &name))
            && matches!(self.get(there).kind, Kind::Directory(_))
        {
            self.get_mut(there).attributes = attributes;
            return Ok(there);
        }
        let ino = self.add(Inode { kind, attributes })?;
        self.link(dir, name, ino);
        Ok(ino)
    }

    /// Another name for an inode that is no directory.
    ///
    /// # Errors
    /// The tree is full.
    pub fn put_link(&mut self, path: &[u8], ino: Ino) -> Result<(), TooMany> {
        if !matches!(self.get(ino).kind, Kind::Directory(_))
            && let Some((dir, name)) = self.place(path)?
        {
            self.link(dir, name, ino);
        }
        Ok(())
    }

    /// Takes a path away with all that is below it; whether there was anything.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        let mut parts: Vec<&[u8]> = parts(path).collect();
        let Some(name) = parts.pop() else { return false };
        let Some(dir) = self.find(&parts.join(&b'/')) else { return false };
        self.unlink(dir, name)
    }

    /// Takes away all that is in a directory.
    pub fn clear(&mut self, path: &[u8]) {
        if let Some(ino) = self.find(path)
            && let Kind::Directory(names) = &mut self.get_mut(ino).kind
        {
            names.clear();
        }
    }

    /// The directory of a path, made where it is missing, and the last part; `None` for the root.
    fn place(&mut self, path: &[u8]) -> Result<Option<(Ino, Vec<u8>)>, TooMany> {
        let mut parts: Vec<Vec<u8>> = parts(path).map(<[u8]>::to_vec).collect();
        let Some(name) = parts.pop() else { return Ok(None) };
        let mut at = self.root();
        for part in parts {
            let there = self.child(at, &part).filter(|ino| matches!(self.get(*ino).kind, Kind::Directory(_)));
            at = match there {
                Some(ino) => ino,
                None => {
                    let attributes = Attributes { mode: 0o755, ..Attributes::default() };
                    let ino = self.add(Inode { kind: Kind::Directory(BTreeMap::new()), attributes })?;
                    self.link(at, part, ino);
                    ino
                }
            };
        }
        Ok(Some((at, name)))
    }

    fn child(&self, dir: Ino, name: &[u8]) -> Option<Ino> {
        match &self.get(dir).kind {
            Kind::Directory(names) => names.get(name).copied(),
            _ => None,
        }
    }

    fn add(&mut self, inode: Inode) -> Result<Ino, TooMany> {
        if self.max <= self.inodes.len() {
            return Err(TooMany { max: self.max });
        }
        self.inodes.push(inode);
        Ok(Ino(self.inodes.len() - 1))
    }

    fn link(&mut self, dir: Ino, name: Vec<u8>, ino: Ino) {
        if let Kind::Directory(names) = &mut self.get_mut(dir).kind {
            names.insert(name, ino);
        }
    }

    fn unlink(&mut self, dir: Ino, name: &[u8]) -> bool {
        match &mut self.get_mut(dir).kind {
            Kind::Directory(names) => names.remove(name).is_some(),
            _ => false,
        }
    }
}

/// Parts of a path; those that would climb are left out, as paths of members are normalised already.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &'static str) -> Kind {
        Kind::File(Content::Bytes(Bytes::from_static(text.as_bytes())))
    }

    fn names(tree: &FileTree, path: &str) -> Vec<String> {
        let Kind::Directory(names) = &tree.get(tree.find(path.as_bytes()).unwrap()).kind else {
            panic!("no directory")
        };
        names.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn directories_are_kept_and_other_things_replaced() {
        let mut tree = FileTree::new(100);
        tree.put(b"etc/motd", file("hi"), Attributes::default()).unwrap();
        tree.put(b"etc", Kind::Directory(BTreeMap::new()), Attributes { mode: 0o700, ..Attributes::default() })
            .unwrap();
        assert_eq!(names(&tree, "etc"), ["motd"]);
        assert_eq!(tree.get(tree.find(b"etc").unwrap()).attributes.mode, 0o700);
        tree.put(b"etc/motd/x", file("dir now"), Attributes::default()).unwrap();
        assert_eq!(names(&tree, "etc/motd"), ["x"]);
        tree.put(b"etc", file("file now"), Attributes::default()).unwrap();
        assert_eq!(tree.find(b"etc/motd"), None);
    }

    #[test]
    fn removal_leaves_other_names() {
        let mut tree = FileTree::new(100);
        let ino = tree.put(b"a/one", file("x"), Attributes::default()).unwrap();
        tree.put_link(b"b/two", ino).unwrap();
        assert!(tree.remove(b"/a/"));
        assert!(!tree.remove(b"a/one"));
        assert_eq!(tree.find(b"b/two"), Some(ino));
        tree.clear(b"");
        assert_eq!(names(&tree, ""), [""; 0]);
    }

    #[test]
    fn full_tree_says_so() {
        let mut tree = FileTree::new(3);
        assert_eq!(tree.put(b"a/b/c/d", file("x"), Attributes::default()), Err(TooMany { max: 3 }));
    }
}
