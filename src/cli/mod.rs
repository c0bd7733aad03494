//! The command line: one file for each subcommand, and all printing.
//!
//! | file | does |
//! |---|---|
//! | [`args`] | what may be asked for; the text of `--help` |
//! | `context` | opens evidence with the options that hold everywhere |
//! | `progress`, `interrupt` | the bar on standard error, and Ctrl+C |
//! | `show`, `list`, `inspect`, `images`, `files`, `extract`, `memory`, `search`, `strings` | the subcommands |
//! | `hunt`, `hunt_archives`, `hunt_search`, `hunt_output`, `hunt_kubernetes` | searching many archives: which, one of them, its tables, and the job that does it on a cluster; [`hunt_args`] is its help |
//! | `sandbox`, `sandbox_plan`, `sandbox_run` | the bundle, what a restore would do, and running a checkpoint in a machine of its own; [`sandbox_args`] is its help |
//! | `sandbox_handover` | giving a checkpoint to another engine; [`sandbox_handover_args`] is its help |
//! | `acquire`, `acquire_freeze`, `acquire_many`, `custody` | nodes, archives from them, one or many at a time, and what is noted of these; [`acquire_args`] is its help |
//! | `compare` | what is different between two checkpoints |
//! | `carve`, `code` | what `memory` has besides bytes: programs rebuilt, stacks, instructions |
//! | `missing` | sums up what could not be searched |
//! | `json` | JSON that is safe on a terminal |
//! | `generate` | shell completions and manual pages |
//!
//! A subcommand gets a `Context` and writes to the writers in it; it returns an
//! error or not, and [`run`] turns that into one line on standard error and an exit code.
//!
//! # Exit codes
//! 0 done, 1 nothing found (searches), 2 the request or the input was wrong, 130 stopped by Ctrl+C.
//! A reader that closed the pipe is no error. Partial evidence is none either: issues are printed.

mod acquire;
pub mod acquire_args;
mod acquire_freeze;
mod acquire_many;
pub mod args;
mod carve;
mod code;
mod compare;

mod content;
mod context;
mod custody;
mod extract;
mod files;
mod generate;
mod hunt;
mod hunt_archives;
pub mod hunt_args;
mod hunt_buckets;
mod hunt_kubernetes;
mod hunt_output;
mod hunt_search;
mod images;
mod inspect;
mod interrupt;
mod json;
mod list;
mod memory;
mod progress;
mod sandbox;
pub mod sandbox_args;
mod sandbox_handover;
pub mod sandbox_handover_args;
mod sandbox_plan;
mod sandbox_run;
mod search;
mod show;
mod strings;
mod window;

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::base::{Cancelled, escape_controls};
use crate::checkpoint::LoadError;
use crate::evidence::OpenError;

use args::{Cli, Command};
use context::Context;

/// The exit code after Ctrl+C, as shells have it.
const CODE_CANCELLED: u8 = 130;
/// The exit code of a search without a hit.
const CODE_NOT_FOUND: u8 = 1;
/// The exit code of a wrong request or input.
const CODE_WRONG: u8 = 2;

/// Where the streams of the process lead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard output is a terminal, with so many columns.
    pub stdout_width: Option<usize>,
    /// Standard error is a terminal.
    pub stderr: bool,
    /// `NO_COLOR` is set, or the terminal is dumb.
    pub no_color: bool,
}

/// The streams that a run may use.
pub struct Streams<'a> {
    /// Standard input, for `-`; taken once.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// Answers.
    pub out: &'a mut dyn Write,
    /// Error lines and notes.
    pub err: &'a mut dyn Write,
    /// Which of them people look at.
    pub terminals: Terminals,
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("terminals", &self.terminals).finish_non_exhaustive()
    }
}

/// Runs with the arguments and streams of the process.
pub fn main() -> ExitCode {
    interrupt::install();
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let terminals = Terminals {
        stdout_width: io::stdout().is_terminal().then(terminal_width),
        stderr: io::stderr().is_terminal(),
        no_color: is_set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut err = io::stderr();
    let streams = Streams { stdin: Some(Box::new(io::stdin())), out: &mut out, err: &mut err, terminals };
    ExitCode::from(run(std::env::args_os(), streams))
}

/// Columns of the terminal, as the shell tells, or as the terminal does.
fn terminal_width() -> usize {
    // The table crate asks the terminal; it knows no width for a pipe.
    comfy_table::Table::new().width().map_or(80, usize::from)
}

/// Runs a command line; the first argument is the program's name. Returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, mut streams: Streams<'_>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(refused) => {
            let code = print_refusal(&refused, &mut streams);
            if let Some(line) = swapped(&refused, &args) {
                let _ = writeln!(streams.err, "\n{}", escape_controls(&line));
            }
            return code;
        }
    };
    let done = dispatch(cli, &mut streams).and_then(|code| Ok(streams.out.flush().map(|()| code)?));
    match done {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => 0,
        Err(error) => {
            // What was written so far belongs before the error.
            let _ = streams.out.flush();
            if is_cancelled(&error) {
                let _ = writeln!(streams.err, "cryoscope: stopped");
                return CODE_CANCELLED;
            }
            let _ = write_error(&mut *streams.err, &error);
            CODE_WRONG
        }
    }
}

