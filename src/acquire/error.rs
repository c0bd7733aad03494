//! What goes wrong between here and an agent, and what to do then.

use std::error::Error as _;
use std::io;

use rustls::{AlertDescription, CertificateError};
use thiserror::Error;

use super::tls::TlsError;
use super::wire::Problem;

/// Why a request to an agent was not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The kept certificates cannot be used.
    #[error("{node}: {source}; `cryoscope acquire forget {node}` and pair again")]
    Identity {
        /// The node.
        node: String,
        /// What is wrong with them.
        source: TlsError,
    },
    /// The proxy's address makes no sense.
    #[error(
        "{given:?} is no proxy: give http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT (socks5, socks4a and socks4 too)"
    )]
    BadProxy {
        /// As it was given.
        given: String,
    },
    /// Nothing could be sent, or the answer broke off.
    #[error("{node}: {what}")]
    Line {
        /// The node.
        node: String,
        /// What went wrong, and what to do.
        what: String,
    },
    /// One end does not believe the other.
    #[error("{node}: {what}")]
    Trust {
        /// The node.
        node: String,
        /// What is not believed, and what to do.
        what: String,
    },
    /// The agent does not want to, and says why.
    #[error("{node}: {}", said(problem))]
    Refused {
        /// The node.
        node: String,
        /// HTTP status.
        status: u16,
        /// Its explanation.
        problem: Box<Problem>,
    },
    /// The answer is not one of this API.
    #[error("{node}: the answer to {path} cannot be used: {what}")]
    Malformed {
        /// The node.
        node: String,
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

/// An explanation as one line, with the hint and the words of the runtime.
pub fn said(problem: &Problem) -> String {
    let mut line = problem.message.clone();
    if let Some(hint) = &problem.hint {
        line.push_str("; ");
        line.push_str(hint);
    }
    if let Some(detail) = &problem.detail {
        let first: String = detail.trim().chars().take(500).collect();
        line.push_str(&format!(" ({first})"));
    }
    line
}

impl ClientError {
    /// Whether another try may do better: the line broke, or the agent is busy.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Line { .. } => true,
            ClientError::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    pub(super) fn from_ureq(node: &str, error: ureq::Error) -> ClientError {
        let node = node.to_owned();
        match &error {
            ureq::Error::Io(io) => ClientError::of_io(node, io),
            ureq::Error::Rustls(tls) => ClientError::of_tls(node, tls),
            ureq::Error::HostNotFound => {
                ClientError::Line { node, what: "its host name is not known here; give another by --address".into() }
            }
            ureq::Error::Timeout(_) => ClientError::Line {
                node,
                what: format!("no answer in time ({error}); is the agent running, and the port open?"),
            },
            ureq::Error::ConnectProxyFailed(what) => {
                ClientError::Line { node, what: format!("the proxy does not connect ({what})") }
            }
            ureq::Error::LargeResponseHeader(..) | ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
                ClientError::Malformed { node, path: "the request".into(), what: error.to_string() }
            }
            _ => ClientError::Line { node, what: error.to_string() },
        }
    }

    /// Of an error while an answer arrives.
    pub(super) fn from_io(node: &str, error: io::Error) -> ClientError {
        if error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
            return ClientError::from_ureq(node, ureq::Error::from(error));
        }
        ClientError::of_io(node.to_owned(), &error)
    }

    fn of_io(node: String, error: &io::Error) -> ClientError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = inner.or_else(|| error.source().and_then(|source| source.downcast_ref())) {
            return ClientError::of_tls(node, tls);
        }
        let what = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "nothing listens there: is cryoscope-agent running, and is the port right?".into()
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                format!("the line broke ({error})")
            }
            _ => error.to_string(),
        };
        ClientError::Line { node, what }
    }

    fn of_tls(node: String, error: &rustls::Error) -> ClientError {
        let trust = |what: String| ClientError::Trust { node: node.clone(), what };
        match error {
            rustls::Error::InvalidCertificate(why) => trust(of_certificate(why)),
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateExpired => {
                    trust("this workstation's certificate has expired there: forget the node and pair again".into())
                }
                AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateRequired
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError => trust(format!(
                    "the agent does not accept this workstation's certificate ({alert:?}): forget the node and pair again"
                )),
                AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
                    trust(format!("what listens there does not speak TLS 1.3 as an agent does ({alert:?})"))
                }
                other => ClientError::Line { node, what: format!("the agent ended the line ({other:?})") },
            },
            rustls::Error::InvalidMessage(_) => trust("what listens there does not speak TLS".into()),
            rustls::Error::PeerIncompatible(why) => {
                trust(format!("what listens there does not speak TLS 1.3 as an agent does ({why:?})"))
            }
            other => ClientError::Line { node, what: other.to_string() },
        }
    }
}

fn of_certificate(why: &CertificateError) -> String {
    let now = super::client::now();
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired; the clock here says {now:.0}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet; the clock here says {now:.0}: one of the clocks is wrong")
        }
        // An agent that was installed anew has an authority of the same name with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not of the authority that is expected: this is another agent, or somebody is in \
             between; when the agent was installed anew, forget the node and pair again"
                .into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another node of the same authority; is the address that of the right one?".into()
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do_and_whether_to_try_again() {
        let foreign = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
        );
        let error = ClientError::from_ureq("a", foreign.into());
        assert!(error.to_string().contains("somebody is in between") && !error.is_transient(), "{error}");
        let error = ClientError::from_io("a", io::ErrorKind::ConnectionRefused.into());
        assert!(error.to_string().contains("cryoscope-agent running") && error.is_transient(), "{error}");
        let problem = Problem {
            code: "no-such-container".into(),
            message: "there is no container web".into(),
            hint: Some("list them".into()),
            detail: Some("pod does not exist\n".into()),
            log: Vec::new(),
        };
        let error = ClientError::Refused { node: "a".into(), status: 404, problem: Box::new(problem) };
        assert_eq!(error.to_string(), "a: there is no container web; list them (pod does not exist)");
        assert!(!error.is_transient());
    }
}
