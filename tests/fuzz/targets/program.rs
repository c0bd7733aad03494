//! A program as one that a process maps: its symbols, and stacks by its unwind tables. Seeds: the programs in fixtures/base/.
#![no_main]

use bytes::Bytes;
use cryoscope::memory::fuzz_elf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz_elf(&Bytes::copy_from_slice(bytes)));
