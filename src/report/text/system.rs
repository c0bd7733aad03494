//! Sections of the container as a whole: sockets, mounts, networks, file system changes, coverage, issues.

use std::io::{self, Write};

use crate::base::{Pid, Text, escape_controls};
use crate::checkpoint::sockets::Queue;
use crate::checkpoint::{Checkpoint, Socket};

use super::human::{bytes, or_dash, plural};
use super::{Align, Cell, Columns, Style, Tone};

/// A blank line and a heading with a count.
pub(super) fn heading(out: &mut dyn Write, style: Style, title: &str) -> io::Result<()> {
    writeln!(out, "\n{}", style.paint(Tone::Strong, title))
}

/// Sockets, of all processes or of one.
pub(super) fn sockets(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint, only: Option<Pid>) -> io::Result<()> {
    heading(out, style, "Sockets")?;
    let mut columns = Columns::new(&[
        ("PROTO", Align::Left),
        ("STATE", Align::Left),
        ("RECV", Align::Right),
        ("SEND", Align::Right),
        ("LOCAL", Align::Left),
        ("PEER", Align::Left),
        ("INODE", Align::Right),
        ("PID/FD", Align::Left),
    ]);
    let is_wanted = |socket: &&Socket| only.is_none_or(|pid| socket.owners.iter().any(|(owner, _)| *owner == pid));
    for socket in checkpoint.sockets.iter().filter(is_wanted) {
        let address = |it: Option<&crate::checkpoint::sockets::SocketAddress>| {
            it.map_or_else(|| "-".into(), |it| escape_controls(&it.to_string()).into_owned())
        };
        let owners = super::process::few(16, socket.owners.iter(), |(pid, fd)| format!("{pid}/{fd}"));
        columns.row([
            socket.proto.into(),
            or_dash(socket.state).into(),
            queue(socket.recv_queue.as_ref()),
            queue(socket.send_queue.as_ref()),
            Cell::new(if socket.is_deleted { Tone::Alert } else { Tone::Plain }, address(socket.local.as_ref())),
            address(socket.peer.as_ref()).into(),
            or_dash(socket.inode).into(),
            owners.unwrap_or_else(|| "no descriptor".into()).into(),
        ]);
        columns.write_when_many(out, style, 2)?;
    }
    if columns.is_empty() {
        return writeln!(out, "  none");
    }
    columns.write(out, style, 2)?;
    writeln!(out, "  {}", style.paint(Tone::Dim, "RECV and SEND: bytes waiting; - where CRIU does not keep them"))
}

fn queue(queue: Option<&Queue>) -> Cell {
    match queue {
        Some(queue) => {
            Cell::new(if queue.len_bytes > 0 { Tone::Alert } else { Tone::Plain }, queue.len_bytes.to_string())
        }
        None => "-".into(),
    }
}

/// The mount tree.
pub(super) fn mounts(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint) -> io::Result<()> {
    heading(out, style, "Mounts")?;
    let mut columns = Columns::new(&[
        ("ID", Align::Right),
        ("PARENT", Align::Right),
        ("MOUNTPOINT", Align::Left),
        ("TYPE", Align::Left),
        ("SOURCE", Align::Left),
        ("ROOT", Align::Left),
    ]);
    for mount in &checkpoint.mounts {
        let indent = "  ".repeat(mount.depth.min(16) as usize);
        columns.row([
            Cell::new(Tone::Id, mount.mnt_id.to_string()),
            mount.parent_mnt_id.to_string().into(),
            Cell::new(
                if mount.is_deleted { Tone::Alert } else { Tone::Plain },
                format!("{indent}{}{}", mount.mountpoint.label(), if mount.is_deleted { " (deleted)" } else { "" }),
            ),
            mount.fstype.as_ref().map_or_else(|| "not recorded".into(), Text::label).into(),
            mount.source.label().into(),
            mount.root.label().into(),
        ]);
        columns.write_when_many(out, style, 2)?;
    }
    if columns.is_empty() { writeln!(out, "  none recorded") } else { columns.write(out, style, 2) }
}

