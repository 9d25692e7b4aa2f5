//! The fuzz targets (`tests/fuzz`) on their kept inputs. Those named `recorded` are from the recordings, and are written anew by
//! `SHUNT_WRITE_EXPECTED=1`; all others were once found by the fuzzer.

use std::path::PathBuf;

use shunt_engine::mysql::server::Flavor;

use super::entries;
use super::recordings::{all, flavor, split};

/// Larger inputs teach a fuzzer little.
const RECORDED_MAX: usize = 4000;

/// A target's name and what it calls.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 4] = [
    ("event", entries::event),
    ("rows", entries::rows),
    ("gtid", entries::gtid),
    ("json", entries::json),
];

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "tests", "fuzz", "corpus", target].iter().collect()
}

/// A recording as the target `event` takes it.
fn whole(name: &str) -> Vec<u8> {
    let mut input = vec![u8::from(flavor(name) == Flavor::MariaDb)];
    split(name).iter().for_each(|event| input.extend_from_slice(event));
    input
}

/// The row events of a recording, each as the target `rows` takes it.
fn row_events(name: &str) -> Vec<Vec<u8>> {
    let checksum = if name.ends_with("-row.binlog") { 0 } else { 4 };
    let mut map = Vec::new();
    let mut inputs = Vec::new();
    for event in split(name) {
        if event.len() < 19 + checksum {
            break;
        }
        let body = &event[19..event.len() - checksum];
        let kind = match event[4] {
            19 => {
                map = body.to_vec();
                continue;
            }
            kind @ 23..=25 => kind - 23,
            kind @ 30..=32 => kind - 30 + 3,
            _ => continue,
        };
        let mut input = vec![kind << 1 | u8::from(flavor(name) == Flavor::MariaDb)];
        input.extend(u16::try_from(map.len()).unwrap().to_le_bytes());
        input.extend_from_slice(&map);
        input.extend_from_slice(body);
        inputs.push(input);
    }
    inputs
}

const GTIDS: &[&[u8]] = &[
    b"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7-9,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:tag:1:b:3-4",
    b"3e11fa47-71ca-11e1-9e33-c80aa9429562:tag_1:9223372036854775806",
    b"0-1-100, 1-2-18446744073709551615",
    b"\x01\0\0\0\0\0\0\0\xb5\xcd\x16\x24\x5f\x30\x11\xe4\xb4\xe9\x10\x51\x72\x1b\xd2\x41\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0",
    b"\x01\x01\0\0\0\0\0\x01\xb5\xcd\x16\x24\x5f\x30\x11\xe4\xb4\xe9\x10\x51\x72\x1b\xd2\x41\x06abc\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0",
];

const RULES: &[&[u8]] = &[
    br#"{"rules": [{"from_table": "customer.corder@rdonly", "to_tables": ["commerce.corder"]}]}"#,
    br#"{"rules": [{"fromTable": "b@replica", "toTables": ["x.b"]}, {"from_table": "\u00e4 b", "to_tables": ["x.y"]}]}"#,
    br#"{"rules": []}"#,
];

fn write_recorded() {
    let write = |target: &str, at: usize, input: &[u8]| {
        std::fs::create_dir_all(folder(target)).unwrap();
        std::fs::write(folder(target).join(format!("recorded-{at:02}")), input).unwrap();
    };
    let small = |input: &Vec<u8>| input.len() <= RECORDED_MAX;
    let whole = all().iter().map(|name| whole(name)).filter(small).collect::<Vec<_>>();
    let rows = all().iter().flat_map(|name| row_events(name)).filter(small).collect::<Vec<_>>();
    whole.iter().enumerate().for_each(|(at, input)| write("event", at, input));
    // Every third: many are alike.
    rows.iter().step_by(3).enumerate().for_each(|(at, input)| write("rows", at, input));
    GTIDS.iter().enumerate().for_each(|(at, input)| write("gtid", at, input));
    RULES.iter().enumerate().for_each(|(at, input)| write("json", at, input));
}

#[test]
fn kept_inputs_hold_their_properties() {
    if std::env::var_os("SHUNT_WRITE_EXPECTED").is_some() {
        write_recorded();
    }
    for (target, entry) in TARGETS {
        let mut count = 0;
        for file in std::fs::read_dir(folder(target)).unwrap() {
            let file = file.unwrap().path();
            println!("{}", file.display());
            entry(&std::fs::read(&file).unwrap());
            count += 1;
        }
        assert!(count > 2, "{target} has {count} inputs");
    }
}

/// Recordings of all sizes, and every one of them cut short anywhere.
#[test]
fn recordings_hold_the_properties_however_short() {
    for name in all() {
        let input = whole(&name);
        let step = input.len() / 300 + 1;
        for len in (0..input.len()).step_by(step) {
            entries::event(&input[..len]);
        }
        entries::event(&input);
        row_events(&name).iter().for_each(|input| entries::rows(input));
    }
}

/// Knuth's generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfe, 0xff];
        match self.below(2) {
            0 => EDGES[self.below(EDGES.len())],
            _ => self.below(256).to_le_bytes()[0],
        }
    }

    /// A few changes: bytes set, left out, put in, repeated, or taken from another input.
    fn damage(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let (at, len) = (self.below(input.len() + 1), self.below(8));
            let end = (at + len).min(input.len());
            match self.below(5) {
                0 => input[at..end].iter_mut().take(1).for_each(|byte| *byte = self.byte()),
                1 => drop(input.drain(at..end)),
                2 => input.insert(at, self.byte()),
                3 => drop(input.splice(at..at, input[at..end].to_vec())),
                _ => {
                    let from = self.below(other.len() + 1);
                    let to = (from + 4 * len).min(other.len());
                    drop(input.splice(at..end, other[from..to].iter().copied()));
                }
            }
        }
    }
}

/// What a fuzzer without eyes finds. `SHUNT_FUZZ_SECONDS` lets it look longer.
#[test]
fn damaged_inputs_hold_their_properties() {
    let seconds = std::env::var("SHUNT_FUZZ_SECONDS").map_or(1, |text| text.parse().unwrap());
    let seed = super::flips::seed();
    println!("SHUNT_TEST_SEED={seed}");
    let mut random = Random(seed);
    for (target, entry) in TARGETS {
        let files = std::fs::read_dir(folder(target)).unwrap();
        let mut inputs: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        inputs.sort();
        let inputs: Vec<_> = inputs.iter().map(|file| std::fs::read(file).unwrap()).collect();
        let started = std::time::Instant::now();
        let mut tried = 0;
        while started.elapsed().as_secs() < seconds {
            let mut input = inputs[random.below(inputs.len())].clone();
            let other = random.below(inputs.len());
            random.damage(&mut input, &inputs[other]);
            let before = std::time::Instant::now();
            if let Err(panic) = std::panic::catch_unwind(|| entry(&input)) {
                println!("{target}: {}", input.escape_ascii());
                std::panic::resume_unwind(panic);
            }
            assert!(before.elapsed().as_secs() < 5, "{target}: {}", input.escape_ascii());
            tried += 1;
        }
        println!("{target}: {tried} inputs");
    }
}
