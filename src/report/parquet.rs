//! Tables as Apache Parquet, for DuckDB, Spark, pandas and whatever a SIEM is fed by.
//!
//! Every column may be null. Rows are gathered to groups, so memory holds one group, whatever the length of the table.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde_json::{Map, Value};

/// Rows and bytes of text of one group.
const MAX_ROWS: usize = 50_000;
const MAX_BYTES: usize = 32 << 20;

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, that of the field in JSON.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// An unsigned 64-bit number.
    Number,
    /// A number with a fraction.
    Fraction,
}

/// A table that is written row by row.
#[expect(missing_debug_implementations, reason = "the writer inside has none")]
pub struct ParquetTable<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: &'static [Column],
    rows: Vec<Map<String, Value>>,
    len_bytes: usize,
}

impl<W: Write + Send> ParquetTable<W> {
    /// Begins a table.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(out: W, columns: &'static [Column]) -> Result<ParquetTable<W>, ParquetError> {
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("cryoscope ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(ParquetTable { writer, columns, rows: Vec::new(), len_bytes: 0 })
    }

    /// Adds a row; a field that is missing or of another kind is null.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn push(&mut self, row: Map<String, Value>) -> Result<(), ParquetError> {
        let len: usize = row.values().map(|value| value.as_str().map_or(8, str::len)).sum();
        self.len_bytes = self.len_bytes.saturating_add(len);
        self.rows.push(row);
        if MAX_ROWS <= self.rows.len() || MAX_BYTES <= self.len_bytes { self.flush() } else { Ok(()) }
    }

    /// Writes what is left, and the end; a table without it is not readable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<W, ParquetError> {
        self.flush()?;
        self.writer.into_inner()
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        self.len_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            let values = || rows.iter().map(|row| row.get(column.name));
            match column.kind {
                Kind::Text => {
                    let texts = values().map(|value| Some(ByteArray::from(value?.as_str()?)));
                    let (levels, texts) = split(texts);
                    writer.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None)?;
                }
                Kind::Number => {
                    // The bits of an unsigned number; the logical type tells so.
                    let numbers = values().map(|value| value?.as_u64().map(u64::cast_signed));
                    let (levels, numbers) = split(numbers);
                    writer.typed::<Int64Type>().write_batch(&numbers, Some(&levels), None)?;
                }
                Kind::Fraction => {
                    let (levels, numbers) = split(values().map(|value| value?.as_f64()));
                    writer.typed::<DoubleType>().write_batch(&numbers, Some(&levels), None)?;
                }
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}

/// Definition levels (1: there is a value, 0: null), and the values that there are.
fn split<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<i16>, Vec<T>) {
    let (mut levels, mut known) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        known.extend(value);
    }
    (levels, known)
}

fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Number => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Kind::Fraction => (Physical::DOUBLE, None),
    };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "word", kind: Kind::Text },
        Column { name: "count", kind: Kind::Number },
        Column { name: "share", kind: Kind::Fraction },
    ];

    fn row(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn rows_are_read_back_with_nulls_and_the_largest_numbers() {
        let mut table = ParquetTable::new(Vec::new(), COLUMNS).unwrap();
        table.push(row(r#"{"word": "é\u0000", "count": 18446744073709551615, "share": 0.5}"#)).unwrap();
        table.push(row(r#"{"word": null, "count": "many"}"#)).unwrap();
        let bytes = Bytes::from(table.finish().unwrap());
        let reader = SerializedFileReader::new(bytes).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows[0].get_string(0).unwrap(), "é\0");
        assert_eq!(rows[0].get_ulong(1).unwrap(), u64::MAX);
        assert_eq!(rows[1].to_string(), "{word: null, count: null, share: null}");
    }

    #[test]
    fn long_tables_come_in_groups_and_empty_ones_are_tables() {
        let mut table = ParquetTable::new(Vec::new(), COLUMNS).unwrap();
        let long = "x".repeat(MAX_BYTES / 2);
        for _ in 0..3 {
            table.push(row(&format!(r#"{{"word": "{long}"}}"#))).unwrap();
        }
        let reader = SerializedFileReader::new(Bytes::from(table.finish().unwrap())).unwrap();
        assert_eq!((reader.metadata().num_row_groups(), reader.metadata().file_metadata().num_rows()), (2, 3));
        let empty = ParquetTable::new(Vec::new(), COLUMNS).unwrap().finish().unwrap();
        let reader = SerializedFileReader::new(Bytes::from(empty)).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}
