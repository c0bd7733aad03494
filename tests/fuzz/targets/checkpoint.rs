//! A whole archive: opened, decoded, joined, and everything asked of its memory. Seeds: the small archives in fixtures/.
#![no_main]

use bytes::Bytes;
use cryoscope::base::Silent;
use cryoscope::checkpoint;
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::fuzz_memory;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = OpenOptions { max_spool_bytes: 16 << 20, ..OpenOptions::default() };
    if let Ok(evidence) = Evidence::open_bytes("fuzz", Bytes::copy_from_slice(bytes), &options, &Silent) {
        let found = checkpoint::load(&evidence, &options, &Silent).unwrap_or_default();
        found.iter().for_each(fuzz_memory);
    }
});
