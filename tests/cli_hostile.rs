//! The program against archives that were made to hurt it. Each archive is a real one with the change that its test
//! tells; the promises that hold for all of them are in `hostile/mod.rs`.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and starts programs")]

mod hostile;
mod rebuild;

use std::fs;
use std::io::Write as _;

use bytes::Bytes;
use cryoscope::decode::schema::{
    CgControllerEntry, CgroupDirEntry, CgroupEntry, CgroupPropEntry, CoreEntry, EventpollFileEntry, EventpollTfdEntry,
    FdinfoEntry, FileEntry, MemfdFileEntry, MemfdInodeEntry, MmEntry, MntEntry, NetDeviceEntry, PipeEntry, PstreeEntry,
    ScmEntry, SeccompEntry, SeccompFilter, SkPacketEntry, TaskKobjIdsEntry, UnixSkEntry, VmaEntry,
};
use hostile::Lab;
use prost::Message;
use rebuild::{Parts, header, push_record};

const COMMON: u32 = 0x5456_4319;

/// Asks everything of a changed checkpoint; what `inspect --all` said.
#[track_caller]
fn ask(name: &str, parts: &Parts) -> String {
    let ran = Lab::new().ask_all(name, &parts.tar());
    String::from_utf8_lossy(&ran[0].out).into_owned()
}

/// Asks for the model as text and as JSON, where the rest takes long and has nothing to add.
#[track_caller]
fn inspect(name: &str, parts: &Parts) -> String {
    let lab = Lab::new();
    fs::write(lab.path(name), parts.tar()).unwrap();
    lab.ask(name, &["inspect", "--json", "{}"]);
    String::from_utf8_lossy(&lab.ask(name, &["inspect", "--all", "{}"]).out).into_owned()
}

fn image(own_magic: u32, records: &[impl Message]) -> Vec<u8> {
    let mut bytes = [COMMON.to_le_bytes(), own_magic.to_le_bytes()].concat();
    records.iter().for_each(|record| push_record(&mut bytes, record));
    bytes
}

fn process(pid: u32, ppid: u32) -> PstreeEntry {
    PstreeEntry { pid, ppid, pgid: 1, sid: 1, threads: vec![pid] }
}

/// `count` processes below the first, with the images of the first, which share one table of descriptors.
fn crowd(parts: &mut Parts, count: u32) {
    let tree: Vec<PstreeEntry> = (1..=count).map(|pid| process(pid, u32::from(pid != 1))).collect();
    parts.set_records("pstree.img", &tree);
    let ids = TaskKobjIdsEntry { files_id: 2, ..parts.records::<TaskKobjIdsEntry>("ids-1.img").remove(0) };
    parts.set_records("ids-1.img", &[ids]);
    for pid in 2..=count {
        for name in ["core", "ids", "fs", "mm"] {
            let bytes = parts.image(&format!("{name}-1.img")).clone();
            parts.set_image(&format!("{name}-{pid}.img"), bytes);
        }
    }
}

