//! Who the agent is: a key that signs manifests, an authority of its own, and the certificate that it serves under.
//!
//! All lie in the state directory, private to the agent's user. They are made once; the server's certificate is made again
//! when a third of its life is left or the names of the node have changed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::base::hex;

use super::disk;

const SIGNING_KEY: &str = "signing-key.pem";
const AUTHORITY: &str = "authority.pem";
const AUTHORITY_KEY: &str = "authority-key.pem";
const SERVER: &str = "server.pem";
const SERVER_KEY: &str = "server-key.pem";
const MAX_PEM_BYTES: u64 = 256 << 10;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const SERVER_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why the agent has no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file of it cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file of it does not hold what it should.
    #[error("{} does not hold a {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate cannot be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// The keys and certificates of an agent.
pub struct Identity {
    /// Signs manifests.
    pub signing: SigningKey,
    /// The authority's certificate.
    pub authority: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    server: Vec<CertificateDer<'static>>,
    server_key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the identity from the state directory, and makes what is not there yet.
    ///
    /// # Errors
    /// A file cannot be read or written, or holds something else: the operator removes it, and pairs again.
    pub fn load(state: &Path, node: &str, names: &[String]) -> Result<Identity, IdentityError> {
        let signing = load_signing_key(state)?;
        let (authority, issuer) = load_authority(state, node)?;
        let (server, server_key) = load_server(state, names, &issuer, &authority)?;
        Ok(Identity { signing, authority, issuer, server, server_key })
    }

    /// Serves under the operator's own certificate instead of one by the agent's authority.
    ///
    /// # Errors
    /// A file cannot be read, or holds no certificate or key.
    pub fn use_server_certificate(&mut self, chain: &Path, key: &Path) -> Result<(), IdentityError> {
        self.server = certificates(chain)?;
        let bytes = read_named(key)?;
        self.server_key = PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|_no_key| IdentityError::Content { path: key.to_owned(), what: "private key" })?;
        Ok(())
    }

    /// Of [`Identity::signing`], in hex.
    pub fn public_key(&self) -> String {
        hex(self.signing.verifying_key().as_bytes())
    }

    /// What is shown to clients: the server's certificate and the authority's.
    pub fn server_chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.server.clone(), self.server_key.clone_key())
    }

    /// The authority's certificate as PEM.
    pub fn authority_pem(&self) -> String {
        pem("CERTIFICATE", &self.authority)
    }

    /// Makes a client's certificate for a request in PEM. Only the name and the key are taken from the request.
    ///
    /// # Errors
    /// It is no request, or not signed by its own key.
    pub fn issue_client(&self, csr: &str, life: Duration) -> Result<CertificateDer<'static>, IdentityError> {
        let request = CertificateSigningRequestParams::from_pem(csr)?;
        let name = request.params.distinguished_name.get(&DnType::CommonName).and_then(|name| match name {
            rcgen::DnValue::Utf8String(text) => Some(text.clone()),
            rcgen::DnValue::PrintableString(text) => Some(text.as_str().to_owned()),
            _ => None,
        });
        let mut params = params(&client_name(name.as_deref().unwrap_or_default()), life)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&request.public_key, &self.issuer)?.der().clone())
    }
}

/// SHA-256 of a certificate in hex, as people compare it.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(&Sha256::digest(certificate.as_ref()))
}

/// Certificates of a PEM file that the operator named.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let bytes = read_named(path)?;
    let no_certificate = || IdentityError::Content { path: path.to_owned(), what: "certificate" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(no_certificate)
}

/// Bytes as PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for n in 0..4 {
                let letter = ALPHABET[(bits >> (18 - 6 * n) & 63) as usize];
                text.push(if n <= group.len() { char::from(letter) } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Bytes that nobody can guess.
///
/// # Errors
/// [`IdentityError::NoRandom`].
pub fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_no_more_is_said| IdentityError::NoRandom)?;
    Ok(bytes)
}

/// A name that a log can hold, out of one that somebody else chose.
fn client_name(wanted: &str) -> String {
    let name: String = wanted.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
    if name.trim().is_empty() { "workstation".to_owned() } else { name.trim().to_owned() }
}

fn load_signing_key(state: &Path) -> Result<SigningKey, IdentityError> {
    let path = state.join(SIGNING_KEY);
    if let Some(text) = read(&path)? {
        return SigningKey::from_pkcs8_pem(&text)
            .map_err(|_no_key| IdentityError::Content { path, what: "key of kind Ed25519" });
    }
    let key = SigningKey::from_bytes(&random::<32>()?);
    let text = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_cannot_happen| IdentityError::Content { path: path.clone(), what: "key" })?;
    write(&path, text.as_bytes())?;
    Ok(key)
}

