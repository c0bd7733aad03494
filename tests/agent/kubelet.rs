//! A stand-in for the kubelet: its paths, texts, status codes and bad habits, as they were observed on real nodes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) const CONTAINER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub(crate) const OTHER: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub(crate) const TOKEN: &str = "a-token";

/// What it does with the next request for a checkpoint.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// Writes an archive, and names it.
    Good,
    /// Answers with this status and text.
    Says(u16, &'static str),
    /// Says this once, and is good afterwards.
    Once(u16, &'static str),
    /// Says that the runtime took too long; the archive appears after so long.
    Late(Duration),
    /// Says nothing for a while, and writes the archive after so long, whether somebody still listens or not.
    Deaf(Duration),
    /// Names this path.
    Names(String),
    /// Names two.
    NamesTwo,
    /// Answers nothing, and hangs up.
    HangsUp,
    /// Answers with endless bytes.
    Floods,
}

pub(crate) struct Kubelet {
    pub(crate) url: String,
    pub(crate) certificate: PathBuf,
    pub(crate) token: PathBuf,
    pub(crate) checkpoints: PathBuf,
    pub(crate) mood: Arc<Mutex<Mood>>,
    /// Seconds at which checkpoints were asked for, and their paths.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    pub(crate) archive: Arc<Mutex<Vec<u8>>>,
}

impl Kubelet {
    pub(crate) fn start(dir: &Path) -> Kubelet {
        let key = KeyPair::generate().unwrap();
        // It signs itself, for a name that is not the one it is reached by.
        let certificate = CertificateParams::new(vec!["node-a".to_owned()]).unwrap().self_signed(&key).unwrap();
        let path = |name: &str| dir.join(name);
        std::fs::write(path("kubelet.crt"), certificate.pem()).unwrap();
        std::fs::write(path("token"), format!("{TOKEN}\n")).unwrap();
        std::fs::create_dir_all(path("checkpoints")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let kubelet = Kubelet {
            url: format!("https://{}", listener.local_addr().unwrap()),
            certificate: path("kubelet.crt"),
            token: path("token"),
            checkpoints: path("checkpoints"),
            mood: Arc::new(Mutex::new(Mood::Good)),
            asked: Arc::default(),
            archive: Arc::new(Mutex::new(archive(b"pages", "Dumping finished successfully"))),
        };
        let one = kubelet.handler();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, one) = (Arc::clone(&config), one.clone());
                std::thread::spawn(move || one.serve(stream.unwrap(), config));
            }
        });
        kubelet
    }

    pub(crate) fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn arguments(&self) -> Vec<&str> {
        let text = |path: &'_ PathBuf| -> &'static str { path.to_str().unwrap().to_owned().leak() };
        vec![
            "--kubelet-url",
            &self.url,
            "--kubelet-ca",
            text(&self.certificate),
            "--kubelet-token",
            text(&self.token),
            "--checkpoint-dir",
            text(&self.checkpoints),
        ]
    }

    fn handler(&self) -> Handler {
        Handler {
            checkpoints: self.checkpoints.clone(),
            mood: Arc::clone(&self.mood),
            asked: Arc::clone(&self.asked),
            archive: Arc::clone(&self.archive),
        }
    }
}

/// A tar as a runtime writes it.
pub(crate) fn archive(pages: &[u8], last_line: &str) -> Vec<u8> {
    let log = format!("(00.1) Error (criu/rlimit.c): rlimit: Can't setup RLIMIT_NOFILE for self\n(00.2) {last_line}\n");
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in [("stats-dump", &b"x"[..]), ("dump.log", log.as_bytes()), ("checkpoint/pages-1.img", pages)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

#[derive(Clone)]
struct Handler {
    checkpoints: PathBuf,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
    archive: Arc<Mutex<Vec<u8>>>,
}

impl Handler {
    fn serve(&self, stream: TcpStream, config: Arc<ServerConfig>) {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                _ => return,
            }
        }
        let request = String::from_utf8(request).unwrap();
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let is_known = request.to_lowercase().contains(&format!("authorization: bearer {TOKEN}"));
        let (status, kind, body) = match (method, parts.as_slice()) {
            _ if !is_known => (401, "text/plain", "Unauthorized".to_owned()),
            ("GET", ["pods"]) => (200, "application/json", pods()),
            ("POST", ["checkpoint", "default", "counter-node-a", name @ ("counter" | "loop")]) => {
                self.asked.lock().unwrap().push(format!("{name}?{query}"));
                match self.checkpoint(name) {
                    Ok(answer) => answer,
                    Err(how) => {
                        let _ = how(&mut stream);
                        return;
                    }
                }
            }
            ("POST", ["checkpoint", "default", "counter-node-a", name]) => {
                (404, "text/plain", format!("container {name} does not exist"))
            }
            ("POST", ["checkpoint", _, _, _]) => (404, "text/plain", "pod does not exist".to_owned()),
            (_, ["checkpoint", ..]) => (405, "text/plain", "405: Method Not Allowed".to_owned()),
            _ => (404, "text/plain", "404: Page Not Found".to_owned()),
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    #[expect(clippy::type_complexity, reason = "an answer, or what is done instead of one")]
    fn checkpoint(
        &self,
        name: &str,
    ) -> Result<(u16, &'static str, String), fn(&mut StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()>>
    {
        let mood = self.mood.lock().unwrap().clone();
        // Named by the second of the request; a later one of the same second replaces it without a word.
        let now = jiff::Timestamp::now();
        let path = self.checkpoints.join(format!("checkpoint-counter-node-a_default-{name}-{now:.0}.tar"));
        let bytes = self.archive.lock().unwrap().clone();
        let named = |paths: &[String]| (200, "application/json", serde_json::json!({"items": paths}).to_string());
        let text = path.to_str().unwrap().to_owned();
        Ok(match mood {
            Mood::Good => {
                std::fs::write(&path, bytes).unwrap();
                named(&[text])
            }
            Mood::Says(status, body) => (status, "text/plain", body.to_owned()),
            Mood::Once(status, body) => {
                *self.mood.lock().unwrap() = Mood::Good;
                (status, "text/plain", body.to_owned())
            }
            Mood::Late(after) => {
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    // In two steps, as a runtime writes: half of it is no archive yet.
                    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                    std::thread::sleep(Duration::from_millis(700));
                    std::fs::write(&path, &bytes).unwrap();
                });
                let text = "checkpointing of default/counter-node-a/counter failed (rpc error: code = DeadlineExceeded desc = context deadline exceeded)";
                (500, "text/plain", text.to_owned())
            }
            Mood::Deaf(after) => {
                std::thread::sleep(after);
                std::fs::write(&path, bytes).unwrap();
                named(&[text])
            }
            Mood::Names(path) => named(&[path]),
            Mood::NamesTwo => named(&[text.clone(), text]),
            Mood::HangsUp => return Err(|_| Ok(())),
            Mood::Floods => {
                return Err(|stream| {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
                    loop {
                        stream.write_all(&[b' '; 65536])?;
                    }
                });
            }
        })
    }
}

fn pods() -> String {
    let container = |name: &str, id: &str, state: &str| serde_json::json!({"name": name, "containerID": format!("cri-o://{id}"), "image": "reg/counter:1", "state": {state: {}}});
    serde_json::json!({"kind": "PodList", "items": [{
    "metadata": {"name": "counter-node-a", "namespace": "default", "labels": {"app": "counter"}},
    "status": {"containerStatuses": [
        container("counter", CONTAINER, "running"),
        container("loop", OTHER, "running"),
        container("done", &"dd".repeat(32), "terminated"),
    ]}}]})
    .to_string()
}
