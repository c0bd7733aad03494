//! The search panel, driven by accessible names on the sample and on made memory.

#![cfg(feature = "gui")]
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test reads its own files")]

mod drive;

use std::path::Path;
use std::time::{Duration, Instant};

use cryoscope::base::{Pid, VirtAddr};
use cryoscope::session::search::{MAX_HITS, Query, QueryKind, SearchSession, SearchState};
use cryoscope::session::{ExportCommand, SearchCommand, SearchRequest, Target};
use cryoscope::ui::App;
use drive::{run_until, until_open};
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};

type Window = Harness<'static, App>;

/// A window on the sample, without its base image.
fn window() -> Window {
    let mut harness = drive::window([1400.0, 1000.0], vec!["fixtures/compromised-webapp.tar.zst".into()]);
    until_open(&mut harness);
    harness
}

fn shown(harness: &Window) -> &SearchSession {
    harness.state().model().active().unwrap().searches().shown().unwrap()
}

fn has_ended(harness: &Window) -> bool {
    harness.state().model().active().unwrap().searches().shown().is_some_and(|shown| !shown.is_running())
}

/// Types into the panel as the analyst does, and waits for the end.
fn search_for(harness: &mut Window, text: &str) {
    type_query(harness, text);
    harness.key_press(Key::Enter);
    harness.run_steps(3);
    run_until(harness, has_ended);
}

fn type_query(harness: &mut Window, text: &str) {
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::F);
    harness.run_steps(4);
    harness.event(egui::Event::Text(text.into()));
    harness.run_steps(3);
}

fn click(harness: &mut Window, role: Role, label: &str) {
    let node = harness.query_all_by_label(label).find(|node| node.accesskit_node().role() == role);
    node.unwrap_or_else(|| panic!("no {role:?} is called {label}")).click();
    harness.run_steps(4);
}

fn has_part(harness: &Window, part: &str) -> bool {
    harness.query_all_by_label_contains(part).next().is_some()
}

fn target(harness: &Window) -> Target {
    harness.state().model().active().unwrap().target().clone()
}

