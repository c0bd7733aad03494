//! Secrets that can be told by their shape: keys, tokens, private keys, connection strings, password hashes.
//!
//! Each rule begins with letters that are looked for, all at once; what follows is checked letter by letter, so that the
//! list is short: lengths, alphabets, what stands before and behind, JSON inside tokens, a body behind the head of a key.
//! A rule finds what *looks* right; whether a key is still valid nobody asks. Sources: the issuers' documents of their
//! token formats, RFC 7519 (JWT), RFC 7468 (PEM), crypt(5).
//!
//! # Recipe for a new rule
//! A row in `RULES`, with a check below if the row cannot say it, and a line in the test.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, Input, MatchKind};
use serde_json::Value;

/// Longest secret in bytes, with the end of its checks.
pub(super) const MAX_SECRET_BYTES: usize = 8 << 10;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Name of the rule.
    pub rule: &'static str,
    /// What it says of itself: claims of a token, kind of a key, user and host.
    pub note: Option<String>,
}

/// All rules, ready to look for.
#[derive(Debug)]
pub(super) struct Secrets {
    heads: AhoCorasick,
    /// The rule of each head.
    rules: Vec<&'static Rule>,
}

#[derive(Debug)]
struct Rule {
    name: &'static str,
    /// How it begins.
    heads: &'static [&'static str],
    check: Check,
}

/// Length of a secret, and what it says of itself; `None` when it is none.
type Checked = Option<(usize, Option<String>)>;

#[derive(Clone, Copy, Debug)]
enum Check {
    /// So many letters of an alphabet follow, at least and at most, and no more of them.
    Letters(Alphabet, usize, usize),
    /// A function that gets what begins with the head, and the length of the head; it tells how long the secret is.
    With(fn(&[u8], usize) -> Checked),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alphabet {
    /// `A-Z0-9`.
    UpperAndDigits,
    /// `A-Za-z0-9`.
    LettersAndDigits,
    /// `A-Za-z0-9_-`.
    Base64Url,
    /// `A-Za-z0-9+/`.
    Base64,
    /// `0-9a-f`.
    Hex,
    /// `A-Za-z0-9./`.
    Crypt,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::UpperAndDigits => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Alphabet::LettersAndDigits => byte.is_ascii_alphanumeric(),
            Alphabet::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Alphabet::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'),
            Alphabet::Hex => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
            Alphabet::Crypt => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'),
        }
    }

    fn run(self, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| self.has(**byte)).count()
    }
}

use Alphabet::{Base64, Base64Url, Crypt, Hex, LettersAndDigits, UpperAndDigits};
use Check::{Letters, With};

