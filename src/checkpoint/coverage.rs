//! What this checkpoint cannot show, and why. Silence must never read as "clean".

/// One thing that cannot be told from this checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Short name (`process start times`).
    pub what: &'static str,
    /// Why, with numbers where there are any, and what would help.
    pub why: String,
}

use super::container::Layout;
use super::memory_map::VmaKind;
use super::process::Thread;
use super::sockets::Socket;
use super::{Checkpoint, network::NetNamespace};

/// The gaps of one checkpoint, the ones that always hold first.
pub(super) fn gaps(checkpoint: &Checkpoint) -> Vec<Gap> {
    let mut gaps = match checkpoint.container.layout {
        Layout::Collection => of_collection(checkpoint),
        _ => of_criu(),
    };
    memory(checkpoint, &mut gaps);
    sockets(checkpoint, &mut gaps);
    networks(&checkpoint.networks, &mut gaps);
    files(checkpoint, &mut gaps);
    gaps
}

fn of_criu() -> Vec<Gap> {
    vec![
        Gap {
            what: "kernel memory",
            why: "CRIU saves processes, not the kernel: modules, rootkits and hidden processes cannot be seen".into(),
        },
        Gap { what: "process start times", why: "CRIU does not write them down".into() },
        Gap {
            what: "running or sleeping",
            why: "CRIU does not write down what a live task was doing in the kernel".into(),
        },
    ]
}

/// Of what was read out of /proc: see `agent::collect`. Threads that were held have registers.
fn of_collection(checkpoint: &Checkpoint) -> Vec<Gap> {
    let alive = checkpoint.processes.iter().filter(|process| !process.is_zombie());
    let threads: Vec<&Thread> = alive.flat_map(|process| &process.threads).collect();
    let n_without = threads.iter().filter(|thread| thread.registers.known().is_none()).count();
    let mut gaps = vec![Gap {
        what: "kernel memory",
        why: "a collection reads processes, not the kernel: modules, rootkits and hidden processes cannot be seen"
            .into(),
    }];
    if !checkpoint.container.is_held {
        gaps.push(Gap {
            what: "one moment",
            why: "the processes went on while their memory was read: pages are of different moments, and what they hold may be torn"
                .into(),
        });
        gaps.push(Gap { what: "registers", why: "a collection has none, and so no stacks of calls".into() });
    } else if n_without > 0 {
        gaps.push(Gap {
            what: "registers",
            why: format!(
                "{n_without} of {} threads have none: they could not be held, or are not of 64-bit programs of x86; collection.json of this archive says more",
                threads.len()
            ),
        });
    }
    gaps.extend([
        Gap {
            what: "signals, timers, pipes",
            why: "a collection has no pending signals and no timers, and not what is in pipes".into(),
        },
        Gap {
            what: "process start times, running or sleeping",
            why: "they are in the files proc/PID/stat of this archive, and are not taken from there".into(),
        },
        Gap {
            what: "mounts, namespaces, cgroups",
            why: "they are in the files proc/PID/mountinfo and proc/PID/cgroup of this archive, as text only".into(),
        },
    ]);
    gaps
}

fn memory(checkpoint: &Checkpoint, gaps: &mut Vec<Gap>) {
    let (mut clean, mut lazy, mut lost) = (0u64, 0u64, 0u64);
    for object in checkpoint.shared_memory.values() {
        lost = lost.saturating_add(object.pagemap.nr_lost());
    }
    for memory in checkpoint.processes.iter().filter_map(|process| process.memory.known()) {
        for vma in &memory.vmas {
            if matches!(vma.kind, VmaKind::FilePrivate | VmaKind::FileShared) {
                clean += vma.pages.total.saturating_sub(vma.pages.dumped + vma.pages.parent + vma.pages.lazy);
            }
            lazy += vma.pages.lazy;
        }
        lost = lost.saturating_add(memory.pagemap.nr_lost());
    }
    if clean != 0 {
        gaps.push(Gap {
            what: "clean pages of mapped files",
            why: format!("{clean} pages were the same as the file on disk and are not in the dump; the container's image has them"),
        });
    }
    if lazy != 0 {
        gaps.push(Gap {
            what: "lazy pages",
            why: format!("{lazy} pages were left to a page server and are not in the dump"),
        });
    }
    if lost != 0 && checkpoint.container.layout == Layout::Collection {
        gaps.push(Gap {
            what: "pages that were not read",
            why: format!("{lost} pages were there and were not read: beyond the limit, or gone meanwhile"),
        });
    } else if lost != 0 {
        gaps.push(Gap {
            what: "pages of the parent checkpoint",
            why: match checkpoint.parents.last() {
                None => format!("{lost} pages are in an earlier checkpoint, which is not here; open the directory or archive that holds both, or supply it (--parent)"),
                Some(oldest) => format!("{lost} pages are in an earlier checkpoint, and the chain that ends with {oldest} does not have them: it goes on, or is another one"),
            },
        });
    }
}

