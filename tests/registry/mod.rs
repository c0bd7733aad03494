//! Debian's registry for images, on this machine, and skopeo to speak with it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

pub(crate) const USER: &str = "analyst";
pub(crate) const PASSWORD: &str = "open-sesame";
/// bcrypt of the password.
const HTPASSWD: &str = "analyst:$2b$04$VBI/Ftx6klZEPOn02Cyexuw6nPr16hAd2q2ILyO9t413zIDzK19c.\n";

/// Debian's registry on a port of its own; ends with the value.
pub(crate) struct Registry {
    child: Child,
    pub(crate) address: String,
    pub(crate) dir: TempDir,
}

impl Registry {
    pub(crate) fn start(with_password: bool) -> Registry {
        Registry::start_with(with_password, None)
    }

    /// By TLS with this certificate and key.
    pub(crate) fn start_with(with_password: bool, tls: Option<(&str, &str)>) -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let at = dir.path().display();
        fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let auth = if with_password {
            format!("auth: {{htpasswd: {{realm: x, path: {at}/htpasswd}}}}\n")
        } else {
            String::new()
        };
        let tls = match tls {
            Some((certificate, key)) => {
                fs::write(dir.path().join("tls.crt"), certificate).unwrap();
                fs::write(dir.path().join("tls.key"), key).unwrap();
                format!(", tls: {{certificate: {at}/tls.crt, key: {at}/tls.key}}")
            }
            None => String::new(),
        };
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {at}/storage}}}}\n\
             http: {{addr: \"{address}\"{tls}}}\n{auth}"
        );
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed: make test-packages");
        let registry = Registry { child, address, dir };
        for _ in 0..200 {
            if TcpStream::connect(&registry.address).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the registry does not listen on {}", registry.address);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn skopeo(args: &[&str]) -> Vec<u8> {
    let ran = Command::new("skopeo").args(args).output().expect("skopeo is installed: make test-packages");
    assert!(ran.status.success(), "{args:?} {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}
