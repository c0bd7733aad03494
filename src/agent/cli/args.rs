//! What may be asked of `cryoscope-agent`; the text of `--help`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::acquire::wire::DEFAULT_PORT;

use super::super::config;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "cryoscope-agent",
    version,
    about = "Freezes containers of this node for Cryoscope, keeps the archives, and serves them to paired workstations",
    after_help = "Examples:\n  cryoscope-agent doctor                  what makes checkpoints fail here, and how to mend it\n  cryoscope-agent serve --spool-limit 20G  the daemon\n  cryoscope-agent pair                    a code that lets one workstation in",
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    #[command(
        after_help = "Examples:\n  cryoscope-agent serve\n  cryoscope-agent serve --listen 10.0.0.7:7443 --name node-a.example --spool-limit 20G --reserve 10G\n  cryoscope-agent serve --kubelet-url https://node-a:10250 --kubelet-ca /etc/kubernetes/pki/ca.crt \\\n      --kubelet-cert client.crt --kubelet-key client.key"
    )]
    Serve(ServeArgs),
    /// Find out what makes checkpoints fail on this node, and how to mend it; exit code 1 when something is missing
    #[command(
        after_help = "Examples:\n  cryoscope-agent doctor\n  cryoscope-agent doctor --json | jq '.checks[] | select(.state != \"fine\")'\n  cryoscope-agent doctor --kubelet-url https://node-a:10250 --kubelet-ca ca.crt --kubelet-token token"
    )]
    Doctor(DoctorArgs),
    /// Print a code that lets one workstation in
    #[command(
        after_help = "Examples:\n  cryoscope-agent pair\n  kubectl -n cryoscope exec ds/cryoscope-agent -- cryoscope-agent pair\n  ssh node-a sudo cryoscope-agent pair --json"
    )]
    Pair(StateArgs),
    /// List the workstations that were paired
    #[command(after_help = "Examples:\n  cryoscope-agent clients\n  cryoscope-agent clients --json")]
    Clients(StateArgs),
    /// Let a workstation in no longer, at once
    #[command(
        after_help = "Examples:\n  cryoscope-agent revoke desk-of-ada\n  cryoscope-agent revoke 5e:1f:… (a SHA-256 fingerprint of a certificate, also one of your own authority)"
    )]
    Revoke(RevokeArgs),
}

