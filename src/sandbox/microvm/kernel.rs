//! The kernel as QEMU gets it: unpacked.
//!
//! A `bzImage` unpacks itself in the machine, which takes an emulated processor a second or more; this machine does it in
//! a tenth. QEMU starts the ELF file inside of it at the entry that a note names (PVH). Where anything is not as expected
//! the `bzImage` goes in as it is.
//!
//! Source: the kernel's `Documentation/arch/x86/boot.rst`; Xen's `public/elfnote.h`.

use std::io::Read as _;

use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf::FileHeader64};

/// Most bytes of a kernel, unpacked.
const MAX_BYTES: u64 = 512 << 20;
const SECTOR: usize = 512;
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const NOTE_PVH: u32 = 18;

/// The ELF file inside a `bzImage`, if it is packed by zstd and has an entry for QEMU.
pub(super) fn unpacked(image: &[u8]) -> Option<Vec<u8>> {
    let payload = payload(image)?;
    let decoder = zstd::stream::read::Decoder::new(payload).ok()?.single_frame();
    let mut elf = Vec::new();
    decoder.take(MAX_BYTES).read_to_end(&mut elf).ok()?;
    has_entry(&elf).then_some(elf)
}

/// What the boot protocol, version 2.08 or newer, says is packed.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(0x202..0x206)? != b"HdrS" || u16_at(0x206)? < 0x208 {
        return None;
    }
    let n_setup = match *image.get(0x1f1)? {
        0 => 4,
        n => usize::from(n),
    };
    let start = (n_setup + 1).checked_mul(SECTOR)?.checked_add(u32_at(0x248)?)?;
    image.get(start..start.checked_add(u32_at(0x24c)?)?)
}

fn has_entry(elf: &[u8]) -> bool {
    let find = || {
        let header = FileHeader64::<Endianness>::parse(elf).ok()?;
        let endian = header.endian().ok()?;
        for segment in header.program_headers(endian, elf).ok()? {
            let Ok(Some(mut notes)) = segment.notes(endian, elf) else { continue };
            while let Ok(Some(note)) = notes.next() {
                if note.name() == b"Xen" && note.n_type(endian) == NOTE_PVH {
                    return Some(());
                }
            }
        }
        None
    };
    find().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_stays_as_it_is() {
        assert_eq!(unpacked(b""), None);
        assert_eq!(unpacked(&[0; 4096]), None);
        let mut image = vec![0; 4096];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206] = 0xf;
        image[0x207] = 2;
        image[0x248..0x24c].copy_from_slice(&u32::MAX.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(unpacked(&image), None);
        image[0x248..0x24c].copy_from_slice(&0u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&100u32.to_le_bytes());
        assert_eq!(payload(&image), Some(&[0; 100][..]));
        assert_eq!(unpacked(&image), None);
    }
}
