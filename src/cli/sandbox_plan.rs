//! `cryoscope sandbox plan`: what a restore would do, and what speaks against it.

use std::sync::Arc;

use serde::Serialize;

use super::context::Context;
use super::sandbox_args::{PlanArgs, RestoreArgs};
use crate::base::escape_controls;
use crate::checkpoint::Checkpoint;
use crate::evidence::BaseImage;
use crate::report::text::{Align, Cell, Columns, Style, Tone, bytes, plural};
use crate::sandbox::backend::Backend;
use crate::sandbox::container::{self, Layer};
use crate::sandbox::host;
use crate::sandbox::plan::{self, Config, Dangers, Isolation, NeededFiles, Plan, Review, Stream, Weight};

/// Seconds that a machine may run at most, unless told otherwise.
const MAX_SECONDS: u32 = 900;
/// Files that are listed for people; JSON has more.
const SHOWN_FILES: usize = 40;

/// Everything in one document.
#[derive(Serialize)]
struct PlanReport<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    isolation: Isolation,
    /// Of a container: what isolates it, and what of it this machine has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: &'a Vec<Layer>,
    /// A danger is not allowed, or an isolation that there must be is missing.
    refused: bool,
    #[serde(flatten)]
    review: &'a Review,
}

/// What a run or a look at it begins with.
pub(super) struct Prepared {
    pub(super) checkpoint: Arc<Checkpoint>,
    pub(super) base: Option<BaseImage>,
    pub(super) plan: Plan,
    pub(super) review: Review,
}

/// Opens evidence and image, makes the plan and looks it through.
///
/// # Errors
/// They cannot be opened, or a danger is allowed that is not there.
pub(super) fn prepare(args: &RestoreArgs, max_seconds: u32, context: &mut Context<'_>) -> anyhow::Result<Prepared> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    let bar = context.progress();
    let base = args.rootfs.as_ref().map(|path| BaseImage::open(path, &context.options, &bar)).transpose()?;
    drop(bar);
    let config = Config {
        rootfs: args.rootfs.clone(),
        memory_mib: u32::try_from(args.memory >> 20).unwrap_or(u32::MAX).max(256),
        cpus: args.cpus,
        max_seconds,
        network: args.network.unwrap_or_default(),
    };
    let plan = plan::make(&checkpoint, base.as_ref(), &config);
    let review = review(&plan, &checkpoint, base.as_ref(), args.backend, &args.allow)?;
    Ok(Prepared { checkpoint, base, plan, review })
}

pub(super) fn run(args: &PlanArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let Prepared { plan, review, .. } = prepare(&args.restore, MAX_SECONDS, context)?;
    let isolation = args.restore.backend.isolation();
    let layers = match args.restore.backend {
        Backend::Microvm => Vec::new(),
        Backend::Container => container::layers(&container::Facts::probe()),
    };
    let missing = container::essential(&layers).err();
    let refused = missing.is_some() || review.dangers.is_refused(isolation);
    if context.json {
        return context.write_json(&PlanReport { plan: &plan, isolation, layers: &layers, refused, review: &review });
    }
    let style = context.style;
    let out = &mut *context.out;
    writeln!(out, "{}", style.paint(Tone::Strong, "Machine"))?;
    let machine = &plan.machine;
    match isolation {
        Isolation::Namespaces => self::layers(&layers, style, out)?,
        _ => writeln!(
            out,
            "  isolation   a virtual machine of its own: no network device, nothing of this machine shared"
        )?,
    }
    writeln!(
        out,
        "  has         {} MiB of memory, {}",
        machine.memory_mib,
        plural(machine.cpus as usize, "processor", "processors")
    )?;
    match &plan.restore.sink {
        None => writeln!(out, "  network     none: nothing answers but the container itself")?,
        Some(sink) => writeln!(
            out,
            "  network     a sink inside the machine: {} of the container leads to it, at {}",
            escape_controls(&sink.interface),
            escape_controls(&sink.gateways().join(", "))
        )?,
    }
    writeln!(out, "\n{}", style.paint(Tone::Strong, "Root file system"))?;
    rootfs(&plan, &review.files, out)?;
    writeln!(out, "\n{}", style.paint(Tone::Strong, "Handed in"))?;
    handed_in(&plan, style, out)?;
    dangers(&review.dangers, isolation, style, out)?;
    files(&review.files, style, out)?;
    writeln!(out, "\n{}", style.paint(Tone::Strong, "To know"))?;
    for concern in &review.concerns {
        let (word, tone) = match concern.weight {
            Weight::Fatal => ("fails", Tone::Alert),
            Weight::Risky => ("risk", Tone::Alert),
            Weight::Changed => ("other", Tone::Dim),
        };
        writeln!(out, "  {}  {}", style.paint(tone, &format!("{word:5}")), escape_controls(&concern.what))?;
        if !concern.hint.is_empty() {
            writeln!(out, "         {}", style.paint(Tone::Dim, &concern.hint))?;
        }
    }
    if let Some(missing) = missing {
        writeln!(out, "\nRefused: {missing}.")?;
    } else if refused {
        writeln!(out, "\nRefused: dangers are not allowed; each can be, by --allow ID.")?;
    }
    Ok(())
}

