//! What may be asked of `cryoscope acquire`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::acquire::Address;
use crate::acquire::selector::Selector;

/// `acquire`
#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true)]
#[command(after_help = "\
NODE CONTAINER alone freezes the container and fetches the archive. A container is named by CONTAINER, POD/CONTAINER, \
NAMESPACE/POD/CONTAINER or its id. It goes on running afterwards. What arrives counts as an archive only when its length, \
its SHA-256 and the manifest that the node signed agree; who got it, when and from where is noted.

Examples:
  cryoscope acquire pair node-a:7443 ABCDE-FGHJK-...
      once, with what `cryoscope-agent pair` prints on the node
  cryoscope acquire list node-a
  cryoscope acquire node-a web/app -o evidence --reason 'case 1432'
      freezes a container and fetches the archive
  cryoscope acquire --selector app=web -o evidence
      the same for every such container of every paired node
  cryoscope acquire node-a app --address localhost:7443
      through `kubectl port-forward` or `ssh -L`
  cryoscope acquire verify evidence/*.tar")]
pub struct AcquireArgs {
    /// What to do; without one, NODE CONTAINER are frozen and fetched.
    #[command(subcommand)]
    pub action: Option<AcquireAction>,
    /// A paired node
    #[arg(value_name = "NODE")]
    pub node: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER", requires = "node")]
    pub container: Option<String>,
    /// Every running container with these labels instead: app=web,tier!=test,critical,!canary
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with_all = ["node", "series", "address"])]
    pub selector: Option<Selector>,
    /// With --selector: on these nodes only [default: all that are paired]
    #[arg(long = "on", value_name = "NODE", value_delimiter = ',', requires = "selector")]
    pub on: Vec<String>,
    /// How to freeze, and where the archive goes.
    #[command(flatten)]
    pub freeze: FreezeOptions,
    /// Another way to the node.
    #[command(flatten)]
    pub route: RouteArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum AcquireAction {
    /// Get to know a node, with the code that `cryoscope-agent pair` printed there
    Pair(PairArgs),
    /// Add a node whose certificates your own authority makes
    Add(AddArgs),
    /// The nodes that are known
    Nodes(NodesArgs),
    /// Forget a node, with the key that was made for it
    #[command(after_help = "\
Examples:
  cryoscope acquire forget node-a
  cryoscope acquire forget node-a && cryoscope acquire pair node-a CODE
      after its agent was installed anew")]
    Forget {
        /// A paired node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// The containers of a node
    #[command(after_help = "\
Examples:
  cryoscope acquire list node-a
  cryoscope acquire list node-a --json | jq -r '.containers[] | select(.state == \"frozen\") | .name'")]
    List(OnNode),
    /// Freeze a container and fetch the archive
    Freeze(FreezeArgs),
    /// Fetch an archive that waits on a node, or the rest of one
    Pull(PullArgs),
    /// The archives that wait on a node
    #[command(after_help = "\
Examples:
  cryoscope acquire archives node-a
  cryoscope acquire archives node-a --json | jq -r '.archives[].id'")]
    Archives(OnNode),
    /// Keep an archive on its node when room is needed there
    #[command(after_help = "\
Examples:
  cryoscope acquire keep node-a ARCHIVE
  cryoscope acquire keep node-a ARCHIVE --off
      it may be removed again, as the others, the oldest first")]
    Keep {
        /// Which node, and the way to it.
        #[command(flatten)]
        on: OnNode,
        /// The archive's id
        #[arg(value_name = "ARCHIVE")]
        archive: String,
        /// Keep it no longer
        #[arg(long)]
        off: bool,
    },
    /// Delete an archive on its node, where the operator allows that
    #[command(after_help = "\
What is here, and the note of how it came, stays.

Examples:
  cryoscope acquire pull node-a ARCHIVE -o evidence && cryoscope acquire delete node-a ARCHIVE
  cryoscope acquire archives node-a --json | jq -r '.archives[].id' | xargs -n1 cryoscope acquire delete node-a")]
    Delete {
        /// Which node, and the way to it.
        #[command(flatten)]
        on: OnNode,
        /// The archive's id
        #[arg(value_name = "ARCHIVE")]
        archive: String,
    },
    /// What a node is doing and has done
    #[command(after_help = "\
Examples:
  cryoscope acquire jobs node-a
  cryoscope acquire jobs node-a --json | jq '.jobs[] | select(.state == \"failed\") | .problem'")]
    Jobs(OnNode),
    /// Ask a job on a node to stop; a runtime that is cut off may leave its container frozen
    #[command(after_help = "\
Examples:
  cryoscope acquire jobs node-a
  cryoscope acquire stop node-a JOB")]
    Stop {
        /// Which node, and the way to it.
        #[command(flatten)]
        on: OnNode,
        /// The job's id
        #[arg(value_name = "JOB")]
        job: String,
    },
    /// criu's log of an archive
    #[command(after_help = "\
Examples:
  cryoscope acquire log node-a ARCHIVE | less
  cryoscope acquire log node-a ARCHIVE | grep Error")]
    Log {
        /// Which node, and the way to it.
        #[command(flatten)]
        on: OnNode,
        /// The archive's id
        #[arg(value_name = "ARCHIVE")]
        archive: String,
    },
    /// What a node's agent did, and for whom
    #[command(after_help = "\
Examples:
  cryoscope acquire audit node-a
  cryoscope acquire audit node-a --after 1200 --json | jq -c '.entries[]'")]
    Audit {
        /// Which node, and the way to it.
        #[command(flatten)]
        on: OnNode,
        /// Only entries behind this number
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
    },
    /// The image that a container started from, as a tar for --rootfs
    #[command(after_help = "\
Examples:
  cryoscope acquire rootfs node-a web/app -o image.tar
  cryoscope acquire rootfs node-a web/app -o image.tar && cryoscope sandbox run checkpoint.tar --rootfs image.tar")]
    Rootfs {
        /// Which node, and the way to it.
        #[command(flatten)]
        on: OnNode,
        /// The container
        #[arg(value_name = "CONTAINER")]
        container: String,
        /// File to write
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Whether archives still are what came from their nodes
    Verify(VerifyArgs),
}

/// Another way to a node than the one that is kept.
#[derive(Clone, Debug, Default, Args)]
pub struct RouteArgs {
    /// Connect here instead: the near end of a tunnel; the node still has to show its own certificate
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<Address>,
    /// Through this proxy, as http://proxy:3128, https://proxy or socks5h://proxy:1080, which resolves the name of the node
    /// [default: as paired, or as HTTPS_PROXY or ALL_PROXY says]
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
}

/// A node and the way to it.
#[derive(Clone, Debug, Args)]
pub struct OnNode {
    /// A paired node
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Another way to it.
    #[command(flatten)]
    pub route: RouteArgs,
}

/// `acquire pair`
#[derive(Debug, Args)]
#[command(after_help = "\
The code holds a secret that is good once and for minutes, and enough of the agent's certificate to know it by: nobody in \
between is told the secret. The key that is made here never leaves this machine.

Examples:
  cryoscope acquire pair node-a ABCDE-FGHJK-LMNPQ-RSTUV-WXYZ2-34567-89ABC-DEFGH
  cryoscope acquire pair localhost:7443 CODE --name node-a
      through `kubectl port-forward`")]
pub struct PairArgs {
    /// Where the agent listens: HOST or HOST:PORT
    #[arg(value_name = "ADDRESS")]
    pub address: Address,
    /// What `cryoscope-agent pair` printed; case, dashes and spaces do not matter
    #[arg(value_name = "CODE")]
    pub code: String,
    /// What to call the node here [default: as it calls itself]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Through this proxy, now and later: http, https, socks5h, socks5, socks4a or socks4
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
}

/// `acquire add`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope acquire add node-a node-a.example:7443 --ca ca.crt --cert analyst.crt --key analyst.key
  cryoscope acquire add node-a localhost:7443 --server-name node-a.example --ca ca.crt --cert a.crt --key a.key")]
pub struct AddArgs {
    /// What to call the node here
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where the agent listens: HOST or HOST:PORT
    #[arg(value_name = "ADDRESS")]
    pub address: Address,
    /// The authority that signed the agent's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// This workstation's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Name in the agent's certificate [default: the host of ADDRESS]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Through this proxy, now and later: http, https, socks5h, socks5, socks4a or socks4
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
}

/// `acquire nodes`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope acquire nodes
      asks each whether it answers
  cryoscope acquire nodes --offline --json | jq -r .fingerprint")]
pub struct NodesArgs {
    /// Ask none of them
    #[arg(long)]
    pub offline: bool,
}

/// How to freeze, and where the archive goes.
#[derive(Clone, Debug, Args)]
pub struct FreezeOptions {
    /// Directory for the archive; made if it is not there
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// How long the runtime may take; one that is cut off may leave its container frozen [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub timeout: Option<Duration>,
    /// For the manifest and the node's audit log: a case number
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// So many checkpoints, one after another
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub series: Option<u32>,
    /// From the beginning of one to that of the next, at least
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time, requires = "series")]
    pub every: Duration,
    /// Processes and their memory by way of /proc, where no checkpoint can be made
    #[arg(long)]
    pub collect: bool,
    /// They stand still meanwhile, as for a checkpoint: memory is of one moment, and there are registers
    #[arg(long, requires = "collect")]
    pub hold: bool,
}

/// `acquire freeze`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope acquire freeze node-a web/app -o evidence --reason 'case 1432'
  cryoscope acquire freeze node-a app -o evidence --series 10 --every 30s
      ten checkpoints, to see what changes
  cryoscope acquire freeze node-a app -o evidence --json | jq -r 'select(.event == \"done\") | .path'")]
pub struct FreezeArgs {
    /// Which node, and the way to it.
    #[command(flatten)]
    pub on: OnNode,
    /// The container: CONTAINER, POD/CONTAINER, NAMESPACE/POD/CONTAINER or its id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// How to freeze, and where the archive goes.
    #[command(flatten)]
    pub options: FreezeOptions,
}

/// `acquire pull`
#[derive(Debug, Args)]
#[command(after_help = "\
What has arrived is in NAME.part until all of it has; the same command goes on from there, also after a crash.

Examples:
  cryoscope acquire pull node-a ARCHIVE -o evidence
  cryoscope acquire pull node-a ARCHIVE --to evidence/suspect.tar --json")]
pub struct PullArgs {
    /// Which node, and the way to it.
    #[command(flatten)]
    pub on: OnNode,
    /// The archive's id, as `cryoscope acquire archives NODE` lists it
    #[arg(value_name = "ARCHIVE")]
    pub archive: String,
    /// Directory for the archive, under the node's name for it
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// File for the archive
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub to: Option<PathBuf>,
}

/// `acquire verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Compares length and SHA-256 with the manifest that the node signed, and notes that somebody looked.

Examples:
  cryoscope acquire verify evidence/checkpoint.tar
  cryoscope acquire verify --json evidence/*.tar | jq -c 'select(.is_good | not)'")]
pub struct VerifyArgs {
    /// Archives
    #[arg(value_name = "ARCHIVE", required = true)]
    pub archives: Vec<PathBuf>,
}

/// `90`, `90s`, `5m`, `2h`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text}: not a time; give seconds, or a number with s, m or h");
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    let number: u32 = digits.trim().parse().map_err(|_not_a_number| wrong())?;
    let seconds = u64::from(number) * factor;
    if seconds <= u64::from(u32::MAX) { Ok(Duration::from_secs(seconds)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let check = |text: &str, seconds: u64| assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        check("90", 90);
        check("30s", 30);
        check("5m", 300);
        check("2h", 7200);
        for wrong in ["", "s", "-1", "1d", "4294967295h", "1.5s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
