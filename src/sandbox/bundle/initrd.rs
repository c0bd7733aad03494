//! The machine's first file system: from all files of all packages, those that it needs.

use std::collections::BTreeMap;
use std::io::Read as _;

use object::{Object as _, ObjectSection as _};

use super::BundleError;
use super::deb::{Node, Tree};
use super::wanted::{ALTERNATIVES, DIRECTORIES, LOADED_LIBRARIES, MODULES, PROGRAMS};
use crate::sandbox::elf;

/// Where libraries lie in Debian's packages; the loader's own name first, since that is where programs look for it.
const LIBRARY_DIRS: [&str; 3] = ["usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib"];
/// Where the kernel's modules lie, before the version.
const MODULES_DIR: &str = "usr/lib/modules/";
/// Most bytes that one module may unpack to.
const MAX_MODULE_BYTES: u64 = 64 << 20;
/// Longest chain of symbolic links.
const MAX_LINKS: usize = 16;

/// Directory of the modules in the machine. `<group>.list` in it names those of a group, in the order to load them; each
/// line of `index` has a module, the ones it needs, and other names that the kernel asks for it by, between tabs, the
/// lists between commas.
pub const MODULES_IN_GUEST: &str = "cryoscope/modules";

/// Which files of packages are worth keeping while these are unpacked.
pub(super) fn is_of_use(path: &str) -> bool {
    let is_kernel = path.starts_with("boot/vmlinuz-") || (path.starts_with(MODULES_DIR) && path.ends_with(".ko.xz"));
    is_kernel
        || PROGRAMS.contains(&path)
        || DIRECTORIES.iter().any(|dir| path.starts_with(dir))
        || (is_library_dir(path) && path.contains(".so"))
}

fn is_library_dir(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(dir, _)| LIBRARY_DIRS.contains(&dir))
}

/// The kernel: path and content.
pub(super) fn kernel(all: &Tree) -> Result<(&str, &[u8]), BundleError> {
    all.iter()
        .find_map(|(path, node)| match node {
            Node::File(_, content) if path.starts_with("boot/vmlinuz-") => Some((path.as_str(), content.as_slice())),
            _ => None,
        })
        .ok_or_else(|| no_file("boot/vmlinuz-*", "the machine"))
}