const RULES: &[Rule] = &[
    Rule { name: "aws-access-key-id", heads: &["AKIA", "ASIA"], check: Letters(UpperAndDigits, 16, 16) },
    Rule {
        name: "aws-secret-access-key",
        heads: &[
            "aws_secret_access_key",
            "AWS_SECRET_ACCESS_KEY",
            "aws_secret_key",
            "AWS_SECRET_KEY",
            "SecretAccessKey",
            "secretAccessKey",
        ],
        check: With(aws_secret),
    },
    Rule {
        name: "github-token",
        heads: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        check: Letters(LettersAndDigits, 36, 36),
    },
    Rule { name: "github-token", heads: &["github_pat_"], check: With(github_pat) },
    Rule { name: "gitlab-token", heads: &["glpat-", "gldt-", "glrt-", "glptt-"], check: Letters(Base64Url, 20, 64) },
    Rule { name: "slack-token", heads: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-"], check: With(slack) },
    Rule { name: "slack-webhook", heads: &["https://hooks.slack.com/services/T"], check: With(slack_webhook) },
    Rule {
        name: "stripe-key",
        heads: &["sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"],
        check: Letters(LettersAndDigits, 24, 247),
    },
    Rule { name: "google-api-key", heads: &["AIza"], check: Letters(Base64Url, 35, 35) },
    Rule { name: "google-oauth-token", heads: &["ya29."], check: Letters(Base64Url, 40, 2048) },
    Rule { name: "google-oauth-secret", heads: &["GOCSPX-"], check: Letters(Base64Url, 28, 28) },
    Rule { name: "openai-key", heads: &["sk-proj-", "sk-svcacct-"], check: Letters(Base64Url, 40, 256) },
    Rule { name: "anthropic-key", heads: &["sk-ant-"], check: Letters(Base64Url, 80, 128) },
    Rule { name: "huggingface-token", heads: &["hf_"], check: Letters(LettersAndDigits, 34, 34) },
    Rule { name: "npm-token", heads: &["npm_"], check: Letters(LettersAndDigits, 36, 36) },
    Rule { name: "pypi-token", heads: &["pypi-AgEIcHlwaS5vcmc"], check: Letters(Base64Url, 50, 2048) },
    Rule { name: "docker-hub-token", heads: &["dckr_pat_"], check: Letters(Base64Url, 27, 27) },
    Rule { name: "digitalocean-token", heads: &["dop_v1_", "doo_v1_", "dor_v1_"], check: Letters(Hex, 64, 64) },
    Rule { name: "sendgrid-key", heads: &["SG."], check: With(sendgrid) },
    Rule { name: "vault-token", heads: &["hvs.", "hvb."], check: Letters(Base64Url, 24, 300) },
    Rule { name: "age-secret-key", heads: &["AGE-SECRET-KEY-1"], check: Letters(UpperAndDigits, 58, 58) },
    Rule { name: "azure-storage-key", heads: &["AccountKey="], check: With(azure_storage) },
    Rule { name: "jwt", heads: &["eyJ"], check: With(jwt) },
    Rule { name: "private-key", heads: &["-----BEGIN "], check: With(private_key) },
    Rule {
        name: "http-authorization",
        heads: &["Authorization: Basic ", "authorization: Basic ", "Authorization: Bearer ", "authorization: Bearer "],
        check: With(authorization),
    },
    Rule { name: "password-hash", heads: &["$1$", "$5$", "$6$"], check: With(crypt_hash) },
    Rule { name: "password-hash", heads: &["$y$", "$gy$"], check: With(yescrypt_hash) },
    Rule { name: "password-hash", heads: &["$2a$", "$2b$", "$2y$"], check: With(bcrypt_hash) },
    Rule {
        name: "connection-string",
        heads: &[
            "postgres://",
            "postgresql://",
            "postgresql+psycopg2://",
            "postgresql+psycopg://",
            "postgresql+asyncpg://",
            "mysql://",
            "mysql+pymysql://",
            "mysql+mysqldb://",
            "mariadb://",
            "mongodb://",
            "mongodb+srv://",
            "redis://",
            "rediss://",
            "amqp://",
            "amqps://",
            "mssql://",
            "mssql+pyodbc://",
            "sqlserver://",
            "oracle://",
            "clickhouse://",
            "cockroachdb://",
            "nats://",
            "mqtt://",
            "mqtts://",
            "ldap://",
            "ldaps://",
            "smtp://",
            "smtps://",
            "imap://",
            "imaps://",
            "ftp://",
            "ftps://",
            "sftp://",
            "ssh://",
            "http://",
            "https://",
            "socks5://",
        ],
        check: With(connection),
    },
];

impl Secrets {
    pub(super) fn new() -> Result<Secrets, BuildError> {
        let heads = || RULES.iter().flat_map(|rule| rule.heads.iter().map(move |head| (rule, *head)));
        let mut builder = AhoCorasick::builder();
        // More heads than the vectorised search takes; the automaton is small.
        builder.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::DFA));
        let built = builder.build(heads().map(|(_, head)| head))?;
        Ok(Secrets { heads: built, rules: heads().map(|(rule, _)| rule).collect() })
    }

    /// The next secret from `at` on that begins before `core_end`.
    pub(super) fn next(&self, bytes: &[u8], mut at: usize, core_end: usize) -> Option<(usize, usize, usize)> {
        while at < core_end {
            let found = self.heads.find(Input::new(bytes).range(at..bytes.len()))?;
            if core_end <= found.start() {
                return None;
            }
            let before = bytes.get(found.start().saturating_sub(3)..found.start()).unwrap_or_default();
            let rule = self.rules.get(found.pattern().as_usize())?;
            let reach = found.start().saturating_add(MAX_SECRET_BYTES).min(bytes.len());
            let candidate = bytes.get(found.start()..reach)?;
            match rule.find(before, candidate, found.len()) {
                Some((len, _)) => return Some((found.start(), found.start() + len, 0)),
                None => at = found.start() + 1,
            }
        }
        None
    }
}

/// What a match of the secret patterns is.
pub fn describe(secret: &[u8]) -> Option<Secret> {
    let heads = RULES.iter().flat_map(|rule| rule.heads.iter().map(move |head| (rule, head.as_bytes())));
    let fitting = heads.filter(|(_, head)| secret.starts_with(head));
    let (rule, head) = fitting.max_by_key(|(_, head)| head.len())?;
    let (_, note) = rule.find(&[], secret, head.len())?;
    Some(Secret { rule: rule.name, note })
}

