//! Talking to the container over its own network: what a visitor from inside the machine would see.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::boot::open;
use super::{GuestError, Host};
use crate::sandbox::protocol::{FromGuest, MAX_TEXT};

/// How long to wait for a connection and for each piece.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects and sends on a thread of its own, which lives in the container's network; the answer goes to the host.
pub(super) fn start(host: Host, root_pid: Option<u32>, id: u32, address: String, send: String) {
    let own = host.clone();
    let work = move || {
        let message = match talk(root_pid, &address, &send) {
            Ok(text) => FromGuest::Answer { id, text, error: None },
            Err(error) => FromGuest::Answer { id, text: String::new(), error: Some(error.to_string()) },
        };
        host.say(&message);
    };
    if let Err(error) = std::thread::Builder::new().name("connect".into()).spawn(work) {
        own.say(&FromGuest::Answer { id, text: String::new(), error: Some(error.to_string()) });
    }
}

fn talk(root_pid: Option<u32>, address: &str, send: &str) -> Result<String, GuestError> {
    let cannot = || GuestError::file("connect to", address);
    let pid = root_pid.ok_or_else(|| cannot()(std::io::Error::other("nothing is restored")))?;
    let netns = open(&format!("/proc/{pid}/ns/net"))?;
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(GuestError::file("enter the network of", address))?;
    let to: SocketAddr = address.parse().map_err(|error| cannot()(std::io::Error::other(error)))?;
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(cannot())?;
    let patience = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    patience.map_err(cannot())?;
    stream.write_all(send.as_bytes()).map_err(cannot())?;
    let mut out = Vec::new();
    let mut piece = vec![0; 4096];
    while out.len() < MAX_TEXT / 4 {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => out.extend_from_slice(piece.get(..n).unwrap_or_default()),
            // What has come until here is the answer.
            Err(_) if !out.is_empty() => break,
            Err(error) => return Err(cannot()(error)),
        }
    }
    out.truncate(MAX_TEXT / 4);
    Ok(String::from_utf8_lossy(&out).into_owned())
}