fn pipe(id: u32, pipe_id: u32) -> FileEntry {
    let pipe = PipeEntry { id, pipe_id, ..PipeEntry::default() };
    FileEntry { r#type: 2, id, pipe: Some(Box::new(pipe)), ..FileEntry::default() }
}

fn descriptor(fd: u32, id: u32) -> FdinfoEntry {
    FdinfoEntry { id, r#type: 2, fd, ..FdinfoEntry::default() }
}

#[test]
fn processes_without_end_stop_at_a_limit_that_is_told() {
    let mut parts = Parts::of("compressed.tar");
    let tree: Vec<PstreeEntry> = (1..=400_000).map(|pid| process(pid, pid - 1)).collect();
    parts.set_records("pstree.img", &tree);
    let text = ask("processes.tar", &parts);
    assert!(text.contains("more processes than"), "{}", &text[..text.len().min(4000)]);
}

#[test]
fn million_threads_of_one_core_image_are_one_thread() {
    let mut parts = Parts::of("compressed.tar");
    let mut tree = parts.records::<PstreeEntry>("pstree.img");
    tree[0].threads = [vec![1], vec![3; 1_000_000], (10..1_000_000).collect()].concat();
    parts.set_records("pstree.img", &tree);
    let mut core = parts.records::<CoreEntry>("core-3.img").remove(0);
    let creds = core.thread_core.as_mut().unwrap().creds.as_mut().unwrap();
    creds.groups = (0..1_000_000).collect();
    parts.set_records("core-3.img", &[core]);
    inspect("million-threads.tar", &parts);
}

#[test]
fn descriptors_that_many_processes_share_are_told_of_within_bounds() {
    let mut parts = Parts::of("compressed.tar");
    crowd(&mut parts, 1500);
    parts.set_image(
        "fdinfo-2.img",
        image(0x5621_3732, &(0..100).map(|fd| descriptor(fd, 1000 + fd)).collect::<Vec<_>>()),
    );
    let mut files = parts.records::<FileEntry>("files.img");
    files.extend((1000..1100).map(|id| pipe(id, id / 2)));
    parts.set_records("files.img", &files);
    inspect("shared-table.tar", &parts);

    // A table too large to be kept for each.
    parts.set_image(
        "fdinfo-2.img",
        image(0x5621_3732, &(0..100_000).map(|fd| descriptor(fd, 1000)).collect::<Vec<_>>()),
    );
    let lab = Lab::new();
    fs::write(lab.path("shared-bomb.tar"), parts.tar()).unwrap();
    let ran = lab.ask("shared-bomb.tar", &["show", "{}"]);
    assert!(ran.err.contains("issues"), "{}", ran.err);
}

#[test]
fn files_that_all_belong_together_are_joined_in_linear_time() {
    let mut parts = Parts::of("compressed.tar");
    let mut files = parts.records::<FileEntry>("files.img");
    let targets = (0..100_000).map(|fd| EventpollTfdEntry { id: 900_000, tfd: fd, ..EventpollTfdEntry::default() });
    let epoll = EventpollFileEntry { id: 900_000, tfd: targets.collect(), ..EventpollFileEntry::default() };
    files.push(FileEntry { r#type: 7, id: 900_000, epfd: Some(Box::new(epoll)), ..FileEntry::default() });
    files.extend((1000..101_000).map(|id| pipe(id, 7)));
    parts.set_records("files.img", &files);
    let mut fds: Vec<FdinfoEntry> = (0..100_000).map(|fd| descriptor(fd, 1000 + fd)).collect();
    fds.push(FdinfoEntry { id: 900_000, r#type: 7, fd: 900_000, ..FdinfoEntry::default() });
    parts.set_image("fdinfo-2.img", image(0x5621_3732, &fds));
    inspect("one-epoll.tar", &parts);
}

#[test]
fn sockets_in_flight_in_each_other_end() {
    let mut parts = Parts::of("compressed.tar");
    let socket = |id: u32| {
        let socket = UnixSkEntry { id, ino: id, r#type: 1, state: 1, peer: id % 1000 + 1, ..UnixSkEntry::default() };
        FileEntry { r#type: 5, id, usk: Some(Box::new(socket)), ..FileEntry::default() }
    };
    parts.set_records("files.img", &(1..=1000).map(socket).collect::<Vec<_>>());
    let all = ScmEntry { r#type: 1, rights: (1..=1000).collect() };
    let packet = |id_for: u32| SkPacketEntry { id_for, scm: vec![all.clone()], ..SkPacketEntry::default() };
    let mut packets: Vec<SkPacketEntry> = (1..=1000).map(packet).collect();
    packets.push(SkPacketEntry {
        id_for: 1,
        scm: vec![ScmEntry { r#type: 1, rights: (0..300_000).collect() }],
        ..packet(1)
    });
    parts.set_image("sk-queues.img", image(0x5626_4026, &packets));
    inspect("in-flight.tar", &parts);
}

#[test]
fn seccomp_chains_that_all_threads_share_are_followed_once() {
    let mut parts = Parts::of("compressed.tar");
    crowd(&mut parts, 3000);
    let filter = Bytes::from_static(&[6, 0, 0, 0, 0, 0, 0xff, 0x7f]);
    let chain = |at: u32| SeccompFilter { filter: filter.clone(), prev: Some(at + 1), ..SeccompFilter::default() };
    let mut filters: Vec<SeccompFilter> = (0..100_000).map(chain).collect();
    filters[4000].prev = None;
    parts.set_records("seccomp.img", &[SeccompEntry { seccomp_filters: filters }]);
    for pid in 1..=3000 {
        let mut core = parts.records::<CoreEntry>("core-1.img").remove(0);
        let thread = core.thread_core.as_mut().unwrap();
        (thread.seccomp_mode, thread.seccomp_filter) = (Some(2), Some(pid % 100));
        parts.set_records(&format!("core-{pid}.img"), &[core]);
    }
    let text = inspect("seccomp-chains.tar", &parts);
    assert!(text.contains("and 99968 more filters"), "{}", &text[..4000]);
}

#[test]
fn address_spaces_of_a_million_mappings_stay_within_the_budget() {
    let mut parts = Parts::of("compressed.tar");
    crowd(&mut parts, 40);
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    let vma = |at: u64| VmaEntry {
        start: at << 12,
        end: (at + 1) << 12,
        prot: 3,
        flags: 0x22,
        status: 0x201,
        fd: -1,
        ..VmaEntry::default()
    };
    mm.vmas = (16..250_016).map(vma).collect();
    for pid in 1..=40 {
        parts.set_image(&format!("mm-{pid}.img"), image(0x5749_2820, std::slice::from_ref(&mm)));
    }
    let packed = zstd::encode_all(&parts.tar()[..], 1).unwrap();
    let lab = Lab::new();
    fs::write(lab.path("mappings.tar.zst"), packed).unwrap();
    let ran = lab.ask("mappings.tar.zst", &["show", "{}"]);
    assert!(ran.err.contains("issues"), "{}", ran.err);
}

#[test]
fn cgroups_below_an_endless_name_are_left_out() {
    let mut parts = Parts::of("compressed.tar");
    let property = CgroupPropEntry { name: "n".into(), value: "v".into(), ..CgroupPropEntry::default() };
    let child = CgroupDirEntry { dir_name: "c".into(), properties: vec![property], ..CgroupDirEntry::default() };
    let dir = CgroupDirEntry {
        dir_name: vec![b'd'; 4 << 20].into(),
        children: vec![child; 100_000],
        ..CgroupDirEntry::default()
    };
    let controller = CgControllerEntry { dirs: vec![dir], ..CgControllerEntry::default() };
    parts.set_records("cgroup.img", &[CgroupEntry { controllers: vec![controller], ..CgroupEntry::default() }]);
    let text = inspect("wide-cgroups.tar", &parts);
    assert!(text.contains("directories have a path of more than"), "{}", &text[text.len().saturating_sub(2000)..]);

    let mut deep = CgroupDirEntry { dir_name: "d".into(), ..CgroupDirEntry::default() }.encode_to_vec();
    for _ in 0..10_000 {
        let mut outer = vec![10, 1, b'd', 18];
        prost::encoding::encode_varint(deep.len() as u64, &mut outer);
        outer.append(&mut deep);
        deep = outer;
    }
    let mut controller = vec![18];
    prost::encoding::encode_varint(deep.len() as u64, &mut controller);
    controller.append(&mut deep);
    let mut body = vec![18];
    prost::encoding::encode_varint(controller.len() as u64, &mut body);
    body.append(&mut controller);
    let mut bytes = parts.image("cgroup.img")[..8].to_vec();
    bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes.extend(body);
    parts.set_image("cgroup.img", bytes);
    assert!(ask("deep-cgroups.tar", &parts).contains("nested too deeply"));
}

#[test]
fn mounts_and_interfaces_by_the_hundred_thousand_are_joined_in_linear_time() {
    let mut parts = Parts::of("compressed.tar");
    let mount = |id: u32, mountpoint: Vec<u8>| MntEntry {
        mnt_id: id,
        root_dev: id,
        parent_mnt_id: id - 1,
        mountpoint: mountpoint.into(),
        ..MntEntry::default()
    };
    let mut mounts: Vec<MntEntry> = (1..=100_000).map(|id| mount(id, b"/x".to_vec())).collect();
    mounts[0] = mount(1, vec![b'L'; 1 << 20]);
    parts.set_records("mountpoints-13.img", &mounts);
    let interface = |ifindex: u32| NetDeviceEntry {
        r#type: 1,
        ifindex,
        mtu: 1,
        name: format!("e{ifindex}").into(),
        ..NetDeviceEntry::default()
    };
    parts.set_records("netdev-10.img", &(1..=50_000).map(interface).collect::<Vec<_>>());
    let addresses = parts.image("ifaddr-10.img").clone();
    parts.set_image("ifaddr-10.img", [&addresses[..4], &addresses[4..].repeat(20_000)].concat());
    inspect("mounts-and-interfaces.tar", &parts);
}

#[test]
fn documents_that_blow_up_are_not_taken_apart() {
    for (name, text) in [
        ("deep", b"[".repeat(100_000)),
        ("long", b"[".repeat(20_000_000)),
        ("objects", [&b"["[..], &b"{\"\":0},".repeat(2_000_000), b"0]"].concat()),
    ] {
        let mut parts = Parts::of("compressed.tar");
        parts.0.insert("spec.dump".into(), text.into());
        let text = inspect(&format!("spec-{name}.tar"), &parts);
        assert!(text.contains("spec.dump: "), "{name}");
    }
    let mut parts = Parts::of("compressed.tar");
    parts.0.insert("deleted.files".into(), [&b"["[..], &b"\"\",".repeat(3_000_000), b"\"\"]"].concat().into());
    assert!(ask("deleted-files.tar", &parts).contains("are not listed"));
}

#[test]
fn checkpoints_by_the_thousand_are_limited_and_told() {
    let seed = Parts::of("compressed.tar");
    let inventory = seed.image("inventory.img");
    let parts = Parts((0..10_000).map(|n| (format!("d{n}/inventory.img"), inventory.clone())).collect());
    let lab = Lab::new();
    fs::write(lab.path("many.tar"), parts.tar()).unwrap();
    let ran = lab.ask("many.tar", &["show", "{}"]);
    assert_eq!(ran.code, 0);
}

#[test]
fn members_by_the_million_end_in_a_limit_that_is_told() {
    let seed = Parts::of("compressed.tar").tar();
    let mut tar = seed[..seed.len() - 1024].to_vec();
    let mut head = header(0);
    for n in 0..1_200_000 {
        head.set_path(format!("{n}")).unwrap();
        head.set_cksum();
        tar.extend_from_slice(head.as_bytes());
    }
    let lab = Lab::new();
    fs::write(lab.path("members.tar.zst"), zstd::encode_all(&tar[..], 1).unwrap()).unwrap();
    drop(tar);
    for command in [["show", "{}"].as_slice(), &["inspect", "{}"], &["files", "{}"]] {
        let ran = lab.ask("members.tar.zst", command);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
}

/// A gzip of a tar with one member of zeros, several hundred times as large as its packed form.
fn bomb(len: u64) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    packed.write_all(header(len).as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..len >> 20).for_each(|_| packed.write_all(&zeros).unwrap());
    packed.finish().unwrap()
}

#[test]
fn bombs_inside_share_one_budget() {
    let mut parts = Parts::of("compressed.tar");
    let bomb = Bytes::from(bomb(600 << 20));
    for n in 0..8 {
        parts.set_image(&format!("tmpfs-dev-{}.tar.gz.img", 100 + n), bomb.clone());
    }
    parts.0.insert("rootfs-diff.tar".into(), bomb);
    let lab = Lab::new();
    fs::write(lab.path("bombs.tar"), parts.tar()).unwrap();
    let ran = lab.ask("bombs.tar", &["inspect", "{}"]);
    assert!(String::from_utf8_lossy(&ran.out).contains("does not open"));
}

#[test]
fn outer_bomb_is_refused_with_the_option_that_allows_it() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    let zeros = vec![0; 1 << 20];
    packed.write_all(header(1 << 40).as_bytes()).unwrap();
    (0..300).for_each(|_| packed.write_all(&zeros).unwrap());
    let bytes = packed.finish().unwrap();
    for ran in Lab::new().ask_all("bomb.tar.gz", &bytes) {
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("--max-ratio"), "{}", ran.err);
    }
}

#[test]
fn sparse_member_of_an_exbibyte_is_not_believed() {
    for name in
        ["checkpoint/pages-1.img", "checkpoint/files.img", "checkpoint/pstree.img", "spec.dump", "rootfs-diff.tar"]
    {
        let parts = Parts::of("compressed.tar");
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in parts.0.iter().filter(|(path, _)| *path != name) {
            tar.append_data(&mut header(bytes.len() as u64), path, &bytes[..]).unwrap();
        }
        let size = (1u64 << 60).to_string();
        let sparse = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", name),
            ("GNU.sparse.realsize", &size),
        ];
        tar.append_pax_extensions(sparse.map(|(key, value)| (key, value.as_bytes()))).unwrap();
        let mut content = b"1\n0\n512\n".to_vec();
        content.resize(1024, 0);
        tar.append_data(&mut header(1024), "sparse", &content[..]).unwrap();
        Lab::new().ask_all("sparse.tar", &tar.into_inner().unwrap());
    }
}

#[test]
fn members_that_lead_out_of_the_tree_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().join("written");
    let parts = Parts::of("compressed.tar");
    for parent in [".", "../checkpoint", "../../../etc", "/var/lib"] {
        let mut bytes = parts.tar().to_vec();
        bytes.truncate(bytes.len() - 1024);
        let mut tar = tar::Builder::new(bytes);
        let mut link = header(0);
        link.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut link, "checkpoint/parent", parent).unwrap();
        tar.append_link(&mut link, "checkpoint/core-2.img", "/etc/passwd").unwrap();
        link.set_entry_type(tar::EntryType::Link);
        tar.append_link(&mut link, "checkpoint/mm-2.img", "checkpoint/mm-2.img").unwrap();
        for path in [format!("../../../../../../../..{}", outside.display()), outside.display().to_string()] {
            let mut head = header(4);
            let name = path.as_bytes();
            head.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
            head.set_cksum();
            tar.append(&head, &b"evil"[..]).unwrap();
        }
        let ran = Lab::new().ask_all("links.tar", &tar.into_inner().unwrap());
        assert!(ran.iter().all(|ran| ran.code < 2), "{parent}");
        assert!(!outside.exists());
    }
}

#[test]
fn nothing_in_the_evidence_moves_the_cursor() {
    let evil = "\u{1b}[2J\u{1b}]0;x\u{7}\r\u{9b}31m\u{202e}";
    let mut bytes = evil.as_bytes().to_vec();
    bytes.extend([0xff, 0xfe, b'\n']);
    let evil_bytes = Bytes::from(bytes);
    let mut parts = Parts::of("compressed.tar");
    let json = serde_json::json!({
        "id": evil, "name": evil, "rootfsImageName": evil, "runtime": evil, "createdTime": evil, "hostname": evil,
        "annotations": { "io.kubernetes.pod.name": evil, "io.container.manager": evil, evil: evil },
        "process": { "args": [evil] },
        "mounts": [{ "type": "bind", "source": evil, "destination": evil, "options": [evil] }],
        evil: { "interfaces": { evil: { "mac_address": evil, "subnets": [{ "ipnet": evil, "gateway": evil }] } } },
    });
    for name in ["spec.dump", "config.dump", "network.status", "status", "status.dump"] {
        parts.0.insert(name.into(), serde_json::to_vec(&json).unwrap().into());
    }
    parts.0.insert("dump.log".into(), format!("Version: {evil}\nRunning on x Linux {evil} #1\n").into());
    parts.0.insert("deleted.files".into(), serde_json::to_vec(&[evil]).unwrap().into());
    parts.set_image(&format!("{evil}.img"), Bytes::from_static(b"what"));
    for name in ["iptables-10.img", "nftables-10.img"] {
        parts.set_image(name, evil_bytes.clone());
    }
    let mut cores = parts.records::<CoreEntry>("core-1.img");
    cores[0].tc.as_mut().unwrap().comm = evil_bytes.clone();
    cores[0].thread_core.as_mut().unwrap().comm = Some(evil_bytes.clone());
    cores[0].thread_core.as_mut().unwrap().creds.as_mut().unwrap().lsm_profile = Some(evil_bytes.clone());
    parts.set_records("core-1.img", &cores);
    let mut mounts = parts.records::<MntEntry>("mountpoints-13.img");
    for mount in &mut mounts {
        mount.root = evil_bytes.clone();
        mount.mountpoint = evil_bytes.clone();
        mount.source = evil_bytes.clone();
        mount.options = evil_bytes.clone();
        mount.ext_key = Some(evil_bytes.clone());
    }
    parts.set_records("mountpoints-13.img", &mounts);
    let mut files = parts.records::<FileEntry>("files.img");
    for file in &mut files {
        if let Some(reg) = &mut file.reg {
            reg.name = evil_bytes.clone();
        }
    }
    let name = [&[0], &evil_bytes[..]].concat().into();
    let socket = UnixSkEntry { id: 900, ino: 900, r#type: 1, state: 10, name, ..UnixSkEntry::default() };
    files.push(FileEntry { r#type: 5, id: 900, usk: Some(Box::new(socket)), ..FileEntry::default() });
    parts.set_records("files.img", &files);
    let mut fds = parts.records::<FdinfoEntry>("fdinfo-2.img");
    fds.push(FdinfoEntry { id: 900, r#type: 5, fd: 900, ..FdinfoEntry::default() });
    parts.set_records("fdinfo-2.img", &fds);
    let mut devices = parts.records::<NetDeviceEntry>("netdev-10.img");
    devices.iter_mut().for_each(|device| device.name = evil_bytes.clone());
    parts.set_records("netdev-10.img", &devices);
    // The strings that processes have in memory.
    let pages = parts.image("pages-1.img").iter().map(|byte| if *byte == b'=' { 0x1b } else { *byte });
    let pages: Vec<u8> = pages.collect();
    parts.set_image("pages-1.img", pages);
    let text = ask("escapes.tar", &parts);
    assert!(text.contains("\\x1b[2J"), "{text}");
}

#[test]
fn archives_that_are_cut_or_changed_anywhere_open_or_are_refused() {
    let lab = Lab::new();
    for kind in ["tar", "tar.gz", "tar.zst", "tar.xz", "tar.bz2"] {
        let whole = fs::read(format!("fixtures/compressed.{kind}")).unwrap();
        let cuts = [0, 1, 5, 100, 511, 513, 1000, whole.len() / 3, whole.len() / 2, whole.len() - 600, whole.len() - 1];
        for cut in cuts {
            lab.ask(&cut_to(&lab, kind, &whole[..cut]), &["inspect", "--all", "{}"]);
        }
        // A generator of its own: the same changes on every run.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for flips in [1, 1, 1, 8, 64] {
            let mut changed = whole.clone();
            for _ in 0..flips {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = usize::try_from(state % changed.len() as u64).unwrap();
                changed[at] ^= 1 << (state >> 61);
            }
            lab.ask(&cut_to(&lab, kind, &changed), &["inspect", "--all", "{}"]);
        }
    }
}

fn cut_to(lab: &Lab, kind: &str, bytes: &[u8]) -> String {
    let name = format!("changed.{kind}");
    fs::write(lab.path(&name), bytes).unwrap();
    name
}

#[test]
fn every_image_may_lie_about_its_length_be_empty_or_be_noise() {
    let seed = Parts::of("compressed.tar");
    let change = |change: &dyn Fn(&str, &Bytes) -> Vec<u8>| {
        Parts(seed.0.iter().map(|(name, bytes)| (name.clone(), change(name, bytes).into())).collect())
    };
    ask("empty.tar", &change(&|_, _| Vec::new()));
    ask(
        "noise.tar",
        &change(&|name, bytes| {
            let salt = name.len();
            bytes
                .iter()
                .enumerate()
                .map(|(at, byte)| byte.wrapping_mul(167).wrapping_add((at * 31 + salt) as u8))
                .collect()
        }),
    );
    ask(
        "lengths.tar",
        &change(&|name, bytes| {
            let mut bytes = bytes.to_vec();
            if let Some(length) = bytes.get_mut(8..12).filter(|_| name.ends_with(".img") && !name.contains("pages-")) {
                length.copy_from_slice(&[0xff; 4]);
            }
            bytes
        }),
    );
}

#[test]
fn what_is_no_archive_is_refused_in_one_line() {
    let lab = Lab::new();
    let inputs: [(&str, Vec<u8>); 6] = [
        ("program", fs::read("/bin/sh").unwrap()),
        ("picture.png", [&b"\x89PNG\r\n\x1a\n"[..], &[0; 2000]].concat()),
        ("archive.zip", [&b"PK\x03\x04"[..], &[0; 2000]].concat()),
        ("nothing", Vec::new()),
        ("zeros", vec![0; 100_000]),
        ("noise", (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
    ];
    for (name, bytes) in inputs {
        for ran in lab.ask_all(name, &bytes) {
            assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "{name}: {}", ran.err);
        }
    }
}

#[test]
fn directory_of_pipes_links_and_devices_is_read_without_waiting() {
    let lab = Lab::new();
    let dir = lab.path("odd");
    for (name, bytes) in &Parts::of("compressed.tar").0 {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let images = dir.join("checkpoint");
    for name in ["core-2.img", "pages-9.img"] {
        let _ = fs::remove_file(images.join(name));
        assert!(std::process::Command::new("mkfifo").arg(images.join(name)).status().unwrap().success());
    }
    fs::remove_file(dir.join("spec.dump")).unwrap();
    for (target, name) in [("/dev/zero", "spec.dump"), ("/dev/zero", "rootfs-diff.tar")] {
        std::os::unix::fs::symlink(target, dir.join(name)).unwrap();
    }
    for (target, name) in [(".", "loop"), ("..", "parent"), ("/etc/passwd", "mm-9.img")] {
        std::os::unix::fs::symlink(target, images.join(name)).unwrap();
    }
    fs::create_dir_all(dir.join("n/".repeat(100))).unwrap();
    let ran = lab.ask_all_of("odd");
    // A search may find nothing.
    assert!(ran.iter().all(|ran| ran.code < 2));
}

#[test]
fn of_two_members_with_one_name_the_last_counts_as_when_tar_unpacks() {
    let parts = Parts::of("compressed.tar");
    let mut bytes = parts.tar().to_vec();
    bytes.truncate(bytes.len() - 1024);
    let mut tar = tar::Builder::new(bytes);
    let mut image = parts.image("pstree.img")[..8].to_vec();
    push_record(&mut image, &process(1, 0));
    tar.append_data(&mut header(image.len() as u64), "checkpoint/pstree.img", &image[..]).unwrap();
    let lab = Lab::new();
    fs::write(lab.path("twice.tar"), tar.into_inner().unwrap()).unwrap();
    let ran = lab.ask("twice.tar", &["inspect", "--json", "{}"]);
    let document: serde_json::Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!(document["processes"].as_array().unwrap().len(), 1);
}

#[test]
fn arguments_of_all_processes_stay_within_the_budget() {
    let mut parts = Parts::of("compressed.tar");
    crowd(&mut parts, 100);
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    // Pages that were never touched read as zeros: eight million empty variables for each process.
    let start = 0x1000_0000_0000;
    let end = start + (8 << 20);
    mm.vmas = vec![VmaEntry { start, end, prot: 3, flags: 0x22, status: 0x201, fd: -1, ..VmaEntry::default() }];
    (mm.mm_env_start, mm.mm_env_end) = (start, end);
    for pid in 1..=100 {
        parts.set_records(&format!("mm-{pid}.img"), std::slice::from_ref(&mm));
    }
    let text = inspect("arguments.tar", &parts);
    assert!(text.contains("arguments and environment of process 9 are not read"));
}

#[test]
fn one_endless_name_behind_many_files_is_kept_once() {
    let mut parts = Parts::of("compressed.tar");
    let memfd = |id: u32| {
        let memfd = MemfdFileEntry { id, inode_id: 1, ..MemfdFileEntry::default() };
        FileEntry { r#type: 18, id, memfd: Some(Box::new(memfd)), ..FileEntry::default() }
    };
    let mut files = parts.records::<FileEntry>("files.img");
    files.extend((1000..11_000).map(memfd));
    parts.set_records("files.img", &files);
    let inode = MemfdInodeEntry { inode_id: 1, name: vec![b'n'; 8 << 20].into(), ..MemfdInodeEntry::default() };
    parts.set_image("memfd.img", image(0x4845_3499, &[inode]));
    inspect("memfd.tar", &parts);
}

#[test]
fn manifests_full_of_annotations_are_read_within_a_budget() {
    let annotations: serde_json::Map<String, serde_json::Value> =
        (0..300_000).map(|n| (n.to_string(), "".into())).collect();
    let manifest = serde_json::to_vec(&serde_json::json!({ "annotations": annotations, "layers": [] })).unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let index = serde_json::json!({ "manifests": vec![serde_json::json!({ "digest": digest }); 300] });
    let parts = Parts(
        [
            ("oci-layout".to_owned(), Bytes::from_static(b"{}")),
            ("index.json".to_owned(), serde_json::to_vec(&index).unwrap().into()),
            (format!("blobs/sha256/{}", "0".repeat(64)), manifest.into()),
        ]
        .into(),
    );
    let lab = Lab::new();
    fs::write(lab.path("annotations.tar"), parts.tar()).unwrap();
    assert_eq!(lab.ask("annotations.tar", &["show", "{}"]).code, 2);
}
