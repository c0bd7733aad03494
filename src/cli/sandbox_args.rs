//! What may be asked of `cryoscope sandbox`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::args::{Parents, Which, parse_size};
use super::sandbox_handover_args::HandOverArgs;
use crate::sandbox::backend::Backend;
use crate::sandbox::plan::NetworkMode;
use crate::sandbox::watched::Trace;

/// `sandbox`
#[derive(Debug, Args)]
#[command(after_help = "\
Restoring runs the suspect's code. It runs in a virtual machine that has no network, sees no file of this machine and is \
thrown away; QEMU needs no root for it. With --backend container it runs in namespaces of this machine's kernel instead: \
faster to start without KVM, and weaker.

Examples:
  cryoscope sandbox install
      once, about 50 MB from a Debian mirror
  cryoscope sandbox status
      what is there, and what is missing
  cryoscope sandbox plan checkpoint.tar --rootfs image.tar
      what would run, what is missing, what attacks whoever restores it
  cryoscope sandbox run checkpoint.tar --rootfs image.tar --for 10s --json
  cryoscope sandbox hand-over checkpoint.tar --to oci -o image.tar
      for Podman, CRI-O, containerd or Kubernetes, with their isolation instead")]
pub struct SandboxArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: SandboxAction,
}

/// What to do with the sandbox.
#[derive(Debug, Subcommand)]
pub enum SandboxAction {
    /// Make the bundle: kernel, criu and its helpers, from signed packages of Debian
    Install(InstallArgs),
    /// What is there, and what is missing
    #[command(after_help = "\
Examples:
  cryoscope sandbox status
  cryoscope sandbox status --json | jq -r '.bundle.packages[] | \"\\(.name) \\(.version)\"'")]
    Status,
    /// Remove the bundle
    #[command(after_help = "\
Examples:
  cryoscope sandbox remove
  cryoscope sandbox remove && cryoscope sandbox install
      makes it anew, from the packages of today")]
    Remove,
    /// What a restore would do, and what speaks against it; runs nothing
    Plan(PlanArgs),
    /// Let a checkpoint go on, and watch it
    Run(RunArgs),
    /// Give a checkpoint to Podman, CRI-O, containerd or Kubernetes instead
    HandOver(HandOverArgs),
}

/// `sandbox install`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope sandbox install
  cryoscope sandbox install --mirror http://mirror.example/debian
  cryoscope sandbox install --export sandbox.tar
      for a machine without network, where this installs it:
  cryoscope sandbox install --from sandbox.tar")]
pub struct InstallArgs {
    /// Mirror of Debian to take packages from [default: that of this machine's package sources, else Debian's own]
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    pub mirror: Option<String>,
    /// Install from a file that another machine exported
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Write what is installed into a file for other machines; installs first where nothing is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "mirror"])]
    pub export: Option<PathBuf>,
}

/// `sandbox plan`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope sandbox plan checkpoint.tar --rootfs image.tar
  sudo cryoscope sandbox plan checkpoint.tar --rootfs image.tar --backend container
      which isolation a container would have here, and which not
  cryoscope sandbox plan checkpoint.tar --json | jq -r '.files.problems[] | \"\\(.build_id) \\(.path)\"'
      without the image: which files are missing")]
pub struct PlanArgs {
    /// What is restored.
    #[command(flatten)]
    pub restore: RestoreArgs,
}

/// What is restored, and in what.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Checkpoints before this one.
    #[command(flatten)]
    pub parents: Parents,
    /// The image that the container started from: a directory, a tar of it, an OCI or docker archive
    #[arg(long, value_name = "IMAGE")]
    pub rootfs: Option<PathBuf>,
    /// Restore although of this danger, by the id that the plan shows; can be given again
    #[arg(long, value_name = "ID")]
    pub allow: Vec<String>,
    /// What it runs in: microvm, a virtual machine; or container, namespaces of this machine's kernel, which takes root
    #[arg(long, value_name = "microvm|container", default_value_t = Backend::Microvm)]
    pub backend: Backend,
    /// Memory of the machine
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub memory: u64,
    /// Processors of the machine
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// What can be reached: none, or a sink inside the machine that answers DNS, TCP and HTTP and records [default: none]
    #[arg(long, value_name = "none|sink", value_parser = parse_network)]
    pub network: Option<NetworkMode>,
}

