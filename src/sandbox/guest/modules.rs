//! Kernel modules: some are loaded at start, the others when the kernel asks for them through `/sbin/modprobe`, which is
//! this program under another name.

use std::ffi::OsString;
use std::process::ExitCode;

use rustix::io::Errno;

use super::boot::{open, read};
use super::{GuestError, Host};
use crate::sandbox::bundle::MODULES_IN_GUEST;

/// Deepest chain of modules that need each other.
const MAX_DEPTH: usize = 16;

/// Loads the modules of a group of the bundle.
pub(super) fn load_group(group: &str, host: &Host) -> Result<(), GuestError> {
    for name in read(&format!("/{MODULES_IN_GUEST}/{group}.list"))?.lines() {
        // criu says what it misses; a module that this kernel has built in does not load.
        if let Err(error) = load_file(name) {
            host.stage(&error.to_string());
        }
    }
    Ok(())
}

/// What the kernel wants when it runs `modprobe -q -- NAME`.
pub(super) fn modprobe(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(name) = args.last().and_then(|name| name.into_string().ok()) else { return ExitCode::from(2) };
    let index = read(&format!("/{MODULES_IN_GUEST}/index")).unwrap_or_default();
    match order(&index, &name) {
        // The kernel asks for much that no machine has.
        order if order.is_empty() => ExitCode::FAILURE,
        order if order.iter().all(|name| load_file(name).is_ok()) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Modules to load for a name or an alias, each after those that it needs.
fn order<'a>(index: &'a str, wanted: &str) -> Vec<&'a str> {
    let normal = wanted.replace('-', "_");
    let found = index.lines().find(|line| {
        let mut fields = line.split('\t');
        let is_name = fields.next() == Some(&normal);
        is_name || fields.nth(1).is_some_and(|aliases| aliases.split(',').any(|alias| alias == wanted))
    });
    let mut out = Vec::new();
    if let Some(line) = found {
        push(index, line, &mut out, 0);
    }
    out
}

fn push<'a>(index: &'a str, line: &'a str, out: &mut Vec<&'a str>, depth: usize) {
    let mut fields = line.split('\t');
    let (Some(name), Some(needed)) = (fields.next(), fields.next()) else { return };
    for needed in needed.split(',').filter(|name| !name.is_empty()) {
        let line = index.lines().find(|line| line.split('\t').next() == Some(needed));
        if let Some(line) = line.filter(|_| depth < MAX_DEPTH) {
            push(index, line, out, depth + 1);
        }
    }
    if !out.contains(&name) {
        out.push(name);
    }
}

fn load_file(name: &str) -> Result<(), GuestError> {
    let path = format!("/{MODULES_IN_GUEST}/{name}.ko");
    match rustix::system::finit_module(&open(&path)?, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(GuestError::file("load the module", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_by_name_and_alias_after_what_they_need() {
        let index =
            "x_tables\t\tipt_x\nip_tables\tx_tables\t\niptable_nat\tip_tables,nf_nat\t\nnf_nat\tnf_nat\tnet-pf-2\n";
        assert_eq!(order(index, "iptable-nat"), ["x_tables", "ip_tables", "nf_nat", "iptable_nat"]);
        assert_eq!(order(index, "net-pf-2"), ["nf_nat"]);
        assert_eq!(order(index, "net-pf-3"), [""; 0]);
    }
}
