//! What is remembered between sessions: theme, zoom, recent archives, bookmarks.
//!
//! One JSON file in the user's configuration directory, never beside evidence. A file that cannot
//! be read is as good as none: the defaults apply.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use super::space::bookmarks::{self, Bookmark};

/// Most archives that are remembered.
const MAX_RECENT: usize = 20;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// Light or dark.
    pub theme: Theme,
    /// Zoom in percent, 80 to 200.
    pub zoom_percent: u32,
    /// Archives, the last opened first.
    pub recent: Vec<RecentArchive>,
    /// Places in memory, the oldest first.
    pub bookmarks: Vec<Bookmark>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { theme: Theme::System, zoom_percent: 100, recent: Vec::new(), bookmarks: Vec::new() }
    }
}

impl Settings {
    /// Reads the user's settings; defaults where there are none.
    pub fn load() -> Settings {
        path().map(|path| Settings::load_from(&path)).unwrap_or_default()
    }

    #[expect(clippy::disallowed_methods, reason = "settings are this module's own file")]
    fn load_from(path: &Path) -> Settings {
        let fits = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_BYTES);
        let text = if fits { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let mut settings: Settings = serde_json::from_str(&text).unwrap_or_default();
        settings.set_zoom(settings.zoom_percent);
        settings.recent.truncate(MAX_RECENT);
        bookmarks::trim(&mut settings.bookmarks);
        settings
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
        serde_json::to_writer_pretty(&mut file, self)?;
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
        settings.save_to(&path).unwrap();
        assert_eq!(Settings::load_from(&path), settings);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "writes a settings file of its own")]
    fn damaged_settings_are_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        std::fs::write(&path, b"{\"theme\": 7").unwrap();
        assert_eq!(Settings::load_from(&path), Settings::default());
        std::fs::write(&path, b"{\"zoom-percent\": 4000000}").unwrap();
        assert_eq!(Settings::load_from(&path).zoom_percent, 200);
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
