//! The client's side of a connection: greeting, TLS, and the proof of its password.
//!
//! The passwords of all users are known from the configuration, so every proof is checked by computing the same one: no
//! password travels, and `caching_sha2_password` needs its fast path only.
//!
//! Offered are the capabilities that every server has and that do not change what packets look like. Left out:
//! `DEPRECATE_EOF`, session tracking, compression and MariaDB's extensions; so results of all servers look alike.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;

use mysql_common::constants::CapabilityFlags as Caps;
use rustls::ServerConfig as TlsConfig;
use rustls::crypto::ring;
use shunt_engine::mysql::server::Secret;
use shunt_engine::mysql::wire::auth::{Channel, Plugin};
use shunt_engine::mysql::wire::fields::Fields;
use shunt_engine::mysql::wire::packet::Packets;
use shunt_engine::mysql::wire::{reply, transport::Stream};
use shunt_engine::{Error, Result};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;

use crate::answer::{AUTOCOMMIT, SqlError, ok};
use crate::config::{AuthPlugin, GatewayConfig, User};

/// What clients may ask for.
const OFFERED: Caps = Caps::CLIENT_LONG_PASSWORD
    .union(Caps::CLIENT_FOUND_ROWS)
    .union(Caps::CLIENT_LONG_FLAG)
    .union(Caps::CLIENT_CONNECT_WITH_DB)
    .union(Caps::CLIENT_ODBC)
    .union(Caps::CLIENT_LOCAL_FILES)
    .union(Caps::CLIENT_IGNORE_SPACE)
    .union(Caps::CLIENT_PROTOCOL_41)
    .union(Caps::CLIENT_INTERACTIVE)
    .union(Caps::CLIENT_TRANSACTIONS)
    .union(Caps::CLIENT_SECURE_CONNECTION)
    .union(Caps::CLIENT_MULTI_STATEMENTS)
    .union(Caps::CLIENT_MULTI_RESULTS)
    .union(Caps::CLIENT_PS_MULTI_RESULTS)
    .union(Caps::CLIENT_PLUGIN_AUTH)
    .union(Caps::CLIENT_CONNECT_ATTRS)
    .union(Caps::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA);

/// Of those, what a session's servers are asked for as well: it changes what they do or send. Not `MULTI_STATEMENTS`: a server
/// then refuses a second statement that was not seen here.
const PASSED_ON: Caps = Caps::CLIENT_FOUND_ROWS
    .union(Caps::CLIENT_ODBC)
    .union(Caps::CLIENT_LOCAL_FILES)
    .union(Caps::CLIENT_IGNORE_SPACE)
    .union(Caps::CLIENT_INTERACTIVE)
    .union(Caps::CLIENT_MULTI_RESULTS)
    .union(Caps::CLIENT_PS_MULTI_RESULTS);

/// A client that has proved who it is.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) packets: Packets<Stream>,
    pub(crate) user: User,
    /// What its servers are asked for.
    pub(crate) capabilities: Caps,
    pub(crate) collation: u8,
    /// It may send several statements in a packet.
    pub(crate) multi_statements: bool,
    /// What it named as its database.
    pub(crate) database: Option<String>,
    nonce: [u8; 20],
    address: SocketAddr,
}

/// What a client answers to the greeting.
struct Response<'a> {
    capabilities: Caps,
    collation: u8,
    user: &'a [u8],
    answer: &'a [u8],
    database: Option<&'a [u8]>,
    plugin: Option<&'a [u8]>,
}

