//! Ctrl+C: work that steps sees it and ends, its destructors clean up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static IS_PRESSED: AtomicBool = AtomicBool::new(false);

/// How long work may take to notice. What hangs longer (a read from a terminal) is ended from here.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the analyst has pressed Ctrl+C.
pub(super) fn is_pressed() -> bool {
    IS_PRESSED.load(Ordering::Relaxed)
}

/// Starts to listen. Where that is not possible, the signals keep ending the process at once.
pub(super) fn install() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    let listen = move || {
        let mut pending = signals.forever();
        if pending.next().is_some() {
            IS_PRESSED.store(true, Ordering::Relaxed);
            std::thread::sleep(PATIENCE);
            signal_hook::low_level::exit(i32::from(super::CODE_CANCELLED));
        }
    };
    // The thread lives as long as the process; nothing waits for it.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(listen);
}