/// Of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where archives will wait
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cryoscope-agent/spool")]
    pub spool: PathBuf,
    /// So much is left free on the file system of the spool
    #[arg(long, value_name = "SIZE", default_value = "5G", value_parser = parse_size)]
    pub reserve: u64,
    /// Where the node's files are [default: / or, in a pod, /proc/1/root]
    #[arg(long, value_name = "DIR")]
    pub host_root: Option<PathBuf>,
    /// Whom to ask.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Where keys and clients are kept.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// Keys, clients and audit log
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cryoscope-agent")]
    pub state_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Of `revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Name or SHA-256 fingerprint of the certificate
    pub client: String,
    /// Where clients are kept.
    #[command(flatten)]
    pub state: StateArgs,
}

/// Of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)))]
    pub listen: SocketAddr,
    /// Keys, clients and audit log
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cryoscope-agent")]
    pub state_dir: PathBuf,
    /// Where archives wait; runtimes write into it, so a container must have it under the host's path
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cryoscope-agent/spool")]
    pub spool: PathBuf,
    /// Archives take no more; the oldest that is not kept goes first
    #[arg(long, value_name = "SIZE", default_value = "50G", value_parser = parse_size)]
    pub spool_limit: u64,
    /// So much is left free on the file system of the spool
    #[arg(long, value_name = "SIZE", default_value = "5G", value_parser = parse_size)]
    pub reserve: u64,
    /// Let workstations delete archives
    #[arg(long)]
    pub allow_delete: bool,
    /// Name or address that the certificate is for, besides those of this node (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Let in who has a certificate of this authority, too
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Serve under this certificate chain instead of one of the agent's own authority; turns pairing off
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Take no codes
    #[arg(long)]
    pub no_pairing: bool,
    /// Days that a paired workstation's certificate is good
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub client_days: u32,
    /// Whom to ask.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Whom to ask for checkpoints; variables say the same to `serve` and `doctor`.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Name of this node [default: its host name]
    #[arg(long, env = "CRYOSCOPE_AGENT_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// The kubelet; `none` leaves it out [default: https://127.0.0.1:10250 where there is a kubelet]
    #[arg(long, env = "CRYOSCOPE_AGENT_KUBELET_URL", value_name = "URL", help_heading = "Sources")]
    pub kubelet_url: Option<String>,
    /// Authority of the kubelet's certificate, or that certificate itself
    #[arg(long, env = "CRYOSCOPE_AGENT_KUBELET_CA", value_name = "FILE", help_heading = "Sources")]
    pub kubelet_ca: Option<PathBuf>,
    /// Name in the kubelet's certificate [default: the host of the URL]
    #[arg(long, env = "CRYOSCOPE_AGENT_KUBELET_NAME", value_name = "NAME", help_heading = "Sources")]
    pub kubelet_name: Option<String>,
    /// Client certificate for the kubelet
    #[arg(
        long,
        env = "CRYOSCOPE_AGENT_KUBELET_CERT",
        value_name = "FILE",
        requires = "kubelet_key",
        help_heading = "Sources"
    )]
    pub kubelet_cert: Option<PathBuf>,
    /// Its key
    #[arg(
        long,
        env = "CRYOSCOPE_AGENT_KUBELET_KEY",
        value_name = "FILE",
        requires = "kubelet_cert",
        help_heading = "Sources"
    )]
    pub kubelet_key: Option<PathBuf>,
    /// File with a token for the kubelet [default: the service account's, in a pod]
    #[arg(long, env = "CRYOSCOPE_AGENT_KUBELET_TOKEN", value_name = "FILE", help_heading = "Sources")]
    pub kubelet_token: Option<PathBuf>,
    /// Where the kubelet writes archives
    #[arg(long, env = "CRYOSCOPE_AGENT_CHECKPOINT_DIR", value_name = "DIR", default_value = config::CHECKPOINT_DIR, help_heading = "Sources")]
    pub checkpoint_dir: PathBuf,
    /// Socket of CRI-O or containerd (may be repeated, with commas in the variable); `none` leaves them out [default: the usual ones]
    #[arg(long, env = "CRYOSCOPE_AGENT_CRI", value_delimiter = ',', value_name = "SOCKET", help_heading = "Sources")]
    pub cri: Vec<PathBuf>,
    /// Podman's socket; `none` leaves it out
    #[arg(long, env = "CRYOSCOPE_AGENT_PODMAN", value_name = "SOCKET", default_value = config::PODMAN_SOCKET, help_heading = "Sources")]
    pub podman: PathBuf,
    /// Docker's socket; `none` leaves it out
    #[arg(long, env = "CRYOSCOPE_AGENT_DOCKER", value_name = "SOCKET", default_value = config::DOCKER_SOCKET, help_heading = "Sources")]
    pub docker: PathBuf,
}

/// A number of bytes: `512M`, `20G`, `20GiB`, or without a unit.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().trim_end_matches("iB").trim_end_matches('B').to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err("a size is a number and K, M, G or T, as 20G".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_bad| "a size is a number and K, M, G or T, as 20G".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than any disk has".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_worked_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let n_examples = help.lines().filter(|line| line.starts_with("  ")).count();
            assert!(2 <= n_examples, "{}: {help}", command.get_name());
        }
    }

    #[test]
    fn size_has_a_unit_or_none() {
        assert_eq!([parse_size("20G"), parse_size("1KiB"), parse_size("7")], [Ok(20 << 30), Ok(1024), Ok(7)]);
        for wrong in ["", "G", "1X", "-1", "99999999999T"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
