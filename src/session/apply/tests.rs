//! What commands do to the model, on the bundled sample.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::acquire::freeze::Method;
use crate::base::{Fd, Pid, VirtAddr};
use crate::checkpoint;
use crate::evidence::{Evidence, OpenOptions};
use crate::sandbox::backend::Backend;
use crate::sandbox::plan::{self, Config, Danger, NetworkMode, Processor, Rule};
use crate::sandbox::run::{Event, Order};
use crate::session::nodes::{self, Series, Wanted};
use crate::session::sandbox::{Ended, Parts, Phase, PlanState, Planned, Traced, Wishes};
use crate::session::search::hits::tests::hit;
use crate::session::search::{Query, QueryKind, SearchState};
use crate::session::{
    ArchiveId, ArchivesCommand, BookmarksCommand, Command, ContentKey, Effect, ExportCommand, FileChoice, HashState,
    JobEnd, JobId, JobWork, JobsCommand, Level, Loaded, Model, NavigateCommand, NodesCommand, NotificationsCommand,
    PanelKind, ProcessTab, Requested, SandboxCommand, SearchCommand, SearchId, SearchNews, SearchRequest, Target,
    Theme, ViewCommand, apply, sample,
};

/// The sample, loaded once for all tests.
fn loaded() -> Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    let load = || {
        let options = OpenOptions::default();
        let bytes = bytes::Bytes::from_static(sample::ARCHIVE);
        let evidence = Evidence::open_bytes("sample", bytes, &options, &crate::base::Silent).unwrap();
        let checkpoint = checkpoint::load(&evidence, &options, &crate::base::Silent).unwrap().remove(0);
        Loaded::new(checkpoint)
    };
    LOADED.get_or_init(load).clone()
}

fn opened(path: &str) -> Command {
    ArchivesCommand::Opened { path: path.into(), is_sample: false, checkpoints: vec![loaded()], parents: Vec::new() }
        .into()
}

fn model_with(paths: &[&str]) -> Model {
    let mut model = Model::default();
    for path in paths {
        let _ = apply(&mut model, opened(path));
    }
    model
}

fn target(model: &Model) -> Target {
    model.active().unwrap().target().clone()
}

