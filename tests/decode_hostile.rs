//! No decoder panics, hangs or allocates by what a file says, whatever is done to real images.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read the fixtures")]

mod images;

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cryoscope::decode::fuzz_img;
use proptest::prelude::*;

/// One real image of every kind that the fixtures have, the smaller the better, and 64 KiB at most.
static SAMPLES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let mut samples: Vec<(&str, String, Vec<u8>)> = Vec::new();
    for name in ["fd-zoo.tar.zst", "sockets.tar.zst", "memory-zoo.tar.zst", "crun-image.tar", "process-zoo.tar.zst"] {
        for (name, bytes) in images::images(&images::fixtures().join(name)) {
            let Some((kind, _)) = cryoscope::decode::kind_of(&name) else {
                continue;
            };
            let bytes = bytes[..bytes.len().min(1 << 16)].to_vec();
            match samples.iter_mut().find(|(key, ..)| *key == kind.key) {
                Some(known) if bytes.len() < known.2.len() && 64 < bytes.len() => *known = (kind.key, name, bytes),
                Some(_) => {}
                None => samples.push((kind.key, name, bytes)),
            }
        }
    }
    samples.into_iter().map(|(_, name, bytes)| (name, bytes)).collect()
});

/// What is done to an image.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Length(prop::sample::Index, u32),
    Truncate(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        3 => (index(), prop_oneof![Just(u32::MAX), Just(0), Just(0x7fff_ffff), Just(1), any::<u32>()])
            .prop_map(|(at, word)| Damage::Length(at, word)),
        1 => index().prop_map(Damage::Truncate),
        1 => (index(), index()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        1 => (index(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) {
    let len = bytes.len() + 1;
    match damage {
        Damage::Flip(at, bits) => {
            let at = at.index(len).min(bytes.len().saturating_sub(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Damage::Length(at, word) => {
            for (byte, new) in bytes.iter_mut().skip(at.index(len)).zip(word.to_le_bytes()) {
                *byte = new;
            }
        }
        Damage::Truncate(at) => bytes.truncate(at.index(len)),
        Damage::Repeat(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(piece);
        }
        Damage::Insert(at, new) => {
            let at = at.index(len);
            bytes.splice(at..at, new);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_images_never_panic(
        sample in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let (name, bytes) = sample.get(&SAMPLES);
        let mut bytes = bytes.clone();
        for damage in damages {
            apply(&mut bytes, damage);
        }
        fuzz_img(name, &bytes);
    }

    #[test]
    fn random_bytes_never_panic(
        sample in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        head in 0..13_usize,
    ) {
        // With and without a real header in front.
        let (name, real) = sample.get(&SAMPLES);
        let mut all = real[..head.min(real.len())].to_vec();
        all.extend(bytes);
        fuzz_img(name, &all);
    }
}

/// Largest resident size of this process so far, in bytes.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn images_made_of_lengths_stay_small_and_quick() {
    let start = Instant::now();
    for (name, real) in SAMPLES.iter() {
        for word in [[0; 4], [0xff; 4], [1, 0, 0, 0], 0x0400_0000_u32.to_le_bytes(), [0xff, 0xff, 0xff, 0x7f]] {
            let mut bytes = real[..real.len().min(8)].to_vec();
            bytes.extend(word.repeat(1 << 17));
            fuzz_img(name, &bytes);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    assert!(peak_bytes() < 1 << 30, "{} bytes", peak_bytes());
}

#[test]
fn there_are_samples_of_most_kinds() {
    assert!(SAMPLES.len() > 35, "{}", SAMPLES.len());
}
