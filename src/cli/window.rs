//! Without a subcommand: the window.

use std::path::{Path, PathBuf};

/// Opens the window on these archives, with the image that they started from if one is given, and on the bundled sample
/// if that is wanted.
pub(super) fn open(archives: &[PathBuf], base: Option<&Path>, opens_sample: bool) -> anyhow::Result<()> {
    if let Some(base) = base {
        anyhow::ensure!(!archives.is_empty(), "--rootfs {}: of which archive? give one behind it", base.display());
        if let Err(error) = std::fs::symlink_metadata(base) {
            let error = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            anyhow::bail!("--rootfs: {}: {error}", base.display());
        }
    }
    for archive in archives {
        if archive.as_os_str() == "-" {
            anyhow::bail!("-: the window does not read standard input; `cryoscope inspect -` does");
        }
        // A mistyped command arrives here as the name of an archive.
        if let Err(error) = std::fs::symlink_metadata(archive) {
            let is_word = archive.to_str().is_some_and(|it| it.chars().all(|c| c.is_ascii_alphabetic()));
            let advice = if is_word { ", and no command of this name; see `cryoscope --help`" } else { "" };
            match error.kind() {
                std::io::ErrorKind::NotFound => {
                    anyhow::bail!("{}: no such file or directory{advice}", archive.display())
                }
                _ => anyhow::bail!("{}: {error}", archive.display()),
            }
        }
    }
    run(archives, base, opens_sample)
}

#[cfg(feature = "gui")]
fn run(archives: &[PathBuf], base: Option<&Path>, opens_sample: bool) -> anyhow::Result<()> {
    crate::ui::run(archives.to_vec(), base.map(Path::to_path_buf), opens_sample)
}

#[cfg(not(feature = "gui"))]
fn run(archives: &[PathBuf], _base: Option<&Path>, _opens_sample: bool) -> anyhow::Result<()> {
    let archive = archives.first().map_or_else(|| "ARCHIVE".into(), |archive| archive.display().to_string());
    anyhow::bail!("this cryoscope was built without its window; `cryoscope inspect {archive}` shows the same as text")
}
