//! A side of a standalone VDiff: a keyspace of the configuration, or a DSN.

use std::path::Path;

use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};
use shunt_engine::{Error, Result};

use crate::config::{Config, line};

/// A server and the database on it.
#[derive(Clone, Debug)]
pub(super) struct SideServer {
    pub(super) server: ServerConfig,
    pub(super) database: String,
}

/// The side that was named; `variable` holds a DSN's password unless a file does.
pub(super) fn side(
    text: &str,
    config: Option<&Config>,
    password_file: Option<&Path>,
    variable: &str,
) -> Result<SideServer> {
    let Some(rest) = text.strip_prefix("mysql://") else {
        let config = config.filter(|_| is_name(text)).ok_or_else(|| bad(text))?;
        let keyspace = config.keyspace(text)?;
        let server = keyspace.primary()?.connection()?;
        return Ok(SideServer { server, database: keyspace.database.clone() });
    };
    if rest.contains('?') {
        return Err(bad(text));
    }
    let (login, place) = rest.rsplit_once('@').ok_or_else(|| bad(text))?;
    if login.contains(':') {
        // The text holds a password: it is not repeated.
        return Err(Error::usage("a DSN with a password is not taken")
            .advice(format!("Give it in a file, or in the variable {variable}.")));
    }
    let (address, database) = place.split_once('/').ok_or_else(|| bad(text))?;
    if login.is_empty() || database.is_empty() || database.contains(['/', '?']) {
        return Err(bad(text));
    }
    let password = match password_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Error::usage(format!("{} cannot be read", file.display())).source(error)
            })?;
            line(&text).to_owned()
        }
        None => line(&std::env::var(variable).unwrap_or_default()).to_owned(),
    };
    let server = ServerConfig {
        alias: address.to_owned(),
        address: Address::parse(address)?,
        user: login.to_owned(),
        password: Secret::new(password),
        tls: TlsMode::default(),
        tls_ca: None,
    };
    Ok(SideServer { server, database: database.to_owned() })
}

/// Whether it can only be the name of a keyspace.
fn is_name(text: &str) -> bool {
    !text.contains(['/', ':', '@', '?', '='])
}

/// What is not a name may hold a password: it is not repeated.
fn bad(text: &str) -> Error {
    let what = if is_name(text) { format!("{text:?}") } else { "what is given as a server".into() };
    Error::usage(format!("{what} is neither a keyspace nor mysql://user@host:port/database"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_has_no_password() {
        let side = |text: &str| side(text, None, None, "SHUNT_NO_SUCH_VARIABLE");
        let good = side("mysql://app@[::1]:3307/shop").unwrap();
        assert_eq!(
            (good.server.address.to_string().as_str(), good.database.as_str()),
            ("[::1]:3307", "shop")
        );
        let error = side("mysql://app:hunter2@db/shop").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        for text in [
            "mysql:/u:hunter2@db/shop",
            "mysql://u@db/shop?password=hunter2",
            "mysql://u@db?password=hunter2/shop",
            "u:hunter2@db/shop",
            "password=hunter2",
        ] {
            let error = side(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        for text in
            ["commerce", "mysql://db/shop", "mysql://app@db", "mysql://app@db/", "mysql://@db/x"]
        {
            assert!(side(text).is_err(), "{text}");
        }
    }
}
