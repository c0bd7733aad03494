//! What may be asked for.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  cryoscope checkpoint.tar
      opens the window on an archive; with --sample, on one that comes with the program
  cryoscope show *.tar
      one line for each archive
  cryoscope inspect checkpoint.tar --json | jq '.processes[].cmdline'
      what ran, for programs

Exit codes: 0 done, 1 nothing found, 2 the request or the input was wrong.";

/// A forensic workstation for container checkpoints.
///
/// Opens what Podman, CRI-O, containerd, Docker, runc, crun and CRIU write, packed or not. Evidence is opened read-only,
/// and nothing in it is executed.
#[derive(Debug, Parser)]
#[command(name = "cryoscope", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_precedence_over_arg = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Options that hold everywhere.
    #[command(flatten)]
    pub global: Global,
    /// What to do; without one, the window opens.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Archives or directories to open in the window
    #[arg(value_name = "ARCHIVE")]
    pub archives: Vec<PathBuf>,
    /// Open the sample that comes with the program in the window
    #[arg(long)]
    pub sample: bool,
}

/// Options that hold everywhere.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options everywhere")]
pub struct Global {
    /// Write JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Colour the text
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// No progress and no notes, only answers and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Directory to unpack compressed archives into [default: $CRYOSCOPE_CACHE_DIR, or the user's cache]
    #[arg(long, global = true, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Most bytes that an archive may unpack to (K, M, G, T: powers of 1024)
    #[arg(long, global = true, value_name = "SIZE", default_value = "64G", value_parser = parse_size)]
    pub max_spool_size: u64,
    /// Most bytes that one byte of a compressed archive may unpack to
    #[arg(long, global = true, value_name = "N", default_value_t = 1000)]
    pub max_ratio: u64,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One table row for each archive
    Show(ShowArgs),
    /// The archives in directories, without unpacking them
    List(ListArgs),
    /// Processes, files, sockets, mounts, memory maps of a checkpoint
    Inspect(InspectArgs),
    /// The image files of a checkpoint, and their records
    Images(ImagesArgs),
    /// Files kept in a checkpoint: changed, deleted, in memory, logs
    Files(FilesArgs),
    /// Completions for a shell, on standard output
    Completions(CompletionsArgs),
    /// Manual pages, into a directory
    Man(ManArgs),
}

/// `show`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope show checkpoint.tar
  cryoscope show --hash *.tar
      with the SHA-256 of each file
  cryoscope show - --json < checkpoint.tar.zst
      from a pipe, for programs: one JSON document for each archive and line")]
pub struct ShowArgs {
    /// Archives or directories; - is standard input
    #[arg(value_name = "ARCHIVE", required = true)]
    pub archives: Vec<PathBuf>,
    /// Compute the SHA-256 of the evidence
    #[arg(long)]
    pub hash: bool,
}

/// Where the kubelet puts checkpoints.
pub const KUBELET_DIR: &str = "/var/lib/kubelet/checkpoints";

/// `list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope list
      what the kubelet of this machine has written
  cryoscope list /srv/evidence /mnt/usb
  cryoscope list --json /srv/evidence | jq -r 'select(.engine == \"CRI-O\") | .evidence.path'")]
pub struct ListArgs {
    /// Directories; subdirectories are not searched
    #[arg(value_name = "DIR", default_value = KUBELET_DIR)]
    pub dirs: Vec<PathBuf>,
}

/// `inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope inspect checkpoint.tar
      the container and its process tree
  cryoscope inspect checkpoint.tar --pid 7 --files --env
      what process 7 had open, and its environment
  cryoscope inspect checkpoint.tar --json | jq '.sockets[] | select(.state == \"ESTABLISHED\")'
      every connection")]
