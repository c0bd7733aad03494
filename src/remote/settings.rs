//! Where buckets are and who asks for them, by the variables that all programs for S3 know.

use std::fmt;

use super::RemoteError;
use super::s3_uri::check_bucket;

/// Region where none is named.
const REGION: &str = "us-east-1";

/// Where buckets are, and who asks. Each is as it was given; an empty one counts as not given.
#[derive(Clone, Default)]
pub struct Settings {
    /// Address of a store other than Amazon's: `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Option<String>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<String>,
    /// `AWS_ROLE_ARN`: what a workload of Kubernetes is there.
    pub role: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`: says who the workload is.
    pub token_file: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`: who gives credentials for the token.
    pub sts_endpoint: Option<String>,
}

impl Settings {
    /// As these variables say.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Settings {
        let var = |name: &str| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Settings {
            endpoint: var("AWS_ENDPOINT_URL_S3").or_else(|| var("AWS_ENDPOINT_URL")),
            region: var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION")),
            access_key: var("AWS_ACCESS_KEY_ID"),
            secret_key: var("AWS_SECRET_ACCESS_KEY"),
            session_token: var("AWS_SESSION_TOKEN"),
            role: var("AWS_ROLE_ARN"),
            token_file: var("AWS_WEB_IDENTITY_TOKEN_FILE"),
            sts_endpoint: var("AWS_ENDPOINT_URL_STS"),
        }
    }

    /// The region, which becomes part of host names.
    pub(super) fn region(&self) -> Result<&str, RemoteError> {
        let region = self.region.as_deref().unwrap_or(REGION);
        let is_right =
            region.len() <= 63 && region.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        is_right
            .then_some(region)
            .ok_or(RemoteError::BadSetting { name: "the region", why: "letters, digits and - make one" })
    }

    /// Amazon's domain for the region.
    pub(super) fn domain(&self) -> Result<&'static str, RemoteError> {
        Ok(if self.region()?.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" })
    }
}

/// Not the secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key", &self.access_key.is_some())
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Checks an address to which something is added.
pub(super) fn check_endpoint(name: &'static str, given: &str) -> Result<(), RemoteError> {
    let bad = |why| Err(RemoteError::BadSetting { name, why });
    let Some(rest) = given.strip_prefix("https://").or_else(|| given.strip_prefix("http://")) else {
        return bad("give https://HOST or http://HOST:PORT");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return bad("credentials in it would end up in logs; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    if host.is_empty() || rest.contains(['?', '#']) || given.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad("give https://HOST or http://HOST:PORT, and nothing behind it but a path");
    }
    Ok(())
}

/// Whether a bucket's name can stand in a host name, where one certificate covers it.
pub(super) fn is_label(name: &str) -> bool {
    check_bucket(name).is_ok()
        && (3..=63).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_one_service_come_before_those_of_all() {
        let vars = |name: &str| {
            let value = match name {
                "AWS_ENDPOINT_URL" => "http://all",
                "AWS_ENDPOINT_URL_S3" => "http://s3",
                "AWS_DEFAULT_REGION" => "eu-west-1",
                "AWS_REGION" => " ",
                "AWS_SECRET_ACCESS_KEY" => "hush",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let settings = Settings::from_vars(vars);
        assert_eq!(settings.endpoint.as_deref(), Some("http://s3"));
        assert_eq!(settings.region().ok(), Some("eu-west-1"));
        assert!(!format!("{settings:?}").contains("hush"));
        let with = |region: &str| Settings { region: Some(region.into()), ..Settings::default() };
        assert!(with("a.b").region().is_err() && with("evil.example/").region().is_err());
        assert_eq!(with("cn-north-1").domain().ok(), Some("amazonaws.com.cn"));
    }

    #[test]
    fn endpoints_are_bare_addresses() {
        for right in ["https://minio.example", "http://127.0.0.1:9000", "https://h/s3/", "http://[::1]:9000"] {
            assert!(check_endpoint("--endpoint", right).is_ok(), "{right}");
        }
        for wrong in ["minio.example", "ftp://h", "https://", "https://u:p@h", "https://h/?a=1", "https://h x"] {
            assert!(check_endpoint("--endpoint", wrong).is_err(), "{wrong}");
        }
        assert!(is_label("evidence-1") && !is_label("case.117") && !is_label("Case") && !is_label("ab"));
    }
}
