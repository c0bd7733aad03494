//! What may be asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::checkpoint::memory_map::VmaKind;
use crate::memory::search::{Encoding, Source};

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
    /// The image that the containers started from, for the window: a directory, a tar of it, an OCI or docker archive
    #[arg(long, value_name = "IMAGE")]
    pub rootfs: Option<PathBuf>,
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
    /// Memory of a process: hex dump, or its bytes
    Memory(MemoryArgs),
    /// Find bytes in memory, queues and files
    Search(SearchArgs),
    /// Find bytes in many archives, here or on Kubernetes
    Hunt(Box<super::hunt_args::HuntArgs>),
    /// Printable strings of memory, with their addresses
    Strings(StringsArgs),
    /// What is different between two checkpoints of a container
    Compare(CompareArgs),
    /// Let a checkpoint go on in a sealed virtual machine
    Sandbox(super::sandbox_args::SandboxArgs),
    /// Freeze containers on nodes, and fetch the archives
    Acquire(Box<super::acquire_args::AcquireArgs>),
    /// Completions for a shell, on standard output
    Completions(CompletionsArgs),
    /// Manual pages, into a directory
    Man(ManArgs),
}

/// `compare`
#[derive(Debug, Args)]
#[command(after_help = "\
Tells processes, descriptors, maps, changed pages, sockets and files of the root file
system that differ. Of an archive with several checkpoints the last one counts.

Examples:
  cryoscope compare before.tar after.tar
  cryoscope sandbox run before.tar --rootfs image.tar --for 1m --checkpoint-to after.tar
      prints the same when it has ended
  cryoscope compare before.tar after.tar --json | jq -r '.files.added[]'")]
pub struct CompareArgs {
    /// The earlier archive
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The later one
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
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
      every connection
  cryoscope inspect 3.tar --parent 2.tar --parent 1.tar
      a checkpoint that holds only what changed since the one before")]
pub struct InspectArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Earlier checkpoints.
    #[command(flatten)]
    pub parents: Parents,
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

/// Checkpoints that this one was taken on top of.
#[derive(Clone, Debug, Default, Args)]
pub struct Parents {
    /// An earlier checkpoint (archive or directory) that this one was taken on top of, where the archive does not hold
    /// it; of a chain, give the nearest first
    #[arg(long, value_name = "PATH")]
    pub parent: Vec<PathBuf>,
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
    /// Earlier checkpoints.
    #[command(flatten)]
    pub parents: Parents,
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

/// Which memory of processes.
#[derive(Clone, Debug, Default, Args)]
pub struct Maps {
    /// Only maps with this in their name, as /proc/PID/maps has it: libc, memfd, heap
    #[arg(long, value_name = "SUBSTR")]
    pub map: Option<String>,
    /// Only maps with these permissions: letters that must be there, - at a place that must be empty
    #[arg(long, value_name = "rwx", value_parser = parse_perms, allow_hyphen_values = true)]
    pub perms: Option<String>,
    /// Only maps of these kinds
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = parse_kind)]
    pub kind: Vec<String>,
}

/// Files of the container that are not in the checkpoint.
#[derive(Clone, Debug, Default, Args)]
pub struct Base {
    /// The image that the container started from: a directory, a tar of it, an OCI or docker archive. Clean pages of
    /// mapped files are read from it, where path, size and build id agree
    #[arg(long, value_name = "IMAGE")]
    pub rootfs: Option<PathBuf>,
}

/// `memory`
#[derive(Debug, Args)]
#[command(after_help = "\
What is not in the checkpoint is said in the dump, and is a hole in a file. With --range a file holds exactly that range; \
without, the maps one behind the other, and the table on standard output says which is where.

