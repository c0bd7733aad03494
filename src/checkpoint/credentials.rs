//! Who a thread acts as: ids, groups, capabilities.

use crate::base::Text;

/// Ids as seen inside the task's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective, saved, file system.
    pub uids: [u32; 4],
    /// Real, effective, saved, file system.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capability sets, bit N for capability N.
    pub cap_inh: u64,
    /// Permitted.
    pub cap_prm: u64,
    /// Effective.
    pub cap_eff: u64,
    /// Bounding.
    pub cap_bnd: u64,
    /// Ambient; recorded since CRIU 4.1.
    pub cap_amb: Option<u64>,
    /// `SECBIT_` bits.
    pub securebits: u32,
    /// `no_new_privs`; recorded since CRIU 3.16.
    pub no_new_privs: Option<bool>,
    /// SELinux context or AppArmor profile.
    pub lsm_profile: Option<Text>,
}
