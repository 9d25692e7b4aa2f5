//! Files that are whole or not there: written under another name beside the right one, synced, and renamed.
//!
//! The other name begins with a dot and ends with `.part`, so that no pattern for archives takes it. It is removed when the writer is
//! dropped before its end. What a killed process left is removed by the next one that writes the same file: a writer locks its file, so
//! one that can be locked is nobody's. (Between its creation and its lock it may be taken for such; then it is gone when the writer
//! has the lock, and the writer makes another.)

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use shunt_engine::{Error, Result};

/// A file that gets its name when it is whole.
#[derive(Debug)]
pub struct Partial {
    part: PathBuf,
    path: PathBuf,
}

impl Partial {
    /// Creates the file under its other name, and the folder if need be.
    ///
    /// # Errors
    /// Usage if it cannot be created.
    pub fn create(path: &Path) -> Result<(Self, File)> {
        let folder = folder_of(path);
        let unusable = |error: io::Error| {
            Error::usage(format!("{} cannot be written", path.display())).source(error)
        };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        remove_left(folder, &format!(".{name}."));
        loop {
            let part = folder.join(format!(".{name}.{}.part", uuid::Uuid::now_v7()));
            let file =
                OpenOptions::new().create_new(true).write(true).open(&part).map_err(unusable)?;
            file.lock().map_err(unusable)?;
            if part.exists() {
                return Ok((Self { part, path: path.to_owned() }, file));
            }
        }
    }

    /// Gives the file its name, with everything in it on the disk.
    ///
    /// # Errors
    /// Stop if the disk does not take it.
    pub fn finish(self, file: &File) -> Result<()> {
        let done = file.sync_all().and_then(|()| std::fs::rename(&self.part, &self.path));
        done.map_err(|error| io_error(error, "finish", &self.path))?;
        let folder = folder_of(&self.path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| io_error(error, "finish", &self.path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is none of that name.
        drop(std::fs::remove_file(&self.part));
    }
}

/// Removes unfinished files that nobody writes any more; one that cannot be removed stays.
fn remove_left(folder: &Path, begins: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let middle = name.strip_prefix(begins).and_then(|rest| rest.strip_suffix(".part"));
        if middle.is_none_or(|middle| uuid::Uuid::parse_str(middle).is_err()) {
            continue;
        }
        if let Ok(file) = OpenOptions::new().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The file of a table's archive: the table's name, with everything that a file system may take otherwise as `%` and hexadecimal.
pub fn archive_path(folder: &Path, table: &str) -> PathBuf {
    let mut name = String::new();
    for (at, c) in table.char_indices() {
        let plain = c.is_alphanumeric() || matches!(c, '_' | '-' | '$') || c == '.' && at > 0;
        if plain {
            name.push(c);
        } else {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            bytes.for_each(|byte| name.push_str(&format!("%{byte:02X}")));
        }
    }
    folder.join(format!("{name}.parquet"))
}

/// A file that did not take what was written.
pub fn io_error(error: io::Error, doing: &str, path: &Path) -> Error {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Error::stop(format!("the disk is full: {} cannot be written", path.display()))
            .advice("Make room, or write to another folder; nothing was left there.")
            .source(error);
    }
    Error::stop(format!("{doing} {}", path.display())).source(error)
}

/// An error of the Parquet library; `doing` says what was tried.
pub fn parquet_error(error: ParquetError, doing: &str) -> Error {
    file_error(error, doing, Path::new("the Parquet file"))
}

/// The same, of a file that is known.
pub fn file_error(error: ParquetError, doing: &str, path: &Path) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(inner) => io_error(*inner, doing, path),
            Err(inner) => Error::stop(format!("{doing}: {inner}")),
        },
        other => Error::stop(doing.to_owned()).source(other),
    }
}

/// A file that remembers why it did not take something, so that the cause is said and not only that something failed.
#[derive(Debug)]
pub struct Watched<W> {
    inner: W,
    failed: Option<io::Error>,
}

impl<W: Write> Watched<W> {
    /// Watches a file.
    pub fn new(inner: W) -> Self {
        Self { inner, failed: None }
    }

    /// What it did not take, if it failed.
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// The file.
    pub fn into_inner(self) -> W {
        self.inner
    }

    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed.get_or_insert(error);
            }
            kind.into()
        })
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.note(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("t.parquet");
        let left = || std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        let (partial, mut file) = Partial::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists() && left() == 1);
        drop(partial);
        assert_eq!(left(), 0);
        let (partial, mut file) = Partial::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        partial.finish(&file).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(left(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = || -> Vec<String> {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
        };
        let left = folder.path().join(format!(".t.parquet.{}.part", uuid::Uuid::now_v7()));
        std::fs::write(&left, "half").unwrap();
        std::fs::write(folder.path().join(".t.parquet.mine.part"), "not ours").unwrap();
        let (one, file) = Partial::create(&path).unwrap();
        let (other, _) = Partial::create(&path).unwrap();
        assert!(!left.exists() && one.part.exists() && other.part.exists(), "{:?}", names());
        assert_eq!(names().len(), 3);
        drop((one, other, file));
        assert_eq!(names(), [".t.parquet.mine.part"]);
    }

    #[test]
    fn names_of_tables_stay_within_the_folder() {
        let path = |table: &str| archive_path(Path::new("d"), table).display().to_string();
        assert_eq!(path("über_1"), "d/über_1.parquet");
        assert_eq!(path("../x"), "d/%2E.%2Fx.parquet");
        assert_eq!(path("a%2Fb"), "d/a%252Fb.parquet");
    }
}
