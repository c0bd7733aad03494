//! `inspect`: what a checkpoint tells.

use crate::base::Pid;
use crate::report::inspect::Inspect;
use crate::report::text::{self, Sections};

use super::args::InspectArgs;
use super::context::Context;

pub(super) fn run(args: &InspectArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    let only = args.pid.map(Pid);
    if let Some(pid) = args.pid {
        context.process(&checkpoint, pid)?;
    }
    let sha256 = if args.hash { Some(context.sha256(&checkpoint.outer)?) } else { None };
    let sha256 = sha256.as_ref().map(|it| &it[..]);
    if context.json {
        return context.write_json(&Inspect::from_checkpoint(&checkpoint, sha256).only(only));
    }
    let sections = Sections {
        details: args.ps || args.all,
        files: args.files || args.all,
        sockets: args.sockets || args.all,
        mounts: args.mounts || args.all,
        maps: args.maps || args.all,
        environment: args.env || args.all,
        stats: args.stats || args.all,
        kernel: args.all,
    };
    let style = context.style;
    Ok(text::inspect(context.out, style, &checkpoint, sha256, sections, only)?)
}
