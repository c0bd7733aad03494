//! Compressed archives, streams, limits, cancel, and archives inside.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::testing::*;
use super::*;
use crate::base::Cancelled;

const ALL: [Compression; 4] = [Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Bzip2];

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
    assert_eq!(dir.read_dir().unwrap().count(), 0);
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
        if left.is_ok() { Ok(()) } else { Err(Cancelled) }
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
