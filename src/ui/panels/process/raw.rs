//! The image files that hold what was recorded of the process.

use egui::{RichText, Ui};

use super::Shown;
use crate::base::VirtAddr;
use crate::session::{Command, Target};
use crate::ui::tokens::{SPACE_S, Tokens};
use crate::ui::widgets::{link_mono, mono_text, property_ui, section};
use crate::ui::{names, text};

pub(super) fn raw_ui(ui: &mut Ui, shown: Shown<'_>, commands: &mut Vec<Command>) {
    let process = shown.process;
    let pid = process.pid;
    let mut wanted = vec![
        ("pstree.img".to_owned(), "its place in the tree"),
        (format!("core-{pid}.img"), "registers, credentials, signals, timers"),
        (format!("mm-{pid}.img"), "memory map"),
        (format!("pagemap-{pid}.img"), "which pages are where"),
        (format!("fs-{pid}.img"), "working and root directory, mask"),
        (format!("ids-{pid}.img"), "namespaces, shared tables"),
    ];
    if let Some(id) = process.files_id {
        wanted.push((format!("fdinfo-{id}.img"), "descriptors"));
    }
    let threads = process.threads.iter().skip(1).take(200);
    wanted.extend(threads.map(|thread| (format!("core-{}.img", thread.tid), "a thread")));
    section(ui, "Images", "with what was recorded of this process", |ui| {
        for (name, what) in wanted {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = SPACE_S;
                let tokens = Tokens::get(ui);
                match shown.checkpoint.image(&name) {
                    Some(image) => {
                        if link_mono(ui, &name).clicked() {
                            commands.push(Command::go(Target::image(name.clone())));
                        }
                        let size = format!("{what}, {}", text::bytes(image.size_bytes));
                        ui.label(RichText::new(size).color(tokens.muted));
                    }
                    None => {
                        ui.label(mono_text(&name).color(tokens.muted));
                        ui.label(RichText::new(format!("{what}; not in the archive")).color(tokens.muted));
                    }
                }
            });
        }
    });
    let Some(memory) = process.memory.known() else { return };
    section(ui, "Memory descriptor", "from mm.img", |ui| {
        let stack = memory.start_stack..memory.start_stack;
        for (label, range) in [
            ("Code", &memory.code),
            ("Data", &memory.data),
            ("Heap (brk)", &memory.brk),
            ("Stack starts", &stack),
            ("Arguments", &memory.args),
            ("Environment", &memory.env),
        ] {
            property_ui(ui, label, "", |ui| {
                ui.horizontal(|ui| {
                    ui.spacing_mut().item_spacing.x = SPACE_S;
                    super::address_link(ui, shown, range.start, &range.start.to_string(), commands);
                    if range.start < range.end {
                        ui.label(mono_text(format!("to {}", range.end)));
                    }
                });
            });
        }
    });
    section(ui, "Auxiliary vector", "what the kernel told the program at its start", |ui| {
        for (key, value) in memory.auxv.iter().take(128) {
            property_ui(ui, &names::auxv(shown.checkpoint.container.arch, *key), "", |ui| {
                super::address_link(ui, shown, VirtAddr(*value), &format!("{value:#x}"), commands)
            });
        }
    });
}
