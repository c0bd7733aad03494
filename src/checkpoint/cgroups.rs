//! Cgroups of the processes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

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
    by_id: HashMap<u32, usize>,
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
    pub controllers: Arc<str>,
    /// Directory.
    pub dir: Text,
    /// `memory.max` and so on.
    pub name: Text,
    /// Text value.
    pub value: Text,
}

use crate::base::{Issue, Place};
use crate::decode::schema;

use super::images::Images;

/// Most properties that are kept: cgroup.img may list thousands of foreign directories.
const MAX_PROPERTIES: usize = 100_000;
/// Longest path of a directory, and longest list of controllers; paths in Linux have at most 4096 bytes.
const MAX_NAME_BYTES: usize = 4096;

impl Cgroups {
    pub(super) fn build(images: &Images, issues: &mut Vec<Issue>) -> Cgroups {
        let mut cgroups = Cgroups::default();
        let mut left_out = 0usize;
        for record in images.cgroup.values().flat_map(|records| &records.records) {
            for set in &record.value.sets {
                let members = set.ctls.iter().map(|ctl| (Text(ctl.name.clone()), Text(ctl.path.clone()))).collect();
                cgroups.by_id.entry(set.id).or_insert(cgroups.sets.len());
                cgroups.sets.push(CgroupSet { id: set.id, members });
            }
            for controller in &record.value.controllers {
                let names: Vec<String> = controller.cnames.iter().map(|name| Text(name.clone()).label()).collect();
                let mut names = names.join(",");
                names.truncate(names.floor_char_boundary(MAX_NAME_BYTES));
                left_out += cgroups.add_dirs(&names.into(), &controller.dirs);
            }
        }
        if left_out > 0 {
            let what =
                format!("{left_out} directories have a path of more than {MAX_NAME_BYTES} bytes and are not listed");
            issues.push(Issue::new(Place::member("cgroup.img"), what));
        }
        if cgroups.properties.len() >= MAX_PROPERTIES {
            let what = format!(
                "more than {MAX_PROPERTIES} properties in {} directories; the rest is in the raw view",
                cgroups.nr_dirs
            );
            issues.push(Issue::new(Place::member("cgroup.img"), what));
        }
        cgroups
    }

    /// Lists the properties; returns how many directories were left out for the length of their path.
    fn add_dirs(&mut self, controllers: &Arc<str>, dirs: &[schema::CgroupDirEntry]) -> usize {
        let mut left_out = 0;
        // Nesting was bounded when the record was decoded; an explicit stack all the same.
        let mut stack: Vec<(Bytes, &schema::CgroupDirEntry)> =
            dirs.iter().rev().map(|dir| (Bytes::new(), dir)).collect();
        while let Some((parent, dir)) = stack.pop() {
            self.nr_dirs += 1;
            if MAX_NAME_BYTES <= parent.len() + dir.dir_name.len() {
                left_out += 1;
                continue;
            }
            // Once there are enough properties, only directories are counted.
            let path = match (parent.is_empty(), self.properties.len() < MAX_PROPERTIES) {
                (true, true) => dir.dir_name.clone(),
                (false, true) => Bytes::from([&parent[..], b"/", &dir.dir_name].concat()),
                (_, false) => Bytes::new(),
            };
            for property in &dir.properties {
                if self.properties.len() < MAX_PROPERTIES {
                    self.properties.push(CgroupProperty {
                        controllers: Arc::clone(controllers),
                        dir: Text(path.clone()),
                        name: Text(property.name.clone()),
                        value: Text(property.value.clone()),
                    });
                }
            }
            stack.extend(dir.children.iter().rev().map(|child| (path.clone(), child)));
        }
        left_out
    }

    /// The set with this number.
    pub fn set(&self, id: u32) -> Option<&CgroupSet> {
        self.by_id.get(&id).and_then(|at| self.sets.get(*at))
    }
}