impl Rule {
    /// Length of the secret that begins here, if one does, and what it says of itself.
    fn find(&self, before: &[u8], bytes: &[u8], head: usize) -> Checked {
        let is_word = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        // `%3D`, the end of a name in a URL, is no word. JSON inside says more than what stands before.
        let is_encoded = matches!(before, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        let goes_on = before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        if is_word && goes_on && !is_encoded && self.name != "jwt" {
            return None;
        }
        match self.check {
            Letters(alphabet, min, max) => {
                let body = bytes.get(head..)?;
                let len = alphabet.run(body);
                let is_whole = (min..=max).contains(&len) && is_mixed(body.get(..len)?);
                // A dash or an underscore goes on with a word of another kind.
                let goes_on = body.get(len).is_some_and(|byte| byte.is_ascii_alphanumeric());
                (is_whole && !goes_on).then_some((head + len, None))
            }
            With(check) => check(bytes, head),
        }
    }
}

/// Whether letters look drawn by lot and not written by a person (`xxxxxxxx`, `AKIAAAAAAAAAAAAAAAAA`).
fn is_mixed(body: &[u8]) -> bool {
    let mut seen = [false; 256];
    body.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let nr_different = seen.iter().filter(|seen| **seen).count();
    nr_different >= (body.len() / 4).clamp(4, 10)
}

fn aws_secret(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let gap = body.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'=' | b':' | b'"' | b'\'' | b'\\')).count();
    if !(1..=8).contains(&gap) {
        return None;
    }
    let key = body.get(gap..)?;
    let len = Base64.run(key);
    (len == 40 && is_mixed(key.get(..len)?)).then_some((head + gap + len, None))
}

fn github_pat(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let first = LettersAndDigits.run(body);
    let second = LettersAndDigits.run(body.get(first + 1..)?);
    (first == 22 && body.get(first) == Some(&b'_') && second == 59).then_some((head + 82, None))
}

fn slack(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let len = body.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    let mut parts = body.get(..len)?.split(|byte| *byte == b'-');
    let is_number = |part: &[u8]| part.len() >= 9 && part.iter().all(u8::is_ascii_digit);
    let is_right = parts.next().is_some_and(is_number) && parts.next_back().is_some_and(|part| part.len() >= 20);
    is_right.then_some((head + len, None))
}

fn slack_webhook(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let len = body.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'/').count();
    let parts: Vec<&[u8]> = body.get(..len)?.split(|byte| *byte == b'/').collect();
    match parts[..] {
        [team, [b'B', hook @ ..], secret] if team.len() >= 8 && hook.len() >= 8 && secret.len() == 24 => {
            Some((head + len, None))
        }
        _ => None,
    }
}

fn sendgrid(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let first = Base64Url.run(body);
    let second = Base64Url.run(body.get(first + 1..)?);
    (first == 22 && body.get(first) == Some(&b'.') && second == 43).then_some((head + 66, None))
}

fn azure_storage(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    (Base64.run(body) == 86 && body.get(86..88) == Some(b"==")).then_some((head + 88, None))
}

/// Header and claims are JSON objects in base64url; the header names an algorithm.
fn jwt(bytes: &[u8], _head: usize) -> Checked {
    let header_len = Base64Url.run(bytes);
    if bytes.get(header_len) != Some(&b'.') {
        return None;
    }
    let rest = bytes.get(header_len + 1..)?;
    let claims_len = Base64Url.run(rest);
    if rest.get(claims_len) != Some(&b'.') {
        return None;
    }
    let signature_len = Base64Url.run(rest.get(claims_len + 1..)?);
    let object = |part: &[u8]| match serde_json::from_slice(&base64(part)?) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    };
    let header = object(bytes.get(..header_len)?)?;
    let algorithm = header.get("alg")?.as_str()?.to_owned();
    let claims = object(rest.get(..claims_len)?)?;
    let note = format!("alg {algorithm}, claims {}", Value::Object(claims));
    Some((header_len + 1 + claims_len + 1 + signature_len, Some(note)))
}

