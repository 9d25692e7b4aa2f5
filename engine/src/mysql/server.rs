//! Where a server is, how to log in, and what it says it is.
//!
//! [`ServerConfig`] comes from the configuration; [`ServerInfo`] is read from the live server by each connection's
//! constructor. Positions and snapshots of two servers prove nothing about each other, so whoever needs both from one
//! server compares [`ServerInfo::identity`].

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// A password. It never shows in `Debug` output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Whether it is the empty one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The password itself, for the login code only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to reach a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp {
        /// Host name, IPv4 or IPv6 address (without brackets).
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Parses `host:port`, `[v6]:port`, `host` (port 3306) or `unix:/path`.
    pub fn parse(text: &str) -> Result<Self> {
        // What looks like a URL may hold a password, so it is not shown.
        if !text.starts_with("unix:") && (text.contains('@') || text.contains("://")) {
            return Err(Error::usage("an address with @ or :// is not host:port or unix:/path")
                .advice("Give the account and where its password is in keys of their own."));
        }
        let bad = || Error::usage(format!("{text:?} is not host:port or unix:/path"));
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(bad()) };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
                (host, port.parse().map_err(|_| bad())?)
            }
            _ => (text, 3306),
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(bad());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How far a connection insists on TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// If the server offers it; its certificate is not checked.
    #[default]
    Preferred,
    /// Always; the certificate is not checked.
    Required,
    /// Always, with a certificate signed by a known authority.
    VerifyCa,
    /// As `VerifyCa`, and the certificate names the host.
    VerifyIdentity,
}

impl TlsMode {
    /// Whether the server's certificate is looked at.
    pub fn is_verified(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }
}

/// One server as configured: where it is and how to log in.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The name shown to users, such as `zone1-0000000100`.
    pub alias: String,
    /// Where it listens.
    pub address: Address,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How far to insist on TLS.
    pub tls: TlsMode,
    /// Authorities to trust instead of the built-in ones (PEM).
    pub tls_ca: Option<PathBuf>,
}

/// MySQL or MariaDB: they differ in GTIDs, binlog events and what is visible when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
pub enum Flavor {
    /// Oracle's MySQL and what is made of it (Percona Server).
    MySql,
    /// MariaDB.
    MariaDb,
}

/// A server version, ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16, pub u16, pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What a live server says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// Its version.
    pub version: Version,
    /// A name that two different servers do not share: `server_uuid` on MySQL; on MariaDB host name, port, server id and
    /// data directory.
    pub identity: String,
    /// Whether it takes names of tables that differ in case for one (`lower_case_table_names` is not 0).
    pub folds_names: bool,
}

impl ServerInfo {
    /// Flavor and version from the server's version text, e.g. `10.11.6-MariaDB-0+deb12u1-log` or `5.6.24-log`.
    pub fn parse_version(text: &str) -> Result<(Flavor, Version)> {
        let flavor = if text.to_ascii_lowercase().contains("mariadb") {
            Flavor::MariaDb
        } else {
            Flavor::MySql
        };
        // Old MariaDB servers put this before their version for the sake of old replicas.
        let digits = text.strip_prefix("5.5.5-").unwrap_or(text);
        let mut parts = digits.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u16>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => {
                Ok((flavor, Version(major, minor, patch)))
            }
            _ => Err(Error::stop(format!("server version {text:?} is not understood"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print() {
        for text in ["127.0.0.1:3306", "db.example:13401", "[::1]:3306", "unix:/run/mysqld.sock"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("db").unwrap().to_string(), "db:3306");
        for text in ["", ":3306", "db:port", "db:70000", "unix:relative"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        for text in ["mysql://u:hidden@h:3306", "u:hidden@h", "mysql://hidden", "u:hidden@h:port"] {
            let error = Address::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
    }

    #[test]
    fn versions_parse() {
        let cases = [
            ("10.11.6-MariaDB-0+deb12u1-log", Flavor::MariaDb, Version(10, 11, 6)),
            ("5.5.5-10.4.2-MariaDB", Flavor::MariaDb, Version(10, 4, 2)),
            ("5.6.24-log", Flavor::MySql, Version(5, 6, 24)),
            ("8.4.0", Flavor::MySql, Version(8, 4, 0)),
        ];
        for (text, flavor, version) in cases {
            assert_eq!(ServerInfo::parse_version(text).unwrap(), (flavor, version));
        }
        assert!(ServerInfo::parse_version("mystery").is_err());
    }

    #[test]
    fn a_secret_does_not_print() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