/// What was planted under a name: whose memory, and where.
fn planted(name: &str, is_wanted: impl Fn(&serde_json::Value) -> bool) -> Vec<(Option<Pid>, Option<VirtAddr>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/compromised-webapp.planted.json");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let hits = all[name]["hits"].as_array().unwrap().iter();
    hits.filter(|hit| is_wanted(hit))
        .map(|hit| {
            let addr = u64::from_str_radix(hit["vaddr"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
            (Some(Pid(u32::try_from(hit["pid"].as_u64().unwrap()).unwrap())), Some(VirtAddr(addr)))
        })
        .collect()
}

fn in_memory(session: &SearchSession) -> Vec<(Option<Pid>, Option<VirtAddr>)> {
    let hits = (0..session.hits().len()).map(|nr| session.hits().get(nr).unwrap());
    hits.filter(|hit| hit.vaddr.is_some()).map(|hit| (hit.pid, hit.vaddr)).collect()
}

#[test]
fn planted_key_is_found_where_it_was_planted() {
    let mut harness = window();
    search_for(&mut harness, "AKIAIOSFODNN7EXAMPLE");
    let session = shown(&harness);
    assert_eq!(session.state(), &SearchState::Done);
    let found = in_memory(session);
    // Clean pages of files are found only where the archive has the file.
    let dumped = planted("aws key id", |hit| hit["anonymous"] == true);
    let missing: Vec<_> = dumped.iter().filter(|hit| !found.contains(hit)).collect();
    assert!(!dumped.is_empty() && missing.is_empty(), "{missing:?}");
    let all = planted("aws key id", |_| true);
    assert!(found.iter().all(|hit| all.contains(hit)), "{found:?}");
    assert!(has_part(&harness, "of clean file pages, which a checkpoint does not hold"));
    assert!(session.first_hit().is_some());
    assert!(has_part(&harness, "1 python3, 2 hits"));
    assert!(has_part(&harness, "[stack], 1 hit"));
}

#[test]
fn hits_are_walked_by_f4_and_selected_in_the_bytes() {
    let mut harness = window();
    search_for(&mut harness, "AKIAIOSFODNN7EXAMPLE");
    let found = in_memory(shown(&harness));
    for (pid, addr) in &found[..3] {
        harness.key_press(Key::F4);
        harness.run_steps(6);
        assert_eq!(target(&harness), Target::Address { pid: pid.unwrap(), addr: addr.unwrap() });
    }
    run_until(&mut harness, |harness| has_part(harness, "20 bytes selected"));
    harness.key_press_modifiers(Modifiers::SHIFT, Key::F4);
    harness.run_steps(6);
    assert_eq!(target(&harness), Target::Address { pid: found[1].0.unwrap(), addr: found[1].1.unwrap() });
    assert!(has_part(&harness, "2 of "));
    // Behind the last comes the first.
    for _ in 0..2 {
        harness.key_press_modifiers(Modifiers::SHIFT, Key::F4);
        harness.run_steps(4);
    }
    assert_eq!(shown(&harness).current(), Some(shown(&harness).hits().len() - 1));
}

#[test]
fn wrong_expression_says_so_and_is_not_run() {
    let mut harness = window();
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::F);
    harness.run_steps(4);
    click(&mut harness, Role::Tab, "Regex");
    type_query(&mut harness, "(unclosed");
    assert!(has_part(&harness, "unclosed group"));
    harness.key_press(Key::Enter);
    harness.run_steps(4);
    assert!(harness.state().model().active().unwrap().searches().sessions().is_empty());
    click(&mut harness, Role::Tab, "Hex");
    assert!(has_part(&harness, "not hex"));
}

#[test]
fn filter_hides_hits_and_f4_walks_what_is_left() {
    let mut harness = window();
    search_for(&mut harness, "AKIAIOSFODNN7EXAMPLE");
    let id = shown(&harness).id();
    harness.state_mut().ask(SearchCommand::Filter { id, text: "[STACK]".into() });
    harness.run_steps(4);
    for _ in 0..3 {
        harness.key_press(Key::F4);
        harness.run_steps(4);
        assert_eq!(shown(&harness).current_hit().unwrap().name.as_bytes(), b"[stack]");
    }
    harness.state_mut().ask(SearchCommand::Filter { id, text: "nowhere".into() });
    harness.run_steps(4);
    assert!(has_part(&harness, "No hit matches the filter"));
}

#[test]
fn branches_close_and_open_again() {
    let mut harness = window();
    search_for(&mut harness, "AKIAIOSFODNN7EXAMPLE");
    let first = in_memory(shown(&harness))[0].1.unwrap().to_string();
    assert!(has_part(&harness, &first));
    click(&mut harness, Role::ListItem, "1 python3, 2 hits");
    assert!(!has_part(&harness, &first));
    // Who goes to a hit sees it.
    harness.key_press(Key::F4);
    harness.run_steps(6);
    assert!(has_part(&harness, &first));
}

#[test]
fn secrets_have_a_rule_and_strings_an_encoding() {
    let mut harness = window();
    let request = SearchRequest { query: Query::of(QueryKind::Secrets, ""), ..SearchRequest::default() };
    harness.state_mut().ask(SearchCommand::Start(request));
    harness.run_steps(2);
    run_until(&mut harness, has_ended);
    let hits = shown(&harness).hits();
    let rules: Vec<_> = (0..hits.len()).map(|nr| hits.get(nr).unwrap().label.clone().unwrap().rule).collect();
    assert!(rules.iter().any(|rule| rule == "aws-access-key-id") && rules.iter().any(|rule| rule == "jwt"));
    // What is secret is shown when that is asked for, and not before.
    harness.state_mut().ask(SearchCommand::Ask { pid: None });
    harness.run_steps(6);
    assert!(has_part(&harness, "••••••••"));
    click(&mut harness, Role::Button, "Reveal secrets");
    assert!(!has_part(&harness, "••••••••"));
    click(&mut harness, Role::Button, "Hide secrets");
    assert!(has_part(&harness, "••••••••"));
    let query = Query { min_letters: 200, ..Query::of(QueryKind::Strings, "") };
    harness.state_mut().ask(SearchCommand::Start(SearchRequest { query, ..SearchRequest::default() }));
    harness.run_steps(2);
    run_until(&mut harness, has_ended);
    let session = shown(&harness);
    assert!(session.total() > 0);
    assert!((0..session.hits().len()).all(|nr| session.hits().get(nr).unwrap().len_bytes >= 200));
    assert_eq!(harness.state().model().active().unwrap().searches().sessions().len(), 2);
}

#[test]
fn search_that_is_stopped_keeps_what_it_found() {
    let mut harness = window();
    harness.state_mut().ask(SearchCommand::Ask { pid: None });
    // Every byte that is no zero: more than are kept.
    let request = SearchRequest { query: Query::of(QueryKind::Regex, r"[\x01-\xff]"), ..SearchRequest::default() };
    harness.state_mut().ask(SearchCommand::Start(request));
    harness.run_steps(2);
    run_until(&mut harness, |harness| !shown(harness).hits().is_empty());
    click(&mut harness, Role::Button, "Stop the search");
    let stopped = Instant::now();
    run_until(&mut harness, has_ended);
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
    let session = shown(&harness);
    assert_eq!(session.state(), &SearchState::Cancelled);
    assert!(session.total() > 0 && session.hits().len() <= MAX_HITS);
    assert!(harness.state().model().notifications().is_empty());
    click(&mut harness, Role::Button, "Close this search");
    assert!(has_part(&harness, "Nothing was searched for yet"));
}

#[test]
fn search_opens_from_the_bytes_with_their_process_as_scope() {
    let mut harness = window();
    let (pid, addr) = (Pid(7), VirtAddr(0x5565_4e2b_62b4));
    harness.state_mut().ask(cryoscope::session::Command::go(Target::Address { pid, addr }));
    harness.run_steps(6);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    harness.run_steps(4);
    harness.event(egui::Event::Text("AKIAIOSFODNN7EXAMPLE".into()));
    harness.run_steps(2);
    harness.key_press(Key::Enter);
    harness.run_steps(3);
    run_until(&mut harness, has_ended);
    assert_eq!(shown(&harness).request().scope.pid, Some(pid));
    assert!(in_memory(shown(&harness)).iter().all(|(of, _)| *of == Some(pid)));
}

#[test]
fn hits_are_exported_as_lines_of_json() {
    let mut harness = window();
    search_for(&mut harness, "AKIAIOSFODNN7EXAMPLE");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hits.jsonl");
    let hits = shown(&harness).hits().to_vec();
    let len = hits.len();
    harness.state_mut().ask(cryoscope::session::Command::Export(ExportCommand::WriteHits { path: path.clone(), hits }));
    run_until(&mut harness, |harness| !harness.state().model().notifications().is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), len);
    assert!(lines.iter().all(|line| line["match"] == "AKIAIOSFODNN7EXAMPLE" && line["before_hex"].is_string()));
}

