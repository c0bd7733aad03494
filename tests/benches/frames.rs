//! Frames of the window on a checkpoint of 5,000 processes: no work per frame grows with it.
//!
//! `cargo bench --bench frames` prints the 99th percentile of every view, on the processor alone
//! (layout, text, tessellation; the graphics card does not count).
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench makes files and prints"
)]

#[path = "../rebuild/mod.rs"]
mod rebuild;
#[expect(dead_code, reason = "another bench makes more of it")]
mod synth;

use std::time::{Duration, Instant};

use cryoscope::base::{Pid, VirtAddr};
use cryoscope::session::search::{MAX_HITS, Query, QueryKind};
use cryoscope::session::{
    ArchivesCommand, Command, PanelKind, ProcessTab, SearchCommand, SearchRequest, Settings, Target, ViewCommand,
};
use cryoscope::ui::App;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

/// What a frame may take at the 99th percentile.
const BUDGET: Duration = Duration::from_millis(16);

/// Frames that are measured of every view.
const FRAMES: usize = 60;

fn window(path: &std::path::Path) -> Harness<'static, App> {
    let ctx = egui::Context::default();
    let app = App::new(&ctx, Settings::default(), vec![path.to_path_buf()]).with_settings_unsaved();
    let mut harness =
        Harness::builder().with_size([1280.0, 800.0]).with_context_setup(cryoscope::ui::install).build_ui_state(
            |ui, app: &mut App| {
                app.tick(ui.ctx());
                app.draw(ui);
            },
            app,
        );
    let started = Instant::now();
    while harness.state().model().active().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "the checkpoint does not open");
        harness.run_steps(1);
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(8);
    harness
}

/// The 99th percentile of frames while `input` happens before each of them.
fn percentile(harness: &mut Harness<'_, App>, mut input: impl FnMut(&mut Harness<'_, App>, usize)) -> Duration {
    let mut times: Vec<_> = (0..FRAMES)
        .map(|frame| {
            input(harness, frame);
            let started = Instant::now();
            harness.step();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[FRAMES * 99 / 100]
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("many.tar");
    synth::many_processes(&path, 5_000);
    let mut harness = window(&path);
    println!("| view of 5,000 processes | p99 of a frame | within 16 ms |");
    println!("|---|---:|---|");
    let check = |name: String, took: Duration| {
        let verdict = if took <= BUDGET { "yes" } else { "NO" };
        println!("| {name} | {:.1} ms | {verdict} |", took.as_secs_f64() * 1e3);
    };
    for kind in PanelKind::ALL {
        harness.state_mut().ask(ViewCommand::ShowPanel(kind));
        harness.run_steps(4);
        check(format!("{kind:?} at rest"), percentile(&mut harness, |_, _| {}));
    }
    for tab in ProcessTab::ALL {
        harness.state_mut().ask(Command::go(Target::process_tab(Pid(1), tab)));
        harness.run_steps(4);
        check(format!("{tab:?} at rest"), percentile(&mut harness, |_, _| {}));
    }
    memory(&mut harness, check);
    let pids: Vec<_> = match harness.state().model().active() {
        Some(archive) => archive.checkpoint().processes.iter().map(|process| process.pid).collect(),
        None => Vec::new(),
    };
    let walking = percentile(&mut harness, |harness, frame| {
        harness.state_mut().ask(Command::select(Target::process(pids[frame * 83 % pids.len()])));
    });
    check("walking through processes".into(), walking);
    harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Processes));
    harness.run_steps(4);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    harness.run_steps(2);
    let typing = percentile(&mut harness, |harness, frame| {
        let event = if frame % 6 < 3 { egui::Event::Text("1".into()) } else { key(Key::Backspace) };
        harness.event(event);
    });
    check("typing into the filter".into(), typing);
    drop(harness);
    code(&check);
    hits(&check);
    huge(&dir.path().join("huge.tar"), check);
    waits(&dir.path().join("big.tar"));
}

