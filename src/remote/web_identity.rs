//! Credentials of a workload: a token that Kubernetes puts into the pod is exchanged for some that hold an hour.
//!
//! Source: AWS Security Token Service API Reference, `AssumeRoleWithWebIdentity`; MinIO has the same.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use roxmltree::{Document, ParsingOptions};
use rusty_s3::Credentials;
use ureq::Agent;

use super::error::{Asked, refused};
use super::fetch::patiently;
use super::settings::check_endpoint;
use super::{RemoteError, Settings};

/// Most bytes of a token, and of the answer to it.
const MAX_BYTES: u64 = 64 << 10;
/// How long credentials are used: they hold an hour unless the role says less, which is 15 minutes at least.
const USED: Duration = Duration::from_secs(600);

/// A workload.
pub(super) struct WebIdentity {
    role: String,
    token_file: PathBuf,
    endpoint: String,
    last: Mutex<Option<(Credentials, Instant)>>,
}

impl WebIdentity {
    pub(super) fn new(role: &str, token_file: &str, settings: &Settings) -> Result<WebIdentity, RemoteError> {
        let endpoint = match &settings.sts_endpoint {
            Some(endpoint) => {
                check_endpoint("AWS_ENDPOINT_URL_STS", endpoint)?;
                format!("{}/", endpoint.trim_end_matches('/'))
            }
            None => format!("https://sts.{}.{}/", settings.region()?, settings.domain()?),
        };
        Ok(WebIdentity { role: role.to_owned(), token_file: token_file.into(), endpoint, last: Mutex::default() })
    }

    /// Credentials that hold; others wait while they are got.
    pub(super) fn current(&self, agent: &Agent) -> Result<Credentials, RemoteError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((credentials, got)) = &*last
            && got.elapsed() < USED
        {
            return Ok(credentials.clone());
        }
        let credentials = patiently(|| self.exchange(agent))?;
        *last = Some((credentials.clone(), Instant::now()));
        Ok(credentials)
    }

    fn exchange(&self, agent: &Agent) -> Result<Credentials, RemoteError> {
        let cannot = |source| RemoteError::Token { path: self.token_file.display().to_string(), source };
        let mut token = String::new();
        let file = OpenOptions::new().read(true).open(&self.token_file).map_err(cannot)?;
        file.take(MAX_BYTES).read_to_string(&mut token).map_err(cannot)?;
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=cryoscope&RoleArn={}&WebIdentityToken={}",
            encoded(&self.role),
            encoded(token.trim()),
        );
        let request = agent.post(&self.endpoint).config().max_redirects(0).max_redirects_will_error(false).build();
        let response = request.header("Content-Type", "application/x-www-form-urlencoded").send(form.as_bytes());
        let response = refused(response.map_err(|error| RemoteError::from_ureq(&error))?, Asked::Signed)?;
        let mut body = String::new();
        let mut reader = response.into_body().into_reader().take(MAX_BYTES);
        reader.read_to_string(&mut body).map_err(|error| RemoteError::from_io(&error))?;
        credentials_in(&body).ok_or(RemoteError::Malformed { what: "no credentials for the token of this workload" })
    }
}

fn credentials_in(body: &str) -> Option<Credentials> {
    let options = ParsingOptions { nodes_limit: 256, ..ParsingOptions::default() };
    let document = Document::parse_with_options(body, options).ok()?;
    let found = document.descendants().find(|node| node.tag_name().name() == "Credentials")?;
    let of = |name: &str| Some(found.children().find(|it| it.tag_name().name() == name)?.text()?.trim().to_owned());
    Some(Credentials::new_with_token(of("AccessKeyId")?, of("SecretAccessKey")?, of("SessionToken")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_the_answer() {
        let body = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
            <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>\
            <SessionToken>T</SessionToken></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
        let found = credentials_in(body).expect("credentials");
        assert_eq!((found.key(), found.secret(), found.token()), ("A", "S", Some("T")));
        assert!(credentials_in("<a><Credentials><AccessKeyId>A</AccessKeyId></Credentials></a>").is_none());
        assert!(credentials_in("").is_none());
    }
}
