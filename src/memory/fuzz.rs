//! The bodies of the property tests and of the fuzz targets: everything is asked of a checkpoint, and of a program, that may
//! be hostile.

use std::io::{self, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::base::{ByteOrder, Silent, Text, VirtAddr};
use crate::checkpoint::registers::Registers;
use crate::checkpoint::{Arch, Checkpoint};

use super::carve::find_images;
use super::disassembly::{Isa, disassemble, starts_until};
use super::elf::Elf;
use super::overlay::{Fields, SOCKADDR_BYTES, socket_addresses};
use super::search::{
    Encoding, HexPattern, Hit, Matcher, Pattern, Scope, SearchSink, Skipped, VmaFilter, parse_value, search, secrets,
    strings_pattern,
};
use super::stack::{MAX_FRAMES, Stack, Stacks, Unwinders};
use super::symbols::{Module, Symbols};
use super::{AddressSpace, Content, CoreError, Memory, SegmentIndex, write_core};

/// Segments of a space that are looked at.
const MAX_SEGMENTS: usize = 2000;
/// Bytes at the ends of a segment that are read.
const MAX_READ_BYTES: u64 = 10_000;
/// Threads, and segments, that are unwound and disassembled of a space.
const MAX_PLACES: usize = 16;
/// Hits after which a search ends.
const MAX_HITS: usize = 10_000;

/// Walks and reads every space, and searches everything, of a checkpoint that may be hostile. Never panics, and takes time in
/// proportion to the evidence.
#[doc(hidden)]
pub fn fuzz_memory(checkpoint: &Arc<Checkpoint>) {
    let memory = Memory::new(Arc::clone(checkpoint));
    for space in memory.spaces() {
        let index = SegmentIndex::new(&space, MAX_SEGMENTS);
        let mut end_of_last = VirtAddr(0);
        for segment in space.segments().take(MAX_SEGMENTS) {
            let range = segment.range.clone();
            assert!(end_of_last <= range.start && range.start < range.end, "segments in order");
            end_of_last = range.end;
            assert_eq!(index.number_at(range.start).and_then(|nr| index.get(&space, nr)).map(|it| it.0), Some(segment));
            let head = range.start..VirtAddr(range.end.0.min(range.start.0.saturating_add(MAX_READ_BYTES)));
            let tail = VirtAddr(range.start.0.max(range.end.0.saturating_sub(MAX_READ_BYTES)))..range.end;
            for part in [head, tail] {
                let mut at = part.start;
                for chunk in space.read(part.clone()) {
                    assert_eq!(chunk.range.start, at, "chunks follow each other");
                    at = chunk.range.end;
                    if let Content::Bytes(bytes) = chunk.content {
                        assert_eq!(bytes.len() as u64, at.0 - chunk.range.start.0, "a chunk is as long as its range");
                    }
                }
                assert_eq!(at, part.end, "a read covers its range");
            }
            for addr in [range.start, VirtAddr(range.end.0 - 1)] {
                there_and_back(&memory, &space, addr);
            }
        }
        carve_all(&space);
        structures(&space);
        code(&memory, &space);
        core(&memory, &space);
    }
    for (encoding, matcher) in MATCHERS.iter() {
        let mut last = Last { encoding: *encoding, ..Last::default() };
        let _ = search(&memory, &Scope::default(), matcher, &Silent, &mut last);
    }
    #[cfg(feature = "yara")]
    yara::scan_all(&memory);
}

/// Every kind of pattern; of strings the encoding.
static MATCHERS: LazyLock<Vec<(Option<Encoding>, Matcher)>> = LazyLock::new(|| {
    let regex = |source: &str, any_case| Pattern::Regex { source: source.to_owned(), any_case };
    let utf16 = |text: &str, any_case| Pattern::Utf16 { text: text.to_owned(), any_case };
    let value = |text, order| Pattern::Literal(parse_value(text, 8, order).expect("a number"));
    let patterns = vec![
        Pattern::Literal(b"mem-".to_vec()),
        Pattern::LiteralAnyCase(b"Secret".to_vec()),
        Pattern::Hex(HexPattern::parse("7f 45 ?? 46 0?").expect("hex")),
        value("443u16be", ByteOrder::Little),
        value("0x7ffe0000u64", ByteOrder::Big),
        utf16("mem-", false),
        utf16("\u{e9}t\u{e9}", true),
        regex(r"\b[a-z_]{4,}=\S*$", true),
        regex(r"(?s)\x00[^\x00].{0,60}?\xff", false),
    ];
    let mut all = vec![(None, patterns), (None, vec![Pattern::Secrets])];
    all.extend(Encoding::ALL.map(|encoding| (Some(encoding), vec![strings_pattern(encoding, 6)])));
    let compiled = |(encoding, patterns): (_, Vec<_>)| (encoding, Matcher::new(&patterns).expect("patterns"));
    all.into_iter().map(compiled).collect()
});

/// An address leads to its place in the evidence and to its number in the space, and both lead back.
fn there_and_back(memory: &Memory, space: &AddressSpace<'_>, addr: VirtAddr) {
    const MAX: usize = 8;
    assert_eq!(space.nth_mapped(space.mapped_before(addr)), Some(addr));
    let mappings = memory.mappings_of(space, addr, MAX);
    assert!(mappings.len() <= MAX);
    if let Some(place) = space.place_of(addr) {
        let found = memory.addresses_of(&place.member, place.offset.unwrap_or_default(), MAX);
        assert!(found.len() <= MAX);
        for (pid, other) in found {
            let other = memory.space(pid).ok().and_then(|space| space.place_of(other));
            assert_eq!(other.as_ref(), Some(&place), "an address of a place has it");
        }
    }
    let bytes = space.bytes_at(addr, 64);
    let end = VirtAddr(addr.0.saturating_add(bytes.len() as u64));
    assert_eq!(space.bytes_before(end, bytes.len()), bytes, "read from both ends");
}

/// Fields are in order, and lie in what is mapped.
fn structures(space: &AddressSpace<'_>) {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let Ok(fields) = Fields::of(space, order, &Silent) else { return };
        assert!(fields.all().windows(2).all(|pair| pair[0].range.end <= pair[1].range.start), "fields in order");
        for field in fields.all().iter().take(MAX_SEGMENTS) {
            assert!(fields.in_range(field.range.clone()).any(|found| found == field), "a field is where it is");
            assert!(space.map().vma_at(field.range.start).is_some(), "{field:?} is not mapped");
        }
        for segment in space.segments().filter(|segment| segment.origin.is_readable()).take(MAX_PLACES) {
            let start = segment.range.start;
            let cells: Vec<Option<u8>> = space.bytes_at(start, MAX_READ_BYTES as usize).into_iter().map(Some).collect();
            let len = cells.len().saturating_sub(SOCKADDR_BYTES);
            for field in socket_addresses(&cells, start, len, order, &[80, 443]) {
                assert!(start <= field.range.start && field.range.start < field.range.end);
            }
        }
    }
}

