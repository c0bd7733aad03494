//! A store that speaks S3, for tests: it lists two keys a page, checks signatures by its own reckoning, and is as bad as its
//! buckets are called.
//!
//! | bucket | does |
//! |---|---|
//! | `evidence` | serves to who signs right |
//! | `public` | serves to anybody |
//! | `busy` | as `evidence`, and refuses every first request |
//! | `gone`, `denied`, `moved`, `late` | refuses, each in its way |
//! | `circle`, `endless`, `elsewhere`, `huge`, `page` | lists what makes no sense |
//!
//! Of an object whose key has `flaky` in it the line breaks in the middle, the first time; of `replaced` it is another one
//! then, of `stubborn` it breaks each time, of `plain` no part is given.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

pub(crate) const ACCESS_KEY: &str = "AKIDTEST";
pub(crate) const SECRET_KEY: &str = "hush/this+is=secret";
/// What a workload gets for [`WORKLOAD_TOKEN`].
pub(crate) const WORKLOAD: [&str; 3] = ["ASIATEST", "workload-secret", "session/token+=="];
pub(crate) const WORKLOAD_TOKEN: &str = "header.payload.signature";
const REGION: &str = "eu-test-1";

/// A running store.
pub(crate) struct Store {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// What was asked for: path and query without signature, range.
    asked: Mutex<Vec<String>>,
    once: Mutex<HashSet<String>>,
}

impl Store {
    /// With these objects in every bucket that serves any.
    pub(crate) fn new(objects: BTreeMap<String, Vec<u8>>) -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State { objects, ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::Builder::new()
            .spawn(move || {
                for line in listener.incoming() {
                    let state = Arc::clone(&shared);
                    // Who has gone is not answered.
                    std::thread::Builder::new().spawn(move || state.answer(line.unwrap()).unwrap_or(())).unwrap();
                }
            })
            .unwrap();
        Store { url, state }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

struct Request {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn read(line: &TcpStream) -> Option<Request> {
        let mut reader = BufReader::new(line.try_clone().unwrap());
        let mut first = String::new();
        reader.read_line(&mut first).ok()?;
        let mut words = first.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (decode(name), decode(value))
        };
        let query = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let len = headers.get("content-length").map_or(0, |len| len.parse().unwrap());
        let mut body = vec![0; len];
        reader.read_exact(&mut body).ok()?;
        Some(Request { method, path: path.to_owned(), query, headers, body })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// What the signature should be; the code of the error where it is not.
    fn check_signature(&self) -> Result<(), &'static str> {
        let of = |name: &str| self.get(name).ok_or("AccessDenied");
        let signature = of("X-Amz-Signature")?;
        assert_eq!(of("X-Amz-Algorithm")?, "AWS4-HMAC-SHA256");
        let scope: Vec<&str> = of("X-Amz-Credential")?.split('/').collect();
        let [key, day, region, "s3", "aws4_request"] = scope[..] else {
            return Err("AuthorizationQueryParametersError");
        };
        if region != REGION {
            return Err("AuthorizationQueryParametersError");
        }
        let secret = match key {
            ACCESS_KEY => SECRET_KEY,
            _ if key == WORKLOAD[0] && self.get("X-Amz-Security-Token") == Some(WORKLOAD[2]) => WORKLOAD[1],
            _ => return Err("InvalidAccessKeyId"),
        };
        let time = of("X-Amz-Date")?;
        assert!(time.starts_with(day) && time.ends_with('Z') && time.len() == 16, "{time}");
        assert!(of("X-Amz-Expires")?.parse::<u32>().unwrap() <= 604_800);
        let mut query: Vec<String> = self
            .query
            .iter()
            .filter(|(name, _)| name != "X-Amz-Signature")
            .map(|(name, value)| format!("{}={}", encode(name, ""), encode(value, "")))
            .collect();
        query.sort();
        let names = of("X-Amz-SignedHeaders")?;
        assert!(names.split(';').any(|name| name == "host"));
        let headers: String = names.split(';').map(|name| format!("{name}:{}\n", self.headers[name])).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{names}\nUNSIGNED-PAYLOAD",
            self.method,
            encode(&decode(&self.path), "/"),
            query.join("&"),
        );
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{day}/{region}/s3/aws4_request\n{digest}");
        let mut by = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
        for part in [region, "s3", "aws4_request"] {
            by = hmac(&by, part.as_bytes());
        }
        if hex(&hmac(&by, text.as_bytes())) == signature { Ok(()) } else { Err("SignatureDoesNotMatch") }
    }
}

