//! What is remembered between sessions: theme, zoom, recent archives, where the panels are, bookmarks.
//!
//! One JSON file in the user's configuration directory, never beside evidence. What cannot be read
//! of it is as good as not there: the defaults apply, the analyst is told, and the file is kept
//! under another name before it is written again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use super::Layout;
use super::space::bookmarks::{self, Bookmark};

/// Most archives that are remembered.
const MAX_RECENT: usize = 20;

/// Version of the file; a file of a later version is not read.
const VERSION: u32 = 1;

/// Largest settings file that is read.
const MAX_BYTES: u64 = 8 << 20;

/// Steps of the zoom in percent.
const ZOOM_STEPS: [u32; 9] = [80, 90, 100, 110, 125, 140, 160, 180, 200];

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Theme {
    /// As the system has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// An archive that was open once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentArchive {
    /// Where it lies.
    pub path: PathBuf,
    /// Name of the container in it.
    pub title: String,
    /// When it was opened last, RFC 3339.
    pub opened: String,
}

/// All that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Light or dark.
    pub theme: Theme,
    /// Zoom in percent, 80 to 200.
    pub zoom_percent: u32,
    /// Archives, the last opened first.
    pub recent: Vec<RecentArchive>,
    /// Where the panels are; `None` where they were at first.
    pub layout: Option<Layout>,
    /// Places in memory, the oldest first.
    pub bookmarks: Vec<Bookmark>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { theme: Theme::System, zoom_percent: 100, recent: Vec::new(), layout: None, bookmarks: Vec::new() }
    }
}

/// The file.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    settings: &'a Settings,
}

impl Settings {
    /// Reads the user's settings; defaults where there are none. What could not be read, and where
    /// it is kept, comes back in words.
    pub fn load() -> (Settings, Option<String>) {
        path().map(|path| Settings::load_from(&path)).unwrap_or_default()
    }

    #[expect(clippy::disallowed_methods, reason = "settings are this module's own file")]
    fn load_from(path: &Path) -> (Settings, Option<String>) {
        let Ok(meta) = std::fs::metadata(path) else { return Default::default() };
        let text = if meta.len() <= MAX_BYTES { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
        let (settings, problems) = Settings::parse(&text);
        if problems.is_empty() {
            return (settings, None);
        }
        let kept = path.with_extension("unread.json");
        let kept = match std::fs::rename(path, &kept) {
            Ok(()) => format!("The file is kept as {}.", kept.display()),
            Err(err) => format!("The file could not be kept: {err}."),
        };
        (settings, Some(format!("{}: {}. {kept}", path.display(), problems.join("; "))))
    }

    /// Each setting by itself, so that one that is broken does not take the others with it.
    fn parse(text: &[u8]) -> (Settings, Vec<String>) {
        let mut settings = Settings::default();
        let mut values = match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text) {
            Ok(values) => values,
            Err(err) => return (settings, vec![format!("no settings are in it: {err}")]),
        };
        let version = values.get("version").and_then(|version| version.as_u64()).unwrap_or(1);
        if version > u64::from(VERSION) {
            return (settings, vec![format!("was written by a later version of Cryoscope (format {version})")]);
        }
        let mut problems = Vec::new();
        take(&mut values, "theme", &mut settings.theme, &mut problems);
        take(&mut values, "zoom-percent", &mut settings.zoom_percent, &mut problems);
        take(&mut values, "recent", &mut settings.recent, &mut problems);
        take(&mut values, "bookmarks", &mut settings.bookmarks, &mut problems);
        take(&mut values, "layout", &mut settings.layout, &mut problems);
        settings.set_zoom(settings.zoom_percent);
        settings.recent.truncate(MAX_RECENT);
        bookmarks::trim(&mut settings.bookmarks);
        if let Some(layout) = settings.layout.take() {
            settings.layout = layout.repaired();
            problems.extend(settings.layout.is_none().then(|| "layout: there are no panels in it".to_owned()));
        }
        (settings, problems)
    }

