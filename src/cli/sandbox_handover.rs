//! `cryoscope sandbox hand-over`: images, files and commands for other engines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::acquire::pem;
use super::context::Context;
use super::sandbox_handover_args::{Compress, HandOverArgs, Whom};
use crate::base::{certificates, escape, escape_controls};
use crate::checkpoint::Checkpoint;
use crate::report::text::{Tone, bytes};
use crate::sandbox::handover::auth::Credentials;
use crate::sandbox::handover::crictl::{self, MountRow};
use crate::sandbox::handover::image::{self, Image, Packing};
use crate::sandbox::handover::podman::{self, Exposure, Running};
use crate::sandbox::handover::reference::Reference;
use crate::sandbox::handover::registry::Access;
use crate::sandbox::handover::{self, Engine, HandoverError, Origin, pod, registry};
use crate::sandbox::plan::{self, Danger, Dangers, NetworkMode, Plan};

/// Names the shape of the JSON.
const SCHEMA: &str = "cryoscope.hand-over/1";

/// Everything in one document.
#[derive(Default, Serialize)]
struct Report {
    schema: &'static str,
    to: &'static str,
    archive: String,
    /// Who wrote the checkpoint.
    engine: Option<Engine>,
    container: Option<String>,
    runtime: Option<&'static str>,
    /// Files and directories that are written.
    files: Vec<String>,
    image: Option<ImageReport>,
    pushed: Option<PushedReport>,
    /// Stand-ins of crictl.
    mounts: Vec<MountRow>,
    /// The Pod manifest, where no file was asked for.
    manifest: Option<String>,
    /// Lines for a shell, in their order.
    commands: Vec<String>,
    /// The container that Podman restored.
    running: Option<Running>,
    /// What goes wrong otherwise.
    notes: Vec<String>,
    /// What attacks the engine.
    dangers: Vec<Danger>,
    /// What Podman gives of this machine.
    exposures: Vec<Exposure>,
    /// Ids of dangers that the analyst allowed.
    allowed: Vec<String>,
    /// What of the checkpoint was left out.
    issues: Vec<String>,
}

#[derive(Serialize)]
struct ImageReport {
    reference: String,
    /// `oci` or `oci-archive`, as skopeo has it; `None` for one that was pushed only.
    transport: Option<&'static str>,
    manifest_digest: String,
    config_digest: String,
    layer_digest: String,
    layer_bytes: u64,
    /// Of the layer before packing.
    diff_id: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct PushedReport {
    reference: String,
    by_digest: String,
    blobs_sent: usize,
}

pub(super) fn run(args: &HandOverArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let push = check(args)?;
    let access = access(args)?;
    let checkpoint = context.one(&args.archive, &args.which, &super::args::Parents::default())?;
    let mut report = Report {
        schema: SCHEMA,
        archive: checkpoint.outer.name().to_owned(),
        container: checkpoint.container.name.clone(),
        ..Report::default()
    };
    let mut allow = args.allow.clone();
    if args.to == Whom::Podman {
        report.exposures = podman::exposures(&checkpoint, &mut allow);
    }
    let mut dangers = plan::lint(&checkpoint);
    dangers.allow(&allow).map_err(|id| {
        anyhow::anyhow!("--allow {id}: there is no such danger; their ids are shown by: cryoscope sandbox plan")
    })?;
    report.allowed = handover::allowed(&dangers);
    report.allowed.extend(report.exposures.iter().filter(|it| it.allowed).map(|it| it.id.clone()));
    let job = Job { args, checkpoint: &checkpoint, dangers: &dangers, push, access };
    let done = job.hand_over(&mut report, context);
    report.dangers = dangers.list;
    done.map_err(|error| named(error, &args.archive))?;
    if context.json {
        return context.write_json(&report);
    }
    print(args, &report, context)
}

/// Who pushes, and whom the registry is believed to be by.
fn access(args: &HandOverArgs) -> anyhow::Result<Access> {
    /// As many as a system believes, several times over.
    const MAX_AUTHORITIES: usize = 1000;
    let authorities = match &args.ca {
        None => Vec::new(),
        Some(path) => certificates(&pem(path)?, MAX_AUTHORITIES).with_context(|| format!("--ca {}", path.display()))?,
    };
    Ok(Access { credentials: Credentials::from_environment(args.username.as_deref()), authorities })
}

/// What does not go together, before the evidence is opened; the reference to push to.
fn check(args: &HandOverArgs) -> anyhow::Result<Option<Reference>> {
    let push = args.push.as_deref().map(Reference::parse).transpose().context("--push")?;
    let is_asked = |name: &str| anyhow::anyhow!("--to {}: {name}", word(args.to));
    match args.to {
        Whom::Oci if args.output.is_none() && push.is_none() => {
            return Err(is_asked("needs --output, --push or both"));
        }
        Whom::Crictl if args.output.is_none() => return Err(is_asked("needs --output DIR")),
        Whom::Pod if args.image.is_none() && push.is_none() => {
            return Err(is_asked("needs the checkpoint image: --image of one that is there, or --push"));
        }
        Whom::Podman if args.output.is_some() || push.is_some() || args.image.is_some() => {
            return Err(is_asked("takes the archive as it is; --output, --push and --image are for --to oci"));
        }
        _ => {}
    }
    anyhow::ensure!(args.to == Whom::Podman || !args.run, "--run: is for --to podman");
    anyhow::ensure!(
        args.to == Whom::Oci || push.is_none() || args.image.is_none(),
        "--image: the image that is pushed is used"
    );
    Ok(push)
}

fn word(to: Whom) -> &'static str {
    match to {
        Whom::Oci => "oci",
        Whom::Crictl => "crictl",
        Whom::Podman => "podman",
        Whom::Pod => "pod",
    }
}

