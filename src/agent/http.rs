//! Asks HTTP servers of this node: the kubelet over TLS, Podman and Docker over their sockets. Every answer is bounded in length
//! and time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Connecting and greeting take no longer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A server.
#[derive(Clone)]
pub enum Endpoint {
    /// Over TLS.
    Tls {
        /// Name or address to connect to.
        host: String,
        /// Its port.
        port: u16,
        /// Name that its certificate must have.
        name: ServerName<'static>,
        /// Whom to believe, and who we are.
        config: Arc<ClientConfig>,
    },
    /// On a socket of this machine.
    Unix(PathBuf),
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Tls { host, port, .. } => write!(f, "https://{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Nobody listens.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The greeting failed: often a certificate.
    #[error("no TLS: {0}")]
    Tls(io::Error),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection broke, or what came is not HTTP.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// The answer is longer than any good one.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Endpoint {
    /// Sends a request without a body; the answer's head must come within `deadline`.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        deadline: Duration,
    ) -> Result<hyper::Response<Incoming>, HttpError> {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.exchange(request.body(Full::default()), deadline).await
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let host = match self {
            Endpoint::Tls { host, port, .. } => format!("{host}:{port}"),
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        Request::builder().method(method).uri(path).header(header::HOST, host)
    }

    async fn exchange(
        &self,
        request: axum::http::Result<Request<Full<Bytes>>>,
        deadline: Duration,
    ) -> Result<hyper::Response<Incoming>, HttpError> {
        let request = request.map_err(|error| HttpError::Broken(error.to_string()))?;
        let connecting = async {
            match self {
                Endpoint::Unix(path) => {
                    Ok(Box::new(UnixStream::connect(path).await.map_err(HttpError::Connect)?) as Box<dyn Stream>)
                }
                Endpoint::Tls { host, port, name, config } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(HttpError::Connect)?;
                    let connector = TlsConnector::from(Arc::clone(config));
                    Ok(Box::new(connector.connect(name.clone(), stream).await.map_err(HttpError::Tls)?)
                        as Box<dyn Stream>)
                }
            }
        };
        let late = |_late| HttpError::TimedOut(CONNECT_DEADLINE);
        let stream = timeout(CONNECT_DEADLINE, connecting).await.map_err(late)??;
        let broken = |error: hyper::Error| HttpError::Broken(error_chain(&error));
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(64 << 10).handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the answer's body, or when that is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("{error}");
            }
        });
        let answer = timeout(deadline, sender.send_request(request)).await;
        answer.map_err(|_late| HttpError::TimedOut(deadline))?.map_err(broken)
    }

    /// Sends a request, and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        deadline: Duration,
        max_bytes: usize,
    ) -> Result<Answer, HttpError> {
        whole(self.send(method, path, token, deadline), deadline, max_bytes).await
    }

    /// Sends JSON, and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn post(
        &self,
        path: &str,
        json: String,
        deadline: Duration,
        max_bytes: usize,
    ) -> Result<Answer, HttpError> {
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
        whole(self.exchange(request.body(Full::from(json)), deadline), deadline, max_bytes).await
    }
}

async fn whole(
    asking: impl Future<Output = Result<hyper::Response<Incoming>, HttpError>>,
    deadline: Duration,
    max_bytes: usize,
) -> Result<Answer, HttpError> {
    let reading = async {
        let response = asking.await?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: read_body(response.into_body(), max_bytes).await? })
    };
    timeout(deadline + CONNECT_DEADLINE, reading).await.map_err(|_late| HttpError::TimedOut(deadline))?
}

/// Reads a body whole.
///
/// # Errors
/// It breaks off, or is too long.
pub async fn read_body(mut body: Incoming, max_bytes: usize) -> Result<Bytes, HttpError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HttpError::Broken(error_chain(&error)))?;
        if let Some(data) = frame.data_ref() {
            if max_bytes < bytes.len() + data.len() {
                return Err(HttpError::TooLong(max_bytes));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.into())
}

/// An error with what caused it.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whom a client believes: servers whose certificate is one of `pinned` itself, or signed by one of them for its name.
///
/// # Errors
/// A certificate cannot be used at all.
pub fn client_config(
    pinned: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, rustls::pki_types::PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pinned.iter().cloned());
    let by_authority = if roots.is_empty() {
        None
    } else {
        let builder =
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        Some(builder.build().map_err(|error| rustls::Error::General(error.to_string()))?)
    };
    let verifier = Pinned { pinned, by_authority, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A kubelet often signs its own certificate, for another name than it is reached by; then that very certificate is known.
#[derive(Debug)]
struct Pinned {
    pinned: Vec<CertificateDer<'static>>,
    by_authority: Option<Arc<rustls::client::WebPkiServerVerifier>>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|known| known == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.by_authority {
            Some(verifier) => verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