/// From the head to the end line; what is between is base64 on lines, which may be escaped as in JSON.
fn private_key(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let label_len =
        body.iter().take_while(|byte| byte.is_ascii_uppercase() || matches!(byte, b' ' | b'0'..=b'9')).count();
    let label = std::str::from_utf8(body.get(..label_len)?).ok()?;
    let is_key = label.ends_with("PRIVATE KEY") || label == "PGP PRIVATE KEY BLOCK";
    let text = body.get(label_len..)?.strip_prefix(b"-----")?;
    if !is_key {
        return None;
    }
    let text_at = head + label_len + 5;
    let mut nr_letters = 0;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if matches!(text.get(at + 1), Some(b'n' | b'r')) => at += 1,
            b'\n' | b'\r' | b' ' | b'\t' | b'=' => {}
            // Headers inside old keys: `Proc-Type: 4,ENCRYPTED`, `DEK-Info: …`.
            b':' | b',' | b'-' if nr_letters < 200 && text.get(at..at + 5) != Some(b"-----") => {}
            byte if Base64.has(*byte) => nr_letters += 1,
            _ => break,
        }
        at += 1;
    }
    let end = format!("-----END {label}-----");
    let is_ended = text.get(at..).is_some_and(|rest| rest.starts_with(end.as_bytes()));
    let len = text_at + at + if is_ended { end.len() } else { 0 };
    if nr_letters < 24 {
        return None;
    }
    let cut = if is_ended { "" } else { ", its end is missing" };
    Some((len, Some(format!("{label}{cut}"))))
}

fn authorization(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let len =
        body.iter().take_while(|byte| Base64.has(**byte) || matches!(byte, b'=' | b'-' | b'.' | b'_' | b'~')).count();
    let token = body.get(..len)?;
    if bytes.get(..head)?.ends_with(b"Basic ") {
        let decoded = base64(token)?;
        let user = decoded.split(|byte| *byte == b':').next()?;
        let is_text = decoded.contains(&b':') && decoded.iter().all(|byte| (0x20..0x7f).contains(byte));
        return is_text.then(|| (head + len, Some(format!("user {}", String::from_utf8_lossy(user)))));
    }
    (len >= 16 && is_mixed(token)).then_some((head + len, None))
}

