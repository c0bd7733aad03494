//! Which compression a stream has, by its first bytes, and its decompressor.

use std::fmt;
use std::io::{self, BufRead, Read};

/// How the evidence is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952; several members in a row are one stream.
    Gzip,
    /// RFC 8878; several frames in a row are one stream.
    Zstd,
    /// The .xz format; several streams in a row are one.
    Xz,
    /// bzip2; several streams in a row are one.
    Bzip2,
}

/// Largest zstd window in powers of two: 512 MiB, four times what `zstd -d` takes unasked.
const MAX_ZSTD_WINDOW_LOG: u32 = 29;
/// Most memory that an xz stream gets; the largest preset of xz needs 65 MiB.
const MAX_XZ_MEMORY_BYTES: u64 = 512 << 20;

impl Compression {
    /// By the magic in the first bytes; `None` where they are none of these.
    pub fn detect(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, 8, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame may stand before the first frame of zstd.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Compression::Bzip2,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, ..] => Compression::Bzip2,
            _ => Compression::None,
        }
    }

    /// A reader of what comes out; `None` copies.
    ///
    /// # Errors
    /// The decompressor cannot be set up.
    pub(super) fn decoder<'a>(self, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Compression::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(MAX_XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)?;
                Box::new(Xz { inner: liblzma::bufread::XzDecoder::new_stream(input, stream), given: 0, failure: None })
            }
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        })
    }

    /// How much to ask of the decompressor at a time. One that fails takes what it had of the last request with it,
    /// only zstd and [`Xz`] hand out what they have before they fail.
    pub(super) fn request_bytes(self) -> usize {
        match self {
            Compression::None | Compression::Zstd | Compression::Xz => usize::MAX,
            Compression::Gzip | Compression::Bzip2 => 16 << 10,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
        })
    }
}

/// Hands out what was decoded before a failure, and then the failure.
struct Xz<R> {
    inner: liblzma::bufread::XzDecoder<R>,
    given: u64,
    failure: Option<io::Error>,
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let result = self.inner.read(buf);
        // Also what the failing call wrote is counted.
        let decoded = usize::try_from(self.inner.total_out().saturating_sub(self.given)).unwrap_or(0).min(buf.len());
        self.given = self.inner.total_out();
        match result {
            Err(failure) if decoded != 0 => {
                self.failure = Some(failure);
                Ok(decoded)
            }
            result => result,
        }
    }
}
