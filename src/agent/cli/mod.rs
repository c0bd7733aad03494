//! The commands of `cryoscope-agent`: parse, call, print.
//!
//! Exit codes: 0 done; 1 `doctor` found that something is missing; 2 the request or the state was wrong.

pub mod args;
mod names;
mod serve;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::base::escape_controls;

use super::clients::Clients;
use super::disk;
use super::pairing::Pairing;
use args::{Cli, Command, StateArgs};

/// Runs with the arguments of the process.
pub fn main() -> ExitCode {
    let mut out = io::stdout();
    ExitCode::from(run(std::env::args_os(), &mut out, &mut io::stderr()))
}

/// Runs a command line, and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(refused) => {
            let text =
                if io::stderr().is_terminal() { refused.render().ansi().to_string() } else { refused.to_string() };
            let to: &mut dyn Write = if refused.use_stderr() { err } else { out };
            let _nobody_reads_it = to.write_all(text.as_bytes());
            return u8::try_from(refused.exit_code()).unwrap_or(2);
        }
    };
    let done = match cli.command {
        Command::Serve(args) => serve::serve(&args, out).map(|()| 0),
        Command::Pair(args) => pair(&args, out).map(|()| 0),
        Command::Clients(args) => clients(&args, out).map(|()| 0),
        Command::Revoke(args) => revoke(&args.state, &args.client, out).map(|()| 0),
    };
    done.unwrap_or_else(|error| {
        let _nobody_reads_it = writeln!(err, "cryoscope-agent: {}", escape_controls(&format!("{error:#}")));
        2
    })
}

fn pair(args: &StateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = args.state_dir.join("authority.pem");
    let bytes = disk::read(&path, 64 << 10).with_context(|| {
        format!("{}: is this the state directory of an agent that was started before?", path.display())
    })?;
    let authority = CertificateDer::from_pem_slice(&bytes).ok().with_context(|| format!("{}", path.display()))?;
    if disk::lock(&args.state_dir.join("lock"))?.is_some() {
        bail!("no agent runs with {}: start it, then pair", args.state_dir.display());
    }
    let code = Pairing::new(&args.state_dir).open(&authority, Timestamp::now())?;
    if args.json {
        return Ok(writeln!(out, "{}", serde_json::json!({"code": code.to_text(), "expires_seconds": 600}))?);
    }
    writeln!(out, "{}\n", code.to_text())?;
    writeln!(out, "Good once, for 10 minutes. On the workstation:")?;
    Ok(writeln!(out, "  cryoscope acquire pair NODE {}", code.to_text())?)
}

fn clients(args: &StateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let list = Clients::new(&args.state_dir).list().with_context(|| args.state_dir.display().to_string())?;
    if args.json {
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?);
    }
    for client in &list {
        let state = client.revoked.map_or("may come".to_owned(), |at| format!("revoked {at:.0}"));
        writeln!(out, "{}  {:.0}  {state}  {}", client.fingerprint, client.since, escape_controls(&client.name))?;
    }
    if list.is_empty() {
        writeln!(out, "no workstation is paired; `cryoscope-agent pair` prints a code")?;
    }
    Ok(())
}

fn revoke(state: &StateArgs, client: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let revoked = Clients::new(&state.state_dir).revoke(client, Timestamp::now())?;
    if revoked.is_empty() {
        bail!("no client {client:?} that is not revoked; `cryoscope-agent clients` lists them");
    }
    for client in revoked {
        writeln!(out, "revoked {} {}", client.fingerprint, escape_controls(&client.name))?;
    }
    Ok(())
}
