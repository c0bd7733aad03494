//! The memory panel, driven by keyboard, pointer and accessible names.

#![cfg(feature = "gui")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod drive;

use std::path::Path;

use cryoscope::base::{Pid, VirtAddr};
use cryoscope::checkpoint::memory_map::VmaKind;
use cryoscope::session::{Command, PanelKind, ProcessTab, Target, ViewCommand};
use cryoscope::ui::App;
use drive::{run_until, until_open};
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};

/// A window on a fixture, with its memory in front.
fn window(name: &str) -> Harness<'static, App> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let mut harness = drive::window([1800.0, 1000.0], vec![path]);
    until_open(&mut harness);
    harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Memory));
    harness
}

/// As [`window`], at an address.
fn window_at(name: &str, pid: u32, addr: u64) -> Harness<'static, App> {
    let mut harness = window(name);
    go(&mut harness, address(pid, addr));
    run_until(&mut harness, |harness| has_part(harness, "Memory of process"));
    harness
}

fn address(pid: u32, addr: u64) -> Target {
    Target::Address { pid: Pid(pid), addr: VirtAddr(addr) }
}

fn go(harness: &mut Harness<'_, App>, target: Target) {
    harness.state_mut().ask(Command::go(target));
    harness.run_steps(4);
}

fn press(harness: &mut Harness<'_, App>, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.run_steps(4);
}

fn write(harness: &mut Harness<'_, App>, text: &str) {
    harness.event(egui::Event::Text(text.into()));
    harness.run_steps(3);
}

fn go_to(harness: &mut Harness<'_, App>, expression: &str) {
    press(harness, Modifiers::COMMAND, Key::G);
    write(harness, expression);
    press(harness, Modifiers::NONE, Key::Enter);
}

fn click(harness: &mut Harness<'_, App>, label: &str) {
    let node = harness.query_all_by_label(label).find(|node| node.accesskit_node().role() != Role::Label);
    node.unwrap_or_else(|| panic!("nothing to press is called {label}")).click();
    harness.run_steps(4);
}

fn has(harness: &Harness<'_, App>, label: &str) -> bool {
    harness.query_all_by_label(label).next().is_some()
}

fn has_part(harness: &Harness<'_, App>, part: &str) -> bool {
    harness.query_all_by_label_contains(part).next().is_some()
}

fn target(harness: &Harness<'_, App>) -> Target {
    harness.state().model().active().unwrap().target().clone()
}

/// What the message on top says.
fn message(harness: &Harness<'_, App>) -> String {
    let message = harness.state().model().notifications().newest_first().next().unwrap();
    format!("{}: {}", message.title, message.detail)
}

/// A vma of a kind.
fn start_of(harness: &Harness<'_, App>, pid: u32, kind: VmaKind) -> u64 {
    let process = harness.state().model().active().unwrap().checkpoint().process(Pid(pid)).unwrap();
    process.memory.known().unwrap().vmas.iter().find(|vma| vma.kind == kind).unwrap().start.0
}

#[test]
fn planted_bytes_stand_where_they_were_planted() {
    let mut harness = window_at("memory-zoo.tar.zst", 1, 0x7f7a_0835_d04d);
    assert!(has_part(&harness, "0x7f7a0835d040: 00 00 00 00 00 00 00 00  00 00 00 00 00 6d 65 6d"));
    assert!(has_part(&harness, "2d 61 6e 6f 6e 2d 39 63  31 65 00 00 00 00 00 00 -anon-9c1e"));
    // The same address of the child is another place.
    go(&mut harness, address(2, 0x7f7a_0822_2000));
    run_until(&mut harness, |harness| has_part(harness, "Memory of process 2"));
    assert!(has_part(&harness, "mem-cow-child-9c"));
}

#[test]
fn what_is_not_there_is_said_with_its_reason_and_zeros_are_told_from_it() {
    let mut harness = window("memory-zoo.tar.zst");
    run_until(&mut harness, |harness| has_part(harness, "Memory of process"));
    assert!(has_part(&harness, "clean page of a file: not in the checkpoint"));
    go_to(&mut harness, "stack");
    assert!(has_part(&harness, "zeros: never written to"));
    assert!(has_part(&harness, " not mapped from 0x"));
    click(&mut harness, "Show zeros byte by byte");
    let stack = start_of(&harness, 1, VmaKind::Stack);
    assert!(has_part(&harness, &format!("{stack:#x}: 00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00")));
}

