//! What this checkpoint cannot show, and why. Silence must never read as "clean".

/// One thing that cannot be told from this checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Short name (`process start times`).
    pub what: &'static str,
    /// Why, with numbers where there are any, and what would help.
    pub why: String,
}
