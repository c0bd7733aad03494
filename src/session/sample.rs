//! The checkpoint that comes with the program.

/// Name it goes by in the window.
pub const NAME: &str = "bundled sample";

/// The archive, compressed as it was made; see `fixtures/README.md` for how.
pub const ARCHIVE: &[u8] = include_bytes!("../../fixtures/compromised-webapp.tar.zst");

/// Name that its base image goes by.
pub const BASE_NAME: &str = "image of the bundled sample";

/// The image that its container started from, as far as its processes used it: enough to thaw it.
pub const BASE: &[u8] = include_bytes!("../../fixtures/base/webapp.tar.zst");
