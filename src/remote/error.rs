//! What goes wrong between here and a store, and what to do then.

use std::error::Error as _;
use std::io::{self, Read as _};

use roxmltree::{Document, ParsingOptions};
use rustls::CertificateError;
use ureq::Body;
use ureq::http::Response;

use crate::base::Cancelled;

/// Most bytes of a refusal that are read.
const MAX_REFUSAL_BYTES: u64 = 64 << 10;
/// Most elements of one.
const MAX_REFUSAL_NODES: u32 = 256;
/// Longest explanation that is repeated.
const MAX_SAID: usize = 200;

/// Why a list or an object cannot be had. The text says what and what to do; of whom, the caller knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Not an address that can be asked.
    #[error("{given}: {why}")]
    BadAddress {
        /// As it was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key that cannot be asked for.
    #[error("{why}")]
    BadKey {
        /// What is wrong with it.
        why: &'static str,
    },
    /// An option or a variable makes no sense.
    #[error("{name}: {why}")]
    BadSetting {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file that says who a workload is cannot be read.
    #[error("AWS_WEB_IDENTITY_TOKEN_FILE: {path} cannot be read")]
    Token {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing could be sent, or the answer broke off.
    #[error("{what}")]
    Line {
        /// What went wrong.
        what: String,
        /// Whether another try may do better.
        is_transient: bool,
    },
    /// The server does not want to.
    #[error("the server answers {status}{what}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its code of the error (`AccessDenied`); empty where it has none.
        code: String,
        /// Both in words, with what to do.
        what: String,
    },
    /// The answer is none of this protocol.
    #[error("the server's answer cannot be used: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The object is another one by now.
    #[error("it was replaced while it was read; start again")]
    Changed,
    /// The analyst pressed stop.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

impl RemoteError {
    /// Whether another try may do better: the line broke, or the server is busy.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            RemoteError::Line { is_transient, .. } => *is_transient,
            RemoteError::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether it is who asks that is not wanted.
    pub fn is_denied(&self) -> bool {
        matches!(self, RemoteError::Refused { code, .. } if code == "AccessDenied")
    }

    /// The messages of ureq may repeat the address with its signature, and are not repeated.
    pub(super) fn from_ureq(error: &ureq::Error) -> RemoteError {
        let line = |what: &str, is_transient| RemoteError::Line { what: what.to_owned(), is_transient };
        match error {
            ureq::Error::Io(error) => RemoteError::from_io(error),
            ureq::Error::Rustls(error) => of_tls(error),
            ureq::Error::HostNotFound => line("the host is not known", false),
            ureq::Error::Timeout(_) => line("the server does not answer in time", true),
            ureq::Error::ConnectProxyFailed(_) => line("the proxy does not connect", false),
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
                RemoteError::Malformed { what: "it sends on from address to address" }
            }
            ureq::Error::RequireHttpsOnly(_) => {
                RemoteError::Malformed { what: "it sends on from https to http, which is not followed" }
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => line("this is no address that can be asked", false),
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                RemoteError::Malformed { what: "it is no HTTP" }
            }
            _ => line("cannot be fetched", false),
        }
    }

    /// Of an error while an answer arrives.
    pub(super) fn from_io(error: &io::Error) -> RemoteError {
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            return RemoteError::from_ureq(error);
        }
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.source()?.downcast_ref());
        if let Some(error) = tls {
            return of_tls(error);
        }
        let said = error.to_string();
        if said.contains("lookup address") {
            let is_transient = said.contains("emporary");
            return RemoteError::Line { what: format!("the host is not known ({said})"), is_transient };
        }
        let what = match error.kind() {
            io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
            io::ErrorKind::UnexpectedEof => "the line broke".to_owned(),
            io::ErrorKind::TimedOut => "the server does not answer in time".to_owned(),
            _ => format!("the line broke ({said})"),
        };
        RemoteError::Line { what, is_transient: error.kind() != io::ErrorKind::ConnectionRefused }
    }
}

