//! From evidence to checkpoints: finds them, decodes their images in parallel, joins the records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use crate::base::{
    Absent, Cancelled, Field, FileId, Issue, Limits, NsId, PageSize, Pid, Place, Progress, Text, escape,
};
use crate::decode::{Arch, Ctx, Img, schema};
use crate::evidence::{self, CheckpointRoot, Evidence, Member, OpenError, OpenOptions};

use super::container::{Container, Descriptions};
use super::files::{FileDetail, Hold, Relation};
use super::images::Images;
use super::memory_map::{MemoryMap, Surroundings};
use super::open_files::{self, OpenFiles};
use super::pages::{Pagemap, SharedMemory};
use super::parents::{PageSource, Pagemaps, Parents, SuppliedParent};
use super::process::{self, Link, Omitted, Process};
use super::recovered::{self, Source, Tree};
use super::rootfs::RootfsDiff;
use super::seccomp::Chains;
use super::sockets::Socket;
use super::stats::DumpStats;
use super::{Checkpoint, ImageFile, Index, Sizes, cgroups, coverage, documents, mounts, namespaces, network, seccomp};

/// Most bytes that all archives inside the checkpoint may unpack to while it is opened.
const MAX_NESTED_BYTES: u64 = 512 << 20;
/// Longest path of a mount that stands before all paths below it; Linux has none over 4096 bytes.
const MAX_PATH_BYTES: usize = 4096;

/// Why there is no checkpoint to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The evidence itself does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It opens, and holds no CRIU images.
    #[error(
        "{name}: no CRIU images in it (no inventory.img among {members} members); give a checkpoint archive or an image directory"
    )]
    NoCheckpoint {
        /// Name of the evidence.
        name: String,
        /// Members it has.
        members: usize,
    },
    /// Stopped by the analyst.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

