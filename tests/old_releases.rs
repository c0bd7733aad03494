//! Images as older releases of CRIU laid them out join to the same model. No such release runs on
//! today's kernels, so the layouts are made out of new dumps: synthetic, by the facts of the format.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod rebuild;

use std::sync::Arc;

use bytes::Bytes;
use cryoscope::base::Silent;
use cryoscope::checkpoint::{self, Checkpoint};
use cryoscope::decode::KINDS;
use cryoscope::decode::schema::{CoreEntry, FileEntry, InventoryEntry, PagemapEntry, PagemapHead};
use cryoscope::evidence::{Evidence, OpenOptions};
use prost::Message;
use rebuild::{Parts, push_record};

fn load(parts: &Parts) -> Arc<Checkpoint> {
    let options = OpenOptions::default();
    let evidence = Evidence::open_bytes("old.tar", parts.tar(), &options, &Silent).unwrap();
    checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0)
}

/// An image with both magics of its kind.
fn image<M: Message>(key: &str, records: &[M]) -> Bytes {
    let kind = KINDS.iter().find(|kind| kind.key == key).unwrap();
    let mut bytes = [0x5456_4319_u32.to_le_bytes(), kind.magic.to_le_bytes()].concat();
    records.iter().for_each(|record| push_record(&mut bytes, record));
    bytes.into()
}

/// What a person would see of every descriptor.
fn descriptors(checkpoint: &Checkpoint) -> Vec<String> {
    let mut out = Vec::new();
    for process in &checkpoint.processes {
        for entry in &process.fds {
            let file = checkpoint.file(entry.file);
            let shown = file
                .map(|file| (file.kind.word(), &file.target, file.flags, file.pos, file.is_deleted, file.fds.len()));
            out.push(format!("{} {}: {shown:?}", process.pid, entry.fd));
        }
        out.push(
            format!("{} {:?} {:?} {:?}", process.pid, process.exe, process.cwd, process.root).replace("FileId", ""),
        );
    }
    out
}

/// Numbers of files differ between the layouts; names do not.
fn without_numbers(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| line.split(", file: Some(").next().unwrap().to_owned()).collect()
}

/// Before 3.4 every type of open file had an image of its own.
#[test]
fn per_type_file_images_join_like_files_img() {
    let mut parts = Parts::of("fd-zoo.tar.zst");
    let modern = load(&parts);
    let files = parts.records::<FileEntry>("files.img");
    parts.0.remove("checkpoint/files.img");
    macro_rules! split {
        ($($name:literal $key:literal $field:ident),*) => {
            $(let records: Vec<_> = files.iter().filter_map(|file| file.$field.as_deref().cloned()).collect();
            if !records.is_empty() {
                parts.set_image($name, image($key, &records));
            })*
        };
    }
    split!("reg-files.img" "REG_FILES" reg, "pipes.img" "PIPES" pipe, "fifo.img" "FIFO" fifo, "unixsk.img" "UNIXSK" usk,
        "eventfd.img" "EVENTFD_FILE" efd, "eventpoll.img" "EVENTPOLL_FILE" epfd, "signalfd.img" "SIGNALFD" sgfd,
        "inotify.img" "INOTIFY_FILE" ify, "tty.img" "TTY_FILES" tty, "timerfd.img" "TIMERFD" tfd,
        "netlinksk.img" "NETLINK_SK" nlsk, "ns-files.img" "NS_FILES" nsf, "fanotify.img" "FANOTIFY_FILE" ffy);
    let old = load(&parts);
    let split_up = ["memfd", "pidfd", "inetsk", "packetsk"];
    let (mut known, mut compared) = (without_numbers(descriptors(&modern)), without_numbers(descriptors(&old)));
    // Kinds that came later have no image of their own in the old layout.
    let is_later = |line: &String| split_up.iter().any(|kind| line.contains(kind)) || line.ends_with("None");
    known.retain(|line| !is_later(line));
    compared.retain(|line| !is_later(line));
    assert!(known.len() > 60, "{}", known.len());
    assert_eq!(known, compared);
}

