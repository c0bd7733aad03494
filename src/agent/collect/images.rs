//! What /proc says, as images of CRIU.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::{Value, json};

use crate::decode::{kinds, schema};

use super::Wanted;
use super::memory::{Run, Shared};
use super::process::{Facts, Fd, Map, Thread};
use super::sockets::Socket;

/// Status bits of a mapping.
mod status {
    pub(super) const REGULAR: u32 = 1;
    pub(super) const STACK: u32 = 2;
    pub(super) const VSYSCALL: u32 = 4;
    pub(super) const VDSO: u32 = 8;
    pub(super) const HEAP: u32 = 32;
    pub(super) const FILE_PRIVATE: u32 = 64;
    pub(super) const FILE_SHARED: u32 = 128;
    pub(super) const ANON_SHARED: u32 = 256;
    pub(super) const ANON_PRIVATE: u32 = 512;
    pub(super) const VVAR: u32 = 4096;
}

const O_CLOEXEC: u32 = 0o2_000_000;
const PE_PARENT: u32 = 1;
const PE_PRESENT: u32 = 4;
/// As inventory.img has it since CRIU 2.0.
const IMAGE_VERSION: u32 = 2;

/// Open files of all processes.
#[derive(Debug, Default)]
pub(super) struct Files {
    entries: Vec<schema::FileEntry>,
    pipes: BTreeMap<u64, u32>,
}

impl Files {
    pub(super) fn image(&self) -> Vec<u8> {
        image("FILES", &self.entries)
    }

    fn next(&self) -> u32 {
        u32::try_from(self.entries.len() + 1).unwrap_or(u32::MAX)
    }

