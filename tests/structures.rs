//! Structures in real memory: what the dynamic linker has loaded is what is mapped, heads of images are where they begin,
//! and addresses of sockets are those of the sockets.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::sync::Arc;

use cryoscope::base::{ByteOrder, Pid, Silent};
use cryoscope::checkpoint;
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::Memory;
use cryoscope::memory::overlay::{Field, Fields, Structure};

fn memory(name: &str) -> Memory {
    let options = OpenOptions::default();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let evidence = Evidence::open(&path, &options, &Silent).unwrap();
    let checkpoint = checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0);
    Memory::new(Arc::clone(&checkpoint))
}

fn quoted(field: &Field) -> Option<String> {
    let (_, rest) = field.value.split_once('“')?;
    rest.strip_suffix('”').map(ToOwned::to_owned)
}

#[test]
fn dynamic_linker_names_the_files_that_are_mapped() {
    let memory = memory("compromised-webapp.tar.zst");
    let space = memory.space(Pid(1)).unwrap();
    let fields = Fields::of(&space, ByteOrder::Little, &Silent).unwrap();
    let names: BTreeSet<String> =
        fields.all().iter().filter(|field| field.name == "l_name").filter_map(quoted).collect();
    assert!(names.len() > 3, "{names:?}");
    let mapped: BTreeSet<String> = space
        .map()
        .vmas
        .iter()
        .filter_map(|vma| vma.path.label().rsplit('/').next().map(ToOwned::to_owned))
        .filter(|name| name.contains(".so"))
        .collect();
    let loaded: BTreeSet<String> = names
        .iter()
        .filter_map(|name| name.rsplit('/').next().map(ToOwned::to_owned))
        .filter(|name| !name.contains("vdso"))
        .collect();
    assert!(loaded.is_subset(&mapped), "{loaded:?} {mapped:?}");
    // Every entry of the list leads to the next, and the last to none.
    let next: Vec<&Field> = fields.all().iter().filter(|field| field.name == "l_next").collect();
    assert_eq!(next.iter().filter(|field| field.target.is_none()).count(), 1);
    let starts: BTreeSet<u64> =
        fields.all().iter().filter(|field| field.name == "l_addr").map(|field| field.range.start.0).collect();
    assert!(next.iter().filter_map(|field| field.target).all(|to| starts.contains(&to.0)));
}

#[test]
fn images_begin_where_files_are_mapped_from_their_beginning() {
    let memory = memory("compromised-webapp.tar.zst");
    for space in memory.spaces() {
        let fields = Fields::of(&space, ByteOrder::Little, &Silent).unwrap();
        let is_magic = |field: &&Field| field.structure == Structure::ElfHeader && field.name == "e_ident: magic";
        for field in fields.all().iter().filter(is_magic) {
            let vma = space.map().vma_at(field.range.start).unwrap();
            assert_eq!(vma.start, field.range.start);
            assert_eq!(space.bytes_at(vma.start, 4), b"\x7fELF");
        }
        assert!(fields.all().iter().any(|field| matches!(field.structure, Structure::ProgramHeader(0))));
    }
}
