//! Packet framing: splits the byte stream of a connection into packets and checks their sequence.
//!
//! The transport comes before, login and results after. A packet that fits the read buffer is handed out as a range of
//! it; a larger one is assembled in a buffer of its own, which is freed when the next read needs the server.
//!
//! Invariants:
//! - A packet is copied at most once on its way to whoever takes it as [`Bytes`].
//! - Memory is reserved for one frame (16 MiB) at a time: a length is not believed before its bytes have come.
//! - Not cancel-safe: a dropped read leaves half a packet behind. [`Packets::wait`] is: it reads no packet.
//!
//! Who forwards packets ([`Packets::queue`], [`Packets::next_frame`]) numbers them anew: the sequence is per connection.

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::reply;
use crate::error::{Error, Result};

/// The most payload bytes of one frame; a frame of this length is continued by the next.
pub const MAX_FRAME: usize = 0xff_ffff;

/// The most bytes of one packet, as on the servers.
pub const MAX_PACKET: usize = 1 << 30;

/// Many rows come with one read; small against what the kernel buffers for a connection.
pub const BUFFER_BYTES: usize = 256 << 10;

/// A buffer for larger packets up to this size is kept for the next.
const KEPT_BYTES: usize = 4 << 20;

const HEADER: usize = 4;

/// Where the packet that was read last lies.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// In the read buffer.
    Buffer {
        /// First byte of the payload.
        start: usize,
        /// Behind its last byte.
        end: usize,
    },
    /// In the buffer for larger packets.
    Large,
}

/// A stream of packets in both directions.
pub struct Packets<S> {
    stream: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    large: Vec<u8>,
    sequence: u8,
    max_packet: usize,
    /// The length of a frame that was too large and has not been read.
    refused: Option<usize>,
    out: Vec<u8>,
}

impl<S> std::fmt::Debug for Packets<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packets<S> {
    /// Packets over a stream that carries many rows.
    pub fn new(stream: S) -> Self {
        Self::with_buffer(stream, BUFFER_BYTES, MAX_PACKET)
    }

    /// Packets over a stream, with a read buffer of so many bytes; a larger packet than `max_packet` is an error.
    pub fn with_buffer(stream: S, buffer_bytes: usize, max_packet: usize) -> Self {
        Self {
            stream,
            buffer: vec![0; buffer_bytes].into_boxed_slice(),
            start: 0,
            end: 0,
            large: Vec::new(),
            sequence: 0,
            max_packet,
            refused: None,
            out: Vec::new(),
        }
    }

    /// Wraps the stream in another one (TLS), as the client. The sequence goes on. Bytes that came before are refused: a server
    /// says nothing before the client's first word, so whoever sits between has put them there.
    ///
    /// # Errors
    /// Those of `wrap`; Stop if bytes came before.
    pub async fn wrap<T, F>(self, wrap: impl FnOnce(S) -> F) -> Result<Packets<T>>
    where
        F: Future<Output = Result<T>>,
    {
        if self.start != self.end {
            return Err(Error::stop("data came before the TLS handshake"));
        }
        self.wrap_behind(|stream, _| wrap(stream)).await
    }