impl State {
    fn answer(&self, mut line: TcpStream) -> std::io::Result<()> {
        let Some(request) = Request::read(&line) else { return Ok(()) };
        if request.method == "POST" {
            return sts(&mut line, &request);
        }
        let path = decode(&request.path);
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let told: Vec<String> = request
            .query
            .iter()
            .filter(|(name, _)| !name.starts_with("X-Amz-"))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let range = request.headers.get("range").map(String::as_str).unwrap_or_default();
        self.asked.lock().unwrap().push(format!("{path} {} {range}", told.join("&")).trim().to_owned());
        if bucket != "public"
            && let Err(code) = request.check_signature()
        {
            return refuse(&mut line, "403 Forbidden", code, "");
        }
        let is_first = |what: &str| self.once.lock().unwrap().insert(format!("{what} {path} {told:?}"));
        match bucket {
            "gone" => return refuse(&mut line, "404 Not Found", "NoSuchBucket", ""),
            "denied" => return refuse(&mut line, "403 Forbidden", "AccessDenied", ""),
            "late" => return refuse(&mut line, "403 Forbidden", "RequestTimeTooSkewed", ""),
            "moved" => {
                let header = "x-amz-bucket-region: us-far-2\r\nLocation: http://127.0.0.1:1/\r\n";
                return refuse(&mut line, "301 Moved Permanently", "PermanentRedirect", header);
            }
            "busy" if is_first("busy") => return refuse(&mut line, "503 Slow Down", "SlowDown", ""),
            _ => {}
        }
        if key.is_empty() {
            assert_eq!(request.get("list-type"), Some("2"));
            return self.list(&mut line, bucket, &request);
        }
        let Some(bytes) = self.objects.get(key) else {
            return refuse(&mut line, "404 Not Found", "NoSuchKey", "");
        };
        let tag = format!("\"{}\"", hex(&Sha256::digest(bytes)[..16]));
        let is_broken = key.contains("stubborn")
            || (["flaky", "replaced", "plain"].iter().any(|word| key.contains(word)) && is_first("broken"));
        let from: usize = match range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')) {
            Some(from) if !key.contains("plain") => from.parse().unwrap(),
            _ => 0,
        };
        if from > 0 {
            assert_eq!(request.headers["if-match"], tag);
            if key.contains("replaced") {
                return refuse(&mut line, "412 Precondition Failed", "PreconditionFailed", "");
            }
        }
        let rest = &bytes[from..];
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        write!(line, "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {}\r\n", rest.len())?;
        if from > 0 {
            write!(line, "Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len())?;
        }
        line.write_all(b"Connection: close\r\n\r\n")?;
        line.write_all(if is_broken { &rest[..rest.len() / 2] } else { rest })
    }

    fn list(&self, line: &mut TcpStream, bucket: &str, request: &Request) -> std::io::Result<()> {
        let prefix = request.get("prefix").unwrap_or_default();
        let max = request.get("max-keys").map_or(1000, |max| max.parse::<usize>().unwrap()).min(2);
        let token = request.get("continuation-token");
        let after = token.map(|token| token.strip_prefix("after/+ ").unwrap());
        let mut keys: Vec<&str> = self
            .objects
            .keys()
            .map(String::as_str)
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| after < *key))
            .collect();
        let mut next = (max < keys.len()).then(|| format!("after/+ {}", keys[max - 1]));
        keys.truncate(max);
        match bucket {
            "circle" => next = Some("after/+ a".to_owned()),
            "endless" => {
                keys.clear();
                next = Some(format!("after/+ {}", self.asked.lock().unwrap().len()));
            }
            "elsewhere" => keys = vec!["another/key"],
            "huge" => {
                let contents = "<Contents><Key>k</Key></Contents>".repeat(300_000);
                return respond(line, "200 OK", &format!("<ListBucketResult>{contents}</ListBucketResult>"));
            }
            "page" => return respond(line, "200 OK", "<html>Welcome</html>"),
            _ => {}
        }
        let contents: String = keys
            .iter()
            .map(|key| {
                format!("<Contents><Key>{}</Key><Size>1</Size></Contents>", encode(key, "/").replace("%20", "+"))
            })
            .collect();
        let next = next.map_or_else(String::new, |next| {
            let next = next.replace('&', "&amp;");
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>")
        });
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>{bucket}</Name><EncodingType>url</EncodingType>{contents}{next}</ListBucketResult>"
        );
        respond(line, "200 OK", &body)
    }
}

/// Gives credentials for a token.
fn sts(line: &mut TcpStream, request: &Request) -> std::io::Result<()> {
    let form = String::from_utf8(request.body.clone()).unwrap();
    let form: BTreeMap<String, String> = form
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    assert_eq!(form["Action"], "AssumeRoleWithWebIdentity");
    if form["WebIdentityToken"] != WORKLOAD_TOKEN {
        return respond(
            line,
            "400 Bad Request",
            "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>",
        );
    }
    let [key, secret, token] = WORKLOAD;
    let body = format!(
        "<R><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}\
         </SecretAccessKey><SessionToken>{token}</SessionToken></Credentials></AssumeRoleWithWebIdentityResult></R>"
    );
    respond(line, "200 OK", &body)
}

fn refuse(line: &mut TcpStream, status: &str, code: &str, headers: &str) -> std::io::Result<()> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>because</Message></Error>");
    write!(line, "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn respond(line: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    write!(line, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([&padded(0x36), text].concat());
    Sha256::digest([&padded(0x5c)[..], &inner].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything but letters, digits, `-._~` and what is kept.
fn encode(text: &str, kept: &str) -> String {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            assert!(bytes[at] != b'+', "a space is %20 here: {text}");
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}
