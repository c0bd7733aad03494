//! TLS 1.3 to an agent, as a step in ureq's chain of connectors.
//!
//! ureq checks a certificate against the host of the address. That is wrong here: the address may be the near end of a
//! tunnel (`kubectl port-forward`, `ssh -L`). So the chain ends in a connector of ours, which believes one authority alone
//! and knows by which name the node goes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned, server::ParsedCertificate,
};
use sha2::{Digest as _, Sha256};
use ureq::Proxy;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, RustlsConnector, Transport,
    TransportAdapter,
};

use super::identity::{Identity, IdentityError, certificates};

/// TLS that speaks only to who is expected.
#[derive(Clone)]
pub(super) struct NodeTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a connection cannot even be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificates or the key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nor can they together.
    #[error("the certificates cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate cannot have this name.
    #[error("{0:?} is no name that a certificate can have; give the one in the agent's certificate by --server-name")]
    Name(String),
}

impl NodeTls {
    /// To a paired node: its authority and its name alone are believed, and this workstation shows its certificate.
    pub(super) fn paired(authority: &str, server_name: &str, identity: &Identity) -> Result<NodeTls, TlsError> {
        let name =
            ServerName::try_from(server_name.to_owned()).map_err(|_no| TlsError::Name(server_name.to_owned()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority, "authority")? {
            roots.add(certificate)?;
        }
        let config =
            tls13()?.with_root_certificates(roots).with_client_auth_cert(identity.chain()?, identity.private_key()?)?;
        Ok(NodeTls { config: Arc::new(config), name })
    }

    /// To a node that is not paired yet: an authority is believed whose fingerprint begins as the code says.
    pub(super) fn pairing(authority: [u8; 15]) -> Result<(NodeTls, Arc<Stranger>), TlsError> {
        let stranger = Arc::new(Stranger {
            prefix: authority,
            seen: Mutex::new(None),
            algorithms: provider().signature_verification_algorithms,
        });
        let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&stranger) as _;
        let mut config = tls13()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        // A resumed session would not show its certificates.
        config.resumption = rustls::client::Resumption::disabled();
        // The name is not known yet; this one is never sent, since nothing of it could be right.
        config.enable_sni = false;
        let name = ServerName::try_from("agent.invalid").map_err(|_no| TlsError::Name("agent.invalid".into()))?;
        Ok((NodeTls { config: Arc::new(config), name }, stranger))
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn tls13() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&[&rustls::version::TLS13])
}

/// An agent that is known by the first bytes of its authority's SHA-256 alone.
#[derive(Debug)]
pub(super) struct Stranger {
    prefix: [u8; 15],
    seen: Mutex<Option<Seen>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Certificates that were believed, in DER.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) authority: Vec<u8>,
    pub(super) leaf: Vec<u8>,
}

impl Stranger {
    /// What the agent showed, once it was believed.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Stranger {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates.iter().find(|der| Sha256::digest(der).starts_with(&self.prefix));
        let authority = authority.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, intermediates, now, self.algorithms.all)?;
        let seen = Seen { authority: authority.to_vec(), leaf: end_entity.to_vec() };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// TLS to a proxy that wants it, which shows a certificate that this machine believes; a node's authority has no say in that.
#[derive(Debug, Default)]
pub(super) struct ProxyTls {
    host: String,
    port: u16,
    tls: RustlsConnector,
}

impl ProxyTls {
    /// To this proxy.
    pub(super) fn new(proxy: &Proxy) -> ProxyTls {
        ProxyTls { host: proxy.host().to_owned(), port: proxy.port(), tls: RustlsConnector::default() }
    }
}

impl<In: Transport> Connector<In> for ProxyTls {
    type Out = Either<In, <RustlsConnector as Connector<In>>::Out>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        let uri = details.uri;
        if uri.host() != Some(&self.host) || uri.port_u16().unwrap_or(443) != self.port {
            return Ok(Some(Either::A(transport)));
        }
        Ok(self.tls.connect(details, Some(transport))?.map(Either::B))
    }
}

impl<In: Transport> Connector<In> for NodeTls {
    type Out = Either<In, NodeTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        // The way to a proxy has its own.
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        let boxed: Box<dyn Transport> = Box::new(transport);
        let mut line = TransportAdapter::new(boxed, Arc::clone(&details.current_time));
        line.set_timeout(details.timeout);
        while connection.is_handshaking() {
            connection.complete_io(&mut line)?;
        }
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(NodeTransport { buffers, stream: StreamOwned::new(connection, line) })))
    }
}

/// A line to an agent.
pub(super) struct NodeTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for NodeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeTransport").field("inner", &self.stream.sock.inner()).finish_non_exhaustive()
    }
}

impl Transport for NodeTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        use std::io::Write as _;
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        use std::io::Read as _;
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
