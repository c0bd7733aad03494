//! Where bytes come from: opens archives and directories, lists their members, and reads them. Nothing else reads
//! evidence.
//!
//! - A plain tar is mapped and indexed in one pass over its headers ([`walk`]); members are ranges of the map.
//! - A compressed one, or one from a pipe, is unpacked once into memory or an unlinked file of the cache directory
//!   ([`spool`]) and indexed while it arrives.
//! - A directory is listed; files are read when asked for ([`directory`]).
//! - What lies inside opens by the same code ([`Evidence::open_nested`]), and [`find_checkpoints`] says where the
//!   checkpoints are, also in OCI images.
//!
//! What it is goes by content, never by name. Everything is opened read-only, and the only writes are into the cache
//! directory. Paths are bytes, `/` between parts, normalised (see [`Member::path`]); sizes and offsets are in bytes.
//!
//! Formats: POSIX.1-2024 `pax` (ustar and PAX), the GNU tar manual (long names, base-256 numbers, sparse members),
//! star(5) (extended attributes).

mod compression;
mod directory;
mod error;
mod hash;
mod header;
mod issues;
mod map;
mod member;
mod path_index;
mod pax;
mod sparse;
mod spool;
mod walk;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Issue, Limits, Progress, escape};

pub use compression::Compression;
pub use error::{NotAnArchive, OpenError, ReadError};
pub use member::{Member, MemberKind, Xattr};

use directory::Root;
use header::{BLOCK, Header};
use map::Mapped;
use member::Content;
use path_index::PathIndex;
use walk::{Walk, WalkError};

/// Environment variable that names the cache directory.
pub const CACHE_DIR_VARIABLE: &str = "CRYOSCOPE_CACHE_DIR";

/// Gets members while a compressed archive still arrives, each when all of it is there: the member, and its content when
/// that is at most 1 MiB. Called from a worker thread, in the order of the archive, and must return fast; a member that
/// comes twice in the archive comes twice. For a mapped archive or a directory it is not called: these are there at once.
pub type OnMember = Arc<dyn Fn(&Member, Option<&Bytes>) + Send + Sync>;

/// How to open, and how much to bear.
#[derive(Clone)]
pub struct OpenOptions {
    /// Where archives are unpacked to. `None`: `CRYOSCOPE_CACHE_DIR`, or `cryoscope` in the user's cache directory.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes that one archive may unpack to.
    pub max_spool_bytes: u64,
    /// Most bytes that come out of one byte of a compressed archive, checked once more than 64 MiB came out.
    pub max_ratio: u64,
    /// Bounds on members, nesting and memory.
    pub limits: Limits,
    /// Sees members while the archive still arrives.
    pub on_member: Option<OnMember>,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            cache_dir: None,
            max_spool_bytes: 64 << 30,
            max_ratio: 1000,
            limits: Limits::default(),
            on_member: None,
        }
    }
}

impl OpenOptions {
    /// The cache directory that holds; not made yet.
    ///
    /// # Errors
    /// None is named and there is no home directory.
    pub fn cache_dir(&self) -> Result<PathBuf, OpenError> {
        use etcetera::BaseStrategy as _;
        if let Some(dir) = &self.cache_dir {
            return Ok(dir.clone());
        }
        if let Some(dir) = std::env::var_os(CACHE_DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
            return Ok(PathBuf::from(dir));
        }
        let dirs = etcetera::choose_base_strategy().map_err(|_home| OpenError::NoCacheDir)?;
        Ok(dirs.cache_dir().join("cryoscope"))
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("cache_dir", &self.cache_dir)
            .field("max_spool_bytes", &self.max_spool_bytes)
            .field("max_ratio", &self.max_ratio)
            .field("limits", &self.limits)
            .field("on_member", &self.on_member.is_some())
            .finish()
    }
}

/// What the evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A directory on disk.
    Directory,
    /// A tar archive, compressed or not.
    Tar,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Directory => "directory",
            Form::Tar => "tar",
        })
    }
}

/// An archive or directory, open and listed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Evidence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    path: Option<PathBuf>,
    compression: Compression,
    size_bytes: u64,
    members: Vec<Member>,
    index: PathIndex,
    issues: Vec<Issue>,
    store: Store,
    delivered: Delivered,
    limits: Limits,
}