    fn push(&mut self, kind: schema::FdTypes, entry: schema::FileEntry) -> u32 {
        let id = self.next();
        self.entries.push(schema::FileEntry { r#type: kind.into(), id, ..entry });
        id
    }

    /// A file that has a name.
    fn named(&mut self, name: &[u8], flags: u32, pos: u64) -> u32 {
        let id = self.next();
        let reg =
            schema::RegFileEntry { id, flags, pos, name: name.to_vec().into(), ..schema::RegFileEntry::default() };
        self.push(schema::FdTypes::Reg, schema::FileEntry { reg: Some(Box::new(reg)), ..schema::FileEntry::default() })
    }

    /// What a descriptor leads to.
    fn open(&mut self, facts: &Facts, fd: &Fd) -> (u32, schema::FdTypes) {
        let flags = fd.flags & !O_CLOEXEC;
        let inode = |prefix: &str| {
            let number = fd.target.strip_prefix(prefix.as_bytes())?.strip_suffix(b"]")?;
            std::str::from_utf8(number).ok()?.parse::<u64>().ok()
        };
        let id = self.next();
        if let Some(inode) = inode("pipe:[") {
            let n_pipes = u32::try_from(self.pipes.len() + 1).unwrap_or(u32::MAX);
            // CRIU's numbers of pipes are inodes where these fit.
            let pipe_id = *self.pipes.entry(inode).or_insert(u32::try_from(inode).unwrap_or(n_pipes));
            let pipe = schema::PipeEntry { id, pipe_id, flags, ..schema::PipeEntry::default() };
            let entry = schema::FileEntry { pipe: Some(Box::new(pipe)), ..schema::FileEntry::default() };
            return (self.push(schema::FdTypes::Pipe, entry), schema::FdTypes::Pipe);
        }
        let socket = inode("socket:[").and_then(|inode| Some((u32::try_from(inode).ok()?, facts.sockets.get(&inode)?)));
        match socket {
            Some((ino, Socket::Inet { family, kind, protocol, state, source, peer })) => {
                let isk = schema::InetSkEntry {
                    id,
                    ino,
                    family: *family,
                    r#type: *kind,
                    proto: *protocol,
                    state: *state,
                    src_addr: source.0.clone(),
                    src_port: source.1,
                    dst_addr: peer.0.clone(),
                    dst_port: peer.1,
                    flags,
                    ..schema::InetSkEntry::default()
                };
                let entry = schema::FileEntry { isk: Some(Box::new(isk)), ..schema::FileEntry::default() };
                (self.push(schema::FdTypes::Inetsk, entry), schema::FdTypes::Inetsk)
            }
            Some((ino, Socket::Unix { kind, state, name })) => {
                let usk = schema::UnixSkEntry {
                    id,
                    ino,
                    r#type: *kind,
                    state: *state,
                    flags,
                    name: name.clone().into(),
                    ..schema::UnixSkEntry::default()
                };
                let entry = schema::FileEntry { usk: Some(Box::new(usk)), ..schema::FileEntry::default() };
                (self.push(schema::FdTypes::Unixsk, entry), schema::FdTypes::Unixsk)
            }
            // Descriptors without a name have one in /proc: `anon_inode:[eventpoll]`. More is not told of them.
            None => (self.named(&fd.target, flags, fd.pos), schema::FdTypes::Reg),
        }
    }
}

/// Numbers as inside the container: at the depth of the namespace of its first process.
pub(super) fn number_as_inside(found: &mut [Facts]) {
    let depth = found.first().map_or(1, |facts| facts.numbers.len().max(1)) - 1;
    let number = |numbers: &[u32]| numbers.get(depth).or(numbers.last()).copied().unwrap_or_default();
    for facts in found.iter_mut() {
        facts.inside = number(&facts.numbers);
        [facts.pgid, facts.sid] = [number(&facts.groups_of[0]), number(&facts.groups_of[1])];
        for thread in &mut facts.threads {
            thread.inside = number(&thread.numbers);
        }
    }
    let inside: BTreeMap<u32, u32> = found.iter().map(|facts| (facts.outside, facts.inside)).collect();
    for facts in found.iter_mut() {
        facts.parent_inside = inside.get(&facts.parent_outside).copied().unwrap_or_default();
    }
}

pub(super) fn inventory() -> Vec<u8> {
    let entry = schema::InventoryEntry {
        img_version: IMAGE_VERSION,
        fdinfo_per_id: Some(true),
        ns_per_id: Some(true),
        ..Default::default()
    };
    // This one has no common head.
    image("INVENTORY", &[entry]).split_off(4)
}

pub(super) fn pstree(found: &[Facts]) -> Vec<u8> {
    let entries: Vec<schema::PstreeEntry> = found
        .iter()
        .map(|facts| schema::PstreeEntry {
            pid: facts.inside,
            ppid: facts.parent_inside,
            pgid: facts.pgid,
            sid: facts.sid,
            threads: facts.threads.iter().map(|thread| thread.inside).collect(),
        })
        .collect();
    image("PSTREE", &entries)
}

pub(super) fn pagemap(pages_id: u32, runs: &[Run]) -> Vec<u8> {
    let mut bytes = image("PAGEMAP", &[schema::PagemapHead { pages_id }]);
    for run in runs {
        let entry = schema::PagemapEntry {
            vaddr: run.address,
            compat_nr_pages: u32::try_from(run.n_pages).unwrap_or(u32::MAX),
            nr_pages: Some(run.n_pages),
            // Of a parent that nobody has: it was there, and is not here.
            in_parent: (!run.is_read).then_some(true),
            flags: Some(if run.is_read { PE_PRESENT } else { PE_PARENT }),
            ..schema::PagemapEntry::default()
        };
        record(&mut bytes, &entry);
    }
    bytes
}

/// The images of one process, memory left out.
pub(super) fn of_process(
    facts: &Facts,
    ids: u32,
    wanted: &Wanted<'_>,
    files: &mut Files,
    shared: &mut Shared,
) -> Vec<(String, Vec<u8>)> {
    let pid = facts.inside;
    let mut found = Vec::new();
    for thread in &facts.threads {
        found.push((format!("core-{}.img", thread.inside), image("CORE", &[core(facts, thread, ids, wanted)])));
    }
    if facts.is_zombie {
        if facts.threads.is_empty() {
            let thread = Thread { outside: facts.outside, numbers: Vec::new(), inside: pid, comm: facts.comm.clone() };
            found.push((format!("core-{pid}.img"), image("CORE", &[core(facts, &thread, ids, wanted)])));
        }
        return found;
    }
    let kernel_ids =
        schema::TaskKobjIdsEntry { vm_id: ids, files_id: ids, fs_id: ids, sighand_id: ids, ..Default::default() };
    found.push((format!("ids-{pid}.img"), image("IDS", &[kernel_ids])));
    let umask = facts.status.get("Umask").and_then(|umask| u32::from_str_radix(umask, 8).ok());
    let fs = schema::FsEntry { cwd_id: files.named(&facts.cwd, 0, 0), root_id: files.named(&facts.root, 0, 0), umask };
    found.push((format!("fs-{pid}.img"), image("FS", &[fs])));
    let mut descriptors = Vec::new();
    for fd in &facts.fds {
        let (id, kind) = files.open(facts, fd);
        let flags = u32::from(fd.flags & O_CLOEXEC != 0);
        descriptors.push(schema::FdinfoEntry { id, flags, r#type: kind.into(), fd: fd.number, ..Default::default() });
    }
    found.push((format!("fdinfo-{ids}.img"), image("FDINFO", &descriptors)));
    found.push((format!("mm-{pid}.img"), image("MM", &[mm(facts, files, shared)])));
    found
}

fn core(facts: &Facts, of: &Thread, ids: u32, wanted: &Wanted<'_>) -> schema::CoreEntry {
    use schema::core_entry::March;
    let tid = of.inside;
    let mtype = match wanted.arch {
        "x86_64" => March::X8664,
        "aarch64" => March::Aarch64,
        "arm" | "armv7l" => March::Arm,
        "ppc64le" => March::Ppc64,
        "s390x" => March::S390,
        "riscv64" => March::Riscv64,
        "loongarch64" => March::Loongarch64,
        _ => March::Unknown,
    };
    // 1 alive, 2 dead, 3 stopped; 6 zombie in newer ones: CRIU's `dead` is a zombie.
    let task_state = if facts.is_zombie {
        2
    } else if facts.is_stopped {
        3
    } else {
        1
    };
    let task = schema::TaskCoreEntry {
        task_state,
        comm: facts.comm.clone().into(),
        old_seccomp_mode: None,
        ..schema::TaskCoreEntry::default()
    };
    let thread = schema::ThreadCoreEntry {
        comm: Some(of.comm.clone().into()),
        creds: Some(creds(facts)),
        seccomp_mode: facts.numbers_of("Seccomp").first().and_then(|mode| i32::try_from(*mode).ok()),
        ..schema::ThreadCoreEntry::default()
    };
    schema::CoreEntry {
        mtype: mtype.into(),
        tc: (tid == facts.inside).then(|| Box::new(task)),
        ids: (tid == facts.inside && !facts.is_zombie).then(|| schema::TaskKobjIdsEntry {
            vm_id: ids,
            files_id: ids,
            fs_id: ids,
            sighand_id: ids,
            ..Default::default()
        }),
        thread_core: (!facts.is_zombie).then(|| Box::new(thread)),
        thread_info: wanted.held.and_then(|held| held.registers(of.outside)).map(Box::new),
        ..schema::CoreEntry::default()
    }
}

fn creds(facts: &Facts) -> schema::CredsEntry {
    let [uid, gid] = ["Uid", "Gid"].map(|name| facts.numbers_of(name));
    let at = |numbers: &[u32], n: usize| numbers.get(n).copied().unwrap_or_default();
    let capabilities = |name: &str| {
        let set = facts.status.get(name).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default();
        vec![(set & 0xffff_ffff) as u32, (set >> 32) as u32]
    };
    schema::CredsEntry {
        uid: at(&uid, 0),
        euid: at(&uid, 1),
        suid: at(&uid, 2),
        fsuid: at(&uid, 3),
        gid: at(&gid, 0),
        egid: at(&gid, 1),
        sgid: at(&gid, 2),
        fsgid: at(&gid, 3),
        groups: facts.numbers_of("Groups"),
        cap_inh: capabilities("CapInh"),
        cap_prm: capabilities("CapPrm"),
        cap_eff: capabilities("CapEff"),
        cap_bnd: capabilities("CapBnd"),
        cap_amb: capabilities("CapAmb"),
        no_new_privs: facts.numbers_of("NoNewPrivs").first().copied(),
        ..schema::CredsEntry::default()
    }
}

fn mm(facts: &Facts, files: &mut Files, shared: &mut Shared) -> schema::MmEntry {
    // `stat` begins here with its field 3.
    let stat = |field: usize| facts.stat.get(field - 3).copied().unwrap_or_default();
    let heap_end = facts.maps.iter().rfind(|map| map.path == b"[heap]").map(|map| map.end);
    let mut by_path = BTreeMap::<Vec<u8>, u32>::new();
    let mut vmas = Vec::new();
    for map in &facts.maps {
        let status = status_of(map);
        let shmid = if status & status::ANON_SHARED != 0 {
            u64::from(shared.id(facts, map))
        } else if status & (status::FILE_PRIVATE | status::FILE_SHARED) != 0 {
            let id = by_path.entry(map.path.clone()).or_insert_with(|| files.named(&map.path, 0, 0));
            u64::from(*id)
        } else {
            0
        };
        let has = |letter: u8, bit: u32| if map.perms.contains(&letter) { bit } else { 0 };
        let is_anonymous = status & (status::ANON_PRIVATE | status::ANON_SHARED) != 0;
        vmas.push(schema::VmaEntry {
            start: map.start,
            end: map.end,
            pgoff: map.offset,
            shmid,
            prot: has(b'r', 1) | has(b'w', 2) | has(b'x', 4),
            flags: if map.is_shared() { 1 } else { 2 } | if is_anonymous { 32 } else { 0 },
            status,
            fd: -1,
            ..schema::VmaEntry::default()
        });
    }
    schema::MmEntry {
        mm_start_code: stat(26),
        mm_end_code: stat(27),
        mm_start_stack: stat(28),
        mm_start_data: stat(45),
        mm_end_data: stat(46),
        mm_start_brk: stat(47),
        mm_brk: heap_end.unwrap_or(stat(47)),
        mm_arg_start: stat(48),
        mm_arg_end: stat(49),
        mm_env_start: stat(50),
        mm_env_end: stat(51),
        exe_file_id: files.named(&facts.exe, 0, 0),
        mm_saved_auxv: facts.auxv.clone(),
        vmas,
        ..schema::MmEntry::default()
    }
}

fn status_of(map: &Map) -> u32 {
    match map.path.as_slice() {
        b"[vdso]" => status::REGULAR | status::VDSO | status::ANON_PRIVATE,
        b"[vsyscall]" => status::VSYSCALL | status::ANON_PRIVATE,
        b"[heap]" => status::REGULAR | status::HEAP | status::ANON_PRIVATE,
        b"[stack]" => status::REGULAR | status::STACK | status::ANON_PRIVATE,
        path if path.starts_with(b"[vvar") => status::REGULAR | status::VVAR | status::ANON_PRIVATE,
        _ if map.is_shared_memory() => status::REGULAR | status::ANON_SHARED,
        path if path.is_empty() || path.starts_with(b"[") => status::REGULAR | status::ANON_PRIVATE,
        _ if map.is_shared() => status::REGULAR | status::FILE_SHARED,
        _ => status::REGULAR | status::FILE_PRIVATE,
    }
}

/// `config.dump`, with the names that engines give.
pub(super) fn config(wanted: &Wanted<'_>) -> Value {
    let container = wanted.container;
    json!({
        "id": container.id,
        "name": container.name,
        "rootfsImage": container.image_id,
        "rootfsImageRef": container.image_id,
        "rootfsImageName": container.image,
        "runtime": "/proc",
        "createdTime": container.created,
        "checkpointedTime": wanted.now,
        "restored": false,
    })
}

/// `spec.dump`: who the container is in Kubernetes, and its first process.
pub(super) fn spec(wanted: &Wanted<'_>, found: &[Facts]) -> Value {
    let container = wanted.container;
    let mut annotations = serde_json::Map::new();
    let mut annotate = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            annotations.insert(format!("io.kubernetes.cri.{name}"), value.into());
        }
    };
    if container.pod.is_some() {
        annotate("container-name", Some(&container.name));
        annotate("container-type", Some("container"));
        annotate("image-name", container.image.as_deref());
        annotate("sandbox-name", container.pod.as_deref());
        annotate("sandbox-namespace", container.namespace.as_deref());
    }
    let list = |name: &str| -> Vec<String> {
        let bytes = found.first().map(|facts| facts.raw_file(name)).unwrap_or_default();
        let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    };
    let cwd = found.first().map(|facts| String::from_utf8_lossy(&facts.cwd).into_owned());
    json!({
        "ociVersion": "1.2.0",
        "process": {"args": list("cmdline"), "env": list("environ"), "cwd": cwd},
        "annotations": annotations,
    })
}

fn image<M: Message>(kind: &str, records: &[M]) -> Vec<u8> {
    let magic = kinds::kind(kind).map_or(0, |kind| kind.magic);
    let mut bytes = kinds::COMMON_MAGIC.to_le_bytes().to_vec();
    bytes.extend(magic.to_le_bytes());
    for entry in records {
        record(&mut bytes, entry);
    }
    bytes
}

fn record(bytes: &mut Vec<u8>, entry: &impl Message) {
    let length = u32::try_from(entry.encoded_len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
    bytes.extend(entry.encode_to_vec());
}
