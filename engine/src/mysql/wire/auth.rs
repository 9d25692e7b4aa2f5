//! The client's half of each authentication plugin, as pure functions.
//!
//! [`super::login`] carries the packets. Invariant: a password leaves in clear only over TLS or a unix socket.

use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};

use crate::error::{Error, Result};

/// The plugins that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// `mysql_native_password`: SHA1 of nonce and password.
    Native,
    /// `caching_sha2_password`: SHA256, or the password itself the first time.
    CachingSha2,
    /// MariaDB's `client_ed25519`: a signature of the nonce.
    Ed25519,
    /// `mysql_clear_password`: what PAM and LDAP need.
    Clear,
}

/// What protects the bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Nothing.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// The machine itself.
    Unix,
}

impl Plugin {
    /// The plugin of that name.
    pub fn named(name: &[u8]) -> Option<Self> {
        [Self::Native, Self::CachingSha2, Self::Ed25519, Self::Clear]
            .into_iter()
            .find(|plugin| plugin.name().as_bytes() == name)
    }

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Ed25519 => "client_ed25519",
            Self::Clear => "mysql_clear_password",
        }
    }

    /// The answer to the server's nonce.
    ///
    /// # Errors
    /// Stop if the plugin would send the password in clear where anybody can read it.
    pub fn answer(self, password: &str, nonce: &[u8], channel: Channel) -> Result<Vec<u8>> {
        let password = password.as_bytes();
        // Twenty bytes and a zero; the longer nonce of client_ed25519 ends without one.
        let short = nonce.get(..20).unwrap_or(nonce);
        Ok(match self {
            Self::Native => scramble_native(short, password).map(Vec::from).unwrap_or_default(),
            Self::CachingSha2 => {
                scramble_sha256(short, password).map(Vec::from).unwrap_or_default()
            }
            Self::Ed25519 => {
                let nonce = nonce.get(..32).unwrap_or(nonce);
                create_response_for_ed25519(password, nonce).to_vec()
            }
            Self::Clear if channel == Channel::Tls => clear(password),
            Self::Clear => {
                return Err(Error::stop("server wants the password in clear without TLS")
                    .advice("Set the server's TLS mode to required or higher."));
            }
        })
    }
}

/// The password as it goes over a protected channel.
pub fn clear(password: &[u8]) -> Vec<u8> {
    [password, b"\0"].concat()
}

/// The password encrypted for the server's public key. Slow and, for a key that is not one, panicking: it is run apart.
///
/// # Errors
/// Stop for a key that is not one.
pub async fn encrypted(password: &str, nonce: &[u8], key: Vec<u8>) -> Result<Vec<u8>> {
    let short = nonce.get(..20).unwrap_or(nonce);
    if short.is_empty() {
        return Err(Error::stop("server sent an empty nonce"));
    }
    let mask = short.iter().cycle();
    let masked: Vec<u8> =
        clear(password.as_bytes()).iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    tokio::task::spawn_blocking(move || mysql_common::crypto::encrypt(&masked, &key)).await.map_err(
        |_| {
            Error::stop("server's public key cannot encrypt the password")
                .advice("Use TLS: then no such key is needed.")
        },
    )
}

/// The error for a plugin that is not spoken.
pub fn unsupported(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name);
    Error::stop(format!(
        "server wants the authentication plugin {name:?}, which is not spoken here"
    ))
    .advice(
        "Give the account mysql_native_password, caching_sha2_password or ed25519 authentication.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const NONCE: &[u8] = b"01234567890123456789\0";

    #[test]
    fn plugins_are_found_by_name() {
        for plugin in [Plugin::Native, Plugin::CachingSha2, Plugin::Ed25519, Plugin::Clear] {
            assert_eq!(Plugin::named(plugin.name().as_bytes()), Some(plugin));
        }
        assert_eq!(Plugin::named(b"parsec"), None);
    }

    #[test]
    fn an_empty_password_is_an_empty_answer() {
        for plugin in [Plugin::Native, Plugin::CachingSha2] {
            assert!(plugin.answer("", NONCE, Channel::Tcp).unwrap().is_empty());
        }
    }

    #[test]
    fn answers_have_their_length_and_do_not_hold_the_password() {
        for (plugin, length) in
            [(Plugin::Native, 20), (Plugin::CachingSha2, 32), (Plugin::Ed25519, 64)]
        {
            for nonce in [NONCE, b"", &[0xff; 40]] {
                let answer = plugin.answer("hunter2", nonce, Channel::Tcp).unwrap();
                assert_eq!(answer.len(), length, "{plugin:?}");
                assert!(!answer.windows(7).any(|w| w == b"hunter2"));
            }
        }
    }

    #[test]
    fn a_clear_password_goes_over_tls_only() {
        assert_eq!(Plugin::Clear.answer("p", NONCE, Channel::Tls).unwrap(), b"p\0");
        for channel in [Channel::Tcp, Channel::Unix] {
            let error = Plugin::Clear.answer("p", NONCE, channel).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stop);
        }
    }

    #[tokio::test]
    async fn a_public_key_that_is_none_is_an_error() {
        for key in
            [&b""[..], b"junk", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
        {
            let error = encrypted("p", NONCE, key.to_vec()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stop);
        }
    }
}
