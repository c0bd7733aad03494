//! Lines of `search --json`, `strings --json` and `memory --json`: one object each.

use serde::Serialize;

use crate::base::{Pid, Place, Text, VirtAddr, escape, hex};
use crate::checkpoint::Vma;
use crate::memory::search::{Encoding, Hit, Source, secrets};
use crate::memory::{AddressSpace, Chunk, Content};

use super::value::address;

/// Most bytes of a match that are written.
const MAX_SHOWN_BYTES: usize = 64 << 10;

/// What a hit is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The rule that found it.
    pub rule: String,
    /// The pattern of the rule, as `$a`.
    pub pattern: Option<String>,
    /// More about it.
    pub note: Option<String>,
}

impl Label {
    /// Of a match of the secret patterns.
    pub fn of_secret(hit: &Hit<'_>) -> Option<Label> {
        let secret = secrets::describe(&hit.bytes(MAX_SHOWN_BYTES))?;
        Some(Label { rule: secret.rule.to_owned(), pattern: None, note: secret.note })
    }
}

/// One line of `search --json`.
#[derive(Debug, Serialize)]
pub struct HitLine {
    pid: Option<u32>,
    vaddr: Option<String>,
    length: u64,
    source: &'static str,
    /// Name of the map as /proc/PID/maps has it; of other sources the name of the queue or file.
    map: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    map_hex: Option<String>,
    perms: Option<String>,
    /// Where the match begins in the evidence; `null` in zeros that nobody wrote.
    r#where: Option<String>,
    /// Name of the rule that matched, of secrets and of YARA.
    rule: Option<String>,
    /// Name of the pattern of a YARA rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    r#match: String,
    match_hex: String,
    before_hex: String,
    after_hex: String,
    /// Offset in the queue or file; `null` in memory.
    offset: Option<u64>,
    /// Kind of the map.
    kind: Option<&'static str>,
    /// What a secret says of itself.
    note: Option<String>,
}

impl HitLine {
    /// The line of a hit, with so many bytes of context.
    pub fn new(hit: &Hit<'_>, context: usize, label: Option<Label>) -> HitLine {
        HitLine::of(&KeptHit::new(hit, context, label))
    }

    /// The line of a hit that was kept.
    pub fn of(hit: &KeptHit) -> HitLine {
        let (rule, pattern, note) = match hit.label.clone() {
            Some(label) => (Some(label.rule), label.pattern, label.note),
            None => (None, None, None),
        };
        HitLine {
            pid: hit.pid.map(|pid| pid.0),
            vaddr: hit.vaddr.map(address),
            length: hit.len_bytes,
            source: hit.source.word(),
            map: hit.name.to_lossless().into_owned(),
            map_hex: hit.name.hex_if_not_utf8(),
            perms: hit.perms.clone(),
            r#where: hit.place.as_ref().map(ToString::to_string),
            rule,
            pattern,
            r#match: escape(&hit.bytes).into_owned(),
            match_hex: hex(&hit.bytes),
            before_hex: hex(&hit.before),
            after_hex: hex(&hit.after),
            offset: if hit.vaddr.is_some() || hit.len_bytes == 0 { None } else { Some(hit.offset) },
            kind: hit.kind,
            note,
        }
    }
}

/// A hit that outlives its search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHit {
    /// Whose memory; of a queue or file the first process that has it open.
    pub pid: Option<Pid>,
    /// Where in memory.
    pub vaddr: Option<VirtAddr>,
    /// The address, or the offset in the queue or file, in bytes.
    pub offset: u64,
    /// Length of the match in bytes; 0 for a rule that holds without one.
    pub len_bytes: u64,
    /// What holds it.
    pub source: Source,
    /// Name of the map as /proc/PID/maps has it; of other sources the name of the queue or file.
    pub name: Text,
    /// Where the map begins.
    pub map_start: Option<VirtAddr>,
    /// Permissions of the map.
    pub perms: Option<String>,
    /// Kind of the map.
    pub kind: Option<&'static str>,
    /// Where the match begins in the evidence.
    pub place: Option<Place>,
    /// Number of the pattern.
    pub pattern: usize,
    /// What it is called.
    pub label: Option<Label>,
    /// The match, at most 64 KiB of it.
    pub bytes: Box<[u8]>,
    /// What stands before it.
    pub before: Box<[u8]>,
    /// What stands behind it.
    pub after: Box<[u8]>,
}

