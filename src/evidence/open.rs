//! Opening: what a file, a directory, a stream or a run of bytes is, and the way to its list of members.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Issue, Progress};

use super::growing::GrowingReader;
use super::header::{BLOCK, Header};
use super::map::Mapped;
use super::source::{FileSource, Source};
use super::spool::Stream;
use super::walk::{Walk, of_walk};
use super::{
    Compression, Delivered, Evidence, Growing, Inner, Member, NotAnArchive, OpenError, OpenOptions, Store, directory,
    display_path, spool,
};

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
        let file = Arc::new(directory::open_named_file(path).map_err(from_io)?);
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
                let data = mapped.into_bytes();
                let source = FileSource::new(&file, data.len() as u64);
                return Evidence::index(&origin, &source, data, Delivered::File(Arc::clone(&file)), options, progress);
            }
        }
        // Compressed, or on a file system that cannot map.
        let input = BufReader::with_capacity(BUFFER_BYTES, &*file);
        let unpacked = Evidence::unpack(
            &origin,
            Stream { input, compression, total: Some(len), hashes: false },
            options,
            progress,
        )?;
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

    /// Shows [`OpenOptions::on_member`] the members of an archive that is still being written, as they become whole. Returns
    /// when it is over; what is wrong with it is told by opening it then.
    ///
    /// # Errors
    /// As [`Evidence::open`], as far as it was seen.
    pub fn follow(growing: &Growing, options: &OpenOptions, progress: &dyn Progress) -> Result<(), OpenError> {
        let Some((path, file)) = growing.begun() else { return Ok(()) };
        let name = display_path(&path);
        let origin = Origin { name: &name, path: Some(&path), is_nested: false };
        let Some(mut written) = growing.more_than(HEAD_BYTES as u64) else { return Ok(()) };
        let mut head = [0; HEAD_BYTES];
        let head = read_head(&file, &mut head).map_err(|source| OpenError::from_io(&path, source))?;
        if Compression::detect(head) != Compression::None {
            let reader = GrowingReader { growing: growing.clone(), file, at: 0 };
            return Evidence::open_stream(&origin, Box::new(reader), options, progress).map(drop);
        }
        check_head(&name, head)?;
        let mut walk = Walk::new(&name, &options.limits, true);
        loop {
            let source = FileSource::growing(&file, written);
            let mut show = |member: &Member, source: &_| spool::show(member, source, options);
            walk.advance(&source, &mut |at| progress.step(at, None), &mut show)
                .map_err(|error| of_walk(&name, error))?;
            match growing.more_than(written) {
                Some(more) if !walk.is_hopeless() => written = more,
                _ => return Ok(()),
            }
        }
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
        // Members of archives inside are not those that the caller waits for.
        let options = OpenOptions { on_member: None, unpacked: None, ..options.clone() };
        Evidence::open_in_memory(&Origin { name: &name, path: None, is_nested: true }, bytes, &options, progress)
    }

    fn open_dir(
        path: &Path,
        name: String,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        let listing = directory::list(path, &options.limits, progress)?;
        Ok(Evidence::listed(listing, path, name, options))
    }

    fn listed(listing: directory::Listing, path: &Path, name: String, options: &OpenOptions) -> Evidence {
        Evidence(Arc::new(Inner {
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
        }))
    }

    /// The directory beside this one that a link in `dir` of it leads to: `../NAME` from its top, or a directory in
    /// that. `None` where the link leads elsewhere or nothing lies there, and for archives, which no link leaves.
    ///
    /// The target was written by whoever made the evidence. So nothing is opened but a directory whose path from the one
    /// above has no link in it, and of that directory no more is listed than what lies in it directly.
    ///
    /// # Errors
    /// It lies there and cannot be listed, or cancel.
    pub fn open_beside(
        &self,
        dir: &[u8],
        target: &[u8],
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Option<Evidence>, OpenError> {
        let (Store::Directory(root), Some(path)) = (&self.0.store, self.path()) else { return Ok(None) };
        let (Some(below), Ok(path)) = (beside(dir, target), std::fs::canonicalize(path)) else { return Ok(None) };
        let Some(above) = path.parent() else { return Ok(None) };
        let path = above.join(std::ffi::OsStr::from_bytes(&below));
        match root.list_beside(&below, &path, &options.limits, progress) {
            Ok(listing) => {
                let name = display_path(&path);
                Ok(Some(Evidence::listed(listing, &path, name, options)))
            }
            Err(OpenError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
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
        let unpacked = Evidence::unpack(origin, Stream { input, compression, total: None, hashes }, options, progress)?;
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
            let source: &[u8] = &bytes;
            return Evidence::index(origin, &source, bytes.clone(), Delivered::Bytes(bytes.clone()), options, progress);
        }
        let len = bytes.len() as u64;
        let unpacked = Evidence::unpack(
            origin,
            Stream { input: &bytes[..], compression, total: Some(len), hashes: false },
            options,
            progress,
        )?;
        Evidence::unpacked(origin, unpacked, compression, len, Delivered::Bytes(bytes), options)
    }

    /// Indexes an archive that is there as a whole: `source` and `data` are the same bytes.
    fn index(
        origin: &Origin<'_>,
        source: &impl Source,
        data: Bytes,
        delivered: Delivered,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<Evidence, OpenError> {
        progress.stage("indexing");
        let mut walk = Walk::new(origin.name, &options.limits, !origin.is_nested);
        let len = source.available();
        let walked = walk.advance(source, &mut |at| progress.step(at, Some(len)), &mut |_, _| {});
        walked.map_err(|error| of_walk(origin.name, error))?;
        if walk.is_hopeless() {
            return Err(OpenError::NotAnArchive { name: origin.name.to_owned(), content: NotAnArchive::Unknown });
        }
        Ok(Evidence::assemble(origin, walk, data, None, Compression::None, len, delivered, options))
    }

    fn unpack<'a>(
        origin: &Origin<'a>,
        stream: Stream<impl BufRead>,
        options: &'a OpenOptions,
        progress: &dyn Progress,
    ) -> Result<spool::Unpacked<'a>, OpenError> {
        spool::unpack(Walk::new(origin.name, &options.limits, !origin.is_nested), stream, options, progress)
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
        if walk.is_hopeless() || (data.len() as u64) < BLOCK {
            let content = match compression {
                Compression::None => NotAnArchive::Unknown,
                _ if issue.is_some() => NotAnArchive::CutOff,
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
}

/// The path from the directory above the evidence on, of what a link in `dir` leads to; `None` unless that leaves the
/// evidence by one step.
fn beside(dir: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let parts = |path| <[u8]>::split(path, |byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let mut at: Vec<&[u8]> = parts(dir).collect();
    let mut has_left = false;
    if target.first() == Some(&b'/') {
        return None;
    }
    for part in parts(target) {
        match part {
            b".." if at.pop().is_some() => {}
            b".." if has_left => return None,
            b".." => has_left = true,
            part => at.push(part),
        }
    }
    (has_left && !at.is_empty()).then(|| at.join(&b'/'))
}

/// Read before anything is decided about a file.
const HEAD_BYTES: usize = 2 * BLOCK as usize;
/// Of reading compressed files and streams.
const BUFFER_BYTES: usize = 256 << 10;

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
