//! Shell completions and manual pages, made from the definitions in [`super::args`].

use std::path::Path;

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
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut nr_pages = 0;
    pages(&command, "cryoscope", dir, &mut nr_pages)?;
    context.note(&format!("{}: {nr_pages} manual pages written", dir.display()))?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "writes the manual pages where the user asked for them")]
fn pages(command: &clap::Command, name: &str, dir: &Path, nr_pages: &mut usize) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.to_owned())).render(&mut page)?;
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page).with_context(|| format!("{}: cannot be written", path.display()))?;
    *nr_pages += 1;
    command.get_subcommands().try_for_each(|sub| pages(sub, &format!("{name}-{}", sub.get_name()), dir, nr_pages))
}
