//! Every decoder: the first byte chooses the kind of image, the rest is its content.
#![no_main]

use cryoscope::decode::{KINDS, fuzz_img};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((kind, content)) = bytes.split_first() {
        let kind = &KINDS[usize::from(*kind) % KINDS.len()];
        fuzz_img(&kind.pattern.replace("<N>", "1").replace("<X>", "1f").replace("<S>", "dump"), content);
    }
});
