//! Archives that lie elsewhere: behind http and https addresses, and in buckets of stores that speak S3.
//!
//! - [`Remote`] holds connections, and knows where buckets are and who asks for them ([`Settings`]).
//! - [`Bucket`] lists the keys that begin with a prefix (`ListObjectsV2`) and opens objects (`GetObject`).
//! - [`Fetch`] reads what was opened, and goes on where a line broke, as long as it is the same content.
//!
//! Nothing is written there. A store is believed no more than what lies in it: pages of lists, keys, answers and the number
//! of tries are bounded, a list that goes in a circle is found out, and nothing that is signed is followed elsewhere. No
//! error repeats an address with its query, a header, or a credential. Certificates are checked against the authorities
//! that this machine trusts; `SSL_CERT_FILE` names others.
//!
//! Sources: Amazon S3 API Reference (`ListObjectsV2`, `GetObject`, "Error responses"); RFC 9110, sections 13 and 14.

mod bucket;
mod credentials;
mod error;
mod fetch;
mod listing;
mod s3_uri;
mod settings;
mod web_identity;

pub use bucket::Bucket;
pub use error::RemoteError;
pub use fetch::Fetch;
pub use s3_uri::S3Uri;
pub use settings::Settings;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use credentials::Credentials;

/// How long a server may stand still.
const PATIENCE: Duration = Duration::from_secs(60);

/// What archives are fetched with.
#[derive(Debug)]
pub struct Remote {
    settings: Settings,
    agent: Agent,
    credentials: OnceLock<Arc<Credentials>>,
}

impl Remote {
    /// Nothing is asked yet. Proxies are those of the environment.
    pub fn new(settings: Settings) -> Remote {
        let config = Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("cryoscope/", env!("CARGO_PKG_VERSION")))
            .build();
        Remote { settings, agent: config.into(), credentials: OnceLock::new() }
    }

    /// A bucket; it is not asked for yet.
    ///
    /// # Errors
    /// The name or the endpoint cannot be one, or half of the credentials is missing.
    pub fn bucket(&self, name: &str) -> Result<Bucket, RemoteError> {
        let credentials = match self.credentials.get() {
            Some(credentials) => credentials,
            None => {
                let credentials = Arc::new(Credentials::of(&self.settings)?);
                self.credentials.get_or_init(|| credentials)
            }
        };
        Bucket::new(name, &self.settings, self.agent.clone(), Arc::clone(credentials))
    }

    /// Opens what lies behind an http or https address. It may send on to others, but not from https to http.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub fn open(&self, url: &str) -> Result<Fetch, RemoteError> {
        let (agent, url) = (self.agent.clone(), url.to_owned());
        Fetch::new(Box::new(move |part| {
            let response = fetch::ask(&agent, &url, part, fetch::Redirects::Followed)?;
            error::refused(response, error::Asked::Address)
        }))
    }
}
