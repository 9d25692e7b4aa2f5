//! A switch that waits at a step for as long as the test wants, by the operator's own means: a hook. Unlike a stopped process its
//! coordinator lives meanwhile, and renews what it holds.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::pair::PATIENCE;
use super::shell::Serving;
use super::site::LOOK;

const HOOK: &str = r#"#!/bin/sh
at="$SHUNT_WHEN-$SHUNT_STEP"
if [ -e "wait-$at" ]; then
  : > "at-$at"
  while [ -e "wait-$at" ]; do sleep 0.01; done
fi
exit 0
"#;

/// Where switches of a configuration wait.
#[derive(Debug)]
pub(crate) struct Gate {
    folder: PathBuf,
}

impl Gate {
    /// Adds it to the configuration of a folder.
    pub(crate) fn build(folder: &Path) -> Self {
        let (script, toml) = (folder.join("gate.sh"), folder.join("shunt.toml"));
        std::fs::write(&script, HOOK).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let text = std::fs::read_to_string(&toml).unwrap();
        let hooks = "\n[hooks]\ncommand = [\"./gate.sh\"]\ntimeout_ms = 60000\n";
        std::fs::write(&toml, text + hooks).unwrap();
        Self { folder: folder.to_owned() }
    }

    /// The next switch waits at a step: `before-pause`, `after-pause`, ….
    pub(crate) fn shut(&self, at: &str) {
        std::fs::write(self.folder.join(format!("wait-{at}")), "").unwrap();
    }

    /// Waits until a switch is there; `false` if it ended instead.
    pub(crate) async fn until_at(&self, at: &str, command: &mut Serving) -> bool {
        let (there, started) = (self.folder.join(format!("at-{at}")), Instant::now());
        while !there.exists() {
            if !command.runs() {
                return false;
            }
            assert!(started.elapsed() < PATIENCE, "no switch comes to {at}: {}", command.log());
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Lets it go on, and later ones pass.
    pub(crate) fn open(&self, at: &str) {
        drop(std::fs::remove_file(self.folder.join(format!("at-{at}"))));
        drop(std::fs::remove_file(self.folder.join(format!("wait-{at}"))));
    }
}
