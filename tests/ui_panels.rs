//! The panels of files, sockets, mounts, documents, images and issues, driven by accessible names.

#![cfg(feature = "gui")]
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test makes its own archive")]

mod drive;

use std::path::{Path, PathBuf};

use cryoscope::base::{Fd, Pid};
use cryoscope::checkpoint::Checkpoint;
use cryoscope::session::{Command, Content, ContentKey, PanelKind, RecordCount, Requested, Target, ViewCommand};
use cryoscope::ui::App;
use drive::{run_until, until_open};
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A window with room for all columns, on `path`.
fn window_on(path: &Path) -> Harness<'static, App> {
    let mut harness = drive::window([1800.0, 1400.0], vec![path.to_path_buf()]);
    until_open(&mut harness);
    harness
}

fn window(name: &str, panel: PanelKind) -> Harness<'static, App> {
    let mut harness = window_on(&fixture(name));
    harness.state_mut().ask(ViewCommand::ShowPanel(panel));
    harness.run_steps(4);
    harness
}

fn go(harness: &mut Harness<'_, App>, target: Target) {
    harness.state_mut().ask(Command::go(target));
    harness.run_steps(4);
}

/// Presses what has this name and is no mere text.
fn click(harness: &mut Harness<'_, App>, label: &str) {
    let node = harness.query_all_by_label(label).find(|node| node.accesskit_node().role() != Role::Label);
    node.unwrap_or_else(|| panic!("nothing to press is called {label}")).click();
    harness.run_steps(4);
}

fn click_on(harness: &mut Harness<'_, App>, role: Role, label: &str) {
    let node = harness.query_all_by_label(label).find(|node| node.accesskit_node().role() == role);
    node.unwrap_or_else(|| panic!("no {role:?} is called {label}")).click();
    harness.run_steps(4);
}

fn has(harness: &Harness<'_, App>, label: &str) -> bool {
    harness.query_all_by_label(label).next().is_some()
}

/// Whether something on the screen is named with this in it.
fn has_part(harness: &Harness<'_, App>, part: &str) -> bool {
    harness.query_all_by_label_contains(part).next().is_some()
}

fn checkpoint<'a>(harness: &'a Harness<'_, App>) -> &'a Checkpoint {
    harness.state().model().active().unwrap().checkpoint()
}

fn target(harness: &Harness<'_, App>) -> Target {
    harness.state().model().active().unwrap().target().clone()
}

#[test]
fn deleted_file_leads_to_its_content_and_back_to_its_holders() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Files);
    let file = checkpoint(&harness)
        .files
        .iter()
        .find(|file| file.target.as_ref().is_some_and(|target| target.as_bytes() == b"/home/removed (deleted)"));
    let id = file.unwrap().id;
    go(&mut harness, Target::File(id));
    assert!(has(&harness, "content recovered") && has(&harness, "deleted"));
    let link = harness.query_all_by_label_contains("/home/removed, ").next().unwrap().accesskit_node().label().unwrap();
    click(&mut harness, &link);
    assert!(matches!(target(&harness), Target::RootfsPath(name) if name == "/home/removed"));
    run_until(&mut harness, |harness| has(harness, "Save as…"));
    go(&mut harness, Target::File(id));
    click(&mut harness, "1:14 fd-zoo");
    assert_eq!(target(&harness), Target::Fd { pid: Pid(1), fd: Fd(14) });
}

#[test]
fn every_kind_of_open_file_has_details() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Files);
    let ids: Vec<_> = checkpoint(&harness).files.iter().map(|file| file.id).collect();
    assert!(ids.len() > 80);
    for id in ids {
        go(&mut harness, Target::File(id));
        assert!(has(&harness, "Open file description"), "file {id}");
    }
    assert!(harness.state().model().notifications().is_empty(), "a panel has failed");
}

#[test]
fn details_close_and_open_again_with_a_click_on_the_same_row() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Files);
    let id = checkpoint(&harness).files[4].id;
    go(&mut harness, Target::File(id));
    click(&mut harness, "Close details");
    assert!(!has(&harness, "Open file description"));
    click_on(&mut harness, Role::Row, &id.to_string());
    assert!(has(&harness, "Open file description"));
}

#[test]
fn unread_bytes_of_a_socket_are_shown_and_its_peer_is_a_link() {
    let mut harness = window("sockets.tar.zst", PanelKind::Sockets);
    let socket = checkpoint(&harness).sockets.iter().find(|socket| {
        socket
            .recv_queue
            .as_ref()
            .is_some_and(|queue| queue.packets.iter().any(|(bytes, _)| bytes.starts_with(b"secret-unread-by-client")))
    });
    let (id, peer) = socket.map(|socket| (socket.file, socket.peer_file.unwrap())).unwrap();
    go(&mut harness, Target::Socket(id));
    assert!(has(&harness, "secret-unread-by-client"));
    go(&mut harness, Target::Socket(peer));
    assert_eq!(target(&harness), Target::Socket(peer));
    assert!(!has(&harness, "secret-unread-by-client"));
}

