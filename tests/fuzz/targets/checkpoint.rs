//! A whole archive: opened, decoded, joined. Seeds: the small archives in fixtures/.
#![no_main]

use bytes::Bytes;
use cryoscope::base::Silent;
use cryoscope::checkpoint;
use cryoscope::evidence::{Evidence, OpenOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = OpenOptions { max_spool_bytes: 16 << 20, ..OpenOptions::default() };
    if let Ok(evidence) = Evidence::open_bytes("fuzz", Bytes::copy_from_slice(bytes), &options, &Silent) {
        let _ = checkpoint::load(&evidence, &options, &Silent);
    }
});
