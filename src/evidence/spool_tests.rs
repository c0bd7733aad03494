//! Compressed archives, streams, limits, directories, and where checkpoints are found.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::testing::*;
use super::*;
use crate::base::{Cancelled, Silent};

const ALL: [Compression; 4] = [Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Bzip2];

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(next).collect()
}

fn options_in(dir: &Path) -> OpenOptions {
    OpenOptions { cache_dir: Some(dir.to_owned()), ..OpenOptions::default() }
}

fn open_with(bytes: Vec<u8>, options: &OpenOptions) -> Result<Evidence, OpenError> {
    Evidence::open_bytes("test.tar.x", bytes.into(), options, &Silent)
}

#[test]
fn every_compression_opens_also_in_several_streams_and_from_a_pipe() {
    let tar = Tar::new().file("a", b"hello").file("b", &noise(3000)).end();
    let (first, second) = tar.split_at(1000);
    for compression in ALL {
        let whole = compress(&tar, compression);
        let parts = [compress(first, compression), compress(second, compression)].concat();
        for bytes in [whole, parts] {
            let reader = Box::new(io::Cursor::new(bytes.clone()));
            let piped = Evidence::open_reader("-", reader, &OpenOptions::default(), &Silent).unwrap();
            let opened = open(bytes.clone());
            for evidence in [piped, opened] {
                assert_eq!(evidence.issues(), [], "{compression}");
                assert_eq!(evidence.compression(), compression);
                assert_eq!(evidence.size_bytes(), bytes.len() as u64);
                assert_eq!(evidence.members().len(), 2);
                assert_eq!(&evidence.read(&evidence.members()[1]).unwrap()[..], noise(3000));
                let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&bytes).into();
                assert_eq!(evidence.sha256(&Silent).unwrap(), expected, "{compression}");
            }
        }
    }
}

#[test]
fn a_plain_archive_from_a_pipe_is_read_and_hashed() {
    let tar = Tar::new().file("a", b"hello").end();
    let evidence =
        Evidence::open_reader("-", Box::new(io::Cursor::new(tar.clone())), &OpenOptions::default(), &Silent).unwrap();
    assert_eq!((evidence.compression(), evidence.size_bytes()), (Compression::None, tar.len() as u64));
    let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&tar).into();
    assert_eq!(evidence.sha256(&Silent).unwrap(), expected);
}

#[test]
fn a_cut_or_damaged_stream_keeps_what_came_out_before() {
    let tar = Tar::new().file("a", b"hello").file("b", &noise(3 << 20)).file("c", b"c").end();
    for compression in ALL {
        let mut bytes = compress(&tar, compression);
        bytes.truncate(bytes.len() * 3 / 4);
        let evidence = open(bytes.clone());
        assert_eq!(evidence.members().len(), 2, "{compression}");
        let there = evidence.members()[1].truncated.unwrap();
        assert!(1 << 20 < there, "{compression}: {there}");
        assert_eq!(&evidence.read(&evidence.members()[1]).unwrap()[..], &noise(3 << 20)[..there as usize]);
        assert!(issues(&evidence).contains("stream is damaged or cut off here"), "{}", issues(&evidence));
        let half = bytes.len() / 2;
        bytes[half..half + 64].fill(0);
        fuzz_tar_index(&bytes);
    }
}

#[test]
fn bytes_behind_a_stream_are_an_issue() {
    for compression in ALL {
        let mut bytes = compress(&Tar::new().file("a", b"hello").end(), compression);
        bytes.extend_from_slice(b"garbage garbage garbage");
        let evidence = open(bytes);
        assert_eq!(evidence.members().len(), 1, "{compression}");
        assert_ne!(evidence.issues(), [], "{compression}");
    }
}

