//! Pictures of the main views, light and dark, drawn by wgpu on whatever Vulkan there is: a software
//! rasterizer (Debian: mesa-vulkan-drivers) will do. `UPDATE_SNAPSHOTS=1` writes new pictures.

#![cfg(feature = "gui")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryoscope::acquire::freeze::Method;
use cryoscope::acquire::wire::{Archives, Container, ContainerState, Containers, Node, Source, SourceKind, Spool};
use cryoscope::base::{FileId, MntId, Pid, VirtAddr};
use cryoscope::session::nodes::{NodeRow, NodeState, Order, Told, Wanted};
use cryoscope::session::search::Query;
use cryoscope::session::{
    ArchivesCommand, Command, ContentKey, Effect, JobId, Model, NodesCommand, NotificationsCommand, PanelKind,
    ProcessTab, Requested, SearchCommand, SearchRequest, Settings, Target, Theme, ViewCommand, apply,
};
use cryoscope::ui::App;
use cryoscope::ui::panels::nodes::{NodesState, nodes_ui};
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable as _;
use egui_kittest::{Harness, SnapshotOptions, SnapshotResults};

/// Rasterizers round differently: this many pixels may differ before it is a failure.
const MAX_DIFFERENT_PIXELS: usize = 400;

fn window(theme: Theme, size: [f32; 2]) -> Harness<'static, App> {
    let egui_theme = if theme == Theme::Light { egui::Theme::Light } else { egui::Theme::Dark };
    let app = App::new(&egui::Context::default(), Settings { theme, ..Settings::default() }, Vec::new())
        .with_settings_unsaved();
    Harness::builder()
        .with_size(size)
        .with_theme(egui_theme)
        .with_context_setup(cryoscope::ui::install)
        .with_options(SnapshotOptions::new().threshold(1.2).max_failed_pixels(MAX_DIFFERENT_PIXELS))
        .wgpu()
        .build_ui_state(
            |ui, app: &mut App| {
                app.tick(ui.ctx());
                app.draw(ui);
            },
            app,
        )
}

