//! The archive at a glance: the container, what there is of it, what cannot be shown, what could
//! not be read.

use egui::{Frame, Margin, RichText, ScrollArea, Sense, Ui};

use crate::base::{Issue, escape_controls};
use crate::checkpoint::Checkpoint;
use crate::session::{ArchiveId, ArchivesCommand, Command, HashState, OpenArchive, PanelKind, Target};
use crate::ui::tokens::{self, SPACE_L, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{Value, badge, link, mono_text, paint_icon, property, property_ui, section, target_link};
use crate::ui::{icons, text};

/// Most rows of a list that may be long; the rest is counted.
const MAX_ROWS: usize = 12;

/// What the panel keeps: numbers that would cost a walk over the evidence.
#[derive(Debug, Default)]
pub struct OverviewState {
    counts: Option<(ArchiveId, Counts)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    threads: usize,
    deleted_files: usize,
    zombies: usize,
    unread_bytes: u64,
}

impl Counts {
    fn of(checkpoint: &Checkpoint) -> Counts {
        let queues = checkpoint.sockets.iter().filter_map(|socket| socket.recv_queue.as_ref());
        Counts {
            threads: checkpoint.processes.iter().map(|process| process.threads.len()).sum(),
            deleted_files: checkpoint.files.iter().filter(|file| file.is_deleted).count(),
            zombies: checkpoint.processes.iter().filter(|process| process.is_zombie()).count(),
            unread_bytes: queues.map(|queue| queue.len_bytes).sum(),
        }
    }
}

/// Draws the panel.
#[must_use]
pub fn overview_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut OverviewState) -> Vec<Command> {
    let mut commands = Vec::new();
    let checkpoint = archive.checkpoint();
    let counts = match state.counts {
        Some((id, counts)) if id == archive.id() => counts,
        _ => {
            let counts = Counts::of(checkpoint);
            state.counts = Some((archive.id(), counts));
            counts
        }
    };
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        Frame::NONE.inner_margin(Margin::symmetric(SPACE_L as i8, SPACE_M as i8)).show(ui, |ui| {
            ui.set_max_width(ui.available_width().min(1180.0));
            title_ui(ui, archive);
            ui.add_space(SPACE_M);
            counts_ui(ui, checkpoint, counts, &mut commands);
            ui.add_space(SPACE_L);
            if ui.available_width() > 720.0 {
                ui.spacing_mut().item_spacing.x = 2.0 * SPACE_L;
                ui.columns(2, |columns| {
                    for column in columns.iter_mut() {
                        column.spacing_mut().item_spacing.x = SPACE_S;
                    }
                    container_ui(&mut columns[0], checkpoint, &mut commands);
                    networks_ui(&mut columns[0], checkpoint);
                    custody_ui(&mut columns[0], archive, &mut commands);
                    evidence_ui(&mut columns[1], archive, &mut commands);
                    dump_ui(&mut columns[1], checkpoint);
                });
            } else {
                container_ui(ui, checkpoint, &mut commands);
                evidence_ui(ui, archive, &mut commands);
                custody_ui(ui, archive, &mut commands);
                dump_ui(ui, checkpoint);
                networks_ui(ui, checkpoint);
            }
            ui.spacing_mut().item_spacing.x = SPACE_S;
            issues_ui(ui, checkpoint, &mut commands);
            coverage_ui(ui, archive, &mut commands);
            annotations_ui(ui, checkpoint);
        });
    });
    commands
}

