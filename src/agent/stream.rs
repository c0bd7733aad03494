//! Bytes between threads and connections, a few pieces at a time: who reads slowly makes the writer wait, and nobody holds more
//! than `DEPTH` pieces.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;

/// Some bytes, or why there are no more.
pub type Piece = Result<Bytes, String>;
/// Pieces under way.
const DEPTH: usize = 4;
/// Bytes of a piece.
const PIECE_BYTES: usize = 128 << 10;

/// A pipe.
pub fn channel() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(DEPTH)
}

/// Reads what comes through a pipe; on a thread that may wait.
#[derive(Debug)]
pub struct Reader {
    receiver: mpsc::Receiver<Piece>,
    rest: Bytes,
}

impl Reader {
    /// Of this pipe.
    pub fn new(receiver: mpsc::Receiver<Piece>) -> Reader {
        Reader { receiver, rest: Bytes::new() }
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let n = buf.len().min(self.rest.len());
        buf[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}

/// A body that a closure writes on a thread of its own. When it fails the body breaks off, so that nobody takes it for whole.
pub fn body(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Body {
    let (sender, receiver) = channel();
    tokio::task::spawn_blocking(move || {
        let mut writer = Writer { sender: sender.clone(), buffer: Vec::with_capacity(PIECE_BYTES) };
        if let Err(error) = write(&mut writer).and_then(|()| writer.flush()) {
            tracing::warn!("a transfer broke off: {error}");
            let _nobody_listens = sender.blocking_send(Err(error.to_string()));
        }
    });
    Body::new(Streamed { receiver }.map_err(io::Error::other))
}

struct Writer {
    sender: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        let gone = |_gone| io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
        self.sender.blocking_send(Ok(full.into())).map_err(gone)
    }
}

struct Streamed {
    receiver: mpsc::Receiver<Piece>,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        self.receiver.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
