//! Stacks, the listing of instructions, base images and named structures, driven by keyboard, pointer and accessible names.

#![cfg(feature = "gui")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and writes its own files")]

mod drive;
mod rebuild;

use std::path::{Path, PathBuf};

use cryoscope::base::{Pid, VirtAddr};
use cryoscope::checkpoint::memory_map::VmaKind;
use cryoscope::decode::schema::CoreEntry;
use cryoscope::session::{ArchivesCommand, BaseState, Command, PanelKind, ProcessTab, Target, ViewCommand};
use cryoscope::ui::App;
use drive::{run_until, until_open};
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use rebuild::Parts;

type Window = Harness<'static, App>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn window(name: &str) -> Window {
    let mut harness = drive::window([1800.0, 1000.0], vec![fixture(name)]);
    until_open(&mut harness);
    harness
}

/// As [`window`], with the image that the container started from.
fn window_with_base() -> Window {
    let mut harness = drive::window([1800.0, 1000.0], Vec::new());
    let (paths, base) = (vec![fixture("process-zoo.tar.zst")], fixture("base/image.tar.zst"));
    harness.state_mut().ask(ArchivesCommand::OpenWithBase { paths, base });
    run_until(&mut harness, |harness| harness.state().model().active().is_some_and(|archive| archive.has_base()));
    harness
}

fn go(harness: &mut Window, target: Target) {
    harness.state_mut().ask(Command::go(target));
    harness.run_steps(4);
}

fn code(pid: u32, addr: u64) -> Target {
    Target::Code { pid: Pid(pid), addr: VirtAddr(addr) }
}

fn press(harness: &mut Window, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.run_steps(4);
}

fn write(harness: &mut Window, text: &str) {
    harness.event(egui::Event::Text(text.into()));
    harness.run_steps(3);
}

fn click(harness: &mut Window, role: Role, label: &str) {
    let node = harness.query_all_by_label(label).find(|node| node.accesskit_node().role() == role);
    node.unwrap_or_else(|| panic!("no {role:?} is called {label}")).click();
    harness.run_steps(4);
}

fn has(harness: &Window, label: &str) -> bool {
    harness.query_all_by_label(label).next().is_some()
}

fn has_part(harness: &Window, part: &str) -> bool {
    harness.query_all_by_label_contains(part).next().is_some()
}

fn target(harness: &Window) -> Target {
    harness.state().model().active().unwrap().target().clone()
}

/// What the message on top says.
fn message(harness: &Window) -> String {
    let message = harness.state().model().notifications().newest_first().next().unwrap();
    format!("{}: {}", message.title, message.detail)
}

#[test]
fn frames_of_a_thread_have_names_and_lead_to_bytes_and_instructions() {
    let mut harness = window_with_base();
    go(&mut harness, Target::Thread { pid: Pid(16), tid: Pid(16) });
    run_until(&mut harness, |harness| has(harness, "process-zoo!pause+0x19"));
    assert!(has(&harness, "process-zoo!main+0xfd") && has_part(&harness, "by unwind tables"));
    assert!(has(&harness, "Outermost frame: the thread began here"));
    // What registers point to has the names of symbols as well.
    assert!(has(&harness, "→ process-zoo!threads"));
    click(&mut harness, Role::Link, "000000425229");
    assert_eq!(target(&harness), Target::Address { pid: Pid(16), addr: VirtAddr(0x42_5229) });
    press(&mut harness, Modifiers::ALT, Key::ArrowLeft);
    run_until(&mut harness, |harness| has(harness, "process-zoo!pause+0x19"));
    click(&mut harness, Role::Button, "Disassemble at 0x425229");
    assert_eq!(target(&harness), code(16, 0x42_5229));
    run_until(&mut harness, |harness| has(harness, "0x425229: add rsp, 0x18"));
    assert!(has(&harness, "pause:") && has(&harness, "__register_atfork:"));
}

