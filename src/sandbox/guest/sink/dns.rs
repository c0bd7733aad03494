//! A name server that knows every name.
//!
//! Each name gets an address of its own out of 198.18.0.0/15 and fd00:5ea1:d::/112, which are for nobody's use on the
//! internet; so a connection tells which name led to it. Source: RFC 1035, RFC 3596.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::PoisonError;

use super::Sink;
use crate::sandbox::watched::Saw;

/// Names that get an address of their own; later ones share the last.
const MAX_NAMES: u32 = 60_000;
/// Longest name.
const MAX_NAME: usize = 255;
const HEADER: usize = 12;
const TYPES: [(u16, &str); 12] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (65, "HTTPS"),
    (252, "AXFR"),
    (255, "ANY"),
];
const A: u16 = 1;
const AAAA: u16 = 28;

/// Names that were asked for.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: HashMap<String, u32>,
    by_number: HashMap<u32, String>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.by_name.len()).unwrap_or(MAX_NAMES) + 1;
        if next >= MAX_NAMES {
            return self.by_name.get(name).copied().unwrap_or(MAX_NAMES);
        }
        let number = *self.by_name.entry(name.to_owned()).or_insert(next);
        self.by_number.entry(number).or_insert_with(|| name.to_owned());
        number
    }

    /// The name that has an address.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<String> {
        let number = match address {
            IpAddr::V4(address) => u32::from(address).checked_sub(u32::from(first_v4()))?,
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h] = address.segments();
                ([a, b, c, d, e, f, g] == first_v6()).then_some(u32::from(h))?
            }
        };
        self.by_number.get(&number).cloned()
    }
}

fn first_v4() -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, 0)
}

fn first_v6() -> [u16; 7] {
    [0xfd00, 0x5ea1, 0xd, 0, 0, 0, 0]
}

fn address(number: u32, kind: u16) -> Option<IpAddr> {
    match kind {
        A => Some(Ipv4Addr::from(u32::from(first_v4()).wrapping_add(number)).into()),
        AAAA => {
            let [a, b, c, d, e, f, g] = first_v6();
            Some(Ipv6Addr::new(a, b, c, d, e, f, g, u16::try_from(number).unwrap_or(u16::MAX)).into())
        }
        _ => None,
    }
}

/// Answers questions. They are told where packets are read, which see whom they were sent to.
pub(super) fn serve(socket: &UdpSocket, sink: &Sink) {
    let mut question = vec![0; 4096];
    // An error is one of a packet before; the next call is another one's.
    loop {
        let Ok((n, from)) = socket.recv_from(&mut question) else { continue };
        if let Some((_, answer)) = answer(question.get(..n).unwrap_or_default(), sink) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// What a message asks, and the answer to it; `None` for what is no question.
pub(super) fn answer(message: &[u8], sink: &Sink) -> Option<(Saw, Vec<u8>)> {
    let question = Question::read(message)?;
    let number = sink.names.lock().unwrap_or_else(PoisonError::into_inner).number(&question.name);
    let found = address(number, question.kind);
    let kind = TYPES.iter().find(|(number, _)| *number == question.kind);
    let answer = question.answer(message, found);
    let saw = Saw::Dns {
        question: question.name,
        kind: kind.map_or_else(|| question.kind.to_string(), |(_, name)| (*name).to_owned()),
        answer: found.map(|address| address.to_string()),
    };
    Some((saw, answer))
}

/// The one question of a message.
#[derive(Debug, PartialEq)]
struct Question {
    /// Without the last dot, in lower case; what is no printable ASCII as `\xNN`.
    name: String,
    kind: u16,
    /// Where the question ends.
    end: usize,
}

impl Question {
    fn read(message: &[u8]) -> Option<Question> {
        let u16_at = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
        let is_question = u16_at(2)? & 0xf800 == 0 && u16_at(4)? >= 1;
        if !is_question {
            return None;
        }
        let (mut at, mut labels) = (HEADER, Vec::new());
        loop {
            let len = usize::from(*message.get(at)?);
            at += 1;
            match len {
                0 => break,
                1..=63 => labels.push(super::printable(message.get(at..at + len)?)),
                _ => return None,
            }
            at += len;
            if at > HEADER + MAX_NAME {
                return None;
            }
        }
        Some(Question { name: labels.join(".").to_ascii_lowercase(), kind: u16_at(at)?, end: at + 4 })
    }

    fn answer(&self, message: &[u8], found: Option<IpAddr>) -> Vec<u8> {
        let id = message.get(..2).unwrap_or_default();
        let recursion = message.get(2).copied().unwrap_or_default() & 1;
        let mut out = id.to_vec();
        out.extend([0x80 | recursion, 0x80, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
        out.extend_from_slice(message.get(HEADER..self.end).unwrap_or_default());
        if let Some(address) = found {
            let bytes = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            // The name of the question, its kind, class IN, a minute to live.
            out.extend([0xc0, 12]);
            out.extend(self.kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60, 0, bytes.len() as u8]);
            out.extend(bytes);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02C2\x07example\x03net\x00\x00\x01\x00\x01";

    #[test]
    fn questions_are_read_and_answered() {
        let question = Question::read(ASK).unwrap();
        assert_eq!((question.name.as_str(), question.kind, question.end), ("c2.example.net", A, ASK.len()));
        let answer = question.answer(ASK, Some(Ipv4Addr::new(198, 18, 0, 1).into()));
        assert_eq!(answer[..12], *b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00");
        assert!(answer.ends_with(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x12\x00\x01"));
        assert_eq!(question.answer(ASK, None)[..8], *b"\x12\x34\x81\x80\x00\x01\x00\x00");
    }

    #[test]
    fn what_is_no_question_is_none() {
        (0..ASK.len() - 4).for_each(|len| assert_eq!(Question::read(&ASK[..len]), None, "{len}"));
        let mut response = ASK.to_vec();
        response[2] = 0x81;
        assert_eq!(Question::read(&response), None);
        let mut pointer = ASK.to_vec();
        pointer[12] = 0xc0;
        assert_eq!(Question::read(&pointer), None);
        let endless = [&ASK[..12], &b"\x01a".repeat(300), b"\0\0\x01\0\x01"].concat();
        assert_eq!(Question::read(&endless), None);
    }

    #[test]
    fn names_have_addresses_of_their_own_and_are_found_by_them() {
        let mut names = Names::default();
        let (one, two) = (names.number("one"), names.number("two"));
        assert_eq!((names.number("one"), one == two), (one, false));
        for kind in [A, AAAA] {
            assert_eq!(names.name_of(address(two, kind).unwrap()).as_deref(), Some("two"));
        }
        assert_eq!(names.name_of("203.0.113.7".parse().unwrap()), None);
        assert_eq!(names.name_of("1.1.1.1".parse().unwrap()), None);
        assert_eq!(address(one, 16), None);
    }
}
