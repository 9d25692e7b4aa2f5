//! Passes a server's answer on to the client, packet by packet, and notes how it ended.
//!
//! A packet's first byte and length say what it is; its content is not looked at, but for the ends: OK, ERR and EOF carry the
//! status flags that say whether a transaction is open and whether another result follows. Packets are numbered anew.

use shunt_engine::mysql::wire::packet::{At, Packets};
use shunt_engine::mysql::wire::transport::Stream;
use shunt_engine::mysql::wire::{fields::Fields, reply};
use shunt_engine::{Error, Result};

use crate::answer::MORE_RESULTS;
use crate::limits::ANSWER_BYTES;

/// What kind of answer a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Results, each OK or ERR, or columns and rows.
    Results,
    /// Rows up to an EOF: COM_FIELD_LIST, COM_STMT_FETCH.
    Rows,
    /// That of COM_STMT_PREPARE; the client is told this number instead of the server's.
    Prepared {
        /// The statement's number for the client.
        id: u32,
    },
}

/// Status flag: rows are to be fetched.
const CURSOR_EXISTS: u16 = 0x0040;

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The server's status flags; `None` after an error.
    pub status: Option<u16>,
    /// The error's code.
    pub error: Option<u16>,
    /// An AUTO_INCREMENT value was given.
    pub insert_id: u64,
    /// The server's number of a prepared statement, and how many parameters it has.
    pub prepared: Option<(u32, u16)>,
}

/// Which side broke.
#[derive(Debug)]
pub enum Broken {
    /// The server's connection.
    Backend(Error),
    /// The client's.
    Client(Error),
}

/// Passes one answer on.
#[derive(Debug)]
pub struct Forward<'a> {
    /// The server's connection.
    pub backend: &'a mut Packets<Stream>,
    /// The client's.
    pub client: &'a mut Packets<Stream>,
    /// Status flags that the last packet gets in addition: another result of the gateway's follows, or a transaction has begun that the
    /// server does not know of yet.
    pub flags: u16,
}

/// The most bytes of column definitions that are held back.
const COLUMNS_MAX: usize = 4 << 20;

/// Whether an answer begins with column definitions.
pub(crate) fn has_columns(first: &[u8]) -> bool {
    !matches!(first.first(), None | Some(&(reply::OK | reply::ERR | reply::LOCAL_INFILE)))
}

/// The column definitions in front of rows, whose first packet has been read. What follows them is to be read next.
///
/// # Errors
/// If the connection breaks, or they are too many.
pub(crate) async fn columns(backend: &mut Packets<Stream>, first: At) -> Result<Vec<Vec<u8>>> {
    let head = backend.payload(first).to_vec();
    let count = Fields(&head).lenenc()?;
    let mut bytes = 0;
    let mut held = vec![head];
    for _ in 0..=count {
        let payload = backend.read().await?;
        bytes += payload.len();
        if bytes > COLUMNS_MAX {
            return Err(Error::stop("column definitions are too large"));
        }
        held.push(payload.to_vec());
    }
    Ok(held)
}

fn backend<T>(result: Result<T>) -> Result<T, Broken> {
    result.map_err(Broken::Backend)
}