/// Every checkpoint in the evidence, in the order of their paths.
///
/// # Errors
/// `NoCheckpoint` when there is none; whatever is damaged inside a checkpoint becomes an issue.
pub fn load(
    evidence: &Evidence,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<Vec<Arc<Checkpoint>>, LoadError> {
    load_with_parents(evidence, &[], options, progress)
}

/// As [`load`], with earlier checkpoints for what the evidence does not have of the chain of parents: the first is the
/// parent of the oldest that is there, and so on.
///
/// # Errors
/// As [`load`].
pub fn load_with_parents(
    evidence: &Evidence,
    parents: &[SuppliedParent],
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<Vec<Arc<Checkpoint>>, LoadError> {
    progress.stage("looking for checkpoints");
    let (roots, issues) = evidence::find_checkpoints(evidence, options, progress)?;
    if roots.is_empty() {
        return Err(LoadError::NoCheckpoint { name: evidence.name().to_owned(), members: evidence.members().len() });
    }
    roots
        .into_iter()
        .map(|root| {
            let mut found = issues.clone();
            found.extend(evidence.issues().iter().cloned());
            load_root(evidence, root, parents, options, progress, found).map(Arc::new)
        })
        .collect()
}

fn load_root(
    outer: &Evidence,
    root: CheckpointRoot,
    supplied: &[SuppliedParent],
    options: &OpenOptions,
    progress: &dyn Progress,
    mut issues: Vec<Issue>,
) -> Result<Checkpoint, LoadError> {
    let limits = &options.limits;
    let CheckpointRoot { evidence, images_dir, base_dir, oci, .. } = root;
    progress.stage("decoding images");
    let (mut images, image_files) = Images::load(&evidence, &images_dir, &base_dir, limits, progress)?;
    issues.append(&mut images.issues);
    if let Some(cipher) = image_files.iter().find(|file| file.kind == Some("CIPHER")) {
        let what = "the dump is encrypted: its images can be read only with the key that CRIU was given";
        issues.push(Issue::new(Place::member(cipher.name.as_str()), what));
    }
    progress.stage("joining records");

    let documents = documents::documents(&evidence, &base_dir, &images_dir, limits, &mut issues);
    let described = Descriptions::parse(&documents, &mut issues);
    let arch = arch(&images);
    let container = Container::build(&described, &images, arch, &images_dir, oci.as_ref());

    let file_entries = open_files::entries(&images, &mut issues);
    let mut files = OpenFiles::build(&images, &file_entries, &mut issues);
    let page_size = page_size(&images, arch, &mut issues);
    // That it leads out of the evidence is no issue where it is followed, and told by the chain where it is not.
    let link = Place::member(escape(&join(&images_dir, b"parent")));
    issues.retain(|issue| issue.place != link);
    let chain =
        Parents::find(&evidence, &images_dir, supplied, (page_size, &images.ctx), options, progress, &mut issues)?;
    let unpacked = Arc::default();
    let pages = Pages {
        source: PageSource { evidence: &evidence, dir: &images_dir, label: "", unpacked: &unpacked },
        page_size,
        ctx: &images.ctx,
        parents: chain.pagemaps(page_size, &images.ctx, &unpacked, &mut issues),
    };
    let shared_memory = pages.shared_memory(&images, &mut issues);
    let filters = filters(&images, &mut issues);

    let (mut processes, found) =
        processes(&images, arch.unwrap_or_default(), limits, &filters, &files, &pages, &shared_memory)?;
    issues.extend(found);
    note_users(&mut processes, &mut files);
    let mut sockets = open_files::sockets(&images, &file_entries, &mut issues);
    join_sockets(&mut sockets, &mut files, &processes);
    join_epolls(&mut files, &processes);

    let has_member = |name: &str| image_files.binary_search_by(|file| file.name.as_str().cmp(name)).is_ok();
    let mounts = mounts::mounts(&images, &has_member, &mut issues);
    let mut nested = Nested {
        evidence: &evidence,
        base_dir: &base_dir,
        options: OpenOptions { max_spool_bytes: options.max_spool_bytes.min(MAX_NESTED_BYTES), ..options.clone() },
        progress,
    };
    // The changes of the root file system before all else that may use up what there is.
    let rootfs = nested.rootfs(&mut issues)?;
    let trees = nested.trees(&images_dir, &image_files, &mounts, &mut issues)?;
    let recovered = recovered::recovered(&images, &files.files, &trees);
    let sizes = sizes(&evidence, &base_dir, &image_files);

    let mut checkpoint = Checkpoint {
        outer: outer.clone(),
        stats: stats(&images),
        sizes,
        namespaces: namespaces::namespaces(&images, &processes),
        networks: network::networks(&images, &mut issues),
        cgroups: cgroups::Cgroups::build(&images, &mut issues),
        locks: open_files::locks(&images),
        seccomp_filters: filters,
        shared_memory,
        container,
        mounts,
        rootfs,
        recovered,
        documents,
        images: image_files,
        coverage: Vec::new(),
        issues,
        index: Index::default(),
        parents: chain.names(),
        processes,
        sockets,
        files: Vec::new(),
        evidence,
        images_dir,
        base_dir,
        oci,
    };
    checkpoint.index.file_by_id = files.index();
    checkpoint.files = files.files;
    checkpoint.index.process_by_pid = index(checkpoint.processes.iter().map(|process| process.pid));
    checkpoint.index.socket_by_file = index(checkpoint.sockets.iter().map(|socket| socket.file));
    checkpoint.index.mount_by_id = index(checkpoint.mounts.iter().map(|mount| mount.mnt_id));
    checkpoint.coverage = coverage::gaps(&checkpoint);
    let outer = Place::member(checkpoint.outer.name());
    checkpoint.issues = bounded(std::mem::take(&mut checkpoint.issues), limits, &outer);
    Ok(checkpoint)
}

/// Issues in order, each once. Of images that differ in their numbers only, a few are kept and the rest is counted: a
/// flood from one kind hides none of another.
fn bounded(mut issues: Vec<Issue>, limits: &Limits, outer: &Place) -> Vec<Issue> {
    issues.sort();
    issues.dedup();
    let max_of_kind = limits.max_issues_per_img.saturating_mul(10);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    issues.retain(|issue| {
        let kind = issue.place.member.chars().filter(|c| !c.is_ascii_digit()).collect();
        let seen = seen.entry(kind).or_default();
        *seen += 1;
        *seen <= max_of_kind
    });
    for (kind, seen) in seen {
        if let Some(more) = seen.checked_sub(max_of_kind).filter(|more| *more > 0) {
            let what = format!("{more} more issues of images like this are not listed");
            issues.push(Issue::new(Place::member(kind), what));
        }
    }
    if let Some(more) = issues.len().checked_sub(limits.max_issues).filter(|more| *more > 0) {
        issues.truncate(limits.max_issues);
        issues.push(Issue::new(outer.clone(), format!("{more} more issues are not listed")));
    }
    issues
}

fn index<K: std::hash::Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut index = HashMap::new();
    for (at, key) in keys.enumerate() {
        index.entry(key).or_insert(at);
    }
    index
}

fn arch(images: &Images) -> Option<Arch> {
    images.core.values().flat_map(|records| &records.records).find_map(|record| Arch::from_mtype(record.value.mtype))
}

/// Page size of the dump: `AT_PAGESZ` of any process, which all share.
fn page_size(images: &Images, arch: Option<Arch>, issues: &mut Vec<Issue>) -> PageSize {
    const AT_PAGESZ: u64 = 6;
    for (records, record) in
        images.mm.values().flat_map(|records| records.records.iter().map(move |record| (records, record)))
    {
        let mut pairs = record.value.mm_saved_auxv.chunks_exact(2);
        if let Some([_, bytes]) = pairs.find(|pair| pair.first() == Some(&AT_PAGESZ)) {
            match PageSize::new(*bytes) {
                Some(size) => return size,
                None => issues.push(Issue::new(records.place(record), format!("{bytes} is not a page size"))),
            }
        }
    }
    if !matches!(arch, None | Some(Arch::X86 | Arch::Arm | Arch::S390)) {
        let what = "no process tells the page size; 4096 bytes are assumed";
        issues.push(Issue::new(Place::member("mm-*.img"), what));
    }
    PageSize::DEFAULT
}

fn filters(images: &Images, issues: &mut Vec<Issue>) -> Vec<seccomp::Filter> {
    let Some(records) = images.seccomp.values().next() else { return Vec::new() };
    let Some(record) = records.records.first() else { return Vec::new() };
    let (filters, found) = seccomp::filters(&record.value, images.ctx.order, &records.place(record));
    issues.extend(found);
    filters
}

fn stats(images: &Images) -> Option<DumpStats> {
    let dump =
        images.stats.values().flat_map(|records| &records.records).find_map(|record| record.value.dump.as_ref())?;
    let wide = |value: u32| Some(u64::from(value));
    Some(DumpStats {
        freezing_time_us: wide(dump.freezing_time),
        frozen_time_us: wide(dump.frozen_time),
        memdump_time_us: wide(dump.memdump_time),
        memwrite_time_us: wide(dump.memwrite_time),
        pages_scanned: Some(dump.pages_scanned),
        pages_skipped_parent: Some(dump.pages_skipped_parent),
        pages_written: Some(dump.pages_written),
        irmap_resolve_us: dump.irmap_resolve.map(u64::from),
        pages_lazy: Some(dump.pages_lazy),
        page_pipes: dump.page_pipes,
        page_pipe_bufs: dump.page_pipe_bufs,
        shpages_scanned: dump.shpages_scanned,
        shpages_skipped_parent: dump.shpages_skipped_parent,
        shpages_written: dump.shpages_written,
    })
}

fn sizes(evidence: &Evidence, base_dir: &[u8], images: &[ImageFile]) -> Sizes {
    let sum = |keep: fn(&ImageFile) -> bool| {
        let there = |image: &ImageFile| evidence.get(&image.path).map_or(0, Member::available_bytes);
        images.iter().filter(|image| keep(image)).fold(0u64, |sum, image| sum.saturating_add(there(image)))
    };
    Sizes {
        checkpoint_bytes: sum(|_| true),
        pages_bytes: sum(|image| image.kind == Some("PAGES")),
        rootfs_diff_bytes: evidence.get(&join(base_dir, b"rootfs-diff.tar")).map(Member::available_bytes),
    }
}

pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// Pagemaps of the checkpoint, each chained to the one of the same name in the parents.
struct Pages<'a> {
    source: PageSource<'a>,
    page_size: PageSize,
    ctx: &'a Ctx,
    parents: Pagemaps,
}

