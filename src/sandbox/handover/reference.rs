//! Names of images in registries: `HOST[:PORT]/NAME[:TAG]`, read as the OCI distribution specification (v1.1) writes them.

use super::HandoverError;

/// Longest name that is taken.
const MAX_BYTES: usize = 512;
/// Tag where none is given.
const DEFAULT_TAG: &str = "latest";

/// A name in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host, with the port where one is given.
    pub host: String,
    /// Name of the repository.
    pub name: String,
    /// Tag.
    pub tag: String,
}

impl Reference {
    /// Reads a name; the host must be told, nothing goes to a registry that was not named.
    ///
    /// # Errors
    /// `BadReference`.
    pub fn parse(text: &str) -> Result<Reference, HandoverError> {
        let bad = |why| HandoverError::BadReference { given: text.chars().take(MAX_BYTES).collect(), why };
        if MAX_BYTES < text.len() {
            return Err(bad("it is too long"));
        }
        if text.contains("://") {
            return Err(bad("it begins with a scheme"));
        }
        if text.contains('@') {
            return Err(bad("it has a digest or a user, and only a tag can be given"));
        }
        let (host, rest) = text.split_once('/').ok_or_else(|| bad("it names no registry"))?;
        if !(host.contains(['.', ':']) || host == "localhost") {
            return Err(bad("it names no registry"));
        }
        if !is_host(host) {
            return Err(bad("the registry's host makes no sense"));
        }
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) => (name, tag),
            None => (rest, DEFAULT_TAG),
        };
        if !name.split('/').all(is_part) {
            return Err(bad("the name has parts other than lower-case letters, digits and single . _ - between them"));
        }
        if !is_tag(tag) {
            return Err(bad("the tag has other than letters, digits and . _ -"));
        }
        Ok(Reference { host: host.to_owned(), name: name.to_owned(), tag: tag.to_owned() })
    }

    /// Whether the registry is on this machine, where no TLS is needed.
    pub fn is_local(&self) -> bool {
        let host = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// `https://HOST`, or `http://`.
    pub fn base(&self, is_clear: bool) -> String {
        // Docker's registry has another host than its images are named by.
        let host = if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host };
        format!("{}://{host}", if is_clear { "http" } else { "https" })
    }

    /// The image by digest.
    pub fn with_digest(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.host, self.name)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.host, self.name, self.tag)
    }
}

/// A host name or address, with a port or without.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port.strip_prefix(':')),
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    if !(bytes.first().copied().is_some_and(is_word) && bytes.last().copied().is_some_and(is_word)) {
        return false;
    }
    let between = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    between.into_iter().all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// Whether a text can stand as the image of a container: printable, without spaces.
pub fn is_image_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4096 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let check = |text: &str, host: &str, name: &str, tag: &str, base: &str| {
            let found = Reference::parse(text).unwrap();
            assert_eq!(
                (&*found.host, &*found.name, &*found.tag, &*found.base(found.is_local())),
                (host, name, tag, base),
                "{text}"
            );
        };
        check("localhost:5000/a/b:1", "localhost:5000", "a/b", "1", "http://localhost:5000");
        check("127.0.0.1:5000/a", "127.0.0.1:5000", "a", "latest", "http://127.0.0.1:5000");
        check("[::1]:5000/a:x", "[::1]:5000", "a", "x", "http://[::1]:5000");
        check("r.example/a--b__c.d:V1.2-x", "r.example", "a--b__c.d", "V1.2-x", "https://r.example");
        check("localhost.example:80/a", "localhost.example:80", "a", "latest", "https://localhost.example:80");
        check("docker.io/library/a", "docker.io", "library/a", "latest", "https://registry-1.docker.io");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "counter",
            "counter:1",
            "user/counter:1",
            "https://r.example/a:1",
            "r.example/",
            "r.example/A:1",
            "r.example/a..b:1",
            "r.example/a/../b:1",
            "r.example/-a:1",
            "r.example/a:",
            "r.example/a:b c",
            "r.example/a:1\n",
            "r.example/a@sha256:00",
            "user:password@r.example/a:1",
            "r.example:0/a",
            "r.example:99999/a",
            "r_e.example/a",
            "r.example\r\nX: y/a",
            "[::1/a",
        ] {
            assert!(matches!(Reference::parse(text), Err(HandoverError::BadReference { .. })), "{text}");
        }
    }
}