#[test]
fn address_of_the_kernels_half_stands_in_one_line_of_the_stack() {
    const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;
    let mut parts = Parts::of("compressed.tar");
    let mut cores = parts.records::<CoreEntry>("core-1.img");
    cores[0].thread_info.as_mut().unwrap().gpregs.ip = VSYSCALL;
    parts.set_records("core-1.img", &cores);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vsyscall.tar");
    std::fs::write(&path, parts.tar()).unwrap();
    let mut harness = drive::window([1280.0, 800.0], vec![path]);
    until_open(&mut harness);
    go(&mut harness, Target::process_tab(Pid(1), ProcessTab::Threads));
    run_until(&mut harness, |harness| has(harness, "[vsyscall]"));
    let address = format!("{VSYSCALL:x}");
    let rects: Vec<_> = harness.query_all_by_label(&address).map(|node| node.rect()).collect();
    assert!(rects.iter().all(|rect| rect.height() < 20.0), "{rects:?}");
    // The frame and the register.
    assert_eq!(rects.len(), 2, "{rects:?}");
    let names: Vec<_> = harness.query_all_by_label_contains("[vsyscall]").map(|node| node.rect()).collect();
    let is_beside = |name: &egui::Rect, address: &egui::Rect| {
        address.y_range().contains(name.center().y) && address.right() < name.left()
    };
    assert!(names.iter().any(|name| rects.iter().any(|address| is_beside(name, address))), "{names:?} {rects:?}");
}

#[test]
fn stack_without_tables_says_what_is_missing_and_offers_it() {
    let mut harness = window("process-zoo.tar.zst");
    go(&mut harness, Target::process_tab(Pid(16), ProcessTab::Threads));
    run_until(&mut harness, |harness| has_part(harness, "Lost: the unwind tables of process-zoo are in its file"));
    click(&mut harness, Role::Link, "Attach a base image…");
    assert!(has(&harness, "localhost/fixtures/process-zoo:1"));
    // A path that is wrong says so, and can be corrected.
    write(&mut harness, "/no/such/image.tar");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    let failed = |harness: &Window| matches!(harness.state().model().active().unwrap().base(), BaseState::Failed { why, .. } if why.contains("/no/such/image.tar"));
    run_until(&mut harness, failed);
    assert!(message(&harness).starts_with("Failed: Attach base image image.tar"), "{}", message(&harness));
    click(&mut harness, Role::Link, "Attach a base image…");
    write(&mut harness, &fixture("base/image.tar.zst").display().to_string());
    click(&mut harness, Role::Button, "Attach");
    run_until(&mut harness, |harness| has(harness, "process-zoo!pause+0x19"));
    assert!(message(&harness).starts_with("Base image attached: image.tar.zst: One mapped file is"));
    // It is shown with the evidence, and removed there.
    go(&mut harness, Target::Overview);
    assert!(has(&harness, "1 file is read from it"));
    click(&mut harness, Role::Link, "Remove");
    assert!(!harness.state().model().active().unwrap().has_base());
    go(&mut harness, Target::process_tab(Pid(16), ProcessTab::Threads));
    run_until(&mut harness, |harness| has_part(harness, "Lost: the unwind tables of process-zoo"));
}

#[test]
fn bytes_of_the_base_image_stand_where_nothing_was() {
    let mut harness = window("process-zoo.tar.zst");
    go(&mut harness, Target::Address { pid: Pid(16), addr: VirtAddr(0x42_5229) });
    run_until(&mut harness, |harness| has_part(harness, "clean page of a file: not in the checkpoint"));
    assert!(has(&harness, "Attach a base image…"));
    let archive = harness.state().model().active().unwrap().id();
    let path = fixture("base/image.tar.zst");
    harness.state_mut().ask(ArchivesCommand::AttachBase { archive, path });
    run_until(&mut harness, |harness| has_part(harness, "0x425220: 31 f6 31 ff e8 07 07 02  00 48 83 c4 18 c3"));
    assert!(has(&harness, "clean page, from the base image"));
    assert!(has_part(&harness, "image.tar.zst/usr/local/bin/process-zoo+0x25229"));
}

#[test]
fn image_of_another_container_is_told() {
    let mut harness = window("compromised-webapp.tar.zst");
    let archive = harness.state().model().active().unwrap().id();
    harness.state_mut().ask(ArchivesCommand::AttachBase { archive, path: fixture("base/image.tar.zst") });
    run_until(&mut harness, |harness| harness.state().model().active().unwrap().has_base());
    assert!(message(&harness).contains("has none of the mapped files"), "{}", message(&harness));
}

