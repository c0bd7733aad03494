//! `images`: the image files of a checkpoint, and the records of one.

use crate::base::escape_controls;
use crate::checkpoint::{Checkpoint, ImageFile};
use crate::decode::{Ctx, Img, crit_entries, raw};
use crate::report::images::{self, ImageList};
use crate::report::text;

use super::args::ImagesArgs;
use super::context::Context;

pub(super) fn run(args: &ImagesArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which)?;
    let limits = context.options.limits.clone();
    let style = context.style;
    let Some(name) = &args.name else {
        let list = ImageList::from_checkpoint(&checkpoint, &limits);
        if context.json {
            return context.write_json(&list);
        }
        return Ok(text::images(context.out, style, &list)?);
    };
    let image = find(&checkpoint, name)?;
    let img = Img::new(&image.name, images::read(&checkpoint, image)?);
    let ctx = images::context(&checkpoint, &limits);
    if !context.json {
        return Ok(text::records(context.out, style, &img, &ctx)?);
    }
    write_crit(&img, &ctx, context)
}

/// The document that `crit show` prints, entry by entry: an image may be larger as JSON than memory.
fn write_crit(img: &Img, ctx: &Ctx, context: &mut Context<'_>) -> anyhow::Result<()> {
    let decoded = raw(img, ctx);
    write!(context.out, "{{\n\"magic\": {},\n\"entries\": [", serde_json::to_string(decoded.value.kind.crit_key)?)?;
    for (nr, entry) in crit_entries(&decoded.value, ctx).enumerate() {
        context.out.write_all(if nr == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *context.out, &entry)?;
    }
    writeln!(context.out, "\n]\n}}")?;
    for issue in &decoded.issues {
        context.note(&issue.to_string())?;
    }
    Ok(())
}

/// The image file of this base name, or path inside the evidence.
fn find<'c>(checkpoint: &'c Checkpoint, name: &str) -> anyhow::Result<&'c ImageFile> {
    let base = name.rsplit('/').next().unwrap_or(name);
    if let Some(image) = checkpoint.image(base).or_else(|| checkpoint.image(&format!("{base}.img"))) {
        return Ok(image);
    }
    let stem = base.split(['-', '.']).next().unwrap_or(base);
    let similar = checkpoint.images.iter().filter(|image| !stem.is_empty() && image.name.starts_with(stem));
    let similar: Vec<_> = similar.take(10).map(|image| escape_controls(&image.name)).collect();
    let archive = checkpoint.outer.name();
    let images = format!("`cryoscope images {archive}` lists them");
    match &similar[..] {
        [] => anyhow::bail!("{archive}: no image file {name} in it; {images}"),
        similar => anyhow::bail!("{archive}: no image file {name} in it; there are {}; {images}", similar.join(", ")),
    }
}