fn open_sample(harness: &mut Harness<'_, App>) {
    harness.state_mut().ask(ArchivesCommand::OpenSample);
    let started = Instant::now();
    // With the image that it brings along.
    while !harness.state().model().active().is_some_and(|sample| sample.has_base()) {
        assert!(started.elapsed() < Duration::from_secs(60), "the sample does not open");
        harness.run_steps(1);
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(8);
}

/// Large enough for the whole window.
const WHOLE: [f32; 2] = [1100.0, 700.0];
/// Large enough for a panel with details.
const SMALL: [f32; 2] = [860.0, 520.0];

fn view(name: &str, is_open: bool, command: Option<Command>) {
    view_of_size(name, WHOLE, is_open, command);
}

/// A panel by something that is selected in it. What jobs have to read is there when the picture is made.
fn panel(name: &str, target: Target) {
    view_of_size(name, SMALL, true, Some(Command::go(target)));
}

fn view_of_size(name: &str, size: [f32; 2], is_open: bool, command: Option<Command>) {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, size);
        if is_open {
            open_sample(&mut harness);
        }
        if let Some(command) = command.clone() {
            harness.state_mut().ask(command);
        }
        harness.run_steps(8);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(10));
            harness.run_steps(1);
        }
        harness.run_steps(4);
        harness.snapshot(format!("{name}_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

#[test]
fn start() {
    view("start", false, None);
}

#[test]
fn overview() {
    view("overview", true, None);
}

#[test]
fn process_summary() {
    view("process_summary", true, Some(Command::go(Target::process(Pid(7)))));
}

#[test]
fn memory_map() {
    view("memory_map", true, Some(Command::go(Target::process_tab(Pid(7), ProcessTab::Memory))));
}

#[test]
fn files() {
    panel("files", Target::File(FileId(10)));
}

#[test]
fn sockets() {
    panel("sockets", Target::Socket(FileId(18)));
}

#[test]
fn mounts() {
    panel("mounts", Target::Mount(MntId(102)));
}

#[test]
fn filesystem() {
    panel("filesystem", Target::RootfsPath("/etc/ld.so.preload".into()));
}

#[test]
fn documents() {
    panel("documents", Target::Document("spec.dump".into()));
}

#[test]
fn images() {
    panel("images", Target::image("pstree.img"));
}

#[test]
fn issues() {
    panel("issues", Target::Panel(PanelKind::Issues));
}

#[test]
fn memory() {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, [1100.0, 700.0]);
        open_sample(&mut harness);
        let process = harness.state().model().active().unwrap().checkpoint().process(Pid(1)).unwrap();
        let sp = VirtAddr(process.threads[0].registers.known().unwrap().sp);
        harness.state_mut().ask(Command::go(Target::Address { pid: Pid(1), addr: sp }));
        let started = Instant::now();
        // Rows and minimap are made by jobs.
        let is_ready = |harness: &Harness<'_, App>| {
            let archive = harness.state().model().active().unwrap();
            let is_ready = |key| matches!(archive.content(&key), Some(Requested::Ready(_)));
            is_ready(ContentKey::Rows(Pid(1))) && is_ready(ContentKey::Shape(Pid(1)))
        };
        while !is_ready(&harness) {
            assert!(started.elapsed() < Duration::from_secs(60), "the memory is not laid out");
            harness.run_steps(1);
            std::thread::sleep(Duration::from_millis(5));
        }
        harness.run_steps(8);
        harness.snapshot(format!("memory_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

/// A window on the zoo of processes with its base image, at a target, when `is_ready`.
fn with_base(name: &str, target: Target, is_ready: impl Fn(&Harness<'_, App>) -> bool) {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, WHOLE);
        let (paths, base) = (vec!["fixtures/process-zoo.tar.zst".into()], "fixtures/base/image.tar.zst".into());
        harness.state_mut().ask(ArchivesCommand::OpenWithBase { paths, base });
        let started = Instant::now();
        let mut has_gone = false;
        while !has_gone || !is_ready(&harness) {
            assert!(started.elapsed() < Duration::from_secs(60), "{name} is not ready");
            harness.run_steps(1);
            std::thread::sleep(Duration::from_millis(5));
            let has_base = harness.state().model().active().is_some_and(|archive| archive.has_base());
            if has_base && !has_gone {
                has_gone = true;
                // Messages that come and go are no part of it.
                harness.state_mut().ask(NotificationsCommand::DismissAll);
                harness.state_mut().ask(Command::go(target.clone()));
                harness.run_steps(4);
            }
        }
        harness.run_steps(8);
        harness.snapshot(format!("{name}_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

fn is_read(harness: &Harness<'_, App>, key: ContentKey) -> bool {
    let content = harness.state().model().active().and_then(|archive| archive.content(&key));
    matches!(content, Some(Requested::Ready(_)))
}

#[test]
fn threads() {
    let target = Target::Thread { pid: Pid(16), tid: Pid(17) };
    with_base("threads", target, |harness| is_read(harness, ContentKey::Stacks(Pid(16))));
}

#[test]
fn disassembly() {
    let target = Target::Code { pid: Pid(16), addr: VirtAddr(0x44_6cfc) };
    with_base("disassembly", target, |harness| is_read(harness, ContentKey::Code(Pid(16))));
}

#[test]
fn structures() {
    let target = Target::Address { pid: Pid(16), addr: VirtAddr(0x40_0010) };
    with_base("structures", target, |harness| {
        is_read(harness, ContentKey::Fields(Pid(16)))
            && is_read(harness, ContentKey::Rows(Pid(16)))
            && is_read(harness, ContentKey::Shape(Pid(16)))
    });
}

#[test]
fn base_image() {
    view("base_image", true, Some(ArchivesCommand::AskForBase.into()));
}

#[test]
fn search() {
    let query = Query::text("AKIAIOSFODNN7EXAMPLE");
    let request = SearchRequest { query, ..SearchRequest::default() };
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        let mut harness = window(theme, WHOLE);
        open_sample(&mut harness);
        harness.state_mut().ask(SearchCommand::Start(request.clone()));
        harness.state_mut().ask(ViewCommand::ShowPanel(PanelKind::Search));
        let is_done = |app: &App| {
            let shown = app.model().active().and_then(|archive| archive.searches().shown());
            shown.is_some_and(|shown| !shown.is_running())
        };
        let started = Instant::now();
        while !is_done(harness.state()) {
            assert!(started.elapsed() < Duration::from_secs(60), "the search does not end");
            harness.run_steps(1);
        }
        harness.state_mut().ask(SearchCommand::Step { is_forward: true });
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(10));
            harness.run_steps(1);
        }
        harness.snapshot(format!("search_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

/// What a node says that has a kubelet with containerd.
fn told(name: &str, containers: &[(&str, &str, ContainerState)]) -> Told {
    let source = |kind, address: &str, version: Option<&str>| Source {
        kind,
        address: address.into(),
        version: version.map(str::to_owned),
        ready: true,
        problem: None,
    };
    let container = |(pod, container, state): &(&str, &str, ContainerState)| Container {
        id: format!("{pod}-{container}").bytes().map(|byte| format!("{byte:02x}")).collect(),
        name: (*container).into(),
        pod: Some((*pod).into()),
        namespace: Some("shop".into()),
        image: Some(format!("registry.example/shop/{container}:1.4")),
        image_id: None,
        engine: "containerd".into(),
        source: SourceKind::Kubelet,
        state: *state,
        created: None,
        pid: None,
        labels: BTreeMap::from([("app".to_owned(), (*container).to_owned())]),
        problem: (*state == ContainerState::Frozen).then(|| "it is frozen".into()),
        caution: None,
    };
    Told {
        node: Node {
            name: name.into(),
            agent_version: "0.1.0".into(),
            kernel: "6.12.48".into(),
            arch: "x86_64".into(),
            now: jiff::Timestamp::UNIX_EPOCH,
            public_key: String::new(),
            sources: vec![
                source(SourceKind::Kubelet, "https://127.0.0.1:10250", Some("kubelet v1.34.1")),
                source(SourceKind::Cri, "/run/containerd/containerd.sock", Some("containerd 2.1.9")),
                source(SourceKind::Proc, "/proc", None),
            ],
            spool: Spool { used_bytes: 3 << 28, limit_bytes: 20 << 30, free_bytes: 61 << 30, reserve_bytes: 1 << 30 },
            may_delete: true,
        },
        containers: Containers { containers: containers.iter().map(container).collect(), issues: Vec::new() },
        archives: Archives::default(),
    }
}

fn started(effects: &[Effect]) -> Vec<JobId> {
    let job = |effect: &Effect| if let Effect::StartJob { id, .. } = effect { Some(*id) } else { None };
    effects.iter().filter_map(job).collect()
}

/// Two nodes that answer, the first of them selected, and one that does not.
fn paired() -> Model {
    let mut model = Model::default();
    let row = |name: &str, state| NodeRow {
        name: name.into(),
        address: format!("{name}.example:7443"),
        fingerprint: "5c0e91d4".repeat(8),
        paired: jiff::Timestamp::constant(1_793_610_000, 0),
        problem: None,
        state,
    };
    let refused = "node-c: nothing listens at node-c.example:7443".to_owned();
    let rows = vec![
        row("node-a", NodeState::Unknown),
        row("node-b", NodeState::Unknown),
        row("node-c", NodeState::Failed(refused)),
    ];
    let job = started(&apply(&mut model, NodesCommand::Look.into()))[0];
    let first = started(&apply(&mut model, NodesCommand::Listed { job, rows }.into()))[0];
    let second = started(&apply(&mut model, NodesCommand::SelectAll.into()))[0];
    use ContainerState::{Exited, Frozen, Running};
    let on_a = told(
        "node-a",
        &[
            ("front-7d4b", "front", Running),
            ("front-7d4b", "metrics", Running),
            ("cart-0", "cart", Frozen),
            ("migrate", "job", Exited),
        ],
    );
    let on_b = told("node-b", &[("front-9c1f", "front", Running), ("db-0", "postgres", Running)]);
    for (job, name, told) in [(first, "node-a", on_a), (second, "node-b", on_b)] {
        let _ = apply(&mut model, NodesCommand::Told { job, name: name.into(), told: Arc::new(told) }.into());
    }
    let _ = apply(&mut model, NodesCommand::Select("node-a".into()).into());
    model
}

fn nodes_panel(name: &str, model: &Model, prepare: impl Fn(&mut Harness<'_, NodesState>)) {
    let mut results = SnapshotResults::new();
    for (theme, suffix) in [(egui::Theme::Dark, "dark"), (egui::Theme::Light, "light")] {
        let mut harness = Harness::builder()
            .with_size(SMALL)
            .with_theme(theme)
            .with_context_setup(cryoscope::ui::install)
            .with_options(SnapshotOptions::new().threshold(1.2).max_failed_pixels(MAX_DIFFERENT_PIXELS))
            .wgpu()
            .build_ui_state(
                |ui, state: &mut NodesState| drop(nodes_ui(ui, model.nodes(), model.jobs(), state)),
                NodesState::default(),
            );
        harness.run_steps(4);
        prepare(&mut harness);
        harness.run_steps(8);
        harness.snapshot(format!("{name}_{suffix}"));
        results.extend_harness(&mut harness);
    }
}

#[test]
fn one_node() {
    nodes_panel("node", &paired(), |_| {});
}

#[test]
fn all_nodes_filtered_by_a_label() {
    let mut model = paired();
    let _ = apply(&mut model, NodesCommand::SelectAll.into());
    nodes_panel("nodes", &model, |harness| {
        let filter = || harness.query_all_by_role(Role::TextInput).next().unwrap();
        filter().focus();
        filter().type_text("app=front");
    });
}

#[test]
fn acquisitions() {
    let mut model = paired();
    let order = |node: &str, called: &str| {
        let wanted =
            Wanted::Freeze { container: "c0ffee".into(), method: Method::Checkpoint, reason: None, series: None };
        Order { node: node.into(), called: called.into(), wanted }
    };
    let orders = vec![
        order("node-a", "shop/front-7d4b/front"),
        order("node-b", "shop/front-9c1f/front"),
        order("node-a", "shop/front-7d4b/metrics"),
    ];
    let jobs = started(&apply(&mut model, NodesCommand::AcquireAll(orders).into()));
    let step = "the runtime writes memory".to_owned();
    let _ = apply(&mut model, NodesCommand::Happened { job: jobs[0], step }.into());
    let path = "/home/analyst/.local/share/cryoscope/archives/checkpoint-front.tar".into();
    let came = NodesCommand::Acquired { job: jobs[1], path, sha256: "ab".repeat(32), notes: Vec::new() };
    let _ = apply(&mut model, came.into());
    nodes_panel("acquisitions", &model, |harness| harness.get_by_label_contains("Acquisitions").click());
}
