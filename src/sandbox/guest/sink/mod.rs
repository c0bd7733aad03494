//! The sink: a network of its own inside the machine that is the whole world to the container.
//!
//! # Steps
//! 1. A network namespace `sink`, joined to the container's by a pair of interfaces; the container's default route leads
//!    there, and from there nowhere.
//! 2. Every TCP connection, whatever its address and port, is led to one listener; so are questions to port 53.
//! 3. `dns` gives each name an address of its own, so that connections can be told by name. `talk` answers HTTP and takes
//!    what others say. `capture` reads all packets: for the record, and for datagrams that nobody answers.
//!
//! Work is bounded: connections at a time, bytes of each, records a second. What is too much is counted.

mod capture;
mod dns;
mod talk;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::boot::open;
use super::restore::{command, ip_batch, run_program};
use super::{GuestError, Host, Start};
use crate::sandbox::plan::SinkPlan;
use crate::sandbox::protocol::FromGuest;
use crate::sandbox::watched::{Contact, MAX_CONTACTS, MAX_CONTACTS_A_SECOND, Saw, fit};

/// Its namespace, and its interface in there.
pub(super) const NETNS: &str = "sink";
pub(super) const INTERFACE: &str = "sink0";
/// Where everything is led to, for IPv4 and IPv6.
const TCP_PORTS: [u16; 2] = [7, 8];
const DNS_PORTS: [u16; 2] = [53, 54];
/// How often records are sent.
const INTERVAL: Duration = Duration::from_millis(200);
/// Records that wait to be sent.
const QUEUE: usize = 1024;

/// What the threads of the sink share.
#[derive(Clone, Debug)]
struct Sink {
    records: SyncSender<Contact>,
    names: Arc<Mutex<dns::Names>>,
    dropped: Arc<std::sync::atomic::AtomicU64>,
    start: Start,
}

