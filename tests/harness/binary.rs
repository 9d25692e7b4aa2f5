//! The `shunt` binary as a user runs it, and the one with failpoints; built once for all tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Which binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    /// The one that is released.
    Plain,
    /// The same with failpoints, under a name of its own so that it never takes the other's place.
    Failpoints,
}

impl Binary {
    /// Where it is: in the folder that `SHUNT_TEST_BINARIES` names (a release build, so that what is released is what is tested),
    /// else beside the test's own program, built first if need be. Several test processes may ask at once: cargo's own lock makes
    /// them wait for each other.
    pub(crate) fn path(self) -> PathBuf {
        static BUILT: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
        let (at, name, feature) = match self {
            Self::Plain => (0, "shunt", None),
            Self::Failpoints => (1, "shunt-failpoints", Some("--features=shunt-tests/failpoints")),
        };
        BUILT[at]
            .get_or_init(|| match std::env::var_os("SHUNT_TEST_BINARIES") {
                Some(folder) => given(&PathBuf::from(folder), name),
                None => build(name, feature),
            })
            .clone()
    }
}

/// The program in a folder that the user named. It has to be there: another build in its place would test something else.
fn given(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    assert!(path.is_file(), "SHUNT_TEST_BINARIES: {} is missing", path.display());
    path
}

/// Builds beside this test's own program, with its profile, so that the dependencies are there already.
fn build(name: &str, feature: Option<&str>) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap();
    let profile = match folder.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test of its package would make it build dependencies again that look at the same variables (ring), for
    // minutes, here and in the next run of the tests.
    for (name, _) in std::env::vars_os() {
        let ours = name.to_string_lossy();
        if ours.starts_with("CARGO_PKG_") || ours.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let output = cargo
        .args(["build", "--quiet", "--locked", "--workspace", "--bin", name, "--profile", profile])
        .args(feature)
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    folder.join(name)
}
