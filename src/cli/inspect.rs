//! `inspect`: what a checkpoint tells.

use crate::base::{Pid, hex};
use crate::report::inspect::Inspect;
use crate::report::text::{self, Sections};

use super::args::InspectArgs;
use super::context::Context;
use super::custody;

pub(super) fn run(args: &InspectArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    let only = args.pid.map(Pid);
    if let Some(pid) = args.pid {
        context.process(&checkpoint, pid)?;
    }
    let sha256 = if args.hash { Some(context.sha256(&checkpoint.outer)?) } else { None };
    let sha256 = sha256.as_ref().map(|it| &it[..]);
    let custody = sha256.and_then(|sha256| custody::of(&hex(sha256), checkpoint.outer.size_bytes()));
    if context.json {
        let custody = custody.map(serde_json::to_value).transpose()?;
        return context.write_json(&Inspect::from_checkpoint(&checkpoint, sha256).with_custody(custody).only(only));
    }
    if let Some(custody) = custody {
        context.note(&custody.to_string())?;
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
