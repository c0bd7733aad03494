//! Podman's own restore, in a network namespace without a way out.
//!
//! `podman container restore` has no `--network`: it attaches what it restores to the networks of the checkpoint. So Podman
//! itself runs in a network namespace of its own (`unshare --net`): the bridge that it makes leads nowhere. `lo` must be up
//! there, or criu's check of the kernel fails.
//!
//! Steps of [`run`]: what would weaken this is refused; Podman restores; that the container's monitor is really in another
//! network namespace is looked at afterwards, and the container removed if it is not.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::crictl::quote;
use super::image::word;
use super::{Engine, HandoverError, Origin, beyond_criu, check, origin};
use crate::base::Progress;
use crate::checkpoint::Checkpoint;
use crate::evidence::Form;
use crate::sandbox::plan::{Dangers, Plan, Tcp};

/// Largest specification that is read.
const MAX_SPEC_BYTES: usize = 4 << 20;
/// Podman's own directories, from where it mounts.
const OWN: [&str; 3] = ["/run/containers/storage/", "/var/run/containers/storage/", "/var/lib/containers/storage/"];
/// Most that is read of what a program says.
const MAX_SAID: u64 = 64 << 10;
/// Most exposures in a message.
const MAX_SHOWN: usize = 8;
/// Brings `lo` up, then becomes its arguments.
const SCRIPT: &str = "ip link set lo up && exec \"$@\"";

/// What Podman would give of this machine, beyond what the linter knows: Podman alone takes these from the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// `host-bind@PATH` or `host-namespace@KIND`; what `--allow` takes.
    pub id: String,
    /// What it is.
    pub what: String,
    /// The analyst allowed it.
    pub allowed: bool,
}

/// How Podman restores it.
#[derive(Clone, Debug)]
pub struct Restore {
    /// Who wrote it.
    pub origin: Origin,
    /// The command with its arguments.
    pub argv: Vec<String>,
    /// Name that the container will have.
    pub name: String,
    /// Name of the base image, where it is recorded.
    pub base_image: Option<String>,
    /// What is given of this machine; all of it is allowed.
    pub exposures: Vec<Exposure>,
    /// What goes wrong otherwise.
    pub notes: Vec<String>,
}

/// A container that was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// Podman's id.
    pub id: String,
    /// Its first process, on this machine.
    pub pid: u32,
    /// Its monitor, which is in the network namespace that leads nowhere.
    pub monitor_pid: u32,
}

/// What of this machine Podman would give, with what `allow` allows; ids that are taken are removed from it.
pub fn exposures(checkpoint: &Checkpoint, allow: &mut Vec<String>) -> Vec<Exposure> {
    let (spec, config) = (document(checkpoint, "spec.dump"), document(checkpoint, "config.dump"));
    let mut out = Vec::new();
    let mut add = |id: String, what: String| {
        let before = allow.len();
        allow.retain(|allowed| *allowed != id);
        out.push(Exposure { allowed: allow.len() < before, id, what });
    };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    for mount in spec.get("mounts").and_then(Value::as_array).into_iter().flatten() {
        let options = mount.get("options").and_then(Value::as_array).into_iter().flatten();
        let is_bind = text(mount, "type") == "bind" || options.filter_map(Value::as_str).any(|it| it.ends_with("bind"));
        let source = text(mount, "source");
        let is_own = OWN.iter().any(|own| source.starts_with(own)) && !source.split('/').any(|part| part == "..");
        if is_bind && !is_own {
            let destination = text(mount, "destination");
            add(format!("host-bind@{destination}"), format!("{source} of this machine is mounted on {destination}"));
        }
    }
    let makes_netns = config.get("createNetNS").and_then(Value::as_bool) == Some(true);
    for namespace in spec.pointer("/linux/namespaces").and_then(Value::as_array).into_iter().flatten() {
        let (kind, path) = (text(namespace, "type"), text(namespace, "path"));
        let is_made_anew = kind == "network" && makes_netns;
        if !path.is_empty() && !is_made_anew {
            add(format!("host-namespace@{kind}"), format!("the {kind} namespace is {path} of this machine"));
        }
    }
    out
}