impl Pages<'_> {
    fn pagemap(&self, img: &Img, issues: &mut Vec<Issue>) -> Pagemap {
        let parent = self.parents.get(&*img.name).cloned();
        self.source.pagemap(img, self.page_size, self.ctx, parent, issues)
    }

    fn shared_memory(&self, images: &Images, issues: &mut Vec<Issue>) -> BTreeMap<u64, SharedMemory> {
        let objects = images.kept.values().filter(|img| img.kind.is_some_and(|kind| kind.key == "SHMEM_PAGEMAP"));
        objects.filter_map(|img| Some((img.id?, SharedMemory::new(self.pagemap(img, issues))))).collect()
    }
}

fn processes(
    images: &Images,
    arch: Arch,
    limits: &Limits,
    filters: &[seccomp::Filter],
    files: &OpenFiles,
    pages: &Pages<'_>,
    shared: &BTreeMap<u64, SharedMemory>,
) -> Result<(Vec<Process>, Vec<Issue>), Cancelled> {
    let (nodes, mut issues) = process::tree(images, limits);
    let omitted = Omitted::new(&nodes, images, limits);
    let chains = Chains::new(filters, process::oldest_filters(images), limits);
    let sysv_keys: BTreeMap<u64, u32> = images
        .ipc_shm
        .values()
        .flat_map(|records| &records.records)
        .map(|record| (u64::from(record.value.desc.id), record.value.desc.key))
        .collect();
    let reg = |id: u32| files.reg(id);
    let link = |id: u32| {
        // The program may be a memfd: then its id is not among the regular files.
        let file = files.reg(id)?;
        Some(Link { target: file.target.clone()?, file: Some(file.id) })
    };
    let memory = |pid: u32, issues: &mut Vec<Issue>| {
        let key = u64::from(pid);
        let Some((records, record)) = images.mm.get(&key).and_then(|records| Some((records, records.records.first()?)))
        else {
            let what = format!("process {pid}: its memory map is missing or damaged");
            issues.push(Issue::new(Place::member(format!("mm-{pid}.img")), what));
            return Field::Absent(Absent::Unreadable);
        };
        let name = format!("pagemap-{pid}.img");
        let pagemap = match images.kept.get(&name) {
            Some(img) => pages.pagemap(img, issues),
            None => Pagemap { page_size: pages.page_size, ..Pagemap::default() },
        };
        // Before 1.2 vmas had a file of their own.
        let old =
            images.vmas.get(&key).map(|records| records.records.iter().map(|record| record.value).collect::<Vec<_>>());
        let vmas: &[schema::VmaEntry] =
            if record.value.vmas.is_empty() { old.as_deref().unwrap_or_default() } else { &record.value.vmas };
        let around = Surroundings { file: &reg, shmem: shared, sysv_keys: &sysv_keys };
        let (map, found) = MemoryMap::build(&records.name, &record.value, vmas, pagemap, &around);
        issues.extend(found);
        Field::Known(map)
    };
    let fds = |table: u32, issues: &mut Vec<Issue>| files.fds(images, table, issues);
    let around = process::Around {
        images,
        arch,
        limits,
        filters,
        chains: &chains,
        omitted: &omitted,
        link: &link,
        memory: &memory,
        fds: &fds,
    };
    let built: Vec<(Process, Vec<Issue>)> = nodes.par_iter().map(|node| Process::build(node, &around)).collect();
    let mut processes = Vec::with_capacity(built.len());
    for (process, found) in built {
        issues.extend(found);
        processes.push(process);
    }
    Ok((processes, issues))
}