impl KeptHit {
    /// Copies a hit, with so many bytes of context.
    pub fn new(hit: &Hit<'_>, context: usize, label: Option<Label>) -> KeptHit {
        let vma = hit.vma();
        KeptHit {
            pid: hit.pid(),
            vaddr: hit.vaddr(),
            offset: hit.offset(),
            len_bytes: hit.len_bytes(),
            source: hit.source(),
            name: hit.name(),
            map_start: vma.map(|vma| vma.start),
            perms: vma.map(Vma::perms),
            kind: vma.map(|vma| vma.kind.word()),
            place: hit.place(),
            pattern: hit.pattern(),
            label,
            bytes: hit.bytes(MAX_SHOWN_BYTES).into(),
            before: hit.before(context).into(),
            after: hit.after(context).into(),
        }
    }
}

/// The one line of `search --count --json`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CountLine {
    /// Matches.
    pub count: u64,
}

/// One line of `strings --json`.
#[derive(Debug, Serialize)]
pub struct StringLine {
    pid: Option<u32>,
    vaddr: Option<String>,
    length: u64,
    source: &'static str,
    map: String,
    perms: Option<String>,
    r#where: Option<String>,
    encoding: &'static str,
    string: String,
    offset: Option<u64>,
}

impl StringLine {
    /// The line of a string.
    pub fn new(hit: &Hit<'_>, encoding: Encoding) -> StringLine {
        StringLine {
            pid: hit.pid().map(|pid| pid.0),
            vaddr: hit.vaddr().map(address),
            length: hit.len_bytes(),
            source: hit.source().word(),
            map: hit.name().to_lossless().into_owned(),
            perms: hit.vma().map(Vma::perms),
            r#where: hit.place().map(|place| place.to_string()),
            encoding: encoding.word(),
            string: encoding.decode(&hit.bytes(MAX_SHOWN_BYTES)),
            offset: if hit.vaddr().is_some() { None } else { Some(hit.offset()) },
        }
    }
}

/// One line of `memory --json`: a piece of memory with one answer.
#[derive(Debug, Serialize)]
pub struct MemoryLine {
    pid: u32,
    vaddr: String,
    length: u64,
    map: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    map_hex: Option<String>,
    perms: String,
    kind: &'static str,
    r#where: Option<String>,
    /// `bytes`, `zero` (never written to), or why it is not there.
    state: &'static str,
    /// The bytes; `null` for zeros and for what is not there.
    hex: Option<String>,
}

impl MemoryLine {
    /// The line of a chunk.
    pub fn new(space: &AddressSpace<'_>, vma: &Vma, chunk: &Chunk) -> MemoryLine {
        let (state, bytes) = match &chunk.content {
            Content::Bytes(bytes) => ("bytes", Some(hex(bytes))),
            Content::Zero => ("zero", None),
            Content::Absent(why) => (why.word(), None),
        };
        let path: &Text = &vma.path;
        MemoryLine {
            pid: space.pid().0,
            vaddr: address(chunk.range.start),
            length: chunk.range.end.0.saturating_sub(chunk.range.start.0),
            map: path.to_lossless().into_owned(),
            map_hex: path.hex_if_not_utf8(),
            perms: vma.perms(),
            kind: vma.kind.word(),
            r#where: bytes.as_ref().and_then(|_| space.place_of(chunk.range.start)).map(|place| place.to_string()),
            state,
            hex: bytes,
        }
    }
}

/// A part of a file that `memory --raw -o` wrote.
#[derive(Clone, Debug, Serialize)]
pub struct RawPart {
    /// Offset in the file.
    pub file_offset: u64,
    vaddr: String,
    /// In bytes.
    pub length: u64,
    map: String,
    perms: String,
    kind: &'static str,
    /// Bytes that are holes in the file because they are not in the checkpoint.
    pub absent_bytes: u64,
}

impl RawPart {
    /// A part of a map.
    pub fn new(
        file_offset: u64,
        range: std::ops::Range<crate::base::VirtAddr>,
        vma: &Vma,
        absent_bytes: u64,
    ) -> RawPart {
        RawPart {
            file_offset,
            vaddr: address(range.start),
            length: range.end.0.saturating_sub(range.start.0),
            map: vma.path.to_lossless().into_owned(),
            perms: vma.perms(),
            kind: vma.kind.word(),
            absent_bytes,
        }
    }
}

/// What `memory --core --json` wrote.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CoreReport {
    /// Threads with registers.
    pub threads: usize,
    /// Segments of memory.
    pub segments: usize,
    /// Memory in the file, in bytes.
    pub memory_bytes: u64,
    /// Memory that was mapped and is not in the checkpoint, in bytes.
    pub absent_bytes: u64,
    /// Memory that was never touched and is left out, in bytes: it would be zeros.
    pub untouched_bytes: u64,
    /// Size of the file, holes included, in bytes.
    pub file_bytes: u64,
    /// Maps of files that the note about these has no room for.
    pub files_left_out: usize,
}
