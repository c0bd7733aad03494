//! Where checkpoints are found: beside the files of each engine, in images, in archives inside.

use super::testing::*;
use super::*;

fn roots(bytes: Vec<u8>) -> (Vec<CheckpointRoot>, String) {
    let (found, issues) = find_checkpoints(&open(bytes), &OpenOptions::default(), &Silent).unwrap();
    (found, issues.iter().map(|issue| format!("{issue}\n")).collect())
}

/// `name: images_dir base_dir parent_dir` of each checkpoint.
fn shown(bytes: Vec<u8>) -> String {
    let (found, issues) = roots(bytes);
    let line = |root: &CheckpointRoot| {
        let parent = root.parent_dir.as_deref().map_or("-".into(), escape);
        format!("{}: {:?} {:?} {}\n", root.evidence.name(), escape(&root.images_dir), escape(&root.base_dir), parent)
    };
    found.iter().map(line).collect::<String>() + &issues
}

#[test]
fn checkpoints_are_found_where_the_engines_put_them() {
    let check = |tar: Tar, expected: &str| assert_eq!(shown(tar.end()), expected);
    check(
        Tar::new().file("config.dump", b"{}").file("checkpoint/inventory.img", b""),
        "test.tar: \"checkpoint\" \"\" -\n",
    );
    check(Tar::new().file("inventory.img", b"").file("pages-1.img", b""), "test.tar: \"\" \"\" -\n");
    check(
        Tar::new()
            .file("one/checkpoint/inventory.img", b"")
            .file("two/checkpoint/inventory.img", b"")
            .file("pod.dump", b""),
        "test.tar: \"one/checkpoint\" \"one\" -\ntest.tar: \"two/checkpoint\" \"two\" -\n",
    );
    check(
        Tar::new().file("checkpoints/cp1/inventory.img", b""),
        "test.tar: \"checkpoints/cp1\" \"checkpoints/cp1\" -\n",
    );
    check(Tar::new().file("pre-checkpoint/pagemap-1.img", b""), "test.tar: \"pre-checkpoint\" \"\" -\n");
    check(Tar::new().file("failed/files.img", &0x5456_4319_u32.to_le_bytes()), "test.tar: \"failed\" \"failed\" -\n");
    check(Tar::new().file("disks/files.img", b"a disk").file("x/pagemap-one.img", b"").file("readme", b""), "");
}

#[test]
fn parents_are_part_of_their_child_and_circles_hide_nothing() {
    let tar = Tar::new()
        .file("pre-checkpoint/inventory.img", b"")
        .file("checkpoint/inventory.img", b"")
        .symlink("checkpoint/parent", "../pre-checkpoint");
    assert_eq!(shown(tar.end()), "test.tar: \"checkpoint\" \"\" pre-checkpoint\n");
    let tar = Tar::new()
        .file("a/inventory.img", b"")
        .file("b/inventory.img", b"")
        .symlink("a/parent", "../b")
        .symlink("b/parent", "../a");
    let circle = shown(tar.end());
    assert!(circle.starts_with("test.tar: \"a\" \"a\" b\ntest.tar: \"b\" \"b\" a\n"), "{circle}");
    assert!(circle.contains("a/parent: parent checkpoints go in a circle"), "{circle}");
}

#[test]
fn a_checkpoint_in_an_archive_in_an_archive_is_found_and_not_deeper() {
    let inner = Tar::new().file("checkpoint/inventory.img", b"").end();
    let packed = compress(&inner, Compression::Zstd);
    let outer = Tar::new().file("readme", b"hello").file("sent/cp.tar", &packed).end();
    assert_eq!(shown(outer.clone()), "test.tar!sent/cp.tar: \"checkpoint\" \"\" -\n");
    assert_eq!(shown(Tar::new().file("deeper", &outer).end()), "");
}

fn sha256_hex(bytes: &[u8]) -> String {
    crate::base::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

#[test]
fn a_checkpoint_in_a_layer_of_an_oci_image_is_found_with_its_annotations() {
    let layer = compress(&Tar::new().file("checkpoint/inventory.img", b"").end(), Compression::Gzip);
    let config = br#"{"architecture":"amd64"}"#;
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}"}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:{}"}}],
        "annotations":{{"io.kubernetes.cri-o.annotations.checkpoint.name":"counter"}}}}"#,
        sha256_hex(config),
        sha256_hex(&layer)
    );
    let image = |digest: &str| {
        let index = format!(
            r#"{{"manifests":[{{"digest":"sha256:{digest}","annotations":{{"org.opencontainers.image.ref.name":"cp:1"}}}}]}}"#
        );
        Tar::new()
            .file("oci-layout", b"{}")
            .file("index.json", index.as_bytes())
            .file(&format!("blobs/sha256/{digest}"), manifest.as_bytes())
            .file(&format!("blobs/sha256/{}", sha256_hex(config)), config)
            .file(&format!("blobs/sha256/{}", sha256_hex(&layer)), &layer)
            .end()
    };
    let (found, issues) = roots(image(&sha256_hex(manifest.as_bytes())));
    assert_eq!(issues, "");
    let [root] = &found[..] else { panic!("{found:?}") };
    let oci = root.oci.as_ref().unwrap();
    assert_eq!(oci.reference.as_deref(), Some("cp:1"));
    assert_eq!(oci.annotation("io.kubernetes.cri-o.annotations.checkpoint.name"), Some("counter"));
    assert_eq!(oci.config.as_deref(), Some(&config[..]));
    assert_eq!(oci.layer_digest, Some(format!("sha256:{}", sha256_hex(&layer))));

    let (found, issues) = roots(image(&"0".repeat(64)));
    assert_eq!(found.len(), 1);
    assert!(issues.contains("its SHA-256 is"), "{issues}");
}

#[test]
fn a_checkpoint_in_a_docker_archive_is_found_through_links() {
    let layer = Tar::new().file("checkpoint/inventory.img", b"").end();
    let manifest = br#"[{"Config":"c.json","RepoTags":["cp:2"],"Layers":["one/layer.tar","gone/layer.tar"]}]"#;
    let tar =
        Tar::new().file("manifest.json", manifest).file("c.json", b"{}").symlink("one/layer.tar", "../two/layer.tar");
    let (found, issues) = roots(tar.file("two/layer.tar", &layer).end());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].oci.as_ref().unwrap().reference.as_deref(), Some("cp:2"));
    assert_eq!(issues, "manifest.json: names the layer gone/layer.tar, which is missing\n");
}

#[test]
fn indexes_that_contain_themselves_end() {
    let index = br#"{"manifests":[{"digest":"sha256:aa"},{"digest":"sha256:aa"},{"digest":"../x:y"},{}]}"#;
    let tar = Tar::new().file("oci-layout", b"{}").file("index.json", index).file("blobs/sha256/aa", index);
    let (found, issues) = roots(tar.end());
    assert_eq!(found.len(), 0);
    assert!(issues.contains("nested more than 4 deep"));
    assert!(issues.contains("no usable digest"));
}
