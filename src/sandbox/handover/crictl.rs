//! Files and commands by which CRI-O and containerd restore without Kubernetes: a sandbox, a container whose image is the
//! checkpoint (an archive on the node, or a checkpoint image), and stand-ins for what the kubelet had mounted.
//!
//! ```text
//! DIR/pod-config.json  DIR/container-config.json   for crictl runp, create
//! DIR/stand-ins/NN-NAME                            an empty directory or a file for each mount
//! DIR/logs/                                        where the engine puts the container's output
//! ```
//! A mount that is not listed ends the restore: CRI-O refuses to create the container, containerd to start it.

use std::fs::{self, DirBuilder};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::image::word;
use super::output::check_target;
use super::{Engine, HandoverError, Origin, beyond_criu, check, cri_origin};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::container::BindMount;
use crate::evidence::Form;
use crate::sandbox::plan::{Dangers, Plan, StandIn};

/// Mounts that the engines make themselves and do not expect in the request.
const OF_ENGINE: [&str; 11] = [
    "/proc",
    "/dev",
    "/dev/pts",
    "/dev/mqueue",
    "/dev/shm",
    "/sys",
    "/sys/fs/cgroup",
    "/etc/resolv.conf",
    "/etc/hostname",
    "/run/secrets",
    "/run/.containerenv",
];
/// Mounts of the kubelet that are files.
const FILES: [&str; 2] = ["/etc/hosts", "/dev/termination-log"];
/// What `/etc/hosts` says.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
/// Most mounts that are taken over.
const MAX_MOUNTS: usize = 256;
/// Namespace of the pod.
const NAMESPACE: &str = "forensics";
const POD_CONFIG: &str = "pod-config.json";
const CONTAINER_CONFIG: &str = "container-config.json";
/// `NamespaceMode.CONTAINER`: each container has its own pids, as the kubelet asks for.
const OWN_PIDS: u8 = 1;

/// What to write.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// The directory.
    pub output: &'a Path,
    /// Replace files that are there.
    pub force: bool,
    /// Where the directory will lie on the node; `None`: where it is.
    pub node_dir: Option<&'a Path>,
    /// The image: a checkpoint image, or the path of the archive on the node. `None`: the evidence itself.
    pub image: Option<&'a str>,
}

/// A mount that is handed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountRow {
    /// In the container.
    pub container_path: String,
    /// Its stand-in, below the directory.
    pub stand_in: String,
    /// A directory, or a file.
    pub is_dir: bool,
    /// Whether the container may only read it.
    pub readonly: bool,
}

/// Files that are written, and what to do with them.
#[derive(Clone, Debug)]
pub struct Written {
    /// Who can restore it.
    pub origin: Origin,
    /// The image of the container.
    pub image: String,
    /// Files and directories.
    pub files: Vec<PathBuf>,
    /// What is mounted.
    pub mounts: Vec<MountRow>,
    /// Lines for a shell.
    pub commands: Vec<String>,
    /// What goes wrong otherwise.
    pub notes: Vec<String>,
}

/// Writes the files.
///
/// # Errors
/// See [`HandoverError`].
pub fn write(
    checkpoint: &Checkpoint,
    plan: &Plan,
    dangers: &Dangers,
    config: &Config<'_>,
) -> Result<Written, HandoverError> {
    check(dangers)?;
    let origin = cri_origin(checkpoint)?;
    let image = match config.image {
        Some(image) => image.to_owned(),
        None => archive_path(checkpoint)?,
    };
    let dir = check_output(checkpoint, config.output, config.force)?;
    let node_dir = config.node_dir.unwrap_or(&dir).to_owned();
    let node_dir = node_dir.as_path();
    let (mounts, mut notes) = mounts(checkpoint, plan);
    let name = word(&origin.name, 63);
    let pod_config = pod_config(&name, checkpoint, node_dir);
    let container_config = container_config(&name, &image, &mounts, node_dir);
    let mut out = Directory { dir, files: Vec::new() };
    out.dir("logs")?;
    out.dir("stand-ins")?;
    for mount in &mounts {
        if mount.is_dir {
            out.dir(&mount.stand_in)?;
        } else {
            out.file(&mount.stand_in, if mount.container_path == "/etc/hosts" { HOSTS } else { "" }, 0o644)?;
        }
    }
    for (name, document) in [(POD_CONFIG, &pod_config), (CONTAINER_CONFIG, &container_config)] {
        out.file(name, &format!("{document:#}\n"), 0o600)?;
    }
    let commands = commands(&origin, config.image, node_dir);
    notes.splice(0..0, traps(&origin, checkpoint, config.image.is_some()));
    notes.splice(0..0, beyond_criu(plan));
    Ok(Written { origin, image, files: out.files, mounts, commands, notes })
}