/// How long the analyst waits for the first hit of a big checkpoint, and for a search to stop.
fn waits(path: &std::path::Path) {
    const LEN: u64 = 1 << 30;
    const RUNS: usize = 9;
    synth::big_memory(path, LEN, b"CRYOSCOPE-NEEDLE");
    let mut harness = window(path);
    let shown = |harness: &Harness<'_, App>| {
        let shown = harness.state().model().active().and_then(|archive| archive.searches().shown()).unwrap();
        (shown.id(), shown.first_hit(), shown.is_running())
    };
    let mut worst = [Duration::ZERO; 2];
    for nr in 0..RUNS {
        // Another pattern each time: nothing is known from before.
        let query = Query::of(QueryKind::Regex, format!("CRYOSCOPE.NEEDLE|[0-9A-F]{{{}}}", 20 + nr));
        let started = Instant::now();
        harness.state_mut().ask(SearchCommand::Start(SearchRequest { query, ..SearchRequest::default() }));
        harness.step();
        while shown(&harness).1.is_none() {
            assert!(shown(&harness).2, "the search ends without a hit");
            harness.step();
        }
        worst[0] = worst[0].max(started.elapsed());
        let (id, ..) = shown(&harness);
        let started = Instant::now();
        harness.state_mut().ask(SearchCommand::Stop(id));
        harness.step();
        while shown(&harness).2 {
            harness.step();
        }
        worst[1] = worst[1].max(started.elapsed());
    }
    let [first, stop] = worst.map(|time| time.as_secs_f64() * 1e3);
    println!(
        "\nSearch of 1 GiB, the slowest of {RUNS}: the first hit is there after {first:.0} ms, stopped after {stop:.0} ms."
    );
}

/// The memory panel on 16 TiB in a quarter of a million pieces, with zeros folded and open.
fn huge(path: &std::path::Path, check: impl Fn(String, Duration)) {
    synth::huge_space(path);
    let mut harness = window(path);
    let start = synth::ADDED_AT;
    let go = |harness: &mut Harness<'_, App>, addr: u64| {
        harness.state_mut().ask(Command::go(Target::Address { pid: Pid(1), addr: VirtAddr(addr) }));
    };
    go(&mut harness, start);
    until_laid_out(&mut harness);
    for zeros in ["folded", "open"] {
        let jumping = percentile(&mut harness, |harness, frame| {
            go(harness, start + (frame as u64 * 0x9_e377_9b97_f4a7) % (16 << 40));
        });
        check(format!("16 TiB, zeros {zeros}, elsewhere in each frame"), jumping);
        let paging = percentile(&mut harness, |harness, frame| {
            harness.event(key(if frame % 40 < 30 { Key::PageDown } else { Key::PageUp }));
        });
        check(format!("16 TiB, zeros {zeros}, a page in each frame"), paging);
        if let Some(button) = harness.query_by_label("Show zeros byte by byte") {
            button.click();
            harness.run_steps(4);
        }
    }
}

fn until_laid_out(harness: &mut Harness<'_, App>) {
    let started = Instant::now();
    while harness.query_by_label("Memory of process 1").is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "the memory is never laid out");
        harness.run_steps(1);
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(8);
}

/// The memory panel: jumping across the whole space, and scrolling through it.
fn memory(harness: &mut Harness<'_, App>, check: impl Fn(String, Duration)) {
    let archive = harness.state().model().active().unwrap();
    let map = archive.checkpoint().process(Pid(1)).unwrap().memory.known().unwrap();
    let starts: Vec<_> = map.vmas.iter().map(|vma| vma.start).collect();
    harness.state_mut().ask(Command::go(Target::Address { pid: Pid(1), addr: starts[0] }));
    until_laid_out(harness);
    let jumping = percentile(harness, |harness, frame| {
        let addr = starts[frame % starts.len()];
        harness.state_mut().ask(Command::go(Target::Address { pid: Pid(1), addr }));
    });
    check("memory, another area in each frame".into(), jumping);
    let paging = percentile(harness, |harness, frame| {
        harness.event(key(if frame % 40 < 30 { Key::PageDown } else { Key::PageUp }));
    });
    check("memory, a page in each frame".into(), paging);
    let extending = percentile(harness, |harness, _| {
        harness.event(egui::Event::Key {
            key: Key::ArrowDown,
            physical_key: None,
            pressed: true,
            repeat: false,
            modifiers: Modifiers::SHIFT,
        });
    });
    check("memory, selecting row by row".into(), extending);
}

