//! What a workstation reads of others: manifests and answers of an agent, pairing codes, addresses, selectors. The first
//! byte says which.
#![no_main]

use cryoscope::acquire::Address;
use cryoscope::acquire::manifest::SignedManifest;
use cryoscope::acquire::selector::Selector;
use cryoscope::acquire::wire::{Archives, Containers, Job, Node, PairCode, Problem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match which % 8 {
        0 => {
            if let Ok(signed) = serde_json::from_slice::<SignedManifest>(rest) {
                // Nobody has the key of the fuzzer's manifests.
                assert!(signed.verify(&"07".repeat(32)).is_err());
            }
        }
        1 => drop(serde_json::from_slice::<Containers>(rest)),
        2 => drop(serde_json::from_slice::<Archives>(rest)),
        3 => drop(serde_json::from_slice::<Job>(rest)),
        4 => drop((serde_json::from_slice::<Node>(rest), serde_json::from_slice::<Problem>(rest))),
        5 => {
            if let Some(code) = PairCode::parse(&text) {
                let again = PairCode::parse(&code.to_text()).expect("a code that was printed is read again");
                assert_eq!(again.to_text(), code.to_text());
            }
        }
        6 => {
            if let Ok(address) = text.parse::<Address>() {
                let again: Address = address.to_string().parse().expect("an address that was printed is read again");
                assert_eq!(again, address);
            }
        }
        _ => drop(text.parse::<Selector>()),
    }
});
