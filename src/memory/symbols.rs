//! Names for addresses: the files that a process maps, and the symbols in those whose content is there.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::base::{FileId, Text, VirtAddr};

use super::elf::Elf;
use super::{AddressSpace, Memory};

/// Largest file that is looked into for symbols.
const MAX_FILE_BYTES: usize = 1 << 30;

/// Maps of one file that are compared with its segments: the first ones of a real one fit.
const MAX_TRIED: usize = 1024;

/// Every file that a process maps, by address.
#[derive(Clone, Debug)]
pub struct Symbols {
    pub(super) modules: Vec<Module>,
}

/// One mapped file.
#[derive(Clone, Debug)]
pub struct Module {
    /// As `/proc/PID/maps` shows it.
    pub path: Text,
    /// From its first map to the end of its last.
    pub range: Range<VirtAddr>,
    /// Add to the file's own addresses for those of the process.
    pub(super) bias: u64,
    /// `None` where the content is not at hand, or is no ELF file.
    pub(super) elf: Option<Arc<Elf>>,
}

impl Module {
    /// The last part of the path.
    pub fn name(&self) -> String {
        let label = self.path.label();
        label.rsplit('/').next().unwrap_or(&label).to_owned()
    }

    /// Whether its symbols could be read.
    pub fn has_symbols(&self) -> bool {
        self.elf.as_ref().is_some_and(|elf| !elf.symbols.is_empty())
    }
}

/// What an address is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressName {
    /// File that it lies in.
    pub module: String,
    /// Function or object, where symbols are known.
    pub symbol: Option<String>,
    /// Bytes behind the start of the symbol, or of the file's first map.
    pub offset: u64,
}

impl std::fmt::Display for AddressName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.module)?;
        if let Some(symbol) = &self.symbol {
            write!(f, "!{symbol}")?;
        }
        if self.offset == 0 { Ok(()) } else { write!(f, "+{:#x}", self.offset) }
    }
}

impl Symbols {
    /// Of one process. Reads the files that it maps; work for a job.
    pub fn new(memory: &Memory, space: &AddressSpace<'_>) -> Symbols {
        let vmas = &space.map().vmas;
        let mut modules: Vec<(FileId, Range<usize>, Module)> = Vec::new();
        for (nr, vma) in vmas.iter().enumerate() {
            let Some(file) = vma.file.filter(|_| !vma.path.as_bytes().is_empty()) else { continue };
            // Maps of one file belong together as long as no map of another file stands between them.
            match modules.last_mut() {
                Some((last, numbers, module)) if *last == file => {
                    numbers.end = nr + 1;
                    module.range.end = vma.end;
                }
                _ => {
                    let range = vma.start..vma.end;
                    let module = Module { path: vma.path.clone(), range, bias: vma.start.0, elf: None };
                    modules.push((file, nr..nr + 1, module));
                }
            }
        }
        // By where the content lies: hard links have one content, and that is parsed once.
        let mut parsed: HashMap<(usize, usize), Option<Arc<Elf>>> = HashMap::new();
        for (file, numbers, module) in &mut modules {
            let Some(content) = memory.whole_file(*file).filter(|content| content.len() <= MAX_FILE_BYTES) else {
                continue;
            };
            let parse = || Elf::parse(&content).map(Arc::new);
            let elf = parsed.entry((content.as_ptr().addr(), content.len())).or_insert_with(parse);
            let Some(elf) = elf else { continue };
            let own = vmas.get(numbers.clone()).unwrap_or_default().iter().filter(|vma| vma.file == Some(*file));
            if let Some(bias) = own.take(MAX_TRIED).filter_map(|vma| elf.bias(vma.pgoff, vma.start.0)).next() {
                module.bias = bias;
                module.elf = Some(Arc::clone(elf));
            }
        }
        Symbols { modules: modules.into_iter().map(|(_, _, module)| module).collect() }
    }

    /// All mapped files, by address.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The file whose maps an address lies in or between.
    pub fn module_at(&self, addr: VirtAddr) -> Option<&Module> {
        let after = self.modules.partition_point(|module| module.range.start <= addr);
        self.modules.get(after.checked_sub(1)?).filter(|module| addr < module.range.end)
    }

    /// What an address is called.
    pub fn name_of(&self, addr: VirtAddr) -> Option<AddressName> {
        let module = self.module_at(addr)?;
        let name = module.name();
        let own = addr.0.wrapping_sub(module.bias);
        match module.elf.as_ref().and_then(|elf| elf.symbol_at(own)) {
            Some((symbol, offset)) => {
                let symbol = String::from_utf8_lossy(&symbol.name).into_owned();
                Some(AddressName { module: name, symbol: Some(symbol), offset })
            }
            None => Some(AddressName { module: name, symbol: None, offset: addr.0 - module.range.start.0 }),
        }
    }

    /// The address of a symbol, looked for in every file.
    pub fn address_of(&self, name: &str) -> Option<VirtAddr> {
        self.modules.iter().find_map(|module| {
            let own = module.elf.as_ref()?.address_of(name)?;
            Some(VirtAddr(own.wrapping_add(module.bias)))
        })
    }
}
