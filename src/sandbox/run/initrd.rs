//! The first file system of one run: that of the bundle, and the guest's program with the loader and the libraries that
//! it was linked to on this machine.
//!
//! The program is found beside our own executable, where `cargo build`, `cargo install` and packages put it, or in
//! `../libexec/cryoscope`; `CRYOSCOPE_GUEST` names another one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::MachineError;
use crate::sandbox::bundle::{Bundle, Node, Tree, cpio};
use crate::sandbox::elf;
use crate::sandbox::guest::{GUEST_TAR, LIBRARIES, LOADER};

/// Environment variable that names the guest's program.
pub const GUEST_VARIABLE: &str = "CRYOSCOPE_GUEST";
const GUEST: &str = "cryoscope-guest";
/// Most bytes of the bundle's initrd, unpacked.
const MAX_UNPACKED_BYTES: usize = 512 << 20;

/// The guest's program on this machine.
///
/// # Errors
/// It is not where it should be.
pub fn guest_program() -> Result<PathBuf, MachineError> {
    if let Some(named) = std::env::var_os(GUEST_VARIABLE).filter(|name| !name.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(MachineError::NoGuest { expected: named }) };
    }
    let own = std::env::current_exe().map_err(MachineError::io("find this program's own file"))?;
    let dir = own.parent().unwrap_or(Path::new("/"));
    // Programs of tests lie in a directory below.
    let places = [dir.join(GUEST), dir.join("../libexec/cryoscope").join(GUEST), dir.join("..").join(GUEST)];
    let expected = places[0].clone();
    places.into_iter().find(|place| place.is_file()).ok_or(MachineError::NoGuest { expected })
}

/// The initrd of a run, in a file that is in memory only.
///
/// What the bundle has is unpacked here: this machine does it faster than an emulated one.
pub(in crate::sandbox) fn initrd(bundle: &Bundle) -> Result<File, MachineError> {
    let packed = read(&bundle.initrd)?;
    let base =
        zstd::bulk::decompress(&packed, MAX_UNPACKED_BYTES).map_err(MachineError::io("unpack the bundle's initrd"))?;
    let guest = cpio::archive(&guest_tree(&guest_program()?)?);
    in_memory(&[&base, &guest])
}

/// A file that is in memory only.
pub(in crate::sandbox) fn in_memory(parts: &[&[u8]]) -> Result<File, MachineError> {
    let file = rustix::fs::memfd_create("cryoscope", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(|error| MachineError::io("make a file in memory")(error.into()))?);
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.rewind());
    written.map_err(MachineError::io("write a file in memory"))?;
    Ok(file)
}

/// The program as `/init`, with its loader and its libraries.
fn guest_tree(program: &Path) -> Result<Tree, MachineError> {
    let content = read(program)?;
    let mut tree = Tree::new();
    let loaded = loaded_libraries()?;
    let mut next = elf::needed(&content);
    // The interpreter is a path in the machine; which file that is, the libraries tell.
    next.retain(|name| !LOADER.ends_with(name.as_str()));
    let is_static = next.is_empty();
    tree.insert("init".into(), Node::File(0o755, stripped(content)));
    // criu of a container asks for this one first; see the guest's `tmpfs`.
    tree.insert(GUEST_TAR.into(), Node::Symlink("/init".into()));
    // The kernel asks for modules by this name.
    tree.insert("usr/sbin/modprobe".into(), Node::Symlink("/init".into()));
    let mut seen = std::collections::BTreeSet::new();
    while let Some(name) = next.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(path) = loaded.get(&name) else {
            return Err(MachineError::BadGuest { what: format!("this program does not use {name}, which it needs") });
        };
        let content = read(path)?;
        next.extend(elf::needed(&content));
        tree.insert(format!("{LIBRARIES}/{name}"), Node::File(0o755, content));
    }
    if !is_static {
        let loader = seen.iter().find(|name| is_loader(name));
        let loader =
            loader.ok_or_else(|| MachineError::BadGuest { what: "no loader is among its libraries".into() })?;
        tree.insert(LOADER.into(), Node::Symlink(loader.clone()));
    }
    Ok(tree)
}

/// Without symbols and debugging information, which follow what is loaded.
fn stripped(mut program: Vec<u8>) -> Vec<u8> {
    const E_SHOFF: std::ops::Range<usize> = 0x28..0x30;
    const E_SHNUM_AND_SHSTRNDX: std::ops::Range<usize> = 0x3c..0x40;
    if let Some(len) = elf::loaded_len(&program) {
        program.truncate(len);
        for range in [E_SHOFF, E_SHNUM_AND_SHSTRNDX] {
            if let Some(field) = program.get_mut(range) {
                field.fill(0);
            }
        }
    }
    program
}

/// The loader of this very process: it starts the guest's program on this machine too, whose own loader is in the guest.
pub(in crate::sandbox) fn loader() -> Result<Option<PathBuf>, MachineError> {
    Ok(loaded_libraries()?.into_iter().find(|(name, _)| is_loader(name)).map(|(_, path)| path))
}

fn is_loader(name: &str) -> bool {
    name.starts_with("ld-") || name.starts_with("ld64") || name.starts_with("ld.")
}

/// Libraries of this very process by their names: built in one go with the guest, it uses the same.
fn loaded_libraries() -> Result<BTreeMap<String, PathBuf>, MachineError> {
    #[expect(clippy::disallowed_methods, reason = "this process' own maps")]
    let maps = fs::read_to_string("/proc/self/maps").map_err(MachineError::io("read /proc/self/maps"))?;
    let paths = maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    let named = paths.filter_map(|path| Some((path.rsplit('/').next()?.to_owned(), PathBuf::from(path))));
    Ok(named.filter(|(name, _)| name.contains(".so")).collect())
}

pub(in crate::sandbox) fn read(path: &Path) -> Result<Vec<u8>, MachineError> {
    #[expect(clippy::disallowed_methods, reason = "the bundle, the guest's program and its libraries")]
    fs::read(path).map_err(MachineError::io("read a part of the machine"))
}
