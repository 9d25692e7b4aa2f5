//! The login: the server's greeting, TLS if wanted, our response, and the authentication exchange.
//!
//! [`super::transport`] comes before, [`super::session`] after. The greeting is parsed here, bounds-checked; what we
//! send is laid out by mysql_common.

use std::collections::HashMap;
use std::fmt;

use mysql_common::constants::CapabilityFlags as Caps;
use mysql_common::packets::{AuthPlugin, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;

use super::auth::{self, Channel, Plugin};
use super::fields::Fields;
use super::packet::{self, MAX_PACKET, Packets};
use super::transport::{self, Stream};
use super::{reply, tls};
use crate::error::{Error, Result};
use crate::mysql::server::{Address, ServerConfig, TlsMode};

/// Without these nothing here works; every server since 5.5 has them.
const NEEDED: Caps =
    Caps::CLIENT_PROTOCOL_41.union(Caps::CLIENT_SECURE_CONNECTION).union(Caps::CLIENT_PLUGIN_AUTH);

/// What is asked for where the server has it. `DEPRECATE_EOF` is not: it saves one packet per result, and every server
/// still speaks the older form.
const WANTED: Caps = NEEDED
    .union(Caps::CLIENT_LONG_PASSWORD)
    .union(Caps::CLIENT_LONG_FLAG)
    .union(Caps::CLIENT_TRANSACTIONS)
    .union(Caps::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA)
    .union(Caps::CLIENT_CONNECT_ATTRS);

/// `utf8mb4_general_ci`, for the time before `SET NAMES`.
const UTF8MB4: u8 = 45;

/// Of MariaDB's extended capabilities: `COM_STMT_BULK_EXECUTE`.
const MARIADB_BULK: u32 = 1 << 2;

/// Full authentication follows, or the cached one was enough.
const SHA2_FAST_OK: u8 = 3;
const SHA2_FULL: u8 = 4;
const SHA2_KEY_REQUEST: u8 = 2;

/// What the server says first.
#[derive(Debug, PartialEq, Eq)]
struct Greeting {
    id: u32,
    version: Vec<u8>,
    capabilities: Caps,
    plugin: Vec<u8>,
    nonce: Vec<u8>,
    /// MariaDB's own capabilities; none of MySQL.
    extended: u32,
}

/// What a login asks for.
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    /// Capabilities asked for where the server has them, beside those that every login needs.
    pub capabilities: Caps,
    /// The collation's number that the session starts with.
    pub collation: u8,
    /// Bytes of the read buffer.
    pub buffer_bytes: usize,
    /// Whether rows are to be sent in bulk, where the server takes them so.
    pub bulk: bool,
}

