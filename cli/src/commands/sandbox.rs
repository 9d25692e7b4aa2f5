//! `shunt sandbox …`: what its verbs share.

pub(super) mod destroy;
pub(super) mod start;
pub(super) mod status;
pub(super) mod stop;

use std::path::{Path, PathBuf};

use shunt_engine::{Error, Result};

use crate::args::SandboxPlace;
use crate::sandbox::{Sandbox, default_dir};

/// The folder of the sandboxes as an absolute path: servers and the printed configuration outlive our working directory.
fn folder(place: SandboxPlace) -> Result<PathBuf> {
    let dir = place.dir.map_or_else(default_dir, Ok)?;
    Ok(std::path::absolute(dir)?)
}

async fn open(dir: &Path, name: &str) -> Result<Sandbox> {
    Sandbox::open(dir, name)
        .await?
        .ok_or_else(|| Error::usage(format!("there is no sandbox {name:?} in {}", dir.display())))
}
