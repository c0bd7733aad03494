//! The body of the property test and of the fuzz target: everything is asked of a checkpoint that may be hostile.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::{Silent, VirtAddr};
use crate::checkpoint::Checkpoint;

use super::carve::find_images;
use super::search::{Hit, Matcher, Pattern, Scope, SearchSink, Skipped, VmaFilter, search};
use super::{AddressSpace, Content, Memory, SegmentIndex};

/// Segments of a space that are looked at.
const MAX_SEGMENTS: usize = 2000;
/// Bytes at the ends of a segment that are read.
const MAX_READ_BYTES: u64 = 10_000;

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
            if let Some(place) = space.place_of(range.start) {
                let offset = place.offset.unwrap_or_default();
                assert!(memory.addresses_of(&place.member, offset, 8).len() <= 8);
            }
            assert!(memory.mappings_of(&space, range.start, 8).len() <= 8);
        }
        carve_all(&space);
    }
    let patterns = [Pattern::Literal(b"mem-".to_vec()), Pattern::LiteralAnyCase(b"Secret".to_vec()), Pattern::Secrets];
    let Ok(matcher) = Matcher::new(&patterns) else { return };
    let _ = search(&memory, &Scope::default(), &matcher, &Silent, &mut Last::default());
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
        self.count += 1;
        if self.count > 10_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        assert!(skipped.range.start <= skipped.range.end);
    }
}
