//! Namespaces, and what is known of each.

use crate::base::{NsId, Pid, Text};

/// Kind of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NsKind {
    /// Processes.
    Pid,
    /// Network.
    Net,
    /// System V IPC.
    Ipc,
    /// Host name.
    Uts,
    /// Mounts.
    Mnt,
    /// Users.
    User,
    /// Cgroups.
    Cgroup,
    /// Clocks.
    Time,
}

impl NsKind {
    /// The word of /proc/PID/ns.
    pub fn word(self) -> &'static str {
        match self {
            NsKind::Pid => "pid",
            NsKind::Net => "net",
            NsKind::Ipc => "ipc",
            NsKind::Uts => "uts",
            NsKind::Mnt => "mnt",
            NsKind::User => "user",
            NsKind::Cgroup => "cgroup",
            NsKind::Time => "time",
        }
    }
}

/// One namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its kind.
    pub kind: NsKind,
    /// CRIU's number.
    pub id: NsId,
    /// Processes in it.
    pub pids: Vec<Pid>,
    /// It is the one CRIU itself ran in: the host's.
    pub is_host: bool,
    /// What is known of it: host name, id maps, clocks, IPC objects.
    pub facts: Vec<(String, Text)>,
}

use std::collections::BTreeMap;

use crate::base::ByteOrder;
use crate::decode::schema;

use super::images::Images;
use super::process::Process;

/// Namespaces of all processes, with what their images tell.
pub(super) fn namespaces(images: &Images, processes: &[Process]) -> Vec<Namespace> {
    let mut pids: BTreeMap<(NsKind, NsId), Vec<Pid>> = BTreeMap::new();
    for process in processes {
        for (kind, id) in &process.namespaces {
            pids.entry((*kind, *id)).or_default().push(process.pid);
        }
    }
    let inventory = images.inventory.values().flat_map(|records| &records.records).next();
    let host = inventory.and_then(|record| record.value.root_ids.as_ref());
    pids.into_iter()
        .map(|((kind, id), pids)| {
            let host_id = host.and_then(|host| match kind {
                NsKind::Pid => host.pid_ns_id,
                NsKind::Net => host.net_ns_id,
                NsKind::Ipc => host.ipc_ns_id,
                NsKind::Uts => host.uts_ns_id,
                NsKind::Mnt => host.mnt_ns_id,
                NsKind::User => host.user_ns_id,
                NsKind::Cgroup => host.cgroup_ns_id,
                NsKind::Time => host.time_ns_id,
            });
            Namespace { kind, id, pids, is_host: host_id == Some(id.0), facts: facts(images, kind, id) }
        })
        .collect()
}

fn facts(images: &Images, kind: NsKind, id: NsId) -> Vec<(String, Text)> {
    let key = u64::from(id.0);
    let mut facts: Vec<(String, Text)> = Vec::new();
    match kind {
        NsKind::Uts => {
            for record in images.utsns.get(&key).into_iter().flat_map(|records| &records.records) {
                facts.push(("nodename".into(), Text(record.value.nodename.clone())));
                facts.push(("domainname".into(), Text(record.value.domainname.clone())));
            }
        }
        NsKind::User => {
            for record in images.userns.get(&key).into_iter().flat_map(|records| &records.records) {
                let map = |extents: &[schema::UidGidExtent]| {
                    let lines = extents.iter().map(|map| format!("{} {} {}", map.first, map.lower_first, map.count));
                    Text::from(lines.collect::<Vec<_>>().join(", "))
                };
                facts.push(("uid_map".into(), map(&record.value.uid_map)));
                facts.push(("gid_map".into(), map(&record.value.gid_map)));
            }
        }
        NsKind::Time => {
            for record in images.timens.get(&key).into_iter().flat_map(|records| &records.records) {
                let clock = |time: &schema::Timespec| Text::from(format!("{}.{:09} s", time.tv_sec, time.tv_nsec));
                facts.push(("monotonic clock at the dump".into(), clock(&record.value.monotonic)));
                facts.push(("boottime clock at the dump".into(), clock(&record.value.boottime)));
            }
        }
        NsKind::Pid => {
            for record in images.pidns.get(&key).into_iter().flat_map(|records| &records.records) {
                facts.extend(record.value.ext_key.clone().map(|key| ("external key".into(), Text(key))));
            }
        }
        NsKind::Net => {
            for record in images.netns.get(&key).into_iter().flat_map(|records| &records.records) {
                facts.extend(record.value.ext_key.clone().map(|key| ("external key".into(), Text(key))));
            }
        }
        NsKind::Ipc => ipc_facts(images, key, &mut facts),
        NsKind::Mnt | NsKind::Cgroup => {}
    }
    facts
}

/// System V objects of an IPC namespace.
fn ipc_facts(images: &Images, key: u64, facts: &mut Vec<(String, Text)>) {
    let who = |desc: &schema::IpcDescEntry| {
        format!("key {:#010x}, owner {}:{}, mode {:#o}", desc.key, desc.uid, desc.gid, desc.mode & 0o777)
    };
    for record in images.ipc_shm.get(&key).into_iter().flat_map(|records| &records.records) {
        let text = format!("{}, {} bytes", who(&record.value.desc), record.value.size);
        facts.push((format!("shared memory {}", record.value.desc.id), Text::from(text)));
    }
    if let Some(records) = images.ipc_sem.get(&key) {
        for record in &records.records {
            let values =
                records.payload(record, "values").map(|(bytes, _)| u16s(&bytes, record.value.nsems, images.ctx.order));
            let text =
                format!("{}, {} values: {}", who(&record.value.desc), record.value.nsems, values.unwrap_or_default());
            facts.push((format!("semaphores {}", record.value.desc.id), Text::from(text)));
        }
    }
    for record in images.ipc_msg.get(&key).into_iter().flat_map(|records| &records.records) {
        let text = format!(
            "{}, {} messages, at most {} bytes",
            who(&record.value.desc),
            record.value.qnum,
            record.value.qbytes
        );
        facts.push((format!("message queue {}", record.value.desc.id), Text::from(text)));
    }
}

fn u16s(bytes: &[u8], count: u32, order: ByteOrder) -> String {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let values = bytes.chunks_exact(2).take(count.min(256)).map(|pair| {
        let pair = [pair[0], pair[1]];
        match order {
            ByteOrder::Little => u16::from_le_bytes(pair),
            ByteOrder::Big => u16::from_be_bytes(pair),
        }
        .to_string()
    });
    values.collect::<Vec<_>>().join(" ")
}
