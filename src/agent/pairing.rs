//! How a workstation gets its certificate: `cryoscope-agent pair` prints a code that is good once, for minutes, and for few
//! attempts. The running daemon learns of it through a file in the state directory, which holds a hash of the secret only.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::acquire::wire::PairCode;
use crate::base::{from_hex, hex};

use super::disk;
use super::identity::{self, IdentityError};
use super::problem::{Failure, Outcome};

/// How long a code is good.
pub const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// How often a wrong secret may be tried before the code is gone.
pub const MAX_ATTEMPTS: u32 = 5;
const MAX_FILE_BYTES: u64 = 4096;

/// The file between the command and the daemon.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    secret_sha256: String,
    expires: Timestamp,
    attempts_left: u32,
}

/// The open offer, if any.
#[derive(Debug)]
pub struct Pairing {
    path: PathBuf,
    one_at_a_time: Mutex<()>,
}

impl Pairing {
    /// Of an agent with this state directory.
    pub fn new(state: &Path) -> Pairing {
        Pairing { path: state.join("pairing.json"), one_at_a_time: Mutex::new(()) }
    }

    /// Makes a code; one that was open is good no longer.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(&self, authority: &CertificateDer<'_>, now: Timestamp) -> Result<PairCode, IdentityError> {
        let secret = identity::random::<10>()?;
        let offer = Offer {
            secret_sha256: hex(&Sha256::digest(secret)),
            expires: now + CODE_LIFE,
            attempts_left: MAX_ATTEMPTS,
        };
        self.write(&offer).map_err(|error| IdentityError::File { path: self.path.clone(), error })?;
        let mut code = PairCode { secret, authority: [0; 15] };
        let digest = Sha256::digest(authority.as_ref());
        code.authority.copy_from_slice(&digest[..15]);
        Ok(code)
    }

    /// Takes a secret, once. The attempt counts before it is compared.
    ///
    /// # Errors
    /// No code is open, it is over, or the secret is wrong; the peer is told the same in each case.
    pub fn redeem(&self, secret: &str, now: Timestamp) -> Outcome<()> {
        let _one_at_a_time = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = || {
            Failure::new(403, "pairing-refused", "the code is wrong, was used, or is over")
                .hint("run `cryoscope-agent pair` on the node for a new code; it is good once and for 10 minutes")
        };
        let Ok(bytes) = disk::read(&self.path, MAX_FILE_BYTES) else { return Err(refused()) };
        let offer: Option<Offer> = serde_json::from_slice(&bytes).ok();
        let Some(mut offer) = offer.filter(|offer| now < offer.expires && 0 < offer.attempts_left) else {
            self.close();
            return Err(refused());
        };
        offer.attempts_left -= 1;
        let failed = |error| Failure::internal("the pairing code cannot be kept", error);
        let given = from_hex::<10>(secret).map(Sha256::digest);
        let expected = from_hex::<32>(&offer.secret_sha256);
        let (Some(given), Some(expected)) = (given, expected) else {
            self.write(&offer).map_err(failed)?;
            return Err(refused());
        };
        // Every byte is looked at, whatever the first ones are.
        let differs = given.iter().zip(expected).fold(0, |differs, (a, b)| differs | (a ^ b));
        if std::hint::black_box(differs) != 0 {
            if offer.attempts_left == 0 {
                self.close();
            } else {
                self.write(&offer).map_err(failed)?;
            }
            return Err(refused());
        }
        disk::remove(&self.path).map_err(failed)
    }

    fn write(&self, offer: &Offer) -> std::io::Result<()> {
        disk::write(&self.path, &serde_json::to_vec(offer).map_err(std::io::Error::other)?)
    }

    fn close(&self) {
        if let Err(error) = disk::remove(&self.path) {
            tracing::error!("{}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, now: Timestamp) -> (Pairing, String) {
        let pairing = Pairing::new(dir);
        let code = pairing.open(&CertificateDer::from(vec![1, 2, 3]), now).unwrap();
        (pairing, hex(&code.secret))
    }

    #[test]
    fn code_is_good_once() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let (pairing, secret) = open(dir.path(), now);
        pairing.redeem(&secret, now).unwrap();
        assert_eq!(pairing.redeem(&secret, now).unwrap_err().status, 403);
    }

    #[test]
    fn code_is_over_after_ten_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let (pairing, secret) = open(dir.path(), now);
        assert!(pairing.redeem(&secret, now + CODE_LIFE).is_err());
        assert!(pairing.redeem(&secret, now).is_err(), "it does not come back");
    }

    #[test]
    fn few_wrong_attempts_end_a_code_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let (pairing, secret) = open(dir.path(), now);
        for wrong in ["", "zz", "00112233445566778899", &secret[1..]] {
            assert!(pairing.redeem(wrong, now).is_err());
        }
        Pairing::new(dir.path()).redeem(&secret, now).unwrap();
        let (pairing, secret) = open(dir.path(), now);
        for _ in 0..MAX_ATTEMPTS {
            assert!(Pairing::new(dir.path()).redeem("00112233445566778899", now).is_err());
        }
        assert!(pairing.redeem(&secret, now).is_err());
    }

    #[test]
    fn secret_does_not_stand_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (_, secret) = open(dir.path(), Timestamp::now());
        let text = disk::read(&dir.path().join("pairing.json"), 4096).unwrap();
        assert!(!String::from_utf8(text).unwrap().contains(&secret));
    }
}