/// What is wrong with the archive is told with its name.
fn named(error: anyhow::Error, archive: &Path) -> anyhow::Error {
    use HandoverError::{Exposed, NeedsParents, NoEngine, NoPath, OtherEngine, Refused};
    match error.downcast_ref::<HandoverError>() {
        Some(Exposed { .. } | NeedsParents | NoEngine { .. } | NoPath { .. } | OtherEngine { .. } | Refused { .. }) => {
            error.context(archive.display().to_string())
        }
        _ => error,
    }
}

struct Job<'a> {
    args: &'a HandOverArgs,
    checkpoint: &'a Checkpoint,
    dangers: &'a Dangers,
    push: Option<Reference>,
    access: Access,
}

impl Job<'_> {
    fn hand_over(&self, report: &mut Report, context: &Context<'_>) -> anyhow::Result<()> {
        report.to = word(self.args.to);
        match self.args.to {
            Whom::Oci => self.oci(report, context),
            Whom::Crictl => self.crictl(report, context),
            Whom::Pod => self.pod(report, context),
            Whom::Podman => self.podman(report, context),
        }
    }

    fn oci(&self, report: &mut Report, context: &Context<'_>) -> anyhow::Result<()> {
        let image = self.image(self.args.output.as_deref(), report, context)?;
        let engine = image.origin.engine;
        let fits = match engine {
            Engine::Podman => "only Podman restores it: it wrote the checkpoint",
            Engine::CriO => "only CRI-O restores it: it wrote the checkpoint",
            Engine::Containerd => "only containerd restores it: it wrote the checkpoint",
        };
        report.notes.push(fits.to_owned());
        let name = match (&self.args.output, &self.push) {
            (_, Some(push)) => format!("docker://{push}"),
            (Some(_), None) => format!("{}:{}", image.kept.form.transport(), image.kept.path.display()),
            (None, None) => String::new(),
        };
        // The registry of this machine speaks plain HTTP.
        let is_clear = |to: &Reference| self.access.is_clear(to);
        let clear = if self.push.as_ref().is_some_and(is_clear) { " --tls-verify=false" } else { "" };
        report.commands.push(format!("skopeo inspect --raw{clear} {}", crictl::quote(&name)));
        if engine == Engine::Podman {
            report.commands.push(format!("podman pull{clear} {}", crictl::quote(&name)));
            let pulled = self.push.as_ref().map_or(image.reference.clone(), ToString::to_string);
            report.commands.push(podman::line_for_image(&pulled, &image.origin, &self.plan()));
        }
        Ok(())
    }

    /// Writes an image, and pushes it where that was asked for.
    fn image(&self, output: Option<&Path>, report: &mut Report, context: &Context<'_>) -> anyhow::Result<Image> {
        let args = self.args;
        let packing = match args.compress {
            Compress::Gzip => Packing::Gzip,
            Compress::Zstd => Packing::Zstd,
            Compress::None => Packing::None,
        };
        let reference = args.image.clone().or_else(|| self.push.as_ref().map(ToString::to_string));
        let config = image::Config { output, force: args.force, packing, reference };
        let bar = context.progress();
        let image = image::write(self.checkpoint, self.dangers, &config, &context.options, &bar)?;
        self.of(&image.origin, report);
        report.issues.extend(image.issues.iter().map(ToString::to_string));
        let path = image.kept.path.display().to_string();
        report.files.extend(output.is_some().then_some(path));
        report.image = Some(ImageReport {
            reference: image.reference.clone(),
            transport: output.is_some().then_some(image.kept.form.transport()),
            manifest_digest: image.manifest.digest.clone(),
            config_digest: image.config.digest.clone(),
            layer_digest: image.layer.digest.clone(),
            layer_bytes: image.layer.size_bytes,
            diff_id: image.diff_id.clone(),
            annotations: image.annotations.clone(),
        });
        if let Some(push) = &self.push {
            let pushed = registry::push(&image, push, &self.access, &bar)?;
            report.pushed = Some(PushedReport {
                reference: pushed.reference.to_string(),
                by_digest: pushed.reference.with_digest(&pushed.digest),
                blobs_sent: pushed.nr_sent,
            });
        }
        Ok(image)
    }

    /// The image that is used: pushed now, or named.
    fn used_image(&self, report: &mut Report, context: &Context<'_>) -> anyhow::Result<Option<String>> {
        if self.push.is_none() {
            return Ok(self.args.image.clone());
        }
        self.image(None, report, context)?;
        Ok(report.pushed.as_ref().map(|pushed| pushed.by_digest.clone()))
    }

    fn crictl(&self, report: &mut Report, context: &Context<'_>) -> anyhow::Result<()> {
        let Some(output) = &self.args.output else { return Ok(()) };
        // Nothing is pushed for an engine that refuses it, or for files that cannot be written.
        handover::cri_origin(self.checkpoint)?;
        crictl::check_output(self.checkpoint, output, self.args.force)?;
        let image = self.used_image(report, context)?;
        let config = crictl::Config {
            output,
            force: self.args.force,
            node_dir: self.args.node_dir.as_deref(),
            image: image.as_deref(),
        };
        let written = crictl::write(self.checkpoint, &self.plan(), self.dangers, &config)?;
        self.of(&written.origin, report);
        report.files.extend(written.files.iter().map(|path| path.display().to_string()));
        report.mounts = written.mounts;
        report.commands = written.commands;
        report.notes = written.notes;
        Ok(())
    }

    fn pod(&self, report: &mut Report, context: &Context<'_>) -> anyhow::Result<()> {
        handover::cri_origin(self.checkpoint)?;
        if let Some(output) = &self.args.output {
            pod::check_output(self.checkpoint, output, self.args.force)?;
        }
        let image = self.used_image(report, context)?.unwrap_or_default();
        let config = pod::Config { image: &image, node: self.args.node.as_deref(), namespace: &self.args.namespace };
        let manifest = pod::manifest(self.checkpoint, &self.plan(), self.dangers, &config)?;
        self.of(&manifest.origin, report);
        let file = self.args.output.as_ref().map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
        let quoted = crictl::quote(&file);
        report.commands = manifest.commands.iter().map(|line| line.replace("FILE", &quoted)).collect();
        report.notes = manifest.notes;
        match &self.args.output {
            Some(path) => {
                pod::write(self.checkpoint, path, &manifest.text, self.args.force)?;
                report.files.push(path.display().to_string());
            }
            None => report.manifest = Some(manifest.text),
        }
        Ok(())
    }

    fn podman(&self, report: &mut Report, context: &Context<'_>) -> anyhow::Result<()> {
        let restore = podman::command(self.checkpoint, &self.plan(), self.dangers, report.exposures.clone())?;
        self.of(&restore.origin, report);
        report.commands.push(restore.line());
        report.notes.clone_from(&restore.notes);
        if self.args.run {
            report.running = Some(podman::run(&restore, &context.progress())?);
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        // Nothing of the machine's size enters what is used of it.
        let config = plan::Config { rootfs: None, memory_mib: 0, cpus: 0, max_seconds: 0, network: NetworkMode::None };
        plan::make(self.checkpoint, None, &config)
    }

    fn of(&self, origin: &Origin, report: &mut Report) {
        report.engine = Some(origin.engine);
        report.runtime = origin.runtime;
    }
}