/// Looks a checkpoint through, with the dangers that the analyst allows.
///
/// # Errors
/// An id that no danger has.
pub(super) fn review(
    plan: &Plan,
    checkpoint: &Checkpoint,
    base: Option<&BaseImage>,
    backend: Backend,
    allow: &[String],
) -> anyhow::Result<Review> {
    let mut review = host::review(plan, checkpoint, base, backend);
    review.dangers.allow(allow).map_err(|id| {
        anyhow::anyhow!("--allow {id}: there is no such danger; their ids are shown by: cryoscope sandbox plan")
    })?;
    Ok(review)
}

/// What isolates a container.
fn layers(layers: &[Layer], style: Style, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    writeln!(out, "  isolation   namespaces of this machine's kernel: a hole in the kernel is a hole in all of this")?;
    for layer in layers {
        let (word, tone) = if layer.missing.is_none() { ("had", Tone::Dim) } else { ("missing", Tone::Alert) };
        writeln!(out, "    {}  {:18} {}", style.paint(tone, &format!("{word:7}")), layer.id, layer.what)?;
        if let Some(why) = &layer.missing {
            writeln!(out, "                                {why}")?;
        }
    }
    Ok(())
}

fn rootfs(plan: &Plan, files: &NeededFiles, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let rootfs = &plan.rootfs;
    match &rootfs.base {
        Some(base) => writeln!(out, "  base        {}", base.display())?,
        None => writeln!(out, "  base        none: give the image that the container started from with --rootfs")?,
    }
    writeln!(
        out,
        "  changes     {} laid over it, {} taken away",
        plural(rootfs.nr_changed, "path", "paths"),
        plural(rootfs.deleted.len(), "path", "paths")
    )?;
    writeln!(
        out,
        "  needed      {}: {} in the base, {} among the changes, {} missing or others",
        plural(files.total, "file", "files"),
        files.in_base,
        files.in_diff,
        files.problems.len().saturating_add(files.left_out)
    )
}

fn handed_in(plan: &Plan, style: Style, out: &mut dyn std::io::Write) -> anyhow::Result<()> {
    let restore = &plan.restore;
    let mut table = Columns::new(&[("MOUNTPOINT", Align::Left), ("STAND-IN", Align::Left)]);
    for mount in &restore.ext_mounts {
        let stand_in = mount.stand_in.to_string();
        table.row([Cell::from(&*escape_controls(&mount.mountpoint)), Cell::from(stand_in)]);
    }
    for fd in &restore.inherit_fds {
        let stream = match fd.stream {
            Stream::Stdin => "standard input: nothing is ever there to read",
            Stream::Stdout => "standard output: its lines are shown",
            Stream::Stderr => "standard error: its lines are shown",
        };
        table.row([Cell::from(&*escape_controls(&fd.key)), Cell::from(stream)]);
    }
    Ok(table.write(out, style, 2)?)
}

fn dangers(dangers: &Dangers, isolation: Isolation, style: Style, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    if dangers.list.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.paint(Tone::Strong, "Dangers"))?;
    for danger in &dangers.list {
        let refuses = dangers.refusing(isolation).any(|it| it.id == danger.id);
        let word = if danger.allowed {
            style.paint(Tone::Dim, "allowed")
        } else if refuses {
            style.paint(Tone::Alert, "refused")
        } else {
            style.paint(Tone::Dim, "noted  ")
        };
        writeln!(out, "  {word}  {}", style.paint(Tone::Id, &escape_controls(&danger.id)))?;
        writeln!(out, "           {}", escape_controls(&danger.what))?;
        writeln!(out, "           elsewhere: {}; here: {}", danger.rule.attack(), danger.rule.here(isolation))?;
    }
    for (rule, count) in &dangers.left_out {
        writeln!(out, "  {count} more of {}: too many to be allowed", rule.word())?;
    }
    Ok(())
}

fn files(files: &NeededFiles, style: Style, out: &mut dyn std::io::Write) -> anyhow::Result<()> {
    if files.problems.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style.paint(Tone::Strong, "Files that are missing or others"))?;
    let mut table = Columns::new(&[
        ("PATH", Align::Left),
        ("SIZE", Align::Right),
        ("USED AS", Align::Left),
        ("PROBLEM", Align::Left),
        ("BUILD ID", Align::Left),
    ]);
    for file in files.problems.iter().take(SHOWN_FILES) {
        table.row([
            Cell::from(&*escape_controls(&file.path)),
            Cell::from(file.size_bytes.map_or_else(|| "-".to_owned(), bytes)),
            Cell::from(&*escape_controls(&file.used_as.join("; "))),
            Cell::from(&*escape_controls(&file.what)),
            Cell::from(file.build_id.as_deref().unwrap_or("-")),
        ]);
    }
    table.write(out, style, 2)?;
    let more = files.problems.len().saturating_sub(SHOWN_FILES).saturating_add(files.left_out);
    if more > 0 {
        writeln!(out, "  and {more} more: see --json")?;
    }
    Ok(())
}
