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

use crate::base::{Issue, Place};
use crate::decode::schema;

use super::images::Images;

/// Most properties that are kept: cgroup.img may list thousands of foreign directories.
const MAX_PROPERTIES: usize = 100_000;

impl Cgroups {
    pub(super) fn build(images: &Images, issues: &mut Vec<Issue>) -> Cgroups {
        let mut cgroups = Cgroups::default();
        for record in images.cgroup.values().flat_map(|records| &records.records) {
            for set in &record.value.sets {
                let members = set.ctls.iter().map(|ctl| (Text(ctl.name.clone()), Text(ctl.path.clone()))).collect();
                cgroups.sets.push(CgroupSet { id: set.id, members });
            }
            for controller in &record.value.controllers {
                let names: Vec<String> = controller.cnames.iter().map(|name| Text(name.clone()).label()).collect();
                cgroups.add_dirs(&names.join(","), &controller.dirs);
            }
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

    fn add_dirs(&mut self, controllers: &str, dirs: &[schema::CgroupDirEntry]) {
        // Nesting was bounded when the record was decoded; an explicit stack all the same.
        let mut stack: Vec<(Vec<u8>, &schema::CgroupDirEntry)> =
            dirs.iter().rev().map(|dir| (Vec::new(), dir)).collect();
        while let Some((parent, dir)) = stack.pop() {
            self.nr_dirs += 1;
            let path =
                if parent.is_empty() { dir.dir_name.to_vec() } else { [&parent[..], b"/", &dir.dir_name].concat() };
            for property in &dir.properties {
                if self.properties.len() < MAX_PROPERTIES {
                    self.properties.push(CgroupProperty {
                        controllers: controllers.to_owned(),
                        dir: Text(path.clone().into()),
                        name: Text(property.name.clone()),
                        value: Text(property.value.clone()),
                    });
                }
            }
            stack.extend(dir.children.iter().rev().map(|child| (path.clone(), child)));
        }
    }

    /// The set with this number.
    pub fn set(&self, id: u32) -> Option<&CgroupSet> {
        self.sets.iter().find(|set| set.id == id)
    }
}
