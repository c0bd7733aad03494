//! Mounts of every mount namespace.

use crate::base::{MntId, NsId, Place, Text};

/// One mount.
#[derive(Clone, Debug)]
pub struct Mount {
    /// As in mountinfo.
    pub mnt_id: MntId,
    /// Its parent; the root's lies outside the container.
    pub parent_mnt_id: MntId,
    /// Namespace it belongs to.
    pub ns_id: NsId,
    /// Where it is mounted.
    pub mountpoint: Text,
    /// The subtree of the file system that is mounted.
    pub root: Text,
    /// File system type (`overlay`, `tmpfs`); `None` when CRIU records that it does not know it.
    pub fstype: Option<Text>,
    /// Device or source.
    pub source: Text,
    /// Options of the super block, as CRIU keeps them.
    pub options: Text,
    /// `MS_` flags of the mount.
    pub flags: u32,
    /// `MS_` flags of the super block.
    pub sb_flags: Option<u32>,
    /// Device, as `major:minor`.
    pub dev: (u32, u32),
    /// Peer group it shares with.
    pub shared_id: Option<u32>,
    /// Peer group it is a slave of.
    pub master_id: Option<u32>,
    /// Name by which the runtime hands it in at restore.
    pub external_key: Option<Text>,
    /// Its root was unlinked.
    pub is_deleted: bool,
    /// Distance from the root mount.
    pub depth: u32,
    /// Base name of the image with its content (tmpfs), if there is one.
    pub content_img: Option<String>,
    /// Where it is recorded.
    pub place: Place,
}
