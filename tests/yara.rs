//! YARA rules over real checkpoints.
#![cfg(feature = "yara")]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

mod rebuild;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cryoscope::base::Silent;
use cryoscope::checkpoint;
use cryoscope::decode::schema::PagemapEntry;
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::Memory;
use cryoscope::memory::search::yara::{RuleFile, YaraHit, YaraRules, YaraSink, scan};
use cryoscope::memory::search::{Scope, Skipped, Source};
use rebuild::Parts;

/// Rule, pattern, source, pid, address, name of the map or file.
type Row = (String, Option<String>, Source, Option<u32>, Option<u64>, String);

#[derive(Debug, Default)]
struct Found {
    hits: Vec<Row>,
    max: Option<usize>,
}

impl YaraSink for Found {
    fn found(&mut self, found: &YaraHit<'_>) -> ControlFlow<()> {
        let YaraHit { rule, pattern, hit } = found;
        let (pid, vaddr) = (hit.pid().map(|pid| pid.0), hit.vaddr().map(|vaddr| vaddr.0));
        let pattern = pattern.map(str::to_owned);
        assert_eq!(hit.bytes(usize::MAX).len() as u64, hit.len_bytes(), "{} at {:#x}", rule.name, hit.offset());
        self.hits.push((rule.name.clone(), pattern, hit.source(), pid, vaddr, hit.name().label()));
        if self.max == Some(self.hits.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn skipped(&mut self, _skipped: &Skipped<'_>) {}
}

fn memory(fixture: &str) -> Memory {
    let options = OpenOptions::default();
    let evidence = Evidence::open_bytes("yara.tar", Parts::of(fixture).tar(), &options, &Silent).unwrap();
    Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0))
}

fn rules(source: &str) -> Result<YaraRules, String> {
    let file = RuleFile { name: "rules.yar".into(), source: source.as_bytes().to_vec(), dir: None };
    YaraRules::compile(&[file]).map_err(|error| error.to_string())
}

fn run(memory: &Memory, source: &str, scope: &Scope) -> Found {
    let mut found = Found::default();
    scan(memory, scope, &rules(source).unwrap(), &Silent, &mut found).unwrap();
    found
}

#[test]
fn planted_secrets_are_found_at_their_addresses() {
    let planted: serde_json::Value =
        serde_json::from_slice(&std::fs::read("fixtures/memory-zoo.planted.json").unwrap()).unwrap();
    let memory = memory("memory-zoo.tar.zst");
    let mut compared = 0;
    for (label, secret) in planted.as_object().unwrap() {
        let (Some(hex), Some(hits)) = (secret["hex"].as_str(), secret["hits"].as_array()) else { continue };
        let spaced: Vec<&str> = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        let source = format!("rule planted {{ strings: $a = {{ {} }} condition: $a }}", spaced.join(" "));
        let scope = Scope { sources: vec![Source::Memory], ..Scope::default() };
        let told = run(&memory, &source, &scope);
        let told: BTreeSet<(u32, u64)> = told.hits.iter().map(|hit| (hit.3.unwrap(), hit.4.unwrap())).collect();
        let address = |hit: &serde_json::Value| {
            u64::from_str_radix(hit["vaddr"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
        };
        for hit in hits.iter().filter(|hit| hit["anonymous"] == true) {
            let place = (u32::try_from(hit["pid"].as_u64().unwrap()).unwrap(), address(hit));
            assert!(told.contains(&place), "{label}: {place:x?} is not in {told:x?}");
            compared += 1;
        }
        let all: BTreeSet<(u32, u64)> =
            hits.iter().map(|hit| (u32::try_from(hit["pid"].as_u64().unwrap()).unwrap(), address(hit))).collect();
        assert!(told.is_subset(&all), "{label}: {told:x?} has what was not planted: {all:x?}");
    }
    assert!(compared >= 20, "{compared}");
}

/// The sink holds that the bytes of each match are there.
#[test]
fn memfd_that_a_process_maps_is_a_file_as_well_and_its_matches_have_their_bytes() {
    let told = run(&memory("memory-zoo.tar.zst"), "rule r { strings: $a = \"mem-\" condition: $a }", &Scope::default());
    let of = |source| told.hits.iter().filter(|hit| hit.2 == source && hit.5.starts_with("/memfd:mapped")).count();
    assert!(of(Source::Memfd) >= 2 && of(Source::Memory) >= 2, "{:?}", told.hits);
}

#[test]
fn memory_of_a_process_is_one_thing_and_files_have_their_modules() {
    let memory = memory("compromised-webapp.tar.zst");
    let source = r#"
        import "elf"
        rule program { condition: elf.type == elf.ET_EXEC or elf.type == elf.ET_DYN }
        rule both { strings: $a = "kworker" $b = "/bin/sh" condition: all of them }
    "#;
    let told = run(&memory, source, &Scope::default());
    let files: BTreeSet<(Source, &str)> =
        told.hits.iter().filter(|hit| hit.0 == "program").map(|hit| (hit.2, hit.5.as_str())).collect();
    assert!(files.contains(&(Source::Ghost, "/tmp/.X11-unix/.cache")), "{files:?}");
    // The program that lives in memory only, although a process maps it.
    assert!(files.iter().any(|(source, name)| *source == Source::Memfd && name.contains("kworker")), "{files:?}");
    assert!(told.hits.iter().filter(|hit| hit.0 == "program").all(|hit| hit.1.is_none() && hit.4.is_none()));
    // Far from each other, in maps of their own.
    let both: BTreeSet<(u32, &str)> = told
        .hits
        .iter()
        .filter(|hit| hit.0 == "both" && hit.2 == Source::Memory)
        .map(|hit| (hit.3.unwrap(), hit.1.as_deref().unwrap()))
        .collect();
    assert!(both.contains(&(8, "$a")) && both.contains(&(8, "$b")), "{both:?}");
    // Found in order, each once.
    let in_memory: Vec<_> = told.hits.iter().filter(|hit| hit.2 == Source::Memory && hit.0 == "both").collect();
    assert!(in_memory.windows(2).all(|pair| (pair[0].3, pair[0].4) < (pair[1].3, pair[1].4)));
}

#[test]
fn scan_ends_when_the_sink_has_enough() {
    let mut found = Found { max: Some(2), ..Found::default() };
    let rules = rules(r#"rule root { strings: $a = "root" condition: $a }"#).unwrap();
    scan(&memory("compromised-webapp.tar.zst"), &Scope::default(), &rules, &Silent, &mut found).unwrap();
    assert_eq!(found.hits.len(), 2);
}

#[test]
fn wrong_rules_say_where_and_missing_modules_cost_only_their_rules() {
    let wrong = rules("rule a { condition: tru }").unwrap_err();
    assert!(wrong.starts_with("rules.yar:1:21: ") && wrong.contains("tru") && !wrong.contains('\n'), "{wrong}");
    let some = rules("import \"pe\"\nrule a { condition: pe.is_pe }\nrule b { condition: true }").unwrap();
    assert_eq!(some.infos().iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(some.warnings().iter().any(|warning| warning.contains("pe")), "{:?}", some.warnings());
}

/// Process 1 of a small checkpoint with more memory, and these texts in it.
fn with_plants(len: usize, plants: &[(usize, &[u8])]) -> Memory {
    let at = 0x1000_0000_0000u64;
    // Letters that no pattern of the tests begins with.
    let mut bytes: Vec<u8> = (0..len).map(|nr| b'a' + (nr % 7) as u8).collect();
    for (offset, plant) in plants {
        bytes[*offset..offset + plant.len()].copy_from_slice(plant);
    }
    let mut parts = Parts::of("counter.tar.zst");
    parts.add_vma(at..at + len as u64);
    let entry =
        PagemapEntry { vaddr: at, nr_pages: Some(len as u64 / 4096), flags: Some(4), ..PagemapEntry::default() };
    parts.add_pages(vec![(entry, bytes)]);
    let options = OpenOptions::default();
    let evidence = Evidence::open_bytes("yara.tar", parts.tar(), &options, &Silent).unwrap();
    Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0))
}

#[test]
fn memory_of_one_process_is_scanned_by_all_threads_with_the_answers_of_one() {
    let pools = [1, 2, 5].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    const MIB: usize = 1 << 20;
    // On borders of blocks, in all parts, and far from each other.
    let plants: Vec<(usize, &[u8])> = vec![
        (5, b"PLANT-A"),
        (MIB - 3, b"PLANT-A"),
        (9 * MIB + 17, b"PLANT-A"),
        (17 * MIB, b"PLANT-B"),
        (17 * MIB + 4090, b"PLANT-SECRET"),
        (23 * MIB - 7, b"PLANT-A"),
    ];
    let memory = with_plants(24 * MIB, &plants);
    let scope = Scope { sources: vec![Source::Memory], ..Scope::default() };
    let cases = [
        (r#"rule r { strings: $a = "PLANT-A" $b = "PLANT-B" condition: #a == 4 and $b }"#, 5),
        (r#"rule r { strings: $a = "PLANT-A" $b = "PLANT-B" condition: #a == 3 and $b }"#, 0),
        // What is private decides and is not told.
        (r#"rule r { strings: $a = "PLANT-A" $s = "PLANT-SECRET" private condition: #a > 3 and $s }"#, 4),
        (
            r#"private rule p { strings: $s = "PLANT-SECRET" condition: $s } rule r { strings: $b = "PLANT-B" condition: $b and p }"#,
            1,
        ),
        (
            r#"global rule g { strings: $n = "ZQXJ-nowhere" condition: $n } rule r { strings: $a = "PLANT-A" condition: $a }"#,
            0,
        ),
        (r#"rule r { strings: $a = "PLANT-A" condition: @a[1] == 0x100000000005 and @a[4] == 0x1000016ffff9 }"#, 4),
        (r#"rule r { strings: $a = /PLANT-[A-Z]+/ condition: for all i in (1..#a): (!a[i] >= 7) }"#, 6),
        (r#"rule r { strings: $n = "ZQXJ-nowhere" condition: not $n }"#, 1),
    ];
    for (source, expected) in cases {
        let told = pools.each_ref().map(|pool| pool.install(|| run(&memory, source, &scope).hits));
        let own: Vec<_> = told[0].iter().filter(|hit| hit.4.is_none_or(|addr| addr >= 0x1000_0000_0000)).collect();
        let nr_of_first = own.iter().filter(|hit| hit.3 == Some(1)).count();
        assert_eq!(nr_of_first, expected, "{source}: {own:x?}");
        assert!(told.iter().all(|other| *other == told[0]), "{source}: {told:x?}");
    }
    // Every block matches: they go to the one scanner as they come.
    let dense = r#"rule r { strings: $a = "abcdefgab" $b = "PLANT-B" condition: $a and $b }"#;
    let told = pools.each_ref().map(|pool| pool.install(|| run(&memory, dense, &scope).hits));
    assert!(told[0].len() >= 10_000);
    assert!(told.iter().all(|other| *other == told[0]));
}
