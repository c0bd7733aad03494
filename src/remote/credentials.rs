//! Who asks a store.

use std::fmt;

use ureq::Agent;

use super::web_identity::WebIdentity;
use super::{RemoteError, Settings};

/// Where credentials come from.
pub(super) enum Credentials {
    /// Nobody in particular: buckets that are public.
    Anonymous,
    /// As they were given.
    Given(rusty_s3::Credentials),
    /// Got for the token of a workload, and got again before they expire.
    Workload(WebIdentity),
}

impl Credentials {
    /// Keys that are given come first.
    pub(super) fn of(settings: &Settings) -> Result<Credentials, RemoteError> {
        let Settings { access_key, secret_key, session_token, role, token_file, .. } = settings;
        match (access_key, secret_key) {
            (Some(key), Some(secret)) => {
                let (key, secret) = (key.clone(), secret.clone());
                Ok(Credentials::Given(match session_token {
                    Some(token) => rusty_s3::Credentials::new_with_token(key, secret, token.clone()),
                    None => rusty_s3::Credentials::new(key, secret),
                }))
            }
            (Some(_), None) => Err(RemoteError::BadSetting {
                name: "AWS_SECRET_ACCESS_KEY",
                why: "is not set, and AWS_ACCESS_KEY_ID is",
            }),
            (None, Some(_)) => Err(RemoteError::BadSetting {
                name: "AWS_ACCESS_KEY_ID",
                why: "is not set, and AWS_SECRET_ACCESS_KEY is",
            }),
            (None, None) => match (role, token_file) {
                (Some(role), Some(file)) => Ok(Credentials::Workload(WebIdentity::new(role, file, settings)?)),
                _ => Ok(Credentials::Anonymous),
            },
        }
    }

    /// Those that hold now.
    pub(super) fn current(&self, agent: &Agent) -> Result<Option<rusty_s3::Credentials>, RemoteError> {
        match self {
            Credentials::Anonymous => Ok(None),
            Credentials::Given(given) => Ok(Some(given.clone())),
            Credentials::Workload(workload) => workload.current(agent).map(Some),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Anonymous => "Anonymous",
            Credentials::Given(_) => "Given",
            Credentials::Workload(_) => "Workload",
        })
    }
}
