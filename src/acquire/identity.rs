//! Who this workstation is to a node: a key that was made here and never leaves it, and the certificate that the node's
//! authority gave for it. Certificates and keys are PEM text.

use std::fmt;

use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_parser::extensions::GeneralName;

use crate::base::{self, hex};

/// Most certificates of a chain.
const MAX_CHAIN: usize = 8;

/// Why there is no identity.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The text holds no certificate, or a broken one.
    #[error("the {what} is no certificate in PEM: {why}")]
    Certificate {
        /// Whose.
        what: &'static str,
        /// The reader's word.
        why: String,
    },
    /// The text holds no private key, or a broken one.
    #[error("the key is no private key in PEM: {0}")]
    Key(String),
    /// The certificate is for another key.
    #[error("the certificate is for another key than the one that was made for it")]
    OtherKey,
    /// No key could be made.
    #[error("a key cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A private key and its certificates.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate, then those between it and the authority, in PEM.
    pub certificate: String,
    /// PKCS #8, PKCS #1 or SEC 1, in PEM.
    pub key: String,
}

/// The key stays out of logs.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Identity {
    /// The certificates, in DER.
    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        certificates(&self.certificate, "workstation's certificate")
    }

    /// The key, in DER.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|why| IdentityError::Key(why.to_string()))
    }
}

/// A key that waits for its certificate.
#[derive(Debug)]
pub(super) struct Applicant {
    key: KeyPair,
    /// The request, in PEM.
    pub(super) csr: String,
}

impl Applicant {
    /// Makes a key (ECDSA, P-256) for somebody called `name`.
    pub(super) fn new(name: &str) -> Result<Applicant, IdentityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let csr = params.serialize_request(&key)?.pem()?;
        Ok(Applicant { key, csr })
    }

    /// With the certificate that came for it.
    pub(super) fn identity(self, certificate: &str) -> Result<Identity, IdentityError> {
        let facts = Facts::of(first(&certificates(certificate, "certificate that came")?))?;
        if facts.public_key != self.key.subject_public_key_info() {
            return Err(IdentityError::OtherKey);
        }
        Ok(Identity { certificate: certificate.to_owned(), key: self.key.serialize_pem() })
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its subject, as `CN=analyst@desk`.
    pub subject: String,
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// From when, in seconds since 1970.
    pub not_before: i64,
    /// Until when, in seconds since 1970.
    pub not_after: i64,
    /// Subject public key info, in DER.
    pub(super) public_key: Vec<u8>,
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is none.
    pub fn of(der: &[u8]) -> Result<Facts, IdentityError> {
        let wrong = |why: String| IdentityError::Certificate { what: "certificate", why };
        let (_rest, read) = x509_parser::parse_x509_certificate(der).map_err(|why| wrong(why.to_string()))?;
        let names = read.subject_alternative_name().map_err(|why| wrong(why.to_string()))?;
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        });
        Ok(Facts {
            subject: read.subject().to_string(),
            names: names.collect(),
            not_before: read.validity().not_before.timestamp(),
            not_after: read.validity().not_after.timestamp(),
            public_key: read.public_key().raw.to_vec(),
        })
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|it| std::net::IpAddr::from(it).to_string());
    four.or_else(|_not_four| <[u8; 16]>::try_from(bytes).map(|it| std::net::IpAddr::from(it).to_string())).ok()
}

/// SHA-256 of a certificate in PEM, of the first where there are several; what people compare.
///
/// # Errors
/// There is none in the text.
pub fn fingerprint(pem: &str) -> Result<String, IdentityError> {
    Ok(hex(&Sha256::digest(first(&certificates(pem, "certificate")?))))
}

/// All certificates of a PEM text; there is at least one.
pub(super) fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let wrong = |why: base::PemError| IdentityError::Certificate { what, why: why.to_string() };
    base::certificates(pem, MAX_CHAIN).map_err(wrong)
}

fn first<'c>(certificates: &'c [CertificateDer<'static>]) -> &'c [u8] {
    certificates.first().map(AsRef::as_ref).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rcgen::{Issuer, PublicKeyData, SanType, SignatureAlgorithm};
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// The key of a request.
    struct Asked(Vec<u8>);

    impl PublicKeyData for Asked {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }

        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &rcgen::PKCS_ECDSA_P256_SHA256
        }
    }

    fn asked(csr: &str) -> Asked {
        let (_, pem) = x509_parser::pem::parse_x509_pem(csr.as_bytes()).unwrap();
        let read = x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents);
        Asked(read.unwrap().1.certification_request_info.subject_pki.subject_public_key.data.to_vec())
    }

    #[test]
    fn certificate_is_taken_only_for_the_key_that_was_made() {
        let authority = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = Issuer::from_params(&params, &authority);
        let one = Applicant::new("analyst@desk").unwrap();
        let two = Applicant::new("somebody").unwrap();
        let mut named = CertificateParams::default();
        named.distinguished_name.push(DnType::CommonName, "analyst@desk");
        let signed = named.signed_by(&asked(&one.csr), &issuer).unwrap();
        assert!(matches!(two.identity(&signed.pem()), Err(IdentityError::OtherKey)));
        let identity = one.identity(&signed.pem()).unwrap();
        assert_eq!(Facts::of(&identity.chain().unwrap()[0]).unwrap().subject, "CN=analyst@desk");
        identity.private_key().unwrap();
        assert!(!format!("{identity:?}").contains("PRIVATE"));
    }

    #[test]
    fn facts_name_who_a_certificate_is_for() {
        let mut params = CertificateParams::new(["node-a".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 7].into()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Facts::of(certificate.der()).unwrap().names, ["node-a", "10.0.0.7"]);
        assert_eq!(fingerprint(&certificate.pem()).unwrap(), hex(&Sha256::digest(certificate.der())));
        assert!(Facts::of(&certificate.der()[..40]).is_err());
        for wrong in ["", "-----BEGIN CERTIFICATE-----\n", &certificate.pem().repeat(9)] {
            assert!(fingerprint(wrong).is_err(), "{wrong:.40}");
        }
    }
}
