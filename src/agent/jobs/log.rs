//! dump.log out of an archive, whatever it is packed with.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

/// Names under which engines put criu's log.
const NAMES: [&str; 2] = ["dump.log", "./dump.log"];
/// Most of a log that is kept: its end decides.
const MAX_LOG_BYTES: usize = 4 << 20;
/// So much is unpacked at most to come to the log.
const MAX_UNPACKED_BYTES: u64 = 64 << 30;

/// The end of criu's log in an archive; none when there is none.
///
/// # Errors
/// The archive cannot be read.
pub fn archive_log(file: &mut File) -> io::Result<Option<String>> {
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    let n = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let found = match &magic[..n] {
        [0x28, 0xb5, 0x2f, 0xfd] => find(packed(zstd::Decoder::new(&mut *file)?)),
        [0x1f, 0x8b, ..] => find(packed(flate2::read::MultiGzDecoder::new(BufReader::new(&mut *file)))),
        _ => {
            let mut archive = tar::Archive::new(&mut *file);
            // Members are passed over without being read.
            let mut found = None;
            for entry in archive.entries_with_seek()? {
                let mut entry = entry?;
                if NAMES.iter().any(|name| entry.path_bytes().as_ref() == name.as_bytes()) {
                    found = Some(end_of(&mut entry)?);
                    break;
                }
            }
            Ok(found)
        }
    };
    file.seek(SeekFrom::Start(0))?;
    found
}

fn packed(reader: impl Read) -> tar::Archive<impl Read> {
    tar::Archive::new(reader.take(MAX_UNPACKED_BYTES))
}

fn find(mut archive: tar::Archive<impl Read>) -> io::Result<Option<String>> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        if NAMES.iter().any(|name| entry.path_bytes().as_ref() == name.as_bytes()) {
            return end_of(&mut entry).map(Some);
        }
    }
    Ok(None)
}

fn end_of(log: &mut dyn Read) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = log.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..n]);
        if 2 * MAX_LOG_BYTES < kept.len() {
            kept.drain(..kept.len() - MAX_LOG_BYTES);
        }
    }
    kept.drain(..kept.len().saturating_sub(MAX_LOG_BYTES));
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tar_of(name: &str, log: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in [("checkpoint/pages-1.img", &[0; 5000][..]), (name, log)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn log(bytes: &[u8]) -> io::Result<Option<String>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        archive_log(&mut file)
    }

    #[test]
    fn log_is_found_whatever_the_archive_is_packed_with() {
        let plain = tar_of("dump.log", b"Dumping finished successfully\n");
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        for bytes in [&plain, &zstd, &gzip.finish().unwrap()] {
            assert_eq!(log(bytes).unwrap().as_deref(), Some("Dumping finished successfully\n"));
        }
        assert_eq!(log(&tar_of("other.log", b"x")).unwrap(), None);
        assert!(log(&zstd[..zstd.len() / 2]).is_err());
    }

    #[test]
    fn of_a_long_log_the_end_is_kept() {
        let found = log(&tar_of("dump.log", &[b"x".repeat(20 << 20), b"end\n".to_vec()].concat())).unwrap().unwrap();
        assert!(found.len() <= MAX_LOG_BYTES && found.ends_with("xend\n"));
    }
}
