use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::error::ErrorKind;

/// The frames of packets whose payloads repeat one byte, sequence ids counted up from zero.
fn frames(packets: &[(usize, u8)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 0_u8;
    for &(length, fill) in packets {
        let mut rest = length;
        loop {
            let frame = rest.min(MAX_FRAME);
            out.extend_from_slice(&u32::try_from(frame).unwrap().to_le_bytes()[..3]);
            out.push(sequence);
            out.resize(out.len() + frame, fill);
            sequence = sequence.wrapping_add(1);
            rest -= frame;
            if frame < MAX_FRAME {
                break;
            }
        }
    }
    out
}

/// Sends `bytes` in pieces and then closes the stream.
async fn feed(mut server: DuplexStream, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        // A reader that has given up is the test's business.
        if server.write_all(piece).await.is_err() {
            return;
        }
    }
}

async fn read_all(mut packets: Packets<DuplexStream>) -> (Vec<Bytes>, Error) {
    let mut read = Vec::new();
    loop {
        match packets.next().await {
            Ok(at) => {
                let seen = packets.payload(at).to_vec();
                read.push(packets.take(at, 0));
                assert!(read.last().unwrap() == &seen);
            }
            Err(error) => return (read, error),
        }
    }
}

async fn exchange(bytes: &[u8], piece: usize) -> (Vec<Bytes>, Error) {
    let (client, server) = duplex(1 << 20);
    tokio::join!(read_all(Packets::new(client)), feed(server, bytes, piece)).0
}

#[tokio::test]
async fn packets_come_out_whole_however_they_arrive() {
    let sent = [
        (0, 0),
        (1, 1),
        (300, 2),
        (BUFFER_BYTES - HEADER - 1, 3),
        (BUFFER_BYTES - HEADER, 4),
        (BUFFER_BYTES - HEADER + 1, 5),
        (2, 6),
        (900_000, 7),
        (0, 8),
    ];
    let bytes = frames(&sent);
    for piece in [1, 3, 1000, 100_000, bytes.len()] {
        let (read, error) = exchange(&bytes, piece).await;
        assert_eq!(read.len(), sent.len());
        for (packet, (length, fill)) in read.iter().zip(sent) {
            assert!(packet.len() == length && packet.iter().all(|&b| b == fill), "{length}");
        }
        assert_eq!(error.to_string(), "server closed the connection");
        assert_eq!(error.kind(), ErrorKind::Retry);
    }
}

#[tokio::test]
async fn packets_around_16_mib_are_put_together() {
    for length in [MAX_FRAME - 1, MAX_FRAME, MAX_FRAME + 1, 2 * MAX_FRAME, 3 * MAX_FRAME - 5] {
        let (read, _) = exchange(&frames(&[(5, 1), (length, 2), (7, 3)]), 700_001).await;
        assert_eq!(read.iter().map(Bytes::len).collect::<Vec<_>>(), [5, length, 7]);
        assert!(read[1].iter().all(|&b| b == 2));
    }
}

#[tokio::test]
async fn frames_pass_one_by_one_and_come_out_the_same() {
    let bytes = frames(&[(5, 1), (MAX_FRAME, 2), (2 * MAX_FRAME + 9, 3), (0, 4), (700, 5)]);
    let (client, server) = duplex(1 << 20);
    let (sink, mut seen) = duplex(80 << 20);
    let (mut from, mut to) =
        (Packets::with_buffer(client, 16 << 10, MAX_PACKET), Packets::new(sink));
    let pass = async {
        from.wait().await.unwrap();
        let mut packets = 0;
        while let Ok((at, last)) = from.next_frame().await {
            to.queue_frame(from.payload(at));
            packets += usize::from(last);
        }
        to.flush().await.unwrap();
        drop(to);
        packets
    };
    let (packets, ()) = tokio::join!(pass, feed(server, &bytes, 700_001));
    let mut out = Vec::new();
    seen.read_to_end(&mut out).await.unwrap();
    assert_eq!(packets, 5);
    assert!(out == bytes);
}