fn title_ui(ui: &mut Ui, archive: &OpenArchive) {
    let tokens = Tokens::get(ui);
    let container = &archive.checkpoint().container;
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(28.0, 30.0), Sense::hover());
        paint_icon(ui, rect, icons::CONTAINER, 26.0, tokens.accent);
        ui.label(RichText::new(archive.title()).font(tokens::strong_font(22.0)).color(tokens.strong));
        if let Some(engine) = container.engine {
            badge(ui, engine, Tone::Accent);
        }
        if let Some(runtime) = &container.runtime {
            badge(ui, &escape_controls(runtime), Tone::Neutral);
        }
        if let Some(arch) = container.arch.map(|arch| arch.name()) {
            badge(ui, arch, Tone::Neutral);
        }
        if container.was_restored == Some(true) {
            badge(ui, "was restored", Tone::Warning)
                .on_hover_text("This container had itself been restored from a checkpoint");
        }
    });
    let pod = match (&container.namespace, &container.pod) {
        (Some(namespace), Some(pod)) => Some(format!("pod {pod} in namespace {namespace}")),
        (None, Some(pod)) => Some(format!("pod {pod}")),
        _ => None,
    };
    let image = container.image.clone();
    let line: Vec<String> = pod.into_iter().chain(image).map(|part| escape_controls(&part).into_owned()).collect();
    if !line.is_empty() {
        ui.label(RichText::new(line.join("  ·  ")).color(tokens.muted));
    }
}

fn counts_ui(ui: &mut Ui, checkpoint: &Checkpoint, counts: Counts, commands: &mut Vec<Command>) {
    let changes = checkpoint.rootfs.entries.len() + checkpoint.rootfs.deleted.len();
    let threads = text::counted(counts.threads, "thread", "threads");
    let zombies = if counts.zombies > 0 {
        format!("{threads}, {}", text::counted(counts.zombies, "zombie", "zombies"))
    } else {
        threads
    };
    let deleted = if counts.deleted_files > 0 {
        format!("{} deleted", text::grouped(counts.deleted_files as u64))
    } else {
        String::new()
    };
    let unread =
        if counts.unread_bytes > 0 { format!("{} unread", text::bytes(counts.unread_bytes)) } else { String::new() };
    let recovered = match checkpoint.recovered.len() {
        0 => String::new(),
        count => format!("{} recovered", text::grouped(count as u64)),
    };
    let tiles: [(icons::Icon, usize, &str, String, PanelKind); 6] = [
        (icons::PROCESS, checkpoint.processes.len(), "Processes", zombies, PanelKind::Processes),
        (icons::FILES, checkpoint.files.len(), "Open files", deleted, PanelKind::Files),
        (icons::SOCKET, checkpoint.sockets.len(), "Sockets", unread, PanelKind::Sockets),
        (icons::DEVICE, checkpoint.mounts.len(), "Mounts", String::new(), PanelKind::Mounts),
        (icons::FOLDER, changes, "File changes", recovered, PanelKind::Filesystem),
        (
            icons::IMAGES,
            checkpoint.images.len(),
            "Images",
            text::bytes(checkpoint.sizes.checkpoint_bytes),
            PanelKind::Images,
        ),
    ];
    let per_row = if ui.available_width() > 720.0 { 6 } else { 3 };
    let gap = SPACE_S;
    let width = ((ui.available_width() - gap * (per_row as f32 - 1.0)) / per_row as f32).floor();
    for row in tiles.chunks(per_row) {
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = gap;
            for (icon, count, label, note, panel) in row {
                if count_ui(ui, width, icon, *count, label, note) {
                    commands.push(Command::go(Target::Panel(*panel)));
                }
            }
        });
        ui.add_space(SPACE_XS);
    }
}