fn load_authority(
    state: &Path,
    node: &str,
) -> Result<(CertificateDer<'static>, Issuer<'static, KeyPair>), IdentityError> {
    let (path, key_path) = (state.join(AUTHORITY), state.join(AUTHORITY_KEY));
    if let (Some(text), Some(key)) = (read(&path)?, read(&key_path)?) {
        let no_certificate = || IdentityError::Content { path: path.clone(), what: "certificate" };
        let der = CertificateDer::from_pem_slice(text.as_bytes()).ok().ok_or_else(no_certificate)?;
        let issuer = Issuer::from_ca_cert_der(&der, KeyPair::from_pem(&key)?)?;
        return Ok((der, issuer));
    }
    let mut params = params(&format!("cryoscope-agent of {node}"), AUTHORITY_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    write(&key_path, key.serialize_pem().as_bytes())?;
    write(&path, certificate.pem().as_bytes())?;
    Ok((certificate.der().clone(), Issuer::new(params, key)))
}

type Served = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn load_server(
    state: &Path,
    names: &[String],
    issuer: &Issuer<'static, KeyPair>,
    authority: &CertificateDer<'static>,
) -> Result<Served, IdentityError> {
    let (path, key_path) = (state.join(SERVER), state.join(SERVER_KEY));
    if let (Some(text), Some(key)) = (read(&path)?, read(&key_path)?) {
        let found = CertificateDer::from_pem_slice(text.as_bytes()).ok();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok();
        if let (Some(found), Some(key)) = (found, key)
            && is_still_good(&found, names, authority)
        {
            return Ok((vec![found, authority.clone()], key));
        }
    }
    let mut params = params(names.first().map_or("cryoscope-agent", String::as_str), SERVER_LIFE)?;
    for name in names {
        params.subject_alt_names.push(match IpAddr::from_str(name) {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    write(&key_path, key.serialize_pem().as_bytes())?;
    write(&path, certificate.pem().as_bytes())?;
    let key_der = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|_cannot_happen| IdentityError::Content { path: key_path, what: "private key" })?;
    Ok((vec![certificate.der().clone(), authority.clone()], key_der))
}

fn is_still_good(certificate: &CertificateDer<'_>, names: &[String], authority: &CertificateDer<'_>) -> bool {
    let (Ok((_, found)), Ok((_, authority))) =
        (X509Certificate::from_der(certificate), X509Certificate::from_der(authority))
    else {
        return false;
    };
    let now = seconds_since_1970();
    let third = (SERVER_LIFE.as_secs() / 3) as i64;
    let lasts = found.validity().not_before.timestamp() <= now && now + third < found.validity().not_after.timestamp();
    let alternatives = found.subject_alternative_name().ok().flatten();
    let named: Vec<String> = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match **bytes {
                [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            },
            _ => None,
        })
        .collect();
    lasts && found.issuer() == authority.subject() && names.iter().all(|name| named.contains(name))
}

fn params(common_name: &str, life: Duration) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    // A node's clock may be ahead of the workstation's.
    params.not_before = (now - DAY).into();
    params.not_after = (now + life).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let mut serial = random::<16>()?;
    serial[0] = serial[0] & 0x7f | 1;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn seconds_since_1970() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match disk::read(path, MAX_PEM_BYTES) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IdentityError::File { path: path.to_owned(), error }),
    }
}

fn read_named(path: &Path) -> Result<Vec<u8>, IdentityError> {
    disk::read_named(path, MAX_PEM_BYTES).map_err(|error| IdentityError::File { path: path.to_owned(), error })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    disk::write(path, bytes).map_err(|error| IdentityError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn identity_stays_over_restarts_and_the_server_certificate_follows_the_names() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load(dir.path(), "node-a", &names(&["node-a", "10.0.0.1"])).unwrap();
        let again = Identity::load(dir.path(), "node-a", &names(&["node-a", "10.0.0.1"])).unwrap();
        assert_eq!((first.public_key(), &first.authority), (again.public_key(), &again.authority));
        assert_eq!(first.server_chain().0, again.server_chain().0);
        let moved = Identity::load(dir.path(), "node-a", &names(&["node-a", "10.0.0.2", "::1"])).unwrap();
        assert_eq!(moved.authority, first.authority);
        assert_ne!(moved.server_chain().0, first.server_chain().0);
    }

    #[test]
    fn request_gives_its_name_and_key_only_and_a_changed_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::load(dir.path(), "node-a", &names(&["node-a"])).unwrap();
        let mut wanted = CertificateParams::new(vec!["node-a".to_owned()]).unwrap();
        wanted.distinguished_name.push(DnType::CommonName, "desk\u{202e}\n of   Ada");
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let csr = wanted.serialize_request(&key).unwrap().pem().unwrap();
        let der = identity.issue_client(&csr, DAY).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=desk of   Ada");
        assert!(!certificate.is_ca() && certificate.subject_alternative_name().unwrap().is_none());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        assert!(identity.issue_client(&csr.replacen('M', "N", 3), DAY).is_err());
        assert!(identity.issue_client("", DAY).is_err());
    }

    #[test]
    fn pem_is_read_back() {
        for length in [1, 2, 3, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert_eq!(CertificateDer::from_pem_slice(pem("CERTIFICATE", &der).as_bytes()).unwrap().as_ref(), der);
        }
    }
}
