//! Finding actions and objects by a few letters of their name.

use std::cmp::Reverse;

use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::actions::{ACTIONS, Action};
use super::{Model, Object};
use crate::base::{Pid, VirtAddr};

/// Names that one call of [`Finder::step`] looks at most.
const BUDGET: usize = 6_000;
/// Most answers that are kept.
const MAX_ANSWERS: usize = 200;

/// One answer.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// A row of [`ACTIONS`].
    Action(&'static Action),
    /// An object, by its index in the archive's list.
    Object(usize),
    /// An address in the memory of the selected process, which the query names.
    Address(Pid, VirtAddr),
}

/// Looks for a query in slices, so that no frame waits for it.
pub struct Finder {
    matcher: Matcher,
    query: String,
    pattern: Pattern,
    /// How many of the objects have been looked at.
    looked_at: usize,
    /// Score and place, the best first; actions come before objects of the same score.
    answers: Vec<(u32, Answer)>,
}

impl Finder {
    /// Asks nothing yet: every action answers.
    pub fn new() -> Finder {
        Finder {
            matcher: Matcher::new(Config::DEFAULT.match_paths()),
            query: String::new(),
            pattern: Pattern::default(),
            looked_at: 0,
            answers: Vec::new(),
        }
    }

    /// Asks anew. Actions that make no sense now do not answer.
    pub fn ask(&mut self, query: &str, model: &Model) {
        query.clone_into(&mut self.query);
        self.pattern = Pattern::parse(query.trim(), CaseMatching::Ignore, Normalization::Smart);
        let words = Pattern::new(query.trim(), CaseMatching::Ignore, Normalization::Smart, AtomKind::Substring);
        self.looked_at = 0;
        self.answers.clear();
        self.answers.extend(address(query, model).map(|(pid, addr)| (u32::MAX, Answer::Address(pid, addr))));
        for action in ACTIONS.iter().filter(|action| action.is_enabled(model)) {
            // What the program can do is what most people look for: a head start.
            let by_name = score(&self.pattern, &mut self.matcher, action.name).map(|score| score + score / 8);
            // Who does not know its name looks for what it does.
            let by_purpose = score(&words, &mut self.matcher, action.tooltip).map(|score| score - score / 4);
            if let Some(score) = by_name.max(by_purpose) {
                self.answers.push((score, Answer::Action(action)));
            }
        }
        self.sort();
    }

    /// The query that the answers are for.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Looks at some more objects; false when all have been looked at.
    pub fn step(&mut self, objects: &[Object]) -> bool {
        if self.query.trim().is_empty() || self.looked_at >= objects.len() {
            return false;
        }
        let end = objects.len().min(self.looked_at + BUDGET);
        for at in self.looked_at..end {
            if let Some(score) =
                objects.get(at).and_then(|object| score(&self.pattern, &mut self.matcher, &object.label))
            {
                self.answers.push((score, Answer::Object(at)));
            }
        }
        self.looked_at = end;
        self.sort();
        true
    }

    /// The best answers so far.
    pub fn answers(&self) -> impl ExactSizeIterator<Item = Answer> {
        self.answers.iter().map(|(_, answer)| *answer)
    }

    fn sort(&mut self) {
        if !self.query.trim().is_empty() {
            self.answers.sort_by_key(|(score, _)| Reverse(*score));
        }
        self.answers.truncate(MAX_ANSWERS);
    }
}

impl Default for Finder {
    fn default() -> Finder {
        Finder::new()
    }
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder")
            .field("query", &self.query)
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}

/// The mapped address that a query names. A bare number or name may mean anything else, and is none.
fn address(query: &str, model: &Model) -> Option<(Pid, VirtAddr)> {
    if !query.contains(['+', '-']) && !query.trim().starts_with("0x") {
        return None;
    }
    let archive = model.active()?;
    let process = archive.checkpoint().process(archive.selected_pid()?)?;
    let addr = super::space::address::parse(query, process).ok()?;
    process.memory.known()?.vma_at(addr).map(|_| (process.pid, addr))
}

fn score(pattern: &Pattern, matcher: &mut Matcher, name: &str) -> Option<u32> {
    let mut buffer = Vec::new();
    pattern.score(Utf32Str::new(name, &mut buffer), matcher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pid;
    use crate::session::{ObjectKind, Target};

    fn object(label: &str) -> Object {
        Object { kind: ObjectKind::Process, label: label.into(), target: Target::process(Pid(1)) }
    }

    fn found(query: &str, objects: &[Object]) -> Vec<String> {
        let mut finder = Finder::new();
        finder.ask(query, &Model::default());
        while finder.step(objects) {}
        finder
            .answers()
            .map(|answer| match answer {
                Answer::Action(action) => action.name.to_owned(),
                Answer::Object(at) => objects[at].label.clone(),
                Answer::Address(_, addr) => addr.to_string(),
            })
            .collect()
    }

    #[test]
    fn few_letters_find_an_action() {
        assert_eq!(found("ops", &[]).first().map(String::as_str), Some("Open the bundled sample"));
        assert_eq!(found("thdark", &[]).first().map(String::as_str), Some("Theme: dark"));
    }

    #[test]
    fn words_of_what_an_action_does_find_it_behind_those_of_that_name() {
        assert_eq!(found("layout unpacked", &[]), ["Open directory…"]);
        assert_eq!(found("unpacked", &[object("7 unpacked")]), ["7 unpacked", "Open directory…"]);
        // Whole words count for more than letters here and there.
        assert_eq!(
            found("layout", &[object("1 lisa-delay-mount")]).first().map(String::as_str),
            Some("Open directory…")
        );
    }

    #[test]
    fn objects_are_found_by_parts_of_their_names() {
        let objects = [object("1 python3 /usr/bin/python3"), object("7 .cache /tmp/.X11-unix/.cache (deleted)")];
        assert_eq!(found("x11 cache", &objects), ["7 .cache /tmp/.X11-unix/.cache (deleted)"]);
        assert!(found("zzzz", &objects).is_empty());
    }

    #[test]
    fn empty_query_lists_actions_in_their_order_and_no_objects() {
        let all = found("", &[object("1 init")]);
        assert_eq!(all.first().map(String::as_str), Some("Open archive…"));
        assert!(!all.contains(&"1 init".to_owned()));
    }

    #[test]
    fn many_objects_are_looked_at_in_slices() {
        let objects: Vec<_> = (0..20_000).map(|n| object(&format!("{n} worker"))).collect();
        let mut finder = Finder::new();
        finder.ask("19999", &Model::default());
        assert!(finder.step(&objects));
        assert_eq!(finder.answers().len(), 0);
        let mut steps = 1;
        while finder.step(&objects) {
            steps += 1;
        }
        assert_eq!((steps, finder.answers().len()), (4, 1));
    }
}