impl Default for Hello {
    fn default() -> Self {
        let capabilities = Caps::CLIENT_MULTI_STATEMENTS | Caps::CLIENT_MULTI_RESULTS;
        Self { capabilities, collation: UTF8MB4, buffer_bytes: packet::BUFFER_BYTES, bulk: false }
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Login {
    /// Ready for commands.
    pub packets: Packets<Stream>,
    /// The server's id of this connection, for KILL.
    pub id: u32,
    /// What both sides can do.
    pub capabilities: Caps,
    /// The server's version as it says it.
    pub version: Vec<u8>,
    /// Whether the server takes rows in bulk: `COM_STMT_BULK_EXECUTE` of MariaDB.
    pub bulk: bool,
}

impl fmt::Debug for dyn transport::Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// Opens a connection and logs in.
///
/// # Errors
/// Retry if the server cannot be reached, Stop if it refuses the login or lacks TLS that is required.
pub async fn login(server: &ServerConfig, hello: &Hello) -> Result<Login> {
    let stream = transport::open(&server.address).await?;
    let mut packets = Packets::with_buffer(stream, hello.buffer_bytes, MAX_PACKET);
    let greeting = Greeting::parse(packets.read().await?)?;
    let mut capabilities = (WANTED | hello.capabilities) & greeting.capabilities;
    let bulk = hello.bulk && greeting.extended & MARIADB_BULK != 0;
    if bulk {
        // Where this is missing, MariaDB looks for its own capabilities.
        capabilities -= Caps::CLIENT_LONG_PASSWORD;
    }
    let mut channel = Channel::Unix;
    if let Address::Tcp { host, .. } = &server.address {
        channel = Channel::Tcp;
        if wants_tls(server.tls, greeting.capabilities)? {
            capabilities |= Caps::CLIENT_SSL;
            let mut request = ssl_request(capabilities, hello.collation);
            put_extended(&mut request, bulk);
            packets.send(&request).await?;
            packets = packets.wrap(|stream| tls::handshake(stream, server, host)).await?;
            channel = Channel::Tls;
        }
    }
    // An account with another plugin is switched to it by the server.
    let plugin = match Plugin::named(&greeting.plugin) {
        Some(plugin @ (Plugin::Native | Plugin::CachingSha2)) => plugin,
        _ => Plugin::Native,
    };
    let password = server.password.expose();
    let answer = plugin.answer(password, &greeting.nonce, channel)?;
    let mut response = response(server, capabilities, plugin, answer);
    // Behind the capabilities and the packet size.
    response[8] = hello.collation;
    put_extended(&mut response, bulk);
    packets.send(&response).await?;
    authenticate(&mut packets, password, plugin, greeting.nonce, channel).await?;
    Ok(Login { packets, id: greeting.id, capabilities, version: greeting.version, bulk })
}

/// Asks for MariaDB's own capabilities, in the last of the bytes that MySQL leaves free before the user's name.
fn put_extended(request: &mut [u8], bulk: bool) {
    if let (true, Some(place)) = (bulk, request.get_mut(28..32)) {
        place.copy_from_slice(&MARIADB_BULK.to_le_bytes());
    }
}

fn wants_tls(mode: TlsMode, offered: Caps) -> Result<bool> {
    let offered = offered.contains(Caps::CLIENT_SSL);
    match mode {
        TlsMode::Disabled => Ok(false),
        TlsMode::Preferred => Ok(offered),
        TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity if offered => Ok(true),
        TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => Err(offers_no_tls()),
    }
}

/// The error where the TLS mode requires it.
pub(crate) fn offers_no_tls() -> Error {
    Error::stop("server offers no TLS, which its TLS mode requires")
        .advice("Set up TLS on the server, or set its TLS mode to preferred.")
}

fn ssl_request(capabilities: Caps, collation: u8) -> Vec<u8> {
    let mut out = Vec::new();
    SslRequest::new(capabilities, max_packet(), collation).serialize(&mut out);
    out
}

fn response(server: &ServerConfig, capabilities: Caps, plugin: Plugin, answer: Vec<u8>) -> Vec<u8> {
    let attributes = capabilities
        .contains(Caps::CLIENT_CONNECT_ATTRS)
        .then(|| HashMap::from([("program_name".to_owned(), "shunt".to_owned())]));
    let mut out = Vec::new();
    HandshakeResponse::new(
        Some(answer),
        // Only says which of two collations is known to the server.
        (5, 5, 5),
        Some(server.user.as_bytes()),
        None::<&[u8]>,
        Some(AuthPlugin::from_bytes(plugin.name().as_bytes())),
        capabilities,
        attributes,
        max_packet(),
    )
    .serialize(&mut out);
    out
}

fn max_packet() -> u32 {
    u32::try_from(MAX_PACKET).expect("1 GiB fits 32 bits")
}

/// Answers the server's questions until it says OK or refuses.
async fn authenticate(
    packets: &mut Packets<Stream>,
    password: &str,
    mut plugin: Plugin,
    mut nonce: Vec<u8>,
    channel: Channel,
) -> Result<()> {
    loop {
        let packet = packets.read().await?;
        let mut fields = Fields(packet);
        match fields.u8()? {
            reply::OK => return Ok(()),
            reply::ERR => return Err(reply::parse_error(packet)),
            // Alone it asks for the password hash of MySQL 4.0.
            reply::EOF if fields.0.is_empty() => {
                return Err(auth::unsupported(b"mysql_old_password"));
            }
            reply::EOF => {
                let name = fields.until_zero();
                plugin = Plugin::named(name).ok_or_else(|| auth::unsupported(name))?;
                nonce = fields.rest().to_vec();
                let answer = plugin.answer(password, &nonce, channel)?;
                packets.send(&answer).await?;
            }
            reply::MORE_DATA if plugin == Plugin::CachingSha2 => match fields.u8()? {
                SHA2_FAST_OK => {}
                SHA2_FULL => full_sha2(packets, password, &nonce, channel).await?,
                _ => return Err(not_understood()),
            },
            _ => return Err(not_understood()),
        }
    }
}

/// The server does not have the password cached: it needs the password itself.
async fn full_sha2(
    packets: &mut Packets<Stream>,
    password: &str,
    nonce: &[u8],
    channel: Channel,
) -> Result<()> {
    if channel != Channel::Tcp {
        return packets.send(&auth::clear(password.as_bytes())).await;
    }
    packets.send(&[SHA2_KEY_REQUEST]).await?;
    let packet = packets.read().await?;
    let key = match packet.split_first() {
        Some((&reply::MORE_DATA, key)) => key.to_vec(),
        Some((&reply::ERR, _)) => return Err(reply::parse_error(packet)),
        _ => return Err(not_understood()),
    };
    let encrypted = auth::encrypted(password, nonce, key).await?;
    packets.send(&encrypted).await
}

fn not_understood() -> Error {
    Error::stop("server's login is not understood")
        .advice("Check that a MySQL or MariaDB server listens there.")
}

impl Greeting {
    fn parse(packet: &[u8]) -> Result<Self> {
        let mut fields = Fields(packet);
        match fields.u8()? {
            10 => {}
            reply::ERR => return Err(reply::parse_error(packet)),
            _ => return Err(not_understood()),
        }
        let version = fields.until_zero().to_vec();
        let id = fields.u32()?;
        let mut nonce = fields.take(8)?.to_vec();
        fields.u8()?;
        let low = fields.u16()?;
        fields.take(3)?;
        let high = fields.u16()?;
        let nonce_length = usize::from(fields.u8()?);
        fields.take(6)?;
        let own = fields.u32()?;
        let capabilities = Caps::from_bits_truncate(u32::from(low) | u32::from(high) << 16);
        // MySQL says that it knows long passwords; MariaDB leaves that out and names its own capabilities.
        let extended = if capabilities.contains(Caps::CLIENT_LONG_PASSWORD) { 0 } else { own };
        if !capabilities.contains(NEEDED) {
            return Err(Error::stop("server is too old: it lacks pluggable authentication"));
        }
        let second = fields.take(nonce_length.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(second.strip_suffix(b"\0").unwrap_or(second));
        Ok(Self {
            id,
            version,
            capabilities,
            plugin: fields.until_zero().to_vec(),
            nonce,
            extended,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn greeting() -> Vec<u8> {
        let caps = (WANTED | Caps::CLIENT_SSL).bits().to_le_bytes();
        [
            &b"\x0a5.5.5-10.11.6-MariaDB\0\x07\x01\0\0ABCDEFGH\0"[..],
            &caps[..2],
            b"\x2d\x02\x00",
            &caps[2..],
            b"\x15",
            &[0; 10],
            b"IJKLMNOPQRST\0mysql_native_password\0",
        ]
        .concat()
    }

    #[test]
    fn a_greeting_parses() {
        let greeting = Greeting::parse(&greeting()).unwrap();
        assert_eq!(greeting.id, 0x107);
        assert_eq!(greeting.nonce, b"ABCDEFGHIJKLMNOPQRST");
        assert_eq!(greeting.plugin, b"mysql_native_password");
        assert!(greeting.capabilities.contains(Caps::CLIENT_SSL));
    }

    #[test]
    fn a_greeting_cut_short_is_an_error() {
        let whole = greeting();
        for cut in 0..whole.len() - "mysql_native_password\0".len() {
            assert!(Greeting::parse(&whole[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_refusal_in_place_of_a_greeting_is_the_servers_error() {
        let error = Greeting::parse(b"\xff\x10\x04Too many connections").unwrap_err();
        assert_eq!((error.kind(), error.server_code()), (ErrorKind::Retry, Some(1040)));
        assert!(Greeting::parse(b"HTTP/1.1 400 Bad Request").is_err());
    }

    #[test]
    fn tls_is_used_as_far_as_the_mode_asks() {
        let (with, without) = (Caps::CLIENT_SSL, Caps::empty());
        assert!(!wants_tls(TlsMode::Disabled, with).unwrap());
        assert!(wants_tls(TlsMode::Preferred, with).unwrap());
        assert!(!wants_tls(TlsMode::Preferred, without).unwrap());
        for mode in [TlsMode::Required, TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
            assert!(wants_tls(mode, with).unwrap());
            assert_eq!(wants_tls(mode, without).unwrap_err().kind(), ErrorKind::Stop);
        }
    }

    proptest! {
        #[test]
        fn any_greeting_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            drop(Greeting::parse(&[&b"\x0a"[..], &bytes].concat()));
        }
    }
}
