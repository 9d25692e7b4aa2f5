//! Rows into a Parquet file: groups are gathered here and written on a thread that may block.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;
use shunt_engine::mysql::sql;
use shunt_engine::{Error, Result};

use super::buffer::Group;
use super::convention::Cell;
use super::file::{Partial, Watched, file_error, io_error, parquet_error};
use super::schema::FileSchema;

/// A file of typed rows.
pub struct FileWriter<W: Write + Send + 'static> {
    out: Option<SerializedFileWriter<Watched<W>>>,
    schema: FileSchema,
    parquet: TypePtr,
    group: Group,
    path: PathBuf,
    rows: u64,
}

impl<W: Write + Send + 'static> FileWriter<W> {
    /// Begins a file; `path` is for errors.
    ///
    /// # Errors
    /// Stop if the disk does not take it.
    pub fn new(
        out: W,
        path: &Path,
        schema: FileSchema,
        metadata: Vec<(String, String)>,
    ) -> Result<Self> {
        let pairs = metadata.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let level = ZstdLevel::try_new(3).map_err(|error| parquet_error(error, "compress"))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(format!("shunt {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(pairs.collect()))
            .build();
        let parquet = schema.to_parquet()?;
        let out =
            SerializedFileWriter::new(Watched::new(out), parquet.clone(), Arc::new(properties))
                .map_err(|error| file_error(error, "begin", path))?;
        let group = Group::new(&parquet)?;
        Ok(Self { out: Some(out), schema, parquet, group, path: path.to_owned(), rows: 0 })
    }

    /// The columns.
    pub fn schema(&self) -> &FileSchema {
        &self.schema
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a row: a cell for each column, without the companions. Writes when there is enough.
    ///
    /// # Errors
    /// Stop if a column cannot hold its cell, or if the disk does not take it.
    pub async fn push(&mut self, cells: impl Iterator<Item = Option<Cell>>) -> Result<()> {
        for (at, cell) in cells.enumerate() {
            let odd = matches!(cell, Some(Cell::Odd(_)));
            let own = cell.as_ref().filter(|_| !odd);
            let mut held = self.group.push(at, own);
            if let Some(companion) = self.schema.companion(at) {
                held &= self.group.push(companion, cell.as_ref().filter(|_| odd));
            } else {
                held &= !odd;
            }
            if !held {
                let name = sql::ident(&self.schema.columns[at].name);
                return Err(Error::stop(format!("column {name} cannot hold one of its values")));
            }
        }
        self.group.end_row();
        self.rows += 1;
        if self.group.is_full() { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        let group = std::mem::replace(&mut self.group, Group::new(&self.parquet)?);
        if group.rows() == 0 {
            return Ok(());
        }
        let (out, path) = (self.take()?, self.path.clone());
        let written = tokio::task::spawn_blocking(move || write_group(out, group, &path)).await;
        self.out = Some(written.map_err(|error| Error::stop("write rows").source(error))??);
        Ok(())
    }

    /// Ends the file; what is returned holds all of it.
    ///
    /// # Errors
    /// Stop if the disk does not take it.
    pub async fn finish(mut self) -> Result<W> {
        self.flush().await?;
        let (out, path) = (self.take()?, self.path.clone());
        let ending = tokio::task::spawn_blocking(move || {
            out.into_inner().map_err(|error| file_error(error, "finish", &path))
        });
        let ended = ending.await.map_err(|error| Error::stop("write rows").source(error))??;
        Ok(ended.into_inner())
    }

    fn take(&mut self) -> Result<SerializedFileWriter<Watched<W>>> {
        self.out.take().ok_or_else(|| Error::stop("a Parquet file failed before"))
    }
}

fn write_group<W: Write + Send>(
    mut out: SerializedFileWriter<Watched<W>>,
    group: Group,
    path: &Path,
) -> Result<SerializedFileWriter<Watched<W>>> {
    match write_columns(&mut out, group) {
        Ok(()) => Ok(out),
        Err(error) => Err(failed(&mut out, error, path)),
    }
}

fn write_columns<W: Write + Send>(
    out: &mut SerializedFileWriter<W>,
    group: Group,
) -> parquet::errors::Result<()> {
    let mut row_group = out.next_row_group()?;
    for column in group.into_columns() {
        if let Some(mut writer) = row_group.next_column()? {
            column.write(&mut writer)?;
            writer.close()?;
        }
    }
    row_group.close().map(drop)
}

/// What the disk said, if it was the disk.
fn failed<W: Write + Send>(
    out: &mut SerializedFileWriter<Watched<W>>,
    error: parquet::errors::ParquetError,
    path: &Path,
) -> Error {
    match out.inner_mut().failure() {
        Some(cause) => io_error(cause, "write", path),
        None => parquet_error(error, "write a Parquet file"),
    }
}

/// A file on the disk that gets its name when it is whole.
pub struct NamedWriter {
    /// Takes the rows.
    pub rows: FileWriter<BufWriter<File>>,
    partial: Partial,
    path: PathBuf,
}

impl NamedWriter {
    /// Begins it under another name.
    ///
    /// # Errors
    /// Usage if it cannot be created.
    pub fn create(
        path: &Path,
        schema: FileSchema,
        metadata: Vec<(String, String)>,
    ) -> Result<Self> {
        let (partial, file) = Partial::create(path)?;
        let out = BufWriter::with_capacity(1 << 20, file);
        let rows = FileWriter::new(out, path, schema, metadata)?;
        Ok(Self { rows, partial, path: path.to_owned() })
    }

    /// Ends it and gives it its name.
    ///
    /// # Errors
    /// Stop if the disk does not take it.
    pub async fn finish(self) -> Result<()> {
        let out = self.rows.finish().await?;
        let file =
            out.into_inner().map_err(|error| io_error(error.into_error(), "write", &self.path))?;
        self.partial.finish(&file)
    }
}

#[cfg(test)]
mod tests {
    use super::super::convention::Convention;
    use super::super::schema::FileColumn;
    use super::*;

    /// A disk with so much room.
    #[derive(Debug)]
    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => self.0 = left,
                // ENOSPC.
                None => return Err(std::io::Error::from_raw_os_error(28)),
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn schema() -> FileSchema {
        let column = FileColumn {
            name: "b".into(),
            convention: Convention::Bytes,
            optional: true,
            companion: None,
        };
        FileSchema { columns: vec![column] }
    }

    async fn write(room: usize) -> Result<Small> {
        let mut writer =
            FileWriter::new(Small(room), Path::new("dir/t.parquet"), schema(), Vec::new())?;
        for n in 0..100_000_u32 {
            let cell = Cell::Bytes(uuid::Uuid::from_u128(u128::from(n) << 77).as_bytes().to_vec());
            writer.push(std::iter::once(Some(cell))).await?;
        }
        writer.finish().await
    }

    #[tokio::test]
    async fn a_full_disk_is_said() {
        assert!(write(100 << 20).await.is_ok());
        for room in [0, 1000, 200_000] {
            let error = write(room).await.unwrap_err().to_string();
            assert!(error.contains("disk is full") && error.contains("dir/t.parquet"), "{error}");
        }
    }
}
