//! A virtual memory area in JSON.

use std::borrow::Cow;

use serde::Serialize;

use crate::base::hex;
use crate::checkpoint::Vma;
use crate::checkpoint::memory_map::PageCounts;

use super::value::{address, text};

/// One item of `maps`.
#[derive(Debug, Serialize)]
pub(super) struct MapReport<'a> {
    start: String,
    end: String,
    perms: String,
    offset: u64,
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: &'static str,
    /// Pages whose content is in this checkpoint, the process's own and those of a shared object.
    dumped_pages: u64,
    total_pages: u64,
    shared_pages: u64,
    parent_pages: u64,
    lazy_pages: u64,
    file_id: Option<u32>,
    shmid: Option<u64>,
    build_id: Option<String>,
}

/// Pages with content in this checkpoint. One that a private mapping of a memfd has changed is in both stores.
pub(super) fn dumped_pages(pages: &PageCounts) -> u64 {
    pages.dumped.saturating_add(pages.shared)
}

impl<'a> MapReport<'a> {
    pub(super) fn new(vma: &'a Vma) -> MapReport<'a> {
        let (path, path_hex) = text(&vma.path);
        MapReport {
            start: address(vma.start),
            end: address(vma.end),
            perms: vma.perms(),
            offset: vma.pgoff,
            path,
            path_hex,
            kind: vma.kind.word(),
            dumped_pages: dumped_pages(&vma.pages),
            total_pages: vma.pages.total,
            shared_pages: vma.pages.shared,
            parent_pages: vma.pages.parent,
            lazy_pages: vma.pages.lazy,
            file_id: vma.file.map(|file| file.0),
            shmid: vma.shmid,
            build_id: vma.build_id.as_deref().map(hex),
        }
    }
}