#[test]
fn a_large_archive_goes_through_the_cache_directory_and_leaves_nothing_there() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().join("made/when/needed");
    let content = noise(1 << 20);
    let mut tar = Tar::new();
    for number in 0..80 {
        tar = tar.file(&format!("pages-{number}.img"), &content);
    }
    let bytes = compress(&tar.end(), Compression::Zstd);
    let evidence = open_with(bytes, &options_in(&dir)).unwrap();
    assert_eq!(evidence.members().len(), 80);
    assert_eq!(&evidence.read(&evidence.members()[79]).unwrap()[..], content);
    assert_eq!(evidence.issues(), []);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn bombs_stop_at_the_ratio_and_at_the_size_and_say_the_numbers() {
    let cache = tempfile::tempdir().unwrap();
    let zeros = Tar::new().file("pages-1.img", &vec![0; 80 << 20]).end();
    let bytes = compress(&zeros, Compression::Zstd);
    assert!(bytes.len() < 80 << 10);
    let err = open_with(bytes.clone(), &options_in(cache.path())).unwrap_err();
    assert!(matches!(err, OpenError::RatioTooHigh { limit: 1000, .. }), "{err}");
    assert!(err.to_string().contains("more than 1000 to 1"), "{err}");
    let options = OpenOptions { max_spool_bytes: 1 << 20, ..options_in(cache.path()) };
    let err = open_with(bytes.clone(), &options).unwrap_err();
    assert!(matches!(err, OpenError::TooLarge { limit_bytes: 1_048_576, .. }), "{err}");
    let options = OpenOptions { max_ratio: 1_000_000, ..options_in(cache.path()) };
    assert_eq!(open_with(bytes, &options).unwrap().members().len(), 1);
}

#[test]
fn a_cache_directory_that_cannot_be_used_is_an_error_with_advice() {
    let cache = tempfile::NamedTempFile::new().unwrap();
    let bytes = compress(&Tar::new().file("a", &noise(65 << 20)).end(), Compression::Zstd);
    let err = open_with(bytes, &options_in(cache.path())).unwrap_err();
    assert!(matches!(err, OpenError::CacheDir { .. }), "{err}");
}

struct StopAfter(AtomicU64);

impl Progress for StopAfter {
    fn step(&self, _done: u64, _total: Option<u64>) -> Result<(), Cancelled> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| Cancelled)
    }
}

#[test]
fn cancel_ends_unpacking_at_once() {
    let bytes = compress(&Tar::new().file("a", &noise(8 << 20)).end(), Compression::Zstd);
    let stop = StopAfter(AtomicU64::new(3));
    let err = Evidence::open_bytes("t", bytes.into(), &OpenOptions::default(), &stop).unwrap_err();
    assert!(matches!(err, OpenError::Cancelled(_)), "{err}");
}

#[test]
fn members_are_shown_while_the_stream_runs_the_small_ones_with_content() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let on_member: OnMember = Arc::new(move |member, content| {
        sink.lock().unwrap().push((member.path.clone(), content.map(|content| content.to_vec())));
    });
    let options = OpenOptions { on_member: Some(on_member), ..OpenOptions::default() };
    let tar = Tar::new().file("small", b"hi").file("big", &noise(2 << 20)).file("last", b"").end();
    open_with(compress(&tar, Compression::Gzip), &options).unwrap();
    let expected =
        [(b"small".to_vec(), Some(b"hi".to_vec())), (b"big".to_vec(), None), (b"last".to_vec(), Some(Vec::new()))];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn archives_inside_open_in_any_compression_and_links_to_the_root_are_normal_there() {
    let inner = Tar::new().symlink("bin/sh", "/bin/busybox").file("etc/motd", b"hi").end();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let outer = open(Tar::new().file("rootfs-diff.tar", &compress(&inner, compression)).end());
        let nested = outer.open_nested(&outer.members()[0], &OpenOptions::default(), &Silent).unwrap();
        assert_eq!(nested.name(), "test.tar!rootfs-diff.tar");
        assert_eq!(nested.issues(), []);
        assert_eq!(&nested.read(nested.get(b"etc/motd").unwrap()).unwrap()[..], b"hi");
    }
}

