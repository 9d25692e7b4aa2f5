//! An archive's rows as row packets: the cells that a server would print, in a pair's order, one row group after the other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{FileReader, SerializedFileReader};
use shunt_engine::mysql::sql;
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::{Error, Result};
use tokio::sync::mpsc;

use super::convention::{Cell, Convention};
use super::file::{archive_path, parquet_error};
use super::meta::Meta;
use crate::columns::Form;
use crate::hash::Block;
use crate::limits;
use crate::pair::Pair;

/// An archive that was opened.
#[derive(Clone)]
pub struct Archive {
    /// The file.
    pub path: PathBuf,
    /// What it says about itself.
    pub meta: Meta,
    file: Arc<SerializedFileReader<File>>,
}

impl Archive {
    /// Opens the archive of a table.
    ///
    /// # Errors
    /// Usage if there is none, or if it is not whole or not understood.
    pub fn open(folder: &Path, table: &str) -> Result<Self> {
        let path = archive_path(folder, table);
        let unusable = |error: Error| error.context(format_args!("read {}", path.display()));
        let file = File::open(&path).map_err(|error| {
            let why =
                format!("there is no archive of {} in {}", sql::ident(table), folder.display());
            Error::usage(why).source(error)
        })?;
        let file = SerializedFileReader::new(file)
            .map_err(|error| unusable(Error::usage("it is no whole Parquet file").source(error)))?;
        let pairs = file.metadata().file_metadata().key_value_metadata();
        let pairs = pairs.into_iter().flatten();
        let pairs = pairs.filter_map(|pair| Some((pair.key.as_str(), pair.value.as_deref()?)));
        let meta = Meta::from_pairs(pairs).map_err(unusable)?;
        let columns = file.metadata().file_metadata().schema_descr().columns();
        meta.check_columns(columns.iter().map(|column| column.name())).map_err(unusable)?;
        Ok(Self { path: path.clone(), meta, file: Arc::new(file) })
    }

    /// How many row groups.
    pub fn groups(&self) -> usize {
        self.file.metadata().num_row_groups()
    }

    /// Reads row groups on a thread that may block, a little ahead of who takes the blocks of rows. They end with the task, which
    /// is then joined.
    pub fn rows(
        &self,
        groups: std::ops::Range<usize>,
        codecs: &Arc<[Codec]>,
    ) -> (mpsc::Receiver<Block>, Task<()>) {
        let (archive, codecs) = (self.clone(), codecs.clone());
        let (send, blocks) = mpsc::channel(limits::ARCHIVE_BLOCKS_AHEAD);
        let reading = spawn("archive", async move {
            let read =
                move || groups.into_iter().try_for_each(|at| archive.group(at, &codecs, &send));
            let read = tokio::task::spawn_blocking(read).await;
            read.map_err(|error| Error::stop("read an archive").source(error))?
        });
        (blocks, reading)
    }

    fn group(&self, at: usize, codecs: &[Codec], send: &mpsc::Sender<Block>) -> Result<()> {
        let broken = |error| {
            parquet_error(error, "read an archive").context(format_args!("{}", self.path.display()))
        };
        let group = self.file.get_row_group(at).map_err(broken)?;
        let mut columns = Vec::new();
        for codec in codecs {
            let open = |at: usize| group.get_column_reader(at).map(Cells::new);
            let own = open(codec.column).map_err(broken)?;
            let companion = codec.companion.map(open).transpose().map_err(broken)?;
            columns.push((own, companion));
        }
        loop {
            let mut rows = 0;
            for (own, companion) in &mut columns {
                rows = own.read().map_err(broken)?;
                if let Some(companion) = companion {
                    companion.read().map_err(broken)?;
                }
            }
            if rows == 0 {
                return Ok(());
            }
            let mut block = Block::default();
            let mut packet = Vec::new();
            for _ in 0..rows {
                packet.clear();
                for (codec, (own, companion)) in codecs.iter().zip(&mut columns) {
                    let odd = companion.as_mut().and_then(Cells::next);
                    let cell = match (own.next(), odd) {
                        (cell, None) => cell,
                        (None, Some(Cell::Bytes(text))) => Some(Cell::Odd(text)),
                        _ => {
                            return Err(Error::stop(format!(
                                "{}: a value and its companion contradict each other",
                                self.path.display()
                            )));
                        }
                    };
                    codec.push(cell.as_ref(), &mut packet)?;
                }
                block.push(&packet);
                if block.is_full() && send.blocking_send(std::mem::take(&mut block)).is_err() {
                    return Ok(());
                }
            }
            if !block.is_empty() && send.blocking_send(block).is_err() {
                return Ok(());
            }
        }
    }
}

