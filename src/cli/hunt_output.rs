//! Files of a hunt: `TABLE-00003-of-00010.jsonl` and `.parquet`, as Spark and DuckDB take many of them for one table.
//!
//! They are written under names that begin with a dot, which such programs leave out, and get their own when all is done.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::hunt_args::Shard;
use crate::report::hunt::Table;
use crate::report::parquet::ParquetTable;

/// The files of one share.
pub(super) struct Output {
    dir: PathBuf,
    files: Vec<Files>,
}

/// The files of one table.
struct Files {
    table: Table,
    lines_name: String,
    lines: BufWriter<File>,
    parquet_name: String,
    parquet: ParquetTable<BufWriter<File>>,
}

impl Output {
    pub(super) fn new(dir: &Path, shard: Shard, is_forced: bool) -> anyhow::Result<Output> {
        fs::create_dir_all(dir).with_context(|| format!("{}: cannot be made", dir.display()))?;
        let mut files = Vec::new();
        for table in Table::ALL {
            let stem = format!("{}-{:05}-of-{:05}", table.word(), shard.index, shard.count);
            let (lines_name, parquet_name) = (format!("{stem}.jsonl"), format!("{stem}.parquet"));
            for name in [&lines_name, &parquet_name] {
                let path = dir.join(name);
                anyhow::ensure!(is_forced || !path.exists(), "{}: exists; --force replaces it", path.display());
            }
            let lines = BufWriter::new(create(dir, &lines_name)?);
            let parquet = ParquetTable::new(BufWriter::new(create(dir, &parquet_name)?), table.columns());
            let parquet = parquet.with_context(|| dir.join(&parquet_name).display().to_string())?;
            files.push(Files { table, lines_name, lines, parquet_name, parquet });
        }
        Ok(Output { dir: dir.to_owned(), files })
    }

    pub(super) fn push(&mut self, table: Table, fields: Map<String, Value>) -> anyhow::Result<()> {
        let dir = &self.dir;
        let Some(files) = self.files.iter_mut().find(|files| files.table == table) else { return Ok(()) };
        let mut line = serde_json::to_vec(&fields)?;
        line.push(b'\n');
        let cannot = |name: &str| format!("{}: cannot be written", dir.join(name).display());
        files.lines.write_all(&line).with_context(|| cannot(&files.lines_name))?;
        files.parquet.push(fields).with_context(|| cannot(&files.parquet_name))
    }

    /// Gives the files their names, and tells these.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for files in std::mem::take(&mut self.files) {
            let Files { lines_name, lines, parquet_name, parquet, .. } = files;
            let parquet = parquet.finish().with_context(|| format!("{parquet_name}: cannot be written"))?;
            for (name, out) in [(lines_name, lines), (parquet_name, parquet)] {
                let path = self.dir.join(&name);
                let put = || {
                    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
                    fs::rename(self.dir.join(hidden(&name)), &path)
                };
                put().with_context(|| format!("{}: cannot be written", path.display()))?;
                names.push(path.display().to_string());
            }
        }
        Ok(names)
    }
}

/// What is not finished is removed.
impl Drop for Output {
    fn drop(&mut self) {
        for files in &self.files {
            for name in [&files.lines_name, &files.parquet_name] {
                let _ = fs::remove_file(self.dir.join(hidden(name)));
            }
        }
    }
}

fn hidden(name: &str) -> String {
    format!(".{name}.part")
}

fn create(dir: &Path, name: &str) -> anyhow::Result<File> {
    let path = dir.join(hidden(name));
    let opened = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
    opened.with_context(|| format!("{}: cannot be written", path.display()))
}