#[test]
fn a_directory_is_listed_in_order_and_read_without_following_links() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("checkpoint")).unwrap();
    std::fs::write(at("checkpoint/small.img"), b"small").unwrap();
    std::fs::write(at("checkpoint/pages-1.img"), noise(300_000)).unwrap();
    symlink("/etc/passwd", at("ctr.log")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let evidence = Evidence::open(dir.path(), &OpenOptions::default(), &Silent).unwrap();
    let paths: Vec<_> = evidence.members().iter().map(|member| member.display_path().into_owned()).collect();
    assert_eq!(paths, ["checkpoint", "ctr.log", "pipe", "checkpoint/pages-1.img", "checkpoint/small.img"]);
    assert_eq!((evidence.form(), evidence.size_bytes()), (Form::Directory, 300_005));
    let read = |path: &str| evidence.read(evidence.get(path.as_bytes()).unwrap());
    assert_eq!(&read("checkpoint/small.img").unwrap()[..], b"small");
    assert_eq!(&read("checkpoint/pages-1.img").unwrap()[..], noise(300_000));
    let pages = evidence.get(b"checkpoint/pages-1.img").unwrap();
    assert_eq!(&evidence.read_range(pages, 1000..1010).unwrap()[..], &noise(300_000)[1000..1010]);
    assert!(matches!(read("ctr.log"), Err(ReadError::NoContent { .. })));
    assert!(matches!(read("pipe"), Err(ReadError::NoContent { .. })));
    assert_eq!(issues(&evidence), "ctr.log: symbolic link out of the directory, to /etc/passwd\n");

    // A file that became a link meanwhile is not followed.
    std::fs::remove_file(at("checkpoint/small.img")).unwrap();
    symlink("/etc/passwd", at("checkpoint/small.img")).unwrap();
    assert!(matches!(read("checkpoint/small.img"), Err(ReadError::Io { .. })));
}

#[test]
fn the_digest_of_a_directory_is_that_of_the_lines_of_sha256sum() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("b")).unwrap();
    std::fs::write(dir.path().join("b/x"), b"x").unwrap();
    std::fs::write(dir.path().join("b\\c"), b"").unwrap();
    std::fs::write(dir.path().join("a"), b"a").unwrap();
    let evidence = Evidence::open(dir.path(), &OpenOptions::default(), &Silent).unwrap();
    // find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum
    let lines = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n\
                 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  b/x\n\
                 \\e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\\\\c\n";
    let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(lines).into();
    assert_eq!(evidence.sha256(&Silent).unwrap(), expected);
}

#[test]
fn directories_deeper_than_the_limit_are_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    let mut options = OpenOptions::default();
    options.limits.max_nesting = 1;
    let evidence = Evidence::open(dir.path(), &options, &Silent).unwrap();
    assert_eq!(issues(&evidence), "a/b: deeper than 1 directories; what lies in it is not listed\n");
}

#[test]
fn what_cannot_be_opened_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let check = |path: &Path, expected: &str| {
        let err = Evidence::open(path, &OpenOptions::default(), &Silent).unwrap_err().to_string();
        assert!(err.contains(expected), "{err}");
    };
    check(&dir.path().join("none"), "no such file or directory");
    check(Path::new("/dev/null"), "is a character device");
    let empty = dir.path().join("empty.tar");
    std::fs::write(&empty, b"").unwrap();
    check(&empty, "is empty (0 bytes)");
    // Root may read everything, so there is nothing to see then.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0)).unwrap();
    if std::fs::read_dir(dir.path()).is_err() {
        check(dir.path(), "no permission");
    }
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn opening_leaves_the_access_time_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), Tar::new().file("a", &noise(9000)).end()).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let times = std::fs::FileTimes::new().set_accessed(old);
    file.as_file().set_times(times).unwrap();
    let evidence = Evidence::open(file.path(), &OpenOptions::default(), &Silent).unwrap();
    evidence.read(&evidence.members()[0]).unwrap().to_vec();
    evidence.sha256(&Silent).unwrap();
    assert_eq!(std::fs::metadata(file.path()).unwrap().accessed().unwrap(), old);
}

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
    check(Tar::new().file("x/pagemap-one.img", b"").file("readme", b""), "");
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
    hash::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
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
