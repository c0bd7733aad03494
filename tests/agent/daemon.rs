//! The daemon as its operator runs it, and a workstation that is paired with it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cryoscope::acquire::wire::{Job, PairCode};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_cryoscope-agent");

/// A running daemon; dropped, it is killed.
pub(crate) struct Daemon {
    pub(crate) dir: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
    arguments: Vec<String>,
    disk: Option<String>,
}

impl Daemon {
    pub(crate) fn start(dir: &Path, arguments: &[&str]) -> Daemon {
        Daemon::start_on(dir, arguments, None)
    }

    /// With its spool on a disk of so many bytes, which it alone sees; needs root.
    pub(crate) fn start_on(dir: &Path, arguments: &[&str], disk: Option<usize>) -> Daemon {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let disk = disk.map(|bytes| format!("size={bytes}"));
        let (child, address) = spawn(dir, &arguments, disk.as_deref());
        Daemon { dir: dir.to_owned(), address, child, arguments, disk }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        (self.child, self.address) = spawn(&self.dir, &self.arguments, self.disk.as_deref());
    }

    /// As the daemon sees it.
    pub(crate) fn spool(&self) -> PathBuf {
        let spool = self.dir.join("spool");
        Path::new("/proc").join(self.child.id().to_string()).join("root").join(spool.strip_prefix("/").unwrap())
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(AGENT).args(arguments).arg("--state-dir").arg(self.state()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn code(&self) -> PairCode {
        let printed: Value = serde_json::from_str(&self.command(&["pair", "--json"])).unwrap();
        PairCode::parse(printed["code"].as_str().unwrap()).unwrap()
    }

    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.state().join("authority.pem")).unwrap()
    }

    /// A client with this certificate, or with none.
    pub(crate) fn client(&self, certificate: Option<Certificate>) -> Client {
        Client::new(self.address, &self.authority(), certificate)
    }

    /// A workstation that is paired.
    pub(crate) fn pair(&self) -> Client {
        let key = KeyPair::generate().unwrap();
        let answer = self.client(None).post("/v1/pair", &pair_request(&self.code().secret, &key)).ok();
        let certificate = CertificateDer::from_pem_slice(answer["certificate"].as_str().unwrap().as_bytes()).unwrap();
        self.client(Some((vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, arguments: &[String], disk: Option<&str>) -> (Child, SocketAddr) {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = Command::new(if disk.is_some() { "unshare" } else { AGENT });
    if let Some(size) = disk {
        std::fs::create_dir_all(dir.join("spool")).unwrap();
        const MOUNT: &str = "mount -t tmpfs -o $1 none $2 && shift 2 && exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh", size]);
        command.arg(dir.join("spool")).arg(AGENT);
    }
    let mut child = command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--reserve",
            "0",
            "--cri",
            "none",
            "--podman",
            "none",
            "--docker",
            "none",
            "--node-name",
            "node-a",
        ])
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--spool")
        .arg(dir.join("spool"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ");
    let log = || std::fs::read_to_string(dir.join("log")).unwrap();
    let address = address.unwrap_or_else(|| panic!("{line:?} {}", log())).parse().unwrap();
    (child, address)
}

pub(crate) fn pair_request(secret: &[u8], key: &KeyPair) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "desk");
    let csr = params.serialize_request(key).unwrap().pem().unwrap();
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    serde_json::json!({"secret": secret, "csr": csr})
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    config: Arc<ClientConfig>,
}

/// An answer; `is_whole` unless it broke off.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, String::from_utf8_lossy(&self.body));
        self.json()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) type Certificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Client {
    pub(crate) fn new(
        address: SocketAddr,
        authority: &CertificateDer<'static>,
        certificate: Option<Certificate>,
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        Client { address, config: Arc::new(config) }
    }

    pub(crate) fn connect(&self) -> std::io::Result<Tls> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from("localhost").unwrap();
        Ok(StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name).unwrap(), stream))
    }

    /// Sends bytes as they are, and reads until the other end closes.
    pub(crate) fn raw(&self, request: &[u8]) -> std::io::Result<Answer> {
        let mut stream = self.connect()?;
        // The answer may come, and the connection close, before all is sent.
        let sent = stream.write_all(request);
        match read_answer(&mut stream) {
            Ok(answer) => Ok(answer),
            Err(error) => sent.and(Err(error)),
        }
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.raw(request.as_bytes()).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "Content-Type: application/json\r\n", &body.to_string())
    }

    /// Freezes a container, and waits for the end of the job.
    #[track_caller]
    pub(crate) fn freeze(&self, container: &str) -> Job {
        let job = self.post("/v1/checkpoints", &serde_json::json!({"container": container, "timeout_seconds": 2})).ok();
        self.end_of(job["id"].as_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn end_of(&self, id: &str) -> Job {
        for _ in 0..60 {
            let job: Job = serde_json::from_value(self.get(&format!("/v1/jobs/{id}?wait=5")).ok()).unwrap();
            if job.state.is_final() {
                return job;
            }
        }
        panic!("the job does not end");
    }
}

pub(crate) fn read_answer(stream: &mut impl Read) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let broken = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) => break Some(error),
        }
    };
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Err(broken.unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into()));
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: bytes[end + 4..].to_vec(), is_whole: true };
    if let Some(length) = answer.header("content-length") {
        answer.is_whole = length.parse() == Ok(answer.body.len());
    }
    Ok(answer)
}
