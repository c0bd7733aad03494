//! The container card: the head of `inspect`.

use std::io::{self, Write};

use crate::base::{Text, escape_controls, hex};
use crate::checkpoint::Checkpoint;

use super::human::{bytes, micros, or_dash, plural};
use super::{Style, Tone};

const LABEL_WIDTH: usize = 13;

/// Writes one line of the card; lines without a value are left out.
pub(super) fn field(out: &mut dyn Write, style: Style, label: &str, value: Option<&str>) -> io::Result<()> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(()) };
    let label = style.paint(Tone::Dim, &format!("{label:<LABEL_WIDTH$}"));
    writeln!(out, "  {label} {}", escape_controls(value))
}

/// Writes the card.
pub(super) fn write(
    out: &mut dyn Write,
    style: Style,
    checkpoint: &Checkpoint,
    sha256: Option<&[u8]>,
) -> io::Result<()> {
    let container = &checkpoint.container;
    let name = container.name.as_deref().unwrap_or("container without a name");
    writeln!(out, "{}", style.paint(Tone::Strong, &escape_controls(name)))?;
    let mut line = |label: &str, value: Option<&str>| field(out, style, label, value);

    let evidence = &checkpoint.outer;
    let mut parts = vec![evidence.name().to_owned()];
    parts.push(bytes(evidence.size_bytes()));
    parts.push(format!("{} layout", container.layout));
    match evidence.compression().to_string().as_str() {
        "none" => {}
        compression => parts.push(compression.to_owned()),
    }
    parts.push(plural(evidence.members().len(), "member", "members"));
    line("evidence", Some(&parts.join(", ")))?;
    line("sha256", sha256.map(hex).as_deref())?;
    line("on top of", Some(&checkpoint.parents.join(", ")))?;
    line("image", container.image.as_deref())?;
    line("image id", container.image_id.as_deref())?;
    line("id", container.id.as_deref())?;
    let pod = match (&container.namespace, &container.pod) {
        (Some(namespace), Some(pod)) => Some(format!("{pod} in namespace {namespace}")),
        (None, pod) => pod.clone(),
        (Some(namespace), None) => Some(format!("in namespace {namespace}")),
    };
    line("pod", pod.as_deref())?;
    let engine = container.engine.map(|engine| match &container.engine_version {
        Some(version) => format!("{engine} {version}"),
        None => engine.to_owned(),
    });
    let engine: Vec<String> = engine.into_iter().chain(container.runtime.clone()).collect();
    line("engine", Some(&engine.join(" with ")))?;
    line("hostname", container.hostname.as_deref())?;
    let args: Vec<String> = container.args.iter().map(Text::label).collect();
    line("command", Some(&args.join(" ")))?;
    line("created", container.created.as_deref())?;
    line("checkpointed", container.checkpointed.as_deref())?;
    let restored = match (&container.restored, container.was_restored) {
        (Some(time), _) => Some(format!("{time}: this container was itself restored from a checkpoint")),
        (None, Some(true)) => Some("this container was itself restored from a checkpoint".into()),
        (None, _) => None,
    };
    line("restored", restored.as_deref())?;
    for network in &container.networks {
        let mut parts = vec![network.name.clone()];
        parts.extend(network.interface.clone());
        parts.extend(network.addresses.iter().cloned());
        parts.extend(network.mac.clone());
        parts.extend(network.gateway.as_ref().map(|gateway| format!("via {gateway}")));
        line("network", Some(&parts.join(", ")))?;
    }
    let criu = match (&container.criu_version, container.criu_version_at_least) {
        (Some(version), _) => Some(version.clone()),
        (None, Some(version)) => Some(format!("not recorded, at least {version} by the fields of its images")),
        (None, None) => None,
    };
    let dumped: Vec<String> = criu
        .map(|criu| format!("CRIU {criu}"))
        .into_iter()
        .chain(container.arch.map(|arch| arch.name().to_owned()))
        .chain(container.kernel.as_ref().map(|kernel| format!("kernel {kernel}")))
        .collect();
    line("dumped by", Some(&dumped.join(", ")))?;
    let sizes = &checkpoint.sizes;
    let rootfs =
        sizes.rootfs_diff_bytes.map_or_else(|| "no rootfs diff".into(), |n| format!("rootfs diff {}", bytes(n)));
    let sizes =
        format!("images {}, of them pages {}; {rootfs}", bytes(sizes.checkpoint_bytes), bytes(sizes.pages_bytes));
    line("sizes", Some(&sizes))?;
    line("holds", Some(&counts(checkpoint)))
}

fn counts(checkpoint: &Checkpoint) -> String {
    let threads = checkpoint.processes.iter().map(|process| process.threads.len()).sum();
    let mut counts = vec![
        plural(checkpoint.processes.len(), "process", "processes"),
        plural(threads, "thread", "threads"),
        plural(checkpoint.files.len(), "open file", "open files"),
        plural(checkpoint.sockets.len(), "socket", "sockets"),
        plural(checkpoint.mounts.len(), "mount", "mounts"),
        plural(checkpoint.rootfs.entries.len(), "changed path", "changed paths"),
        plural(checkpoint.rootfs.deleted.len(), "deleted path", "deleted paths"),
        plural(checkpoint.recovered.len(), "recovered file", "recovered files"),
    ];
    counts.retain(|count| !count.starts_with("0 "));
    counts.join(", ")
}

/// Writes the statistics of the dump.
pub(super) fn stats(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint) -> io::Result<()> {
    writeln!(out, "{}", style.paint(Tone::Strong, "Dump statistics"))?;
    let Some(stats) = &checkpoint.stats else {
        return writeln!(out, "  not recorded: there is no stats-dump");
    };
    let mut line = |label: &str, value: Option<String>| {
        let label = style.paint(Tone::Dim, &format!("{label:<26}"));
        writeln!(out, "  {label} {}", or_dash(value))
    };
    line("freezing", stats.freezing_time_us.map(micros))?;
    line("frozen", stats.frozen_time_us.map(micros))?;
    line("collecting memory", stats.memdump_time_us.map(micros))?;
    line("writing memory", stats.memwrite_time_us.map(micros))?;
    line("resolving inodes", stats.irmap_resolve_us.map(micros))?;
    for (label, pages) in [
        ("pages scanned", stats.pages_scanned),
        ("pages written", stats.pages_written),
        ("pages left to the parent", stats.pages_skipped_parent),
        ("pages left to lazy server", stats.pages_lazy),
        ("shared pages scanned", stats.shpages_scanned),
        ("shared pages written", stats.shpages_written),
        ("shared pages in parent", stats.shpages_skipped_parent),
    ] {
        line(label, pages.map(|n| n.to_string()))?;
    }
    Ok(())
}
