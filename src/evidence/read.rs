//! Reading members: borrowed where the bytes lie in one piece, put together where they do not.

use std::ops::Range;

use bytes::Bytes;

use crate::base::escape;

use super::member::Content;
use super::{Evidence, Member, MemberKind, ReadError, Store, sparse};

impl Evidence {
    /// The whole content: of a truncated member what is there. Borrowed from the archive where it lies in one piece.
    ///
    /// # Errors
    /// It has no content, is sparse and over [`crate::base::Limits::max_owned_bytes`], is a hard link to nowhere, or a file that
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