#[test]
fn filter_of_a_socket_is_disassembled() {
    let mut harness = window("sockets.tar.zst", PanelKind::Sockets);
    let ids: Vec<_> = checkpoint(&harness).sockets.iter().filter(|s| !s.filter.is_empty()).map(|s| s.file).collect();
    assert!(!ids.is_empty(), "no socket has a filter");
    go(&mut harness, Target::Socket(ids[0]));
    assert!(has(&harness, "BPF filter"));
    assert!(has_part(&harness, "ret #0"));
}

#[test]
fn network_of_the_container_has_interfaces_routes_and_filters() {
    let mut harness = window("namespaces.tar", PanelKind::Sockets);
    click(&mut harness, "Interfaces and routes");
    for label in ["Network namespace 10", "br0", "192.0.2.254"] {
        assert!(has(&harness, label), "{label}");
    }
    click(&mut harness, "Packet filters");
    assert!(has_part(&harness, "--to-ports 8080"));
}

#[test]
fn mounts_lead_to_their_parent_and_namespaces_name_their_processes() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Mounts);
    let id = |harness: &Harness<'_, App>, path: &str| {
        let mounts = &checkpoint(harness).mounts;
        mounts.iter().find(|mount| mount.mountpoint.as_bytes() == path.as_bytes()).unwrap().mnt_id
    };
    click(&mut harness, "/dev/shm");
    assert_eq!(target(&harness), Target::Mount(id(&harness, "/dev/shm")));
    click(&mut harness, "/dev (tmpfs)");
    assert_eq!(target(&harness), Target::Mount(id(&harness, "/dev")));
    click(&mut harness, "Namespaces");
    click(&mut harness, "uts 12");
    assert!(has(&harness, "nodename"));
    click_on(&mut harness, Role::Link, "10 receiver");
    assert_eq!(target(&harness).pid(), Some(Pid(10)));
}

#[test]
fn chips_choose_files_by_source() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Filesystem);
    click(&mut harness, "Show files as list");
    assert!(has(&harness, "45 files") && has(&harness, "/dev/null"));
    click(&mut harness, "Ghost 6");
    assert!(has(&harness, "6 files") && !has(&harness, "/dev/null"));
    // A place that is hidden by the chip is shown all the same.
    go(&mut harness, Target::RootfsPath("/dev/null".into()));
    assert!(has_part(&harness, " of 45 files"));
    // The tree has the same rows, with their directories.
    click(&mut harness, "Show files as tree");
    assert!(has(&harness, "45 files"));
    click(&mut harness, "Ghost 6");
    assert!(has(&harness, "6 of 45 files") && has(&harness, "/home/removed") && has(&harness, "/home"));
    go(&mut harness, Target::RootfsPath("/dev/zero".into()));
    assert!(has(&harness, "45 files") && has(&harness, "/dev/zero"));
}

#[test]
fn tree_of_files_is_folded_and_walked_by_keys() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Filesystem);
    let press = |harness: &mut Harness<'_, App>, keys: &[Key]| {
        for key in keys {
            harness.key_press(*key);
            harness.run_steps(3);
        }
    };
    // Nothing but device nodes and links: closed at first.
    assert!(has(&harness, "/dev") && !has(&harness, "/dev/null"));
    click_on(&mut harness, Role::ListItem, "/home");
    assert!(!has(&harness, "/home/plain"));
    let is_expanded = |harness: &Harness<'_, App>| {
        harness.get_by_role_and_label(Role::ListItem, "/home").accesskit_node().data().is_expanded()
    };
    assert_eq!(is_expanded(&harness), Some(false));
    press(&mut harness, &[Key::ArrowRight]);
    assert!(has(&harness, "/home/plain") && is_expanded(&harness) == Some(true));
    press(&mut harness, &[Key::ArrowRight]);
    assert!(matches!(target(&harness), Target::RootfsPath(name) if name.starts_with("/home/")));
    // Walking does not open the viewer, Enter does.
    assert!(!has(&harness, "Close details"));
    press(&mut harness, &[Key::Enter]);
    assert!(has(&harness, "Close details"));
    press(&mut harness, &[Key::ArrowLeft, Key::ArrowLeft]);
    assert!(!has(&harness, "/home/plain"));
    click(&mut harness, "Open all directories");
    assert!(has(&harness, "/home/plain") && has(&harness, "/dev/null"));
    click(&mut harness, "Close all directories");
    assert!(!has(&harness, "/home/plain") && !has(&harness, "/dev/null"));
}

#[test]
fn filter_of_the_tree_of_files_keeps_directories() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Filesystem);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    harness.run_steps(3);
    harness.event(egui::Event::Text("removed-sp".into()));
    harness.run_steps(4);
    assert!(has(&harness, "/home") && has(&harness, "/home/removed-sparse") && has(&harness, "1 of 45 files"));
    assert!(!has(&harness, "/home/plain") && !has(&harness, "/dev"));
}