/// The tree that becomes the initrd.
pub(super) fn tree(all: &Tree) -> Result<Tree, BundleError> {
    let mut out = Tree::new();
    for (link, target) in
        [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("var/run", "/run")]
    {
        out.insert(link.to_owned(), Node::Symlink(target.to_owned()));
    }
    for (dir, mode) in [("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("run", 0o755), ("tmp", 0o1777)] {
        out.insert(dir.to_owned(), Node::Directory(mode));
    }
    let mut next: Vec<(String, String)> = Vec::new();
    for program in PROGRAMS {
        take(all, program, "the machine", &mut out, &mut next)?;
    }
    for dir in DIRECTORIES {
        for path in all.keys().filter(|path| path.starts_with(dir)) {
            take(all, path, "the machine", &mut out, &mut next)?;
        }
    }
    next.extend(LOADED_LIBRARIES.map(|name| (name.to_owned(), "the machine".to_owned())));
    while let Some((library, needed_by)) = next.pop() {
        let path = LIBRARY_DIRS.iter().map(|dir| format!("{dir}/{library}")).find(|path| all.contains_key(path));
        let path = path.ok_or_else(|| no_file(&library, &needed_by))?;
        take(all, &path, &needed_by, &mut out, &mut next)?;
    }
    for (link, target) in ALTERNATIVES {
        out.insert(link.to_owned(), Node::Symlink(target.to_owned()));
    }
    modules(all, &mut out)?;
    Ok(out)
}

/// Takes a file, what its links lead to, and notes the libraries that it asks for.
fn take(
    all: &Tree,
    path: &str,
    needed_by: &str,
    out: &mut Tree,
    next: &mut Vec<(String, String)>,
) -> Result<(), BundleError> {
    let mut path = path.to_owned();
    for _link in 0..MAX_LINKS {
        if out.contains_key(&path) {
            return Ok(());
        }
        match all.get(&path) {
            Some(Node::File(mode, content)) => {
                next.extend(elf::needed(content).into_iter().map(|library| (library, path.clone())));
                out.insert(path, Node::File(*mode, content.clone()));
                return Ok(());
            }
            Some(Node::Symlink(target)) => {
                out.insert(path.clone(), Node::Symlink(target.clone()));
                path = beside(&path, target);
            }
            Some(Node::Directory(_)) => return Ok(()),
            None => break,
        }
    }
    Err(no_file(&path, needed_by))
}

/// What a link at `path` leads to.
fn beside(path: &str, target: &str) -> String {
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { dir.split('/').collect() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    // The top-level links of Debian's merged /usr.
    let joined = parts.join("/");
    if ["lib/", "lib64/", "bin/", "sbin/"].iter().any(|top| joined.starts_with(top)) {
        format!("usr/{joined}")
    } else {
        joined
    }
}

/// Unpacked modules, and lists of them.
fn modules(all: &Tree, out: &mut Tree) -> Result<(), BundleError> {
    let packed: BTreeMap<String, &Vec<u8>> = all
        .iter()
        .filter_map(|(path, node)| {
            let name = path.strip_prefix(MODULES_DIR)?.rsplit('/').next()?.strip_suffix(".ko.xz")?;
            let Node::File(_, content) = node else { return None };
            Some((name.replace('-', "_"), content))
        })
        .collect();
    let mut loaded: Vec<String> = Vec::new();
    for (group, names) in MODULES {
        let before = loaded.len();
        for name in names {
            module(name, "the machine", &packed, &mut loaded, out, 0)?;
        }
        let list: String = loaded.iter().skip(before).map(|name| format!("{name}\n")).collect();
        out.insert(format!("{MODULES_IN_GUEST}/{group}.list"), Node::File(0o644, list.into_bytes()));
    }
    let index: String = loaded.iter().filter_map(|name| index_line(name, out)).collect();
    out.insert(format!("{MODULES_IN_GUEST}/index"), Node::File(0o644, index.into_bytes()));
    Ok(())
}

fn module(
    name: &str,
    needed_by: &str,
    packed: &BTreeMap<String, &Vec<u8>>,
    loaded: &mut Vec<String>,
    out: &mut Tree,
    depth: usize,
) -> Result<(), BundleError> {
    let name = name.replace('-', "_");
    if loaded.contains(&name) || depth > MAX_LINKS {
        return Ok(());
    }
    let file = format!("{name}.ko.xz");
    let content = packed.get(&name).ok_or_else(|| no_file(&file, needed_by))?;
    let mut unpacked = Vec::new();
    let mut reader = liblzma::read::XzDecoder::new(content.as_slice()).take(MAX_MODULE_BYTES);
    reader
        .read_to_end(&mut unpacked)
        .map_err(|error| no_file(&format!("{file} that can be read ({error})"), needed_by))?;
    for other in depends(&unpacked) {
        module(&other, &name, packed, loaded, out, depth + 1)?;
    }
    out.insert(format!("{MODULES_IN_GUEST}/{name}.ko"), Node::File(0o644, unpacked));
    loaded.push(name);
    Ok(())
}

fn index_line(name: &str, tree: &Tree) -> Option<String> {
    let Some(Node::File(_, module)) = tree.get(&format!("{MODULES_IN_GUEST}/{name}.ko")) else { return None };
    // Patterns are for devices, of which the machine has few and no others come.
    let aliases: Vec<String> = info(module, "alias").into_iter().filter(|alias| !alias.contains('*')).collect();
    Some(format!("{name}\t{}\t{}\n", depends(module).join(","), aliases.join(",")))
}

/// The modules that a module says it needs.
fn depends(module: &[u8]) -> Vec<String> {
    let lists = info(module, "depends");
    lists
        .iter()
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

/// Values of a key in the section `.modinfo` of a module.
fn info(module: &[u8], key: &str) -> Vec<String> {
    let section = object::File::parse(module).ok().and_then(|file| {
        let section = file.section_by_name(".modinfo")?;
        Some(section.data().ok()?.to_vec())
    });
    let section = section.unwrap_or_default();
    let values =
        section.split(|byte| *byte == 0).filter_map(|entry| entry.strip_prefix(key.as_bytes())?.strip_prefix(b"="));
    values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn no_file(file: &str, needed_by: &str) -> BundleError {
    BundleError::NoFile { file: file.to_owned(), needed_by: needed_by.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_where_the_merged_usr_has_them() {
        assert_eq!(beside("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.3"), "usr/lib/x86_64-linux-gnu/libz.so.1.3");
        assert_eq!(beside("usr/lib64/ld.so", "../lib/x86_64-linux-gnu/ld.so"), "usr/lib/x86_64-linux-gnu/ld.so");
        assert_eq!(beside("usr/sbin/x", "/lib/y"), "usr/lib/y");
        assert_eq!(beside("a", "../../../b"), "b");
    }

    #[test]
    fn what_is_missing_is_named_with_who_needs_it() {
        let error = tree(&Tree::new()).unwrap_err();
        assert_eq!(error.to_string(), "none of the packages has usr/sbin/criu, which the machine needs");
        assert!(kernel(&Tree::new()).is_err());
    }
}