/// Greets a client and lets it log in. The last OK is not sent: its database must be known first.
///
/// # Errors
/// If it does not prove who it is, or breaks off. It has been told.
pub(crate) async fn login(
    mut packets: Packets<Stream>,
    address: SocketAddr,
    id: u32,
    version: &str,
    config: &GatewayConfig,
    tls: Option<&Arc<TlsConfig>>,
) -> Result<Client> {
    let nonce = nonce()?;
    let offered = if tls.is_some() { OFFERED | Caps::CLIENT_SSL } else { OFFERED };
    let first = plugin(config.default_auth);
    packets.send(&greeting(id, version, &nonce, offered, first)).await?;
    let mut packet = packets.read().await?.to_vec();
    let mut encrypted = false;
    if let Some(tls) = tls
        && packet.len() == 32
        && Fields(&packet).u32()? & Caps::CLIENT_SSL.bits() != 0
    {
        let acceptor = TlsAcceptor::from(Arc::clone(tls));
        packets = packets.wrap_behind(|stream, read| accept(acceptor, stream, read)).await?;
        encrypted = true;
        packet = packets.read().await?.to_vec();
    }
    let response = parse_response(&packet)?;
    if config.tls_required && !encrypted {
        let error =
            SqlError::new(3159, *b"HY000", "Connections using insecure transport are prohibited");
        packets.send(&error.packet()).await?;
        return Err(Error::stop("client without TLS"));
    }
    let user = String::from_utf8_lossy(response.user).into_owned();
    let known = config.users.iter().find(|known| known.name == user);
    let named = response.plugin.and_then(Plugin::named).unwrap_or(first);
    let mut proved = prove(&mut packets, known, &nonce, named, response.answer).await?;
    // An answer for another plugin than the one that was offered is asked for again.
    if !proved && matches!(named, Plugin::Native | Plugin::CachingSha2) && named != first {
        let (again, answer) = switch(&mut packets, named).await?;
        proved = prove(&mut packets, known, &again, named, &answer).await?;
    } else if !proved && !matches!(named, Plugin::Native | Plugin::CachingSha2) {
        let (again, answer) = switch(&mut packets, first).await?;
        proved = prove(&mut packets, known, &again, first, &answer).await?;
    }
    let Some(known) = known.filter(|_| proved) else {
        packets.send(&denied(&user, address, !response.answer.is_empty()).packet()).await?;
        return Err(Error::stop(format!("access denied for user {user:?}")));
    };
    Ok(Client {
        user: known.clone(),
        capabilities: response.capabilities & PASSED_ON,
        collation: response.collation,
        multi_statements: response.capabilities.contains(Caps::CLIENT_MULTI_STATEMENTS),
        database: response.database.map(|name| String::from_utf8_lossy(name).into_owned()),
        packets,
        nonce,
        address,
    })
}

impl Client {
    /// COM_CHANGE_USER: another user on the same connection. `false` if it did not prove who it is, and has been told.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn change_user(
        &mut self,
        body: &[u8],
        config: &GatewayConfig,
    ) -> Result<bool> {
        let mut fields = Fields(body);
        let user = String::from_utf8_lossy(fields.until_zero()).into_owned();
        let length = usize::from(fields.u8()?);
        let answer = fields.take(length)?.to_vec();
        let database = fields.until_zero();
        let database =
            (!database.is_empty()).then(|| String::from_utf8_lossy(database).into_owned());
        let collation = fields.u16().unwrap_or(u16::from(self.collation));
        let named = Plugin::named(fields.until_zero()).unwrap_or(plugin(config.default_auth));
        let known = config.users.iter().find(|known| known.name == user);
        let spoken = matches!(named, Plugin::Native | Plugin::CachingSha2);
        let named = if spoken { named } else { plugin(config.default_auth) };
        let mut proved =
            spoken && prove(&mut self.packets, known, &self.nonce, named, &answer).await?;
        if !proved {
            let (again, answer) = switch(&mut self.packets, named).await?;
            proved = prove(&mut self.packets, known, &again, named, &answer).await?;
        }
        let Some(known) = known.filter(|_| proved) else {
            let denied = denied(&user, self.address, !answer.is_empty());
            self.packets.send(&denied.packet()).await?;
            return Ok(false);
        };
        self.user = known.clone();
        self.database = database;
        self.collation = u8::try_from(collation).unwrap_or(self.collation);
        Ok(true)
    }

    /// The last word of a login.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn welcome(&mut self) -> Result<()> {
        self.packets.send(&ok(AUTOCOMMIT)).await
    }
}

/// The handshake; `read`: the bytes of it that have been read already.
async fn accept(acceptor: TlsAcceptor, stream: Stream, read: Vec<u8>) -> Result<Stream> {
    let stream = acceptor.accept(behind(read, stream)).await;
    Ok(Box::new(
        stream
            .map_err(|error| Error::retry("TLS handshake with the client failed").source(error))?,
    ))
}

/// A stream that begins with these bytes.
fn behind(read: Vec<u8>, stream: Stream) -> Stream {
    if read.is_empty() {
        return stream;
    }
    let (reader, writer) = tokio::io::split(stream);
    Box::new(tokio::io::join(Cursor::new(read).chain(reader), writer))
}

fn plugin(auth: AuthPlugin) -> Plugin {
    match auth {
        AuthPlugin::Native => Plugin::Native,
        AuthPlugin::CachingSha2 => Plugin::CachingSha2,
    }
}

/// Twenty random bytes without a zero.
fn nonce() -> Result<[u8; 20]> {
    let mut nonce = [0; 20];
    let filled = ring::default_provider().secure_random.fill(&mut nonce);
    filled.map_err(|_| Error::stop("the system gives no random bytes"))?;
    for byte in &mut nonce {
        *byte = (*byte % 94) + 33;
    }
    Ok(nonce)
}

