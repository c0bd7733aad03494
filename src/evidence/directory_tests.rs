//! Directories, and what files and directories that do not open say.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::testing::*;
use super::*;

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut file = File::options().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(content.as_ref()).unwrap();
}

#[test]
fn a_directory_is_listed_in_order_and_read_without_following_links() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("checkpoint")).unwrap();
    write(at("checkpoint/small.img"), b"small");
    write(at("checkpoint/pages-1.img"), noise(300_000));
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
    write(dir.path().join("b/x"), b"x");
    write(dir.path().join("b\\c"), b"");
    write(dir.path().join("a"), b"a");
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
    write(&empty, b"");
    check(&empty, "is empty (0 bytes)");
    // Root may read everything, so there is nothing to see then.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    if dir.path().read_dir().is_err() {
        check(dir.path(), "no permission");
    }
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn opening_leaves_the_access_time_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), Tar::new().file("a", &noise(9000)).end());
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let times = std::fs::FileTimes::new().set_accessed(old);
    file.as_file().set_times(times).unwrap();
    let evidence = Evidence::open(file.path(), &OpenOptions::default(), &Silent).unwrap();
    evidence.read(&evidence.members()[0]).unwrap().to_vec();
    evidence.sha256(&Silent).unwrap();
    assert_eq!(std::fs::metadata(file.path()).unwrap().accessed().unwrap(), old);
}
