//! Where each thread of a process stands: unwound stacks, with what each frame was found by and why there are no more.

use crate::base::{Cancelled, Pid, Progress, VirtAddr};
use crate::memory::stack::{Stack, StackEnd, Stacks};
use crate::memory::{AddressSpace, Memory, Symbols};

/// Most frames that are kept of a process; threads behind them have none.
const MAX_FRAMES: usize = 1 << 18;

/// Stacks of all threads of a process.
#[derive(Clone, Debug)]
pub struct ThreadStacks {
    /// Names of addresses.
    pub symbols: Symbols,
    /// By tid.
    threads: Vec<(Pid, ThreadStack)>,
}

/// The stack of one thread, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadStack {
    /// Here it is.
    Unwound(Stack),
    /// The dump has no registers of the thread.
    NoRegisters,
    /// Stacks of this architecture are not unwound.
    UnknownArch(&'static str),
    /// There were too many frames in the threads before.
    TooMany,
}

/// What led to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// The program counter of the thread.
    Registers,
    /// Unwind tables of the file that the inner frame lies in: certain.
    Tables,
    /// The frame pointer: a guess where programs keep none.
    FramePointer,
}

impl FoundBy {
    /// Of a frame by its number.
    pub fn of(stack: &Stack, nr: usize) -> FoundBy {
        match nr.checked_sub(1).and_then(|inner| stack.frames.get(inner)) {
            None => FoundBy::Registers,
            Some(inner) if inner.has_tables => FoundBy::Tables,
            Some(_) => FoundBy::FramePointer,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            FoundBy::Registers => "from the registers",
            FoundBy::Tables => "by unwind tables",
            FoundBy::FramePointer => "by the frame pointer, which may be a guess",
        }
    }
}

/// Why a stack ends, in words for the analyst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndReason {
    /// What it is.
    pub text: String,
    /// It ends too early.
    pub is_loss: bool,
    /// The files of the image that the container started from may help.
    pub wants_base: bool,
}

impl ThreadStacks {
    /// Unwinds all threads. Reads the files that the process maps: work for a job.
    ///
    /// # Errors
    /// The job shall stop.
    pub fn new(memory: &Memory, space: &AddressSpace<'_>, progress: &dyn Progress) -> Result<ThreadStacks, Cancelled> {
        progress.stage("reading symbols and unwind tables");
        progress.step(0, None)?;
        let stacks = Stacks::new(memory, space);
        progress.stage("unwinding");
        let process = memory.checkpoint().process(space.pid());
        let all = process.map(|process| process.threads.as_slice()).unwrap_or_default();
        let mut threads = Vec::with_capacity(all.len());
        let mut nr_frames = 0usize;
        for (nr, thread) in all.iter().enumerate() {
            progress.step(nr as u64, Some(all.len() as u64))?;
            let stack = match thread.registers.known() {
                None => ThreadStack::NoRegisters,
                Some(_) if nr_frames >= MAX_FRAMES => ThreadStack::TooMany,
                Some(registers) => match stacks.unwind(registers) {
                    Some(stack) => ThreadStack::Unwound(stack),
                    None if registers.is_compat => ThreadStack::UnknownArch("32-bit x86"),
                    None => ThreadStack::UnknownArch(registers.arch.name()),
                },
            };
            if let ThreadStack::Unwound(stack) = &stack {
                nr_frames = nr_frames.saturating_add(stack.frames.len());
            }
            threads.push((thread.tid, stack));
        }
        threads.sort_by_key(|(tid, _)| *tid);
        Ok(ThreadStacks { symbols: stacks.symbols().clone(), threads })
    }

    /// The stack of a thread.
    pub fn of(&self, tid: Pid) -> Option<&ThreadStack> {
        let at = self.threads.binary_search_by_key(&tid, |(known, _)| *known).ok()?;
        self.threads.get(at).map(|(_, stack)| stack)
    }
}

/// Why there are no frames behind the last one. `has_base` says that the image of the container is attached.
pub fn end_reason(space: &AddressSpace<'_>, stack: &Stack, has_base: bool) -> EndReason {
    let Some(last) = stack.frames.last() else {
        return EndReason {
            text: "The program counter leads nowhere: there is no frame".to_owned(),
            is_loss: true,
            wants_base: false,
        };
    };
    let (text, is_loss, wants_base) = match stack.end {
        StackEnd::Outermost if last.has_tables => ("Outermost frame: the thread began here".to_owned(), false, false),
        StackEnd::Outermost => (
            "The frame pointer says that this is the outermost frame; there are no unwind tables to tell".to_owned(),
            false,
            !has_base,
        ),
        StackEnd::TooMany => (format!("More than {} frames: the rest is not shown", stack.frames.len()), true, false),
        StackEnd::Lost if last.has_tables => (
            "Lost: unwind tables lead to stack memory that is not in the checkpoint, or to no code".to_owned(),
            true,
            false,
        ),
        StackEnd::Lost => {
            let inside = VirtAddr(last.addr.0.saturating_sub(u64::from(stack.frames.len() > 1)));
            let module = last.name.as_ref().map_or_else(|| "this code".to_owned(), |name| name.module.clone());
            let why = match space.segment_at(inside).map(|segment| segment.vma.file) {
                None => {
                    return EndReason {
                        text: "Lost: nothing is mapped at this address".to_owned(),
                        is_loss: true,
                        wants_base: false,
                    };
                }
                Some(None) => format!("{module} comes from no file, so there are no unwind tables"),
                Some(Some(_)) if has_base => format!("no unwind tables of {module} are at hand"),
                Some(Some(_)) => {
                    format!("the unwind tables of {module} are in its file, which is not in the checkpoint")
                }
            };
            let of_file = space.segment_at(inside).is_some_and(|segment| segment.vma.file.is_some());
            (format!("Lost: {why}, and the frame pointer leads nowhere"), true, of_file && !has_base)
        }
    };
    EndReason { text, is_loss, wants_base }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Silent;
    use crate::session::space::rows::tests::memory;

    #[test]
    fn without_tables_the_first_frame_is_known_and_the_end_says_what_is_missing() {
        let memory = memory("process-zoo.tar.zst");
        let process = memory.checkpoint().processes.iter().max_by_key(|process| process.threads.len()).unwrap();
        let space = memory.space(process.pid).unwrap();
        let stacks = ThreadStacks::new(&memory, &space, &Silent).unwrap();
        for thread in &process.threads {
            let Some(ThreadStack::Unwound(stack)) = stacks.of(thread.tid) else { panic!("{:?}", thread.tid) };
            assert_eq!(stack.frames[0].addr.0, thread.registers.known().unwrap().pc);
            assert_eq!(FoundBy::of(stack, 0), FoundBy::Registers);
            assert_eq!(FoundBy::of(stack, 1), FoundBy::FramePointer);
            let end = end_reason(&space, stack, false);
            assert!(end.is_loss && end.wants_base, "{end:?}");
            assert!(!end_reason(&space, stack, true).wants_base);
        }
        assert_eq!(stacks.of(Pid(u32::MAX)), None);
    }
}
