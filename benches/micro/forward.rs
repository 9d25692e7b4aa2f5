//! Passing answers on from a server to a client, beside a copy that knows no packets. Both connections are memory: a read or a write
//! is a copy into a buffer, as it is for a socket, and nobody waits.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use shunt_engine::mysql::wire::packet::{MAX_PACKET, Packets};
use shunt_engine::mysql::wire::transport::Stream;
use shunt_gateway::forward::{Answer, Forward};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::recording;

/// The gateway's read buffers, of a server's connection and of a client's.
const BACKEND_BUFFER: usize = 64 << 10;
const CLIENT_BUFFER: usize = 16 << 10;

/// What comes is given; what goes is copied and forgotten.
#[derive(Debug)]
struct Memory {
    input: Bytes,
    out: Box<[u8]>,
}

impl Memory {
    fn new(input: &Bytes) -> Self {
        Self { input: input.clone(), out: vec![0; 256 << 10].into_boxed_slice() }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = buf.remaining().min(self.input.len());
        buf.put_slice(&self.input.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let length = bytes.len().min(self.out.len());
        self.out[..length].copy_from_slice(&bytes[..length]);
        black_box(&self.out);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Answers of a server.
#[derive(Clone, Copy, Debug)]
struct Answers {
    name: &'static str,
    count: usize,
    /// Rows of each.
    rows: usize,
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const ANSWERS: [Answers; 2] = [
    Answers { name: "1,000 answers of a row", count: 1000, rows: 1 },
    Answers { name: "an answer of 10,000 rows", count: 1, rows: 10_000 },
];

impl Answers {
    /// Their bytes, numbered as a server numbers them.
    fn bytes(self) -> Bytes {
        let rows = recording::text_rows();
        let mut out = Vec::new();
        for _ in 0..self.count {
            let mut number = 1;
            let mut push = |payload: &[u8]| push_packet(&mut out, &mut number, payload);
            push(&[4]);
            (0..4).for_each(|_| push(b"\x03def\x06sbtest\x07sbtest1\x07sbtest1\x01c\x01c\x0c!\0h\x01\0\0\xfe\x01\0\0\0\0"));
            push(b"\xfe\0\0\x02\0");
            rows.iter().cycle().take(self.rows).for_each(|row| push(row));
            push(b"\xfe\0\0\x02\0");
        }
        out.into()
    }

    fn count<'a, 'b>(self, bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
        let bencher = bencher.counter(ItemsCount::new(self.count * self.rows));
        bencher.counter(BytesCount::new(self.bytes().len()))
    }
}

fn push_packet(out: &mut Vec<u8>, number: &mut u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("small");
    out.extend_from_slice(&length.to_le_bytes()[..3]);
    out.push(*number);
    out.extend_from_slice(payload);
    *number = number.wrapping_add(1);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

/// As a session does it: a command to the server, whose answer then is passed on.
async fn forward(
    answers: Answers,
    backend: &mut Packets<Stream>,
    client: &mut Packets<Stream>,
) -> shunt_engine::Result<()> {
    for _ in 0..answers.count {
        // The client's command, and ours: what follows is numbered from one on.
        client.command(0x03, b"SELECT").await?;
        backend.command(0x03, b"SELECT").await?;
        let (first, last) = backend.next_frame().await?;
        let mut forward = Forward { backend, client, flags: 0 };
        let end = forward.run(Answer::Results, first, last).await.expect("nothing breaks");
        assert_eq!(end.status, Some(2));
    }
    Ok(())
}

#[divan::bench(args = ANSWERS)]
fn shunt(bencher: Bencher<'_, '_>, answers: Answers) {
    let (runtime, input) = (runtime(), answers.bytes());
    let packets = |input: &Bytes, buffer| {
        let stream: Stream = Box::new(Memory::new(input));
        Packets::with_buffer(stream, buffer, MAX_PACKET)
    };
    let connections = || (packets(&input, BACKEND_BUFFER), packets(&Bytes::new(), CLIENT_BUFFER));
    answers.count(bencher).with_inputs(connections).bench_local_refs(|(backend, client)| {
        runtime.block_on(forward(answers, backend, client)).expect("nothing breaks");
    });
}

/// It has a buffer of 8 KiB, which stays in the nearest cache.
#[divan::bench(args = ANSWERS)]
fn limit_tokio_copy(bencher: Bencher<'_, '_>, answers: Answers) {
    let (runtime, input) = (runtime(), answers.bytes());
    let connections = || (Memory::new(&input), Memory::new(&Bytes::new()));
    answers.count(bencher).with_inputs(connections).bench_local_refs(|(backend, client)| {
        runtime.block_on(tokio::io::copy(backend, client)).expect("nothing breaks")
    });
}