#[test]
fn changed_and_removed_files_are_told_apart() {
    let mut harness = window("rootfs-changes.tar.zst", PanelKind::Filesystem);
    let rootfs = &checkpoint(&harness).rootfs;
    let setuid = rootfs.entries.iter().find(|entry| entry.mode & 0o4000 != 0).unwrap().path.to_lossless().into_owned();
    let removed = rootfs.deleted.first().unwrap().to_lossless().into_owned();
    go(&mut harness, Target::RootfsPath(setuid));
    assert!(has(&harness, "setuid"));
    go(&mut harness, Target::RootfsPath(removed));
    assert!(has(&harness, "removed") && has_part(&harness, "not in the checkpoint"));
}

#[test]
fn documents_show_as_tree_and_as_text() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Documents);
    click(&mut harness, "spec.dump");
    assert!(has(&harness, "ociVersion"));
    click(&mut harness, "Text");
    assert!(has_part(&harness, "\"ociVersion\""));
    click(&mut harness, "ctr.log");
    assert!(!has(&harness, "Tree"));
}

#[test]
fn image_opens_at_the_record_that_a_byte_lies_in() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Images);
    let file = &checkpoint(&harness).files[30];
    let (id, place) = (file.id, file.place.clone());
    let place = Target::of_place(checkpoint(&harness), &place).unwrap();
    assert!(matches!(&place, Target::ImageAt { name, .. } if name == "files.img"));
    go(&mut harness, place);
    run_until(&mut harness, |harness| has(harness, "Record 30"));
    assert!(has(&harness, &format!("id {id}")), "fields of the record are open");
    click(&mut harness, "JSON as crit prints");
    assert!(has(&harness, "id"));
}

#[test]
fn records_of_every_image_can_be_drawn() {
    for name in ["fd-zoo.tar.zst", "namespaces.tar", "sockets.tar.zst"] {
        let mut harness = window(name, PanelKind::Images);
        let images: Vec<_> = checkpoint(&harness).images.iter().map(|image| image.name.clone()).collect();
        for image in images {
            go(&mut harness, Target::Image { name: image.clone(), record: Some(0) });
            let is_read = |harness: &Harness<'_, App>| has(harness, "Save as…") || has(harness, "Show the bytes");
            run_until(&mut harness, is_read);
        }
        assert!(harness.state().model().notifications().is_empty(), "a panel has failed on {name}");
    }
}

#[test]
fn records_of_images_are_counted_in_the_background() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Images);
    let files = checkpoint(&harness).files.len();
    let is_counted = |harness: &Harness<'_, App>| {
        let archive = harness.state().model().active().unwrap();
        matches!(archive.content(&ContentKey::RecordCounts), Some(Requested::Ready(Content::RecordCounts(_))))
    };
    run_until(&mut harness, is_counted);
    let archive = harness.state().model().active().unwrap();
    let Some(Requested::Ready(Content::RecordCounts(counts))) = archive.content(&ContentKey::RecordCounts) else {
        panic!("they are not counted");
    };
    let images = &archive.checkpoint().images;
    let count = |name: &str| counts[images.iter().position(|image| image.name == name).unwrap()];
    assert_eq!(count("files.img"), Some(RecordCount { count: files, is_whole: true }));
    assert_eq!(count("inventory.img").map(|count| count.count), Some(1));
    assert_eq!(count("pages-1.img"), None);
    click(&mut harness, "Sort by Records");
}

#[test]
fn nothing_unreadable_is_said_and_gaps_are_listed() {
    let mut harness = window("fd-zoo.tar.zst", PanelKind::Issues);
    assert!(has(&harness, "Nothing was unreadable"));
    click(&mut harness, "Cannot be shown");
    assert!(has(&harness, "process start times"));
}

#[test]
fn issues_of_a_cut_archive_lead_to_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.tar");
    let mut bytes = std::fs::read(fixture("compressed.tar")).unwrap();
    // One image is overwritten: the record lengths make no sense any more.
    let name = b"checkpoint/files.img\0";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at + 512 + 8..at + 512 + 40].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let mut harness = window_on(&path);
    harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Issues));
    harness.run_steps(4);
    let issue = checkpoint(&harness).issues.iter().position(|issue| issue.place.member == "files.img").unwrap();
    let place = checkpoint(&harness).issues[issue].place.to_string();
    go(&mut harness, Target::Issue(issue));
    click_on(&mut harness, Role::Link, &place);
    assert_eq!(target(&harness).panel(), PanelKind::Images);
}

#[test]
fn every_object_of_every_fixture_can_be_gone_to() {
    let names = [
        "compromised-webapp.tar.zst",
        "credentials.tar.zst",
        "crio-crun-loop.tar",
        "containerd-runc-loop.tar",
        "docker-checkpoint.tar",
        "memory-zoo.tar.zst",
        "rootfs-changes.tar.zst",
    ];
    for name in names {
        let mut harness = window_on(&fixture(name));
        let objects = harness.state().model().active().unwrap().objects();
        let targets: Vec<_> = objects.iter().map(|object| object.target.clone()).collect();
        for target in targets {
            harness.state_mut().ask(Command::go(target));
            harness.run_steps(2);
        }
        harness.run_steps(4);
        let mut messages = harness.state().model().notifications().newest_first();
        let failed = messages.find(|message| message.title.contains("has failed"));
        assert!(failed.is_none(), "{name}: {failed:?}");
    }
}
