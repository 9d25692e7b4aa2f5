//! The `shunt.toml` that a sandbox prints. Passwords are in files beside the data, never in it.

use std::fmt::Write;

use super::{Sandbox, USER};

/// A usable configuration for these sandboxes, one keyspace each.
pub fn shunt_toml(sandboxes: &[Sandbox]) -> String {
    let mut out = String::from("[topology]\nstore = \"sqlite:shunt-topology.db\"\n");
    for sandbox in sandboxes {
        push_keyspace(&mut out, sandbox);
    }
    out
}

fn push_keyspace(out: &mut String, sandbox: &Sandbox) {
    let name = sandbox.name();
    push(out, format_args!("\n[keyspaces.{name}]\ndatabase = {}\n", quoted(name)));
    let password_file = quoted(&sandbox.password_file().to_string_lossy());
    for server in sandbox.servers() {
        let server_type = server.server_type();
        let address = quoted(&server.address().to_string());
        push(
            out,
            format_args!(
                "\n[[keyspaces.{name}.servers]]\ntype = \"{server_type}\"\naddress = {address}\n\
                 user = \"{USER}\"\npassword_file = {password_file}\ntls = \"preferred\"\n"
            ),
        );
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

fn quoted(text: &str) -> String {
    ::toml::Value::from(text).to_string()
}