impl Forward<'_> {
    /// Passes the answer on; its first packet has been read already.
    ///
    /// # Errors
    /// If a connection breaks or the server's answer is not understood.
    pub async fn run(&mut self, answer: Answer, first: At, last: bool) -> Result<End, Broken> {
        let mut end = End::default();
        match answer {
            Answer::Results => self.results(first, last, &mut end).await?,
            Answer::Rows => {
                if !self.ends_rows(first, last, &mut end)? {
                    self.frame(first, last).await?;
                    self.rows(&mut end).await?;
                }
            }
            Answer::Prepared { id } => self.prepared(first, id, &mut end).await?,
        }
        self.client.flush().await.map_err(Broken::Client)?;
        Ok(end)
    }

    /// The same behind column definitions that were held back; `first` is what follows them.
    pub(crate) async fn run_behind(
        &mut self,
        columns: &[Vec<u8>],
        first: At,
        last: bool,
    ) -> Result<End, Broken> {
        columns.iter().for_each(|packet| self.client.queue(packet));
        self.run(Answer::Rows, first, last).await
    }

    async fn results(&mut self, mut at: At, mut last: bool, end: &mut End) -> Result<(), Broken> {
        loop {
            let payload = self.backend.payload(at);
            let more = match payload.first() {
                Some(&reply::OK | &reply::ERR) => self.pass(at, end)?,
                Some(&reply::LOCAL_INFILE) => {
                    self.local_file(at).await?;
                    (at, last) = self.next().await?;
                    continue;
                }
                Some(_) => {
                    let columns = backend(Fields(payload).lenenc())?;
                    self.frame(at, last).await?;
                    for _ in 0..columns {
                        self.whole().await?;
                    }
                    if self.only_cursor(end).await? { false } else { self.rows(end).await? }
                }
                None => return Err(Broken::Backend(Error::stop("empty answer of the server"))),
            };
            if !more {
                return Ok(());
            }
            (at, last) = self.next().await?;
        }
    }

    /// Passes on the EOF behind the columns. A cursor's rows do not follow it, they are fetched.
    async fn only_cursor(&mut self, end: &mut End) -> Result<bool, Broken> {
        let (at, _) = self.next().await?;
        let payload = self.backend.payload(at);
        if payload.first() == Some(&reply::ERR) {
            self.pass(at, end)?;
            return Ok(true);
        }
        let status = backend(reply::parse_eof(payload))?.status;
        self.client.queue(payload);
        if status & CURSOR_EXISTS != 0 {
            end.status = Some(status);
        }
        Ok(status & CURSOR_EXISTS != 0)
    }

    /// Rows up to their end; whether another result follows.
    async fn rows(&mut self, end: &mut End) -> Result<bool, Broken> {
        loop {
            let (at, last) = self.next().await?;
            if self.ends_rows(at, last, end)? {
                return Ok(end.status.is_some_and(|status| status & MORE_RESULTS != 0));
            }
            self.frame(at, last).await?;
        }
    }

    fn ends_rows(&mut self, at: At, last: bool, end: &mut End) -> Result<bool, Broken> {
        let payload = self.backend.payload(at);
        let ends = last && (reply::is_eof(payload) || payload.first() == Some(&reply::ERR));
        if ends {
            self.pass(at, end)?;
        }
        Ok(ends)
    }

    /// Passes the end of a result on; whether another one follows.
    fn pass(&mut self, at: At, end: &mut End) -> Result<bool, Broken> {
        let payload = self.backend.payload(at);
        let (status_at, parsed) = match payload.first() {
            Some(&reply::ERR) => {
                end.error = backend(Fields(&payload[1..]).u16()).map(Some)?;
                end.status = None;
                self.client.queue(payload);
                return Ok(false);
            }
            Some(&reply::OK) => {
                let mut fields = Fields(&payload[1..]);
                backend(fields.lenenc())?;
                backend(fields.lenenc())?;
                (payload.len() - fields.0.len(), backend(reply::parse_ok(payload))?)
            }
            Some(&reply::EOF) if reply::is_eof(payload) => (3, backend(reply::parse_eof(payload))?),
            _ => {
                // COM_STATISTICS answers with bare text.
                self.client.queue(payload);
                return Ok(false);
            }
        };
        end.status = Some(parsed.status);
        if parsed.insert_id != 0 {
            end.insert_id = parsed.insert_id;
        }
        if self.flags != 0 && !parsed.more_results {
            let mut patched = payload.to_vec();
            let status = (parsed.status | self.flags).to_le_bytes();
            patched[status_at..status_at + 2].copy_from_slice(&status);
            self.client.queue(&patched);
        } else {
            self.client.queue(payload);
        }
        Ok(parsed.more_results)
    }

    async fn prepared(&mut self, at: At, id: u32, end: &mut End) -> Result<(), Broken> {
        let payload = self.backend.payload(at);
        if payload.first() != Some(&reply::OK) {
            self.pass(at, end)?;
            return Ok(());
        }
        let mut fields = Fields(&payload[1..]);
        let number = backend(fields.u32())?;
        let (columns, parameters) = (backend(fields.u16())?, backend(fields.u16())?);
        let mut patched = payload.to_vec();
        patched[1..5].copy_from_slice(&id.to_le_bytes());
        self.client.queue(&patched);
        for count in [parameters, columns] {
            if count > 0 {
                for _ in 0..=count {
                    self.whole().await?;
                }
            }
        }
        end.prepared = Some((number, parameters));
        Ok(())
    }

    /// The client's file, up to its empty packet, to the server.
    async fn local_file(&mut self, at: At) -> Result<(), Broken> {
        let payload = self.backend.payload(at);
        self.client.queue(payload);
        self.client.flush().await.map_err(Broken::Client)?;
        loop {
            let (at, last) = self.client.next_frame().await.map_err(Broken::Client)?;
            let payload = self.client.payload(at);
            let done = last && payload.is_empty();
            self.backend.queue_frame(payload);
            if done || self.backend.queued() > ANSWER_BYTES {
                backend(self.backend.flush().await)?;
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Passes the next packet on as it is.
    async fn whole(&mut self) -> Result<(), Broken> {
        loop {
            let (at, last) = self.next().await?;
            self.frame(at, last).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Passes a frame on, and what continues it.
    async fn frame(&mut self, at: At, mut last: bool) -> Result<(), Broken> {
        self.client.queue_frame(self.backend.payload(at));
        while !last {
            self.client.flush().await.map_err(Broken::Client)?;
            let (at, next_last) = backend(self.backend.next_frame().await)?;
            self.client.queue_frame(self.backend.payload(at));
            last = next_last;
        }
        if self.client.queued() > ANSWER_BYTES {
            self.client.flush().await.map_err(Broken::Client)?;
        }
        Ok(())
    }

    /// The server's next frame. What has been put together is sent before waiting for it.
    async fn next(&mut self) -> Result<(At, bool), Broken> {
        if let Some(at) = backend(self.backend.buffered())? {
            return Ok((at, true));
        }
        if self.client.queued() > 0 {
            self.client.flush().await.map_err(Broken::Client)?;
        }
        backend(self.backend.next_frame().await)
    }
}
