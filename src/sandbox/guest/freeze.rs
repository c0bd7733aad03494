//! Taking a new checkpoint in the machine: criu dumps, and what it wrote goes as one tar onto the second disk.
//!
//! ```text
//! checkpoint/*          images, descriptors.json
//! rootfs-diff.tar       what was changed in the root file system since it was restored (upper layer of the overlay)
//! devshm-checkpoint.tar what is in /dev/shm, where the engine handed that in
//! dump.log
//! ```
//! The host makes an archive of it, with what the original knew of the container ([`crate::sandbox::refrozen`]).

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::Instant;

use super::boot::{make_dir, write};
use super::restore::{WORK, command, log};
use super::{GuestError, Host, RUN, millis};
use crate::sandbox::plan::{Netns, RestorePlan, Tcp};
use crate::sandbox::protocol::{FromGuest, cut};

/// The second disk.
const SCRATCH: &str = "/dev/vdb";
const DIR: &str = "/run/cryoscope/frozen";
/// Content of the overlay's upper layer.
const UPPER: &str = "/run/cryoscope/layers/upper";

/// Freezes the processes again, and tells the host.
pub(super) fn freeze(root: u32, leave_running: bool, plan: &RestorePlan, host: &Host) -> Result<(), GuestError> {
    let started = Instant::now();
    host.stage("freezing again");
    let images = format!("{DIR}/checkpoint");
    make_dir(&images)?;
    descriptors(root, &images)?;
    let status = command("criu").args(arguments(root, leave_running, plan, &images)?).status();
    let status = status.map_err(GuestError::file("run", "criu"))?;
    if !status.success() {
        let (errors, lines) = log("dump.log");
        let errors = [errors, lines].concat();
        return Err(GuestError::Program {
            program: "criu".into(),
            args: "dump".into(),
            status: status.to_string(),
            said: cut(errors.join("\n")),
        });
    }
    let took_ms = millis(started.elapsed());
    // Without it the checkpoint is the same; it says how it was made.
    let _ = fs::rename(format!("{WORK}/dump.log"), format!("{DIR}/dump.log"));
    pack(UPPER, "rootfs-diff.tar")?;
    if let Some(number) = plan.ext_mounts.iter().position(|mount| mount.mountpoint == "/dev/shm") {
        pack(&format!("{RUN}/stand-ins/{number}"), "devshm-checkpoint.tar")?;
    }
    let size_bytes = write_out()?;
    let _ = fs::remove_dir_all(DIR);
    host.say(&FromGuest::Frozen { size_bytes, took_ms });
    Ok(())
}

fn arguments(root: u32, leave_running: bool, plan: &RestorePlan, images: &str) -> Result<Vec<String>, GuestError> {
    let mut args: Vec<String> = [
        "dump",
        "--tree",
        &root.to_string(),
        "--images-dir",
        images,
        "--work-dir",
        WORK,
        "--log-file",
        "dump.log",
        "-v3",
        "--manage-cgroups=ignore",
        "--link-remap",
        "--file-locks",
        "--ghost-limit",
        "256M",
    ]
    .map(str::to_owned)
    .to_vec();
    if plan.tcp == Tcp::Close {
        args.push("--tcp-close".into());
    } else {
        args.push("--tcp-established".into());
    }
    if plan.shell_job {
        args.push("--shell-job".into());
    }
    if leave_running {
        args.push("--leave-running".into());
    }
    match &plan.netns {
        Netns::External { key } => {
            let path = format!("/proc/{root}/ns/net");
            let data = fs::metadata(&path).map_err(GuestError::file("look at", &path))?;
            args.extend(["--external".into(), format!("net[{}]:{key}", data.ino())]);
        }
        Netns::Empty => args.extend(["--empty-ns".into(), "net".into()]),
        Netns::InImages | Netns::Machine => {}
    }
    for mount in &plan.ext_mounts {
        args.extend(["--external".into(), format!("mnt[{}]:{}", mount.mountpoint, mount.key)]);
    }
    Ok(args)
}

/// `descriptors.json`, as runtimes write it: what descriptors 0 to 2 lead to.
fn descriptors(root: u32, images: &str) -> Result<(), GuestError> {
    let link = |fd: u32| {
        let target = fs::read_link(format!("/proc/{root}/fd/{fd}"));
        target.map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned())
    };
    let list = serde_json::json!([link(0), link(1), link(2)]);
    write(format!("{images}/descriptors.json"), &list.to_string())
}

/// Packs a directory, owners and attributes included.
fn pack(dir: &str, name: &str) -> Result<(), GuestError> {
    let file = format!("{DIR}/{name}");
    super::restore::run_program(
        "tar",
        &["--create", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file", &file, "--directory", dir, "."],
    )
}

/// Writes everything onto the second disk; how many bytes that are.
fn write_out() -> Result<u64, GuestError> {
    let cannot = || GuestError::file("write", SCRATCH);
    let mut disk: File = OpenOptions::new().write(true).open(SCRATCH).map_err(cannot())?;
    let mut tar = command("tar");
    tar.args(["--create", "--numeric-owner", "--directory", DIR, "."]).stdout(Stdio::piped());
    let mut child = tar.spawn().map_err(GuestError::file("run", "tar"))?;
    let mut size = 0;
    if let Some(mut pipe) = child.stdout.take() {
        let mut piece = vec![0; 1 << 20];
        loop {
            match pipe.read(&mut piece).map_err(cannot())? {
                0 => break,
                n => {
                    disk.write_all(piece.get(..n).unwrap_or_default()).map_err(cannot())?;
                    size += n as u64;
                }
            }
        }
    }
    disk.sync_all().map_err(cannot())?;
    let status = child.wait().map_err(GuestError::file("run", "tar"))?;
    if status.success() {
        return Ok(size);
    }
    Err(GuestError::Program {
        program: "tar".into(),
        args: "--create".into(),
        status: status.to_string(),
        said: String::new(),
    })
}