#[test]
fn pages_of_parents_and_of_shared_memory_are_marked() {
    let mut harness = window("incremental.tar");
    run_until(&mut harness, |harness| has_part(harness, "Memory of process"));
    go_to(&mut harness, "stack+0x1e000");
    assert!(has_part(&harness, "in a parent checkpoint, 2 before this"));
    assert!(has_part(&harness, "1/pages-1.img+0x"));
    let mut harness = window("memory-zoo.tar.zst");
    run_until(&mut harness, |harness| has_part(harness, "Memory of process"));
    let shared = start_of(&harness, 1, VmaKind::AnonShared);
    go(&mut harness, address(1, shared));
    assert!(has_part(&harness, "in shared memory "));
    // The child maps it too.
    click(&mut harness, &format!("2: {shared:#x}"));
    assert_eq!(target(&harness), address(2, shared));
}

#[test]
fn expressions_lead_to_places_and_wrong_ones_say_what_is_wrong() {
    let mut harness = window("compromised-webapp.tar.zst");
    run_until(&mut harness, |harness| has_part(harness, "Memory of process"));
    go_to(&mut harness, "lbc+8");
    assert!(has(&harness, "no register, mapped file or area of this process is called “lbc”"));
    assert_eq!(target(&harness), Target::Overview);
    go_to(&mut harness, "0x1000");
    assert!(has_part(&harness, "0x1000 is not mapped; nearest: "));
    let heap = start_of(&harness, 1, VmaKind::Heap);
    go_to(&mut harness, "heap+0x18");
    assert_eq!(target(&harness), address(1, heap + 0x18));
    assert!(has(&harness, "[heap]+0x18"));
    press(&mut harness, Modifiers::COMMAND, Key::K);
    write(&mut harness, "heap+0x20");
    assert!(has(&harness, &format!("Go to {:#x} in process 1", heap + 0x20)));
    press(&mut harness, Modifiers::NONE, Key::Enter);
    assert_eq!(target(&harness), address(1, heap + 0x20));
    press(&mut harness, Modifiers::ALT, Key::ArrowLeft);
    assert_eq!(target(&harness), address(1, heap + 0x18));
}

#[test]
fn pointer_is_followed_and_back_returns() {
    let mut harness = window("compromised-webapp.tar.zst");
    run_until(&mut harness, |harness| has_part(harness, "Memory of process"));
    go_to(&mut harness, "rsp");
    // The stack has pointers: walk to one.
    let at = target(&harness);
    press(&mut harness, Modifiers::NONE, Key::Enter);
    let mut walked = 0;
    while target(&harness) == at {
        assert!(walked < 64, "there is no pointer on the stack");
        walked += 1;
        press(&mut harness, Modifiers::NONE, Key::ArrowRight);
        press(&mut harness, Modifiers::NONE, Key::Enter);
    }
    let Target::Address { addr: left, .. } = at else { panic!("{at:?}") };
    press(&mut harness, Modifiers::ALT, Key::ArrowLeft);
    assert_eq!(target(&harness), address(1, left.0 + walked));
}

#[test]
fn selection_by_keys_is_copied_in_the_last_format() {
    let mut harness = window_at("memory-zoo.tar.zst", 1, 0x7f7a_0835_d04d);
    for _ in 0..12 {
        press(&mut harness, Modifiers::SHIFT, Key::ArrowRight);
    }
    assert!(has(&harness, "13 bytes selected"));
    click(&mut harness, "Copy as");
    click(&mut harness, "Copy as text");
    assert_eq!(message(&harness), "Copied: 13 bytes as text: ");
    let copied = |harness: &Harness<'_, App>| {
        harness.output().platform_output.commands.iter().find_map(|command| match command {
            egui::OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        })
    };
    // The grid has the keyboard again.
    go(&mut harness, address(1, 0x7f7a_0835_d04d));
    for _ in 0..2 {
        press(&mut harness, Modifiers::SHIFT, Key::ArrowRight);
    }
    harness.event(egui::Event::Copy);
    let mut text = None;
    for _ in 0..3 {
        harness.step();
        text = text.or(copied(&harness));
    }
    assert_eq!(text.as_deref(), Some("mem"));
    // Bytes that are not there are not copied as something else.
    press(&mut harness, Modifiers::COMMAND, Key::Home);
    press(&mut harness, Modifiers::SHIFT, Key::ArrowDown);
    harness.event(egui::Event::Copy);
    harness.run_steps(4);
    assert!(message(&harness).starts_with("Not copied: 0x"), "{}", message(&harness));
}

