//! The image files of a checkpoint: the document of `images --json`.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::base::{Cursor, Issue, Limits, Place};
use crate::checkpoint::{Checkpoint, ImageFile};
use crate::decode::kinds::{COMMON_MAGIC, Framing, Head, SERVICE_MAGIC};
use crate::decode::{Ctx, Img, RawImg, Records, crit_entries};
use crate::evidence::ReadError;

use super::system::IssueReport;
use super::value::Each;

/// All image files.
#[derive(Debug, Serialize)]
pub struct ImageList {
    schema: &'static str,
    /// Rows, by name.
    pub images: Vec<ImageRow>,
}

/// One image file.
#[derive(Clone, Debug, Serialize)]
pub struct ImageRow {
    /// Base name.
    pub name: String,
    /// Path inside the evidence.
    pub path: String,
    /// Kind, as crit names it where it does; `null` for one that is not known.
    pub kind: Option<&'static str>,
    /// Own magic as found; `null` for files without one.
    pub magic: Option<String>,
    /// Records that could be framed; `null` for files without records.
    pub records: Option<u64>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// What could not be read in it.
    pub issues: Vec<IssueReport>,
}

impl ImageList {
    /// All image files of the checkpoint.
    pub fn from_checkpoint(checkpoint: &Checkpoint, limits: &Limits) -> ImageList {
        let ctx = context(checkpoint, limits);
        // Issues by image, so that each image does not look through all.
        let mut issues: std::collections::BTreeMap<&str, Vec<IssueReport>> = std::collections::BTreeMap::new();
        for issue in &checkpoint.issues {
            let member = issue.place.member.as_str();
            let base = member.rsplit('/').next().unwrap_or(member);
            issues.entry(base).or_default().push(IssueReport::new(issue));
        }
        let images = checkpoint.images.iter().map(|image| {
            let mut row = ImageRow::new(checkpoint, image, &ctx);
            for issue in issues.remove(image.name.as_str()).unwrap_or_default() {
                if !row.issues.contains(&issue) {
                    row.issues.push(issue);
                }
            }
            row
        });
        ImageList { schema: "cryoscope.images/1", images: images.collect() }
    }
}

/// Byte order and limits of the checkpoint's images.
pub fn context(checkpoint: &Checkpoint, limits: &Limits) -> Ctx {
    let inventory = checkpoint.image("inventory.img").and_then(|image| read(checkpoint, image).ok());
    match inventory {
        Some(bytes) => Ctx::detect(&Img::new("inventory.img", bytes), limits).0,
        None => Ctx { limits: limits.clone(), ..Ctx::default() },
    }
}

/// The bytes of an image file.
///
/// # Errors
/// The member cannot be read.
pub fn read(checkpoint: &Checkpoint, image: &ImageFile) -> Result<Bytes, ReadError> {
    let evidence = &checkpoint.evidence;
    let member = evidence.get(&image.path);
    let member =
        member.ok_or_else(|| ReadError::NoSuchMember { member: crate::base::escape(&image.path).into_owned() })?;
    evidence.read(member)
}

impl ImageRow {
    fn new(checkpoint: &Checkpoint, image: &ImageFile, ctx: &Ctx) -> ImageRow {
        let mut row = ImageRow {
            name: image.name.clone(),
            path: crate::base::escape(&image.path).into_owned(),
            kind: image.kind,
            magic: None,
            records: None,
            size_bytes: image.size_bytes,
            issues: Vec::new(),
        };
        let is_raw = |img: &Img| img.kind.is_some_and(|kind| kind.framing == Framing::Raw);
        // Pages need not be touched to say how many bytes they are.
        if is_raw(&Img::new(&image.name, Bytes::new())) {
            return row;
        }
        let bytes = match read(checkpoint, image) {
            Ok(bytes) => bytes,
            Err(error) => {
                row.issues.push(IssueReport::new(&Issue::new(Place::member(&image.name), error.to_string())));
                return row;
            }
        };
        let img = Img::new(&image.name, bytes);
        row.magic = magic(&img, ctx);
        if img.kind.is_none() || is_raw(&img) {
            return row;
        }
        let mut records = 0;
        for record in Records::new(&img, ctx) {
            match record {
                Ok(_) => records += 1,
                Err(error) => row.issues.push(IssueReport::new(&error.into())),
            }
        }
        row.records = Some(records);
        row
    }
}

/// The own magic of an image, as it stands there.
pub fn magic(img: &Img, ctx: &Ctx) -> Option<String> {
    if img.kind.is_some_and(|kind| kind.head == Head::Raw) {
        return None;
    }
    let mut cursor = Cursor::new(&img.bytes, ctx.order);
    let first = cursor.u32("magic").ok()?;
    let own = match first {
        COMMON_MAGIC | SERVICE_MAGIC => cursor.u32("magic").ok()?,
        own => own,
    };
    Some(format!("{own:#010x}"))
}

/// The records of one image as `crit show` prints them, built one after the other while they are written.
#[derive(Debug)]
pub struct CritDocument<'a> {
    /// The image.
    pub raw: &'a RawImg,
    /// How it is read.
    pub ctx: &'a Ctx,
}

impl Serialize for CritDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut document = serializer.serialize_struct("CritDocument", 2)?;
        document.serialize_field("magic", self.raw.kind.crit_key)?;
        document.serialize_field("entries", &Each(|| crit_entries(self.raw, self.ctx)))?;
        document.end()
    }
}
