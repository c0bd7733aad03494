//! Checkpoints handed over: images that skopeo takes, files for crictl, manifests, and what is refused.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail; it starts programs and reads what was written"
)]

mod cli;
mod rebuild;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli::{Ran, cryoscope};
use rebuild::{Parts, builder, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::EntryType;
use tempfile::TempDir;

/// Checkpoints that an engine wrote, each in another form.
const OF_ENGINES: [(&str, &str); 5] = [
    ("counter.tar.zst", "podman"),
    ("podman-oci.tar", "podman"),
    ("crio-crun-loop.tar", "cri-o"),
    ("crio-checkpoint-oci.tar.zst", "cri-o"),
    ("containerd-runc-loop.tar", "containerd"),
];

fn fixture(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `sandbox hand-over ARCHIVE --to WHOM …`.
fn hand_over(archive: &str, to: &str, more: &[&str]) -> Ran {
    cryoscope(&[&["sandbox", "hand-over", archive, "--to", to], more].concat())
}

fn handed(archive: &str, to: &str, more: &[&str]) -> Value {
    let ran = hand_over(archive, to, &[more, &["--json"]].concat());
    assert_eq!(ran.code, 0, "{archive}: {}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn refused(archive: &str, to: &str, more: &[&str], words: &[&str]) {
    let ran = hand_over(archive, to, more);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{archive} {more:?} {}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
}

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

fn skopeo(args: &[&str]) -> Vec<u8> {
    let ran = Command::new("skopeo").args(args).output().expect("skopeo is installed: make test-packages");
    assert!(ran.status.success(), "{args:?} {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The blob of a digest, whose content has that digest.
fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = fs::read(layout.join("blobs/sha256").join(hex)).unwrap();
    assert_eq!(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex);
    bytes
}

/// Manifest and config of a layout with one image.
fn documents(layout: &Path) -> (Value, Value, Value) {
    let index = json_of(&layout.join("index.json"));
    let manifest: Value = serde_json::from_slice(&blob(layout, &index["manifests"][0]["digest"])).unwrap();
    let config = serde_json::from_slice(&blob(layout, &manifest["config"]["digest"])).unwrap();
    (index, manifest, config)
}

/// Files of a gzip layer with their content, and the digest before packing.
fn layer(bytes: &[u8]) -> (Vec<(String, Vec<u8>)>, String) {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    let digest: String = Sha256::digest(&plain).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut files = Vec::new();
    for entry in tar::Archive::new(&plain[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.push((name, content));
    }
    files.sort();
    (files, format!("sha256:{digest}"))
}

/// All that is told of a checkpoint but what the engine's packing adds to it.
fn told(archive: &str) -> Value {
    let ran = cryoscope(&["inspect", "--all", "--json", archive]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut told: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(told["issues"].as_array().unwrap().iter().all(|issue| !issue.to_string().contains("SHA-256")), "{told}");
    for key in ["evidence", "coverage"] {
        told.as_object_mut().unwrap().remove(key);
    }
    told["container"].as_object_mut().unwrap().remove("annotations");
    told["rootfs_diff"].as_object_mut().map(|diff| diff.remove("archive"));
    told
}

fn assert_same(one: &Value, other: &Value, what: &str) {
    for (key, value) in one.as_object().unwrap() {
        assert!(*value == other[key], "{what}: {key} differs");
    }
}

#[test]
fn images_show_the_container_of_the_original_and_skopeo_copies_them() {
    for (name, engine) in OF_ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let (archive, layout) = (path(&dir, "image.tar"), path(&dir, "layout"));
        let before = Sha256::digest(fs::read(fixture(name)).unwrap());
        let report = handed(&fixture(name), "oci", &["-o", &archive]);
        assert_eq!(report["engine"], engine, "{name}");
        assert_eq!(report["issues"], json!([]), "{name}");
        let commands = report["commands"].as_array().unwrap();
        let is_podman =
            commands.iter().any(|line| line.to_string().contains("podman container restore --name thawed-"));
        assert_eq!(is_podman, engine == "podman", "{name} {commands:?}");
        let again = handed(&fixture(name), "oci", &["-o", &layout]);
        assert_eq!(report["image"]["manifest_digest"], again["image"]["manifest_digest"], "{name}");
        assert_eq!(Sha256::digest(fs::read(fixture(name)).unwrap()), before, "{name}");

        let (original, image) = (told(&fixture(name)), told(&archive));
        assert_same(&original, &image, name);
        assert_same(&original, &told(&layout), name);

        let (index, manifest, config) = documents(Path::new(&layout));
        for of in [&index["annotations"], &index["manifests"][0]["annotations"], &manifest["annotations"]] {
            for key in [
                "io.kubernetes.cri-o.annotations.checkpoint.name",
                "io.podman.annotations.checkpoint.name",
                "org.criu.checkpoint.container.name",
            ] {
                assert_eq!(of[key], original["container"]["name"], "{name} {key}");
            }
            assert_eq!(of["org.criu.checkpoint.engine.name"], engine);
        }
        let (_, diff_id) = layer(&blob(Path::new(&layout), &manifest["layers"][0]["digest"]));
        assert_eq!(config["rootfs"]["diff_ids"], json!([diff_id]), "{name}");
        assert_eq!((&config["architecture"], &config["os"]), (&json!("amd64"), &json!("linux")));

        for (transport, from) in [("oci-archive", &archive), ("oci", &layout)] {
            let from = format!("{transport}:{from}");
            let raw: Value = serde_json::from_slice(&skopeo(&["inspect", "--raw", &from])).unwrap();
            assert_eq!(raw, manifest, "{from}");
            let copy = path(&dir, &format!("copy-of-{transport}"));
            skopeo(&["copy", "-q", &from, &format!("oci:{copy}:x")]);
            let copied = json_of(&Path::new(&copy).join("index.json"));
            assert_eq!(copied["manifests"][0]["digest"], report["image"]["manifest_digest"], "{from}");
            assert_same(&original, &told(&copy), &from);
        }
    }
}

#[test]
fn the_same_checkpoint_gives_the_same_image_however_it_was_packed() {
    let dir = tempfile::tempdir().unwrap();
    let ends = ["", ".gz", ".xz", ".bz2", ".zst"];
    let archives: Vec<String> = ends.iter().map(|end| fixture(&format!("compressed.tar{end}"))).collect();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for (number, archive) in archives.iter().enumerate() {
        let to = path(&dir, &format!("{number}.tar"));
        handed(archive, "oci", &["-o", &to]);
        seen.push(fs::read(&to).unwrap());
    }
    assert!(seen.iter().all(|bytes| *bytes == seen[0]));
    let unpacked = dir.path().join("unpacked");
    tar::Archive::new(fs::File::open(&archives[0]).unwrap()).unpack(&unpacked).unwrap();
    let to = path(&dir, "of-directory");
    handed(unpacked.to_str().unwrap(), "oci", &["-o", &to]);
    assert_same(&told(&archives[0]), &told(&to), "directory");
    for how in ["zstd", "none"] {
        let to = path(&dir, how);
        let report = handed(&archives[0], "oci", &["-o", &to, "--compress", how]);
        let first = handed(&archives[0], "oci", &["-o", &path(&dir, "x.tar"), "--force"]);
        assert_eq!(report["image"]["diff_id"], first["image"]["diff_id"], "{how}");
        assert_same(&told(&archives[0]), &told(&to), how);
        skopeo(&["copy", "-q", &format!("oci:{to}"), &format!("oci:{}:x", path(&dir, &format!("copy-{how}")))]);
    }
}

#[test]
fn images_have_what_those_of_podman_and_buildah_have() {
    for (name, compressed) in [("podman-oci.tar", false), ("crio-checkpoint-oci.tar.zst", true)] {
        let dir = tempfile::tempdir().unwrap();
        let original = dir.path().join("original");
        let file = fs::File::open(fixture(name)).unwrap();
        let tar: Box<dyn Read> = if compressed { Box::new(zstd::Decoder::new(file).unwrap()) } else { Box::new(file) };
        tar::Archive::new(tar).unpack(&original).unwrap();
        let ours = dir.path().join("ours");
        handed(&fixture(name), "oci", &["-o", ours.to_str().unwrap()]);
        let ((_, theirs, _), (_, manifest, _)) = (documents(&original), documents(&ours));
        let annotations = theirs["annotations"].as_object().unwrap();
        let names = annotations.iter().filter(|(key, _)| key.contains("annotations.checkpoint."));
        let mut seen = 0;
        for (key, value) in names {
            // Podman's name of a runtime has line feeds, which are spelled here.
            assert_eq!(manifest["annotations"][key], value.as_str().unwrap().replace('\n', "\\n"), "{key}");
            seen += 1;
        }
        assert!(seen > 0, "{name}");
        let digest = |manifest: &Value| manifest["layers"][0]["digest"].clone();
        assert_eq!(manifest["layers"][0]["mediaType"], theirs["layers"][0]["mediaType"]);
        let (theirs, ours) = (layer(&blob(&original, &digest(&theirs))), layer(&blob(&ours, &digest(&manifest))));
        assert_eq!(theirs.0, ours.0, "{name}");
    }
}

/// A real checkpoint with other files, and members that `add` puts in behind.
fn rebuilt(
    dir: &TempDir,
    of: &str,
    replaced: &[(&str, Vec<u8>)],
    add: impl FnOnce(&mut tar::Builder<Vec<u8>>),
) -> String {
    let mut parts = Parts::of(of);
    for (name, bytes) in replaced {
        parts.0.insert((*name).to_owned(), bytes.clone().into());
    }
    let mut tar = builder(Vec::new());
    for (name, bytes) in &parts.0 {
        tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
    }
    add(&mut tar);
    let to = path(dir, "rebuilt.tar");
    fs::write(&to, tar.into_inner().unwrap()).unwrap();
    to
}

fn changed(of: &str, name: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&Parts::of(of).0[name]).unwrap();
    change(&mut value);
    serde_json::to_vec(&value).unwrap()
}

fn link(tar: &mut tar::Builder<Vec<u8>>, name: &str, target: &str) {
    let mut header = header(0);
    header.set_entry_type(EntryType::Symlink);
    header.set_link_name_literal(target).unwrap();
    tar.append_data(&mut header, name, &[][..]).unwrap();
}

#[test]
fn what_attacks_an_engine_is_refused_until_it_is_allowed_and_the_image_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let spec = changed("crio-crun-loop.tar", "spec.dump", |spec| {
        spec["hooks"] = json!({"prestart": [{"path": "/bin/sh"}]});
        spec["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
    });
    let archive = rebuilt(&dir, "crio-crun-loop.tar", &[("spec.dump", spec)], |tar| {
        link(tar, "out", "/etc");
        tar.append_data(&mut header(4), "out/x", &b"evil"[..]).unwrap();
        link(tar, "checkpoint/inside", "../config.dump");
        tar.append_data(&mut header(4), ".wh.config.dump", &b"evil"[..]).unwrap();
        let mut device = header(0);
        device.set_entry_type(EntryType::Char);
        device.set_device_major(1).unwrap();
        device.set_device_minor(3).unwrap();
        tar.append_data(&mut device, "null", &[][..]).unwrap();
    });
    let out = path(&dir, "image");
    let ids = ["through-link@out/x", "hooks@spec.dump:/hooks/prestart/0", "host-access@spec.dump:CAP_SYS_ADMIN"];
    for to in ["oci", "crictl"] {
        refused(&archive, to, &["-o", &out], &ids);
        refused(&archive, to, &["-o", &out, "--allow", ids[0], "--allow", ids[1]], &[ids[2], "--allow ID"]);
        refused(&archive, to, &["-o", &out, "--allow", "hooks@nothing"], &["there is no such danger"]);
    }
    refused(&archive, "pod", &["--image", "r.example/x:1"], &ids);
    assert!(!Path::new(&out).exists());

    let allow: Vec<&str> = ids.iter().flat_map(|id| ["--allow", id]).collect();
    let report = handed(&archive, "oci", &[&allow[..], &["-o", &out]].concat());
    assert_eq!(report["allowed"], json!([ids[0], ids[1], ids[2]]));
    let (index, manifest, config) = documents(Path::new(&out));
    let said = json!(ids.join("\n"));
    for of in [&index["annotations"], &manifest["annotations"], &config["config"]["Labels"]] {
        assert_eq!(of["cryoscope.hand-over.allowed"], said);
    }
    let (files, _) = layer(&blob(Path::new(&out), &manifest["layers"][0]["digest"]));
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"checkpoint/inside") && names.contains(&"out/x"), "{names:?}");
    for left_out in ["out", ".wh.config.dump", "null"] {
        assert!(!names.contains(&left_out), "{left_out}");
        assert!(report["issues"].to_string().contains(&format!("\"{left_out}: is left out of the layer")), "{report}");
    }
    let pod = hand_over(&archive, "pod", &[&allow[..], &["--image", "r.example/x:1"]].concat());
    assert!(pod.out.contains("cryoscope.hand-over.allowed: \"through-link@out/x\\nhooks@"), "{}", pod.out);
}

#[test]
fn odd_names_stay_texts() {
    let dir = tempfile::tempdir().unwrap();
    let odd = "x\"\n- evil: true\u{1b}[2J\u{202e}\u{85}'$(id)";
    let spec = changed("crio-crun-loop.tar", "spec.dump", |spec| {
        spec["annotations"]["io.kubernetes.container.name"] = json!(odd);
        spec["annotations"]["io.kubernetes.pod.name"] = json!("p".repeat(1 << 20));
    });
    let mounts = json!([
        {"source": "/run/containers/storage/x", "destination": odd, "file_type": "file"},
        {"source": "/run/containers/storage/x", "destination": "/a/../../etc", "file_type": "file"},
        {"source": "/run/containers/storage/x", "destination": format!("/{odd}"), "file_type": "directory"},
    ]);
    let replaced = [("spec.dump", spec), ("bind.mounts", serde_json::to_vec(&mounts).unwrap())];
    let archive = rebuilt(&dir, "crio-crun-loop.tar", &replaced, |_| {});
    let layout = path(&dir, "image");
    let report = handed(&archive, "oci", &["-o", &layout]);
    assert_eq!(report["image"]["reference"], "localhost/checkpoint/x-evil-true-2j-id:latest");
    let annotations = report["image"]["annotations"].as_object().unwrap();
    for (key, value) in annotations {
        let value = value.as_str().unwrap();
        assert!(value.len() <= 8192 && !value.chars().any(char::is_control), "{key}: {value}");
    }
    skopeo(&["inspect", &format!("oci:{layout}")]);

    let out = path(&dir, "crictl");
    let report = handed(&archive, "crictl", &["-o", &out]);
    assert_eq!(report["mounts"].as_array().unwrap().len(), 1, "{report}");
    let stand_in = Path::new(&out).join(report["mounts"][0]["stand_in"].as_str().unwrap());
    assert!(stand_in.is_dir() && stand_in.starts_with(&out), "{}", stand_in.display());
    let pod = hand_over(&archive, "pod", &["--image", "r.example/x:1"]);
    assert_eq!(pod.code, 0, "{}", pod.err);
    assert!(!pod.out.contains("\n- evil") && !pod.out.contains('\u{1b}') && !pod.out.contains('\u{85}'), "{}", pod.out);
    refused(&archive, "pod", &["--image", "a b\nkind: evil"], &["is no name of an image"]);
}

#[test]
fn outputs_are_whole_or_not_there_and_never_replaced_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let archive = fixture("crio-crun-loop.tar");
    for name in ["image.tar", "layout"] {
        let out = path(&dir, name);
        handed(&archive, "oci", &["-o", &out]);
        let (ran, list) = (hand_over(&archive, "oci", &["-o", &out]), files(dir.path()));
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("exists; --force replaces it"), "{}", ran.err);
        handed(&fixture("counter.tar.zst"), "oci", &["-o", &out, "--force"]);
        assert_same(&told(&out), &told(&fixture("counter.tar.zst")), name);
        assert_eq!(files(dir.path()).len(), list.len(), "{:?}", files(dir.path()));
    }
    let mine = dir.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("notes"), "x").unwrap();
    refused(&archive, "oci", &["-o", mine.to_str().unwrap(), "--force"], &["is not an OCI image layout"]);
    assert!(mine.join("notes").exists());

    // In the evidence, or over it.
    let unpacked = dir.path().join("evidence");
    tar::Archive::new(fs::File::open(&archive).unwrap()).unpack(&unpacked).unwrap();
    let evidence = unpacked.to_str().unwrap();
    for to in ["new.tar", "checkpoint/new"] {
        let to = unpacked.join(to);
        refused(evidence, "oci", &["-o", to.to_str().unwrap()], &["lies in the evidence"]);
    }
    let copy = path(&dir, "copy.tar");
    fs::copy(&archive, &copy).unwrap();
    refused(&copy, "oci", &["-o", &copy, "--force"], &["lies in the evidence"]);
    refused(&copy, "pod", &["-o", &copy, "--force", "--image", "r.example/x:1"], &["lies in the evidence"]);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&archive).unwrap());
}

