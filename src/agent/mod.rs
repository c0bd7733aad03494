//! The daemon on a node: it lists containers, asks for checkpoints, keeps the archives and serves them to who may have them.
//! It does nothing else, and writes an audit line for all that it did.
//!
//! | module | answers |
//! |---|---|
//! | [`config`], [`limits`] | what the operator decided; how much anybody may ask for |
//! | [`problem`] | why something was not done, in words for the peer |
//! | [`disk`] | the agent's own small files |
//! | [`identity`], [`tls`] | who the agent is; who the other end is |
//! | [`pairing`], [`clients`] | how a workstation gets its certificate, and loses it |
//! | [`audit`] | what was done, and for whom |
//! | [`spool`] | where archives wait |
//! | [`processes`], [`dumplog`] | what /proc and criu's log say |
//! | [`http`], [`stream`], [`sources`] | who makes checkpoints, and how they are asked |
//! | [`collect`] | a container's processes by way of /proc |
//! | [`rootfs`], [`changes`] | the image's layers joined; what a container changed |
//! | [`docker_archive`] | a checkpoint of Docker as an archive |
//! | [`doctor`] | what makes checkpoints fail here |
//! | [`jobs`] | work that takes a while |
//! | [`server`], [`routes`] | connections; requests |
//! | [`cli`] | the commands of `cryoscope-agent` |
//!
//! Handlers parse a request, call what is above them, and convert the answer. Work that touches a disk or takes time runs on
//! threads of its own. No path of a request reaches the file system: requests name archives, jobs and containers by ids that are
//! looked up. The agent starts no program but `criu check` for its `doctor`.

pub mod audit;
pub mod changes;
pub mod cli;
pub mod clients;
pub mod collect;
pub mod config;
pub mod disk;
pub mod docker_archive;
pub mod doctor;
pub mod dumplog;
pub mod http;
pub mod identity;
pub mod jobs;
pub mod limits;
pub mod pairing;
pub mod problem;
pub mod processes;
pub mod rootfs;
pub mod routes;
pub mod server;
pub mod sources;
pub mod spool;
pub mod stream;
pub mod tls;

use std::sync::Arc;

use crate::acquire::manifest::NodeFacts;

use audit::AuditLog;
use clients::Clients;
use config::Config;
use identity::Identity;
use jobs::JobTable;
use limits::Limiter;
use pairing::Pairing;
use sources::Sources;
use spool::Spool;

/// The daemon's parts, shared by all requests.
#[derive(Debug)]
pub struct Agent {
    /// What the operator decided.
    pub config: Config,
    /// The node, for manifests.
    pub facts: NodeFacts,
    /// Keys and certificates.
    pub identity: Identity,
    /// Those that were paired.
    pub clients: Clients,
    /// The open code.
    pub pairing: Pairing,
    /// What was done.
    pub audit: AuditLog,
    /// Requests of each client.
    pub limiter: Limiter,
    /// Who is asked for checkpoints.
    pub sources: Sources,
    /// Where archives wait.
    pub spool: Arc<Spool>,
    /// Work under way.
    pub jobs: JobTable,
    /// Places for transfers.
    pub transfers: Arc<tokio::sync::Semaphore>,
    /// Held while the daemon runs, so that no other uses the same state.
    _lock: std::fs::File,
}

impl Agent {
    /// Reads or makes the state.
    ///
    /// # Errors
    /// Another daemon uses it, or it cannot be read or written.
    pub fn start(config: Config) -> anyhow::Result<Arc<Agent>> {
        use anyhow::Context as _;
        let state = &config.state;
        let at = || state.display().to_string();
        disk::private_dir(state).with_context(at)?;
        let lock = disk::lock(&state.join("lock")).with_context(at)?;
        let lock = lock.with_context(|| format!("another daemon uses {}", state.display()))?;
        let mut identity = Identity::load(state, &config.node_name, &config.names)?;
        if let Some((chain, key)) = &config.server_certificate {
            identity.use_server_certificate(chain, key)?;
        }
        let jobs = JobTable::open(state).context("jobs")?;
        let spool = Spool::open(config.spool.clone(), &jobs.expected_in_spool());
        let spool = spool.with_context(|| config.spool.path.display().to_string())?;
        let system = rustix::system::uname();
        let facts = NodeFacts {
            name: config.node_name.clone(),
            kernel: system.release().to_string_lossy().into_owned(),
            arch: system.machine().to_string_lossy().into_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(Arc::new(Agent {
            facts,
            identity,
            clients: Clients::new(state),
            pairing: Pairing::new(state),
            audit: AuditLog::open(state).context("audit log")?,
            limiter: Limiter::default(),
            sources: Sources::new(&config.sources)?,
            spool: Arc::new(spool),
            jobs,
            transfers: Arc::new(tokio::sync::Semaphore::new(limits::MAX_TRANSFERS)),
            _lock: lock,
            config,
        }))
    }
}
