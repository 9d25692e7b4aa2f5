//! `shunt vdiff run` where nothing is compared: what it must not touch, and what it says about files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;
use std::process::Command;

/// Compares tables of servers that are not there; gives the exit code and all that was said.
fn vdiff(folder: &Path, more: &[&str]) -> (Option<i32>, String) {
    // A port that nobody may listen on without being root, and nobody does.
    let side = "mysql://nobody@127.0.0.1:1/d";
    let output = Command::new(env!("CARGO_BIN_EXE_shunt"))
        .args(["vdiff", "run", "--source", side, "--target", side, "--tables", "t"])
        .args(more)
        .env("XDG_STATE_HOME", folder.join("state"))
        .current_dir(folder)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn statements_of_an_earlier_run_stay_until_both_servers_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fix.sql");
    std::fs::write(&file, "DELETE FROM t;\n").unwrap();
    let (code, said) = vdiff(folder.path(), &["--emit-sql", "fix.sql"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("connect to 127.0.0.1:1"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "DELETE FROM t;\n");
}

#[test]
fn a_state_that_cannot_be_kept_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (code, said) = vdiff(folder.path(), &["--state", "file/state.json"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("file/state.lock cannot be written"), "{said}");
    assert!(said.contains("Name another file with --state."), "{said}");
}