#[test]
fn a_full_disk_leaves_nothing() {
    for name in ["image.tar", "layout"] {
        let dir = tempfile::tempdir().unwrap();
        // No more than 64 KiB a file; the shell's way of saying that a write fails.
        let script = "trap '' XFSZ; ulimit -f 128; exec \"$@\"";
        let (program, archive, out) =
            (env!("CARGO_BIN_EXE_cryoscope"), fixture("crio-crun-loop.tar"), path(&dir, name));
        let words =
            ["-c", script, "sh", program, "sandbox", "hand-over", &archive, "--to", "oci", "--compress", "none"];
        let ran = Command::new("sh").args(words).args(["-o", &out]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains(&out) && said.contains("File too large"), "{said}");
        assert_eq!(files(dir.path()), [] as [PathBuf; 0]);
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn crictl_gets_files_with_every_mount_that_the_kubelet_made() {
    for (name, runtime) in [("crio-crun-loop.tar", "crun"), ("containerd-runc-loop.tar", "runc")] {
        let dir = tempfile::tempdir().unwrap();
        let out = path(&dir, "restore");
        let report = handed(&fixture(name), "crictl", &["-o", &out, "--node-dir", "/root/it's here"]);
        let (pod, container) = (
            json_of(&Path::new(&out).join("pod-config.json")),
            json_of(&Path::new(&out).join("container-config.json")),
        );
        for of in [&pod, &container] {
            assert_eq!(of["linux"]["security_context"]["namespace_options"]["pid"], 1);
        }
        assert_eq!(pod["log_directory"], "/root/it's here/logs");
        assert_eq!(container["image"]["image"], fixture(name));
        let mounts = container["mounts"].as_array().unwrap();
        let paths: Vec<&str> = mounts.iter().map(|mount| mount["container_path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/etc/hosts", "/dev/termination-log"]);
        for mount in mounts {
            let host = mount["host_path"].as_str().unwrap().strip_prefix("/root/it's here/").unwrap();
            assert!(Path::new(&out).join(host).is_file(), "{host}");
        }
        let commands: Vec<&str> =
            report["commands"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        assert_eq!(
            commands[0],
            format!(r"pod=$(crictl runp --runtime {runtime} '/root/it'\''s here/pod-config.json')")
        );
        assert!(commands[1].starts_with("container=$(crictl create \"$pod\" "), "{commands:?}");
        assert_eq!(commands[2], "crictl start \"$container\"");
        refused(&fixture(name), "crictl", &["-o", &out], &["pod-config.json: exists; --force"]);
        let report = handed(&fixture(name), "crictl", &["-o", &out, "--force", "--image", "r.example/x:1"]);
        assert_eq!(report["commands"][0], "crictl pull r.example/x:1");
        assert_eq!(json_of(&Path::new(&out).join("container-config.json"))["image"]["image"], "r.example/x:1");
    }
}

#[test]
fn pods_have_no_token_and_nothing_of_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = json!([
        {"source": "/var/lib/kubelet/pods/1/etc-hosts", "destination": "/etc/hosts", "file_type": "file"},
        {"source": "/var/lib/kubelet/pods/1/volumes/x", "destination": "/var/run/secrets/kubernetes.io/serviceaccount",
         "file_type": "directory"},
        {"source": "/var/lib/kubelet/pods/1/volumes/y", "destination": "/etc/app.conf", "file_type": "file"},
    ]);
    let replaced = [("bind.mounts", serde_json::to_vec(&mounts).unwrap())];
    let archive = rebuilt(&dir, "crio-crun-loop.tar", &replaced, |_| {});
    let out = path(&dir, "pod.yaml");
    let report = handed(&archive, "pod", &["--image", "r.example/x:1", "--node", "node-a", "-o", &out]);
    let text = fs::read_to_string(&out).unwrap();
    for line in [
        "  automountServiceAccountToken: false",
        "  enableServiceLinks: false",
        "  hostNetwork: false",
        "    kubernetes.io/arch: amd64",
        "    kubernetes.io/hostname: node-a",
        "      image: \"r.example/x:1\"",
        "          mountPath: \"/var/run/secrets/kubernetes.io/serviceaccount\"",
        "    - name: stand-in-0",
        "    - Egress",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("hostPath") && !text.contains("/etc/hosts"), "{text}");
    assert!(report["notes"].to_string().contains("/etc/app.conf was a file of a volume"), "{report}");
    refused(&archive, "pod", &["--image", "r.example/x:1", "-o", &out], &["exists; --force"]);
    refused(&archive, "pod", &[], &["--image", "--push"]);
}

#[test]
fn podman_restores_in_a_network_that_leads_nowhere_or_not_at_all() {
    let report = handed(&fixture("counter.tar.zst"), "podman", &[]);
    let line = report["commands"][0].as_str().unwrap();
    assert!(line.starts_with("unshare --net -- sh -c 'ip link set lo up && exec \"$@\"' sh podman container restore "));
    assert!(line.ends_with("/fixtures/counter.tar.zst --name thawed-counter"), "{line}");
    let report = handed(&fixture("compromised-webapp.tar.zst"), "podman", &[]);
    assert!(report["commands"][0].as_str().unwrap().ends_with(" --file-locks --tcp-established"), "{report}");

    let dir = tempfile::tempdir().unwrap();
    let spec = changed("compressed.tar", "spec.dump", |spec| {
        spec["linux"]["namespaces"][0]["path"] = json!("/proc/77/ns/pid");
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"type": "bind", "source": "/srv/data", "destination": "/data", "options": ["rbind"]}));
    });
    let archive = rebuilt(&dir, "compressed.tar", &[("spec.dump", spec)], |_| {});
    let ids = ["host-bind@/data", "host-namespace@pid"];
    refused(&archive, "podman", &[], &ids);
    refused(&archive, "podman", &["--allow", ids[0]], &[ids[1]]);
    let report = handed(&archive, "podman", &["--allow", ids[0], "--allow", ids[1]]);
    assert_eq!(report["allowed"], json!(ids));
}

