//! All packets of the sink's end: for the record, and for datagrams, which are told whether or not anybody answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout,
};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};

use super::{INTERFACE, Sink, dns, printable, thread};
use crate::sandbox::guest::boot::read;
use crate::sandbox::guest::{GuestError, Host};
use crate::sandbox::pcap;
use crate::sandbox::plan::SinkPlan;
use crate::sandbox::protocol::FromGuest;
use crate::sandbox::watched::Saw;

/// Packets are sent this often, and when a message is full, but no more than so often.
const INTERVAL: Duration = Duration::from_millis(200);
const LEAST_INTERVAL: Duration = Duration::from_millis(25);
/// What the kernel keeps until it is read.
const BUFFER: usize = 8 << 20;
/// Bytes of a datagram that are told.
const MAX_TOLD: usize = 128;
/// `ETH_P_ALL`, in network order.
const ALL: u32 = 0x0300;

/// Begins to read, on a thread of the sink's namespace.
pub(super) fn start(plan: &SinkPlan, sends_packets: bool, sink: Sink, host: Host) -> Result<(), GuestError> {
    let protocol = std::num::NonZeroU32::new(ALL).map(Protocol::from_raw);
    let cannot = || GuestError::file("capture on", INTERFACE);
    let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        .map_err(cannot())?;
    set_socket_timeout(&socket, Timeout::Recv, Some(INTERVAL)).map_err(cannot())?;
    // In a container the kernel keeps as little as it keeps for anybody.
    let forced = set_socket_recv_buffer_size_force(&socket, BUFFER);
    forced.or_else(|_| set_socket_recv_buffer_size(&socket, BUFFER)).map_err(cannot())?;
    let own: Vec<IpAddr> = plan.links.iter().map(|link| link.own).collect();
    let sender =
        Sender { host, is_wanted: sends_packets, records: Vec::new(), lost: 0, nr_bytes: 0, last: Instant::now() };
    thread("sink-packets", move || capture(&socket, &own, &sink, sender))
}

fn capture(socket: &OwnedFd, own: &[IpAddr], sink: &Sink, mut sender: Sender) {
    let mut packet = vec![0; pcap::MAX_PACKET as usize + 1];
    let (mut nr_read, mut looked_at) = (0u64, Instant::now());
    loop {
        match rustix::net::recv(socket, packet.as_mut_slice(), RecvFlags::TRUNC) {
            Ok((n, _)) if n > 0 => {
                nr_read += 1;
                let bytes = packet.get(..n).unwrap_or_default();
                if let Some((from, to, payload)) = datagram(bytes).filter(|(from, _, _)| own.contains(&from.ip())) {
                    let asked = (to.port() == 53).then(|| dns::answer(payload, sink)).flatten();
                    let saw = asked.map(|(saw, _)| saw);
                    let data = || Saw::Data { first: printable(payload.get(..MAX_TOLD).unwrap_or(payload)) };
                    sink.tell("udp", from, to, saw.unwrap_or_else(data));
                }
                sender.push(sink.start.clock_us(), bytes);
            }
            _ => {}
        }
        // What the interface has counted and nobody has read was too much.
        if looked_at.elapsed() > Duration::from_secs(1) {
            looked_at = Instant::now();
            let seen = counted();
            if seen > nr_read + SLACK {
                sender.lost = sender.lost.saturating_add(seen - nr_read);
                nr_read = seen;
            }
        }
        sender.send_if_due();
    }
}

/// Packets that may be on their way between the two counts.
const SLACK: u64 = 2000;

/// Packets that went over the interface either way.
fn counted() -> u64 {
    let text = read("/proc/thread-self/net/dev").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(INTERFACE)?.strip_prefix(':'));
    let fields: Vec<u64> =
        line.map(|line| line.split_ascii_whitespace().filter_map(|it| it.parse().ok()).collect()).unwrap_or_default();
    [1, 9].into_iter().filter_map(|at| fields.get(at)).sum()
}

/// Packets on their way to the host.
struct Sender {
    host: Host,
    is_wanted: bool,
    records: Vec<u8>,
    lost: u64,
    nr_bytes: u64,
    last: Instant,
}

impl Sender {
    fn push(&mut self, time_us: u64, packet: &[u8]) {
        if !self.is_wanted {
            return;
        }
        let len = packet.len() as u64 + 16;
        let is_full = self.records.len() + packet.len() + 16 > pcap::MAX_MESSAGE;
        if is_full && self.last.elapsed() >= LEAST_INTERVAL {
            self.send();
        }
        if self.records.len() + packet.len() + 16 > pcap::MAX_MESSAGE || self.nr_bytes + len > pcap::MAX_BYTES {
            self.lost += 1;
            return;
        }
        self.nr_bytes += len;
        pcap::push(&mut self.records, time_us, packet);
    }

    fn send_if_due(&mut self) {
        if self.is_wanted && self.last.elapsed() >= INTERVAL && (!self.records.is_empty() || self.lost > 0) {
            self.send();
        }
    }

    fn send(&mut self) {
        let records = pcap::to_base64(&std::mem::take(&mut self.records));
        self.host.say(&FromGuest::Packets { records, lost: std::mem::take(&mut self.lost) });
        self.last = Instant::now();
    }
}

/// The datagram of UDP in an Ethernet frame, if it is one and no later piece of one.
fn datagram(frame: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    const UDP: u8 = 17;
    let u16_at = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let packet = frame.get(14..)?;
    let (from, to, udp): (IpAddr, IpAddr, &[u8]) = match u16_at(frame, 12)? {
        0x0800 => {
            let is_first = u16_at(packet, 6)? & 0x1fff == 0;
            let header = usize::from(packet.first()? & 0xf) * 4;
            if *packet.get(9)? != UDP || !is_first || header < 20 {
                return None;
            }
            let of = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into());
            (of(12)?, of(16)?, packet.get(header..)?)
        }
        0x86dd => {
            if *packet.get(6)? != UDP {
                return None;
            }
            let of = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into());
            (of(8)?, of(24)?, packet.get(40..)?)
        }
        _ => return None,
    };
    let len = usize::from(u16_at(udp, 4)?);
    let payload = udp.get(8..len).or(udp.get(8..))?;
    Some((SocketAddr::new(from, u16_at(udp, 0)?), SocketAddr::new(to, u16_at(udp, 2)?), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_read_and_other_frames_are_none() {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 34, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 2, 15, 192, 0, 2, 99]);
        frame.extend([0x9c, 0x40, 0x27, 0x0f, 0, 14, 0, 0]);
        frame.extend(b"stolen and padding");
        let (from, to, payload) = datagram(&frame).unwrap();
        assert_eq!((from.to_string(), to.to_string()), ("10.0.2.15:40000".into(), "192.0.2.99:9999".into()));
        assert_eq!(payload, b"stolen");
        (0..42).for_each(|len| assert_eq!(datagram(&frame[..len]), None, "{len}"));
        frame[23] = 6;
        assert_eq!(datagram(&frame), None);
        frame[23] = 17;
        frame[14] = 0x41;
        assert_eq!(datagram(&frame), None);
    }
}