fn sockets(checkpoint: &Checkpoint, gaps: &mut Vec<Gap>) {
    let sockets: &[Socket] = &checkpoint.sockets;
    if checkpoint.container.layout == Layout::Collection {
        if !sockets.is_empty() {
            gaps.push(Gap {
                what: "queues of sockets",
                why: format!("what {} sockets have received and not yet sent is not in /proc", sockets.len()),
            });
        }
        return;
    }
    let without = sockets
        .iter()
        .filter(|socket| socket.recv_queue.is_none() && !matches!(socket.proto, "tcp" | "tcp6" | "unix"))
        .count();
    if without != 0 {
        gaps.push(Gap {
            what: "queues of datagram sockets",
            why: format!("unread packets of {without} UDP, raw, netlink or packet sockets are not saved by CRIU"),
        });
    }
    let closed = sockets.iter().filter(|socket| socket.was_connecting).count();
    if closed != 0 {
        gaps.push(Gap {
            what: "connections being made",
            why: format!("{closed} sockets were connecting; CRIU stores them as closed, with their destination"),
        });
    }
}

fn networks(networks: &[NetNamespace], gaps: &mut Vec<Gap>) {
    if networks.iter().any(|network| network.external_key.is_some() && network.interfaces.is_empty()) {
        gaps.push(Gap {
            what: "interfaces, routes, packet filters",
            why: "the network namespace belongs to the engine or the pod and was not dumped".into(),
        });
    }
}

fn files(checkpoint: &Checkpoint, gaps: &mut Vec<Gap>) {
    let has_diff = checkpoint.rootfs.archive.is_some();
    // An image that holds a checkpoint says by its annotations which engine made that.
    let layout = match (checkpoint.container.layout, checkpoint.container.engine) {
        (Layout::OciImage, Some("Podman")) => Layout::Podman,
        (Layout::OciImage, Some("CRI-O")) => Layout::CriO,
        (Layout::OciImage, Some("containerd")) => Layout::Containerd,
        (layout, _) => layout,
    };
    match layout {
        Layout::Podman => gaps.push(Gap {
            what: "some modified files",
            why: "Podman packs a modified file only if the machine that checkpoints has a file at the same path: a file missing from the changes is not proof that it is unchanged".into(),
        }),
        Layout::CriO => gaps.push(Gap {
            what: "volumes, /run, /dev/shm",
            why: "CRI-O leaves bind mounts, /dev, /dev/shm, /proc, /run and /sys out of the changes".into(),
        }),
        Layout::Containerd => gaps.push(Gap { what: "volumes", why: "containerd leaves the contents of volumes out".into() }),
        Layout::Docker if has_diff => {
            gaps.push(Gap { what: "volumes", why: "the contents of volumes are not among the changes".into() });
            gaps.push(Gap {
                what: "one moment of the disk",
                why: "what the container changed was read after it went on: a file may be newer than the memory".into(),
            });
        }
        Layout::Docker | Layout::Runc | Layout::Criu | Layout::OciImage | Layout::Collection => {}
    }
    if !has_diff {
        gaps.push(Gap {
            what: "changes of the root file system",
            why: "there is no rootfs-diff.tar with this checkpoint: files on disk are not shown".into(),
        });
    }
    if checkpoint.container.inventory.tcp_close == Some(true) {
        gaps.push(Gap {
            what: "TCP connections",
            why: "the dump was made with tcp-close: established connections are recorded as closed".into(),
        });
    }
}
