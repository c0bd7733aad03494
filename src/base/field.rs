//! A value the analyst asked for, or why there is none.

use std::fmt;

/// A value, or the reason why there is none. Never an invented zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field<T> {
    /// Read from the evidence.
    Known(T),
    /// Not there, and why.
    Absent(Absent),
}

/// Why a value is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Absent {
    /// CRIU or the engine does not write it down.
    NotRecorded,
    /// The thing has no such value (a zombie has no memory).
    NotApplicable,
    /// The member that holds it is missing or damaged; an issue says which.
    Unreadable,
    /// It was read and makes no sense; an issue says how.
    Unparsable,
}

impl<T> Field<T> {
    /// The value, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Field::Known(value) => Some(value),
            Field::Absent(_) => None,
        }
    }

    /// The value, if there is one, or the reason.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn as_result(&self) -> Result<&T, Absent> {
        match self {
            Field::Known(value) => Ok(value),
            Field::Absent(why) => Err(*why),
        }
    }

    /// Applies `f` to a known value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Known(value) => Field::Known(f(value)),
            Field::Absent(why) => Field::Absent(why),
        }
    }

    /// `Known`, or `NotRecorded` for `None`: an optional field of a record that was read.
    pub fn recorded(value: Option<T>) -> Field<T> {
        value.map_or(Field::Absent(Absent::NotRecorded), Field::Known)
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Absent::NotRecorded => "not recorded in a checkpoint",
            Absent::NotApplicable => "does not apply",
            Absent::Unreadable => "could not be read",
            Absent::Unparsable => "makes no sense",
        })
    }
}
