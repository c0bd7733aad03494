//! All typed images of a checkpoint, decoded in parallel and not yet joined.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::base::{Cancelled, Issue, Limits, Place, Progress};
use crate::decode::{self, Ctx, Img, Record, schema};
use crate::evidence::{Evidence, Member, MemberKind};

use super::ImageFile;

/// Records of one image file.
#[derive(Debug)]
pub(super) struct Records<M> {
    /// Base name of the image.
    pub(super) name: String,
    /// Its records that could be read.
    pub(super) records: Vec<Record<M>>,
}

impl<M> Records<M> {
    /// Where a record stands.
    pub(super) fn place(&self, record: &Record<M>) -> Place {
        Place::at(self.name.as_str(), record.offset)
    }

    /// The named payload of a record, with where it lies.
    pub(super) fn payload(&self, record: &Record<M>, name: &str) -> Option<(bytes::Bytes, Place)> {
        let part = decode::payload::part(&record.payload, name)?;
        Some((part.content.bytes().clone(), Place::at(self.name.as_str(), part.offset)))
    }
}

/// Images of one kind by the number in their name; 0 for a kind that has one file.
pub(super) type Table<M> = BTreeMap<u64, Records<M>>;

macro_rules! images {
    ($($field:ident: $message:ident = $($key:literal)|+,)*) => {
        /// Every image of the kinds that the model joins.
        #[derive(Debug, Default)]
        pub(super) struct Images {
            /// Byte order, image version, limits.
            pub(super) ctx: Ctx,
            /// What could not be read.
            pub(super) issues: Vec<Issue>,
            /// Images that are decoded when they are joined, by base name.
            pub(super) kept: BTreeMap<String, Img>,
            /// Deleted files by base name of their image.
            pub(super) ghosts: BTreeMap<String, decode::Ghost>,
            $(pub(super) $field: Table<schema::$message>,)*
        }

        enum Part {
            Kept(String, Img),
            Ghost(String, decode::Ghost),
            Skipped,
            $(#[expect(non_camel_case_types, reason = "one variant for each field, named like it")] $field(u64, Records<schema::$message>),)*
        }

        fn decode_part(img: Img, key: &str, id: u64, ctx: &Ctx) -> (Part, Vec<Issue>) {
            match key {
                $($($key)|+ => {
                    let decoded = decode::typed::<schema::$message>(&img, ctx);
                    let issues = decoded.issues.into_iter().map(Issue::from).collect();
                    (Part::$field(id, Records { name: img.name.to_string(), records: decoded.value }), issues)
                })*
                _ => (Part::Skipped, Vec::new()),
            }
        }

        impl Images {
            fn add(&mut self, part: Part) {
                match part {
                    Part::Kept(name, img) => {
                        self.kept.insert(name, img);
                    }
                    Part::Ghost(name, ghost) => {
                        self.ghosts.insert(name, ghost);
                    }
                    Part::Skipped => {}
                    $(Part::$field(id, records) => {
                        self.$field.insert(id, records);
                    })*
                }
            }
        }
    };
}

images! {
    inventory: InventoryEntry = "INVENTORY",
    pstree: PstreeEntry = "PSTREE",
    core: CoreEntry = "CORE",
    ids: TaskKobjIdsEntry = "IDS",
    mm: MmEntry = "MM",
    fs: FsEntry = "FS",
    fdinfo: FdinfoEntry = "FDINFO",
    files: FileEntry = "FILES",
    seccomp: SeccompEntry = "SECCOMP",
    remap: RemapFilePathEntry = "REMAP_FPATH",
    memfd_inode: MemfdInodeEntry = "MEMFD_INODE",
    pipes_data: PipeDataEntry = "PIPES_DATA",
    fifo_data: PipeDataEntry = "FIFO_DATA",
    sk_queues: SkPacketEntry = "SK_QUEUES",
    tcp_stream: TcpStreamEntry = "TCP_STREAM",
    tty_info: TtyInfoEntry = "TTY_INFO",
    tty_data: TtyDataEntry = "TTY_DATA",
    bpfmap_data: BpfmapDataEntry = "BPFMAP_DATA",
    file_locks: FileLockEntry = "FILE_LOCKS",
    mounts: MntEntry = "MNTS",
    cgroup: CgroupEntry = "CGROUP",
    utsns: UtsnsEntry = "UTSNS",
    userns: UsernsEntry = "USERNS",
    timens: TimensEntry = "TIMENS",
    pidns: PidnsEntry = "PIDNS",
    netdev: NetDeviceEntry = "NETDEV",
    netns: NetnsEntry = "NETNS",
    ipc_shm: IpcShmEntry = "IPCNS_SHM",
    ipc_msg: IpcMsgEntry = "IPCNS_MSG",
    ipc_sem: IpcSemEntry = "IPCNS_SEM",
    stats: StatsEntry = "STATS",
    // Written by older releases, one file for each type of open file or each part of a process.
    creds: CredsEntry = "CREDS",
    sigacts: SaEntry = "SIGACT",
    vmas: VmaEntry = "VMAS",
    rlimits: RlimitEntry = "RLIMIT",
    itimers: ItimerEntry = "ITIMERS",
    posix_timers: PosixTimerEntry = "POSIX_TIMERS",
    signals_shared: SiginfoEntry = "SIGNAL",
    signals_private: SiginfoEntry = "PSIGNAL",
    reg_files: RegFileEntry = "REG_FILES",
    ns_files: NsFileEntry = "NS_FILES",
    eventfds: EventfdFileEntry = "EVENTFD_FILE",
    eventpolls: EventpollFileEntry = "EVENTPOLL_FILE",
    eventpoll_tfds: EventpollTfdEntry = "EVENTPOLL_TFD",
    signalfds: SignalfdEntry = "SIGNALFD",
    inotifies: InotifyFileEntry = "INOTIFY_FILE",
    fanotifies: FanotifyFileEntry = "FANOTIFY_FILE",
    pipes: PipeEntry = "PIPES",
    fifos: FifoEntry = "FIFO",
    unix_sockets: UnixSkEntry = "UNIXSK",
    inet_sockets: InetSkEntry = "INETSK",
    packet_sockets: PacketSockEntry = "PACKETSK",
    netlink_sockets: NetlinkSkEntry = "NETLINK_SK",
    ttys: TtyFileEntry = "TTY_FILES",
    tuns: TunfileEntry = "TUNFILE",
    ext_files: ExtFileEntry = "EXT_FILES",
    timerfds: TimerfdEntry = "TIMERFD",
}

impl Images {
    /// Decodes every image of `images_dir`, and the statistics that engines put into `base_dir`.
    ///
    /// Images that no join needs are left to the raw view. Returns the list of all image files too.
    ///
    /// # Errors
    /// `Cancelled` when the analyst stopped it.
    pub(super) fn load(
        evidence: &Evidence,
        images_dir: &[u8],
        base_dir: &[u8],
        limits: &Limits,
        progress: &dyn Progress,
    ) -> Result<(Images, Vec<ImageFile>), Cancelled> {
        let mut images = Images::default();
        let mut listed: Vec<(&Member, ImageFile)> = Vec::new();
        for member in evidence.members() {
            let is_here = member.parent() == images_dir
                || (member.parent() == base_dir && member.file_name().starts_with(b"stats-"));
            if !is_here {
                continue;
            }
            let Ok(name) = std::str::from_utf8(member.file_name()) else { continue };
            let kind = decode::kind_of(name).map(|(kind, _)| kind.key);
            let is_image = kind.is_some() || name.ends_with(".img");
            if !is_image || !(member.is_file() || matches!(member.kind, MemberKind::HardLink { .. })) {
                continue;
            }
            let file =
                ImageFile { name: name.to_owned(), path: member.path.clone(), kind, size_bytes: member.size_bytes };
            listed.push((member, file));
        }
        // A name may stand twice: in both directories, or written twice. The last written wins, as when tar unpacks.
        listed.reverse();
        listed.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        listed.dedup_by(|(_, earlier), (_, later)| earlier.name == later.name);

        let read = |name: &str| {
            let (member, _) = listed.iter().find(|(_, file)| file.name == name)?;
            evidence.read(member).ok().map(|bytes| Img::new(name, bytes))
        };
        match read("inventory.img") {
            Some(inventory) => {
                let (ctx, issues) = Ctx::detect(&inventory, limits);
                images.ctx = ctx;
                images.issues.extend(issues.into_iter().map(Issue::from));
            }
            None => images.ctx = Ctx { limits: limits.clone(), ..Ctx::default() },
        }

        let total = listed.len() as u64;
        let done = std::sync::atomic::AtomicU64::new(0);
        let mut work: Vec<&(&Member, ImageFile)> = listed.iter().filter(|(_, file)| is_typed(file.kind)).collect();
        work.sort_by_key(|(_, file)| std::cmp::Reverse(file.size_bytes));
        let ctx = &images.ctx;
        let allowances = allowances(evidence, &work, ctx);
        let parts: Vec<(Part, Vec<Issue>)> = work
            .par_iter()
            .map(|(member, file)| {
                progress.step(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed), Some(total))?;
                let allowance = allowances.get(file.name.as_str()).copied();
                if allowance == Some(0) {
                    let what = format!("is not decoded: {OVER_BUDGET}; the raw view has it");
                    return Ok((Part::Skipped, vec![Issue::new(Place::member(file.name.as_str()), what)]));
                }
                let own =
                    allowance.map(|max_values| Ctx { limits: Limits { max_values, ..limits.clone() }, ..ctx.clone() });
                Ok(match evidence.read(member) {
                    Ok(bytes) => decode_one(Img::new(&file.name, bytes), own.as_ref().unwrap_or(ctx)),
                    Err(err) => (Part::Skipped, vec![Issue::new(Place::member(file.name.as_str()), err.to_string())]),
                })
            })
            .collect::<Result<_, Cancelled>>()?;
        for (part, issues) in parts {
            images.issues.extend(issues);
            images.add(part);
        }
        images.drop_huge_pagemaps();
        Ok((images, listed.into_iter().map(|(_, file)| file).collect()))
    }

    /// Leaves out the largest pagemaps where all together are over the limit.
    fn drop_huge_pagemaps(&mut self) {
        let pagemaps = self.kept.values().filter(|img| img.kind.is_some_and(|kind| kind.key.ends_with("PAGEMAP")));
        let mut sizes: Vec<(u64, String)> =
            pagemaps.map(|img| (img.bytes.len() as u64, img.name.to_string())).collect();
        sizes.sort_unstable();
        let max = self.ctx.limits.max_pagemap_bytes;
        let mut sum = 0u64;
        for (size, name) in sizes {
            sum = sum.saturating_add(size);
            if max < sum {
                self.kept.remove(&name);
                let what = format!("is not decoded: the pagemaps of this checkpoint have more than {max} bytes");
                self.issues.push(Issue::new(Place::member(name), what));
            }
        }
    }

    /// Whether descriptor tables are named by `files_id`; old dumps named them by pid.
    pub(super) fn fdinfo_is_per_id(&self) -> bool {
        let inventory = self.inventory.values().flat_map(|records| &records.records).next();
        inventory.is_none_or(|record| record.value.fdinfo_per_id.unwrap_or_default())
    }

    /// The lowest release that writes all the fields that are there.
    pub(super) fn criu_at_least(&self) -> Option<&'static str> {
        fn all<M>(table: &Table<M>) -> impl Iterator<Item = &M> {
            table.values().flat_map(|records| &records.records).map(|record| &record.value)
        }
        let threads = || all(&self.core).filter_map(|core| core.thread_core.as_ref());
        let pagemap = self.kept.values().find(|img| img.kind.is_some_and(|kind| kind.key == "PAGEMAP"));
        let entries =
            pagemap.map(|img| decode::typed::<schema::PagemapEntry>(img, &self.ctx).value).unwrap_or_default();
        if entries.iter().any(|record| record.value.nr_pages.is_some()) {
            Some("4.2")
        } else if all(&self.inventory).any(|entry| entry.plugins_entry.is_some() || entry.dump_criu_run_id.is_some()) {
            Some("4.1")
        } else if all(&self.core)
            .filter_map(|core| core.tc.as_ref())
            .any(|task| task.membarrier_registration_mask.is_some())
        {
            Some("3.19")
        } else if threads().any(|thread| thread.cg_set.is_some()) {
            Some("3.18")
        } else if threads().any(|thread| thread.rseq_entry.is_some()) {
            Some("3.17")
        } else if threads().any(|thread| thread.comm.is_some()) {
            Some("3.11")
        } else if !self.files.is_empty() {
            Some("3.4")
        } else if all(&self.inventory).any(|entry| entry.img_version >= 2) {
            Some("1.6")
        } else {
            None
        }
    }
}

