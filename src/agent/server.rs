//! Accepts connections, shakes hands, and passes requests to the router: bounded in number and in time at every step.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::limits;
use super::tls::{PeerCertificate, peer_certificate};

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address of the other end.
    pub address: SocketAddr,
    /// Their certificate, verified; none when they have shown none.
    pub certificate: Option<PeerCertificate>,
}

/// Serves until `stop` is done, then lets requests that are under way end for ten seconds.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let (stopping, stopped) = watch::channel(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        let free = Arc::clone(&connections).acquire_owned();
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = free => permit,
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let connection = serve_connection(stream, address, acceptor.clone(), router.clone(), stopped.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // Out of descriptors, or the client is gone already.
            Err(error) => {
                tracing::warn!("accept: {error}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let _nobody_is_connected = stopping.send(true);
    let _ = timeout(Duration::from_secs(10), connections.acquire_many(limits::MAX_CONNECTIONS as u32)).await;
}

async fn serve_connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let _only_slower_without = stream.set_nodelay(true);
    let stream = Stalling::new(stream);
    let stream = match timeout(limits::HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // Probes connect, and say nothing.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return tracing::debug!("{address}: no handshake: {error}");
        }
        Ok(Err(error)) => return tracing::info!("{address}: no handshake: {error}"),
        Err(_) => return tracing::info!("{address}: no handshake within {:?}", limits::HANDSHAKE_DEADLINE),
    };
    let peer = Peer { address, certificate: peer_certificate(stream.get_ref().1.peer_certificates()) };
    // Told or gone, it is the same.
    let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    talk(stream, peer, router, stop).await;
}

/// Answers the requests of one connection until the other end is gone, or `stop` is done and the one under way is answered.
pub async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let address = peer.address;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_DEADLINE)
        .max_buf_size(limits::MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("{address}: {error}");
    }
}

/// A stream that fails when the other end takes nothing for [`limits::STALL_DEADLINE`].
struct Stalling {
    stream: TcpStream,
    stalled: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Stalling {
    fn new(stream: TcpStream) -> Stalling {
        Stalling { stream, stalled: Box::pin(sleep(limits::STALL_DEADLINE)), is_waiting: false }
    }

    fn watch<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.is_waiting = false;
            return polled;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.stalled.as_mut().reset(Instant::now() + limits::STALL_DEADLINE);
        }
        match self.stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(polled, cx)
    }
}
