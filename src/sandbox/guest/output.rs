//! What the container writes to its standard output and error.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use super::Host;
use crate::sandbox::plan::Stream;
use crate::sandbox::protocol::{FromGuest, MAX_TEXT};

/// Pieces are sent at most this often; what is more in the meantime is counted and dropped.
const INTERVAL: Duration = Duration::from_millis(50);

/// Reads a pipe on a thread of its own until nobody can write to it any more. What nobody reads (standard input) is kept
/// open and empty.
pub(super) fn start(pipe: File, stream: Stream, host: Host) {
    let work = move || match stream {
        Stream::Stdin => loop {
            let _ = &pipe;
            std::thread::park();
        },
        Stream::Stdout | Stream::Stderr => forward(pipe, stream, &host),
    };
    let name = format!("{stream:?}").to_lowercase();
    // Without a thread there is no output, and all else goes on.
    let _ = std::thread::Builder::new().name(name).spawn(work);
}

fn forward(mut pipe: File, stream: Stream, host: &Host) {
    let mut buffer = vec![0; 1 << 16];
    let mut rest: Vec<u8> = Vec::new();
    let mut dropped = 0u64;
    loop {
        let n = match pipe.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        rest.extend_from_slice(buffer.get(..n).unwrap_or_default());
        let (text, lost) = take(&mut rest);
        dropped = dropped.saturating_add(lost);
        if !text.is_empty() {
            host.say(&FromGuest::Output { stream, text, dropped });
            dropped = 0;
            std::thread::sleep(INTERVAL);
        }
    }
    if !rest.is_empty() {
        let text = String::from_utf8_lossy(&rest).into_owned();
        host.say(&FromGuest::Output { stream, text, dropped });
    }
}

/// Whole lines off the front of `rest`, as many as a message holds, and how many more had to go. A line without end is
/// sent in pieces.
fn take(rest: &mut Vec<u8>) -> (String, u64) {
    let is_full = rest.len() >= MAX_TEXT / 2;
    let Some(end) = rest.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1).or(is_full.then_some(rest.len()))
    else {
        return (String::new(), 0);
    };
    let lines: Vec<u8> = rest.drain(..end).collect();
    // Replacement characters are three times as long as what they replace.
    let keep = lines.len().min(MAX_TEXT / 4);
    let (kept, lost) = lines.split_at(keep);
    let n_lost = lost.iter().filter(|byte| **byte == b'\n').count() as u64;
    (String::from_utf8_lossy(kept).into_owned(), n_lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_taken_and_a_flood_is_counted() {
        let mut rest = b"one\ntwo\nthr".to_vec();
        assert_eq!(take(&mut rest), ("one\ntwo\n".into(), 0));
        assert_eq!(rest, b"thr");
        assert_eq!(take(&mut rest), (String::new(), 0));
        let mut flood = b"0123456\n".repeat(4096);
        let (text, lost) = take(&mut flood);
        assert_eq!((text.len(), lost, flood.len()), (4096, 4096 - 512, 0));
        let mut endless = vec![0xff; MAX_TEXT];
        let (text, _) = take(&mut endless);
        assert!(text.len() <= MAX_TEXT);
    }
}