/// The directory to write into, if it does not lie in the evidence and nothing in it would be replaced unasked.
///
/// # Errors
/// It does, or something would be.
pub fn check_output(checkpoint: &Checkpoint, output: &Path, force: bool) -> Result<PathBuf, HandoverError> {
    let dir = check_target(output, &checkpoint.outer)?;
    let taken = [POD_CONFIG, CONTAINER_CONFIG].map(|name| dir.join(name));
    match taken.into_iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        Some(path) if !force => Err(HandoverError::Exists { path }),
        _ => Ok(dir),
    }
}

/// The archive where it lies, if the engine can open it there.
fn archive_path(checkpoint: &Checkpoint) -> Result<String, HandoverError> {
    let outer = &checkpoint.outer;
    let is_archive = outer.form() == Form::Tar && outer.is_same(&checkpoint.evidence) && checkpoint.base_dir.is_empty();
    let path = outer.path().filter(|_| is_archive).and_then(|path| std::path::absolute(path).ok());
    path.and_then(|path| path.to_str().map(str::to_owned)).ok_or(HandoverError::NoPath {
        what: "the evidence is no checkpoint archive that an engine opens by its path; make an image of it with --to oci, \
               and name that with --image",
    })
}

/// Mounts of the kubelet with their stand-ins, and what is said of those that have none.
pub(super) fn mounts(checkpoint: &Checkpoint, plan: &Plan) -> (Vec<MountRow>, Vec<String>) {
    let mut out: Vec<MountRow> = Vec::new();
    let mut notes = Vec::new();
    for mount in &checkpoint.container.bind_mounts {
        let destination = mount.destination.as_str();
        if OF_ENGINE.contains(&destination) || out.iter().any(|known| known.container_path == destination) {
            continue;
        }
        let is_odd = !destination.starts_with('/') || destination.split('/').any(|part| part == "..");
        if is_odd || MAX_MOUNTS <= out.len() {
            notes.push(format!("the mount on {destination:?} is left out"));
            continue;
        }
        let name = word(destination.rsplit('/').next().unwrap_or_default(), 40);
        out.push(MountRow {
            container_path: destination.to_owned(),
            stand_in: format!("stand-ins/{:02}-{name}", out.len()),
            is_dir: is_dir(mount, plan),
            readonly: mount.options.iter().any(|option| option == "ro"),
        });
    }
    (out, notes)
}

fn is_dir(mount: &BindMount, plan: &Plan) -> bool {
    if FILES.contains(&mount.destination.as_str()) {
        return false;
    }
    // CRI-O tells; of others the plan of our own machine knows.
    match mount.options.first().map(String::as_str) {
        Some("file") => return false,
        Some("directory") => return true,
        _ => {}
    }
    let planned = plan.restore.ext_mounts.iter().find(|planned| planned.mountpoint == mount.destination);
    planned.is_none_or(|planned| matches!(planned.stand_in, StandIn::EmptyDir | StandIn::Rootfs { .. }))
}

fn pod_config(name: &str, checkpoint: &Checkpoint, node_dir: &Path) -> Value {
    let id = checkpoint.container.id.as_deref().unwrap_or("0");
    json!({
        "metadata": {
            "name": format!("thawed-{name}"),
            "namespace": NAMESPACE,
            "uid": format!("cryoscope-{}", word(id, 12)),
            "attempt": 1,
        },
        // A name server that is not there: names of the cluster and of the world stay unknown.
        "dns_config": { "servers": ["127.0.0.1"] },
        "log_directory": node_dir.join("logs"),
        "labels": { "app.kubernetes.io/managed-by": "cryoscope" },
        "linux": { "security_context": { "namespace_options": { "pid": OWN_PIDS } } },
    })
}

fn container_config(name: &str, image: &str, mounts: &[MountRow], node_dir: &Path) -> Value {
    let mounts: Vec<Value> = mounts
        .iter()
        .map(|mount| {
            json!({
                "container_path": mount.container_path,
                "host_path": node_dir.join(&mount.stand_in),
                "readonly": mount.readonly,
            })
        })
        .collect();
    json!({
        "metadata": { "name": name, "attempt": 0 },
        "image": { "image": image },
        "log_path": format!("{name}.log"),
        "mounts": mounts,
        "linux": { "security_context": { "namespace_options": { "pid": OWN_PIDS } } },
    })
}