fn document(checkpoint: &Checkpoint, name: &str) -> Value {
    let found = checkpoint.documents.iter().find(|document| document.name.rsplit('/').next() == Some(name));
    let found = found.filter(|document| document.bytes.len() <= MAX_SPEC_BYTES);
    found.and_then(|document| serde_json::from_slice(&document.bytes).ok()).unwrap_or_default()
}

/// The command.
///
/// # Errors
/// What attacks the engine or exposes this machine is not allowed; Podman cannot restore it; or not from where it lies.
pub fn command(
    checkpoint: &Checkpoint,
    plan: &Plan,
    dangers: &Dangers,
    exposures: Vec<Exposure>,
) -> Result<Restore, HandoverError> {
    check(dangers)?;
    let origin = origin(checkpoint)?;
    if origin.engine != Engine::Podman {
        let wrote = origin.engine.name();
        return Err(HandoverError::OtherEngine { wrote, asked: "Podman", hint: "--to crictl, --to pod or --to oci" });
    }
    let refused = exposures.iter().filter(|it| !it.allowed).map(|it| format!("{} ({})", it.what, it.id));
    let list: Vec<String> = refused.take(MAX_SHOWN).collect();
    if !list.is_empty() {
        return Err(HandoverError::Exposed { list });
    }
    let outer = &checkpoint.outer;
    let is_archive = outer.form() == Form::Tar && outer.is_same(&checkpoint.evidence) && checkpoint.base_dir.is_empty();
    let path = outer.path().filter(|_| is_archive).and_then(|path| std::path::absolute(path).ok());
    let path = path.and_then(|path| path.to_str().map(str::to_owned)).ok_or(HandoverError::NoPath {
        what: "the evidence is no checkpoint archive that Podman imports by its path; make an image of it with --to oci, \
               `podman pull` that, and `podman container restore` it in the same way",
    })?;
    let (options, name) = options(&origin, plan);
    let mut argv = in_own_network();
    argv.extend(["--import".to_owned(), path]);
    argv.extend(options);
    let base_image = checkpoint.container.image.clone();
    let base_name = base_image.as_deref().unwrap_or("(not recorded)");
    let id = checkpoint.container.image_id.as_deref().unwrap_or("(not recorded)");
    let mut notes = vec![format!(
        "the base image {base_name} must be local: in there Podman cannot pull; it is taken by that name, whatever its id is \
         (it was {id})"
    )];
    notes.splice(0..0, beyond_criu(plan));
    if plan.restore.tcp != Tcp::None {
        notes.push(
            "it has established TCP connections, which come back only under the old name and address: no other container \
             may have either"
                .into(),
        );
    }
    notes.push(
        "to remove it, enter its network namespace first: nsenter -t $(podman inspect -f '{{.State.ConmonPid}}' NAME) -n \
         podman rm -f -t 0 NAME"
            .into(),
    );
    Ok(Restore { origin, argv, name, base_image, exposures, notes })
}

/// The command that restores a checkpoint image, as a line for a shell.
pub fn line_for_image(image: &str, origin: &Origin, plan: &Plan) -> String {
    let mut argv = in_own_network();
    argv.extend(options(origin, plan).0);
    argv.push(image.to_owned());
    line(&argv)
}

fn in_own_network() -> Vec<String> {
    ["unshare", "--net", "--", "sh", "-c", SCRIPT, "sh", "podman", "container", "restore"].map(str::to_owned).into()
}

/// Podman's options, and the name that the container will have.
fn options(origin: &Origin, plan: &Plan) -> (Vec<String>, String) {
    let mut out = Vec::new();
    if plan.restore.file_locks {
        out.push("--file-locks".to_owned());
    }
    if plan.restore.tcp != Tcp::None {
        // Podman does not take another name together with this.
        out.push("--tcp-established".to_owned());
        return (out, origin.name.clone());
    }
    let name = format!("thawed-{}", word(&origin.name, 50));
    out.extend(["--name".to_owned(), name.clone()]);
    (out, name)
}