/// `none`, `sink`.
fn parse_network(text: &str) -> Result<NetworkMode, String> {
    match text {
        "none" => Ok(NetworkMode::None),
        "sink" => Ok(NetworkMode::Sink),
        _ => Err("none or sink is wanted; nothing else is offered, since nothing may leave the machine".into()),
    }
}

/// `sandbox run`
#[derive(Debug, Args)]
#[command(after_help = "\
Events are printed as they come, with --json one document a line.

Examples:
  cryoscope sandbox run checkpoint.tar --rootfs image.tar --for 10s
  sudo cryoscope sandbox run checkpoint.tar --rootfs image.tar --backend container
      in a second, where there is no KVM; the kernel is this machine's
  cryoscope sandbox run checkpoint.tar --rootfs image.tar --for 10s --checkpoint-to later.tar
      goes on for ten seconds, and is frozen again
  cryoscope sandbox run checkpoint.tar --rootfs image.tar --network sink --pcap packets.pcap
      names resolve, connections are accepted, all inside the machine
  cryoscope sandbox run checkpoint.tar --rootfs image.tar --trace --json | jq -c 'select(.event == \"call\")'
  printf 'step 100ms\\nstep 100ms\\nend\\n' | cryoscope sandbox run checkpoint.tar --rootfs image.tar --stopped --orders
      two steps of a tenth of a second, and what is there after each
  cryoscope sandbox run checkpoint.tar --rootfs image.tar --for 1m --json | jq -c 'select(.event == \"output\")'")]
pub struct RunArgs {
    /// What is restored.
    #[command(flatten)]
    pub restore: RestoreArgs,
    /// How long it may go on, once restored: 10s, 2m, 1h
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    pub time: Duration,
    /// Once restored, connect to this address inside the container's network and send --send: 127.0.0.1:8088
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub connect: Option<std::net::SocketAddr>,
    /// What --connect sends; \r, \n, \t and \\ are what they are in C
    #[arg(long, value_name = "TEXT", requires = "connect", default_value = "", hide_default_value = true)]
    pub send: String,
    /// When the time is over, take a new checkpoint in the machine and write it here
    #[arg(long, value_name = "FILE")]
    pub checkpoint_to: Option<PathBuf>,
    /// Tell every system call: of all processes, or of those with these pids inside the container and what they start
    #[arg(long, value_name = "PID,…", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_parser = parse_trace)]
    pub trace: Option<Trace>,
    /// Write the packets of the sealed network into a new file, for tcpdump and Wireshark
    #[arg(long, value_name = "FILE", requires = "network")]
    pub pcap: Option<PathBuf>,
    /// Once restored, the processes stand still until an order lets them go on
    #[arg(long, requires = "orders")]
    pub stopped: bool,
    /// Take orders from standard input, one a line: pause, resume, step 200ms, end (as if the time were over), stop
    #[arg(long)]
    pub orders: bool,
}

/// `all`, or pids with commas.
fn parse_trace(text: &str) -> Result<Trace, String> {
    if text == "all" {
        return Ok(Trace::All);
    }
    let pids: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    pids.map(Trace::Processes).map_err(|error| format!("pids with commas are wanted, as 1,7: {error}"))
}

/// `10s`, `2m`, `1h`; a number alone is seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a number with s, m or h is wanted, as 10s".into()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("from 1s to 24h are borne".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("7"), Ok(Duration::from_secs(7)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "0s", "25h", "1d", "-1s", "99999999999999999999s", "10 s"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