/// The listing of instructions of a program with its symbols: jumping, scrolling both ways.
fn code(check: &dyn Fn(String, Duration)) {
    let fixture = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let path = fixture("process-zoo.tar.zst");
    let mut harness = window(&path);
    let archive = harness.state().model().active().unwrap().id();
    let base = fixture("base/image.tar.zst");
    harness.state_mut().ask(ArchivesCommand::AttachBase { archive, path: base });
    let go = |harness: &mut Harness<'_, App>, addr: u64| {
        harness.state_mut().ask(Command::go(Target::Code { pid: Pid(16), addr: VirtAddr(addr) }));
    };
    go(&mut harness, 0x42_5229);
    let started = Instant::now();
    while harness.query_by_label("0x425229: add rsp, 0x18").is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "the code is never there");
        harness.run_steps(1);
        std::thread::sleep(Duration::from_millis(5));
    }
    check("instructions at rest".into(), percentile(&mut harness, |_, _| {}));
    let jumping = percentile(&mut harness, |harness, frame| {
        go(harness, 0x40_1000 + (frame as u64 * 0x9_e377_9b97_f4a7) % 0x9_0000);
    });
    check("instructions, elsewhere in each frame".into(), jumping);
    let paging = percentile(&mut harness, |harness, frame| {
        harness.event(key(if frame % 40 < 20 { Key::PageDown } else { Key::PageUp }));
    });
    check("instructions, a page in each frame".into(), paging);
}

/// Frames with as many hits as a search keeps: at rest, scrolled, walked.
fn hits(check: &dyn Fn(String, Duration)) {
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/compromised-webapp.tar.zst");
    let mut harness = window(&sample);
    let query = Query::of(QueryKind::Regex, r"[\x01-\xff]");
    harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Search));
    harness.state_mut().ask(SearchCommand::Start(SearchRequest { query, ..SearchRequest::default() }));
    harness.run_steps(2);
    let nr_hits = |harness: &Harness<'_, App>| {
        let shown = harness.state().model().active().and_then(|archive| archive.searches().shown());
        shown.map(|shown| (shown.id(), shown.hits().len())).unwrap()
    };
    check("hits arriving".into(), percentile(&mut harness, |_, _| {}));
    let started = Instant::now();
    while nr_hits(&harness).1 < MAX_HITS {
        assert!(started.elapsed() < Duration::from_secs(120), "there are not so many hits");
        harness.run_steps(1);
    }
    let (id, _) = nr_hits(&harness);
    harness.state_mut().ask(SearchCommand::Stop(id));
    harness.run_steps(60);
    check("100,000 hits at rest".into(), percentile(&mut harness, |_, _| {}));
    let walking = percentile(&mut harness, |harness, frame| {
        let hit = frame * 7_919 % MAX_HITS;
        harness.state_mut().ask(SearchCommand::Visit { id, hit, is_gone_to: false });
    });
    check("walking through 100,000 hits".into(), walking);
    let filtering = percentile(&mut harness, |harness, frame| {
        let text = if frame % 2 == 0 { "a" } else { "" };
        harness.state_mut().ask(SearchCommand::Filter { id, text: text.into() });
    });
    check("filtering 100,000 hits".into(), filtering);
}

fn key(key: Key) -> egui::Event {
    egui::Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers: Modifiers::NONE }
}
