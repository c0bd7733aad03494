//! `cryoscope-agent serve`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::config::{self, Config, KubeletConfig, SourcesConfig, SpoolConfig};
use crate::agent::{Agent, identity, jobs, routes, server, tls};

use super::args::{ServeArgs, SourceArgs};
use super::names;

/// Threads that talk to clients; what takes time runs on others.
const WORKERS: usize = 2;
/// Threads for what touches a disk or takes time: all transfers, all jobs, and some.
const MAX_BLOCKING: usize = 160;
/// Jobs under way are waited for so long when the daemon is asked to stop: hanging up loses the archive. The unit gives it more.
const STOP_PATIENCE: Duration = Duration::from_secs(90);

pub(super) fn serve(args: &ServeArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("warn,cryoscope=info"));
    let _a_test_has_one_already =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(MAX_BLOCKING)
        .enable_all()
        .build()?;
    let done = runtime.block_on(run(config(args), out));
    // A job that the runtime is still busy with is found again by the next start.
    runtime.shutdown_timeout(Duration::from_secs(2));
    done
}

/// Files that containers and runtimes have had in hand are opened by it alone.
fn check_openat2() -> anyhow::Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::empty());
    anyhow::ensure!(
        opened.err() != Some(rustix::io::Errno::NOSYS),
        "openat2(2) is refused, by which files of containers are opened: kernels have it since 5.6, and systemd takes it away with RestrictSUIDSGID=yes"
    );
    Ok(())
}

async fn run(config: Config, out: &mut dyn Write) -> anyhow::Result<()> {
    check_openat2()?;
    let authorities = config.client_ca.as_deref().map(identity::certificates).transpose()?.unwrap_or_default();
    let listen = config.listen;
    let agent = Agent::start(config)?;
    let tls = tls::server_config(&agent.identity, &authorities)?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    let verified = std::sync::Arc::clone(&agent);
    tokio::task::spawn_blocking(move || verified.spool.verify_all());
    jobs::go_on(&agent);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    server::serve(listener, tls, routes::router(std::sync::Arc::clone(&agent)), stop).await;
    agent.jobs.stop(STOP_PATIENCE).await;
    Ok(())
}

fn config(args: &ServeArgs) -> Config {
    let host = names::host_name();
    let node_name = args.sources.node_name.clone().unwrap_or_else(|| host.clone());
    let mut all: Vec<String> = args.name.clone();
    all.extend([node_name.clone(), host, "localhost".to_owned()]);
    all.extend(names::addresses());
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Config {
        listen: args.listen,
        node_name,
        names,
        state: args.state_dir.clone(),
        client_ca: args.client_ca.clone(),
        server_certificate: args.tls_cert.clone().zip(args.tls_key.clone()),
        may_pair: !args.no_pairing && args.tls_cert.is_none(),
        client_life: Duration::from_secs(u64::from(args.client_days) * 24 * 60 * 60),
        spool: SpoolConfig { path: args.spool.clone(), limit_bytes: args.spool_limit, reserve_bytes: args.reserve },
        may_delete: args.allow_delete,
        sources: sources(&args.sources),
    }
}

/// Whom to ask, by what was said and what is there.
pub(super) fn sources(args: &SourceArgs) -> SourcesConfig {
    let is_none = |path: &Path| path.as_os_str() == "none";
    let account = Path::new(config::SERVICE_ACCOUNT);
    let in_pod = |name: &str| Some(account.join(name)).filter(|path| path.exists());
    let is_guess = args.kubelet_url.is_none();
    let url = args.kubelet_url.clone().or_else(|| {
        let is_there = Path::new("/var/lib/kubelet/config.yaml").exists() || in_pod("token").is_some();
        is_there.then(|| "https://127.0.0.1:10250".to_owned())
    });
    let kubelet = url.filter(|url| url != "none").map(|url| KubeletConfig {
        url,
        ca: args.kubelet_ca.clone().or_else(|| in_pod("ca.crt")),
        name: args.kubelet_name.clone(),
        certificate: args.kubelet_cert.clone().zip(args.kubelet_key.clone()),
        token: args.kubelet_token.clone().or_else(|| in_pod("token").filter(|_| args.kubelet_cert.is_none())),
        checkpoints: args.checkpoint_dir.clone(),
        is_guess,
    });
    let cri = match args.cri.as_slice() {
        [] => config::CRI_SOCKETS.iter().map(Into::into).collect(),
        [path] if is_none(path) => Vec::new(),
        named => named.to_vec(),
    };
    let named = |path: &Path| Some(path.to_owned()).filter(|path| !is_none(path));
    SourcesConfig { kubelet, cri, podman: named(&args.podman), docker: named(&args.docker) }
}
