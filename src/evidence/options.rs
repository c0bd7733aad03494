//! How evidence is opened, and how much of it is borne.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use crate::base::Limits;

use super::{Member, OpenError};

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
    /// Is told how many bytes have come out of a compressed archive so far.
    pub unpacked: Option<Arc<AtomicU64>>,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            cache_dir: None,
            max_spool_bytes: 64 << 30,
            max_ratio: 1000,
            limits: Limits::default(),
            on_member: None,
            unpacked: None,
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
            .field("unpacked", &self.unpacked)
            .finish()
    }
}