#[test]
fn checkpoints_go_only_to_those_who_can_restore_them() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "x");
    for (name, to, words) in [
        ("counter.tar.zst", "crictl", ["was written by Podman", "--to podman, or --to oci"]),
        ("crio-crun-loop.tar", "podman", ["was written by CRI-O", "--to crictl, --to pod or --to oci"]),
        ("docker-checkpoint.tar", "oci", ["neither Podman, CRI-O nor containerd wrote it", "sandbox run"]),
        ("criu-plain", "oci", ["neither Podman, CRI-O nor containerd wrote it", "sandbox run"]),
        ("crio-checkpoint-oci.tar.zst", "crictl", ["no checkpoint archive that an engine opens", "--to oci"]),
        ("podman-oci.tar", "podman", ["no checkpoint archive that Podman imports", "--to oci"]),
    ] {
        let more: &[&str] = if to == "podman" { &[] } else { &["-o", &out] };
        refused(&fixture(name), to, more, &[&[name][..], &words].concat());
    }
    let with_parent = rebuilt(&dir, "compressed.tar", &[], |tar| link(tar, "checkpoint/parent", "../pre-checkpoint"));
    refused(&with_parent, "oci", &["-o", &out], &["was taken on top of other checkpoints"]);
    refused(&fixture("counter.tar.zst"), "oci", &[], &["needs --output, --push or both"]);
    refused(&fixture("counter.tar.zst"), "oci", &["--run", "-o", &out], &["--run: is for --to podman"]);
    assert!(!Path::new(&out).exists());
}