fn print(args: &HandOverArgs, report: &Report, context: &mut Context<'_>) -> anyhow::Result<()> {
    for id in &report.allowed {
        context.note(&format!("allowed: {id}"))?;
    }
    for issue in &report.issues {
        context.note(issue)?;
    }
    if let Some(manifest) = &report.manifest {
        return Ok(context.out.write_all(manifest.as_bytes())?);
    }
    let style = context.style;
    let out = &mut *context.out;
    if let Some(image) = &report.image {
        writeln!(out, "{}", style.paint(Tone::Strong, "Image"))?;
        writeln!(out, "  name      {}", escape_controls(&image.reference))?;
        writeln!(out, "  manifest  {}", image.manifest_digest)?;
        writeln!(out, "  layer     {}, {}", image.layer_digest, bytes(image.layer_bytes))?;
    }
    if let Some(pushed) = &report.pushed {
        writeln!(out, "  pushed    {}", pushed.by_digest)?;
    }
    if let Some(running) = &report.running {
        writeln!(out, "{}", style.paint(Tone::Strong, "Restored"))?;
        writeln!(out, "  container {}", running.id)?;
        writeln!(out, "  process   {}, its monitor {}", running.pid, running.monitor_pid)?;
    }
    let output = args.output.as_ref().map(|path| escape(path.as_os_str().as_encoded_bytes()).into_owned());
    if let Some(output) = output.filter(|_| !report.files.is_empty()) {
        writeln!(out, "{}\n  {}", style.paint(Tone::Strong, "Written"), escape_controls(&output))?;
    }
    for (title, lines) in [("Commands", &report.commands), ("To know", &report.notes)] {
        if !lines.is_empty() {
            writeln!(out, "{}", style.paint(Tone::Strong, title))?;
        }
        for line in lines {
            writeln!(out, "  {}", escape_controls(line))?;
        }
    }
    Ok(())
}
