//! Where nobody can hear what is said: the exit code is the command's all the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn an_error_that_cannot_be_said_keeps_its_exit_code() {
    let mut unreadable = Command::new(env!("CARGO_BIN_EXE_shunt"));
    unreadable.args(["keyspace", "list", "--config", "/nonexistent/shunt.toml"]);
    let heard = unreadable.output().unwrap();
    assert_eq!(heard.status.code(), Some(2), "{}", String::from_utf8_lossy(&heard.stderr));
    assert_eq!(unreadable.stderr(full()).status().unwrap().code(), Some(2));
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_unless_its_reader_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shunt.toml");
    std::fs::write(&file, "[topology]\nstore = \"sqlite:topology.db\"\n").unwrap();
    let list = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shunt"));
        command.args(["keyspace", "list", "--config"]).arg(&file);
        command
    };
    let said = list().stdout(full()).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("No space left"), "{said:?}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(list().stdout(writer).status().unwrap().code(), Some(0));
}