/// Where the members' bytes are.
enum Store {
    Archive(Bytes),
    Directory(Root),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Archive(bytes) => f.debug_tuple("Archive").field(&bytes.len()).finish(),
            Store::Directory(_) => f.debug_tuple("Directory").finish(),
        }
    }
}

/// The evidence as it came, for its digest.
enum Delivered {
    File(File),
    Bytes(Bytes),
    Stream([u8; 32]),
    Directory,
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivered::File(_) => "File",
            Delivered::Bytes(_) => "Bytes",
            Delivered::Stream(_) => "Stream",
            Delivered::Directory => "Directory",
        })
    }
}

/// Name and origin of what is being opened.
struct Origin<'a> {
    name: &'a str,
    path: Option<&'a Path>,
    /// Inside other evidence, where links may lead to the root of a container.
    is_nested: bool,
}

impl Evidence {
    /// Opens a file or a directory. A named pipe is read like standard input.
    ///
    /// # Errors
    /// It is not there, may not be read, is no archive, goes over a limit, or cancel; see [`OpenError`]. Damage is not
    /// an error but among the [`issues`](Evidence::issues).
    pub fn open(path: &Path, options: &OpenOptions, progress: &dyn Progress) -> Result<Evidence, OpenError> {
        let from_io = |source| OpenError::from_io(path, source);
        let file_type = std::fs::metadata(path).map_err(from_io)?.file_type();
        let special = |what| Err(OpenError::SpecialFile { path: path.to_owned(), what });
        let name = display_path(path);
        if file_type.is_dir() {
            return Evidence::open_dir(path, name, options, progress);
        }
        if file_type.is_char_device() {
            return special("character device");
        }
        if file_type.is_block_device() {
            return special("block device");
        }
        if file_type.is_socket() {
            return special("socket");
        }
        let file = directory::open_named_file(path).map_err(from_io)?;
        let origin = Origin { name: &name, path: Some(path), is_nested: false };
        if file_type.is_fifo() {
            return Evidence::open_stream(&origin, Box::new(file), options, progress);
        }
        let len = file.metadata().map_err(from_io)?.len();
        let mut head = [0; HEAD_BYTES];
        let head = read_head(&file, &mut head).map_err(from_io)?;
        let compression = Compression::detect(head);
        if compression == Compression::None {
            check_head(&name, head)?;
            if let Ok(mapped) = Mapped::new(&file) {
                return Evidence::index(&origin, mapped, Delivered::File(file), options, progress);
            }
        }
        // Compressed, or on a file system that cannot map.
        let input = BufReader::with_capacity(BUFFER_BYTES, &file);
        let unpacked = Evidence::unpack(&origin, input, compression, Some(len), false, options, progress)?;
        Evidence::unpacked(&origin, unpacked, compression, len, Delivered::File(file), options)
    }

    /// Reads a stream to its end, such as standard input.
    ///
    /// # Errors
    /// As [`Evidence::open`].
    pub fn open_reader(
        name: &str,
        reader: Box<dyn Read + Send>,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        Evidence::open_stream(&Origin { name, path: None, is_nested: false }, reader, options, progress)
    }

    /// Opens an archive that is in memory.
    ///
    /// # Errors
    /// As [`Evidence::open`].
    pub fn open_bytes(
        name: &str,
        bytes: Bytes,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        Evidence::open_in_memory(&Origin { name, path: None, is_nested: false }, bytes, options, progress)
    }

    /// Opens an archive that lies inside this one (a rootfs diff, the contents of a tmpfs, a layer), whatever its
    /// compression. Its name is this one's, `!`, and the member's path.
    ///
    /// # Errors
    /// As [`Evidence::open`], or the member cannot be read.
    pub fn open_nested(
        &self,
        member: &Member,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        let bytes = self.read(member)?;
        let name = format!("{}!{}", self.name(), member.display_path());
        Evidence::open_in_memory(&Origin { name: &name, path: None, is_nested: true }, bytes, options, progress)
    }

    /// What the analyst knows it by: the path, or the name given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Path on disk; `None` for a stream, for bytes, and inside other evidence.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What it is.
    pub fn form(&self) -> Form {
        match self.0.store {
            Store::Archive(_) => Form::Tar,
            Store::Directory(_) => Form::Directory,
        }
    }

