//! What will probably fail, what is left out, and what the restored processes will notice.

use serde::{Deserialize, Serialize};

use crate::checkpoint::namespaces::NsKind;
use crate::checkpoint::{Checkpoint, Socket};
use crate::decode::Arch;

use super::Tcp;
use super::files::NeededFiles;

/// One thing to know before the restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// How bad it is.
    pub weight: Weight,
    /// What, in a sentence without a period.
    pub what: String,
    /// What can be done about it; empty where nothing can.
    pub hint: String,
}

/// How bad a concern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// The restore fails.
    Fatal,
    /// The restore may fail, or processes may crash afterwards.
    Risky,
    /// It works, and something is other than it was.
    Changed,
}

/// Processors that the machine can offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The host's own, through KVM.
    Host {
        /// It has AVX-512.
        has_avx512: bool,
    },
    /// QEMU's own, in software: up to AVX2.
    Emulated,
}

/// Everything to know, the worst first.
pub fn concerns(
    checkpoint: &Checkpoint,
    files: &NeededFiles,
    connections: Tcp,
    processor: Processor,
    host: Arch,
) -> Vec<Concern> {
    let mut out = Vec::new();
    let mut add = |weight, what: String, hint: &str| out.push(Concern { weight, what, hint: hint.to_owned() });
    if checkpoint.processes.is_empty() {
        add(Weight::Fatal, "the checkpoint has no processes".into(), "");
    }
    if let Some(arch) = checkpoint.container.arch.filter(|arch| *arch != host) {
        add(
            Weight::Fatal,
            format!("the container ran on {}, and the machine is {}", arch.name(), host.name()),
            "restore it on a machine of that kind",
        );
    }
    let fatal = files.problems.iter().filter(|file| file.problem.is_fatal()).count() + files.left_out;
    if fatal > 0 {
        add(
            Weight::Fatal,
            format!("{fatal} of {} files are missing or others than they were", files.total),
            "give the image that the container started from; the files are listed",
        );
    }
    if checkpoint.namespaces.iter().any(|namespace| namespace.kind == NsKind::Mnt && namespace.is_host) {
        add(
            Weight::Fatal,
            "processes saw the mounts of their host and not those of a container: criu would look for their files in its \
             own root"
                .into(),
            "only containers are restored yet",
        );
    }
    if !checkpoint.parents.is_empty() {
        add(
            Weight::Fatal,
            format!("pages lie in earlier checkpoints ({}), which criu is not given", checkpoint.parents.join(", ")),
            "only a checkpoint that stands alone is restored yet",
        );
    }
    let zeros = super::make::placeholders(checkpoint).len();
    if zeros > 0 {
        add(
            Weight::Changed,
            format!("{zeros} open files whose names were deleted are not in the checkpoint and come back as zeros"),
            "their content may still be under another name in the changes of the root file system",
        );
    }
    let programs = super::programs::programs(checkpoint);
    if !programs.is_empty() {
        let run = if programs.len() == 1 { "1 program runs" } else { &format!("{} programs run", programs.len()) };
        let named = programs.iter().take(4).map(|program| program.path.as_str()).collect::<Vec<_>>().join(", ");
        let what = format!("{run} from memory alone (memfd): there will be a file of the same content, {named}");
        add(Weight::Changed, what, "");
    }
    let other = files.problems.len() - files.problems.iter().filter(|file| file.problem.is_fatal()).count();
    if other > 0 {
        add(
            Weight::Risky,
            format!("{other} files have another build id than they had: code that was not changed comes from them"),
            "give the very image that the container started from",
        );
    }
    if !checkpoint.issues.is_empty() {
        add(
            Weight::Risky,
            format!("{} things in the archive could not be read", checkpoint.issues.len()),
            "they are listed by: cryoscope inspect",
        );
    }
    processor_concern(checkpoint, processor, &mut add);
    tcp(checkpoint, connections, &mut add);
    for namespace in
        checkpoint.namespaces.iter().filter(|namespace| namespace.kind == NsKind::User && !namespace.is_host)
    {
        add(Weight::Risky, format!("processes are in a user namespace of their own ({})", namespace.id), "");
    }
    let udp =
        checkpoint.sockets.iter().filter(|socket| socket.proto.starts_with("udp") || socket.proto == "netlink").count();
    if udp > 0 {
        add(Weight::Changed, format!("{udp} sockets come back with empty queues: CRIU does not keep datagrams"), "");
    }
    add(Weight::Changed, "the clock goes on from now, and no address outside of the machine answers".into(), "");
    out.sort_by_key(|concern| concern.weight);
    out
}

fn processor_concern(checkpoint: &Checkpoint, processor: Processor, add: &mut dyn FnMut(Weight, String, &str)) {
    let has_avx512 = match processor {
        Processor::Host { has_avx512 } => has_avx512,
        Processor::Emulated => false,
    };
    let is_used =
        |name: &str| name.starts_with("zmm") || name.strip_prefix('k').is_some_and(|nr| nr.parse::<u8>().is_ok());
    let threads = checkpoint.processes.iter().flat_map(|process| &process.threads);
    let using = threads
        .filter_map(|thread| thread.registers.known())
        .filter(|registers| registers.vector.iter().any(|(name, _)| is_used(name)))
        .count();
    if using > 0 && !has_avx512 {
        add(
            Weight::Risky,
            format!("{using} threads have AVX-512 registers in use, and the machine has none"),
            "restore it on a host with AVX-512 and working KVM",
        );
    }
}

fn tcp(checkpoint: &Checkpoint, tcp: Tcp, add: &mut dyn FnMut(Weight, String, &str)) {
    let ends = connected(checkpoint).count();
    let alone = connected(checkpoint).filter(|socket| socket.peer_file.is_none()).count();
    match tcp {
        Tcp::None => {}
        Tcp::Established => {
            add(Weight::Changed, format!("{ends} ends of TCP connections within the container are kept"), "");
        }
        Tcp::Close => add(
            Weight::Changed,
            format!("{ends} TCP connections come back closed: the peers of {alone} are not in the machine"),
            "",
        ),
    }
}

/// TCP sockets with a peer.
pub(super) fn connected(checkpoint: &Checkpoint) -> impl Iterator<Item = &Socket> {
    let has_peer = |state: &str| !matches!(state, "LISTEN" | "CLOSE" | "UNCONN");
    let tcp = checkpoint.sockets.iter().filter(|socket| socket.proto.starts_with("tcp"));
    tcp.filter(move |socket| socket.state.is_some_and(|state| has_peer(state.0)))
}
