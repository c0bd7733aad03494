//! The index of a tar archive: any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| cryoscope::evidence::fuzz_tar_index(bytes));