#[tokio::test]
async fn more_than_256_packets_wrap_the_sequence() {
    let (read, _) = exchange(&frames(&[(10, 1); 1000]), 999).await;
    assert_eq!(read.len(), 1000);
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_packet_is_lost() {
    for (length, cut) in [(10, 3), (10, 4), (10, 9), (400_000, 1), (MAX_FRAME, 1)] {
        let bytes = frames(&[(length, 1)]);
        let (read, error) = exchange(&bytes[..bytes.len() - cut], 100_000).await;
        assert!(read.is_empty());
        assert_eq!(error.kind(), ErrorKind::Retry);
    }
}

#[tokio::test]
async fn a_packet_out_of_order_is_an_error_unless_it_is_the_servers_last_word() {
    for length in [10, 400_000] {
        let mut bytes = frames(&[(length, 1)]);
        bytes[3] = 9;
        let (read, error) = exchange(&bytes, 1000).await;
        assert!(read.is_empty());
        assert_eq!(error.kind(), ErrorKind::Stop);
    }
    let (read, _) = exchange(b"\x03\0\0\x07\xff\x1d\x04", 1000).await;
    assert_eq!(read, [&b"\xff\x1d\x04"[..]]);
}

#[tokio::test]
async fn a_packet_over_the_limit_is_an_error() {
    for (length, fits) in [(400_000, true), (400_001, false), (MAX_FRAME + 9, false)] {
        let (client, server) = duplex(1 << 20);
        let mut packets = Packets::new(client);
        packets.max_packet = 400_000;
        let bytes = frames(&[(length, 1)]);
        let ((read, error), ()) = tokio::join!(read_all(packets), feed(server, &bytes, 100_000));
        assert_eq!(read.len(), usize::from(fits));
        assert_eq!(error.kind(), if fits { ErrorKind::Retry } else { ErrorKind::Stop });
    }
}

#[tokio::test]
async fn memory_of_a_large_packet_is_given_back() {
    let (client, server) = duplex(1 << 20);
    let mut packets = Packets::new(client);
    let bytes = frames(&[(KEPT_BYTES * 2, 1), (3, 2)]);
    let check = async {
        let at = packets.next().await.unwrap();
        assert_eq!(packets.payload(at).len(), KEPT_BYTES * 2);
        packets.next().await.unwrap();
        packets.next().await.unwrap_err();
        assert_eq!(packets.large.capacity(), 0);
    };
    tokio::join!(check, feed(server, &bytes, 100_000));
}

#[tokio::test]
async fn what_is_sent_is_framed() {
    for length in [0, 1, MAX_FRAME - 1, MAX_FRAME, MAX_FRAME + 1] {
        let (client, mut server) = duplex(1 << 20);
        let mut packets = Packets::new(client);
        let payload = vec![7; length];
        let mut seen = Vec::new();
        let send = async {
            packets.send(&payload).await.unwrap();
            drop(packets);
        };
        let (read, ()) = tokio::join!(server.read_to_end(&mut seen), send);
        read.unwrap();
        assert!(seen == frames(&[(length, 7)]), "{length}");
    }
}

#[tokio::test]
async fn data_ahead_of_the_tls_handshake_is_refused() {
    let (client, server) = duplex(1 << 10);
    let mut packets = Packets::new(client);
    let read = async {
        packets.next().await.unwrap();
        packets.wrap(|stream| std::future::ready(Ok(stream))).await.err().unwrap()
    };
    let bytes = frames(&[(3, 1), (4, 2)]);
    let (error, ()) = tokio::join!(read, feed(server, &bytes, 100));
    assert_eq!(error.kind(), ErrorKind::Stop);
}

#[tokio::test]
async fn what_is_behind_a_packet_that_was_too_large_can_be_read() {
    let bytes = frames(&[(MAX_FRAME + 5, 1), (3, 2)]);
    let (client, server) = duplex(1 << 20);
    let read = async {
        let mut packets = Packets::with_buffer(client, 4096, 100);
        assert!(!packets.skip_refused().await.unwrap());
        assert_eq!(packets.next().await.unwrap_err().kind(), ErrorKind::Stop);
        assert!(packets.skip_refused().await.unwrap());
        assert_eq!(packets.read().await.unwrap(), [2; 3]);
        assert!(!packets.skip_refused().await.unwrap());
    };
    tokio::join!(read, feed(server, &bytes, 1 << 16));
}
