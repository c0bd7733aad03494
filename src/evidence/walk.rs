//! Walks over the headers of a tar archive, once, and lists its members.
//!
//! The walk can be fed while the archive still arrives: it stops where bytes are missing and goes on when there are
//! more. It reads headers and their extensions only, never the content of a member (but for the map of a PAX 1.0 sparse
//! member, which stands there, and one block behind links that claim to have content).
//!
//! What it makes of damage:
//! - A header with a wrong checksum is believed when the block behind its member is a header again.
//! - Otherwise the walk looks for the next block with magic and a valid checksum. Where the lost member was an archive
//!   itself, that may be a header inside it; from then on zero blocks do not end the walk.
//! - A member that the end cuts off is listed with what is there of it.

use std::io;

use crate::base::{Cancelled, Limits, Place, escape, escape_controls};

use super::header::{BLOCK, Flavour, Header, padded};
use super::issues::IssueLog;
use super::member::{Content, Extent, Member, MemberKind, normalise};
use super::path_index::PathIndex;
use super::pax::Pax;
use super::source::{Got, Source, block};
use super::{OpenError, sparse, sparse_map};

/// Longest extended header that is read: attributes are at most 64 KiB each, sparse maps may be long.
pub(super) const MAX_EXTENSION_BYTES: u64 = 8 << 20;
/// What the list of members may take in memory, whatever `Limits::max_members` says.
pub(super) const MAX_LIST_BYTES: u64 = 640 << 20;
/// How far into a file the first header is looked for before it is called no archive.
const MAX_SEARCH_BYTES: u64 = 64 << 20;
/// How far behind the end of the archive other bytes than zeros are looked for.
const MAX_TAIL_BYTES: u64 = 16 << 20;
/// Steps between two reports of progress.
const STEPS_PER_TICK: u32 = 1024;

/// Why a walk stopped.
#[derive(Debug)]
pub(super) enum WalkError {
    Io(io::Error),
    Cancelled(Cancelled),
}

impl From<io::Error> for WalkError {
    fn from(source: io::Error) -> WalkError {
        WalkError::Io(source)
    }
}

impl From<Cancelled> for WalkError {
    fn from(cancelled: Cancelled) -> WalkError {
        WalkError::Cancelled(cancelled)
    }
}

