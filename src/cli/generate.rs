//! Shell completions and manual pages, made from the definitions in [`super::args`].

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::context::Context;

pub(super) fn completions(args: &CompletionsArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    // The generator panics when its writer fails (a closed pipe): it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cryoscope", &mut script);
    Ok(context.out.write_all(&script)?)
}

pub(super) fn man(args: &ManArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let dir = args.output.as_path();
    std::fs::create_dir_all(dir).with_context(|| format!("{}: cannot be made", dir.display()))?;
    let written = clap_mangen::generate_to(Cli::command(), dir);
    written.with_context(|| format!("{}: cannot be written to", dir.display()))?;
    context.note(&format!("{}: manual pages written; `man {0}/cryoscope.1` shows the first", dir.display()))?;
    Ok(())
}