    /// The same as the server. A client may send the first bytes of its handshake right behind the packet that asks for it, and
    /// they are read together. `wrap` is given them, to read them before what the stream brings: no packet is made of what
    /// came in the clear.
    ///
    /// # Errors
    /// Those of `wrap`.
    pub async fn wrap_behind<T, F>(self, wrap: impl FnOnce(S, Vec<u8>) -> F) -> Result<Packets<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let Self { stream, buffer, start, end, large, sequence, max_packet, refused, out } = self;
        let stream = wrap(stream, buffer[start..end].to_vec()).await?;
        Ok(Packets { stream, buffer, start: 0, end: 0, large, sequence, max_packet, refused, out })
    }

    /// Waits until the head of a packet has come, and reads nothing of it. Cancel-safe.
    ///
    /// # Errors
    /// Retry if the connection is closed or breaks.
    pub async fn wait(&mut self) -> Result<()> {
        while self.header().is_none() {
            self.fill().await?;
        }
        Ok(())
    }

    /// What comes next is the first packet of an exchange.
    pub fn restart(&mut self) {
        self.sequence = 0;
    }

    /// The packet if all of it has come already.
    ///
    /// # Errors
    /// Stop if it is out of order.
    #[inline]
    pub fn buffered(&mut self) -> Result<Option<At>> {
        let Some((length, sequence)) = self.header() else { return Ok(None) };
        let start = self.start + HEADER;
        let end = start + length;
        if length == MAX_FRAME || end > self.end {
            return Ok(None);
        }
        if sequence != self.sequence {
            self.unexpected_sequence(start)?;
        }
        self.sequence = sequence.wrapping_add(1);
        self.start = end;
        Ok(Some(At::Buffer { start, end }))
    }

    /// Reads the next packet.
    ///
    /// # Errors
    /// Retry if the connection breaks, Stop for a packet that is out of order or too large.
    pub async fn next(&mut self) -> Result<At> {
        loop {
            if let Some(at) = self.buffered()? {
                return Ok(at);
            }
            if let Some((length, _)) = self.header()
                && (length == MAX_FRAME || HEADER + length > self.buffer.len())
            {
                self.next_large(true).await?;
                return Ok(At::Large);
            }
            if self.large.capacity() > KEPT_BYTES {
                self.large = Vec::new();
            }
            self.fill().await?;
        }
    }

    /// Reads the next frame, and whether it is the last one of its packet: a packet of any size passes in pieces of at
    /// most 16 MiB.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_frame(&mut self) -> Result<(At, bool)> {
        while self.header().is_none() {
            self.fill().await?;
        }
        if self.header().is_some_and(|(length, _)| HEADER + length > self.buffer.len()) {
            let last = self.next_large(false).await? < MAX_FRAME;
            return Ok((At::Large, last));
        }
        Ok((self.next().await?, true))
    }

    /// Reads the next packet and copies nothing.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn read(&mut self) -> Result<&[u8]> {
        let at = self.next().await?;
        Ok(self.payload(at))
    }

    /// The packet that was read last.
    #[inline]
    pub fn payload(&self, at: At) -> &[u8] {
        match at {
            At::Buffer { start, end } => &self.buffer[start..end],
            At::Large => &self.large,
        }
    }

    /// The packet that was read last without its first `skip` bytes, in memory of its own.
    pub fn take(&mut self, at: At, skip: usize) -> Bytes {
        match at {
            At::Buffer { start, end } => {
                Bytes::copy_from_slice(&self.buffer[(start + skip).min(end)..end])
            }
            At::Large => {
                let bytes = Bytes::from(std::mem::take(&mut self.large));
                bytes.slice(skip.min(bytes.len())..)
            }
        }
    }

    /// Sends a command; its answer starts a new sequence.
    ///
    /// # Errors
    /// Retry if the connection breaks.
    pub async fn command(&mut self, code: u8, body: &[u8]) -> Result<()> {
        self.sequence = 0;
        let mut payload = Vec::with_capacity(1 + body.len());
        payload.push(code);
        payload.extend_from_slice(body);
        self.send(&payload).await
    }

    /// Sends a command whose body is in two parts, the second of which is large and is not copied.
    ///
    /// # Errors
    /// Retry if the connection breaks.
    pub async fn command_of_parts(&mut self, code: u8, head: &[u8], rest: &[u8]) -> Result<()> {
        let length = 1 + head.len() + rest.len();
        if length >= MAX_FRAME {
            return self.command(code, &[head, rest].concat()).await;
        }
        self.sequence = 0;
        let length = u32::try_from(length).expect("a frame is at most 16 MiB");
        self.out.extend_from_slice(&length.to_le_bytes()[..3]);
        self.out.extend_from_slice(&[self.sequence, code]);
        self.out.extend_from_slice(head);
        self.sequence = 1;
        self.stream.write_all(&self.out).await.map_err(lost)?;
        self.out.clear();
        self.stream.write_all(rest).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// Sends a packet that continues the exchange.
    ///
    /// # Errors
    /// Retry if the connection breaks.
    pub async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.queue(payload);
        self.flush().await
    }

    /// Puts a packet that continues the exchange behind what waits to be sent.
    pub fn queue(&mut self, payload: &[u8]) {
        let mut rest = payload;
        loop {
            let (frame, tail) = rest.split_at(rest.len().min(MAX_FRAME));
            self.queue_frame(frame);
            rest = tail;
            if frame.len() < MAX_FRAME {
                return;
            }
        }
    }

    /// Puts one frame behind what waits to be sent.
    ///
    /// # Panics
    /// If it is larger than a frame can be.
    pub fn queue_frame(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).expect("a frame is at most 16 MiB");
        assert!(frame.len() <= MAX_FRAME, "a frame is at most 16 MiB");
        self.out.reserve(frame.len() + HEADER);
        self.out.extend_from_slice(&length.to_le_bytes()[..3]);
        self.out.push(self.sequence);
        self.out.extend_from_slice(frame);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Bytes that wait to be sent.
    pub fn queued(&self) -> usize {
        self.out.len()
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// Retry if the connection breaks.
    pub async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).await.map_err(lost)?;
        self.out.clear();
        if self.out.capacity() > KEPT_BYTES {
            self.out = Vec::new();
        }
        self.stream.flush().await.map_err(lost)
    }

    /// Length and sequence id of the frame that comes next, if its header is there.
    #[inline]
    fn header(&self) -> Option<(usize, u8)> {
        let &[a, b, c, sequence] = self.buffer[self.start..self.end].first_chunk::<HEADER>()?;
        Some((usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16, sequence))
    }

    /// A server that ends a connection by itself (shutdown, KILL, idle for too long) says so outside of the sequence.
    #[cold]
    fn unexpected_sequence(&self, start: usize) -> Result<()> {
        if start < self.end && self.buffer[start] == reply::ERR {
            return Ok(());
        }
        Err(Error::stop("packets are out of order")
            .advice("Check that a MySQL or MariaDB server listens there."))
    }

    /// Reads a packet, or one frame of it, into the buffer for larger packets; returns the length of the last frame.
    async fn next_large(&mut self, whole: bool) -> Result<usize> {
        self.large.clear();
        loop {
            let (length, sequence) = loop {
                match self.header() {
                    Some(header) => break header,
                    None => self.fill().await?,
                }
            };
            self.start += HEADER;
            if sequence != self.sequence {
                self.unexpected_sequence(self.end)?;
            }
            self.sequence = sequence.wrapping_add(1);
            if self.large.len() + length > self.max_packet {
                self.refused = Some(length);
                return Err(Error::stop("packet is larger than is allowed here"));
            }
            self.read_frame(length).await?;
            if !whole || length < MAX_FRAME {
                return Ok(length);
            }
        }
    }

    /// Reads the rest of a packet that was too large and keeps nothing of it, so that the peer, which is still writing, can be
    /// answered. Whether there was one.
    ///
    /// # Errors
    /// Retry if the connection breaks.
    pub async fn skip_refused(&mut self) -> Result<bool> {
        let Some(mut length) = self.refused.take() else { return Ok(false) };
        loop {
            let mut missing = length;
            while missing > 0 {
                if self.start == self.end {
                    self.fill().await?;
                }
                let here = missing.min(self.end - self.start);
                self.start += here;
                missing -= here;
            }
            if length < MAX_FRAME {
                return Ok(true);
            }
            let (next, sequence) = loop {
                match self.header() {
                    Some(header) => break header,
                    None => self.fill().await?,
                }
            };
            self.start += HEADER;
            self.sequence = sequence.wrapping_add(1);
            length = next;
        }
    }

    /// Appends a frame's payload to the large packet: what has come from the read buffer, the rest from the stream.
    async fn read_frame(&mut self, length: usize) -> Result<()> {
        self.large.reserve(length);
        let here = length.min(self.end - self.start);
        self.large.extend_from_slice(&self.buffer[self.start..self.start + here]);
        self.start += here;
        let mut missing = length - here;
        while missing > 0 {
            let mut space = (&mut self.large).limit(missing);
            match self.stream.read_buf(&mut space).await.map_err(lost)? {
                0 => return Err(closed()),
                read => missing -= read,
            }
        }
        Ok(())
    }

    /// Reads what the server has sent into the free part of the read buffer.
    async fn fill(&mut self) -> Result<()> {
        // What is left is less than one packet: moving it is cheaper than a short read.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match self.stream.read(&mut self.buffer[self.end..]).await.map_err(lost)? {
            0 => Err(closed()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

fn lost(error: std::io::Error) -> Error {
    Error::retry("connection lost").source(error)
}

fn closed() -> Error {
    Error::retry("server closed the connection")
}

#[cfg(test)]
mod tests;