fn commands(origin: &Origin, image: Option<&str>, node_dir: &Path) -> Vec<String> {
    let file = |name: &str| quote(&node_dir.join(name).display().to_string());
    let runtime = origin.runtime.map_or_else(String::new, |runtime| format!("--runtime {runtime} "));
    let (pod, container) = (file(POD_CONFIG), file(CONTAINER_CONFIG));
    let mut out = Vec::new();
    // An archive's path is no image that could be pulled.
    if let Some(image) = image.filter(|image| !image.starts_with('/')) {
        out.push(format!("crictl pull {}", quote(image)));
    }
    out.push(format!("pod=$(crictl runp {runtime}{pod})"));
    out.push(format!("container=$(crictl create \"$pod\" {container} {pod})"));
    out.push("crictl start \"$container\"".to_owned());
    out.push("crictl inspect \"$container\"".to_owned());
    out.push("crictl stopp \"$pod\" && crictl rmp \"$pod\"".to_owned());
    out
}

/// What has gone wrong for others.
fn traps(origin: &Origin, checkpoint: &Checkpoint, is_image: bool) -> Vec<String> {
    let container = &checkpoint.container;
    let mut out = Vec::new();
    let base = container.image.as_deref().unwrap_or("(its name is not recorded)");
    let id = container.image_id.as_deref().unwrap_or("(not recorded)");
    match origin.engine {
        Engine::CriO => {
            out.push(format!(
                "the base image {base} must be in CRI-O's storage under its id {id}: crictl pull it first"
            ));
            out.push(
                "CRI-O has `checkpoint_only` on by default where restoring was switched off, and then refuses".into(),
            );
            out.push(
                "signature_policy in crio.conf makes every archive fail; leave it to the system-wide policy.json"
                    .into(),
            );
        }
        Engine::Containerd => {
            out.push(format!("containerd asks the registry for the base image {id} each time, also when it is local"));
            out.push("containerd 2.0 has no restore, 2.2 wants it to be switched on, 2.4 has none any more".into());
        }
        Engine::Podman => {}
    }
    match origin.runtime {
        Some(runtime) => out.push(format!("it was dumped by {runtime}, and only {runtime} restores it: --runtime {runtime} is a handler of that name in the engine's settings")),
        None => out.push("the runtime that dumped it is not recorded; crun's and runc's do not fit each other".into()),
    }
    if !is_image {
        out.push("the image is the archive's path on the node, which must be there under that path".into());
    }
    out.push(
        "the pod is on the node's pod network: take a node without a way out, or a CNI network that leads nowhere"
            .into(),
    );
    out.push("a running kubelet kills such a pod within seconds: stop it first".into());
    out
}

/// A word of a shell.
pub fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:@,%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A directory that files are written into.
struct Directory {
    dir: PathBuf,
    files: Vec<PathBuf>,
}

impl Directory {
    fn dir(&mut self, name: &str) -> Result<(), HandoverError> {
        let path = self.dir.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&path);
        made.map_err(HandoverError::io("cannot be made", &path))?;
        self.files.push(path);
        Ok(())
    }

    /// Under a name of its own first: whole, or not there.
    fn file(&mut self, name: &str, text: &str, mode: u32) -> Result<(), HandoverError> {
        let path = self.dir.join(name);
        write_file(&path, text, mode, true)?;
        self.files.push(path);
        Ok(())
    }
}

/// Writes a file: whole, or not there.
pub(super) fn write_file(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), HandoverError> {
    let dir = path.parent().unwrap_or(path);
    let cannot = || HandoverError::io("cannot be written", path);
    fs::create_dir_all(dir).map_err(cannot())?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cryoscope-").suffix(".partial");
    let made = builder.make_in(dir, |path| fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path));
    let mut file = made.map_err(cannot())?;
    file.write_all(text.as_bytes()).map_err(cannot())?;
    let kept = if force { file.persist(path) } else { file.persist_noclobber(path) };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(HandoverError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(cannot()(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_quoted() {
        let check = |word: &str, quoted: &str| assert_eq!(quote(word), quoted);
        check("/tmp/a:b", "/tmp/a:b");
        check("", "''");
        check("a b", "'a b'");
        check("$(reboot)'", r"'$(reboot)'\'''");
        check("a\nb", "'a\nb'");
    }
}
