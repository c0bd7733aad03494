//! What a hunt over many archives writes: three tables, each as JSON Lines and as Parquet with the same columns.
//!
//! | table | a row is |
//! |---|---|
//! | `hits` | a match: the archive, and what `search --json` says of it |
//! | `issues` | something that could not be read or searched, a whole archive too |
//! | `archives` | an archive that was looked at, and how that ended |

use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::Issue;
use crate::checkpoint::Checkpoint;

use super::parquet::{Column, Kind};
use super::search::HitLine;

/// An archive, as its rows name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArchiveName {
    /// Path or address, as it was given or found.
    pub archive: String,
    /// Where it was asked for.
    pub sha256: Option<String>,
}

/// A checkpoint of an archive, as its rows name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckpointName {
    /// Directory of its images in the archive; tells several of one archive apart.
    pub images_dir: String,
    /// Short name of the container.
    pub container: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// Namespace of Kubernetes.
    pub namespace: Option<String>,
}

impl CheckpointName {
    /// Of a checkpoint.
    pub fn new(checkpoint: &Checkpoint) -> CheckpointName {
        CheckpointName {
            images_dir: crate::base::escape(&checkpoint.images_dir).into_owned(),
            container: checkpoint.container.name.clone(),
            pod: checkpoint.container.pod.clone(),
            namespace: checkpoint.container.namespace.clone(),
        }
    }
}

/// A row of `hits`.
#[derive(Debug, Serialize)]
pub struct HitRow<'a> {
    /// Where.
    #[serde(flatten)]
    pub name: &'a ArchiveName,
    /// In which checkpoint of it.
    #[serde(flatten)]
    pub checkpoint: &'a CheckpointName,
    /// What.
    #[serde(flatten)]
    pub hit: HitLine,
}

/// A row of `issues`.
#[derive(Clone, Debug, Serialize)]
pub struct IssueRow {
    /// Where.
    #[serde(flatten)]
    pub name: ArchiveName,
    /// In which checkpoint of it; none when the archive as a whole is meant.
    pub images_dir: Option<String>,
    /// `archive` (nothing of it could be searched), `evidence` (a part could not be read), `rootfs` (a mapped file is not
    /// that of the base image), `not-searched`.
    pub kind: &'static str,
    /// Member and offset.
    pub r#where: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl IssueRow {
    /// Of an issue of a checkpoint.
    pub fn of(name: &ArchiveName, checkpoint: &CheckpointName, issue: &Issue) -> IssueRow {
        IssueRow {
            name: name.clone(),
            images_dir: Some(checkpoint.images_dir.clone()),
            kind: "evidence",
            r#where: Some(issue.place.to_string()),
            what: issue.what.clone(),
        }
    }
}

/// A row of `archives`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ArchiveRow {
    /// Which.
    #[serde(flatten)]
    pub name: ArchiveName,
    /// `searched`, `stopped` (by the limit on hits) or `unreadable`.
    pub state: &'static str,
    /// Its length.
    pub size_bytes: Option<u64>,
    /// Checkpoints in it; of the rest here, the first one's.
    pub checkpoints: Option<u64>,
    /// Short name of the container.
    pub container: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// Namespace of Kubernetes.
    pub namespace: Option<String>,
    /// Image reference.
    pub image: Option<String>,
    /// Engine.
    pub engine: Option<&'static str>,
    /// RFC 3339.
    pub checkpointed: Option<String>,
    /// Base image that clean pages of mapped files were read from; none where none fits.
    pub rootfs: Option<String>,
    /// Matches.
    pub hits: u64,
    /// Rows in `issues`.
    pub issues: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A table of a hunt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Matches.
    Hits,
    /// What could not be read or searched.
    Issues,
    /// What was looked at.
    Archives,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 3] = [Table::Hits, Table::Issues, Table::Archives];

    /// Name of its files.
    pub fn word(self) -> &'static str {
        match self {
            Table::Hits => "hits",
            Table::Issues => "issues",
            Table::Archives => "archives",
        }
    }

    /// Its columns, in order.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Table::Hits => HITS,
            Table::Issues => ISSUES,
            Table::Archives => ARCHIVES,
        }
    }
}

/// A row as JSON with every column of its table, also those that a line of `search --json` leaves out.
pub fn row(table: Table, row: &impl Serialize) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(row) else { return Map::new() };
    for column in table.columns() {
        fields.entry(column.name).or_insert(Value::Null);
    }
    fields
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Kind::Number }
}

const HITS: &[Column] = &[
    text("archive"),
    text("sha256"),
    text("images_dir"),
    text("container"),
    text("pod"),
    text("namespace"),
    number("pid"),
    text("vaddr"),
    number("length"),
    text("source"),
    text("map"),
    text("map_hex"),
    text("perms"),
    text("where"),
    text("rule"),
    text("pattern"),
    text("match"),
    text("match_hex"),
    text("before_hex"),
    text("after_hex"),
    number("offset"),
    text("kind"),
    text("note"),
];

const ISSUES: &[Column] =
    &[text("archive"), text("sha256"), text("images_dir"), text("kind"), text("where"), text("what")];

const ARCHIVES: &[Column] = &[
    text("archive"),
    text("sha256"),
    text("state"),
    number("size_bytes"),
    number("checkpoints"),
    text("container"),
    text("pod"),
    text("namespace"),
    text("image"),
    text("engine"),
    text("checkpointed"),
    text("rootfs"),
    number("hits"),
    number("issues"),
    Column { name: "seconds", kind: Kind::Fraction },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_exactly_the_columns_of_their_table() {
        let check = |table: Table, fields: Map<String, Value>| {
            let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
            let mut columns: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
            names.sort_unstable();
            columns.sort_unstable();
            assert_eq!(names, columns);
        };
        let name = ArchiveName { archive: "a.tar".into(), sha256: None };
        let archive = ArchiveRow { name: name.clone(), state: "searched", ..ArchiveRow::default() };
        check(Table::Archives, row(Table::Archives, &archive));
        let issue = IssueRow { name, images_dir: None, kind: "archive", r#where: None, what: "cut".into() };
        check(Table::Issues, row(Table::Issues, &issue));
    }
}