#[test]
fn opening_starts_a_job_that_is_in_the_list() {
    let mut model = Model::default();
    let effects = apply(&mut model, ArchivesCommand::Open(vec!["/e/a.tar".into()]).into());
    let [Effect::StartJob { id, title, work: JobWork::OpenArchive(path) }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!((title.as_str(), path), ("Open a.tar", &PathBuf::from("/e/a.tar")));
    assert_eq!(model.running_jobs().map(|job| job.id).collect::<Vec<_>>(), [*id]);
    let _ = apply(&mut model, JobsCommand::Ended { id: *id, end: JobEnd::Failed("no such file".into()) }.into());
    assert_eq!(model.running_jobs().count(), 0);
    let message = model.notifications().newest_first().next().unwrap();
    assert_eq!((message.level, message.title.as_str()), (Level::Error, "Failed: Open a.tar"));
}

#[test]
fn opened_archive_is_shown_and_remembered() {
    let model = model_with(&["/e/a.tar"]);
    let archive = model.active().unwrap();
    assert_eq!((archive.title(), archive.selected_pid()), ("webapp", Some(Pid(1))));
    assert_eq!(model.settings().recent[0].path, PathBuf::from("/e/a.tar"));
    assert_eq!(target(&model), Target::Overview);
}

#[test]
fn archive_that_is_open_is_shown_instead_of_opened_again() {
    let mut model = model_with(&["/e/a.tar", "/e/b.tar"]);
    let second = model.active().unwrap().id();
    let effects = apply(&mut model, ArchivesCommand::Open(vec!["/e/a.tar".into()]).into());
    assert!(effects.is_empty());
    assert_ne!(model.active().unwrap().id(), second);
}

fn arrives(job: u64, path: &str) -> Command {
    ArchivesCommand::Arrives { job: JobId(job), path: path.into(), checkpoints: vec![loaded()] }.into()
}

#[test]
fn early_look_gives_its_place_and_what_is_selected_to_the_whole() {
    let mut model = model_with(&["/e/a.tar"]);
    let _ = apply(&mut model, arrives(7, "/e/b.tar.zst"));
    let early = model.active().unwrap();
    assert_eq!((early.arriving(), early.hash()), (Some(JobId(7)), &HashState::NotYet));
    let _ = apply(&mut model, Command::go(Target::process_tab(Pid(7), ProcessTab::Memory)));
    let selected = target(&model);
    let early = model.active().unwrap().id();
    let _ = apply(&mut model, ArchivesCommand::Hash(early).into());
    let _ = apply(&mut model, arrives(7, "/e/b.tar.zst"));
    let _ = apply(&mut model, opened("/e/b.tar.zst"));
    let whole = model.active().unwrap();
    assert_eq!((whole.arriving(), whole.selected_pid(), model.archives().len()), (None, Some(Pid(7)), 2));
    assert_ne!(whole.id(), early, "views would show what they computed of the early look");
    assert_eq!(target(&model), selected);
    let _ = apply(&mut model, NavigateCommand::Back.into());
    assert_eq!(target(&model), Target::Overview);
    assert_eq!(model.active().unwrap().path(), Path::new("/e/b.tar.zst"));
}

#[test]
fn early_look_that_never_becomes_whole_is_closed() {
    let mut model = model_with(&["/e/a.tar"]);
    let _ = apply(&mut model, arrives(7, "/e/b.tar.zst"));
    let _ = apply(&mut model, JobsCommand::Ended { id: JobId(7), end: JobEnd::Cancelled }.into());
    assert_eq!(model.active().unwrap().path(), Path::new("/e/a.tar"));
    let _ = apply(&mut model, arrives(8, "/e/c.tar.zst"));
    let effects = apply(&mut model, ArchivesCommand::CloseActive.into());
    assert!(matches!(effects.as_slice(), [Effect::CancelJob(JobId(8))]));
}

#[test]
fn early_look_at_what_is_fetched_may_be_closed_and_the_rest_still_comes() {
    let mut model = model_with(&["/e/a.tar"]);
    let wanted = Wanted::Fetch { archive: "1".into() };
    let acquire = NodesCommand::Acquire { node: "n".into(), called: "web".into(), wanted };
    let effects = apply(&mut model, acquire.clone().into());
    let Some(Effect::StartJob { id: first, .. }) = effects.last() else { panic!("no job") };
    let acquired = |job: JobId, path: &str| {
        NodesCommand::Acquired { job, path: path.into(), sha256: String::new(), notes: Vec::new() }.into()
    };
    let opens = |effects: &[Effect]| {
        effects.iter().any(|effect| matches!(effect, Effect::StartJob { work: JobWork::OpenArchive(_), .. }))
    };
    let _ = apply(&mut model, arrives(first.0, "/e/b.tar"));
    // What was seen early stays until the archive is open.
    let effects = apply(&mut model, acquired(*first, "/e/b.tar"));
    assert!(opens(&effects));
    let _ = apply(&mut model, JobsCommand::Ended { id: *first, end: JobEnd::Done }.into());
    assert_eq!(model.archives().len(), 2);
    let _ = apply(&mut model, opened("/e/b.tar"));
    assert_eq!((model.archives().len(), model.active().unwrap().arriving()), (2, None));

    let effects = apply(&mut model, acquire.into());
    let Some(Effect::StartJob { id: second, .. }) = effects.last() else { panic!("no job") };
    let _ = apply(&mut model, arrives(second.0, "/e/c.tar"));
    let effects = apply(&mut model, ArchivesCommand::CloseActive.into());
    assert!(effects.is_empty(), "the rest is still fetched: {effects:?}");
    let _ = apply(&mut model, arrives(second.0, "/e/c.tar"));
    assert_eq!(model.archives().len(), 2);
    assert!(!opens(&apply(&mut model, acquired(*second, "/e/c.tar"))));
}

#[test]
fn series_goes_on_after_a_failure_and_ends_when_one_is_stopped() {
    let mut model = model_with(&["/e/a.tar"]);
    let series = Some(Series::new(4, Duration::from_secs(30)));
    let wanted = Wanted::Freeze { container: "c".into(), method: Method::Checkpoint, reason: None, series };
    let started = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::StartJob { id, work: JobWork::Acquire { wanted, .. }, .. } => Some((*id, wanted.series().unwrap())),
            _ => None,
        })
    };
    let acquire = NodesCommand::Acquire { node: "n".into(), called: "web".into(), wanted };
    let (job, first) = started(&apply(&mut model, acquire.into())).unwrap();
    let acquired = NodesCommand::Acquired { job, path: "/e/1".into(), sha256: String::new(), notes: Vec::new() };
    let _ = apply(&mut model, acquired.into());
    assert_eq!(model.archives().len(), 1, "none of a series is opened by itself");
    let mut end = |id, end| started(&apply(&mut model, JobsCommand::Ended { id, end }.into()));
    let (job, second) = end(job, JobEnd::Done).unwrap();
    assert_eq!((second.number, second.due), (2, first.due + Duration::from_secs(30)));
    let (job, third) = end(job, JobEnd::Failed("a client connected just then".into())).unwrap();
    assert_eq!(third.number, 3);
    assert_eq!(end(job, JobEnd::Cancelled), None);
}