fn of_tls(error: &rustls::Error) -> RemoteError {
    let what = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is of no authority that this machine trusts; add the authority to those of the system, or \
             name a file with its certificate by SSL_CERT_FILE"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host; is the address right?".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "its certificate is not valid now; is the clock here right?".to_owned(),
        rustls::Error::InvalidMessage(_) => "what listens there does not speak TLS; is it http, not https?".to_owned(),
        rustls::Error::General(what) if what.contains("certificate") => format!(
            "this machine has no certificates of authorities ({what}); install ca-certificates, or name a file by \
             SSL_CERT_FILE"
        ),
        other => format!("no TLS with it: {other}"),
    };
    RemoteError::Line { what, is_transient: false }
}

/// Who asked, and for what: another refusal needs another advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A store, with credentials.
    Signed,
    /// A store, without.
    Anonymous,
    /// An address, which has in it whatever is needed.
    Address,
}

/// Lets an answer through that is none of an error.
pub(super) fn refused(response: Response<Body>, asked: Asked) -> Result<Response<Body>, RemoteError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let region = header("x-amz-bucket-region").map(str::to_owned);
    let mut body = Vec::new();
    // Of an answer that breaks off, what came.
    let _ = response.into_body().into_reader().take(MAX_REFUSAL_BYTES).read_to_end(&mut body);
    let said = Said::parse(&body);
    let region = region.or_else(|| said.region.clone()).filter(|region| is_word(region));
    Err(refusal(status, &said, region.as_deref(), asked))
}

/// The document that comes with a refusal.
#[derive(Debug, Default)]
struct Said {
    code: String,
    message: String,
    region: Option<String>,
}

impl Said {
    fn parse(body: &[u8]) -> Said {
        let options = ParsingOptions { nodes_limit: MAX_REFUSAL_NODES, ..ParsingOptions::default() };
        let text = std::str::from_utf8(body).unwrap_or_default();
        let Ok(document) = Document::parse_with_options(text, options) else { return Said::default() };
        // Amazon's STS has the error one level deeper.
        let error = document.descendants().find(|node| node.tag_name().name() == "Error");
        let of = |name: &str| {
            let child = error?.children().find(|node| node.tag_name().name() == name)?;
            child.text().map(|text| text.trim().to_owned())
        };
        let code = of("Code").filter(|code| is_word(code)).unwrap_or_default();
        Said { code, message: of("Message").unwrap_or_default(), region: of("Region") }
    }
}

/// A word that can be repeated wherever it is shown.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn refusal(status: u16, said: &Said, region: Option<&str>, asked: Asked) -> RemoteError {
    let Said { code, message, .. } = said;
    let is_of_clock = code == "RequestTimeTooSkewed"
        || (code == "AccessDenied" && (message.contains("expired") || message.contains("not yet valid")));
    let advice = match (code.as_str(), region) {
        _ if is_of_clock && asked == Asked::Address => "the address has expired; make a new one".to_owned(),
        _ if is_of_clock => {
            "the clocks here and there differ by more than is allowed; set the one that is wrong".into()
        }
        (
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "Redirect"
            | "AuthorizationHeaderMalformed"
            | "AuthorizationQueryParametersError"
            | "IllegalLocationConstraintException",
            Some(region),
        ) => format!("the bucket is in the region {region}: give --region {region}"),
        ("NoSuchBucket", _) => "there is no bucket of this name; are the name, --endpoint and --region right?".into(),
        ("NoSuchKey", _) => "there is no object of this name; all that lies below one is named with / behind it".into(),
        ("AccessDenied" | "AllAccessDisabled", _) => match asked {
            Asked::Signed => {
                "the credentials may not do this: s3:ListBucket lists, s3:GetObject reads; and does --region fit?"
                    .into()
            }
            Asked::Anonymous => {
                "it was asked without credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into()
            }
            Asked::Address => "the address gives no right to it".into(),
        },
        ("InvalidAccessKeyId", _) => "the store does not know AWS_ACCESS_KEY_ID; is it one of this store?".into(),
        ("SignatureDoesNotMatch", _) if asked == Asked::Address => "the address was changed, or is not whole".into(),
        ("SignatureDoesNotMatch", _) => {
            "AWS_SECRET_ACCESS_KEY does not fit the access key, or a proxy changes the host name".into()
        }
        ("ExpiredToken" | "InvalidToken" | "ExpiredTokenException" | "InvalidIdentityToken", _) => {
            "the credentials are no longer valid; get new ones".into()
        }
        ("InvalidObjectState", _) => "the object lies in an archive of the store; restore it there first".into(),
        (_, Some(region)) if (300..400).contains(&status) => {
            format!("the bucket is in the region {region}: give --region {region}")
        }
        _ if (300..400).contains(&status) => {
            "it sends on to another address, and what is signed is not followed; give that one by --endpoint".into()
        }
        _ => repeated(message),
    };
    let code_told = if code.is_empty() { String::new() } else { format!(" {code}") };
    let advice = if advice.is_empty() { advice } else { format!(": {advice}") };
    RemoteError::Refused { status, code: code.clone(), what: format!("{code_told}{advice}") }
}