/// Interfaces and routes of the network namespaces that were dumped.
pub(super) fn networks(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint) -> io::Result<()> {
    for network in &checkpoint.networks {
        if network.interfaces.is_empty() && network.routes.is_empty() && network.external_key.is_none() {
            continue;
        }
        heading(out, style, &format!("Network namespace {}", network.id))?;
        if let Some(key) = &network.external_key {
            writeln!(out, "  handed in by the runtime ({}): its inside is not in the dump", key.label())?;
        }
        for interface in &network.interfaces {
            let mut parts = vec![interface.kind.to_owned(), format!("mtu {}", interface.mtu)];
            parts.extend(interface.mac.clone());
            parts.extend(interface.addresses.iter().cloned());
            let name = style.paint(Tone::Strong, &interface.name.label());
            writeln!(out, "  {}: {name} {}", interface.ifindex, escape_controls(&parts.join(", ")))?;
        }
        for route in &network.routes {
            let via = route.gateway.as_ref().map_or_else(String::new, |gateway| format!(" via {gateway}"));
            let dev = route.interface.as_ref().map_or_else(String::new, |dev| format!(" dev {dev}"));
            let line = format!("{}{via}{dev} {}", route.destination, route.detail);
            writeln!(out, "  route {}", escape_controls(line.trim_end()))?;
        }
        for rule in &network.rules {
            writeln!(out, "  rule {}", escape_controls(rule))?;
        }
        let dumps =
            [("iptables", &network.iptables), ("ip6tables", &network.ip6tables), ("nftables", &network.nftables)];
        for (kind, dump) in dumps.iter().filter_map(|(kind, dump)| Some((kind, dump.as_ref()?))) {
            let size = bytes(dump.as_bytes().len() as u64);
            let image = format!("images ARCHIVE {kind}-{}.img", network.id);
            writeln!(
                out,
                "  {kind}: {size} of packet filters {}",
                style.paint(Tone::Dim, &format!("(`{image}` prints them)"))
            )?;
        }
    }
    Ok(())
}

/// Locks on files, where there are any.
pub(super) fn locks(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint, only: Option<Pid>) -> io::Result<()> {
    let mut columns = Columns::new(&[
        ("KIND", Align::Left),
        ("ACCESS", Align::Left),
        ("PID/FD", Align::Left),
        ("RANGE", Align::Left),
        ("FILE", Align::Left),
    ]);
    for lock in checkpoint.locks.iter().filter(|lock| only.is_none_or(|pid| lock.pid == pid)) {
        let file = checkpoint.fd(lock.pid, lock.fd).and_then(|entry| checkpoint.file(entry.file));
        let end = lock.len.map_or_else(|| "end".into(), |len| lock.start.saturating_add(len).to_string());
        columns.row([
            escape_controls(&lock.kind).into_owned().into(),
            escape_controls(&lock.access).into_owned().into(),
            format!("{}/{}", lock.pid, lock.fd).into(),
            format!("{}..{end}", lock.start).into(),
            file.and_then(|file| file.target.as_ref()).map_or_else(|| "-".into(), Text::label).into(),
        ]);
    }
    if columns.is_empty() {
        return Ok(());
    }
    heading(out, style, "File locks")?;
    columns.write(out, style, 2)
}

/// What cannot be told, and what could not be read.
pub(super) fn limits(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint) -> io::Result<()> {
    if !checkpoint.coverage.is_empty() {
        heading(out, style, "Not in this checkpoint")?;
        for gap in &checkpoint.coverage {
            writeln!(out, "  {}: {}", style.paint(Tone::Strong, gap.what), escape_controls(&gap.why))?;
        }
    }
    if checkpoint.issues.is_empty() {
        return Ok(());
    }
    heading(out, style, &plural(checkpoint.issues.len(), "issue", "issues"))?;
    for issue in &checkpoint.issues {
        let place = issue.place.to_string();
        writeln!(out, "  {}: {}", style.paint(Tone::Alert, &escape_controls(&place)), escape_controls(&issue.what))?;
    }
    Ok(())
}