/// Returns the exit code.
fn dispatch(cli: Cli, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let Some(command) = cli.command else {
        return window::open(&cli.archives, cli.rootfs.as_deref(), cli.sample).map(|()| 0);
    };
    anyhow::ensure!(
        cli.rootfs.is_none(),
        "--rootfs: before a command it is for the window; give it behind the command"
    );
    anyhow::ensure!(!cli.sample, "--sample: is for the window; it goes without a command");
    if let [archive, ..] = &cli.archives[..] {
        anyhow::bail!("{}: stands before the command; put archives behind it", archive.display());
    }
    let mut context = Context::new(&cli.global, streams);
    match command {
        Command::Show(args) => show::run(&args, &mut context),
        Command::List(args) => list::run(&args, &mut context),
        Command::Inspect(args) => inspect::run(&args, &mut context),
        Command::Images(args) => images::run(&args, &mut context),
        Command::Files(args) => files::run(&args, &mut context),
        Command::Memory(args) => memory::run(&args, &mut context),
        Command::Search(args) => {
            let is_found = search::run(&args, &mut context)?;
            return Ok(if is_found { 0 } else { CODE_NOT_FOUND });
        }
        Command::Hunt(args) => {
            let is_found = hunt::run(&args, &mut context)?;
            return Ok(if is_found { 0 } else { CODE_NOT_FOUND });
        }
        Command::Strings(args) => strings::run(&args, &mut context),
        Command::Compare(args) => compare::run(&args, &mut context),
        Command::Sandbox(args) => sandbox::run(&args, &mut context),
        Command::Acquire(args) => acquire::run(*args, &mut context),
        Command::Completions(args) => generate::completions(&args, &mut context),
        Command::Man(args) => generate::man(&args, &mut context),
    }
    .map(|()| 0)
}

/// What was meant by `cryoscope ARCHIVE COMMAND`, where the command then misses its archive.
fn swapped(refused: &clap::Error, args: &[OsString]) -> Option<String> {
    let [_, archive, command, ..] = args else { return None };
    let is_missing = refused.kind() == clap::error::ErrorKind::MissingRequiredArgument;
    let (archive, command) = (archive.to_string_lossy(), command.to_string_lossy());
    let is_command = |word: &str| Cli::command().find_subcommand(word).is_some();
    (is_missing && !archive.starts_with('-') && !is_command(&archive) && is_command(&command))
        .then(|| format!("The archive stands behind the command: cryoscope {command} {archive}"))
}

/// Help and version go to standard output with code 0, the rest to standard error.
fn print_refusal(refused: &clap::Error, streams: &mut Streams<'_>) -> u8 {
    let is_help = refused.exit_code() == 0;
    let terminals = streams.terminals;
    let is_coloured = !terminals.no_color && if is_help { terminals.stdout_width.is_some() } else { terminals.stderr };
    let text = refused.render();
    let text = if is_coloured { text.ansi().to_string() } else { text.to_string() };
    let out = if is_help { &mut *streams.out } else { &mut *streams.err };
    let _ = write!(out, "{text}").and_then(|()| out.flush());
    if is_help { 0 } else { CODE_WRONG }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Cancelled>())
}

/// The line of an error.
fn write_error(err: &mut dyn Write, error: &anyhow::Error) -> io::Result<()> {
    let line = format!("{error:#}{}", hint(error));
    writeln!(err, "cryoscope: {}", escape_controls(&line))
}

/// The option that does what the message advises.
fn hint(error: &anyhow::Error) -> &'static str {
    let open = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(LoadError::Open(open)) => Some(open),
        _ => cause.downcast_ref::<OpenError>(),
    });
    match open {
        Some(OpenError::TooLarge { .. }) => " (--max-spool-size)",
        Some(OpenError::RatioTooHigh { .. }) => " (--max-ratio)",
        Some(OpenError::DiskFull { .. } | OpenError::CacheDir { .. } | OpenError::NoCacheDir) => " (--cache-dir)",
        _ => "",
    }
}