    /// How it was packed.
    pub fn compression(&self) -> Compression {
        self.0.compression
    }

    /// Bytes as delivered: of the file or stream, compressed as it came; of a directory, of all files in it.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    /// All members, in the order of the archive (of a directory: by name, what lies in it after it), duplicates too.
    pub fn members(&self) -> &[Member] {
        &self.0.members
    }

    /// The member of exactly this normalised path; of several the last, as when tar unpacks.
    pub fn get(&self, path: &[u8]) -> Option<&Member> {
        let number = self.0.index.get(path, &self.0.members)?;
        self.0.members.get(number as usize)
    }

    /// The whole content: of a truncated member what is there. Borrowed from the archive where it lies in one piece.
    ///
    /// # Errors
    /// It has no content, is sparse and over [`Limits::max_owned_bytes`], is a hard link to nowhere, or a file that
    /// cannot be read.
    pub fn read(&self, member: &Member) -> Result<Bytes, ReadError> {
        let member = self.with_content(member)?;
        self.read_content(member, 0..member.available_bytes())
    }

    /// The bytes `range` of the content.
    ///
    /// # Errors
    /// As [`Evidence::read`], or the range goes beyond what is there.
    pub fn read_range(&self, member: &Member, range: Range<u64>) -> Result<Bytes, ReadError> {
        let member = self.with_content(member)?;
        self.read_content(member, range)
    }

    /// What could not be read, or does not fit.
    pub fn issues(&self) -> &[Issue] {
        &self.0.issues
    }

    /// SHA-256 of the evidence as delivered.
    ///
    /// Of a directory it is the SHA-256 of what
    /// `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum` prints in it: of all its files, in the
    /// order of their paths as bytes, the digest in hex, two spaces, the path, a newline. Links, devices, owners and
    /// times do not enter.
    ///
    /// # Errors
    /// The evidence cannot be read any more, or cancel.
    pub fn sha256(&self, progress: &dyn Progress) -> Result<[u8; 32], OpenError> {
        hash::sha256(self, progress)
    }

    fn open_dir(
        path: &Path,
        name: String,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        let listing = directory::list(path, &options.limits, progress)?;
        Ok(Evidence(Arc::new(Inner {
            issues: listing.issues.finish(&name),
            name,
            path: Some(path.to_owned()),
            compression: Compression::None,
            size_bytes: listing.size_bytes,
            members: listing.members,
            index: listing.index,
            store: Store::Directory(listing.root),
            delivered: Delivered::Directory,
            limits: options.limits.clone(),
        })))
    }

