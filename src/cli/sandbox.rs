//! `cryoscope sandbox`: the bundle, and running a checkpoint in it.

use serde::Serialize;

use super::context::Context;
use super::sandbox_args::{InstallArgs, SandboxAction, SandboxArgs};
use crate::report::text::bytes as human_size;
use crate::sandbox::bundle::{self, Bundle, BundleError, Manifest, Store};

pub(super) fn run(args: &SandboxArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    match &args.action {
        SandboxAction::Install(args) => install(args, context),
        SandboxAction::Status => status(context),
        SandboxAction::Remove => remove(context),
        SandboxAction::Run(_args) => anyhow::bail!("not yet"),
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
    problems: Vec<String>,
}

fn status(context: &mut Context<'_>) -> anyhow::Result<()> {
    let store = Store::new(&context.options)?;
    let opened = store.open();
    let mut problems = Vec::new();
    if let Err(error) = &opened {
        problems.push(error.to_string());
    }
    if context.json {
        let bundle = opened.as_ref().ok().map(|bundle| &bundle.manifest);
        let bundle_dir = store.bundle_dir().display().to_string();
        return context.write_json(&Status { schema: "cryoscope.sandbox-status/1", bundle, bundle_dir, problems });
    }
    if let Ok(bundle) = &opened {
        writeln!(context.out, "{}", line_of(bundle))?;
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