pub struct InspectArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Only this process, by its number inside the container
    #[arg(long, value_name = "N")]
    pub pid: Option<u32>,
    /// Details of processes: ids, links, credentials, limits, threads
    #[arg(long)]
    pub ps: bool,
    /// Open files and locks
    #[arg(long)]
    pub files: bool,
    /// Sockets and networks
    #[arg(long)]
    pub sockets: bool,
    /// Mounts
    #[arg(long)]
    pub mounts: bool,
    /// Memory maps
    #[arg(long)]
    pub maps: bool,
    /// Environments
    #[arg(long)]
    pub env: bool,
    /// Statistics of the dump
    #[arg(long)]
    pub stats: bool,
    /// All of these, and signals, timers, namespaces, cgroups, seccomp filters
    #[arg(long)]
    pub all: bool,
    /// Compute the SHA-256 of the evidence
    #[arg(long)]
    pub hash: bool,
}

/// Which checkpoint of an archive.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Where an archive holds several checkpoints: the directory of its images, or its number
    #[arg(long, value_name = "DIR|N")]
    pub checkpoint: Option<String>,
}

/// `images`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope images checkpoint.tar
      every image file with kind and number of records
  cryoscope images checkpoint.tar pstree.img
      its records, readable, with their offsets
  cryoscope images checkpoint.tar core-1.img --json | jq '.entries[0].tc.comm'
      as crit shows it")]
pub struct ImagesArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Image file, as core-1.img
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// `files`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope files checkpoint.tar
      everything whose content is kept, and what was deleted
  cryoscope files checkpoint.tar cat rootfs:/etc/crontab
  cryoscope files checkpoint.tar extract ghost: memfd: -o out
      all deleted files that were open, and all memfds, into out/ghost and out/memfd")]
pub struct FilesArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// What to do with the files; without it they are listed.
    #[command(subcommand)]
    pub action: Option<FilesAction>,
}

/// What to do with the files of a checkpoint.
#[derive(Debug, Subcommand)]
pub enum FilesAction {
    /// List them (the default)
    #[command(after_help = "\
Examples:
  cryoscope files checkpoint.tar list
  cryoscope files checkpoint.tar list --json | jq -r '.files[] | select(.source == \"ghost\") | .name'")]
    List,
    /// Write one to standard output
    #[command(after_help = "\
Examples:
  cryoscope files checkpoint.tar cat rootfs:/etc/crontab
  cryoscope files checkpoint.tar cat log:dump.log | less")]
    Cat {
        /// Name as listed (source:path), or the path where only one source has it
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Write some into a directory
    #[command(after_help = "\
Examples:
  cryoscope files checkpoint.tar extract rootfs:/etc -o out
      the changed files below /etc, as out/rootfs/etc/...
  cryoscope files checkpoint.tar extract ghost: memfd: log: -o out --force")]
    Extract(ExtractArgs),
}

/// `files extract`
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// Names as listed, directories with what is in them, or `source:` for all of a source
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
    /// Directory to write into; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Give files their permission bits (never set-id) instead of 0600 and 0700
    #[arg(long)]
    pub preserve_mode: bool,
}

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope completions bash > /etc/bash_completion.d/cryoscope
  cryoscope completions zsh > ~/.zfunc/_cryoscope")]
pub struct CompletionsArgs {
    /// Shell
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cryoscope man -o /usr/local/share/man/man1
  cryoscope man -o man && man ./man/cryoscope-inspect.1")]
pub struct ManArgs {
    /// Directory to write into; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text}: not a size; give bytes, or a number with K, M, G or T");
    let text = text.trim().trim_end_matches("iB").trim_end_matches('B');
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_not_a_number| wrong())?;
    number.checked_mul(1 << shift).filter(|size| *size > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(parse_size("64G"), Ok(64 << 30));
        assert_eq!(parse_size("10 MiB"), Ok(10 << 20));
        assert_eq!(parse_size("512"), Ok(512));
        for wrong in ["", "G", "-1", "0", "1e9", "99999999999T"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_help_ends_with_examples() {
        fn check(command: &mut clap::Command) {
            command.build();
            let help = command.render_long_help().to_string();
            let examples = help.rsplit_once("Examples:\n").map(|(_, examples)| examples.to_owned());
            let examples = examples.unwrap_or_else(|| panic!("{} has no examples", command.get_name()));
            assert!(examples.matches("cryoscope ").count() >= 2, "{}", command.get_name());
            command.get_subcommands_mut().for_each(check);
        }
        let mut command = Cli::command();
        command.clone().debug_assert();
        check(&mut command);
    }
}
