//! `cryoscope sandbox`: the bundle, and running a checkpoint in it.

use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::sandbox_args::{InstallArgs, SandboxAction, SandboxArgs};
use crate::report::text::bytes as human_size;
use crate::sandbox::bundle::{self, Bundle, BundleError, Manifest, Store};
use crate::sandbox::{microvm, run};

pub(super) fn run(args: &SandboxArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    match &args.action {
        SandboxAction::Install(args) => install(args, context),
        SandboxAction::Status => status(context),
        SandboxAction::Remove => remove(context),
        SandboxAction::Plan(args) => super::sandbox_plan::run(args, context),
        SandboxAction::Run(args) => super::sandbox_run::run(args, context),
        SandboxAction::HandOver(args) => super::sandbox_handover::run(args, context),
    }
}

fn install(args: &InstallArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let store = Store::new(&context.options)?;
    let bar = context.progress();
    let bundle = match (&args.from, &args.export) {
        (Some(from), _) => store.import(from, &bar)?,
        (None, Some(to)) => {
            let bundle = match store.open() {
                Err(BundleError::NotInstalled | BundleError::Damaged { .. }) => bundle::install(&store, None, &bar)?,
                other => other?,
            };
            store.export(to, &bar)?;
            bundle
        }
        (None, None) => bundle::install(&store, args.mirror.as_deref(), &bar)?,
    };
    drop(bar);
    if context.json {
        return context.write_json(&bundle.manifest);
    }
    writeln!(context.out, "{}", line_of(&bundle))?;
    if let Some(to) = &args.export {
        writeln!(context.out, "exported to {}", to.display())?;
    }
    Ok(())
}

fn remove(context: &mut Context<'_>) -> anyhow::Result<()> {
    let is_any = Store::new(&context.options)?.remove()?;
    Ok(writeln!(context.out, "{}", if is_any { "removed" } else { "nothing was installed" })?)
}

#[derive(Serialize)]
struct Status<'a> {
    schema: &'static str,
    bundle: Option<&'a Manifest>,
    bundle_dir: String,
    qemu: Option<String>,
    guest: Option<String>,
    problems: Vec<String>,
}

fn status(context: &mut Context<'_>) -> anyhow::Result<()> {
    let store = Store::new(&context.options)?;
    let opened = store.open();
    let mut problems = Vec::new();
    let (qemu, guest) = (microvm::find_qemu(), run::guest_program());
    problems.extend(opened.as_ref().err().map(ToString::to_string));
    problems.extend(qemu.as_ref().err().map(ToString::to_string));
    problems.extend(guest.as_ref().err().map(ToString::to_string));
    let path = |path: &PathBuf| path.display().to_string();
    let (qemu, guest) = (qemu.ok().as_ref().map(path), guest.ok().as_ref().map(path));
    if context.json {
        let bundle = opened.as_ref().ok().map(|bundle| &bundle.manifest);
        let bundle_dir = store.bundle_dir().display().to_string();
        let schema = "cryoscope.sandbox-status/1";
        return context.write_json(&Status { schema, bundle, bundle_dir, qemu, guest, problems });
    }
    if let Ok(bundle) = &opened {
        writeln!(context.out, "{}", line_of(bundle))?;
    }
    for line in [qemu, guest].into_iter().flatten() {
        writeln!(context.out, "{line}")?;
    }
    for problem in problems {
        writeln!(context.out, "{problem}")?;
    }
    Ok(())
}

fn line_of(bundle: &Bundle) -> String {
    let manifest = &bundle.manifest;
    format!(
        "Debian {}: kernel {}, criu {}, {} in {}",
        manifest.release,
        manifest.kernel_version,
        manifest.version_of("criu").unwrap_or("?"),
        human_size(manifest.kernel.size_bytes.saturating_add(manifest.initrd.size_bytes)),
        bundle.dir.display(),
    )
}