/// `$6$salt$hash`, with `rounds=N$` before the salt.
fn crypt_hash(bytes: &[u8], head: usize) -> Checked {
    let (hash_len, name) = match bytes.get(1)? {
        b'1' => (22, "MD5"),
        b'5' => (43, "SHA-256"),
        _ => (86, "SHA-512"),
    };
    let mut at = head;
    if bytes.get(at..)?.starts_with(b"rounds=") {
        let digits = bytes.get(at + 7..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        at += 7 + digits + 1;
    }
    let salt = Crypt.run(bytes.get(at..)?);
    let hash = bytes.get(at + salt + 1..)?;
    let is_right = (1..=16).contains(&salt) && bytes.get(at + salt) == Some(&b'$') && Crypt.run(hash) == hash_len;
    is_right.then(|| (at + salt + 1 + hash_len, Some(format!("{name} crypt"))))
}

fn yescrypt_hash(bytes: &[u8], head: usize) -> Checked {
    let mut at = head;
    for part in ["parameters", "salt"] {
        let len = Crypt.run(bytes.get(at..)?);
        let max = if part == "salt" { 86 } else { 32 };
        if !(1..=max).contains(&len) || bytes.get(at + len) != Some(&b'$') {
            return None;
        }
        at += len + 1;
    }
    (Crypt.run(bytes.get(at..)?) == 43).then(|| (at + 43, Some("yescrypt".to_owned())))
}

fn bcrypt_hash(bytes: &[u8], head: usize) -> Checked {
    let cost = bytes.get(head..head + 3)?;
    let is_cost = matches!(cost, [b'0'..=b'3', b'0'..=b'9', b'$']);
    let len = Crypt.run(bytes.get(head + 3..)?);
    (is_cost && len == 53).then(|| (head + 3 + len, Some("bcrypt".to_owned())))
}

/// `scheme://user:password@host`, without the usual examples of manuals.
fn connection(bytes: &[u8], head: usize) -> Checked {
    let body = bytes.get(head..)?;
    let is_in_url = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\');
    let len = body.iter().take_while(|byte| is_in_url(byte)).count();
    let url = std::str::from_utf8(body.get(..len)?).ok()?;
    let authority = url.split(['/', '?', '#']).next()?;
    let (login, host) = authority.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[],".contains(c));
    let is_blank = |text: &str| text.contains(['{', '}', '$', '*', '(', ')', '%']) && !is_percent_encoded(text);
    const OF_MANUALS: [&str; 10] =
        ["pass", "password", "passwd", "pwd", "pw", "secret", "user", "username", "xxx", "example"];
    let is_of_manuals = OF_MANUALS.contains(&password.to_ascii_lowercase().as_str())
        && (user.is_empty()
            || ["user", "username", "name", "me", "joe", "foo"].contains(&user.to_ascii_lowercase().as_str()));
    if password.is_empty() || !is_host || is_blank(password) || is_blank(user) || is_of_manuals {
        return None;
    }
    // Punctuation behind a URL in a text is not part of it.
    let end = url.trim_end_matches([',', '.', ';', ')', ']', '}']).len();
    Some((head + end, Some(format!("user {user} at {host}"))))
}

/// Whether each `%` begins two hex digits and no other blank is there.
fn is_percent_encoded(text: &str) -> bool {
    !text.contains(['{', '}', '$', '*', '(', ')'])
        && text
            .split('%')
            .skip(1)
            .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// Base64 of either alphabet, with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut nr_bits) = (0u32, 0u32);
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    for byte in digits {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        nr_bits += 6;
        if nr_bits >= 8 {
            nr_bits -= 8;
            out.push(u8::try_from(bits >> nr_bits & 0xff).unwrap_or(0));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::search::{Matcher, Pattern};

    /// Every secret of a text, one a line.
    fn check(text: &str, expected: &[&str]) {
        let matcher = Matcher::new(&[Pattern::Secrets]).unwrap();
        let found: Vec<String> = matcher
            .find_all(text.as_bytes())
            .into_iter()
            .map(|(start, len, _)| {
                let secret = &text[start..start + len];
                let Secret { rule, note } = describe(secret.as_bytes()).unwrap();
                format!("{rule} {} {secret}", note.unwrap_or_default())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn keys_and_tokens_are_whole_and_of_the_right_letters() {
        check("id=AKIAIOSFODNN7EXAMPLE;", &["aws-access-key-id  AKIAIOSFODNN7EXAMPLE"]);
        check(
            "xAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEX AKIAIOSFODNN7 AKIAAAAAAAAAAAAAAAAA akiaiosfodnn7example",
            &[],
        );
        check(
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
            &["aws-secret-access-key  aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
        );
        let token = "ghp_0123456789abcdefghijABCDEFGHIJKLMNOP";
        check(&format!("{token} {token}x ghp_{}", "x".repeat(36)), &[&format!("github-token  {token}")]);
        check(
            "$6$abc$short $1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
            &["password-hash MD5 crypt $1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"],
        );
    }

    #[test]
    fn tokens_of_json_are_decoded() {
        let jwt = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJzaG9wLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImV4cCI6MTg5MDAwMDAwMH0.bm90LWEtc2lnbmF0dXJl";
        let claims = r#"{"iss":"shop.example","sub":"alice","exp":1890000000}"#;
        check(&format!("token%3D{jwt}&"), &[&format!("jwt alg none, claims {claims} {jwt}")]);
        check(&format!("\"{jwt}\""), &[&format!("jwt alg none, claims {claims} {jwt}")]);
        check("eyJhbGciOiJub25lIn0.bm9qc29u.x eyJub2FsZyI6MX0.e30.x eyJ", &[]);
    }

    #[test]
    fn heads_of_keys_without_a_body_are_none() {
        let key =
            "-----BEGIN RSA PRIVATE KEY-----\nTk9ULUEtUkVBTC1LRVktRk9SLVRFU1RTLU9OTFk=\n-----END RSA PRIVATE KEY-----";
        check(&format!("{key}\n"), &[&format!("private-key RSA PRIVATE KEY {key}")]);
        check(&key.replace('\n', "\\n"), &[&format!("private-key RSA PRIVATE KEY {}", key.replace('\n', "\\n"))]);
        let cut = &key[..60];
        check(cut, &[&format!("private-key RSA PRIVATE KEY, its end is missing {cut}")]);
        check("-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----", &[]);
        check(&key.replace("PRIVATE", "PUBLIC"), &[]);
    }

    #[test]
    fn connection_strings_have_a_password_that_is_no_example() {
        check(
            "DATABASE_URL=postgres://shop:not-a-real-password@db:5432/shop\0",
            &["connection-string user shop at db:5432 postgres://shop:not-a-real-password@db:5432/shop"],
        );
        check("see redis://:p%40ss1@cache, ok", &["connection-string user  at cache redis://:p%40ss1@cache"]);
        check("http://user:password@host/ http://%s:%s@x ftp://{u}:{p}@h https://example.com/a:b@c http://h/", &[]);
    }

    #[test]
    fn headers_with_credentials_are_decoded() {
        check(
            "Authorization: Basic YWxpY2U6c2VjcmV0\r\n",
            &["http-authorization user alice Authorization: Basic YWxpY2U6c2VjcmV0"],
        );
        check("Authorization: Basic realm\r\nAuthorization: Bearer token", &[]);
    }
}