    fn open_stream(
        origin: &Origin<'_>,
        reader: Box<dyn Read + Send>,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        let io_error = |source| OpenError::Io { name: origin.name.to_owned(), source };
        // The head is needed before the stream is given away, and a pipe may bring it in pieces.
        let mut reader = reader;
        let mut head = Vec::new();
        reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(io_error)?;
        let compression = Compression::detect(&head);
        if compression == Compression::None {
            check_head(origin.name, &head)?;
        }
        let input = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(head).chain(reader));
        let hashes = compression != Compression::None;
        let unpacked = Evidence::unpack(origin, input, compression, None, hashes, options, progress)?;
        let len = unpacked.read_bytes;
        let delivered = match unpacked.sha256 {
            Some(sha256) => Delivered::Stream(sha256),
            None => Delivered::Bytes(unpacked.data.clone()),
        };
        Evidence::unpacked(origin, unpacked, compression, len, delivered, options)
    }

    fn open_in_memory(
        origin: &Origin<'_>,
        bytes: Bytes,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        let compression = Compression::detect(&bytes);
        if compression == Compression::None {
            check_head(origin.name, bytes.get(..HEAD_BYTES).unwrap_or(&bytes))?;
            return Evidence::index(origin, bytes.clone(), Delivered::Bytes(bytes), options, progress);
        }
        let len = bytes.len() as u64;
        let unpacked = Evidence::unpack(origin, &bytes[..], compression, Some(len), false, options, progress)?;
        Evidence::unpacked(origin, unpacked, compression, len, Delivered::Bytes(bytes), options)
    }

    /// Indexes an archive that is there as a whole.
    fn index(
        origin: &Origin<'_>,
        archive: impl Archive,
        delivered: Delivered,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        progress.stage("indexing");
        let mut walk = Walk::new(origin.name, &options.limits, !origin.is_nested);
        archive.expect_jumps();
        let whole = archive.as_ref();
        let len = whole.len() as u64;
        walk.advance(&whole, &mut |at| progress.step(at, Some(len)), &mut |_, _| {}).map_err(|error| match error {
            WalkError::Io(source) => OpenError::Io { name: origin.name.to_owned(), source },
            WalkError::Cancelled(cancelled) => OpenError::Cancelled(cancelled),
        })?;
        if walk.is_hopeless() {
            return Err(OpenError::NotAnArchive { name: origin.name.to_owned(), content: NotAnArchive::Unknown });
        }
        let data = archive.into_bytes();
        Ok(Evidence::assemble(origin, walk, data, None, Compression::None, len, delivered, options))
    }

    fn unpack<'a>(
        origin: &Origin<'a>,
        input: impl BufRead,
        compression: Compression,
        total: Option<u64>,
        hashes: bool,
        options: &'a OpenOptions,
        progress: &dyn Progress,
    ) -> Result<spool::Unpacked<'a>, OpenError> {
        let walk = Walk::new(origin.name, &options.limits, !origin.is_nested);
        spool::unpack(walk, origin.name, input, compression, total, hashes, options, progress)
    }

    fn unpacked(
        origin: &Origin<'_>,
        unpacked: spool::Unpacked<'_>,
        compression: Compression,
        size_bytes: u64,
        delivered: Delivered,
        options: &OpenOptions,
    ) -> Result<Evidence, OpenError> {
        let spool::Unpacked { data, walk, issue, .. } = unpacked;
        if walk.is_hopeless() || data.is_empty() {
            let content = match compression {
                Compression::None => NotAnArchive::Unknown,
                _ => NotAnArchive::UnpacksToSomethingElse,
            };
            return Err(OpenError::NotAnArchive { name: origin.name.to_owned(), content });
        }
        Ok(Evidence::assemble(origin, walk, data, issue, compression, size_bytes, delivered, options))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the value it makes")]
    fn assemble(
        origin: &Origin<'_>,
        walk: Walk<'_>,
        data: Bytes,
        stream_issue: Option<Issue>,
        compression: Compression,
        size_bytes: u64,
        delivered: Delivered,
        options: &OpenOptions,
    ) -> Evidence {
        let (members, index, log) = walk.finish();
        let mut issues: Vec<Issue> = stream_issue.into_iter().collect();
        issues.extend(log.finish(origin.name));
        Evidence(Arc::new(Inner {
            name: origin.name.to_owned(),
            path: origin.path.map(Path::to_owned),
            compression,
            size_bytes,
            members,
            index,
            issues,
            store: Store::Archive(data),
            delivered,
            limits: options.limits.clone(),
        }))
    }

    /// The member that has the content: itself, or where its hard links lead.
    fn with_content<'a>(&'a self, member: &Member) -> Result<&'a Member, ReadError> {
        let members = &self.0.members;
        let shown = || member.display_path().into_owned();
        let mut at =
            members.get(member.index as usize).filter(|own| own.path == member.path && own.kind == member.kind);
        let limit = self.0.limits.max_nesting;
        for _ in 0..limit {
            let Some(current) = at else { return Err(ReadError::NoSuchMember { member: shown() }) };
            match (&current.kind, &current.content) {
                (_, Content::BadSparse) => return Err(ReadError::BadSparseMap { member: shown() }),
                (MemberKind::HardLink { target }, Content::None) => {
                    // tar links to what was unpacked before; a later one of that name is another file.
                    let before = self.0.index.get_before(target, current.index, members);
                    let found = before.or_else(|| self.0.index.get(target, members));
                    let Some(found) = found.and_then(|number| members.get(number as usize)) else {
                        return Err(ReadError::MissingTarget { member: shown(), target: escape(target).into_owned() });
                    };
                    at = Some(found);
                }
                (kind, Content::None) => return Err(ReadError::NoContent { member: shown(), kind: kind.name() }),
                _ => return Ok(current),
            }
        }
        Err(ReadError::LinkLoop { member: shown(), limit })
    }

    fn read_content(&self, member: &Member, range: Range<u64>) -> Result<Bytes, ReadError> {
        let shown = || member.display_path().into_owned();
        let available_bytes = member.available_bytes();
        let len = range.end.checked_sub(range.start).filter(|_| range.end <= available_bytes);
        let Some(len) = len else {
            return Err(ReadError::OutOfRange { member: shown(), range, available_bytes });
        };
        let cut = |bytes: &Bytes, range: Range<u64>| {
            let from = usize::try_from(range.start).unwrap_or(usize::MAX);
            let to = usize::try_from(range.end).unwrap_or(usize::MAX);
            let is_inside = from <= to && to <= bytes.len();
            is_inside.then(|| bytes.slice(from..to))
        };
        let archive = match &self.0.store {
            Store::Archive(archive) => archive,
            Store::Directory(root) => {
                let bytes = root.read(member, &self.0.limits)?;
                let is_all = range.start == 0 && range.end == member.size_bytes;
                // A file that shrank since it was listed: what is left of it.
                let range = if is_all { 0..range.end.min(bytes.len() as u64) } else { range };
                let available_bytes = bytes.len() as u64;
                let out_of_range = || ReadError::OutOfRange { member: shown(), range: range.clone(), available_bytes };
                return cut(&bytes, range.clone()).ok_or_else(out_of_range);
            }
        };
        let place = match &member.content {
            Content::Range { start } => start.checked_add(range.start),
            Content::Sparse(extents) => sparse::contiguous(extents, &range),
            _ => None,
        };
        if let Some(bytes) = place.and_then(|place| cut(archive, place..place.checked_add(len)?)) {
            return Ok(bytes);
        }
        let Content::Sparse(extents) = &member.content else {
            return Err(ReadError::OutOfRange { member: shown(), range, available_bytes });
        };
        let limit_bytes = self.0.limits.max_owned_bytes;
        let too_large = || ReadError::TooLarge { member: shown(), needed_bytes: len, limit_bytes };
        let size = usize::try_from(len).ok().filter(|_| len <= limit_bytes).ok_or_else(too_large)?;
        let mut out = vec![0; size];
        sparse::assemble(archive, extents, &range, &mut out);
        Ok(Bytes::from(out))
    }
}

