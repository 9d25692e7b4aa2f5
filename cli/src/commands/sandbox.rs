//! `shunt sandbox …`: what its verbs share.

pub(super) mod destroy;
pub(super) mod start;
pub(super) mod status;
pub(super) mod stop;

use std::path::{Path, PathBuf};

use shunt_engine::{Error, Result};

use crate::args::SandboxPlace;
use crate::files::failed;
use crate::output;
use crate::sandbox::{Sandbox, default_dir};

/// The folder of the sandboxes as an absolute path: servers and the printed configuration outlive our working directory.
fn folder(place: SandboxPlace) -> Result<PathBuf> {
    let dir = place.dir.map_or_else(default_dir, Ok)?;
    std::path::absolute(&dir).map_err(failed("use the folder", &dir))
}

fn open(dir: &Path, name: &str) -> Result<Sandbox> {
    Sandbox::open(dir, name)?.ok_or_else(|| {
        Error::usage(format!("there is no sandbox {name:?} in {}", dir.display())).advice(
            "`shunt sandbox status` lists those that there are; --dir names another folder.",
        )
    })
}

/// What a command over several sandboxes ends with: its first error. What goes wrong behind it is said here.
fn first_error(before: Result<()>, now: Result<()>) -> Result<()> {
    match (before, now) {
        (Err(first), Err(later)) => {
            output::note!("shunt: {later}");
            Err(first)
        }
        (before, now) => before.and(now),
    }
}
