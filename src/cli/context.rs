//! What every subcommand needs: options that hold everywhere, streams, and opening evidence.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

use crate::base::{Pid, Progress, escape, escape_controls};
use crate::checkpoint::{self, Checkpoint, Process, SuppliedParent};
use crate::evidence::{BaseImage, Evidence, OpenOptions};
use crate::memory::Memory;
use crate::report::text::Style;

use super::Streams;
use super::args::{Base, ColorChoice, Global, Parents, Which};
use super::json::Escaping;
use super::progress::Bar;

/// Options and streams of one run.
pub(super) struct Context<'a> {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) style: Style,
    pub(super) options: OpenOptions,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
    stdin: Option<Box<dyn Read + Send>>,
    shows_progress: bool,
}

impl<'a> Context<'a> {
    pub(super) fn new(global: &Global, streams: &'a mut Streams<'_>) -> Context<'a> {
        let terminals = streams.terminals;
        let is_coloured = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminals.stdout_width.is_some() && !terminals.no_color,
        };
        Context {
            json: global.json,
            quiet: global.quiet,
            style: Style { is_coloured, width: terminals.stdout_width },
            options: OpenOptions {
                cache_dir: global.cache_dir.clone(),
                max_spool_bytes: global.max_spool_size,
                max_ratio: global.max_ratio,
                ..OpenOptions::default()
            },
            out: &mut *streams.out,
            err: &mut *streams.err,
            stdin: streams.stdin.take(),
            shows_progress: terminals.stderr && !global.quiet,
        }
    }

    /// A bar on standard error when people look at it; silent otherwise, and cancelled by Ctrl+C either way.
    pub(super) fn progress(&self) -> Bar {
        Bar::new(self.shows_progress)
    }

    /// A bar for work that prints while it goes on: none where both would stand on one terminal.
    pub(super) fn progress_while_printing(&self) -> Bar {
        Bar::new(self.shows_progress && self.style.width.is_none())
    }

    /// Whether people look at standard error.
    pub(super) fn shows_progress(&self) -> bool {
        self.shows_progress
    }

    /// The process of this number, or an error that says which there are.
    pub(super) fn process<'c>(&self, checkpoint: &'c Checkpoint, pid: u32) -> anyhow::Result<&'c Process> {
        let found = checkpoint.process(Pid(pid));
        found.ok_or_else(|| {
            let mut pids: Vec<String> = checkpoint.processes.iter().take(20).map(|it| it.pid.to_string()).collect();
            if checkpoint.processes.len() > pids.len() {
                pids.push("…".into());
            }
            let archive = checkpoint.outer.name();
            anyhow::anyhow!("{archive}: pstree.img has no process {pid}; there are: {}", pids.join(" "))
        })
    }

    /// Standard input, the first time.
    pub(super) fn take_stdin(&mut self) -> Option<Box<dyn Read + Send>> {
        self.stdin.take()
    }

    /// Opens evidence; `-` is standard input.
    pub(super) fn evidence(&mut self, path: &Path) -> anyhow::Result<Evidence> {
        let bar = self.progress();
        if path.as_os_str() != "-" {
            return Ok(Evidence::open(path, &self.options, &bar)?);
        }
        let stdin = self.stdin.take();
        let stdin = stdin.ok_or_else(|| anyhow::anyhow!("-: standard input can be read only once"))?;
        Ok(Evidence::open_reader("-", stdin, &self.options, &bar)?)
    }

    /// Opens all checkpoints of an archive or directory; there is at least one.
    pub(super) fn checkpoints(&mut self, path: &Path, parents: &Parents) -> anyhow::Result<Vec<Arc<Checkpoint>>> {
        let evidence = self.evidence(path)?;
        let parents = parents.parent.iter().map(|parent| self.parent(parent).context("--parent"));
        let parents = parents.collect::<anyhow::Result<Vec<_>>>()?;
        let bar = self.progress();
        Ok(checkpoint::load_with_parents(&evidence, &parents, &self.options, &bar)?)
    }

    fn parent(&mut self, path: &Path) -> anyhow::Result<SuppliedParent> {
        let evidence = self.evidence(path)?;
        let bar = self.progress();
        Ok(SuppliedParent::of(&evidence, &self.options, &bar)?)
    }

    /// Opens the one checkpoint of an archive or directory, or the one that was asked for.
    pub(super) fn one(&mut self, path: &Path, which: &Which, parents: &Parents) -> anyhow::Result<Arc<Checkpoint>> {
        let mut checkpoints = self.checkpoints(path, parents)?;
        let archive = path.display();
        let dirs: Vec<String> = checkpoints.iter().map(|it| escape(&it.images_dir).into_owned()).collect();
        let list = || dirs.iter().enumerate().map(|(n, dir)| format!("{} {dir}", n + 1)).collect::<Vec<_>>().join(", ");
        let at = match &which.checkpoint {
            None if checkpoints.len() == 1 => 0,
            None => anyhow::bail!("{archive}: holds several checkpoints, choose one by --checkpoint: {}", list()),
            Some(wanted) => {
                let by_dir = dirs.iter().position(|dir| dir == wanted.trim_matches('/'));
                let by_number = || wanted.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < dirs.len());
                let at = by_dir.or_else(by_number);
                at.ok_or_else(|| anyhow::anyhow!("{archive}: has no checkpoint {wanted}; there are: {}", list()))?
            }
        };
        Ok(checkpoints.swap_remove(at))
    }

    /// Memory of a checkpoint, with clean pages of files from the image that it started from.
    pub(super) fn memory(&mut self, checkpoint: Arc<Checkpoint>, base: &Base) -> anyhow::Result<Memory> {
        let Some(path) = &base.rootfs else { return Ok(Memory::new(checkpoint)) };
        let bar = self.progress();
        let image = BaseImage::open(path, &self.options, &bar).context("--rootfs")?;
        bar.stage("comparing mapped files with the base image");
        let memory = Memory::with_base(checkpoint, &image);
        drop(bar);
        for issue in memory.issues() {
            self.note(&issue.to_string())?;
        }
        Ok(memory)
    }

    /// The SHA-256 of the evidence as delivered.
    pub(super) fn sha256(&self, evidence: &Evidence) -> anyhow::Result<[u8; 32]> {
        let bar = self.progress();
        bar.stage("hashing");
        Ok(evidence.sha256(&bar)?)
    }

    /// Writes one document, indented for people who look at it.
    pub(super) fn write_json(&mut self, document: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer_pretty(Escaping(&mut *self.out), document)?;
        Ok(writeln!(self.out)?)
    }

    /// Writes one document on one line.
    pub(super) fn write_json_line(&mut self, document: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(Escaping(&mut *self.out), document)?;
        Ok(writeln!(self.out)?)
    }

    /// An error after which the command goes on, as a line on standard error.
    pub(super) fn error(&mut self, error: &anyhow::Error) -> io::Result<()> {
        super::write_error(&mut *self.err, error)
    }

    /// A line on standard error, unless quiet.
    pub(super) fn note(&mut self, line: &str) -> io::Result<()> {
        if self.quiet { Ok(()) } else { writeln!(self.err, "cryoscope: {}", escape_controls(line)) }
    }
}
