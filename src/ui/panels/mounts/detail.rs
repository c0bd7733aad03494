//! All about one mount.

use egui::Ui;

use super::super::files::links::{MAX_LINKS, file_link, more_label, mount_link, place_link};
use super::propagation;
use crate::base::{FileId, MntId};
use crate::checkpoint::files::FileDetail;
use crate::checkpoint::{Checkpoint, Mount};
use crate::decode::names;
use crate::session::{ArchiveId, Command, OpenArchive, Target};
use crate::ui::tokens::Tone;
use crate::ui::widgets::{
    Side, Value, detail_page, detail_sides, detail_title, empty_state, link_row, property, property_ui, section,
    target_link,
};
use crate::ui::{icons, text};

/// What the details keep.
#[derive(Debug, Default)]
pub(super) struct DetailState {
    found: Option<((ArchiveId, MntId), Found)>,
}

/// What is looked up once for each mount.
#[derive(Debug, Default)]
struct Found {
    children: Vec<MntId>,
    nr_children: usize,
    files: Vec<FileId>,
    nr_files: usize,
}

impl Found {
    fn of(checkpoint: &Checkpoint, mount: &Mount) -> Found {
        let mut found = Found::default();
        for other in &checkpoint.mounts {
            if other.parent_mnt_id == mount.mnt_id && other.ns_id == mount.ns_id && other.mnt_id != mount.mnt_id {
                found.nr_children += 1;
                if found.children.len() < MAX_LINKS {
                    found.children.push(other.mnt_id);
                }
            }
        }
        for file in &checkpoint.files {
            if matches!(&file.detail, FileDetail::Reg(reg) if reg.mnt_id == Some(mount.mnt_id)) {
                found.nr_files += 1;
                if found.files.len() < MAX_LINKS {
                    found.files.push(file.id);
                }
            }
        }
        found
    }
}

/// Draws the details; true when they shall be closed.
pub(super) fn detail_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    id: MntId,
    state: &mut DetailState,
    commands: &mut Vec<Command>,
) -> bool {
    let checkpoint = archive.checkpoint();
    let Some(mount) = checkpoint.mount(id) else {
        let is_closed = detail_title(ui, icons::DEVICE, Tone::Neutral, &format!("Mount {id}"), &[]);
        empty_state(ui, icons::DEVICE, &format!("There is no mount {id}"), "It is named somewhere, but not recorded.");
        return is_closed;
    };
    let key = (archive.id(), id);
    if state.found.as_ref().is_none_or(|(known, _)| *known != key) {
        state.found = Some((key, Found::of(checkpoint, mount)));
    }
    let Some((_, found)) = &state.found else { return false };
    let fstype = mount.fstype.as_ref().map_or_else(|| "unknown type".to_owned(), |fstype| fstype.label());
    let mut badges = vec![(fstype.as_str(), Tone::Neutral, "File system")];
    if mount.external_key.is_some() {
        badges.push(("external", Tone::Accent, "The runtime hands it in at restore; its content is not in the dump"));
    }
    if mount.is_deleted {
        badges.push(("root deleted", Tone::Warning, "The directory that is mounted was unlinked"));
    }
    if mount.content_img.is_some() {
        badges.push(("content recovered", Tone::Success, "Its files lie in the checkpoint"));
    }
    let is_closed = detail_title(ui, icons::DEVICE, Tone::Accent, &mount.mountpoint.label(), &badges);
    detail_page(ui, u64::from(archive.id().0) << 32 | u64::from(id.0), |ui| {
        detail_sides(ui, |ui, side| match side {
            Side::Left => mount_ui(ui, checkpoint, mount, commands),
            Side::Right => {
                tree_ui(ui, checkpoint, mount, found, commands);
                files_ui(ui, checkpoint, found, commands);
            }
        });
    });
    is_closed
}

fn mount_ui(ui: &mut Ui, checkpoint: &Checkpoint, mount: &Mount, commands: &mut Vec<Command>) {
    let arch = checkpoint.container.arch.unwrap_or_default();
    section(ui, "Mount", "", |ui| {
        property(ui, commands, "ID", "As in mountinfo", Value::Mono(&mount.mnt_id.to_string()));
        property(ui, commands, "Root", "Subtree of the file system that is mounted", Value::Mono(&mount.root.label()));
        property(ui, commands, "Source", "Device or source", Value::Mono(&mount.source.label()));
        let dev = format!("{}:{}", mount.dev.0, mount.dev.1);
        property(ui, commands, "Device", "Major and minor number", Value::Mono(&dev));
        let flags = format!("{}  ({:#x})", mount.flag_names(), mount.flags);
        property(ui, commands, "Flags", "Of the mount", Value::Mono(&flags));
        if let Some(flags) = mount.sb_flags {
            let flags = match flags {
                0 => "none".to_owned(),
                flags => format!("{}  ({flags:#x})", names::MOUNT_FLAGS.bits(arch, u64::from(flags))),
            };
            property(ui, commands, "Super block flags", "Of the file system", Value::Mono(&flags));
        }
        if !mount.options.is_empty() {
            property(
                ui,
                commands,
                "Options",
                "Of the file system, as CRIU keeps them",
                Value::Mono(&mount.options.label()),
            );
        }
        let help = "Peer groups: whether mounts made here show elsewhere";
        property(ui, commands, "Propagation", help, Value::Mono(&propagation(mount)));
        if let Some(key) = &mount.external_key {
            let help = "Name by which the runtime hands it in at restore";
            property(ui, commands, "External key", help, Value::Mono(&key.label()));
        }
        property(ui, commands, "Mount namespace", "CRIU's number", Value::Mono(&mount.ns_id.to_string()));
        property_ui(ui, "Recorded in", "", |ui| place_link(ui, checkpoint, &mount.place, commands));
        if let Some(img) = &mount.content_img {
            property_ui(ui, "Content", "An archive of its files; Filesystem shows them", |ui| {
                target_link(ui, commands, img, Target::image(img.clone()));
            });
        }
    });
}

fn tree_ui(ui: &mut Ui, checkpoint: &Checkpoint, mount: &Mount, found: &Found, commands: &mut Vec<Command>) {
    let note = match found.nr_children {
        0 => "nothing is mounted below it".to_owned(),
        count => format!("{} below it", text::counted(count, "mount", "mounts")),
    };
    section(ui, "Tree", &note, |ui| {
        property_ui(ui, "Mounted on", "Its parent", |ui| {
            if checkpoint.mount(mount.parent_mnt_id).is_some() && mount.parent_mnt_id != mount.mnt_id {
                mount_link(ui, checkpoint, mount.parent_mnt_id, commands);
            } else {
                ui.label(format!("mount {}, outside the container", mount.parent_mnt_id));
            }
        });
        if !found.children.is_empty() {
            property_ui(ui, "Below it", "Mounts that stand on this one", |ui| {
                for child in &found.children {
                    mount_link(ui, checkpoint, *child, commands);
                }
                more_label(ui, found.nr_children);
            });
        }
    });
}

fn files_ui(ui: &mut Ui, checkpoint: &Checkpoint, found: &Found, commands: &mut Vec<Command>) {
    if found.files.is_empty() {
        return;
    }
    section(ui, "Open files on it", &text::grouped(found.nr_files as u64), |ui| {
        link_row(ui, |ui| {
            for id in &found.files {
                file_link(ui, checkpoint, *id, commands);
            }
            more_label(ui, found.nr_files);
        });
    });
}