/// Read before anything is decided about a file.
const HEAD_BYTES: usize = 2 * BLOCK as usize;
/// Of reading compressed files and streams.
const BUFFER_BYTES: usize = 256 << 10;

/// The bytes of an archive that is there as a whole.
trait Archive: AsRef<[u8]> {
    fn expect_jumps(&self) {}
    fn into_bytes(self) -> Bytes;
}

impl Archive for Bytes {
    fn into_bytes(self) -> Bytes {
        self
    }
}

impl Archive for Mapped {
    fn expect_jumps(&self) {
        Mapped::expect_jumps(self);
    }

    fn into_bytes(self) -> Bytes {
        Mapped::into_bytes(self)
    }
}

fn read_head<'a>(file: &File, head: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head.get(..filled).unwrap_or_default())
}

/// Says at once what is certainly no archive. What is not certain is left to the walk, which may find a header behind
/// a damaged start.
fn check_head(name: &str, head: &[u8]) -> Result<(), OpenError> {
    let name = || name.to_owned();
    let not = |content| Err(OpenError::NotAnArchive { name: name(), content });
    if head.is_empty() {
        return Err(OpenError::Empty { name: name() });
    }
    if let Some(block) = head.first_chunk() {
        let header = Header::new(block);
        if header.is_plausible() || header.is_zero() {
            return Ok(());
        }
    }
    match head {
        // Head magics of img_version 2, and the magic of inventory.img, which has no other.
        [0x19, 0x43, 0x56, 0x54, ..] | [0x40, 0x59, 0x10, 0x55, ..] | [0x16, 0x31, 0x31, 0x58, ..] => {
            not(NotAnArchive::CriuImage)
        }
        [b'P', b'K', 3, 4, ..] => not(NotAnArchive::Zip),
        [0x7f, b'E', b'L', b'F', ..] => not(NotAnArchive::Elf),
        _ if head.len() < BLOCK as usize => not(NotAnArchive::Unknown),
        _ => Ok(()),
    }
}

fn display_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    escape(path.as_os_str().as_bytes()).into_owned()
}