/// Before 2.0 credentials, before 3.1 signal handlers had images of their own.
#[test]
fn credentials_and_signal_handlers_beside_the_core_join_the_same() {
    let mut parts = Parts::of("process-zoo.tar.zst");
    let modern = load(&parts);
    for process in modern.processes.iter().filter(|process| !process.is_zombie()) {
        let name = format!("core-{}.img", process.pid);
        let mut core = parts.records::<CoreEntry>(&name).remove(0);
        if let Some(task) = core.tc.as_mut() {
            let actions = std::mem::take(&mut task.sigactions);
            parts.set_image(&format!("sigacts-{}.img", process.pid), image("SIGACT", &actions));
        }
        if let Some(creds) = core.thread_core.as_mut().and_then(|thread| thread.creds.take()) {
            parts.set_image(&format!("creds-{}.img", process.pid), image("CREDS", &[*Box::new(creds)]));
        }
        parts.set_records(&name, &[core]);
    }
    let old = load(&parts);
    for (old, modern) in old.processes.iter().zip(&modern.processes) {
        assert_eq!(old.credentials(), modern.credentials());
        assert_eq!(old.signal_actions, modern.signal_actions);
    }
    assert_eq!(old.issues, []);
}

/// Before 1.6 images had only their own magic.
#[test]
fn images_without_the_common_magic_are_read() {
    let mut parts = Parts::of("compressed.tar");
    let modern = load(&parts);
    let names: Vec<String> = parts.0.keys().cloned().collect();
    for name in names {
        let bytes = parts.0[&name].clone();
        if bytes.starts_with(&0x5456_4319_u32.to_le_bytes()) || bytes.starts_with(&0x5510_5940_u32.to_le_bytes()) {
            parts.0.insert(name, bytes.slice(4..));
        }
    }
    let inventory = parts.records::<InventoryEntry>("inventory.img").remove(0);
    let mut bytes = parts.image("inventory.img")[..4].to_vec();
    push_record(&mut bytes, &InventoryEntry { img_version: 1, ..inventory });
    parts.set_image("inventory.img", bytes);
    let old = load(&parts);
    assert_eq!(old.issues, []);
    assert_eq!(descriptors(&old), descriptors(&modern));
}

/// Before 3.5 pagemaps had no flags; since 4.2 the number of pages is a 64-bit field.
#[test]
fn pagemaps_of_every_release_say_the_same() {
    let counts = |checkpoint: &Checkpoint| -> Vec<_> {
        let maps = checkpoint.processes.iter().filter_map(|process| process.memory.known());
        maps.flat_map(|memory| memory.vmas.iter().map(|vma| (vma.start, vma.pages))).collect()
    };
    let parts = Parts::of("memory-zoo.tar.zst");
    let modern = counts(&load(&parts));
    assert!(modern.iter().map(|(_, pages)| pages.dumped).sum::<u64>() > 100);
    let pagemaps: Vec<String> = parts.0.keys().filter(|name| name.contains("/pagemap-")).cloned().collect();
    let rewrite = |change: &dyn Fn(&mut PagemapEntry)| {
        let mut changed = Parts(parts.0.clone());
        for path in &pagemaps {
            let name = path.rsplit('/').next().unwrap();
            let head = parts.records::<PagemapHead>(name);
            let mut entries = parts.records::<PagemapEntry>(name);
            entries.iter_mut().for_each(change);
            changed.set_records(name, &head);
            let mut bytes = changed.image(name).to_vec();
            entries.iter().for_each(|entry| push_record(&mut bytes, entry));
            changed.set_image(name, bytes);
        }
        let checkpoint = load(&changed);
        assert_eq!(checkpoint.issues, []);
        counts(&checkpoint)
    };
    let without_flags = rewrite(&|entry| entry.flags = None);
    let with_64_bits = rewrite(&|entry| {
        entry.nr_pages = Some(u64::from(entry.compat_nr_pages));
        entry.compat_nr_pages = 0;
    });
    assert_eq!(without_flags, modern);
    assert_eq!(with_64_bits, modern);
}
