//! The recordings and their events.

use std::path::PathBuf;

use bytes::Bytes;
use shunt_engine::mysql::server::Flavor;

/// A file of the folder.
pub(crate) fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "tests", "fixtures", "binlogs", name].iter().collect()
}

/// All recordings, in order: those that cannot be decoded, too.
pub(crate) fn all() -> Vec<String> {
    let files = std::fs::read_dir(path("")).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let others = [".md", ".sql", ".tsv", ".events"];
    names.retain(|name| !others.iter().any(|end| name.ends_with(end)));
    names.sort();
    names
}

/// Who wrote it.
pub(crate) fn flavor(name: &str) -> Flavor {
    if name.starts_with("mariadb") { Flavor::MariaDb } else { Flavor::MySql }
}

/// The events of a file, undecoded.
pub(crate) fn split(name: &str) -> Vec<Bytes> {
    let mut rest = Bytes::from(std::fs::read(path(name)).unwrap());
    assert_eq!(&rest.split_to(4)[..], b"\xfebin");
    let mut events = Vec::new();
    while rest.len() >= 19 {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap());
        events.push(rest.split_to(usize::try_from(size).unwrap().min(rest.len())));
    }
    if !rest.is_empty() {
        events.push(rest);
    }
    events
}
