//! What could not be read, and where.

use std::fmt;

/// A place in the evidence: a member, and the byte offset in it where known.
///
/// Shown as `pagemap-1.img+0xa`, or `pagemap-1.img` without an offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Path of the member inside the evidence, or a name the analyst knows it by.
    pub member: String,
    /// Offset in bytes from the start of the member.
    pub offset: Option<u64>,
}

impl Place {
    /// The member as a whole.
    pub fn member(member: impl Into<String>) -> Place {
        Place { member: member.into(), offset: None }
    }

    /// A byte of the member.
    pub fn at(member: impl Into<String>, offset: u64) -> Place {
        Place { member: member.into(), offset: Some(offset) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{}+{:#x}", self.member, offset),
            None => f.write_str(&self.member),
        }
    }
}

/// Something that could not be read or does not fit; the rest of the evidence is still shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issue {
    /// Where in the evidence.
    pub place: Place,
    /// What is wrong, lower case, with needed and found numbers where there are any.
    pub what: String,
}

impl Issue {
    /// An issue at `place`.
    pub fn new(place: Place, what: impl Into<String>) -> Issue {
        Issue { place, what: what.into() }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
