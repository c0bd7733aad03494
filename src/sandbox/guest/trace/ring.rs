//! Pages of the kernel's trace buffer, as `trace_pipe_raw` gives them: binary, so that no name or path that a process
//! chooses can pass for a record.
//!
//! ```text
//! page     time u64 ns, commit u64: bytes of data, bit 31 records were lost before it, bit 30 their number follows the data
//! record   u32: type 5 bits, time since the one before 27 bits; then the data, of type * 4 bytes
//!          type 0: u32 length, itself included   29: padding   30: more of the time, u32   31: the whole time, u32
//! ```
//! Source: Linux `Documentation/trace/ring-buffer-design.rst`, `events/header_page`, `events/header_event`.

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
const HEADER: usize = 16;
const MISSED: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;

/// Hands on time and data of each record of a page; how many records were lost before it.
pub(super) fn records(page: &[u8], mut each: impl FnMut(u64, &[u8])) -> u64 {
    let (Some(mut time), Some(commit)) = (u64_at(page, 0), u64_at(page, 8)) else { return 0 };
    let len = (commit & 0xf_ffff) as usize;
    let data = page.get(HEADER..HEADER.saturating_add(len)).or(page.get(HEADER..)).unwrap_or_default();
    let lost = match (commit & MISSED, commit & MISSED_STORED) {
        (0, _) => 0,
        (_, 0) => 1,
        _ => u64_at(page, HEADER.saturating_add(len)).unwrap_or(1),
    };
    let mut at = 0;
    while let Some(head) = u32_at(data, at) {
        let (kind, delta) = (head & 31, u64::from(head >> 5));
        let word = u32_at(data, at + 4);
        let next = match kind {
            29 if delta == 0 => return lost,
            29 => word.map(|len| at + 4 + len as usize),
            30 => {
                time = time.wrapping_add(delta.wrapping_add(u64::from(word.unwrap_or_default()) << 27));
                Some(at + 8)
            }
            31 => {
                // The upper bits stay those of the page's time.
                let low = delta.wrapping_add(u64::from(word.unwrap_or_default()) << 27);
                time = (time & (0x1f << 59)) | low;
                Some(at + 8)
            }
            _ => {
                time = time.wrapping_add(delta);
                let (start, len) = match (kind, word) {
                    (0, Some(len)) => (at + 8, (len as usize).saturating_sub(4)),
                    (0, None) => return lost,
                    (kind, _) => (at + 4, kind as usize * 4),
                };
                let end = start.saturating_add(len);
                if let Some(record) = data.get(start..end) {
                    each(time, record);
                }
                Some(end)
            }
        };
        match next {
            Some(next) if next > at => at = next,
            _ => return lost,
        }
    }
    lost
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(commit: u64, data: &[u8]) -> Vec<u8> {
        let mut page = 1000u64.to_le_bytes().to_vec();
        page.extend(commit.to_le_bytes());
        page.extend(data);
        page.resize(PAGE, 0);
        page
    }

    #[test]
    fn records_are_read_with_their_times() {
        let mut data = Vec::new();
        data.extend((2u32 | 5 << 5).to_le_bytes());
        data.extend(b"12345678");
        data.extend((30u32 | 1 << 5).to_le_bytes());
        data.extend(1u32.to_le_bytes());
        data.extend((7u32 << 5).to_le_bytes());
        data.extend(8u32.to_le_bytes());
        data.extend(b"long");
        data.extend(29u32.to_le_bytes());
        let mut seen = Vec::new();
        let lost = records(&page(data.len() as u64, &data), |time, record| seen.push((time, record.to_vec())));
        assert_eq!(lost, 0);
        assert_eq!(seen, [(1005, b"12345678".to_vec()), (1005 + 1 + (1 << 27) + 7, b"long".to_vec())]);
    }

    #[test]
    fn lost_records_are_counted_and_nonsense_ends() {
        assert_eq!(records(&page(MISSED, &[]), |_, _| ()), 1);
        assert_eq!(records(&page(MISSED | MISSED_STORED, &9u64.to_le_bytes()), |_, _| ()), 9);
        for word in [0u32, 29 | 1 << 5, 31, 0xffff_ffff, 28] {
            let data = word.to_le_bytes().repeat(100);
            records(&page(400, &data), |_, _| ());
            records(&page(0xf_ffff, &data), |_, _| ());
        }
        records(&[], |_, _| ());
    }
}