Examples:
  cryoscope memory checkpoint.tar --pid 1 --range 0x7f7a0835d000..0x7f7a0835e000
      one page
  cryoscope memory checkpoint.tar --pid 7 --map '[heap]' | less
  cryoscope memory checkpoint.tar --pid 1 --perms rwx --raw -o injected.bin
      all memory that is writable and executable, as a sparse file
  cryoscope memory checkpoint.tar --pid 1 --core -o core.1 && gdb -c core.1
      all of it with the registers of every thread, for a debugger
  cryoscope memory checkpoint.tar --pid 1 --stacks --rootfs image.tar
      where every thread stands, and who called
  cryoscope memory checkpoint.tar --pid 8 --disassemble --range 0x401000+80
  cryoscope memory checkpoint.tar --pid 8 --carve
      programs and libraries in its memory
  cryoscope memory checkpoint.tar --pid 8 --carve --kind memfd,anon-private -o carved && readelf -lW carved/*
      rebuilds those that no file on disk backs; carved/carved.jsonl tells what is missing in each
  cryoscope memory checkpoint.tar --parent pre-checkpoint.tar --pid 1 --map '[heap]'
      with the pages that had not changed since the pre-dump")]
pub struct MemoryArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Earlier checkpoints.
    #[command(flatten)]
    pub parents: Parents,
    /// The process, by its number inside the container
    #[arg(long, value_name = "N")]
    pub pid: u32,
    /// Only these addresses, in hex: A..B, A-B as in /proc/PID/maps, or A+LENGTH
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    pub range: Option<(u64, u64)>,
    /// Which maps.
    #[command(flatten)]
    pub maps: Maps,
    /// Clean pages of files.
    #[command(flatten)]
    pub base: Base,
    /// The bytes themselves
    #[arg(long)]
    pub raw: bool,
    /// A core file of the process (x86-64 and AArch64), sparse
    #[arg(long, requires = "output", conflicts_with_all = ["raw", "range", "map", "perms", "kind"])]
    pub core: bool,
    /// Instructions (x86 and AArch64) instead of bytes
    #[arg(long, requires = "range", conflicts_with_all = ["raw", "core", "output"])]
    pub disassemble: bool,
    /// The stack of every thread (x86-64 and AArch64)
    #[arg(long, conflicts_with_all = ["raw", "core", "disassemble", "range", "map", "perms", "kind", "output"])]
    pub stacks: bool,
    /// The programs and libraries that lie in memory, wherever they do: lists them, and with -o DIR rebuilds their files
    #[arg(long, conflicts_with_all = ["raw", "core", "disassemble", "stacks"])]
    pub carve: bool,
    /// File to write; with --raw a sparse one; with --carve a directory
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    pub force: bool,
}

/// What stands instead of PATTERN.
#[cfg(feature = "yara")]
const PATTERNLESS: [&str; 3] = ["secrets", "also", "yara"];
#[cfg(not(feature = "yara"))]
const PATTERNLESS: [&str; 2] = ["secrets", "also"];
/// Of which one can be asked for.
#[cfg(feature = "yara")]
const KINDS_OF_PATTERN: [&str; 6] = ["fixed", "regex", "hex", "value", "secrets", "yara"];
#[cfg(not(feature = "yara"))]
const KINDS_OF_PATTERN: [&str; 5] = ["fixed", "regex", "hex", "value", "secrets"];

/// `search`
#[derive(Debug, Args)]
#[command(after_help = "\
Memory is searched by addresses: a match may cross the border of two pages that are neighbours in the address space, and \
never joins pages that are neighbours only in the archive. A match has at most 4096 bytes. Memory that several processes \
map is told once for each of them. Regular expressions are over bytes: . is any byte, \\w is ASCII, (?u) turns Unicode on.

Sources: memory, pipe (terminals too), socket, ghost (deleted files that were open), tmpfs (/dev/shm too), memfd and shm \
(where memory is searched as well: what no process maps of them), rootfs (changed files, volumes), metadata, image \
(CRIU's own records).

Examples:
  cryoscope search checkpoint.tar 'BEGIN RSA PRIVATE KEY'
  cryoscope search checkpoint.tar --regex 'https?://[a-z0-9./-]+' --pid 1 --json | jq -r .match
  cryoscope search checkpoint.tar --hex '7f 45 4c 46 ?? 01' --kind anon-private,heap,stack
      programs in memory that no file backs
  cryoscope search checkpoint.tar --value 0x7f7a0835d04d
      who points there
  cryoscope search checkpoint.tar --secrets
      keys, tokens, private keys, connection strings, password hashes
  cryoscope search checkpoint.tar --yara rules/*.yar
      YARA rules: memory process by process, queues and recovered files one by one

Exit codes: 0 found, 1 nothing found, 2 the request or the input was wrong.")]
#[command(group(clap::ArgGroup::new("what").args(KINDS_OF_PATTERN)))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct SearchArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Earlier checkpoints.
    #[command(flatten)]
    pub parents: Parents,
    /// What to find
    #[arg(value_name = "PATTERN", required_unless_present_any = PATTERNLESS, conflicts_with = "secrets", allow_hyphen_values = true)]
    pub pattern: Option<OsString>,
    /// One more pattern of the same kind; may be given often
    #[arg(long = "also", short = 'e', value_name = "PATTERN", conflicts_with = "secrets", allow_hyphen_values = true)]
    pub also: Vec<OsString>,
    /// PATTERN is exactly these bytes (the default)
    #[arg(long, short = 'F')]
    pub fixed: bool,
    /// PATTERN is a regular expression over bytes
    #[arg(long)]
    pub regex: bool,
    /// PATTERN is bytes in hex, ? for any digit
    #[arg(long)]
    pub hex: bool,
    /// PATTERN is a number as it lies in memory: a pointer, or 443u16, 443u16be, -1i32
    #[arg(long)]
    pub value: bool,
    /// Everything that looks like a secret, instead of PATTERN
    #[arg(long)]
    pub secrets: bool,
    /// Every match of every YARA rule in these files that holds, instead of PATTERN
    #[cfg(feature = "yara")]
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["pattern", "also", "utf16", "ignore_case"])]
    pub yara: Vec<PathBuf>,
    /// PATTERN is text, stored as UTF-16 (little endian)
    #[arg(long, conflicts_with_all = ["regex", "hex", "value", "secrets"])]
    pub utf16: bool,
    /// Letters in either case
    #[arg(long, short, conflicts_with_all = ["hex", "value", "secrets"])]
    pub ignore_case: bool,
    /// Only what belongs to this process: its memory, queues and files that it has open
    #[arg(long, value_name = "N")]
    pub pid: Option<u32>,
    /// Which maps; leaves memory as the only source.
    #[command(flatten)]
    pub maps: Maps,
    /// Clean pages of files.
    #[command(flatten)]
    pub base: Base,
    /// Only these sources
    #[arg(long = "in", value_name = "SOURCE", value_delimiter = ',')]
    pub sources: Vec<Source>,
    /// Bytes to show before and behind each match [default: 32]
    #[arg(long, short = 'C', value_name = "N", value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    pub context: Option<u32>,
    /// Stop after so many
    #[arg(long, short, value_name = "N")]
    pub max_count: Option<u64>,
    /// Only how many there are
    #[arg(long, short)]
    pub count: bool,
}

/// `strings`
#[derive(Debug, Args)]
#[command(after_help = "\
A string longer than 4096 bytes comes in pieces.

Examples:
  cryoscope strings checkpoint.tar --pid 1 --min-length 12 | grep -i passw
  cryoscope strings checkpoint.tar --encoding utf8,utf16le --map '[heap]'
  cryoscope strings checkpoint.tar --in ghost,memfd --json | jq -r .string")]
pub struct StringsArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Earlier checkpoints.
    #[command(flatten)]
    pub parents: Parents,
    /// Only this process, by its number inside the container
    #[arg(long, value_name = "N")]
    pub pid: Option<u32>,
    /// Fewest letters of a string
    #[arg(long, short = 'n', value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub min_length: u16,
    /// How letters are stored
    #[arg(long, value_name = "ENCODING", value_delimiter = ',', default_value = "ascii,utf16le")]
    pub encoding: Vec<Encoding>,
    /// Which maps.
    #[command(flatten)]
    pub maps: Maps,
    /// Clean pages of files.
    #[command(flatten)]
    pub base: Base,
    /// Only these sources, as `search` has them
    #[arg(long = "in", value_name = "SOURCE", value_delimiter = ',', default_value = "memory")]
    pub sources: Vec<Source>,
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

/// Half-open, both in hex.
fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text}: not a range; give 0x1000..0x2000, 1000-2000 or 0x1000+0x200, in hex");
    let number = |text: &str| {
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        u64::from_str_radix(digits, 16).map_err(|_not_hex| wrong())
    };
    let (start, end) = if let Some((start, end)) = text.split_once("..") {
        (number(start)?, number(end)?)
    } else if let Some((start, len)) = text.split_once('+') {
        let start = number(start)?;
        (start, start.checked_add(number(len)?).ok_or_else(wrong)?)
    } else {
        let (start, end) = text.split_once('-').ok_or_else(wrong)?;
        (number(start)?, number(end)?)
    };
    if start < end { Ok((start, end)) } else { Err(format!("{text}: nothing is in this range")) }
}

fn parse_perms(text: &str) -> Result<String, String> {
    let is_right = (1..=4).contains(&text.len()) && text.chars().all(|c| "rwxsp-".contains(c));
    is_right
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text}: not permissions; give letters of rwx, s or p, or r-xp"))
}

fn parse_kind(text: &str) -> Result<String, String> {
    let known = || VmaKind::ALL.map(VmaKind::word).join(", ");
    let found = VmaKind::ALL.into_iter().any(|kind| kind.word() == text);
    if found { Ok(text.to_owned()) } else { Err(format!("{text}: not a kind of memory; there are {}", known())) }
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
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
    fn ranges_are_hex_in_three_spellings() {
        for text in ["0x1000..0x2000", "1000-2000", "0x1000+1000"] {
            assert_eq!(parse_range(text), Ok((0x1000, 0x2000)), "{text}");
        }
        for wrong in ["", "1000", "2000..1000", "x..y", "1..1", "ffffffffffffffff+2"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
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
