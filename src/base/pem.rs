//! Certificates in PEM.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;

/// Why a text gives no certificates.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PemError {
    /// It holds none.
    #[error("there is no certificate in it")]
    Empty,
    /// It holds more than are wanted.
    #[error("there are more than {0} certificates in it")]
    TooMany(usize),
    /// One is broken.
    #[error("{0}")]
    Broken(String),
}

/// All certificates of a text, in DER: at least one and at most `max`. What else stands in it is passed over.
///
/// # Errors
/// See [`PemError`].
pub fn certificates(pem: &str, max: usize) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).take(max.saturating_add(1));
    let read = read.collect::<Result<Vec<_>, _>>().map_err(|why| PemError::Broken(why.to_string()))?;
    match read.len() {
        0 => Err(PemError::Empty),
        n if n > max => Err(PemError::TooMany(max)),
        _ => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_counted_and_broken_ones_told() {
        let one = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        assert_eq!(certificates(&format!("text\n{one}{key}{one}"), 2).map(|list| list.len()), Ok(2));
        assert_eq!(certificates(&one.repeat(3), 2), Err(PemError::TooMany(2)));
        assert_eq!(certificates(key, 2), Err(PemError::Empty));
        assert!(matches!(certificates(&one.replace("MAA=", "§"), 2), Err(PemError::Broken(_))));
    }
}
