//! The decoder on binlogs that real servers wrote. The files are described in `tests/fixtures/binlogs/README.md`.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may what it calls")]

/// The fuzz targets on their kept inputs.
mod corpus;
/// Values, images, transactions and errors, by hand.
mod decoded;
/// What the fuzzer calls.
#[path = "../../../tests/fuzz/entries.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own for the fuzzer")]
mod entries;
/// Every event and every cell is what the file beside the recording says.
mod expected;
/// One flipped bit is noticed.
mod flips;
/// The files.
mod recordings;