#[test]
fn calls_are_followed_and_back_returns() {
    let mut harness = window_with_base();
    go(&mut harness, code(16, 0x42_5224));
    run_until(&mut harness, |harness| has(harness, "0x425224: call 0x445930"));
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert_eq!(target(&harness), code(16, 0x44_5930));
    assert!(has(&harness, "__syscall_cancel:"));
    press(&mut harness, Modifiers::ALT, Key::ArrowLeft);
    assert_eq!(target(&harness), code(16, 0x42_5224));
    click(&mut harness, Role::Link, "Follow to 0x445930");
    assert_eq!(target(&harness), code(16, 0x44_5930));
    // Where data is meant, its bytes are shown.
    go(&mut harness, code(16, 0x42_5269));
    run_until(&mut harness, |harness| has(harness, "0x425269: mov rax, [0x4f1aa8]"));
    click(&mut harness, Role::Link, "Follow to 0x4f1aa8");
    assert_eq!(target(&harness), Target::Address { pid: Pid(16), addr: VirtAddr(0x4f_1aa8) });
}

#[test]
fn cursor_walks_instructions_both_ways_and_threads_are_marked() {
    let mut harness = window_with_base();
    go(&mut harness, code(16, 0x42_5224));
    run_until(&mut harness, |harness| has(harness, "0x425224: call 0x445930"));
    for _ in 0..60 {
        press(&mut harness, Modifiers::NONE, Key::ArrowUp);
    }
    for _ in 0..60 {
        press(&mut harness, Modifiers::NONE, Key::ArrowDown);
    }
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert_eq!(target(&harness), code(16, 0x44_5930));
    // All seven threads wait at one instruction.
    go(&mut harness, code(16, 0x44_6cfc));
    assert!(has_part(&harness, "(thread 16, thread 17, thread 18, thread 19, thread 20, thread 21, thread 22 here)"));
    // The field takes what that of the hex view takes.
    harness.state_mut().ask(ViewCommand::GoToAddress);
    harness.run_steps(3);
    write(&mut harness, "rip");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert_eq!(target(&harness), code(16, 0x44_6cfc));
}

#[test]
fn what_is_no_code_is_one_row_until_that_is_asked_for() {
    let mut harness = window("compromised-webapp.tar.zst");
    let process = harness.state().model().active().unwrap().checkpoint().process(Pid(1)).unwrap();
    let heap = process.memory.known().unwrap().vmas.iter().find(|vma| vma.kind == VmaKind::Heap).unwrap();
    let (before, start) = (VirtAddr(heap.start.0 - 1), heap.start);
    harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Disassembly));
    run_until(&mut harness, |harness| has(harness, "Code of process 1"));
    go(&mut harness, code(1, before.0));
    let row = format!("{start}: ");
    let is_folded = |harness: &Window| {
        harness
            .query_all_by_label_contains(&row)
            .any(|node| node.accesskit_node().label().is_some_and(|label| label.ends_with("of data: not executable")))
    };
    assert!(is_folded(&harness));
    // Who goes there means it.
    go(&mut harness, code(1, start.0));
    assert!(!is_folded(&harness) && has_part(&harness, &row));
    assert!(has_part(&harness, "not executable"));
}

#[test]
fn fields_of_structures_are_named_in_the_inspector_until_they_are_hidden() {
    let mut harness = window("compromised-webapp.tar.zst");
    let process = harness.state().model().active().unwrap().checkpoint().process(Pid(1)).unwrap();
    let vdso = process.memory.known().unwrap().vmas.iter().find(|vma| vma.kind == VmaKind::Vdso).unwrap().start;
    go(&mut harness, Target::Address { pid: Pid(1), addr: vdso });
    run_until(&mut harness, |harness| has(harness, "e_ident: magic"));
    assert!(has(&harness, "ELF header"));
    go(&mut harness, Target::Address { pid: Pid(1), addr: VirtAddr(vdso.0 + 0x12) });
    assert!(has(&harness, "e_machine") && has(&harness, "EM_X86_64"));
    click(&mut harness, Role::Button, "Name the fields of structures: ELF headers, link_map, sockaddr");
    assert!(!has(&harness, "e_machine"));
}