/// Tells every open file who uses it.
fn note_users(processes: &mut [Process], files: &mut OpenFiles) {
    for process in processes.iter() {
        for entry in &process.fds {
            files.note_fd(entry.file, process.pid, entry.fd);
        }
        let links = [(&process.exe, Hold::Exe), (&process.cwd, Hold::Cwd), (&process.root, Hold::Root)];
        for (link, hold) in links {
            if let Some(file) = link.known().and_then(|link| link.file) {
                files.note_hold(file, process.pid, hold);
            }
        }
        for vma in process.memory.known().into_iter().flat_map(|memory| &memory.vmas) {
            if let Some(file) = vma.file {
                files.note_hold(file, process.pid, Hold::Map);
            }
        }
    }
}

fn join_sockets(sockets: &mut [Socket], files: &mut OpenFiles, processes: &[Process]) {
    for socket in sockets.iter_mut() {
        if let Some(file) = files.get(socket.file) {
            socket.owners.clone_from(&file.fds);
        }
        if let Some(peer) = socket.peer_file {
            files.relate(socket.file, Relation::Peer, peer);
        }
        for sent in &socket.in_flight {
            files.relate(socket.file, Relation::InFlight, *sent);
            let receiver =
                socket.owners.first().map(|(pid, _)| *pid).or_else(|| processes.first().map(|process| process.pid));
            if let Some(pid) = receiver {
                files.note_hold(*sent, pid, Hold::InFlight);
            }
        }
    }
}

