//! Taking connections: HTTP gets an answer, questions for names over TCP as well, all others are listened to.
//!
//! Source: RFC 9112; RFC 8446 section 4.1.2 and RFC 6066 section 3 (the server's name in a greeting of TLS).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Sink, dns, printable, thread};
use crate::sandbox::watched::Saw;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 128;
/// Bytes that are looked at, of each.
const MAX_FIRST: usize = 4096;
/// Bytes of them that are told.
const MAX_TOLD: usize = 128;
/// How long to wait for the first word, and for each further one.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a connection is held.
const MAX_AGE: Duration = Duration::from_secs(60);
const BODY: &str = "ok\n";
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "];

/// Accepts until the machine ends.
pub(super) fn accept(listener: &TcpListener, sink: &Sink) {
    let open = Arc::new(());
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let (Ok(from), Ok(to)) = (stream.peer_addr(), meant_for(&stream)) else { continue };
        sink.tell("tcp", from, to, Saw::Connection);
        if Arc::strong_count(&open) > MAX_CONNECTIONS {
            // Closed at once: it was told that it was there.
            continue;
        }
        let (own, held) = (sink.clone(), Arc::clone(&open));
        let _ = thread("sink-talk", move || {
            talk(stream, from, to, &own);
            drop(held);
        });
    }
}

/// Where a connection wanted to go before it was led here.
fn meant_for(stream: &TcpStream) -> std::io::Result<SocketAddr> {
    Ok(match stream.local_addr()? {
        SocketAddr::V4(_) => rustix::net::sockopt::ip_original_dst(stream)?.into(),
        SocketAddr::V6(_) => {
            let mut to = rustix::net::sockopt::ipv6_original_dst(stream)?;
            to.set_scope_id(0);
            to.into()
        }
    })
}

fn talk(mut stream: TcpStream, from: SocketAddr, to: SocketAddr, sink: &Sink) {
    let started = Instant::now();
    let patience = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let mut first: Vec<u8> = Vec::new();
    let mut piece = vec![0; MAX_FIRST];
    while patience.is_ok() && !is_enough(&first) {
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => first.extend_from_slice(piece.get(..n).unwrap_or_default()),
            _ => break,
        }
    }
    if first.is_empty() {
        return;
    }
    let mut answer = Vec::new();
    let saw = match (first.strip_prefix(&[0x16, 0x03]), dns_message(&first, to)) {
        (Some(_), _) => Saw::Tls { server_name: server_name(&first) },
        (None, Some(message)) => match dns::answer(message, sink) {
            Some((saw, message)) => {
                answer.extend((message.len() as u16).to_be_bytes());
                answer.extend(message);
                saw
            }
            None => data(&first),
        },
        (None, None) => match http(&first) {
            Some(saw) => {
                let len = BODY.len();
                answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{BODY}").into_bytes();
                saw
            }
            None => data(&first),
        },
    };
    let is_answered = !answer.is_empty();
    sink.tell("tcp", from, to, saw);
    if is_answered {
        let _ = stream.write_all(&answer);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    // The rest is read, so that the other end can say it; it is in the packets.
    while started.elapsed() < MAX_AGE && matches!(stream.read(&mut piece), Ok(1..)) {}
}

/// Whether there is enough to tell what it is: a request of HTTP comes in pieces.
fn is_enough(first: &[u8]) -> bool {
    let is_http = METHODS.iter().any(|method| first.starts_with(method));
    let has_end = first.windows(4).any(|window| window == b"\r\n\r\n");
    let tls = first.strip_prefix(&[0x16, 0x03]).map(|_| record_len(first).is_some_and(|len| first.len() >= len));
    match (is_http, tls) {
        _ if first.len() >= MAX_FIRST => true,
        (true, _) => has_end,
        (false, Some(is_whole)) => is_whole,
        (false, None) => !first.is_empty(),
    }
}

fn record_len(first: &[u8]) -> Option<usize> {
    Some(5 + usize::from(u16::from_be_bytes(*first.get(3..)?.first_chunk()?)))
}