#[test]
fn many_come_from_each_node_one_after_another_until_they_are_left_out() {
    let mut model = model_with(&["/e/a.tar"]);
    let order = |node: &str, called: &str| {
        let container = format!("{called}-id");
        let wanted = Wanted::Freeze { container, method: Method::Checkpoint, reason: None, series: None };
        nodes::Order { node: node.into(), called: called.into(), wanted }
    };
    let started = |effects: &[Effect]| -> Vec<(JobId, String)> {
        let of = |effect: &Effect| match effect {
            Effect::StartJob {
                id, work: JobWork::Acquire { wanted: Wanted::Freeze { container, .. }, .. }, ..
            } => Some((*id, container.clone())),
            _ => None,
        };
        effects.iter().filter_map(of).collect()
    };
    let orders = vec![order("a", "1"), order("b", "2"), order("a", "3"), order("a", "4")];
    let begun = started(&apply(&mut model, NodesCommand::AcquireAll(orders).into()));
    let [(first, one), (_, two)] = begun.as_slice() else { panic!("{begun:?}") };
    assert_eq!((one.as_str(), two.as_str()), ("1-id", "2-id"));
    assert_eq!(model.nodes().waiting().collect::<Vec<_>>(), [("a", 2)]);
    let acquired =
        NodesCommand::Acquired { job: *first, path: "/e/1".into(), sha256: String::new(), notes: Vec::new() };
    let _ = apply(&mut model, acquired.into());
    assert_eq!(model.archives().len(), 1, "none of many is opened by itself");
    let next = started(&apply(&mut model, JobsCommand::Ended { id: *first, end: JobEnd::Done }.into()));
    let [(third, three)] = next.as_slice() else { panic!("{next:?}") };
    assert_eq!(three, "3-id");
    let _ = apply(&mut model, NodesCommand::LeaveOut { node: "a".into() }.into());
    let end = JobEnd::Failed("the line broke".into());
    assert!(started(&apply(&mut model, JobsCommand::Ended { id: *third, end }.into())).is_empty());
    assert_eq!(model.nodes().waiting().count(), 0);
}

