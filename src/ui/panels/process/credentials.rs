//! Users, groups, capabilities, seccomp, LSM.

use egui::{RichText, Ui};

use super::Shown;
use crate::base::Field;
use crate::checkpoint::credentials::Credentials;
use crate::checkpoint::seccomp::Seccomp;
use crate::session::Command;
use crate::ui::tokens::{self, SPACE_L, Tokens, Tone};
use crate::ui::widgets::{Value, absent, badge, mono_text, property, property_ui, section};
use crate::ui::{names, text};

/// Capabilities that give the host away when the container holds them.
const DANGEROUS: [u32; 9] = [2, 12, 16, 17, 19, 21, 27, 39, 40];

/// Most instructions of one filter that are shown.
const MAX_INSTRUCTIONS: usize = 4096;

pub(super) fn credentials_ui(ui: &mut Ui, shown: Shown<'_>, commands: &mut Vec<Command>) {
    let Some(leader) = shown.process.threads.first() else {
        ui.label(RichText::new("A zombie has no credentials.").color(Tokens::get(ui).muted));
        return;
    };
    match &leader.credentials {
        Field::Known(credentials) => {
            ids_ui(ui, credentials, commands);
            capabilities_ui(ui, credentials);
        }
        Field::Absent(why) => {
            absent(ui, *why);
        }
    }
    if shown.process.threads.iter().skip(1).any(|thread| thread.credentials != leader.credentials) {
        ui.label(
            RichText::new("Other threads have other credentials; these are the leader's.")
                .color(Tokens::get(ui).warning),
        );
    }
    match &leader.seccomp {
        Field::Known(seccomp) => seccomp_ui(ui, shown, seccomp),
        Field::Absent(why) => {
            section(ui, "Seccomp", "", |ui| absent(ui, *why));
        }
    }
}

fn ids_ui(ui: &mut Ui, credentials: &Credentials, commands: &mut Vec<Command>) {
    let four = |ids: [u32; 4]| format!("{}  {}  {}  {}", ids[0], ids[1], ids[2], ids[3]);
    section(ui, "Ids", "real, effective, saved, file system; inside the user namespace", |ui| {
        property(ui, commands, "User ids", "", Value::Mono(&four(credentials.uids)));
        property(ui, commands, "Group ids", "", Value::Mono(&four(credentials.gids)));
        let groups: Vec<_> = credentials.groups.iter().take(200).map(ToString::to_string).collect();
        let groups = if groups.is_empty() { "none".to_owned() } else { groups.join("  ") };
        property(ui, commands, "Groups", "Supplementary groups", Value::Mono(&groups));
    });
    section(ui, "Confinement", "", |ui| {
        property_ui(ui, "No new privileges", "Set-id programs and file capabilities give nothing more", |ui| {
            match credentials.no_new_privs {
                Some(true) => badge(ui, "on", Tone::Success),
                Some(false) => badge(ui, "off", Tone::Neutral),
                None => {
                    ui.label(RichText::new("not recorded (CRIU writes it since 3.16)").color(Tokens::get(ui).muted))
                }
            }
        });
        let profile = credentials.lsm_profile.as_ref().map_or_else(|| "none".to_owned(), |profile| profile.label());
        property(ui, commands, "LSM profile", "SELinux context or AppArmor profile", Value::Mono(&profile));
        property(ui, commands, "Secure bits", "SECBIT_ bits", Value::Mono(&format!("{:#x}", credentials.securebits)));
    });
}

/// A matrix: one row for each capability that is in any set.
fn capabilities_ui(ui: &mut Ui, credentials: &Credentials) {
    let sets: [(&str, Option<u64>); 5] = [
        ("Effective", Some(credentials.cap_eff)),
        ("Permitted", Some(credentials.cap_prm)),
        ("Inheritable", Some(credentials.cap_inh)),
        ("Bounding", Some(credentials.cap_bnd)),
        ("Ambient", credentials.cap_amb),
    ];
    let any = sets.iter().filter_map(|(_, set)| *set).fold(0, |any, set| any | set);
    let note = format!("{} of {} in any set", any.count_ones(), names::nr_capabilities());
    section(ui, "Capabilities", &note, |ui| {
        if any == 0 {
            ui.label(RichText::new("None in any set.").color(Tokens::get(ui).muted));
            return;
        }
        let tokens = Tokens::get(ui);
        egui::Grid::new("capabilities").num_columns(6).spacing([SPACE_L, 3.0]).min_row_height(18.0).show(ui, |ui| {
            ui.label("");
            for (name, set) in sets {
                let label = if set.is_some() { name.to_owned() } else { format!("{name} (not recorded)") };
                ui.label(RichText::new(label).font(tokens::small_font()).color(tokens.muted));
            }
            ui.end_row();
            ui.label(RichText::new("as in /proc/PID/status").font(tokens::small_font()).color(tokens.muted));
            for (_, set) in sets {
                let digits = set.map_or_else(String::new, |set| format!("{set:016x}"));
                ui.add(egui::Label::new(mono_text(digits).color(tokens.muted)).selectable(true));
            }
            ui.end_row();
            for number in (0..64).filter(|number| any & (1u64 << number) != 0) {
                let is_dangerous = DANGEROUS.contains(&number);
                let color = if is_dangerous { tokens.warning } else { tokens.text };
                let name = ui.label(mono_text(names::capability(number)).color(color));
                if is_dangerous {
                    name.on_hover_text("Reaches beyond the container");
                }
                for (_, set) in sets {
                    let has = set.is_some_and(|set| set & (1u64 << number) != 0);
                    ui.label(if has {
                        RichText::new("yes").color(color)
                    } else {
                        RichText::new("·").color(tokens.muted)
                    });
                }
                ui.end_row();
            }
        });
    });
}

fn seccomp_ui(ui: &mut Ui, shown: Shown<'_>, seccomp: &Seccomp) {
    let mode = match seccomp.mode {
        0 => "off",
        1 => "strict: read, write, exit and sigreturn only",
        2 => "filter",
        _ => "unknown mode",
    };
    section(ui, "Seccomp", &text::counted(seccomp.filters.len(), "filter", "filters"), |ui| {
        property_ui(ui, "Mode", "0 off, 1 strict, 2 filter", |ui| ui.label(format!("{} ({mode})", seccomp.mode)));
        // The newest filter runs first; a chain may be long, its programs are closed.
        for (order, index) in seccomp.filters.iter().take(64).enumerate() {
            let Some(filter) = shown.checkpoint.seccomp_filters.get(*index) else { continue };
            let title =
                format!("Filter {}: {}", order + 1, text::counted(filter.program.len(), "instruction", "instructions"));
            egui::CollapsingHeader::new(title).id_salt(("filter", index)).show(ui, |ui| {
                let tokens = Tokens::get(ui);
                let rows = filter.program.len().min(MAX_INSTRUCTIONS);
                egui::ScrollArea::vertical().id_salt(("program", index)).max_height(320.0).show_rows(
                    ui,
                    17.0,
                    rows,
                    |ui, range| {
                        ui.spacing_mut().item_spacing.y = 1.0;
                        for at in range {
                            let Some(instruction) = filter.program.get(at) else { continue };
                            let line = format!("{at:4}  {}", instruction.text(at));
                            ui.label(mono_text(line).color(tokens.text));
                        }
                    },
                );
            });
        }
    });
}