/// What a walk over `name` that stopped means for opening it.
pub(super) fn of_walk(name: &str, error: WalkError) -> OpenError {
    match error {
        WalkError::Io(source) => OpenError::Io { name: name.to_owned(), source },
        WalkError::Cancelled(cancelled) => OpenError::Cancelled(cancelled),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A header is due.
    Header,
    /// Looking for a header since `from`.
    Lost {
        from: u64,
    },
    /// Behind the two zero blocks.
    Tail,
    Done,
}

enum Step {
    Moved,
    /// More bytes are needed.
    Pending,
}

/// A walk under way, and what it found.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    name: &'a str,
    limits: &'a Limits,
    /// Whether links are judged by where they lead: not inside the root of a container, where `/` is its own.
    judges_symlinks: bool,
    pub(super) members: Vec<Member>,
    pub(super) index: PathIndex,
    issues: IssueLog,
    at: u64,
    state: State,
    /// What extended headers say about the next member.
    next: Pax,
    /// Where the first of them stands.
    next_at: Option<u64>,
    global: Pax,
    zero_blocks: u32,
    /// A header was lost, so zero blocks may be content.
    is_damaged: bool,
    is_cut: bool,
    has_foreign_tail: bool,
    list_bytes: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(name: &'a str, limits: &'a Limits, judges_symlinks: bool) -> Walk<'a> {
        Walk {
            name,
            limits,
            judges_symlinks,
            members: Vec::new(),
            index: PathIndex::default(),
            issues: IssueLog::new(limits.max_issues_per_img),
            at: 0,
            state: State::Header,
            next: Pax::default(),
            next_at: None,
            global: Pax::default(),
            zero_blocks: 0,
            is_damaged: false,
            is_cut: false,
            has_foreign_tail: false,
            list_bytes: 0,
        }
    }

    /// Name of the archive, for messages.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Goes as far as the source reaches, and to the end of a complete one.
    ///
    /// `found` gets every member when all of its content is there. `tick` gets the offset now and then.
    ///
    /// # Errors
    /// The source cannot be read, or `tick` said stop.
    pub(super) fn advance<S: Source>(
        &mut self,
        source: &S,
        tick: &mut dyn FnMut(u64) -> Result<(), Cancelled>,
        found: &mut dyn FnMut(&Member, &S),
    ) -> Result<(), WalkError> {
        let mut steps = 0_u32;
        loop {
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(STEPS_PER_TICK) {
                tick(self.at)?;
            }
            let step = match self.state {
                State::Header => {
                    let before = self.members.len();
                    let step = self.header(source)?;
                    if let Some(member) = self.members.last().filter(|_| before < self.members.len()) {
                        found(member, source);
                    }
                    step
                }
                State::Lost { from } => self.search(source, from)?,
                State::Tail => self.tail(source)?,
                State::Done => return Ok(()),
            };
            if matches!(step, Step::Pending) {
                return Ok(());
            }
        }
    }

    /// Whether it is certain that this is no archive: nothing like a header came for a long while.
    pub(super) fn is_hopeless(&self) -> bool {
        self.members.is_empty() && (self.is_damaged || self.has_foreign_tail) && self.state == State::Done
    }

    pub(super) fn finish(self) -> (Vec<Member>, PathIndex, IssueLog) {
        (self.members, self.index, self.issues)
    }

    fn issue(&mut self, kind: &'static str, at: u64, what: String) {
        let name = self.name;
        self.issues.add(kind, || (Place::at(name, at), what));
    }

    fn header<S: Source>(&mut self, source: &S) -> io::Result<Step> {
        let at = self.at;
        let block = match block(source, at)? {
            Got::Block(block) => block,
            Got::Pending => return Ok(Step::Pending),
            Got::End(left) => {
                self.end(left);
                return Ok(Step::Moved);
            }
        };
        let header = Header::new(&block);
        if header.is_zero() {
            self.zero_blocks = self.zero_blocks.saturating_add(1);
            self.at = at.saturating_add(BLOCK);
            if self.zero_blocks == 2 && !self.is_damaged {
                self.state = State::Tail;
                self.left_over();
            }
            return Ok(Step::Moved);
        }
        if self.zero_blocks == 1 && !self.is_damaged {
            self.issue(
                "single zero block",
                at,
                "a zero block stands between members, where only the end has them".into(),
            );
        }
        self.zero_blocks = 0;
        if !header.has_valid_checksum() {
            match self.is_followed_by_header(source, &header, at)? {
                None => return Ok(Step::Pending),
                Some(true) => {
                    let (stated, sum) = header.checksums();
                    let stated = stated.map_or("is not a number".to_owned(), |stated| format!("says {stated}"));
                    let what = format!(
                        "the checksum of the header {stated}, its bytes have {sum}; it fits otherwise and is used"
                    );
                    self.issue("header with a wrong checksum", at, what);
                }
                Some(false) => {
                    self.lose(at, "no valid header stands where one is due");
                    return Ok(Step::Moved);
                }
            }
        }
        let Some(size) = header.size() else {
            self.lose(at, "the size in the header is not a number");
            return Ok(Step::Moved);
        };
        match header.type_letter() {
            letter @ (b'L' | b'K' | b'x' | b'X' | b'g') => self.extension(source, letter, at, size),
            letter => self.member(source, &header, letter, at, size),
        }
    }

    /// Whether what the header describes is followed by something that fits. `None`: not there yet.
    fn is_followed_by_header<S: Source>(&self, source: &S, header: &Header<'_>, at: u64) -> io::Result<Option<bool>> {
        let Some(size) = header.size().filter(|_| header.flavour() != Flavour::V7) else { return Ok(Some(false)) };
        let size = if matches!(header.type_letter(), b'1'..=b'6') { 0 } else { size };
        let Some(next) = padded(size).and_then(|size| at.checked_add(BLOCK)?.checked_add(size)) else {
            return Ok(Some(false));
        };
        Ok(match block(source, next)? {
            Got::Pending => None,
            Got::End(_) => Some(source.available() == next),
            Got::Block(block) => Some(Header::new(&block).is_zero() || Header::new(&block).is_certain()),
        })
    }

    fn lose(&mut self, at: u64, what: &str) {
        // The end of the loss is told when it is found.
        self.issue("damaged header", at, format!("{what}; looking for the next one"));
        self.next = Pax::default();
        self.next_at = None;
        self.is_damaged = true;
        self.state = State::Lost { from: at };
        self.at = at.saturating_add(BLOCK);
    }

    fn search<S: Source>(&mut self, source: &S, from: u64) -> io::Result<Step> {
        let available = source.available();
        let mut magic = [0; 5];
        while self.at.saturating_add(BLOCK) <= available {
            source.read_at(self.at.saturating_add(257), &mut magic)?;
            if magic == *b"ustar" {
                let mut block = [0; BLOCK as usize];
                source.read_at(self.at, &mut block)?;
                if Header::new(&block).is_certain() {
                    let what = format!(
                        "{} bytes could not be read as members; a header was found again at {:#x} (if an archive lay inside, this may be one of its members)",
                        self.at.saturating_sub(from),
                        self.at
                    );
                    self.issue("gap", from, what);
                    self.state = State::Header;
                    return Ok(Step::Moved);
                }
            }
            self.at = self.at.saturating_add(BLOCK);
            if self.members.is_empty() && MAX_SEARCH_BYTES < self.at {
                self.state = State::Done;
                return Ok(Step::Moved);
            }
        }
        if !source.is_complete() {
            return Ok(Step::Pending);
        }
        let what = format!("no header follows in the {} bytes up to the end", available.saturating_sub(from));
        self.issue("gap", from, what);
        self.state = State::Done;
        Ok(Step::Moved)
    }

    fn extension<S: Source>(&mut self, source: &S, letter: u8, at: u64, size: u64) -> io::Result<Step> {
        let start = at.saturating_add(BLOCK);
        let next = padded(size).and_then(|size| start.checked_add(size));
        let end = start.checked_add(size).filter(|end| *end <= source.available());
        let (Some(next), Some(_)) = (next, end) else {
            if !source.is_complete() {
                return Ok(Step::Pending);
            }
            let found = source.available().saturating_sub(start);
            self.issue("cut off", at, format!("an extended header needs {size} bytes, the archive ends after {found}"));
            self.is_cut = true;
            self.state = State::Done;
            return Ok(Step::Moved);
        };
        self.at = next;
        self.next_at.get_or_insert(at);
        if MAX_EXTENSION_BYTES < size {
            let what =
                format!("an extended header has {size} bytes, the limit is {MAX_EXTENSION_BYTES}; it is left out");
            self.issue("extended header too long", at, what);
            return Ok(Step::Moved);
        }
        let mut records = vec![0; usize::try_from(size).unwrap_or(0)];
        source.read_at(start, &mut records)?;
        match letter {
            b'L' => self.next.long_path = Some(until_nul(records)),
            b'K' => self.next.long_link = Some(until_nul(records)),
            b'g' => {
                self.next_at = self.next_at.filter(|first| *first != at);
                let result = self.global.read(&records);
                let is_plain = self.global.keep_global();
                if let Err(what) = result {
                    self.issue("extended header", at, what);
                }
                if !is_plain {
                    let what =
                        "a global header names a path, link, size, attributes or holes for all members; left out";
                    self.issue("global header", at, what.into());
                }
            }
            _ => {
                if let Err(what) = self.next.read(&records) {
                    self.issue("extended header", at, what);
                }
                let attribute_bytes: usize =
                    self.next.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
                if MAX_EXTENSION_BYTES < attribute_bytes as u64 {
                    self.next.xattrs.clear();
                    self.issue(
                        "extended header too long",
                        at,
                        "too many extended attributes; they are left out".into(),
                    );
                }
            }
        }
        Ok(Step::Moved)
    }

    fn member<S: Source>(
        &mut self,
        source: &S,
        header: &Header<'_>,
        letter: u8,
        at: u64,
        header_size: u64,
    ) -> io::Result<Step> {
        let stated = self.next.size.unwrap_or(header_size);
        let mut start = at.saturating_add(BLOCK);
        // An old sparse member keeps the rest of its map in blocks before the content.
        let mut old_sparse = None;
        if letter == b'S' {
            match sparse_map::old(source, header, start)? {
                None => return Ok(Step::Pending),
                Some((map, content_start)) => {
                    start = content_start;
                    old_sparse = Some(map);
                }
            }
        }
        let stored = match letter {
            b'1'..=b'6' if stated != 0 => match self.has_content(source, start)? {
                None => return Ok(Step::Pending),
                Some(has_content) => u64::from(has_content) * stated,
            },
            _ => stated,
        };
        let next = padded(stored).and_then(|size| start.checked_add(size)).unwrap_or(u64::MAX);
        let end = start.saturating_add(stored);
        let available = source.available();
        if available < end && !source.is_complete() {
            return Ok(Step::Pending);
        }

        // From here on the step is taken.
        if self.limits.max_members <= self.members.len() {
            self.too_many(at);
            return Ok(Step::Moved);
        }
        let mut pax = std::mem::take(&mut self.next);
        self.next_at = None;
        self.at = next.min(available);
        let raw_path = pax.raw_path(header);
        let (path, leaves_tree) = normalise(&raw_path);
        let place = || escape(if path.is_empty() { &raw_path } else { &path }).into_owned();

        let raw_link = pax.link.take().or(pax.long_link.take()).unwrap_or_else(|| header.link().to_vec());
        let (link, link_leaves_tree) = normalise(&raw_link);
        let ends_in_slash = raw_path.last() == Some(&b'/');
        let (major, minor) = header.device();
        let kind = match letter {
            0 | b'0' if ends_in_slash => MemberKind::Directory,
            0 | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::HardLink { target: link },
            b'2' => MemberKind::Symlink { target: raw_link },
            b'3' => MemberKind::CharDevice { major, minor },
            b'4' => MemberKind::BlockDevice { major, minor },
            b'5' | b'D' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            other => MemberKind::Other(other),
        };
        let has_content = matches!(kind, MemberKind::File | MemberKind::HardLink { .. } | MemberKind::Other(_));

        let mut size_bytes = if has_content { stored } else { 0 };
        let mut content = match kind {
            _ if !has_content => Content::None,
            MemberKind::HardLink { .. } if stored == 0 => Content::None,
            _ => Content::Range { start },
        };
        let map = match old_sparse {
            Some(map) => Some(map),
            None if pax.sparse.is_used() && has_content => Some(sparse_map::pax(source, &pax, start, stored)?),
            None => None,
        };
        if let Some(map) = map {
            let checked = map.and_then(|map| {
                let max_pairs = MAX_LIST_BYTES.saturating_sub(self.list_bytes) / size_of::<Extent>() as u64;
                if max_pairs < map.pairs.len() as u64 {
                    return Err("sparse map is too long to keep".to_owned());
                }
                Ok((sparse::extents(&map, end.saturating_sub(map.start))?, map.real_size))
            });
            match checked {
                Ok((extents, real_size)) => {
                    content = Content::Sparse(extents.into());
                    size_bytes = real_size;
                }
                Err(what) => {
                    content = Content::BadSparse;
                    size_bytes = pax.sparse.real_size.unwrap_or(stored);
                    self.issues.add("sparse map", || (Place::member(place()), what));
                }
            }
        }
        let truncated = if available < end { cut(&content, start, available) } else { None };
        if available < end {
            self.is_cut = true;
            let found = available.saturating_sub(start);
            let what = format!("cut off by the end of the archive: {stored} bytes needed, {found} found");
            self.issues.add("cut off", || (Place::member(place()), what));
        }

        if leaves_tree {
            let what = format!("its path leaves the archive: {}", escape_controls(&escape(&raw_path)));
            self.issues.add("path that leaves the archive", || (Place::member(place()), what));
        }
        match &kind {
            MemberKind::HardLink { .. } if link_leaves_tree => {
                self.issues.add("link that leaves the archive", || {
                    (Place::member(place()), "hard link to a path that leaves the archive; not followed there".into())
                });
            }
            MemberKind::Symlink { target } if self.judges_symlinks && symlink_leaves(&path, target) => {
                let what = format!("symbolic link out of the archive, to {}", escape_controls(&escape(target)));
                self.issues.add("link that leaves the archive", || (Place::member(place()), what));
            }
            _ => {}
        }
        if path.is_empty() && kind != MemberKind::Directory {
            self.issue("member without a name", at, format!("a {} has no name", kind.name()));
        }

        let (mode, uid, gid) =
            (header.mode(), pax.uid.or(self.global.uid).or(header.uid()), pax.gid.or(self.global.gid).or(header.gid()));
        if mode.is_none() || uid.is_none() || gid.is_none() {
            self.issues.add("header fields", || {
                (Place::member(place()), "mode, owner or group in the header is not a number; shown as 0".into())
            });
        }
        let mtime = pax.mtime.or(self.global.mtime).or(header.mtime().map(|mtime| (mtime, 0)));
        let member = Member {
            kind,
            mode: mode.unwrap_or(0),
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
            mtime: mtime.map(|(seconds, _)| seconds),
            mtime_nanos: mtime.map_or(0, |(_, nanos)| nanos),
            size_bytes,
            xattrs: pax.xattrs.into(),
            truncated,
            leaves_tree,
            index: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            content,
            path,
        };
        self.add(member, at);
        Ok(Step::Moved)
    }

    fn add(&mut self, member: Member, at: u64) {
        let bytes = self.list_bytes.saturating_add(heap_bytes(&member));
        if MAX_LIST_BYTES < bytes {
            self.too_many(at);
            return;
        }
        self.list_bytes = bytes;
        let is_dir = member.is_dir();
        self.members.push(member);
        let earlier = self.index.add_last(&self.members).and_then(|number| self.members.get(number as usize));
        if let (Some(earlier), Some(member)) = (earlier, self.members.last())
            && !(is_dir && earlier.is_dir())
        {
            let place = || {
                (member.place(), format!("is in the archive twice; the later one ({} bytes) stands", member.size_bytes))
            };
            self.issues.add("member twice", place);
        }
    }

    fn too_many(&mut self, at: u64) {
        let what = format!("more than {} members are not listed", self.members.len());
        self.issue("too many members", at, what);
        self.state = State::Done;
    }

    /// Whether content follows a member whose kind has none by rights: not when a header or the end follows.
    fn has_content<S: Source>(&self, source: &S, start: u64) -> io::Result<Option<bool>> {
        Ok(match block(source, start)? {
            Got::Pending => None,
            Got::End(left) => Some(left != 0),
            Got::Block(block) => {
                let header = Header::new(&block);
                Some(!header.is_zero() && !header.is_plausible())
            }
        })
    }

    fn tail<S: Source>(&mut self, source: &S) -> io::Result<Step> {
        if !source.is_complete() {
            return Ok(Step::Pending);
        }
        self.state = State::Done;
        let end = source.available().min(self.at.saturating_add(MAX_TAIL_BYTES));
        let mut chunk = vec![0; 64 << 10];
        let mut at = self.at;
        while at < end {
            let len = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(chunk.len());
            let Some(chunk) = chunk.get_mut(..len) else { return Ok(Step::Moved) };
            source.read_at(at, chunk)?;
            if let Some(first) = chunk.iter().position(|byte| *byte != 0) {
                let first = at.saturating_add(first as u64);
                let bytes = source.available().saturating_sub(first);
                let is_archive = match block(source, first)? {
                    Got::Block(block) => Header::new(&block).is_certain(),
                    _ => false,
                };
                let what = if is_archive { "another archive" } else { "other bytes than zeros" };
                self.has_foreign_tail = true;
                self.issue(
                    "bytes behind the end",
                    first,
                    format!("{what} behind the end of the archive ({bytes} bytes); not listed"),
                );
                return Ok(Step::Moved);
            }
            at = at.saturating_add(len as u64);
        }
        Ok(Step::Moved)
    }

    fn end(&mut self, left: u64) {
        self.state = State::Done;
        let at = self.at;
        if left != 0 && !self.is_cut {
            self.issue("cut off", at, format!("the archive ends within a header: {BLOCK} bytes needed, {left} found"));
        } else if self.zero_blocks == 0 && !self.is_cut {
            let what = "the archive ends without the zero blocks that close it; members may be missing at its end";
            self.issue("cut off", at, what.into());
        }
        self.left_over();
    }

    fn left_over(&mut self) {
        if let Some(at) = self.next_at.take() {
            self.issue("extended header", at, "no member follows an extended header".into());
        }
    }
}

/// Bytes of the content that are there when the archive ends at `available`.
fn cut(content: &Content, start: u64, available: u64) -> Option<u64> {
    match content {
        Content::Range { .. } => Some(available.saturating_sub(start)),
        Content::Sparse(extents) => sparse::available(extents, available),
        Content::None | Content::BadSparse | Content::OnDisk => None,
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(nul);
    }
    bytes
}

/// Whether a link leads out of the tree, seen as text from the directory that holds it.
fn symlink_leaves(path: &[u8], target: &[u8]) -> bool {
    target.first() == Some(&b'/') || normalise(&super::member::join(super::member::parent(path), target)).1
}

/// What a member takes in memory, with some for the allocator and the table of paths.
fn heap_bytes(member: &Member) -> u64 {
    let link = match &member.kind {
        MemberKind::Symlink { target } | MemberKind::HardLink { target } => target.capacity() + 16,
        _ => 0,
    };
    let extents = match &member.content {
        Content::Sparse(extents) => size_of_val::<[Extent]>(extents) + 16,
        _ => 0,
    };
    let xattrs: usize = member.xattrs.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
    (size_of::<Member>() + member.path.capacity() + 32 + link + extents + xattrs) as u64
}