/// A number with its name, that leads to its panel.
fn count_ui(ui: &mut Ui, width: f32, icon: icons::Icon, count: usize, label: &str, note: &str) -> bool {
    let tokens = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(egui::vec2(width, 62.0), Sense::click());
    let number = text::grouped(count as u64);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Link, true, format!("{number} {label}")));
    let is_hot = response.hovered() || response.has_focus();
    ui.painter().rect_filled(rect, 6.0, if is_hot { tokens.hover } else { tokens.stripe });
    let stroke = egui::Stroke::new(1.0, if is_hot { tokens.accent } else { tokens.line });
    ui.painter().rect_stroke(rect, 6.0, stroke, egui::StrokeKind::Inside);
    let left = rect.left() + SPACE_M;
    let drawn = ui.painter().text(
        egui::pos2(left, rect.top() + 21.0),
        egui::Align2::LEFT_CENTER,
        &number,
        tokens::strong_font(19.0),
        tokens.strong,
    );
    if !note.is_empty() {
        let mut job = egui::text::LayoutJob::simple_singleline(note.to_owned(), tokens::small_font(), tokens.muted);
        job.wrap.max_width = (rect.right() - drawn.right() - SPACE_S - SPACE_M).max(0.0);
        job.wrap.max_rows = 1;
        job.wrap.break_anywhere = true;
        let galley = ui.painter().layout_job(job);
        ui.painter().galley(egui::pos2(drawn.right() + SPACE_S, rect.top() + 17.0), galley, tokens.muted);
    }
    let icon_rect = egui::Rect::from_min_size(egui::pos2(left, rect.top() + 34.0), egui::vec2(16.0, 18.0));
    paint_icon(ui, icon_rect, icon, 14.0, if is_hot { tokens.accent } else { tokens.muted });
    ui.painter().text(
        egui::pos2(left + 22.0, rect.top() + 43.0),
        egui::Align2::LEFT_CENTER,
        label,
        tokens::body_font(),
        if is_hot { tokens.accent } else { tokens.text },
    );
    response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked()
}

/// A property that is left out when the engine does not tell it.
fn told(ui: &mut Ui, commands: &mut Vec<Command>, label: &'static str, help: &str, value: Option<&str>) {
    if let Some(value) = value {
        property(ui, commands, label, help, Value::Mono(&escape_controls(value)));
    }
}

fn container_ui(ui: &mut Ui, checkpoint: &Checkpoint, commands: &mut Vec<Command>) {
    let container = &checkpoint.container;
    section(ui, "Container", "", |ui| {
        told(ui, commands, "ID", "The engine's id", container.id.as_deref());
        told(ui, commands, "Engine version", "Release of the engine", container.engine_version.as_deref());
        told(ui, commands, "Image", "Reference as the user knows it", container.image.as_deref());
        told(ui, commands, "Image ID", "Id or digest of the image", container.image_id.as_deref());
        if !container.args.is_empty() {
            let args: Vec<_> = container.args.iter().take(40).map(|arg| arg.label()).collect();
            property(ui, commands, "Command", "First process, from the runtime spec", Value::Mono(&args.join(" ")));
        }
        told(ui, commands, "Host name", "Inside the container", container.hostname.as_deref());
        told(ui, commands, "Pod UID", "Kubernetes' uid of the pod", container.pod_uid.as_deref());
        told(ui, commands, "Created", "When the container was created", container.created.as_deref());
        told(ui, commands, "Checkpointed", "When it was frozen", container.checkpointed.as_deref());
        told(ui, commands, "Restored", "When it was itself restored", container.restored.as_deref());
        if let Some(first) = checkpoint.processes.first() {
            property_ui(ui, "First process", "Root of the process tree", |ui| {
                target_link(ui, commands, &format!("{} {}", first.pid, first.comm_label()), Target::process(first.pid));
            });
        }
    });
}