#[test]
fn inspector_reads_what_is_under_the_cursor() {
    let mut harness = window_at("memory-zoo.tar.zst", 1, 0x7f7a_0835_d04d);
    assert!(has(&harness, "u8: 109") && has(&harness, "u16: 25965") && has(&harness, "UTF-8: m  U+006D"));
    click(&mut harness, "Big endian");
    assert!(has(&harness, "u16: 28005"));
    click(&mut harness, "u8: 109");
    assert_eq!(message(&harness), "Copied: u8: ");
}

#[test]
fn bookmark_is_set_noted_and_leads_back() {
    let mut harness = window_at("memory-zoo.tar.zst", 1, 0x7f7a_0835_d04d);
    press(&mut harness, Modifiers::NONE, Key::B);
    let is_note = |node: &egui_kittest::Node<'_>| node.accesskit_node().placeholder() == Some("Note on this bookmark");
    harness.query_all_by_role(Role::TextInput).find(is_note).unwrap().click();
    harness.run_steps(4);
    write(&mut harness, "the planted word");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    let settings = harness.state().model().settings();
    let [bookmark] = settings.bookmarks.as_slice() else { panic!("{:?}", settings.bookmarks) };
    assert_eq!((bookmark.evidence.as_str(), bookmark.note.as_str()), ("memory-zoo.tar.zst", "the planted word"));
    go_to(&mut harness, "stack");
    assert_ne!(target(&harness), address(1, 0x7f7a_0835_d04d));
    click(&mut harness, "0x7f7a0835d04d");
    assert_eq!(target(&harness), address(1, 0x7f7a_0835_d04d));
    click(&mut harness, "Remove the bookmark at 0x7f7a0835d04d");
    assert!(harness.state().model().settings().bookmarks.is_empty());
}

#[test]
fn search_of_this_memory_opens_the_search_panel_for_its_process() {
    let mut harness = window("memory-zoo.tar.zst");
    run_until(&mut harness, |harness| has_part(harness, "Memory of process"));
    click(&mut harness, "Search this memory (Ctrl+F)");
    harness.run_steps(4);
    write(&mut harness, "mem-anon-9c1e");
    press(&mut harness, Modifiers::NONE, Key::Enter);
    run_until(&mut harness, |harness| has_part(harness, "1 hit in"));
    press(&mut harness, Modifiers::NONE, Key::F4);
    run_until(&mut harness, |harness| has(harness, "13 bytes selected"));
    assert_eq!(target(&harness), address(1, 0x7f7a_0835_d04d));
}

#[test]
fn addresses_of_a_process_lead_to_its_memory() {
    let mut harness = window("compromised-webapp.tar.zst");
    let process = harness.state().model().active().unwrap().checkpoint().process(Pid(1)).unwrap();
    let sp = process.threads[0].registers.known().unwrap().sp;
    go(&mut harness, Target::process_tab(Pid(1), ProcessTab::Threads));
    click(&mut harness, &format!("{sp:016x}"));
    assert_eq!(target(&harness), address(1, sp));
    run_until(&mut harness, |harness| has_part(harness, "Memory of process 1"));
    assert!(has_part(&harness, &format!("{:#x}: ", sp / 16 * 16)));
    go(&mut harness, Target::process_tab(Pid(1), ProcessTab::Memory));
    let heap = start_of(&harness, 1, VmaKind::Heap);
    let label = format!("{heap:012x}");
    let link = harness.query_all_by_label(&label).find(|node| node.accesskit_node().role() == Role::Link);
    link.unwrap().click();
    harness.run_steps(4);
    assert_eq!(target(&harness), address(1, heap));
    // A border leads back to the map.
    let border =
        harness.query_all_by_label_contains("[heap]").find(|node| node.accesskit_node().role() == Role::Button);
    border.unwrap().click();
    harness.run_steps(4);
    assert_eq!(target(&harness), Target::Vma { pid: Pid(1), start: VirtAddr(heap) });
}
