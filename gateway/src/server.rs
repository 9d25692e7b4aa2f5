//! Listens, and starts a session for each client.
//!
//! A gateway that is to end takes no new client, lets the sessions go that have nothing open, and waits for the others ([`DRAIN_MAX`]).
//! Meanwhile it is a member as before: a switch waits for what is open here.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

use rustls::ServerConfig as TlsConfig;
use rustls::crypto::ring;
use shunt_engine::mysql::wire::packet::Packets;
use shunt_engine::mysql::wire::transport::{self, Stream};
use shunt_engine::runtime::tasks::{self, Task};
use shunt_engine::topology::Store;
use shunt_engine::{Error, Result, error::ResultExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::answer::SqlError;
use crate::board::{Board, Peer};
use crate::client;
use crate::config::GatewayConfig;
use crate::limits::{CLIENT_BUFFER, DRAIN_LOOK, DRAIN_MAX, LOGIN_MAX};
use crate::member::Member;
use crate::programs;
use crate::servers::Servers;
use crate::session::Session;

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: GatewayConfig,
    pub(crate) servers: Arc<Servers>,
    pub(crate) board: Arc<Board>,
    tls: Option<Arc<TlsConfig>>,
    /// In the upper bits of each session's number.
    number: u32,
    next: AtomicU32,
    connected: AtomicUsize,
    /// No more is begun.
    pub(crate) ends: CancellationToken,
}

/// Runs a gateway until cancelled, and then until its sessions have ended. `ready` is called once it listens, with its address.
///
/// # Errors
/// Usage if it cannot listen or its certificate cannot be read; of the topology if that cannot be read at the start.
pub async fn run(
    config: GatewayConfig,
    store: Arc<dyn Store>,
    cancel: CancellationToken,
    ready: impl FnOnce(&str) + Send,
) -> Result<()> {
    let tls = match &config.tls {
        Some((certificate, key)) => Some(Arc::new(tls_config(certificate, key)?)),
        None => None,
    };
    let listener = TcpListener::bind(&config.listen).await.map_err(|error| {
        Error::usage(format!("the gateway cannot listen on {}", config.listen)).source(error)
    })?;
    let address = listener.local_addr()?.to_string();
    let id = uuid::Uuid::new_v4();
    let board = Arc::new(Board::new(config.held_max));
    let servers = Arc::new(Servers::new(config.keyspaces.clone(), config.replica_lag_max));
    programs::first(&servers).await?;
    let mut member = Member::new(store, Arc::clone(&board), id.to_string(), address.clone());
    member.step().await.context("start the gateway")?;
    let drained = CancellationToken::new();
    let health = servers.watch(&drained);
    let programs = programs::watch(&servers, &board, &drained);
    let gateway = Arc::new(Gateway {
        servers,
        board,
        tls,
        number: u32::from(id.as_bytes()[0] & 0x7f) << 24,
        next: AtomicU32::new(1),
        connected: AtomicUsize::new(0),
        ends: cancel,
        config,
    });
    let member = tasks::spawn("gateway membership", member.run(drained.clone()));
    ready(&address);
    let sessions = accept(&gateway, &listener).await;
    drop(listener);
    drain(sessions).await;
    drained.cancel();
    drop((health, programs));
    member.join().await
}

/// Waits for the sessions to end, for so long; those that are left are cut off.
async fn drain(sessions: Vec<Task<()>>) {
    let until = Instant::now() + DRAIN_MAX;
    let open = || sessions.iter().filter(|session| !session.is_finished()).count();
    while open() > 0 && Instant::now() < until {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
    let left = open();
    if left > 0 {
        tracing::warn!(left, "sessions that had a statement or a transaction open are cut off");
    }
}

async fn accept(gateway: &Arc<Gateway>, listener: &TcpListener) -> Vec<Task<()>> {
    let mut sessions: Vec<Task<()>> = Vec::new();
    let cancel = &gateway.ends;
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return sessions,
            accepted = listener.accept() => accepted,
        };
        sessions.retain(|session| !session.is_finished());
        match accepted {
            Ok((stream, _)) => {
                let gateway = Arc::clone(gateway);
                sessions.push(tasks::spawn("session", Box::pin(gateway.serve(stream))));
            }
            Err(error) => {
                tracing::warn!("a client could not be accepted: {error}");
                tasks::pause(std::time::Duration::from_millis(50), cancel).await;
            }
        }
    }
}

/// Counts a client for as long as it lives.
struct Connected<'a>(&'a AtomicUsize);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A session's number, given back at its end.
struct Joined<'a>(&'a Board, u32);

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Gateway {
    async fn serve(self: Arc<Self>, stream: TcpStream) -> Result<()> {
        let gateway = &*self;
        let before = gateway.connected.fetch_add(1, Ordering::SeqCst);
        let _connected = Connected(&gateway.connected);
        stream.set_nodelay(true)?;
        transport::keep_alive(&stream)?;
        let address = stream.peer_addr()?;
        let stream: Stream = Box::new(stream);
        let mut packets =
            Packets::with_buffer(stream, CLIENT_BUFFER, gateway.config.packet_bytes_max);
        if before >= gateway.config.connections_max {
            return packets
                .send(&SqlError::new(1040, *b"08004", "Too many connections").packet())
                .await;
        }
        let id = gateway.number | (gateway.next.fetch_add(1, Ordering::SeqCst) & 0xff_ffff);
        let version = gateway.servers.version();
        let login =
            client::login(packets, address, id, &version, &gateway.config, gateway.tls.as_ref());
        let login = tokio::select! {
            biased;
            () = gateway.ends.cancelled() => return Ok(()),
            login = tokio::time::timeout(LOGIN_MAX, login) => login,
        };
        let client = match login {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                tracing::info!(%address, "client was not let in: {error}");
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        let peer = Arc::new(Peer::new(client.user.name.clone()));
        gateway.board.join(id, Arc::clone(&peer));
        let _joined = Joined(&gateway.board, id);
        let session = Session::new(Arc::clone(&self), client, id, peer);
        if let Err(error) = Box::pin(session.run()).await {
            tracing::debug!(%address, "session ended: {error}");
        }
        Ok(())
    }
}

fn tls_config(certificate: &Path, key: &Path) -> Result<TlsConfig> {
    let open = |path: &Path| {
        let file = std::fs::File::open(path);
        let unreadable =
            |error| Error::usage(format!("{} cannot be read", path.display())).source(error);
        file.map(BufReader::new).map_err(unreadable)
    };
    let certificates =
        rustls_pemfile::certs(&mut open(certificate)?).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| {
        Error::usage(format!("{} is not PEM", certificate.display())).source(error)
    })?;
    let private = rustls_pemfile::private_key(&mut open(key)?).ok().flatten();
    let private =
        private.ok_or_else(|| Error::usage(format!("{} holds no private key", key.display())))?;
    TlsConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::stop("TLS cannot be set up").source(error))?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| {
            Error::usage("certificate and key of the gateway do not fit").source(error)
        })
}