#[cfg(feature = "yara")]
#[test]
fn rules_are_compiled_when_they_are_chosen_and_when_they_were_edited() {
    let mut harness = window();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edited.yar");
    std::fs::write(&path, "rule broken { condition: $a }").unwrap();
    harness.state_mut().ask(SearchCommand::UseRules(vec![path.clone()]));
    harness.run_steps(2);
    click(&mut harness, Role::Tab, "YARA");
    run_until(&mut harness, |harness| has_part(harness, "edited.yar:1:"));
    assert!(harness.state().model().active().unwrap().searches().sessions().is_empty());
    std::fs::write(&path, r#"rule right { strings: $id = "AKIA" condition: $id }"#).unwrap();
    click(&mut harness, Role::Button, "Compile the rules again, as when the window gets the keyboard back");
    run_until(&mut harness, |harness| has_part(harness, "1 rule in 1 file, ready to search with"));
    assert!(!has_part(&harness, "edited.yar:1:"));
}

#[cfg(feature = "yara")]
#[test]
fn rules_that_are_wrong_say_where() {
    let mut harness = window();
    let dir = tempfile::tempdir().unwrap();
    let (wrong, right) = (dir.path().join("wrong.yar"), dir.path().join("right.yar"));
    std::fs::write(&wrong, "rule broken { condition: $a }").unwrap();
    std::fs::write(&right, r#"rule key { strings: $id = "AKIAIOSFODNN7EXAMPLE" condition: $id }"#).unwrap();
    let rules = |path| {
        let query = Query { rules: vec![path], ..Query::of(QueryKind::Yara, "") };
        SearchCommand::Start(SearchRequest { query, ..SearchRequest::default() })
    };
    harness.state_mut().ask(SearchCommand::Ask { pid: None });
    harness.state_mut().ask(rules(wrong));
    harness.run_steps(2);
    run_until(&mut harness, has_ended);
    assert!(matches!(shown(&harness).state(), SearchState::Failed(why) if why.contains("$a")));
    assert!(has_part(&harness, "The search could not be run"));
    harness.state_mut().ask(rules(right));
    harness.run_steps(2);
    run_until(&mut harness, has_ended);
    assert_eq!(shown(&harness).state(), &SearchState::Done);
    let found = in_memory(shown(&harness));
    assert!(planted("aws key id", |hit| hit["anonymous"] == true).iter().all(|hit| found.contains(hit)));
}
