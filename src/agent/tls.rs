//! TLS 1.3 with certificates on both sides. A client without a certificate may shake hands, so that it can pair; one with a
//! certificate of somebody else, or an expired one, may not. Sessions are not resumed: every connection shows its certificate.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::identity::{Identity, fingerprint};

/// Why no TLS can be spoken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate or key does not fit.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// The authorities of clients cannot be used.
    #[error("authorities of clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Who is at the other end, by their certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of it.
    pub fingerprint: String,
    /// Its common name.
    pub name: String,
}

/// How the agent greets: `authorities` sign clients' certificates beside its own one.
///
/// # Errors
/// A certificate cannot be used.
pub fn server_config(
    identity: &Identity,
    authorities: &[CertificateDer<'static>],
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority.clone())?;
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let (chain, key) = identity.server_chain();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Reads the certificate that a client has shown and rustls has verified.
pub fn peer_certificate(chain: Option<&[CertificateDer<'_>]>) -> Option<PeerCertificate> {
    let first = chain?.first()?;
    let parsed = X509Certificate::from_der(first).ok();
    let name = parsed
        .as_ref()
        .and_then(|(_, certificate)| certificate.subject().iter_common_name().next()?.as_str().ok())
        .unwrap_or_default();
    Some(PeerCertificate { fingerprint: fingerprint(first), name: name.chars().take(128).collect() })
}