fn line(argv: &[String]) -> String {
    argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

impl Restore {
    /// The command as a line for a shell.
    pub fn line(&self) -> String {
        line(&self.argv)
    }
}

/// Restores.
///
/// # Errors
/// Isolation as planned cannot be had, Podman fails, or cancel.
pub fn run(restore: &Restore, progress: &dyn Progress) -> Result<Running, HandoverError> {
    if !rustix::process::geteuid().is_root() {
        return Err(HandoverError::NotRun { what: "criu and a network namespace of its own need root".into() });
    }
    for program in ["unshare", "sh", "ip", "podman"] {
        if find(program).is_none() {
            return Err(HandoverError::NotRun { what: format!("{program} is not installed") });
        }
    }
    progress.stage("restoring with Podman");
    if exists("container", &restore.name, progress)? {
        return Err(HandoverError::NotRun { what: format!("Podman has a container named {} already", restore.name) });
    }
    if let Some(image) = &restore.base_image
        && !exists("image", image, progress)?
    {
        return Err(HandoverError::NotRun { what: format!("the base image {image} is not in Podman's storage") });
    }
    let restored = call(&restore.argv, progress).and_then(|said| {
        let is_id = |line: &&str| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = said.lines().rev().map(str::trim).find(is_id).map(str::to_owned);
        let status = || "no container id".to_owned();
        let id = id.ok_or_else(|| HandoverError::Engine { program: "podman", status: status(), said })?;
        check_isolation(&id, progress)
    });
    restored.inspect_err(|_| {
        // What Podman leaves of a restore that failed, or what runs otherwise than planned: it was not there before.
        let remove = ["podman", "rm", "-f", "-t", "0", "--", &restore.name].map(str::to_owned);
        let _ = call(&remove, &crate::base::Silent);
    })
}

/// Whether Podman has an image or container of that name.
fn exists(kind: &str, name: &str, progress: &dyn Progress) -> Result<bool, HandoverError> {
    match call(&["podman", kind, "exists", "--", name].map(str::to_owned), progress) {
        Ok(_) => Ok(true),
        Err(HandoverError::Engine { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// That monitor and container are in other network namespaces than we.
fn check_isolation(id: &str, progress: &dyn Progress) -> Result<Running, HandoverError> {
    let format = "{{.State.Pid}} {{.State.ConmonPid}}";
    let said = call(&["podman", "inspect", "-f", format, id].map(str::to_owned), progress)?;
    let pids: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).filter(|pid| *pid > 1).collect();
    let [pid, monitor_pid] = pids[..] else {
        return Err(HandoverError::NotRun { what: format!("the container {id} does not run") });
    };
    let netns = |pid: &str| std::fs::read_link(Path::new("/proc").join(pid).join("ns/net")).ok();
    let own = netns("self");
    for other in [pid, monitor_pid] {
        let other = netns(&other.to_string());
        if other.is_none() || other == own {
            return Err(HandoverError::NotRun {
                what: "the container is not in a network namespace of its own".into(),
            });
        }
    }
    Ok(Running { id: id.to_owned(), pid, monitor_pid })
}

/// Runs a program to its end, and returns what it wrote to standard output.
fn call(argv: &[String], progress: &dyn Progress) -> Result<String, HandoverError> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(String::new()) };
    let cannot = || HandoverError::io("cannot be run", program);
    // Files, not pipes: the container's monitor may keep them open.
    let (mut out, mut err) = (tempfile::tempfile().map_err(cannot())?, tempfile::tempfile().map_err(cannot())?);
    let stdio = |file: &File| file.try_clone().map(Stdio::from).map_err(cannot());
    #[expect(clippy::disallowed_methods, reason = "Podman is started here only, by an analyst who asked for it")]
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(stdio(&out)?).stderr(stdio(&err)?);
    let mut child = command.spawn().map_err(cannot())?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(cannot())? {
            break status;
        }
        if let Err(cancelled) = progress.step(0, None) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(cancelled.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if status.success() {
        return Ok(text(&mut out));
    }
    Err(HandoverError::Engine { program: "podman", status: status.to_string(), said: text(&mut err) })
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    if file.rewind().is_ok() {
        // What cannot be read of an error is not worth another one.
        let _ = file.take(MAX_SAID).read_to_end(&mut bytes);
    }
    crate::base::escape(&bytes).into_owned()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
