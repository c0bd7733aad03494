//! Sockets of a network namespace, by `/proc/PID/net`.

use std::collections::BTreeMap;

use crate::agent::disk;
use crate::agent::processes::proc_file;

const MAX_FILE_BYTES: u64 = 64 << 20;

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// TCP or UDP.
    Inet { family: u32, kind: u32, protocol: u32, state: u32, source: (Vec<u32>, u32), peer: (Vec<u32>, u32) },
    /// Of this machine.
    Unix { kind: u32, state: u32, name: Vec<u8> },
}

/// File, address family, type and protocol.
const TABLES: [(&str, u32, u32, u32); 4] =
    [("net/tcp", 2, 1, 6), ("net/tcp6", 10, 1, 6), ("net/udp", 2, 2, 17), ("net/udp6", 10, 2, 17)];

/// All that the process could have, by inode.
pub(super) fn of(pid: u32) -> BTreeMap<u64, Socket> {
    let read = |name: &str| disk::read_named(&proc_file(pid, name), MAX_FILE_BYTES).unwrap_or_default();
    let mut found = BTreeMap::new();
    for (name, family, kind, protocol) in TABLES {
        let text = read(name);
        let text = String::from_utf8_lossy(&text);
        found.extend(text.lines().skip(1).filter_map(|line| inet(line, family, kind, protocol)));
    }
    found.extend(read("net/unix").split(|byte| *byte == b'\n').skip(1).filter_map(unix));
    found
}

/// `SL: ADDRESS:PORT ADDRESS:PORT STATE … INODE`: addresses as words in the node's byte order, as CRIU keeps them.
fn inet(line: &str, family: u32, kind: u32, protocol: u32) -> Option<(u64, Socket)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let end = |word: &str| {
        let (address, port) = word.split_once(':')?;
        let parts =
            address.as_bytes().chunks(8).map(|part| u32::from_str_radix(std::str::from_utf8(part).ok()?, 16).ok());
        Some((parts.collect::<Option<Vec<u32>>>()?, u32::from_str_radix(port, 16).ok()?))
    };
    let state = u32::from_str_radix(words.get(3)?, 16).ok()?;
    let socket = Socket::Inet { family, kind, protocol, state, source: end(words.get(1)?)?, peer: end(words.get(2)?)? };
    Some((words.get(9)?.parse().ok()?, socket))
}

/// `NUM: REFS PROTOCOL FLAGS TYPE STATE INODE PATH`.
fn unix(line: &[u8]) -> Option<(u64, Socket)> {
    let text = String::from_utf8_lossy(line).into_owned();
    let columns: Vec<&str> = text.split_whitespace().collect();
    let hex = |at: usize| columns.get(at).and_then(|word| u32::from_str_radix(word, 16).ok());
    // Listening, connected, neither: the kernel's states of TCP, as CRIU has them.
    let state = match (hex(3)? & 0x1_0000 != 0, hex(5)?) {
        (true, _) => 10,
        (false, 3) => 1,
        _ => 7,
    };
    // Behind the inode and one space, to the end of the line: a name may have spaces.
    let inode = columns.get(6)?;
    let mut name = columns.get(7).and_then(|_| {
        let column = format!(" {inode} ");
        let at = line.windows(column.len()).position(|window| window == column.as_bytes())?;
        Some(line.get(at + column.len()..)?.to_vec())
    });
    // The table writes an abstract name with an @ where there is a zero byte.
    if let Some(first) = name.as_mut().and_then(|name| name.first_mut())
        && *first == b'@'
    {
        *first = 0;
    }
    Some((inode.parse().ok()?, Socket::Unix { kind: hex(4)?, state, name: name.unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20001 1 0000000000000000 100 0 0 10 0";
        let expected = Socket::Inet {
            family: 2,
            kind: 1,
            protocol: 6,
            state: 10,
            source: (vec![0x0100_007f], 8080),
            peer: (vec![0], 0),
        };
        assert_eq!(inet(line, 2, 1, 6), Some((20001, expected)));
        let of = |line: &str| unix(line.as_bytes());
        assert_eq!(
            of("0000000000000000: 00000002 00000000 00010000 0001 01 22034 /run/a b.sock"),
            Some((22034, Socket::Unix { kind: 1, state: 10, name: b"/run/a b.sock".to_vec() }))
        );
        assert_eq!(
            of("0000000000000000: 00000003 00000000 00000000 0002 03 5 @name"),
            Some((5, Socket::Unix { kind: 2, state: 1, name: b"\0name".to_vec() }))
        );
        assert_eq!(
            of("0000000000000000: 00000003 00000000 00000000 0001 03 22035"),
            Some((22035, Socket::Unix { kind: 1, state: 1, name: Vec::new() }))
        );
        assert_eq!(of(""), None);
    }
}