/// Targets of epolls are recorded by descriptor number, which may have been used again since: where
/// both inodes are known, they decide.
fn join_epolls(files: &mut OpenFiles, processes: &[Process]) {
    let fds_of: HashMap<Pid, &Process> = processes.iter().map(|process| (process.pid, process)).collect();
    let mut by_inode: HashMap<u64, FileId> = HashMap::new();
    for file in &files.files {
        if let Some(inode) = inode_of(file) {
            by_inode.entry(inode).or_insert(file.id);
        }
    }
    let mut relations = Vec::new();
    for epoll in &files.files {
        let FileDetail::Eventpoll(targets) = &epoll.detail else { continue };
        let Some(owner) = epoll.fds.first().and_then(|(pid, _)| fds_of.get(pid)) else { continue };
        for target in targets {
            // Descriptors stand in the order of their numbers.
            let at = owner.fds.partition_point(|entry| entry.fd.0 < target.fd);
            let by_number = owner.fds.get(at).filter(|entry| entry.fd.0 == target.fd).map(|entry| entry.file);
            let recorded = target.dev_inode.map(|(_, inode)| inode);
            let found = by_number.and_then(|id| files.get(id)).and_then(inode_of);
            let file = match (recorded, found) {
                (Some(recorded), Some(found)) if recorded != found => by_inode.get(&recorded).copied(),
                _ => by_number,
            };
            relations.extend(file.map(|file| (epoll.id, file)));
        }
    }
    for (epoll, target) in relations {
        files.relate(epoll, Relation::EpollTarget, target);
    }
}

/// Inode of a pipe or a socket, as far as its target tells.
fn inode_of(file: &super::files::OpenFile) -> Option<u64> {
    let target = file.target.as_ref()?.to_lossless();
    let number = target.strip_prefix("pipe:[").or_else(|| target.strip_prefix("socket:["))?;
    number.strip_suffix(']')?.parse().ok()
}

/// Archives inside the checkpoint. What they may unpack to, and how many members they may have, shrinks with each.
struct Nested<'a> {
    evidence: &'a Evidence,
    base_dir: &'a [u8],
    options: OpenOptions,
    progress: &'a dyn Progress,
}