/// Stacks of the threads and instructions where they stand, and of a thread that stands anywhere.
fn code(memory: &Memory, space: &AddressSpace<'_>) {
    let stacks = Stacks::new(memory, space);
    let process = memory.checkpoint().process(space.pid());
    let threads = process.into_iter().flat_map(|process| &process.threads).take(MAX_PLACES);
    let known: Vec<&Registers> = threads.filter_map(|thread| thread.registers.known()).collect();
    let starts = space.segments().take(MAX_PLACES).map(|segment| segment.range.start);
    let anywhere = starts.flat_map(|start| registers_at(start.0, start.0.wrapping_add(8)));
    let anywhere: Vec<Registers> = anywhere.collect();
    for registers in known.into_iter().chain(&anywhere) {
        if let Some(stack) = stacks.unwind(registers) {
            assert_stack(&stack);
        }
        let pc = VirtAddr(registers.pc);
        for isa in [Isa::X86, Isa::X86_64, Isa::Aarch64] {
            let mut at = pc;
            for line in disassemble(space, stacks.symbols(), isa, pc, 32) {
                assert_eq!((line.addr, line.len_bytes() > 0), (at, true), "lines follow each other");
                at = VirtAddr(at.0.saturating_add(line.len_bytes()));
            }
            let until = VirtAddr(pc.0.saturating_add(100));
            let starts = starts_until(space, isa, pc, until).unwrap_or_default();
            assert!(starts.iter().all(|start| pc <= *start && *start < until));
        }
    }
}

