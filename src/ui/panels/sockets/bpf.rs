//! Text of a socket's classic BPF filter (`SO_ATTACH_FILTER`).

use crate::checkpoint::seccomp::Instruction;

/// What a load beyond the packet gives: offsets from `SKF_AD_OFF`.
const ANCILLARY: u32 = 0xffff_f000;
/// Names by offset from [`ANCILLARY`], in steps of 4.
const ANCILLARY_NAMES: [&str; 16] = [
    "protocol",
    "packet type",
    "interface",
    "netlink attribute",
    "nested netlink attribute",
    "mark",
    "queue",
    "hardware type",
    "receive hash",
    "cpu",
    "xor x",
    "VLAN tag",
    "VLAN tag present",
    "payload offset",
    "random",
    "VLAN protocol",
];

/// One line: `  3  jeq #0x6, 4, 9`.
pub(super) fn line(at: usize, packed: u64) -> String {
    format!("{at:>4}  {}", text(at, packed))
}

fn text(at: usize, packed: u64) -> String {
    let bytes = packed.to_be_bytes();
    let [c0, c1, jt, jf, k0, k1, k2, k3] = bytes;
    let instruction =
        Instruction { code: u16::from_be_bytes([c0, c1]), jt, jf, k: u32::from_be_bytes([k0, k1, k2, k3]) };
    let Instruction { code, k, .. } = instruction;
    if code & 7 == 6 && code & 0x18 != 0x10 {
        return match k {
            0 => "ret #0  ; drop".to_owned(),
            k => format!("ret #{k:#x}  ; keep at most {k} bytes"),
        };
    }
    // Offsets mean other things to seccomp, which this text is made for.
    let text = instruction.text(at);
    let text = text.split("  ;").next().unwrap_or_default().to_owned();
    let is_load = code & 7 <= 1 && code & 0xe0 == 0x20;
    match ancillary(k) {
        Some(name) if is_load => format!("{text}  ; {name}"),
        _ => text,
    }
}

fn ancillary(k: u32) -> Option<&'static str> {
    let offset = k.checked_sub(ANCILLARY)?;
    if offset % 4 != 0 {
        return None;
    }
    ANCILLARY_NAMES.get(usize::try_from(offset / 4).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(code: u64, jt: u64, jf: u64, k: u64) -> u64 {
        code << 48 | jt << 40 | jf << 32 | k
    }

    #[test]
    fn filters_of_packets_are_not_read_as_seccomp() {
        let cases = [
            (packed(0x28, 0, 0, 12), "ldh [0xc]"),
            (packed(0x15, 0, 3, 0x800), "jeq #0x800, 2, 5"),
            (packed(0x20, 0, 0, 4), "ld [0x4]"),
            (packed(0x28, 0, 0, 0xffff_f000), "ldh [0xfffff000]  ; protocol"),
            (packed(0x06, 0, 0, 0x40000), "ret #0x40000  ; keep at most 262144 bytes"),
            (packed(0x06, 0, 0, 0), "ret #0  ; drop"),
        ];
        for (instruction, expected) in cases {
            assert_eq!(text(1, instruction), expected);
        }
    }
}
