//! Ways to an agent through proxies: HTTP, HTTP over TLS, SOCKS 5.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::cli::Desk;
use super::stand_in::{Authority, StandIn, der};

/// The only host that the proxies know, and the only one that they are asked for.
const HOST: &str = "node-a.example";

/// A proxy that serves so many lines and refuses the others; its port.
fn start(serve: impl Fn(TcpStream, bool) + Send + Sync + 'static, n_served: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    spawn(move || {
        for (n, line) in listener.incoming().enumerate() {
            let (serve, line) = (Arc::clone(&serve), line.unwrap());
            spawn(move || serve(line, n < n_served));
        }
    });
    port
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).unwrap();
}

/// Both ways, until one end closes.
fn join(near: TcpStream, far: TcpStream) {
    let (mut near2, mut far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    spawn(move || drop(std::io::copy(&mut near2, &mut far2)));
    let (mut near, mut far) = (near, far);
    let _ = std::io::copy(&mut far, &mut near);
}

fn http(mut line: TcpStream, is_served: bool, to: SocketAddr) {
    if is_asked_by_http(&mut line, is_served) {
        join(line, TcpStream::connect(to).unwrap());
    }
}

fn is_asked_by_http(line: &mut (impl Read + Write), is_served: bool) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if line.read_exact(&mut byte).is_err() {
            return false;
        }
        head.push(byte[0]);
    }
    let is_right = is_served && head.starts_with(format!("CONNECT {HOST}:7443 ").as_bytes());
    let answer: &[u8] = if is_right { b"HTTP/1.1 200 Connected\r\n\r\n" } else { b"HTTP/1.1 407 Who are you\r\n\r\n" };
    line.write_all(answer).unwrap();
    line.flush().unwrap();
    is_right
}

/// RFC 1928, without authentication, for a host name.
fn socks5(mut line: TcpStream, is_served: bool, to: SocketAddr) {
    let read = |line: &mut TcpStream, count: usize| {
        let mut bytes = vec![0; count];
        line.read_exact(&mut bytes).unwrap();
        bytes
    };
    let n_methods = usize::from(read(&mut line, 2)[1]);
    assert!(read(&mut line, n_methods).contains(&0));
    line.write_all(&[5, 0]).unwrap();
    assert_eq!(read(&mut line, 4), [5, 1, 0, 3], "a host name to connect to");
    let len = usize::from(read(&mut line, 1)[0]);
    assert_eq!(read(&mut line, len), HOST.as_bytes());
    assert_eq!(read(&mut line, 2), 7443_u16.to_be_bytes());
    // 2: not allowed.
    line.write_all(&[5, if is_served { 0 } else { 2 }, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    if is_served {
        join(line, TcpStream::connect(to).unwrap());
    }
}

/// The HTTP proxy behind TLS, both ways in one thread.
fn https(line: TcpStream, config: Arc<ServerConfig>, is_served: bool, to: SocketAddr) {
    let mut line = StreamOwned::new(ServerConnection::new(config).unwrap(), line);
    if !is_asked_by_http(&mut line, is_served) {
        return;
    }
    let mut far = TcpStream::connect(to).unwrap();
    line.sock.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; 1 << 16];
    loop {
        let mut is_idle = true;
        for is_up in [true, false] {
            let came = if is_up { line.read(&mut bytes) } else { far.read(&mut bytes) };
            match came {
                Ok(0) => return,
                Ok(len) => {
                    is_idle = false;
                    let sent = if is_up { far.write_all(&bytes[..len]) } else { line.write_all(&bytes[..len]) };
                    if sent.is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        if is_idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn paired() -> (StandIn, Desk) {
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.good(&["pair", &agent.address.to_string(), &agent.code(), "--name", "node-a"]);
    (agent, desk)
}

/// Goes through a proxy that serves one line, and is refused by it the next time.
fn check(desk: &Desk, proxy: &str, ca: Option<&str>, refusal: &str) {
    let list = |ca: Option<&str>| {
        let mut command = desk.command(&["list", "node-a", "--address", HOST, "--proxy", proxy]);
        if let Some(pem) = ca {
            let file = desk.data().join("proxy-ca.pem");
            std::fs::write(&file, pem).unwrap();
            command.env("SSL_CERT_FILE", file);
        }
        let ran = command.output().unwrap();
        (ran.status.success(), super::cli::text(&ran.stdout), super::cli::text(&ran.stderr))
    };
    let (is_good, out, err) = list(ca);
    assert!(is_good && out.contains("web"), "{proxy}: {out}{err}");
    let (is_good, _, err) = list(ca);
    assert!(!is_good && err.contains(refusal), "{proxy}: {err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    if ca.is_some() {
        let (is_good, _, err) = list(None);
        assert!(!is_good && err.contains("certificate"), "{proxy}, whose authority nobody knows: {err}");
    }
}

#[test]
fn http_proxy_is_gone_through_and_its_refusal_is_said() {
    let (agent, desk) = paired();
    let to = agent.address;
    let port = start(move |line, is_served| http(line, is_served, to), 1);
    check(&desk, &format!("http://127.0.0.1:{port}"), None, "the proxy does not connect");
}

#[test]
fn socks_proxy_is_told_the_name_of_the_node() {
    let (agent, desk) = paired();
    let to = agent.address;
    let port = start(move |line, is_served| socks5(line, is_served, to), 1);
    check(&desk, &format!("socks5h://127.0.0.1:{port}"), None, "not allowed by ruleset; by way of the proxy");
}

#[test]
fn proxy_behind_tls_shows_a_certificate_that_this_machine_believes_and_the_node_its_own() {
    let (agent, desk) = paired();
    let (to, authority, key) = (agent.address, Authority::new("proxies"), KeyPair::generate().unwrap());
    let name = "localhost".to_owned();
    let certificate =
        authority.sign(&name, &key, ExtendedKeyUsagePurpose::ServerAuth, std::slice::from_ref(&name), |_| {});
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(der(&certificate))],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let port = start(move |line, is_served| https(line, Arc::clone(&config), is_served, to), 1);
    check(&desk, &format!("https://localhost:{port}"), Some(&authority.pem), "the proxy does not connect");
}
