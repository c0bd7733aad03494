//! `images`: the image files of a checkpoint, and the records of one.

use crate::base::escape_controls;
use crate::checkpoint::{Checkpoint, ImageFile};
use crate::decode::{Img, raw};
use crate::report::images::{self, CritDocument, ImageList};
use crate::report::text;

use super::args::{ImagesArgs, Parents};
use super::context::Context;

pub(super) fn run(args: &ImagesArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which, &Parents::default())?;
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
    let decoded = raw(&img, &ctx);
    context.write_json(&CritDocument { raw: &decoded.value, ctx: &ctx })?;
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
