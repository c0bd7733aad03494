//! The jobs of the sandbox.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Context as _;

use super::{Parts, Planned, Traced, Wishes};
use crate::base::Progress as _;
use crate::checkpoint::{Checkpoint, load};
use crate::evidence::{BaseImage, Evidence, OpenOptions};
use crate::jobs::JobCtx;
use crate::memory::Memory;
use crate::report::changes::Changes;
use crate::sandbox::bundle::{self, Bundle, Store};
use crate::sandbox::microvm;
use crate::sandbox::plan::{self, Config, NetworkMode};
use crate::sandbox::run::{self, Event, Order, Watcher, Why};
use crate::sandbox::thaw::{self, Thaw};
use crate::sandbox::watched::Trace;
use crate::sandbox::{container, host, journal};

/// Seconds that booting and restoring may take on top of the time that was asked for.
const EXTRA_SECONDS: u32 = 900;

/// Looks whether everything is there.
pub(in crate::session) fn check(ctx: &JobCtx) -> Parts {
    ctx.stage("looking for the sandbox's parts");
    let bundle = Store::new(&OpenOptions::default()).and_then(|store| store.open());
    Parts {
        bundle: bundle.map(|bundle| line_of(&bundle)).map_err(|error| error.to_string()),
        qemu: microvm::find_qemu().map(|path| path.display().to_string()).map_err(|error| error.to_string()),
        guest: run::guest_program().map(|path| path.display().to_string()).map_err(|error| error.to_string()),
        container: container::check()
            .map(|()| "namespaces of this machine's kernel".to_owned())
            .map_err(|error| error.to_string()),
        may_have_kvm: microvm::may_have_kvm(),
    }
}

/// Makes the bundle.
pub(in crate::session) fn install(ctx: &JobCtx) -> anyhow::Result<Parts> {
    ctx.stage("making the sandbox's bundle");
    bundle::install(&Store::new(&OpenOptions::default())?, None, ctx)?;
    Ok(check(ctx))
}

fn line_of(bundle: &Bundle) -> String {
    let manifest = &bundle.manifest;
    let criu = manifest.version_of("criu").unwrap_or("?");
    format!("Debian {}: kernel {}, criu {criu}", manifest.release, manifest.kernel_version)
}

/// Makes the plan.
pub(in crate::session) fn plan(
    checkpoint: &Checkpoint,
    base: Option<&(PathBuf, Arc<BaseImage>)>,
    wishes: Wishes,
    ctx: &JobCtx,
) -> Planned {
    ctx.stage("comparing files with the base image");
    let config = Config {
        rootfs: base.map(|(path, _)| path.clone()),
        memory_mib: wishes.memory_mib,
        cpus: wishes.cpus,
        max_seconds: wishes.seconds.saturating_add(EXTRA_SECONDS),
        network: wishes.network,
    };
    let image = base.map(|(_, image)| image.as_ref());
    let plan = plan::make(checkpoint, image, &config);
    let review = host::review(&plan, checkpoint, image, wishes.backend);
    Planned { plan, review, backend: wishes.backend }
}

/// Carries a plan out. The new checkpoint, where one was wanted.
pub(in crate::session) fn run(
    checkpoint: &Checkpoint,
    base: Option<&(PathBuf, Arc<BaseImage>)>,
    planned: &Planned,
    wishes: Wishes,
    mut ends: Ends<'_>,
    ctx: &JobCtx,
) -> anyhow::Result<Option<PathBuf>> {
    let mut plan = planned.plan.clone();
    plan.machine.memory_mib = wishes.memory_mib;
    plan.machine.cpus = wishes.cpus;
    plan.machine.max_seconds = wishes.seconds.saturating_add(EXTRA_SECONDS);
    let name = checkpoint.container.name.as_deref().unwrap_or_default();
    let checkpoint_to = wishes.freezes_again.then(|| journal::place_for_checkpoint(name)).transpose()?;
    let packets_to = (wishes.network == NetworkMode::Sink).then(|| journal::place_for_packets(name)).transpose()?;
    if let Some(path) = &packets_to {
        (ends.records)(path);
    }
    let trace = match wishes.traced {
        Traced::Nobody => Trace::Addresses,
        Traced::Process(pid) => Trace::Processes(vec![pid.0]),
        Traced::All => Trace::All,
    };
    let options = OpenOptions::default();
    let bundle = Store::new(&options)?.open()?;
    let thaw = Thaw {
        backend: planned.backend,
        bundle: &bundle,
        checkpoint,
        base: base.map(|(_, image)| image.as_ref()),
        plan: &plan,
        review: &planned.review,
        time: Duration::from_secs(u64::from(wishes.seconds)),
        checkpoint_to: checkpoint_to.as_deref(),
        packets_to: packets_to.as_deref(),
        trace: &trace,
        is_stopped: wishes.starts_stopped,
        options: &options,
    };
    let why = thaw::thaw(&thaw, &mut ends, ctx)?;
    Ok(checkpoint_to.filter(|_| why != Why::NotRestored))
}

/// What the new checkpoint has that the first had not, and the other way round.
pub(in crate::session) fn compare(before: &Arc<Checkpoint>, path: &Path, ctx: &JobCtx) -> anyhow::Result<Changes> {
    let options = OpenOptions::default();
    let evidence = Evidence::open(path, &options, ctx)?;
    let after = load(&evidence, &options, ctx)?.pop().context("the new archive has no checkpoint")?;
    Ok(Changes::between(&Memory::new(Arc::clone(before)), &Memory::new(after), ctx)?)
}

/// Where a run is told, and where its orders come from.
pub(in crate::session) struct Ends<'a> {
    pub(in crate::session) tell: &'a dyn Fn(Event),
    /// Gets the file that packets go to.
    pub(in crate::session) records: &'a dyn Fn(&Path),
    pub(in crate::session) orders: &'a Receiver<Order>,
}

impl Watcher for Ends<'_> {
    fn event(&mut self, event: Event) -> ControlFlow<()> {
        (self.tell)(event);
        ControlFlow::Continue(())
    }

    fn order(&mut self) -> Option<Order> {
        self.orders.try_recv().ok()
    }
}
