//! Without a subcommand: the window.

use std::path::PathBuf;

/// Opens the window on these archives, and on the bundled sample if that is wanted.
pub(super) fn open(archives: &[PathBuf], opens_sample: bool) -> anyhow::Result<()> {
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
    run(archives, opens_sample)
}

#[cfg(feature = "gui")]
fn run(archives: &[PathBuf], opens_sample: bool) -> anyhow::Result<()> {
    crate::ui::run(archives.to_vec(), opens_sample)
}

#[cfg(not(feature = "gui"))]
fn run(archives: &[PathBuf], _opens_sample: bool) -> anyhow::Result<()> {
    let archive = archives.first().map_or_else(|| "ARCHIVE".into(), |archive| archive.display().to_string());
    anyhow::bail!("this cryoscope was built without its window; `cryoscope inspect {archive}` shows the same as text")
}