/// How a compared column is found in a file, and printed.
#[derive(Clone, Debug)]
pub struct Codec {
    convention: Convention,
    column: usize,
    companion: Option<usize>,
}

impl Codec {
    /// Those of a pair whose target is the archive's definition, in the pair's order.
    ///
    /// # Errors
    /// Stop if a column is not in the archive.
    pub fn of(pair: &Pair, meta: &Meta) -> Result<Arc<[Self]>> {
        let before =
            |at: usize| meta.columns[..at].iter().filter(|c| c.companion.is_some()).count();
        let codec = |column: &crate::columns::Compared| {
            let at = meta.column_index(&column.target_name)?;
            let by_number = matches!(column.form, Form::Integer { .. });
            let archived = &meta.columns[at];
            let has = archived.companion.is_some();
            Ok(Self {
                convention: Convention::of(&archived.as_column(), by_number),
                column: at,
                companion: has.then(|| meta.columns.len() + before(at)),
            })
        };
        pair.columns.iter().map(codec).collect()
    }

    fn push(&self, cell: Option<&Cell>, packet: &mut Vec<u8>) -> Result<()> {
        let Some(cell) = cell else {
            push_cell(packet, None);
            return Ok(());
        };
        let printed = self.convention.print(cell);
        let printed = printed
            .ok_or_else(|| Error::stop("a value of an archive is not of its column's form"))?;
        push_cell(packet, Some(&printed));
        Ok(())
    }

    /// A live table's cell, printed as the archive's would be. What no archive can hold stays as it is, and so is like no
    /// cell of an archive.
    pub fn push_live(&self, cell: Option<&[u8]>, packet: &mut Vec<u8>) {
        let again = cell.and_then(|cell| self.convention.print(&self.convention.parse(cell)?));
        push_cell(packet, again.as_deref().or(cell));
    }
}

/// Appends a cell as the text protocol does.
pub fn push_cell(packet: &mut Vec<u8>, cell: Option<&[u8]>) {
    let Some(cell) = cell else { return packet.push(0xfb) };
    let length = u64::try_from(cell.len()).unwrap_or(u64::MAX).to_le_bytes();
    match cell.len() {
        0..=0xfa => packet.push(length[0]),
        0xfb..=0xffff => {
            packet.push(0xfc);
            packet.extend_from_slice(&length[..2]);
        }
        0x1_0000..=0xff_ffff => {
            packet.push(0xfd);
            packet.extend_from_slice(&length[..3]);
        }
        _ => {
            packet.push(0xfe);
            packet.extend_from_slice(&length);
        }
    }
    packet.extend_from_slice(cell);
}

/// The cells of one column, a batch at a time.
struct Cells {
    reader: ColumnReader,
    batch: std::vec::IntoIter<Option<Cell>>,
}

impl Cells {
    fn new(reader: ColumnReader) -> Self {
        Self { reader, batch: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Option<Cell> {
        self.batch.next().flatten()
    }

    /// Reads the next batch; says how many rows it has.
    fn read(&mut self) -> ParquetResult<usize> {
        let cells = match &mut self.reader {
            ColumnReader::Int32ColumnReader(reader) => {
                batch(reader, |number| Cell::Integer(i64::from(number)))
            }
            ColumnReader::Int64ColumnReader(reader) => batch(reader, Cell::Integer),
            ColumnReader::FloatColumnReader(reader) => batch(reader, Cell::Float),
            ColumnReader::DoubleColumnReader(reader) => batch(reader, Cell::Double),
            ColumnReader::ByteArrayColumnReader(reader) => {
                batch(reader, |bytes| Cell::Bytes(bytes.data().to_vec()))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                batch(reader, |bytes| Cell::Bytes(bytes.data().to_vec()))
            }
            ColumnReader::BoolColumnReader(_) | ColumnReader::Int96ColumnReader(_) => {
                Err(parquet::errors::ParquetError::General("a column of another type".into()))
            }
        }?;
        let rows = cells.len();
        self.batch = cells.into_iter();
        Ok(rows)
    }
}

fn batch<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    cell: impl Fn(T::T) -> Cell,
) -> ParquetResult<Vec<Option<Cell>>> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let max = limits::ARCHIVE_BATCH_ROWS;
    let (rows, _, _) = reader.read_records(max, Some(&mut levels), None, &mut values)?;
    let mut values = values.into_iter();
    if levels.is_empty() {
        return Ok(values.map(|value| Some(cell(value))).collect());
    }
    let present = levels.iter().take(rows).map(|level| *level == 1);
    Ok(present.map(|present| if present { values.next().map(&cell) } else { None }).collect())
}