fn evidence_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let checkpoint = archive.checkpoint();
    section(ui, "Evidence", "", |ui| {
        let path = escape_controls(&archive.path().display().to_string()).into_owned();
        property(ui, commands, "Path", "Opened read-only; nothing is written beside it", Value::Mono(&path));
        property(ui, commands, "Layout", "Who laid the files out", Value::Text(checkpoint.container.layout.word()));
        property_ui(ui, "SHA-256", "Of the evidence as delivered", |ui| match archive.hash() {
            HashState::NotYet => {
                ui.label(RichText::new("when all of it is there").color(Tokens::get(ui).muted));
            }
            HashState::NotComputed => {
                if link(ui, "Compute").clicked() {
                    commands.push(ArchivesCommand::Hash(archive.id()).into());
                }
            }
            HashState::Running(_) => {
                ui.label(RichText::new("computing…").color(Tokens::get(ui).muted));
            }
            HashState::Known(sha256) => {
                let digest = egui::Label::new(mono_text(sha256)).wrap();
                ui.add(digest.selectable(true));
                if link(ui, "Copy").clicked() {
                    commands.push(Command::copy("SHA-256", sha256.clone()));
                }
            }
        });
        property_ui(
            ui,
            "Base image",
            "The image that the container started from; it has the clean pages of mapped files",
            |ui| {
                super::base::state_ui(ui, archive, commands);
            },
        );
        let sizes = &checkpoint.sizes;
        property(ui, commands, "Images", "All image files of CRIU", Value::Text(&text::bytes(sizes.checkpoint_bytes)));
        property(ui, commands, "Memory", "Pages of memory among them", Value::Text(&text::bytes(sizes.pages_bytes)));
        let rootfs = sizes.rootfs_diff_bytes.map_or_else(|| "not in the archive".to_owned(), text::bytes);
        property(ui, commands, "Changed files", "Archive of what changed in the root filesystem", Value::Text(&rootfs));
    });
}

/// How the archive came from a node.
fn custody_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let Some(custody) = archive.custody() else { return };
    let tokens = Tokens::get(ui);
    section(ui, "Custody", "", |ui| {
        let verified = match custody {
            Ok(verified) => verified,
            Err(why) => {
                let why = RichText::new(escape_controls(why)).color(tokens.error);
                property_ui(ui, "Not verified", "", |ui| ui.add(egui::Label::new(why).wrap()));
                return;
            }
        };
        let manifest = &verified.manifest;
        property_ui(ui, "Verified", "Hash, length and signature, when the archive was hashed", |ui| {
            badge(ui, "hash and signature agree", Tone::Success);
        });
        let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        let by = manifest.requested_by.name.as_deref().unwrap_or("somebody without a name");
        let frozen = format!("{} on {}, for {by}", time(manifest.finished), manifest.node.name);
        let acquired = format!("{} by {}", time(verified.at), verified.who);
        let rows = [
            ("Frozen", "By the node's clock; the workstation's name as the node knows it", Some(frozen)),
            ("Acquired", "By this workstation's clock", Some(acquired)),
            ("Reason", "As it was given", manifest.reason.clone()),
            ("Warnings", "What the agent saw go wrong", Some(manifest.warnings.join("; "))),
        ];
        for (label, help, value) in rows {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                property(ui, commands, label, help, Value::Text(&escape_controls(&value)));
            }
        }
        let command = escape_controls(&manifest.command).into_owned();
        property(ui, commands, "Request", "What the agent sent to the runtime", Value::Mono(&command));
    });
}

fn dump_ui(ui: &mut Ui, checkpoint: &Checkpoint) {
    let container = &checkpoint.container;
    let mut rows: Vec<(&'static str, &'static str, String)> = Vec::new();
    let criu =
        container.criu_version.clone().or(container.criu_version_at_least.map(|version| format!("at least {version}")));
    if let Some(criu) = criu {
        rows.push(("CRIU", "Release that made the dump", escape_controls(&criu).into_owned()));
    }
    if let Some(kernel) = &container.kernel {
        rows.push(("Kernel", "Of the dumping machine, from the log", escape_controls(kernel).into_owned()));
    }
    if let Some(stats) = &checkpoint.stats {
        let times = [
            ("Freezing", "Until all tasks were frozen", stats.freezing_time_us),
            ("Frozen", "How long the container stood still", stats.frozen_time_us),
            ("Memory dump", "Collecting memory", stats.memdump_time_us),
            ("Memory write", "Writing memory", stats.memwrite_time_us),
        ];
        rows.extend(times.into_iter().filter_map(|(label, help, us)| Some((label, help, text::micros(us?)))));
        if let (Some(written), Some(scanned)) = (stats.pages_written, stats.pages_scanned) {
            rows.push((
                "Pages",
                "Written of those looked at",
                format!("{} of {}", text::grouped(written), text::grouped(scanned)),
            ));
        }
    }
    if rows.is_empty() {
        return;
    }
    section(ui, "Dump", "", |ui| {
        let mut no_commands = Vec::new();
        for (label, help, value) in rows {
            property(ui, &mut no_commands, label, help, Value::Text(&value));
        }
    });
}