    /// Writes the user's settings.
    ///
    /// # Errors
    /// There is no home directory, or the file cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        self.save_to(&path().context("there is no home directory for settings")?)
    }

    fn save_to(&self, path: &Path) -> anyhow::Result<()> {
        let dir = path.parent().context("settings lie in no directory")?;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut file =
            tempfile::NamedTempFile::new_in(dir).with_context(|| format!("cannot write in {}", dir.display()))?;
        serde_json::to_writer_pretty(&mut file, &Written { version: VERSION, settings: self })?;
        file.flush()?;
        file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    pub(super) fn remember(&mut self, path: PathBuf, title: String, opened: String) {
        self.recent.retain(|recent| recent.path != path);
        self.recent.insert(0, RecentArchive { path, title, opened });
        self.recent.truncate(MAX_RECENT);
    }

    pub(super) fn forget(&mut self, path: &Path) {
        self.recent.retain(|recent| recent.path != path);
    }

    pub(super) fn set_zoom(&mut self, percent: u32) {
        self.zoom_percent = percent.clamp(80, 200);
    }

    pub(super) fn zoom_in(&mut self) {
        self.zoom_percent = ZOOM_STEPS.into_iter().find(|step| *step > self.zoom_percent).unwrap_or(200);
    }

    pub(super) fn zoom_out(&mut self) {
        self.zoom_percent = ZOOM_STEPS.into_iter().rev().find(|step| *step < self.zoom_percent).unwrap_or(80);
    }
}

fn take<T: serde::de::DeserializeOwned>(
    values: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    setting: &mut T,
    problems: &mut Vec<String>,
) {
    match values.remove(name).map(serde_json::from_value) {
        Some(Ok(value)) => *setting = value,
        Some(Err(err)) => problems.push(format!("{name}: {err}")),
        None => {}
    }
}

fn path() -> Option<PathBuf> {
    let dirs = etcetera::choose_base_strategy().ok()?;
    Some(dirs.config_dir().join("cryoscope").join("settings.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep").join("settings.json");
        let mut settings = Settings { theme: Theme::Dark, ..Settings::default() };
        settings.zoom_in();
        settings.remember("/evidence/a.tar".into(), "counter".into(), "2026-01-01T00:00:00Z".into());
        let panels = vec![crate::session::Panel { kind: crate::session::PanelKind::Files, is_open: true }];
        settings.layout = Layout::Tabs { panels, front: None }.repaired();
        assert!(settings.layout.is_some());
        settings.save_to(&path).unwrap();
        assert_eq!(Settings::load_from(&path), (settings, None));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "writes a settings file of its own")]
    fn what_cannot_be_read_is_said_and_kept_and_the_rest_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        assert_eq!(Settings::load_from(&path), (Settings::default(), None));
        for broken in ["{\"theme\": 7", "", "[1]", "{\"version\": 2, \"theme\": \"dark\"}"] {
            std::fs::write(&path, broken).unwrap();
            let (settings, problem) = Settings::load_from(&path);
            assert_eq!(settings, Settings::default(), "{broken}");
            assert!(problem.unwrap().contains("is kept as"), "{broken}");
            assert!(!path.exists() && path.with_extension("unread.json").exists());
        }
        std::fs::write(&path, b"{\"zoom-percent\": 4000000, \"layout\": {\"tabs\": 3}}").unwrap();
        let (settings, problem) = Settings::load_from(&path);
        assert_eq!((settings.zoom_percent, settings.layout), (200, None));
        assert!(problem.unwrap().contains("layout: "));
    }

    #[test]
    fn zoom_stays_between_its_ends() {
        let mut settings = Settings::default();
        for _ in 0..20 {
            settings.zoom_in();
        }
        assert_eq!(settings.zoom_percent, 200);
        for _ in 0..20 {
            settings.zoom_out();
        }
        assert_eq!(settings.zoom_percent, 80);
    }

    #[test]
    fn archive_opened_again_moves_to_the_front() {
        let mut settings = Settings::default();
        for n in 0..30 {
            settings.remember(format!("/{n}").into(), String::new(), String::new());
        }
        settings.remember("/25".into(), "again".into(), String::new());
        assert_eq!(settings.recent.len(), MAX_RECENT);
        assert_eq!(settings.recent[0].title, "again");
        settings.forget(Path::new("/25"));
        assert!(settings.recent.iter().all(|recent| recent.path != Path::new("/25")));
    }
}
