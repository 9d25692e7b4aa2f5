//! In a file with CRC32 one flipped bit is noticed, wherever it is. The one exception is the flag that a server sets in the format
//! event while it writes the file, and counts as unset in the checksum.

use std::time::SystemTime;

use bytes::Bytes;
use shunt_engine::ErrorKind;
use shunt_engine::mysql::binlog::{Decoder, EventBody};

use super::recordings::{all, flavor, split};

/// In events up to this size every bit is flipped, in larger ones one of each byte.
const SMALL: usize = 600;
/// The format event's flag LOG_EVENT_BINLOG_IN_USE_F: byte and bit.
const IN_USE: (usize, u32) = (17, 0);

/// A bit of each byte, by a seed: Knuth's generator of numbers.
fn bits(seed: u64, len: usize) -> impl Iterator<Item = (usize, u32)> {
    let mut state = seed;
    (0..len).map(move |at| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (at, u32::try_from(state >> 61).unwrap())
    })
}

/// Of this run, or given by `SHUNT_TEST_SEED`.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("SHUNT_TEST_SEED").ok();
    given.map_or_else(
        || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos())
        },
        |seed| seed.parse().unwrap(),
    )
}

/// The event with the bit flipped is an error: one that may go away if it is read again, unless its header does not fit any more.
fn check(decoder: &Decoder, event: &Bytes, (at, bit): (usize, u32), place: &str) {
    let mut damaged = event.to_vec();
    damaged[at] ^= 1 << bit;
    match decoder.clone().decode(damaged.into()) {
        Ok(event) => panic!("{place}: bit {bit} of byte {at} is not noticed: {event:?}"),
        Err(error) if (9..13).contains(&at) => {
            assert!(error.to_string().contains("it says it has"), "{place}: {error}");
        }
        Err(_) => {}
    }
}

/// Checks a file; gives how many of its events have a checksum.
fn check_file(name: &str, seed: u64) -> usize {
    let mut decoder = Decoder::new(flavor(name));
    let mut checksum = false;
    let mut checked = 0;
    for (number, event) in split(name).into_iter().enumerate() {
        let before = decoder.clone();
        // What our decoder refuses is refused with other bits, too.
        let decoded = decoder.decode(event.clone());
        let format = match decoded.map(|event| event.body) {
            Ok(EventBody::FormatDescription { checksum: has, .. }) => {
                checksum = has;
                true
            }
            Ok(_) => false,
            Err(_) => return checked,
        };
        if !checksum {
            continue;
        }
        let place = format!("{name}, event {number} of {} bytes, seed {seed}", event.len());
        let every = (0..event.len()).flat_map(|at| (0..8).map(move |bit| (at, bit)));
        let chosen: Box<dyn Iterator<Item = _>> =
            if event.len() <= SMALL { Box::new(every) } else { Box::new(bits(seed, event.len())) };
        for flipped in chosen.filter(|&flipped| !(format && flipped == IN_USE)) {
            check(&before, &event, flipped, &place);
        }
        checked += 1;
    }
    checked
}

#[test]
fn one_flipped_bit_is_noticed_in_any_event() {
    let seed = seed();
    println!("SHUNT_TEST_SEED={seed}");
    let checked: usize = all().iter().map(|name| check_file(name, seed)).sum();
    assert!(checked >= 450, "only {checked} events have a checksum");
}

#[test]
fn a_wrong_checksum_may_be_tried_again() {
    for name in ["mariadb-10.11-edges.000001", "time_issue.000001"] {
        let mut decoder = Decoder::new(flavor(name));
        for event in split(name) {
            let mut broken = event.to_vec();
            *broken.last_mut().unwrap() ^= 1;
            let error = decoder.clone().decode(broken.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Retry, "{name}: {error}");
            decoder.decode(event).unwrap();
        }
    }
}