#[test]
fn selection_drives_process_and_tab() {
    let mut model = model_with(&["/e/a.tar"]);
    let effects = apply(&mut model, Command::go(Target::Fd { pid: Pid(7), fd: Fd(3) }));
    assert!(matches!(effects.as_slice(), [Effect::ShowPanel(PanelKind::Process)]));
    let archive = model.active().unwrap();
    assert_eq!((archive.selected_pid(), archive.process_tab()), (Some(Pid(7)), ProcessTab::Files));
    // A process without a tab stays on the tab that is open.
    let _ = apply(&mut model, Command::select(Target::process(Pid(6))));
    let archive = model.active().unwrap();
    assert_eq!((archive.selected_pid(), archive.process_tab()), (Some(Pid(6)), ProcessTab::Files));
}

#[test]
fn back_and_forward_restore_place_tab_and_archive() {
    let mut model = model_with(&["/e/a.tar"]);
    let first = model.active().unwrap().id();
    let _ = apply(&mut model, Command::go(Target::process_tab(Pid(7), ProcessTab::Memory)));
    let _ = apply(&mut model, opened("/e/b.tar"));
    assert_ne!(model.active().unwrap().id(), first);
    let effects = apply(&mut model, NavigateCommand::Back.into());
    assert!(matches!(effects.as_slice(), [Effect::ShowPanel(PanelKind::Process)]));
    let archive = model.active().unwrap();
    assert_eq!((archive.id(), archive.process_tab()), (first, ProcessTab::Memory));
    let _ = apply(&mut model, NavigateCommand::Back.into());
    assert_eq!(target(&model), Target::Overview);
    let _ = apply(&mut model, NavigateCommand::Forward.into());
    assert_eq!(target(&model), Target::process_tab(Pid(7), ProcessTab::Memory));
}

#[test]
fn looking_at_jobs_leaves_the_selection_alone() {
    let mut model = model_with(&["/e/a.tar"]);
    let _ = apply(&mut model, Command::go(Target::process(Pid(7))));
    let before = target(&model);
    let effects = apply(&mut model, Command::go(Target::Panel(PanelKind::Jobs)));
    assert!(matches!(effects.as_slice(), [Effect::ShowPanel(PanelKind::Jobs)]));
    assert_eq!(target(&model), before);
}

#[test]
fn closing_shows_the_neighbour_and_forgets_its_places() {
    let mut model = model_with(&["/e/a.tar", "/e/b.tar", "/e/c.tar"]);
    let _ = apply(&mut model, ArchivesCommand::ActivateNeighbour { is_forward: true }.into());
    assert_eq!(model.active().unwrap().path(), PathBuf::from("/e/a.tar"));
    let _ = apply(&mut model, ArchivesCommand::CloseActive.into());
    assert_eq!(model.active().unwrap().path(), PathBuf::from("/e/b.tar"));
    assert!(model.history().behind().all(|place| model.archive(place.archive).is_some()));
    let _ = apply(&mut model, ArchivesCommand::CloseActive.into());
    let _ = apply(&mut model, ArchivesCommand::CloseActive.into());
    assert!(model.active().is_none() && !model.history().can_go_back());
    assert!(apply(&mut model, NavigateCommand::Back.into()).is_empty());
}

