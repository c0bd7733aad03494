//! The list of packages (`Packages`), and which of them the machine needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::BundleError;

/// A package as the signed list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Path below the mirror.
    pub filename: String,
    /// Of the file.
    pub size_bytes: u64,
    /// Of the file, lower-case hex.
    pub sha256: String,
    depends: String,
    provides: String,
}

/// All packages of the list.
#[derive(Debug, Default)]
pub(super) struct Index {
    packages: HashMap<String, Package>,
    providers: HashMap<String, String>,
}

impl Index {
    /// Parses the text of `Packages`. Stanzas that lack a field are left out; their absence shows when they are wanted.
    pub(super) fn parse(text: &str) -> Index {
        let mut index = Index::default();
        for stanza in text.split("\n\n") {
            let Some(package) = parse_stanza(stanza) else { continue };
            for provided in relations(&package.provides) {
                index.providers.entry(provided.to_owned()).or_insert_with(|| package.name.clone());
            }
            index.packages.insert(package.name.clone(), package);
        }
        index
    }

    /// The package of this name, or one that provides it.
    pub(super) fn get(&self, name: &str) -> Option<&Package> {
        self.packages.get(name).or_else(|| self.packages.get(self.providers.get(name)?))
    }

    /// `wanted` and what they depend on, by name, without what `skipped` names and what only these need.
    ///
    /// # Errors
    /// A package that is needed is not in the list.
    pub(super) fn closure(&self, wanted: &[&str], skipped: &[&str]) -> Result<Vec<&Package>, BundleError> {
        let mut found: BTreeMap<&str, &Package> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut next: Vec<(String, &str)> = wanted.iter().map(|name| ((*name).to_owned(), "the machine")).collect();
        while let Some((alternatives, needed_by)) = next.pop() {
            let names: Vec<&str> = alternatives.split('|').map(package_name).collect();
            if names.iter().any(|name| skipped.contains(name)) || !seen.insert(alternatives.clone()) {
                continue;
            }
            let package = names.iter().find_map(|name| self.get(name)).ok_or_else(|| BundleError::NoPackage {
                name: alternatives.clone(),
                needed_by: needed_by.to_owned(),
            })?;
            if found.insert(&package.name, package).is_none() {
                let depends = package.depends.split(',').map(str::trim).filter(|it| !it.is_empty());
                next.extend(depends.map(|it| (it.to_owned(), package.name.as_str())));
            }
        }
        Ok(found.into_values().collect())
    }
}

fn parse_stanza(stanza: &str) -> Option<Package> {
    let mut fields: HashMap<&str, &str> = HashMap::new();
    for line in stanza.lines().filter(|line| !line.starts_with(' ')) {
        if let Some((name, value)) = line.split_once(':') {
            fields.insert(name, value.trim());
        }
    }
    let text = |name: &str| fields.get(name).map(|value| (*value).to_owned());
    let depends = [text("Pre-Depends"), text("Depends")].into_iter().flatten().collect::<Vec<_>>().join(", ");
    Some(Package {
        name: text("Package")?,
        version: text("Version")?,
        filename: text("Filename").filter(|path| is_below(path))?,
        size_bytes: text("Size")?.parse().ok()?,
        sha256: text("SHA256").filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?,
        depends,
        provides: text("Provides").unwrap_or_default(),
    })
}

fn is_below(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn relations(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(package_name).filter(|name| !name.is_empty())
}

/// `libc6:any (>= 2.38) [amd64]` is `libc6`.
fn package_name(relation: &str) -> &str {
    let end = relation.trim_start().find([' ', '(', ':', '[']).unwrap_or(relation.trim_start().len());
    relation.trim_start().get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, rest: &str) -> String {
        format!(
            "Package: {name}\nVersion: 1\nFilename: pool/{name}.deb\nSize: 7\nSHA256: {}\n{rest}\n\n",
            "0".repeat(64)
        )
    }

    fn index() -> Index {
        let text = [
            stanza("criu", "Depends: libc6 (>= 2.38), libnet1, python3 | python3-minimal, mta"),
            stanza("libc6", "Pre-Depends: gone-but-skipped\nDepends: libgcc-s1"),
            stanza("libgcc-s1", "Depends: libc6:any"),
            stanza("libnet1", "Description: text\n continued: here\n"),
            stanza("exim4", "Provides: mta, smtp (= 1)"),
            "Package: broken\nVersion: 1\n\n".into(),
            stanza("climber", "").replace("pool/", "../../"),
        ];
        Index::parse(&text.concat())
    }

    #[test]
    fn closure_follows_alternatives_and_virtual_names_and_leaves_out_what_is_skipped() {
        let index = index();
        let names = |skipped: &[&str]| -> Vec<String> {
            index.closure(&["criu"], skipped).unwrap().iter().map(|it| it.name.clone()).collect()
        };
        assert_eq!(names(&["python3", "gone-but-skipped"]), ["criu", "exim4", "libc6", "libgcc-s1", "libnet1"]);
        assert_eq!(names(&["python3", "mta", "libc6"]), ["criu", "libnet1"]);
        let error = index.closure(&["criu"], &["python3"]).unwrap_err();
        assert_eq!(error.to_string(), "the mirror's list has no package gone-but-skipped, which libc6 needs");
    }

    #[test]
    fn stanzas_that_lack_fields_or_climb_out_of_the_mirror_are_left_out() {
        assert!(index().get("broken").is_none());
        assert!(index().get("climber").is_none());
    }
}