/// Images that are decoded when they are joined: pagemaps want the page size, which other images
/// tell; netlink dumps and rule texts have no records.
const KEPT: [&str; 10] =
    ["PAGEMAP", "SHMEM_PAGEMAP", "IFADDR", "ROUTE", "ROUTE6", "RULE", "IPTABLES", "IP6TABLES", "NFTABLES", "NETNF_CT"];

fn is_typed(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| !matches!(kind, "PAGES" | "TMPFS_DEV" | "TMPFS_IMG"))
}

/// Why an image is left out.
const OVER_BUDGET: &str = "the images before it hold as many values, or bytes, as one checkpoint may have";

/// Most bytes of images that hold nothing but records. Those of 5000 processes have about 100 MiB.
const MAX_RECORD_BYTES: u64 = 256 << 20;

/// How many values each image may hold, by name, where that is less than it has: the smallest images come first, so that
/// one that is blown up does not cost the others. 0 leaves an image out.
///
/// Empty for every honest checkpoint: then nothing but the sizes was looked at, or the values are few enough.
fn allowances<'a>(evidence: &Evidence, work: &[&'a (&Member, ImageFile)], ctx: &Ctx) -> HashMap<&'a str, u64> {
    let max = ctx.limits.max_values;
    let decoded = || work.iter().filter(|(_, file)| !file.kind.is_some_and(|kind| KEPT.contains(&kind)));
    let bytes = decoded().fold(0u64, |sum, (member, _)| sum.saturating_add(member.available_bytes()));
    // The length word of an empty record is four bytes and counts sixteen.
    if bytes.saturating_mul(decode::RECORD_VALUES / 4) <= max {
        return HashMap::new();
    }
    let mut images: Vec<&(&Member, ImageFile)> = decoded().copied().collect();
    images.sort_by_key(|(member, file)| (member.available_bytes(), file.name.as_str()));
    let mut allowances = HashMap::new();
    let mut bytes_left = MAX_RECORD_BYTES;
    images.retain(|(member, file)| {
        // The payload of these is borrowed, and may be as large as the files that it is of.
        let has_payload = decode::kind_of(&file.name).is_some_and(|(kind, _)| !kind.payload.is_empty());
        let rest = bytes_left.checked_sub(if has_payload { 0 } else { member.available_bytes() });
        bytes_left = rest.unwrap_or(0);
        if rest.is_none() {
            allowances.insert(file.name.as_str(), 0);
        }
        rest.is_some()
    });
    let mut counts: Vec<(u64, &'a str)> = images
        .into_par_iter()
        .map(|(member, file)| {
            let read = evidence.read(member).map(|bytes| decode::count_values(&Img::new(&file.name, bytes), ctx));
            (read.unwrap_or_default(), file.name.as_str())
        })
        .collect();
    counts.sort_unstable();
    let mut left = max;
    for (count, name) in counts {
        if left < count {
            allowances.insert(name, left);
        }
        left = left.saturating_sub(count);
    }
    allowances
}

fn decode_one(img: Img, ctx: &Ctx) -> (Part, Vec<Issue>) {
    let Some(kind) = img.kind else { return (Part::Skipped, Vec::new()) };
    let id = img.id.unwrap_or_default();
    let name = img.name.to_string();
    if KEPT.contains(&kind.key) {
        return (Part::Kept(name, img), Vec::new());
    }
    match kind.key {
        "GHOST_FILE" => {
            let decoded = decode::ghost(&img, ctx);
            let part = decoded.value.map_or(Part::Skipped, |ghost| Part::Ghost(name, ghost));
            (part, decoded.issues.into_iter().map(Issue::from).collect())
        }
        key => decode_part(img, key, id, ctx),
    }
}
