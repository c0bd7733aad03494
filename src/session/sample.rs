//! The checkpoint that comes with the program.

/// Name it goes by in the window.
pub const NAME: &str = "bundled sample";

/// The archive, compressed as it was made; see `fixtures/README.md` for how.
pub const ARCHIVE: &[u8] = include_bytes!("../../fixtures/compromised-webapp.tar.zst");
