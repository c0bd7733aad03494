//! Who asks a registry: basic credentials, or the token that they (or nobody) are given for (RFC 7617, RFC 6750, and the
//! token protocol of Docker's registry).

/// Environment variable with the password, so that it stands in no list of processes.
pub const PASSWORD_VARIABLE: &str = "CRYOSCOPE_REGISTRY_PASSWORD";
/// Environment variable with the user, where `--username` is not given.
pub const USERNAME_VARIABLE: &str = "CRYOSCOPE_REGISTRY_USERNAME";

/// A user and a password. Not shown by `Debug`.
#[derive(Clone)]
pub struct Credentials {
    username: String,
    password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Of a user and a password.
    pub fn new(username: &str, password: &str) -> Credentials {
        Credentials { username: username.to_owned(), password: password.to_owned() }
    }

    /// From the environment; the user may be named instead.
    pub fn from_environment(username: Option<&str>) -> Option<Credentials> {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let username = username.map(str::to_owned).or_else(|| of(USERNAME_VARIABLE))?;
        Some(Credentials { username, password: of(PASSWORD_VARIABLE)? })
    }

    /// Value of the `Authorization` header.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", base64(format!("{}:{}", self.username, self.password).as_bytes()))
    }
}

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user and a password.
    Basic,
    /// A token, that `realm` gives.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// Reads the header; `None` for a scheme that is not known.
    pub(super) fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        for (name, value) in parameters(rest) {
            match &*name {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
        }
        Some(Challenge::Bearer { realm: realm?, service })
    }

    /// Address that gives the token to push to `name`; `None` where it would go over the wire in clear and nothing else does.
    pub(super) fn token_address(&self, name: &str, is_clear: bool) -> Option<String> {
        let Challenge::Bearer { realm, service } = self else { return None };
        let is_safe = realm.starts_with("https://") || (is_clear && realm.starts_with("http://"));
        if !is_safe || realm.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        let mark = if realm.contains('?') { '&' } else { '?' };
        let service = service.as_deref().map_or_else(String::new, |it| format!("service={}&", percent(it)));
        Some(format!("{realm}{mark}{service}scope={}", percent(&format!("repository:{name}:pull,push"))))
    }
}

/// `name="value", name=value`; quotes inside of values are not borne.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => rest.split_once('"').unwrap_or((rest, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        out.push((name, value.to_owned()));
        text = rest;
    }
    out
}

/// For a query: everything but letters and digits as `%NN`.
pub(super) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// RFC 4648, with padding.
pub(in crate::sandbox) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if at <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
        assert_eq!(Credentials::new("Aladdin", "open sesame").basic(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{:?}", Credentials::new("a", "secret")), "Credentials");
    }

    #[test]
    fn challenges_are_read() {
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        let bearer = Challenge::parse("Bearer realm=\"https://a.example/token\",service=\"r, x\",scope=\"y\"").unwrap();
        let address = bearer.token_address("a/b", false).unwrap();
        assert_eq!(address, "https://a.example/token?service=r%2C%20x&scope=repository%3Aa%2Fb%3Apull%2Cpush");
        for header in ["", "Digest realm=\"x\"", "Bearer", "Bearer realm"] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }

    #[test]
    fn credentials_never_go_over_the_wire_in_clear() {
        let of = |realm: &str| Challenge::Bearer { realm: realm.into(), service: None };
        assert_eq!(of("http://a.example/token").token_address("a", false), None);
        assert_eq!(of("https://a.example/\r\nX: y").token_address("a", false), None);
        assert!(of("http://127.0.0.1:1/token").token_address("a", true).is_some());
    }
}
