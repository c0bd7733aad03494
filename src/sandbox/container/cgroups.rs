//! Which limits the cgroups of this machine give, and by which version.

use serde::{Deserialize, Serialize};

/// Where a limit comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// `memory`, `pids` or `cpu`.
    pub controller: String,
    /// Of a hierarchy of version 1: all controllers that it is mounted with. Empty for version 2.
    pub hierarchy: Vec<String>,
}

/// Controllers that limit a container, each with what is not limited without it.
pub(super) const CONTROLLERS: [(&str, &str); 3] =
    [("memory", "memory"), ("pids", "the number of processes"), ("cpu", "processor time")];

/// The limits that can be had, from `/proc/self/cgroup` and, for version 2, `cgroup.controllers` of the root.
pub(super) fn limits(own: &str, version_2: &str) -> Vec<Limit> {
    let of = |controller: &str| {
        if version_2.split_ascii_whitespace().any(|it| it == controller) {
            return Some(Limit { controller: controller.to_owned(), hierarchy: Vec::new() });
        }
        // A line is a number, controllers between commas, and a path.
        let hierarchies = own.lines().filter_map(|line| line.split(':').nth(1));
        let mut hierarchies = hierarchies.map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
        let hierarchy = hierarchies.find(|list| list.iter().any(|it| it == controller))?;
        Some(Limit { controller: controller.to_owned(), hierarchy })
    };
    CONTROLLERS.iter().filter_map(|(controller, _)| of(controller)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(controller: &str, hierarchy: &[&str]) -> Limit {
        let hierarchy = hierarchy.iter().map(|it| (*it).to_owned()).collect();
        Limit { controller: controller.to_owned(), hierarchy }
    }

    #[test]
    fn limits_come_from_version_2_where_it_has_them_and_else_from_version_1() {
        let unified = "0::/user.slice/x.scope\n";
        let all = [limit("memory", &[]), limit("pids", &[]), limit("cpu", &[])];
        assert_eq!(limits(unified, "cpuset cpu io memory pids\n"), all);
        let hybrid = "4:memory:/\n3:cpu,cpuacct:/x:y\n1:name=systemd:/\n0::/\n";
        assert_eq!(limits(hybrid, ""), [limit("memory", &["memory"]), limit("cpu", &["cpu", "cpuacct"])]);
        assert_eq!(limits("", ""), []);
    }
}