fn networks_ui(ui: &mut Ui, checkpoint: &Checkpoint) {
    let networks = &checkpoint.container.networks;
    if networks.is_empty() {
        return;
    }
    section(ui, "Networks", "as the engine attached them", |ui| {
        for network in networks.iter().take(MAX_ROWS) {
            property_ui(ui, &escape_controls(&network.name), "", |ui| {
                let mut parts: Vec<String> = network.interface.iter().cloned().collect();
                parts.extend(network.addresses.iter().take(MAX_ROWS).cloned());
                parts.extend(network.gateway.iter().map(|gateway| format!("via {gateway}")));
                parts.extend(network.mac.iter().cloned());
                let line = if parts.is_empty() {
                    "no addresses".to_owned()
                } else {
                    escape_controls(&parts.join("  ")).into_owned()
                };
                ui.add(egui::Label::new(mono_text(line)).wrap());
            });
        }
    });
}

fn issues_ui(ui: &mut Ui, checkpoint: &Checkpoint, commands: &mut Vec<Command>) {
    let issues = &checkpoint.issues;
    if issues.is_empty() {
        return;
    }
    let note = text::counted(issues.len(), "issue", "issues");
    section(ui, "Could not be read", &note, |ui| {
        for (index, issue) in issues.iter().take(5).enumerate() {
            issue_ui(ui, index, issue, commands);
        }
        if issues.len() > 5 && link(ui, &format!("All {note}")).clicked() {
            commands.push(Command::go(Target::Panel(PanelKind::Issues)));
        }
    });
}

fn issue_ui(ui: &mut Ui, index: usize, issue: &Issue, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    ui.horizontal_wrapped(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(16.0, 18.0), Sense::hover());
        paint_icon(ui, rect, icons::ISSUE, 14.0, tokens.warning);
        let place = escape_controls(&issue.place.to_string()).into_owned();
        target_link(ui, commands, &place, Target::Issue(index));
        ui.label(escape_controls(&issue.what).into_owned());
    });
}

fn coverage_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let gaps = &archive.checkpoint().coverage;
    if gaps.is_empty() {
        return;
    }
    section(ui, "Cannot be shown", "what a checkpoint like this one does not hold", |ui| {
        for gap in gaps {
            super::base::gap_ui(ui, archive, gap, commands);
        }
    });
}

fn annotations_ui(ui: &mut Ui, checkpoint: &Checkpoint) {
    let container = &checkpoint.container;
    for (title, pairs) in [("Labels", &container.labels), ("Annotations", &container.annotations)] {
        if pairs.is_empty() {
            continue;
        }
        let note = text::grouped(pairs.len() as u64);
        egui::CollapsingHeader::new(format!("{title} ({note})")).show(ui, |ui| {
            for (name, value) in pairs.iter().take(200) {
                let value: String = value.chars().take(2000).collect();
                ui.horizontal_wrapped(|ui| {
                    ui.label(mono_text(escape_controls(name)).color(Tokens::get(ui).muted));
                    ui.label(mono_text(escape_controls(&value)));
                });
            }
            if pairs.len() > 200 {
                ui.label(format!("{} more: see Documents", text::grouped(pairs.len() as u64 - 200)));
            }
        });
    }
}