#[test]
fn hash_is_computed_once_and_can_be_tried_again_after_cancel() {
    let mut model = model_with(&["/e/a.tar"]);
    let id = model.active().unwrap().id();
    let effects = apply(&mut model, ArchivesCommand::Hash(id).into());
    let [Effect::StartJob { id: job, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(apply(&mut model, ArchivesCommand::Hash(id).into()).is_empty());
    let effects = apply(&mut model, JobsCommand::Cancel(*job).into());
    assert!(matches!(effects.as_slice(), [Effect::CancelJob(cancelled)] if cancelled == job));
    let _ = apply(&mut model, JobsCommand::Ended { id: *job, end: JobEnd::Cancelled }.into());
    assert_eq!(model.active().unwrap().hash(), &HashState::NotComputed);
    let _ = apply(&mut model, ArchivesCommand::Hashed { archive: id, sha256: "ab".into(), custody: None }.into());
    assert_eq!(model.active().unwrap().hash(), &HashState::Known("ab".into()));
}

#[test]
fn content_is_asked_for_once_and_says_why_it_is_not_there() {
    let mut model = model_with(&["/e/a.tar"]);
    let archive = model.active().unwrap().id();
    let key = ContentKey::Image("pstree.img".into());
    let effects = apply(&mut model, ArchivesCommand::Read { archive, key: key.clone() }.into());
    let [Effect::StartJob { id, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(apply(&mut model, ArchivesCommand::Read { archive, key: key.clone() }.into()).is_empty());
    let _ = apply(&mut model, JobsCommand::Ended { id: *id, end: JobEnd::Failed("damaged".into()) }.into());
    let content = model.active().unwrap().content(&key);
    assert!(matches!(content, Some(Requested::Failed(why)) if why == "damaged"));
    assert!(model.notifications().is_empty());
}

#[test]
fn looks_are_remembered() {
    let mut model = Model::default();
    let effects = apply(&mut model, ViewCommand::SetTheme(Theme::Light).into());
    assert!(matches!(
        effects.as_slice(),
        [Effect::SetTheme(Theme::Light), Effect::StartJob { work: JobWork::SaveSettings(_), .. }]
    ));
    let effects = apply(&mut model, ViewCommand::ZoomIn.into());
    assert!(matches!(effects.first(), Some(Effect::SetZoom(110))));
    // Saving is no job that the analyst sees.
    assert!(model.jobs().is_empty());
}

#[test]
fn saving_asks_for_a_place_first() {
    let mut model = Model::default();
    let bytes = bytes::Bytes::from_static(b"x");
    let effects = apply(&mut model, ExportCommand::SaveBytes { file_name: "../x".into(), bytes: bytes.clone() }.into());
    assert!(matches!(effects.as_slice(), [Effect::ChooseFile(FileChoice::Save { file_name, .. })] if file_name == "x"));
    let effects = apply(&mut model, ExportCommand::WriteFile { path: "/tmp/x".into(), bytes }.into());
    assert!(matches!(effects.as_slice(), [Effect::StartJob { work: JobWork::WriteFile { .. }, .. }]));
}

#[test]
fn messages_are_seen_one_by_one_or_together() {
    let mut model = Model::default();
    let report = || NotificationsCommand::ReportFailure { title: "t".into(), detail: "d".into() };
    let _ = apply(&mut model, report().into());
    let _ = apply(&mut model, report().into());
    let id = model.notifications().newest_first().next().unwrap().id;
    let _ = apply(&mut model, NotificationsCommand::Dismiss(id).into());
    assert_eq!(model.notifications().unseen(), 1);
    let _ = apply(&mut model, NotificationsCommand::DismissAll.into());
    assert_eq!(model.notifications().unseen(), 0);
}

#[test]
fn everything_with_a_name_is_listed_for_the_palette() {
    let objects = loaded().objects;
    let has = |label: &str| objects.iter().any(|object| object.label.contains(label));
    assert!(has("7 .cache") && has("inventory.img") && has("spec.dump") && has("/dev/pts"));
    assert!(objects.iter().any(|object| matches!(object.target, Target::Socket(_))));
}

#[test]
fn address_selects_its_process_and_going_where_one_is_counts() {
    let mut model = model_with(&["/e/a.tar"]);
    let place = Target::Address { pid: Pid(7), addr: VirtAddr(0x1000) };
    let effects = apply(&mut model, Command::go(place.clone()));
    assert!(matches!(effects.as_slice(), [Effect::ShowPanel(PanelKind::Memory)]));
    let archive = model.active().unwrap();
    assert_eq!((archive.selected_pid(), archive.target()), (Some(Pid(7)), &place));
    let arrivals = archive.arrivals();
    let _ = apply(&mut model, Command::go(place));
    assert_ne!(model.active().unwrap().arrivals(), arrivals);
    let effects = apply(&mut model, ViewCommand::GoToAddress.into());
    assert!(matches!(effects.as_slice(), [Effect::FocusAddress]));
}

#[test]
fn bookmarks_are_kept_under_the_name_of_the_evidence() {
    let mut model = model_with(&["/e/a.tar"]);
    let addr = VirtAddr(0x1000);
    let set = BookmarksCommand::Set { pid: Pid(7), addr, note: "here".into() };
    let effects = apply(&mut model, set.into());
    assert!(matches!(effects.as_slice(), [Effect::StartJob { work: JobWork::SaveSettings(_), .. }]));
    let [bookmark] = model.settings().bookmarks.as_slice() else { panic!("{:?}", model.settings()) };
    assert_eq!((bookmark.evidence.as_str(), bookmark.pid, bookmark.addr), ("a.tar", 7, 0x1000));
    let _ = apply(&mut model, BookmarksCommand::Remove { pid: Pid(7), addr }.into());
    assert!(model.settings().bookmarks.is_empty());
}

/// Starts a search for a text; its name and that of its job.
fn start_search(model: &mut Model, text: &str) -> (SearchId, JobId) {
    let request = SearchRequest { query: Query::text(text), ..SearchRequest::default() };
    let effects = apply(model, SearchCommand::Start(request).into());
    match effects.last() {
        Some(Effect::StartJob { id: job, work: JobWork::Search { id, .. }, .. }) => (*id, *job),
        _ => panic!("{effects:?}"),
    }
}

fn tell(model: &mut Model, id: SearchId, job: JobId, addrs: &[u64], total: u64) {
    let archive = model.active().unwrap().id();
    let hits = addrs.iter().map(|at| hit(1, 0x1000, *at)).collect();
    let news = SearchNews { hits, total, ..SearchNews::default() };
    let _ = apply(model, SearchCommand::Found { archive, id, job, news }.into());
}

#[test]
fn hits_come_while_a_search_runs_and_stay_when_it_is_stopped() {
    let mut model = model_with(&["/e/a.tar"]);
    let (id, job) = start_search(&mut model, "x");
    tell(&mut model, id, job, &[0x1000, 0x1010], 2);
    let effects = apply(&mut model, SearchCommand::Stop(id).into());
    assert!(matches!(effects.as_slice(), [Effect::CancelJob(cancelled)] if *cancelled == job));
    let _ = apply(&mut model, JobsCommand::Ended { id: job, end: JobEnd::Cancelled }.into());
    // The last words of a job may come behind its end.
    tell(&mut model, id, job, &[0x1020], 3);
    let session = model.active().unwrap().searches().shown().unwrap();
    assert_eq!((session.state(), session.hits().len(), session.total()), (&SearchState::Cancelled, 3, 3));
    assert!(session.took().is_some() && session.first_hit().is_some());
    assert!(model.notifications().is_empty(), "the panel says it");
}

#[test]
fn same_search_begins_anew_and_what_the_old_job_says_is_dropped() {
    let mut model = model_with(&["/e/a.tar"]);
    let (id, old) = start_search(&mut model, "x");
    tell(&mut model, id, old, &[0x1000], 1);
    let (again, job) = start_search(&mut model, "x");
    assert_eq!(again, id);
    tell(&mut model, id, old, &[0x1010], 2);
    let session = model.active().unwrap().searches().get(id).unwrap();
    assert_eq!((session.hits().len(), session.job()), (0, job));
    let (other, _) = start_search(&mut model, "y");
    assert_ne!(other, id);
    let _ = apply(&mut model, SearchCommand::Close(other).into());
    assert_eq!(model.active().unwrap().searches().shown().map(|shown| shown.id()), Some(id));
}

#[test]
fn steps_go_to_the_hits_one_after_the_other_and_around() {
    let mut model = model_with(&["/e/a.tar"]);
    let (id, job) = start_search(&mut model, "x");
    tell(&mut model, id, job, &[0x1000, 0x1010], 2);
    for addr in [0x1000, 0x1010, 0x1000] {
        let effects = apply(&mut model, SearchCommand::Step { is_forward: true }.into());
        assert!(matches!(effects.as_slice(), [Effect::ShowPanel(PanelKind::Memory)]));
        assert_eq!(target(&model), Target::Address { pid: Pid(1), addr: VirtAddr(addr) });
    }
    let _ = apply(&mut model, SearchCommand::Step { is_forward: false }.into());
    assert_eq!(model.active().unwrap().searches().shown().unwrap().current(), Some(1));
    let effects = apply(&mut model, SearchCommand::Export(id).into());
    assert!(matches!(effects.as_slice(), [Effect::ChooseFile(FileChoice::SaveHits { hits, .. })] if hits.len() == 2));
}

#[test]
fn wrong_requests_start_nothing() {
    let mut model = model_with(&["/e/a.tar"]);
    let request = SearchRequest { query: Query::of(QueryKind::Regex, "("), ..SearchRequest::default() };
    assert!(apply(&mut model, SearchCommand::Start(request).into()).is_empty());
    assert!(model.active().unwrap().searches().sessions().is_empty());
}

#[test]
fn closing_the_archive_stops_its_searches() {
    let mut model = model_with(&["/e/a.tar"]);
    let (_, job) = start_search(&mut model, "x");
    let effects = apply(&mut model, ArchivesCommand::CloseActive.into());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::CancelJob(cancelled) if *cancelled == job)));
}

fn plan_of(checkpoint: &checkpoint::Checkpoint) -> Planned {
    let config = Config { rootfs: None, memory_mib: 256, cpus: 1, max_seconds: 60, network: NetworkMode::None };
    let plan = plan::make(checkpoint, None, &config);
    let review = plan::review(&plan, checkpoint, None, Processor::Emulated, crate::decode::Arch::X86);
    Planned { plan, review, backend: Backend::default() }
}

/// The job that an effect starts.
#[track_caller]
fn started(effects: &[Effect]) -> JobId {
    let jobs = effects.iter().filter_map(|effect| match effect {
        Effect::StartJob { id, .. } => Some(*id),
        _ => None,
    });
    jobs.last().unwrap_or_else(|| panic!("{effects:?}"))
}

/// A model whose sandbox is ready, with a plan that has a danger.
fn model_with_plan() -> (Model, ArchiveId) {
    let mut model = model_with(&["/e/a.tar"]);
    let archive = model.active().unwrap().id();
    let job = started(&apply(&mut model, SandboxCommand::Check.into()));
    let there = || Ok("there".to_owned());
    let parts = Arc::new(Parts {
        bundle: there(),
        qemu: there(),
        guest: there(),
        container: Err("not root".into()),
        may_have_kvm: false,
    });
    let _ = apply(&mut model, SandboxCommand::Checked { job, parts }.into());
    let job = started(&apply(&mut model, SandboxCommand::Plan(archive).into()));
    assert!(apply(&mut model, SandboxCommand::Plan(archive).into()).is_empty(), "one plan at a time");
    let mut planned = plan_of(model.active().unwrap().checkpoint());
    let danger =
        Danger { id: "hooks@spec.dump:/hooks/0".into(), rule: Rule::Hooks, what: "runs x".into(), allowed: false };
    planned.review.dangers.list.push(danger);
    let _ = apply(&mut model, SandboxCommand::Planned { archive, job, planned: Arc::new(planned) }.into());
    (model, archive)
}

#[test]
fn another_backend_wants_another_plan_and_what_it_needs() {
    let (mut model, archive) = model_with_plan();
    let wishes = model.archive(archive).unwrap().sandbox().wishes();
    let more = Wishes { freezes_again: true, traced: Traced::All, ..wishes };
    let wish = |backend| SandboxCommand::Wish { archive, wishes: Wishes { backend, ..more } };
    let _ = apply(&mut model, wish(Backend::Microvm).into());
    assert_eq!(model.archive(archive).unwrap().sandbox().wishes(), more);
    let _ = apply(&mut model, wish(Backend::Container).into());
    let kept = model.archive(archive).unwrap().sandbox().wishes();
    assert_eq!((kept.freezes_again, kept.traced), (false, Traced::Nobody), "a container does neither");
    assert!(matches!(model.archive(archive).unwrap().sandbox().plan(), PlanState::Unknown));
    let job = started(&apply(&mut model, SandboxCommand::Plan(archive).into()));
    let planned = Planned { backend: Backend::Container, ..plan_of(model.active().unwrap().checkpoint()) };
    let _ = apply(&mut model, SandboxCommand::Planned { archive, job, planned: Arc::new(planned) }.into());
    assert!(apply(&mut model, SandboxCommand::Start(archive).into()).is_empty(), "this machine has no container");
    assert!(model.readiness().is_ready(Backend::Microvm) && !model.readiness().is_ready(Backend::Container));
}

#[test]
fn nothing_runs_before_its_dangers_are_allowed() {
    let (mut model, archive) = model_with_plan();
    assert!(apply(&mut model, SandboxCommand::Start(archive).into()).is_empty());
    let allow = |is_allowed| SandboxCommand::Allow { archive, danger: "hooks@spec.dump:/hooks/0".into(), is_allowed };
    let _ = apply(&mut model, allow(true).into());
    let _ = apply(&mut model, allow(false).into());
    assert!(apply(&mut model, SandboxCommand::Start(archive).into()).is_empty());
    let _ = apply(&mut model, allow(true).into());
    let effects = apply(&mut model, SandboxCommand::Start(archive).into());
    assert!(matches!(effects.last(), Some(Effect::StartJob { work: JobWork::RunSandbox { .. }, .. })), "{effects:?}");
    assert!(apply(&mut model, SandboxCommand::Start(archive).into()).is_empty(), "one machine for an archive");
}

#[test]
fn a_run_takes_orders_and_ends_with_its_archive() {
    let (mut model, archive) = model_with_plan();
    let allow = SandboxCommand::Allow { archive, danger: "hooks@spec.dump:/hooks/0".into(), is_allowed: true };
    let _ = apply(&mut model, allow.into());
    let job = started(&apply(&mut model, SandboxCommand::Start(archive).into()));
    let event = Box::new(Event::Restored { at_ms: 9000, took_ms: 5000, clock_us: 0 });
    let _ = apply(&mut model, SandboxCommand::Happened { archive, job, event }.into());
    let effects = apply(&mut model, SandboxCommand::Pause { archive, is_paused: true }.into());
    assert!(
        matches!(effects.as_slice(), [Effect::OrderSandbox { job: told, order: Order::Pause }] if *told == job),
        "{effects:?}"
    );
    assert!(model.active().unwrap().sandbox().run().unwrap().is_paused());
    let effects = apply(&mut model, ArchivesCommand::CloseActive.into());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::CancelJob(cancelled) if *cancelled == job)));
}

#[test]
fn a_machine_that_fails_is_told_by_the_panel() {
    let (mut model, archive) = model_with_plan();
    let allow = SandboxCommand::Allow { archive, danger: "hooks@spec.dump:/hooks/0".into(), is_allowed: true };
    let _ = apply(&mut model, allow.into());
    let job = started(&apply(&mut model, SandboxCommand::Start(archive).into()));
    let _ = apply(&mut model, JobsCommand::Ended { id: job, end: JobEnd::Failed("no QEMU".into()) }.into());
    let run = model.active().unwrap().sandbox().run().unwrap();
    assert_eq!(run.phase(), &Phase::Ended(Ended::Failed("no QEMU".into())));
    assert_eq!(run.lines().back().unwrap().text, "no QEMU");
    assert!(model.notifications().is_empty());
}
