//! Cgroups of the processes.

use crate::base::Text;

/// Sets of cgroups and the controllers' trees.
///
/// `cgroup.img` may list cgroups that are not the container's own: CRIU walks all that lies below
/// the cgroup its parent ran in.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    /// Sets; a process names one by id.
    pub sets: Vec<CgroupSet>,
    /// Properties of the controllers' directories: controller, directory, name, value.
    pub properties: Vec<CgroupProperty>,
    /// Directories listed in all.
    pub nr_dirs: usize,
}

/// One set: a path in every hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupSet {
    /// Number.
    pub id: u32,
    /// Controller (empty for cgroup2) and path.
    pub members: Vec<(Text, Text)>,
}

/// One property of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupProperty {
    /// Controllers of the hierarchy.
    pub controllers: String,
    /// Directory.
    pub dir: Text,
    /// `memory.max` and so on.
    pub name: Text,
    /// Text value.
    pub value: Text,
}
