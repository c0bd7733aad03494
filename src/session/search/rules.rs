//! Files of YARA rules: the analyst's own, never evidence.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::memory::search::yara::{RuleFile, YaraRules};

/// Largest file of rules; all of the public collections together are smaller.
const MAX_RULES_BYTES: u64 = 256 << 20;

/// Reads and compiles files of rules.
///
/// # Errors
/// A file cannot be read, is too large, or a rule in it is wrong.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<YaraRules> {
    let files = paths.iter().map(|path| rule_file(path)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(YaraRules::compile(&files)?)
}

#[expect(clippy::disallowed_methods, reason = "rules are files of the analyst")]
fn rule_file(path: &Path) -> anyhow::Result<RuleFile> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).with_context(|| name.clone())?.len();
    anyhow::ensure!(size <= MAX_RULES_BYTES, "{name}: has {size} bytes, and rules have at most {MAX_RULES_BYTES}");
    let source = std::fs::read(path).with_context(|| name.clone())?;
    Ok(RuleFile { name, source, dir: path.parent().map(Path::to_path_buf) })
}