impl Sink {
    /// Takes note of what reached it.
    fn tell(&self, proto: &str, from: SocketAddr, to: SocketAddr, saw: Saw) {
        let name = self.names.lock().unwrap_or_else(PoisonError::into_inner).name_of(to.ip());
        let time_us = self.start.elapsed_us();
        let contact =
            Contact { time_us, proto: proto.to_owned(), from: from.to_string(), to: to.to_string(), name, saw };
        if self.records.try_send(contact).is_err() {
            self.dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// Makes the namespace; the container's end comes with the container.
pub(super) fn make_netns() -> Result<(), GuestError> {
    run_program("ip", &["netns", "add", NETNS])?;
    run_program("ip", &["-netns", NETNS, "link", "set", "lo", "up"])
}

/// Joins both ends and begins to answer. The container stands still meanwhile.
pub(super) fn start(plan: &SinkPlan, sends_packets: bool, start: &Start, host: &Host) -> Result<(), GuestError> {
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut lines: Vec<Vec<String>> = Vec::new();
    for link in &plan.links {
        // Two addresses may have the same gateway.
        lines.push(words(format!("address replace {}/{} dev {INTERFACE} nodad", link.gateway, link.prefix)));
    }
    lines.push(words(format!("link set {INTERFACE} up")));
    lines.extend(plan.links.iter().map(|link| words(format!("route replace {} dev {INTERFACE}", link.own))));
    ip_batch(Some(NETNS), &lines)?;
    let (plan, start, host) = (plan.clone(), start.clone(), host.clone());
    let (done, is_done) = sync_channel(1);
    let work = move || {
        let _ = done.send(inside(&plan, sends_packets, start, &host));
    };
    std::thread::Builder::new().name("sink".into()).spawn(work).map_err(GuestError::file("start", "a thread"))?;
    let ended = |_| GuestError::file("start", "the sink")(std::io::Error::other("its thread ended"));
    is_done.recv().map_err(ended)?
}

/// On a thread in the sink's namespace; those that it starts are there as well.
fn inside(plan: &SinkPlan, sends_packets: bool, start: Start, host: &Host) -> Result<(), GuestError> {
    let netns = open(&format!("/run/netns/{NETNS}"))?;
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(GuestError::file("enter the namespace", NETNS))?;
    redirect(plan)?;
    let (records, to_send) = sync_channel(QUEUE);
    let dropped = Arc::<std::sync::atomic::AtomicU64>::default();
    let sink = Sink { records, names: Arc::default(), dropped: Arc::clone(&dropped), start };
    let sender = host.clone();
    thread("sink-records", move || send(&to_send, &dropped, &sender))?;
    capture::start(plan, sends_packets, sink.clone(), host.clone())?;
    let both = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    for ((any, tcp), udp) in both.into_iter().zip(TCP_PORTS).zip(DNS_PORTS) {
        let listener = TcpListener::bind((any, tcp)).map_err(GuestError::file("listen on", format!("{any}")))?;
        let own = sink.clone();
        thread("sink-tcp", move || talk::accept(&listener, &own))?;
        let socket = UdpSocket::bind((any, udp)).map_err(GuestError::file("listen on", format!("{any}")))?;
        let own = sink.clone();
        thread("sink-dns", move || dns::serve(&socket, &own))?;
    }
    Ok(())
}

/// Leads all connections, questions and pings to the sink's own address.
fn redirect(plan: &SinkPlan) -> Result<(), GuestError> {
    // Neighbours find each other by ICMPv6, too.
    let kinds = [
        ("iptables-restore", "icmp --icmp-type echo-request", true),
        ("ip6tables-restore", "ipv6-icmp --icmpv6-type echo-request", false),
    ];
    for (((program, ping, is_v4), tcp), dns) in kinds.into_iter().zip(TCP_PORTS).zip(DNS_PORTS) {
        let Some(link) = plan.links.iter().find(|link| link.gateway.is_ipv4() == is_v4) else { continue };
        let (at, gateway) = (|port| SocketAddr::new(link.gateway, port), link.gateway);
        let rules = format!(
            "*nat\n\
             -A PREROUTING -i {INTERFACE} -p tcp -j DNAT --to-destination {}\n\
             -A PREROUTING -i {INTERFACE} -p udp --dport 53 -j DNAT --to-destination {}\n\
             -A PREROUTING -i {INTERFACE} -p {ping} -j DNAT --to-destination {gateway}\n\
             COMMIT\n",
            at(tcp),
            at(dns)
        );
        restore_rules(program, &rules)?;
    }
    Ok(())
}

fn restore_rules(program: &str, rules: &str) -> Result<(), GuestError> {
    let mut command = command(program);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(GuestError::file("run", program))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(rules.as_bytes()).map_err(GuestError::file("write to", program))?;
    }
    let output = child.wait_with_output().map_err(GuestError::file("run", program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(GuestError::Program {
        program: program.to_owned(),
        args: String::new(),
        status: output.status.to_string(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Sends records in batches, so many a second.
fn send(records: &Receiver<Contact>, dropped: &std::sync::atomic::AtomicU64, host: &Host) {
    let (mut second, mut count) = (Instant::now(), 0);
    let mut list: Vec<Contact> = Vec::new();
    let mut last = Instant::now();
    loop {
        let ended = match records.recv_timeout(INTERVAL) {
            Ok(contact) => {
                if second.elapsed() >= Duration::from_secs(1) {
                    (second, count) = (Instant::now(), 0);
                }
                count += 1;
                if count <= MAX_CONTACTS_A_SECOND {
                    list.push(contact);
                } else {
                    dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let is_due = list.len() >= MAX_CONTACTS || last.elapsed() >= INTERVAL || ended;
        let nr_dropped = if is_due { dropped.swap(0, std::sync::atomic::Ordering::Relaxed) } else { 0 };
        if is_due && (!list.is_empty() || nr_dropped > 0) {
            let mut told = std::mem::take(&mut list);
            let dropped = nr_dropped.saturating_add(fit(&mut told, MAX_CONTACTS));
            host.say(&FromGuest::Contacts { list: told, dropped });
            last = Instant::now();
        }
        if ended {
            return;
        }
    }
}

/// How long after the last packet everything has been sent.
pub(super) const SETTLED: Duration = Duration::from_millis(600);

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), GuestError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).stack_size(128 << 10).spawn(work);
    spawned.map(drop).map_err(GuestError::file("start", "a thread"))
}

/// Bytes as text: what is no printable ASCII as `\xNN`.
fn printable(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect()
}
