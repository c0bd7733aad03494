//! Who a thread acts as: ids, groups, capabilities.

use std::sync::Arc;

use crate::base::Text;

/// `NGROUPS_MAX` of Linux: no process has more.
const MAX_GROUPS: usize = 65_536;

/// Ids as seen inside the task's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective, saved, file system.
    pub uids: [u32; 4],
    /// Real, effective, saved, file system.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
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
    /// `no_new_privs`; recorded since CRIU 3.19.
    pub no_new_privs: Option<bool>,
    /// SELinux context or AppArmor profile.
    pub lsm_profile: Option<Text>,
}

use crate::decode::schema;

impl Credentials {
    pub(super) fn from_entry(entry: &schema::CredsEntry) -> Credentials {
        let set = |words: &[u32]| {
            let word = |at: usize| u64::from(words.get(at).copied().unwrap_or_default());
            word(0) | word(1) << 32
        };
        Credentials {
            uids: [entry.uid, entry.euid, entry.suid, entry.fsuid],
            gids: [entry.gid, entry.egid, entry.sgid, entry.fsgid],
            groups: entry.groups.iter().take(MAX_GROUPS).copied().collect(),
            cap_inh: set(&entry.cap_inh),
            cap_prm: set(&entry.cap_prm),
            cap_eff: set(&entry.cap_eff),
            cap_bnd: set(&entry.cap_bnd),
            cap_amb: (!entry.cap_amb.is_empty()).then(|| set(&entry.cap_amb)),
            securebits: entry.secbits,
            no_new_privs: match entry.no_new_privs {
                Some(value) => Some(value != 0),
                // Written only when it is set, since 3.19; a dump with ambient capabilities is of 4.1 or later.
                None if !entry.cap_amb.is_empty() => Some(false),
                None => None,
            },
            lsm_profile: entry.lsm_profile.clone().map(Text::from),
        }
    }
}