fn data(first: &[u8]) -> Saw {
    Saw::Data { first: printable(first.get(..MAX_TOLD).unwrap_or(first)) }
}

fn dns_message(first: &[u8], to: SocketAddr) -> Option<&[u8]> {
    let len = usize::from(u16::from_be_bytes(*first.first_chunk()?));
    (to.port() == 53).then(|| first.get(2..)?.get(..len)).flatten()
}

fn http(first: &[u8]) -> Option<Saw> {
    if !METHODS.iter().any(|method| first.starts_with(method)) {
        return None;
    }
    let mut lines = first.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let told = |bytes: &[u8]| printable(bytes.get(..MAX_TOLD * 2).unwrap_or(bytes));
    let request = told(lines.next()?);
    let headers: Vec<&[u8]> = lines.take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let of = |line: &&[u8]| {
            let (key, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            key.eq_ignore_ascii_case(name.as_bytes()).then(|| told(value.trim_ascii()))
        };
        headers.iter().find_map(of)
    };
    Some(Saw::Http { request, host: header("Host"), user_agent: header("User-Agent") })
}

/// The name in a ClientHello.
fn server_name(record: &[u8]) -> Option<String> {
    const SERVER_NAME: u16 = 0;
    let mut rest = Cursor(record.get(5..)?);
    // Kind and length of the message, version, random.
    rest.take(4 + 2 + 32)?;
    for of_two_bytes in [false, true, false] {
        let len = if of_two_bytes { usize::from(rest.u16()?) } else { usize::from(rest.take(1)?.first().copied()?) };
        rest.take(len)?;
    }
    let len = usize::from(rest.u16()?);
    let mut extensions = Cursor(rest.take(len)?);
    loop {
        let kind = extensions.u16()?;
        let len = usize::from(extensions.u16()?);
        let mut body = Cursor(extensions.take(len)?);
        if kind == SERVER_NAME {
            // Length of the list, kind of the name.
            body.take(3)?;
            let len = usize::from(body.u16()?);
            return body.take(len).map(|name| printable(name.get(..MAX_TOLD * 2).unwrap_or(name)));
        }
    }
}

/// Bytes that are taken from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello of TLS 1.2 for tls.example.net.
    const HELLO: &[u8] = b"\x16\x03\x01\x00\x47\x01\x00\x00\x43\x03\x030123456789abcdef0123456789abcdef\x00\x00\x02\x00\x2f\x01\x00\x00\x18\x00\x00\x00\x14\x00\x12\x00\x00\x0ftls.example.net";

    #[test]
    fn greetings_of_tls_tell_the_servers_name() {
        assert_eq!(server_name(HELLO).as_deref(), Some("tls.example.net"));
        assert!(is_enough(HELLO));
        for len in 0..HELLO.len() {
            assert_eq!(server_name(&HELLO[..len]), None, "{len}");
            assert!(!is_enough(&HELLO[..len]) || (1..3).contains(&len), "{len}");
        }
        let mut other = HELLO.to_vec();
        for at in 0..other.len() {
            other[at] ^= 0xff;
            let _ = server_name(&other);
            other[at] ^= 0xff;
        }
    }

    #[test]
    fn requests_are_read_and_other_words_are_data() {
        let request = b"POST /gate.php HTTP/1.1\r\nhOST:  c2.example.net \r\nUser-Agent: x\x1b\r\n\r\nHost: no";
        let expected = Saw::Http {
            request: "POST /gate.php HTTP/1.1".into(),
            host: Some("c2.example.net".into()),
            user_agent: Some("x\\x1b".into()),
        };
        assert_eq!(http(request), Some(expected));
        assert!(is_enough(request) && !is_enough(b"POST /gate.php HT"));
        assert_eq!(http(b"id=7;hello"), None);
        assert_eq!(data(b"id\n\xff"), Saw::Data { first: "id\\n\\xff".into() });
        assert_eq!(http(b"GET "), Some(Saw::Http { request: "GET ".into(), host: None, user_agent: None }));
    }
}
