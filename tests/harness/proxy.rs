//! A TCP proxy in front of a server that can lose every connection, at once or in the middle of what is being sent.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use shunt_engine::mysql::server::{Address, ServerConfig};
use shunt_engine::runtime::tasks::{Task, spawn};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Listens until it is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _listening: Task<()>,
}

struct Shared {
    /// Bytes that may still pass; cut at zero, and never if negative from the start.
    left: AtomicI64,
    cuts: AtomicU64,
    /// Cut when this has passed so often.
    mark: Mutex<Option<(Vec<u8>, usize)>>,
    /// The number of the cut that connections have to outlive.
    cut: watch::Sender<u64>,
    /// How far away the server seems to be, in milliseconds each way.
    away_ms: AtomicU64,
}

impl Shared {
    fn cut(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
        *self.mark.lock().unwrap() = None;
        self.cuts.fetch_add(1, Ordering::SeqCst);
        self.cut.send_modify(|number| *number += 1);
    }

    /// How many of these bytes pass, after which everything is cut.
    fn pass(&self, bytes: &[u8]) -> usize {
        if let Some(marked) = self.marked(bytes) {
            return marked;
        }
        let bytes_wide = i64::try_from(bytes.len()).unwrap();
        let before = self.left.fetch_sub(bytes_wide, Ordering::SeqCst);
        if before >= bytes_wide {
            return bytes.len();
        }
        usize::try_from(before.max(0)).unwrap()
    }

    /// Where the last of the awaited marks is. One that is torn between two readings is not counted.
    fn marked(&self, bytes: &[u8]) -> Option<usize> {
        let mut awaited = self.mark.lock().unwrap();
        let (mark, left) = awaited.as_mut()?;
        for (at, window) in bytes.windows(mark.len()).enumerate() {
            if window == mark.as_slice() {
                *left -= 1;
                if *left == 0 {
                    return Some(at);
                }
            }
        }
        None
    }
}

impl Proxy {
    /// Starts in front of a server.
    pub(crate) async fn start(server: &ServerConfig) -> Self {
        let Address::Tcp { host, port } = server.address.clone() else {
            panic!("a proxy needs a port")
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            left: AtomicI64::new(i64::MAX),
            cuts: AtomicU64::new(0),
            mark: Mutex::new(None),
            cut: watch::Sender::new(0),
            away_ms: AtomicU64::new(0),
        });
        let for_connections = shared.clone();
        let listening = spawn("proxy", async move {
            let mut connections = Vec::new();
            loop {
                let (client, _) = listener.accept().await?;
                let shared = for_connections.clone();
                let host = host.clone();
                connections.retain(|task: &Task<()>| !task.is_finished());
                connections.push(spawn("proxied", async move {
                    let Ok(server) = TcpStream::connect((host.as_str(), port)).await else {
                        return Ok(());
                    };
                    carry(client, server, &shared).await;
                    Ok(())
                }));
            }
        });
        Self { port: own_port, shared, _listening: listening }
    }

    /// The server as it is reached through the proxy.
    pub(crate) fn before(&self, server: &ServerConfig) -> ServerConfig {
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: self.port };
        ServerConfig { address, ..server.clone() }
    }

    /// Cuts every connection now.
    pub(crate) fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts every connection when so many more bytes have passed, in the middle of a packet most likely.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.shared.left.store(i64::try_from(bytes).unwrap(), Ordering::SeqCst);
    }

    /// Cuts every connection when these bytes have passed so often (or a little later), in either direction.
    pub(crate) fn cut_at(&self, mark: &str, times: usize) {
        *self.shared.mark.lock().unwrap() = Some((mark.as_bytes().to_vec(), times));
    }

    /// What passes from now on takes so long, each way.
    pub(crate) fn move_away(&self, ms: u64) {
        self.shared.away_ms.store(ms, Ordering::SeqCst);
    }

    /// How often it has cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, server: TcpStream, shared: &Shared) {
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = cut.changed() => {}
        () = pump(from_client, to_server, shared) => {}
        () = pump(from_server, to_client, shared) => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, shared: &Shared) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(bytes @ 1..) = from.read(&mut buffer).await else { return };
        let pass = shared.pass(&buffer[..bytes]);
        let away = shared.away_ms.load(Ordering::SeqCst);
        if away > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(away)).await;
        }
        if to.write_all(&buffer[..pass]).await.is_err() {
            return;
        }
        if pass < bytes {
            shared.cut();
            return;
        }
    }
}
