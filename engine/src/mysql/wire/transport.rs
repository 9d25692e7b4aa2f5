//! Opens the byte stream to a server: TCP or a unix socket. TLS is laid over it during the login.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::error::{Error, Result};
use crate::mysql::server::Address;

/// A peer that vanished without a word is noticed after about two minutes.
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Has the kernel ask an idle peer whether it is still there, so that one that vanished does not hold its connection for ever.
///
/// # Errors
/// Of the system.
pub fn keep_alive(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    let keepalive =
        socket2::TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Anything that bytes are read from and written to.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Transport for T {}

/// A stream of whichever kind the address asks for. One indirect call per read is nothing beside the read.
pub type Stream = Box<dyn Transport>;

/// Connects.
///
/// # Errors
/// Retry if nobody answers there.
pub async fn open(address: &Address) -> Result<Stream> {
    let unreachable = |error| Error::retry("server cannot be reached").source(error);
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            keep_alive(&stream).map_err(unreachable)?;
            Ok(Box::new(stream))
        }
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?)),
    }
}
