//! Runs command lines in this process and keeps what they print.

use std::io::Cursor;

use cryoscope::cli::{Streams, Terminals, run};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code.
    pub(crate) code: u8,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs `cryoscope ARGS` with this standard input.
pub(crate) fn run_with(args: &[&str], stdin: Vec<u8>, terminals: Terminals) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let streams = Streams { stdin: Some(Box::new(Cursor::new(stdin))), out: &mut out, err: &mut err, terminals };
    let code = run(std::iter::once("cryoscope").chain(args.iter().copied()).map(Into::into), streams);
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code, out: text(out), err: text(err) }
}

/// Runs `cryoscope ARGS` without a terminal.
pub(crate) fn cryoscope(args: &[&str]) -> Ran {
    run_with(args, Vec::new(), Terminals::default())
}