fn greeting(id: u32, version: &str, nonce: &[u8; 20], offered: Caps, plugin: Plugin) -> Vec<u8> {
    let caps = offered.bits().to_le_bytes();
    let mut out = vec![10];
    out.extend_from_slice(version.as_bytes());
    out.push(0);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&nonce[..8]);
    out.push(0);
    out.extend_from_slice(&caps[..2]);
    out.push(45);
    out.extend_from_slice(&AUTOCOMMIT.to_le_bytes());
    out.extend_from_slice(&caps[2..]);
    out.push(21);
    out.extend_from_slice(&[0; 10]);
    out.extend_from_slice(&nonce[8..]);
    out.push(0);
    out.extend_from_slice(plugin.name().as_bytes());
    out.push(0);
    out
}

fn parse_response(packet: &[u8]) -> Result<Response<'_>> {
    let mut fields = Fields(packet);
    let capabilities = Caps::from_bits_truncate(fields.u32()?);
    if !capabilities.contains(Caps::CLIENT_PROTOCOL_41 | Caps::CLIENT_SECURE_CONNECTION) {
        return Err(Error::stop("client is too old"));
    }
    fields.u32()?;
    let collation = fields.u8()?;
    fields.take(23)?;
    let user = fields.until_zero();
    let length = if capabilities.contains(Caps::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
        usize::try_from(fields.lenenc()?).unwrap_or(usize::MAX)
    } else {
        usize::from(fields.u8()?)
    };
    let answer = fields.take(length)?;
    let database = capabilities.contains(Caps::CLIENT_CONNECT_WITH_DB).then(|| fields.until_zero());
    let plugin = capabilities.contains(Caps::CLIENT_PLUGIN_AUTH).then(|| fields.until_zero());
    let database = database.filter(|name| !name.is_empty());
    Ok(Response { capabilities, collation, user, answer, database, plugin })
}

/// Whether the answer proves the password. A user that is not known takes the same time.
async fn prove(
    packets: &mut Packets<Stream>,
    user: Option<&User>,
    nonce: &[u8],
    plugin: Plugin,
    answer: &[u8],
) -> Result<bool> {
    let nobody = Secret::new("-");
    let password = user.map_or(&nobody, |user| &user.password);
    let expected = match plugin {
        Plugin::Native | Plugin::CachingSha2 => {
            plugin.answer(password.expose(), nonce, Channel::Tcp)?
        }
        _ => return Ok(false),
    };
    // An empty password is an empty answer, or a single zero.
    let answer = if answer == [0] { &[] } else { answer };
    let differs = expected.iter().zip(answer).fold(0, |differs, (a, b)| differs | (a ^ b));
    let proved = expected.len() == answer.len() && differs == 0 && user.is_some();
    if proved && plugin == Plugin::CachingSha2 && !expected.is_empty() {
        // The fast path was enough.
        packets.send(&[reply::MORE_DATA, 3]).await?;
    }
    Ok(proved)
}

/// Asks for the proof by another plugin.
async fn switch(packets: &mut Packets<Stream>, plugin: Plugin) -> Result<([u8; 20], Vec<u8>)> {
    let nonce = nonce()?;
    let mut request = vec![reply::EOF];
    request.extend_from_slice(plugin.name().as_bytes());
    request.push(0);
    request.extend_from_slice(&nonce);
    request.push(0);
    packets.send(&request).await?;
    let answer = packets.read().await?.to_vec();
    Ok((nonce, answer))
}

fn denied(user: &str, address: SocketAddr, password: bool) -> SqlError {
    let password = if password { "YES" } else { "NO" };
    let ip = address.ip();
    let text = format!("Access denied for user '{user}'@'{ip}' (using password: {password})");
    SqlError::new(1045, *b"28000", text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_of_a_handshake_comes_before_the_stream() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut packets = Packets::new(Box::new(near) as Stream);
        far.write_all(b"\x03\0\0\0sslhel").await.unwrap();
        assert_eq!(packets.read().await.unwrap(), b"ssl");
        far.write_all(b"lo\x02\0\0\x01hi").await.unwrap();
        let wrap = async |stream, read: Vec<u8>| {
            assert_eq!(read, b"hel");
            let mut stream = behind(read, stream);
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await?;
            assert_eq!(&hello, b"hello");
            Ok(stream)
        };
        let mut packets = packets.wrap_behind(wrap).await.unwrap();
        // The bytes of the handshake are no packet, and the sequence goes on.
        assert_eq!(packets.read().await.unwrap(), b"hi");
        packets.send(b"yes").await.unwrap();
        let mut seen = [0; 7];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"\x03\0\0\x02yes");
    }

    proptest! {
        #[test]
        fn any_response_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            drop(parse_response(&bytes));
            let caps = OFFERED.bits().to_le_bytes();
            drop(parse_response(&[&caps[..], &bytes].concat()));
        }
    }
}