impl Nested<'_> {
    /// Opens an archive inside; `None` with an issue when it does not open.
    fn open(&mut self, path: &[u8], issues: &mut Vec<Issue>) -> Result<Option<Evidence>, Cancelled> {
        let Some(member) = self.evidence.get(path) else { return Ok(None) };
        if member.size_bytes == 0 {
            return Ok(None);
        }
        match self.evidence.open_nested(member, &self.options, self.progress) {
            Ok(archive) => {
                let unpacked = archive.unpacked_bytes();
                self.options.max_spool_bytes = self.options.max_spool_bytes.saturating_sub(unpacked);
                let limits = &mut self.options.limits;
                limits.max_members = limits.max_members.saturating_sub(archive.members().len());
                issues.extend(archive.issues().iter().map(|issue| {
                    let place = Place {
                        member: format!("{}/{}", member.display_path(), issue.place.member),
                        ..issue.place.clone()
                    };
                    Issue::new(place, issue.what.clone())
                }));
                Ok(Some(archive))
            }
            Err(OpenError::Cancelled(cancelled)) => Err(cancelled),
            Err(err) => {
                // A bomb costs as much as it unpacked before it was stopped.
                if let OpenError::TooLarge { limit_bytes, .. } = &err {
                    self.options.max_spool_bytes = self.options.max_spool_bytes.saturating_sub(*limit_bytes);
                }
                if let OpenError::RatioTooHigh { written_bytes, .. } = &err {
                    self.options.max_spool_bytes = self.options.max_spool_bytes.saturating_sub(*written_bytes);
                }
                issues.push(Issue::new(member.place(), format!("does not open: {err}")));
                Ok(None)
            }
        }
    }

    fn rootfs(&mut self, issues: &mut Vec<Issue>) -> Result<RootfsDiff, Cancelled> {
        let archive = self.open(&join(self.base_dir, b"rootfs-diff.tar"), issues)?;
        let deleted = self
            .evidence
            .get(&join(self.base_dir, b"deleted.files"))
            .and_then(|member| self.evidence.read(member).ok());
        Ok(RootfsDiff::build(archive, deleted.as_deref(), issues))
    }

    /// Contents of tmpfs mounts, of /dev/shm, of volumes.
    fn trees(
        &mut self,
        images_dir: &[u8],
        images: &[ImageFile],
        mounts: &[super::Mount],
        issues: &mut Vec<Issue>,
    ) -> Result<Vec<Tree>, Cancelled> {
        let mountpoints = recovered::tmpfs_mountpoints(mounts);
        let mut trees = Vec::new();
        for image in images.iter().filter(|image| matches!(image.kind, Some("TMPFS_DEV" | "TMPFS_IMG"))) {
            let path = join(images_dir, image.name.as_bytes());
            if let Some(archive) = self.open(&path, issues)? {
                let mountpoint =
                    mountpoints.get(image.name.as_str()).filter(|path| path.as_bytes().len() <= MAX_PATH_BYTES);
                let mountpoint = mountpoint.cloned().unwrap_or_else(|| Text::from(image.name.as_str()));
                trees.push(Tree {
                    source: Source::Tmpfs,
                    place: Place::member(image.name.as_str()),
                    mountpoint,
                    archive,
                });
            }
        }
        let shm = join(self.base_dir, b"devshm-checkpoint.tar");
        if let Some(archive) = self.open(&shm, issues)? {
            let place = Place::member("devshm-checkpoint.tar");
            trees.push(Tree { source: Source::DevShm, place, mountpoint: Text::from("/dev/shm"), archive });
        }
        let volumes = join(self.base_dir, b"volumes");
        for member in self.evidence.members().iter().filter(|member| member.is_file() && member.parent() == volumes) {
            if let Some(archive) = self.open(&member.path, issues)? {
                let name = Text(member.file_name().strip_suffix(b".tar").unwrap_or(member.file_name()).to_vec().into());
                let mountpoint = Text::from(format!("volume:{}", name.label()));
                trees.push(Tree { source: Source::Volume, place: member.place(), mountpoint, archive });
            }
        }
        Ok(trees)
    }
}

/// Number of a namespace image, as in the name of the image.
pub(super) fn ns_id(key: u64) -> NsId {
    NsId(u32::try_from(key).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_is_found_among_the_causes() {
        use std::error::Error as _;
        let error = LoadError::Open(OpenError::Cancelled(Cancelled));
        assert!(error.source().is_some_and(|source| source.is::<Cancelled>()));
        assert!(LoadError::Cancelled(Cancelled).source().is_some_and(|source| source.is::<Cancelled>()));
    }

    #[test]
    fn flood_of_issues_of_one_kind_hides_none_of_another() {
        let of = |member: String| Issue::new(Place::member(member), "is missing");
        let issues = (0..5000).map(|pid| of(format!("core-{pid}.img"))).chain([of("pstree.img".into())]).collect();
        let kept = bounded(issues, &Limits::default(), &Place::member("x.tar"));
        assert_eq!(kept.len(), 1002);
        assert!(kept.iter().any(|issue| issue.place.member == "pstree.img"));
        assert!(kept.iter().any(|issue| issue.to_string().starts_with("core-.img: 4000 more")));
    }
}