fn assert_stack(stack: &Stack) {
    assert!(stack.frames.len() <= MAX_FRAMES);
    for frame in &stack.frames {
        let _ = frame.name.as_ref().map(ToString::to_string);
    }
}

/// Registers of a thread that stands at an address, of both architectures whose stacks are unwound.
fn registers_at(pc: u64, sp: u64) -> [Registers; 2] {
    [(Arch::X86, &["bp"][..]), (Arch::Aarch64, &["x29", "x30"])].map(|(arch, names)| Registers {
        arch,
        is_compat: false,
        general: names.iter().map(|name| (*name, sp)).collect(),
        pc,
        sp,
        tls: None,
        vector: Vec::new(),
    })
}

/// A core file is as long as it says, and is written in order.
fn core(memory: &Memory, space: &AddressSpace<'_>) {
    let Some(process) = memory.checkpoint().process(space.pid()) else { return };
    let mut out = Sink::default();
    match write_core(process, space, &mut out, &Silent) {
        Ok(summary) => {
            assert_eq!(out.end, summary.file_bytes, "a core file is as long as it says");
            assert_eq!(out.head[..4], *b"\x7fELF");
        }
        Err(CoreError::Architecture(_)) => assert_eq!(out.end, 0),
        Err(error) => panic!("{error}"),
    }
}

/// A file that keeps its first bytes and its length.
#[derive(Debug, Default)]
struct Sink {
    at: u64,
    end: u64,
    head: [u8; 16],
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let first = usize::try_from(self.at).unwrap_or(usize::MAX).min(self.head.len());
        self.head.iter_mut().skip(first).zip(bytes).for_each(|(to, byte)| *to = *byte);
        self.at = self.at.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.end = self.end.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.at = at;
        Ok(at)
    }
}

/// Reads a program that may be hostile as one that a process maps: its symbols, and stacks by its unwind tables, from a stack
/// that its own bytes are. Never panics.
#[doc(hidden)]
pub fn fuzz_elf(content: &Bytes) {
    const AT: u64 = 0x5555_0000_0000;
    let Some(elf) = Elf::parse(content) else { return };
    let elf = Arc::new(elf);
    let _ = super::build_id(content);
    let len = content.len() as u64;
    let bias = elf.bias(0, AT).unwrap_or(AT);
    let text = elf.text.as_ref().map_or(0..len, |text| text.range.clone());
    let range: Range<VirtAddr> = VirtAddr(AT)..VirtAddr(AT + len.next_multiple_of(4096));
    let module = Module { path: Text(Bytes::from_static(b"/lib/hostile.so")), range, bias, elf: Some(elf) };
    let symbols = Symbols { modules: vec![module] };
    let unwinders = Unwinders::new(&symbols);
    let mut read = |addr: u64| {
        let at = usize::try_from((addr % len.max(8)) & !7).unwrap_or_default();
        let word = content.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        let word = u64::from_le_bytes(word);
        // Every other word leads into the code, so that stacks have more than one frame.
        Ok(if addr & 8 == 0 { word } else { bias.wrapping_add(text.start).wrapping_add(word % len.max(1)) })
    };
    let own = text.end.saturating_sub(text.start).clamp(1, len.max(1));
    for nr in 0..64 {
        let pc = bias.wrapping_add(text.start).wrapping_add(own / 64 * nr);
        let _ = symbols.name_of(VirtAddr(pc)).map(|name| name.to_string());
        for registers in registers_at(pc, AT + nr * 8) {
            if let Some(stack) = unwinders.unwind(&symbols, &registers, &mut read) {
                assert_stack(&stack);
            }
        }
    }
}