/// An explanation that is not known here. One that repeats what was signed is left out.
fn repeated(message: &str) -> String {
    let lower = message.to_ascii_lowercase();
    if lower.contains("x-amz-") || lower.contains("signature=") {
        return String::new();
    }
    message.chars().take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, code: &str, message: &str, asked: Asked, wanted: &str) {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><Region>eu-west-1</Region>\
             <AWSAccessKeyId>AKID</AWSAccessKeyId><StringToSign>AWS4-secret</StringToSign></Error>"
        );
        let said = Said::parse(body.as_bytes());
        let error = refusal(status, &said, said.region.as_deref(), asked).to_string();
        assert!(error.contains(wanted) && error.contains(code), "{error}");
        assert!(!error.contains("AKID") && !error.contains("AWS4-secret"), "{error}");
    }

    #[test]
    fn refusals_say_what_to_do() {
        check(404, "NoSuchBucket", "m", Asked::Signed, "no bucket of this name");
        check(403, "AccessDenied", "m", Asked::Signed, "s3:ListBucket");
        check(403, "AccessDenied", "m", Asked::Anonymous, "set AWS_ACCESS_KEY_ID");
        check(403, "AccessDenied", "Request has expired", Asked::Address, "make a new one");
        check(403, "AccessDenied", "Request has expired", Asked::Signed, "clocks");
        check(403, "RequestTimeTooSkewed", "m", Asked::Signed, "clocks");
        check(403, "SignatureDoesNotMatch", "m", Asked::Signed, "AWS_SECRET_ACCESS_KEY");
        check(301, "PermanentRedirect", "m", Asked::Signed, "--region eu-west-1");
        check(400, "AuthorizationQueryParametersError", "m", Asked::Signed, "--region eu-west-1");
        check(503, "SlowDown", "Reduce your rate", Asked::Signed, "Reduce your rate");
        check(400, "Odd", "https://h/?X-Amz-Signature=1", Asked::Signed, "answers 400 Odd");
    }

    #[test]
    fn refusals_of_hostile_servers_are_short_and_plain() {
        let long = "x".repeat(10_000);
        for body in ["<Error><Code>a b\u{1b}</Code></Error>", "<a><!DOCTYPE x>", "", "\u{0}", &"<a>".repeat(20_000)] {
            let error = refusal(500, &Said::parse(body.as_bytes()), None, Asked::Signed);
            assert_eq!(error.to_string(), "the server answers 500");
            assert!(error.is_transient());
        }
        let said = Said::parse(format!("<Error><Code>Odd</Code><Message>{long}</Message></Error>").as_bytes());
        assert!(refusal(400, &said, None, Asked::Signed).to_string().len() < 300);
    }
}
