//! The program in a real window under Xvfb, driven by keyboard and judged by what is on the screen.
//!
//! Needs Xvfb, xdotool and ImageMagick, which `make test` installs.
#![cfg(feature = "gui")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and starts programs")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Screen {
    display: String,
    _server: Ends,
}

impl Screen {
    /// Starts a server on the first display that is free; it says itself which.
    fn start() -> Screen {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed by `make test`");
        let mut number = String::new();
        let stdout = server.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut number).unwrap();
        Screen { display: format!(":{}", number.trim()), _server: Ends(server) }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.display).env_remove("WAYLAND_DISPLAY").env("LIBGL_ALWAYS_SOFTWARE", "1");
        command
    }

    fn xdotool(&self, args: &[&str]) -> String {
        let out = self.command("xdotool").args(args).output().expect("xdotool is installed by `make test`");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Waits until a window of this title is there.
    fn wait_for_window(&self, title: &str) {
        wait(&format!("a window titled {title:?}"), || !self.xdotool(&["search", "--name", title]).trim().is_empty());
    }

    /// Number of colours on the screen: a window that is drawn has many, a dead one has one or two.
    fn colours(&self) -> usize {
        let out = self.command("import").args(["-window", "root", "-format", "%k", "info:-"]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
    }

    fn picture(&self, path: &Path) {
        assert!(self.command("import").args(["-window", "root"]).arg(path).status().unwrap().success());
    }
}

fn wait(what: &str, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Pixels in which two pictures differ.
fn differing_pixels(a: &Path, b: &Path) -> f64 {
    let out = Command::new("compare").args(["-metric", "AE"]).args([a, b]).arg("null:").output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// The program with a home of its own, when its window is drawn and has the keys.
fn open_window(screen: &Screen, home: &Path, args: &[&OsStr], title: &str) -> Ends {
    let program = Ends(
        screen
            .command(env!("CARGO_BIN_EXE_cryoscope"))
            .args(args)
            .env("HOME", home)
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    screen.wait_for_window(title);
    wait("the window to be drawn", || screen.colours() > 100);
    // There is no window manager that would give it the keys.
    let window = screen.xdotool(&["search", "--name", title]);
    screen.xdotool(&["windowfocus", "--sync", window.lines().next().unwrap()]);
    program
}

#[test]
fn instructions_are_drawn_with_the_base_image_of_the_command_line() {
    let screen = Screen::start();
    let home = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let (archive, base) = (fixtures.join("process-zoo.tar.zst"), fixtures.join("base/image.tar.zst"));
    let args = [OsStr::new("--rootfs"), base.as_os_str(), archive.as_os_str()];
    let mut program = open_window(&screen, home.path(), &args, "process-zoo");
    let picture = |name: &str| -> PathBuf { home.path().join(name) };
    let (before, code, gone) = (picture("before.png"), picture("code.png"), picture("gone.png"));
    screen.picture(&before);
    screen.xdotool(&["key", "ctrl+shift+d"]);
    wait("the disassembly", || {
        screen.picture(&code);
        differing_pixels(&before, &code) > 20_000.0
    });
    screen.xdotool(&["key", "ctrl+g"]);
    screen.xdotool(&["type", "--delay", "20", "0x425210"]);
    screen.xdotool(&["key", "Return"]);
    wait("the address that was gone to", || {
        screen.picture(&gone);
        differing_pixels(&code, &gone) > 5_000.0
    });
    screen.xdotool(&["key", "ctrl+q"]);
    wait("the program to end", || program.0.try_wait().unwrap().is_some());
    assert!(program.0.try_wait().unwrap().unwrap().success());
}

#[test]
fn sample_opens_in_a_window_answers_keys_and_quits() {
    let screen = Screen::start();
    let home = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/compromised-webapp.tar.zst");
    let mut program = open_window(&screen, home.path(), &[sample.as_os_str()], "webapp");
    screen.xdotool(&["mousemove", "900", "700", "click", "1"]);

    let picture = |name: &str| -> PathBuf { home.path().join(name) };
    let (before, palette, after) = (picture("before.png"), picture("palette.png"), picture("after.png"));
    screen.picture(&before);
    screen.xdotool(&["key", "ctrl+k"]);
    screen.xdotool(&["type", "--delay", "20", "sockets"]);
    wait("the palette", || {
        screen.picture(&palette);
        differing_pixels(&before, &palette) > 5_000.0
    });
    screen.xdotool(&["key", "Return"]);
    wait("the panel that was asked for", || {
        screen.picture(&after);
        differing_pixels(&palette, &after) > 5_000.0 && differing_pixels(&before, &after) > 5_000.0
    });

    screen.xdotool(&["key", "ctrl+q"]);
    wait("the program to end", || program.0.try_wait().unwrap().is_some());
    assert!(program.0.try_wait().unwrap().unwrap().success());
    let beside: Vec<_> = std::fs::read_dir(sample.parent().unwrap()).unwrap().filter_map(Result::ok).collect();
    assert!(beside.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp")));
}