/// Rebuilds programs; of each the content is as long as its parts.
fn carve_all(space: &AddressSpace<'_>) {
    let Ok(carved) = find_images(space, &VmaFilter::default(), &Silent) else { return };
    for image in carved.images.iter().take(16) {
        let (mut at, mut covered) = (0, 0);
        for (range, content) in image.content(space).take(MAX_SEGMENTS) {
            assert!(at <= range.start && range.start < range.end, "content in order");
            if let Content::Bytes(bytes) = content {
                assert_eq!(bytes.len() as u64, range.end - range.start);
            }
            covered += range.end - range.start;
            at = range.end;
        }
        assert!(at <= image.size_bytes() && covered <= image.size_bytes());
        assert!(image.absent(space).windows(2).all(|pair| pair[0].0.end <= pair[1].0.start));
        let _ = (image.made(space), image.name(), image.entry());
    }
}

/// Holds the order of hits.
#[derive(Default)]
struct Last {
    at: Option<(u32, u64)>,
    count: usize,
    /// Of strings.
    encoding: Option<Encoding>,
}

impl SearchSink for Last {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        if let (Some(pid), Some(vaddr)) = (hit.pid(), hit.vaddr()) {
            let at = (pid.0, vaddr.0);
            assert!(self.at.is_none_or(|last| last <= at), "hits in order");
            self.at = Some(at);
        }
        let bytes = hit.bytes(usize::MAX);
        assert_eq!(bytes.len() as u64, hit.len_bytes(), "a hit can be read");
        let _ = (hit.before(32), hit.after(32), hit.place(), hit.name());
        match self.encoding {
            Some(encoding) => assert!(!encoding.decode(&bytes).is_empty(), "a string has letters"),
            None => drop(secrets::describe(&bytes)),
        }
        self.count += 1;
        if self.count > MAX_HITS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        assert!(skipped.range.start <= skipped.range.end);
    }
}

/// Rules that ask for blocks, borders and whole files.
#[cfg(feature = "yara")]
mod yara {
    use std::ops::ControlFlow;
    use std::sync::LazyLock;

    use crate::base::Silent;
    use crate::memory::Memory;
    use crate::memory::search::yara::{RuleFile, YaraHit, YaraRules, YaraSink, scan};
    use crate::memory::search::{Scope, Skipped};

    const SOURCE: &str = r#"
        import "elf"
        rule literal { strings: $a = "mem-" wide ascii nocase $b = { 7f 45 [2-6] 00 } condition: any of them }
        rule far { strings: $a = /[a-z]{6}=[^\x00]{3,40}/ $b = "/bin/" condition: all of them and @a[1] < @b[1] }
        rule program { condition: elf.type == elf.ET_DYN and filesize > 64 }
    "#;

    static RULES: LazyLock<YaraRules> = LazyLock::new(|| {
        let file = RuleFile { name: "fuzz.yar".into(), source: SOURCE.into(), dir: None };
        YaraRules::compile(&[file]).expect("rules")
    });

    pub(super) fn scan_all(memory: &Memory) {
        let _ = scan(memory, &Scope::default(), &RULES, &Silent, &mut Sink(0));
    }

    struct Sink(usize);

    impl YaraSink for Sink {
        fn found(&mut self, found: &YaraHit<'_>) -> ControlFlow<()> {
            assert_eq!(found.hit.bytes(usize::MAX).len() as u64, found.hit.len_bytes(), "a match can be read");
            let _ = (found.hit.before(32), found.hit.after(32), found.hit.place(), found.hit.name());
            self.0 += 1;
            if self.0 > super::MAX_HITS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn skipped(&mut self, skipped: &Skipped<'_>) {
            assert!(skipped.range.start <= skipped.range.end);
        }
    }
}
