//! Watching what runs in the sandbox: system calls, the sealed network, files, steps. Machines boot as in tests/sandbox.rs.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and starts the program")]

#[expect(dead_code, reason = "the tests of restoring use more of it")]
mod machine;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use machine::{cache, events, fake_qemu, json_lines, of, program, text, turn};
use serde_json::Value;

/// A program that does what an implant does, once it is thawed (`fixtures/workloads/beacon.c`).
const BEACON: [&str; 2] = ["fixtures/sandbox/beacon.tar.zst", "--rootfs=fixtures/sandbox/beacon-image.tar.zst"];

fn beacon(more: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = BEACON.iter().chain(more).copied().collect();
    events(&args)
}

fn lines(events: &[Value]) -> BTreeSet<&str> {
    of(events, "output").into_iter().map(|event| event["line"].as_str().unwrap()).collect()
}

#[test]
fn sealed_network_answers_records_and_nothing_leaves_and_every_call_is_seen_by_nobody_traced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("packets.pcap");
    let pcap = format!("--pcap={}", file.display());
    let events = beacon(&["--network=sink", &pcap, "--trace", "--for=18s"]);
    let at = |kind: &str| of(&events, kind)[0]["at_ms"].as_u64().unwrap();
    println!("up after {} ms, restored with sink and trace after {} ms", at("booted"), at("restored"));

    // The processes see a network, and no debugger.
    let said = lines(&events);
    for line in ["c2.example.net is 198.18.0.1", "port 8080 says: HTTP/1.1 200 OK", "six: 0", "round 0", "tracer: 0"] {
        assert!(said.contains(line), "{line}: {said:?}");
    }
    assert!(!said.iter().any(|line| line.starts_with("tracer: ") && *line != "tracer: 0"), "{said:?}");

    // What reached the sink.
    let contacts = of(&events, "contact");
    let has = |to: &str, key: &str, value: &str| {
        let found = contacts.iter().any(|contact| contact["to"] == to && contact[key] == value);
        assert!(found, "{to} {key} {value}: {contacts:#?}");
    };
    has("198.51.100.53:53", "question", "c2.example.net");
    has("198.18.0.1:8080", "name", "c2.example.net");
    has("198.18.0.1:8080", "request", "GET /gate.php?id=7 HTTP/1.1");
    has("198.18.0.1:8080", "user_agent", "beacon");
    has("203.0.113.7:443", "server_name", "tls.example.net");
    has("203.0.113.7:4444", "first", "id=7;hello\\n");
    has("[2001:db8::7]:6666", "saw", "connection");
    has("192.0.2.99:9999", "first", "stolen");

    // System calls, with what their arguments point to.
    let calls = of(&events, "call");
    let has = |name: &str, args: &[&str], error: Option<&str>| {
        let is_it = |call: &&&Value| {
            let has = |wanted: &&str| call["args"].as_array().unwrap().iter().any(|arg| arg == wanted);
            call["call"] == name && args.iter().all(has) && call["error"].as_str() == error
        };
        let found = calls.iter().find(is_it);
        assert!(found.is_some(), "{name} {args:?}: {calls:#?}");
        found.copied().unwrap()
    };
    has("openat", &["AT_FDCWD", "\"/home/loot-0\"", "O_WRONLY|O_CREAT", "0600"], None);
    has("unlink", &["\"/home/nothing-here\""], Some("ENOENT"));
    has("connect", &["203.0.113.7:4444"], None);
    has("connect", &["[2001:db8::7]:6666"], None);
    let failed = has("execve", &["\"/usr/bin/dropper\""], Some("ENOENT"));
    assert!(failed["pid"].as_u64().is_some_and(|pid| pid > 1) && failed["comm"] == "beacon", "{failed}");
    has("exit_group", &["7"], None);
    let forked = calls.iter().find(|call| call["call"] == "clone").unwrap();
    assert_eq!(forked["result"], failed["pid"]);

    // Attempts, sockets, open and new files.
    let attempts: BTreeSet<&str> = of(&events, "attempt").iter().map(|it| it["to"].as_str().unwrap()).collect();
    let expected = ["198.51.100.53:53", "198.18.0.1:8080", "203.0.113.7:443", "203.0.113.7:4444", "192.0.2.99:9999"];
    assert!(expected.iter().all(|to| attempts.contains(to)), "{attempts:?}");
    let sockets = of(&events, "sockets");
    let remote = |list: &&&Value| list["list"].as_array().unwrap().iter().any(|it| it["remote"] == "203.0.113.7:443");
    assert!(sockets.iter().any(|list| remote(&list)), "{sockets:#?}");
    let opened = of(&events, "open-files");
    let loot = |list: &&&Value| list["list"].as_array().unwrap().iter().any(|it| it["target"] == "/home/loot-0");
    assert!(opened.iter().any(|list| loot(&list)), "{opened:#?}");
    let changes = of(&events, "file-change");
    // A look between its making and its writing finds it empty first, and tells it once more.
    let loot: Vec<_> = changes.iter().filter(|it| it["path"] == "/home/loot-0").collect();
    let (first, last) = (loot.first().unwrap(), loot.last().unwrap());
    assert_eq!((first["change"].as_str(), last["size_bytes"].as_u64()), (Some("new"), Some(4)), "{changes:#?}");

    // One clock: a call, what the sink saw of it, and its first packet.
    let bytes = fs::read(&file).unwrap();
    let start = of(&events, "restored")[0]["clock_us"].as_u64().unwrap();
    let knocks = |kind: &str| -> Vec<u64> {
        let to = of(&events, kind).into_iter().filter(|it| it["to"] == "203.0.113.7:4444" && it["saw"] != "data");
        to.map(|it| it["time_us"].as_u64().unwrap()).collect()
    };
    let (called, seen, sent) = (knocks("attempt"), knocks("contact"), syns(&bytes[24..], [203, 0, 113, 7], 4444));
    let after = |times: &[u64], what: &str| {
        let mut gaps: Vec<u64> = called.iter().zip(times).map(|(call, time)| time.abs_diff(*call)).collect();
        gaps.sort_unstable();
        println!("{what}: {gaps:?} us after the call");
        assert!(gaps.len() > 1 && gaps[gaps.len() / 2] < 100_000, "{what}: {called:?} {times:?}");
    };
    after(&seen, "the sink");
    after(&sent.iter().map(|time| time - start).collect::<Vec<_>>(), "the first packet");

    // The record, as tcpdump and Wireshark read it: little-endian, microseconds, Ethernet, with what was said.
    assert_eq!(bytes[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
    let (whole, count) = cryoscope::sandbox::pcap::checked(&bytes[24..]);
    assert!(whole.len() == bytes.len() - 24 && count > 30, "{count} packets");
    for said in [&b"GET /gate.php?id=7"[..], b"tls.example.net", b"stolen", b"id=7;hello"] {
        assert!(bytes.windows(said.len()).any(|window| window == said), "{}", text(said));
    }
    // Never written over.
    let args: Vec<&str> = ["sandbox", "run"].iter().chain(&BEACON).copied().chain(["--network=sink", &pcap]).collect();
    let again = program(cache(), &args).output().unwrap();
    assert!(!again.status.success() && text(&again.stderr).contains("packets.pcap"), "{}", text(&again.stderr));
    // The log says what was watched.
    let log = fs::read_to_string(cache().join("data/sandbox-log.jsonl")).unwrap();
    assert!(log.lines().any(|line| line.contains("\"network\":\"sink\"") && line.contains("packets.pcap")), "{log}");
}

/// When connections to an address were begun, in microseconds since 1970, from records of a capture.
fn syns(mut records: &[u8], ip: [u8; 4], port: u16) -> Vec<u64> {
    let word = |at: &[u8]| u64::from(u32::from_le_bytes(at[..4].try_into().unwrap()));
    let mut out = Vec::new();
    while records.len() >= 16 {
        let time = word(records) * 1_000_000 + word(&records[4..]);
        let (packet, rest) = records[16..].split_at(word(&records[8..]) as usize);
        // Ethernet, IPv4 without options, TCP.
        let is_tcp = packet.len() >= 54 && packet[12..15] == [8, 0, 0x45] && packet[23] == 6;
        if is_tcp && packet[30..34] == ip && packet[36..38] == port.to_be_bytes() && packet[47] & 0x12 == 2 {
            out.push(time);
        }
        records = rest;
    }
    out
}

/// Programs of 32-bit calls (`fixtures/workloads/beacon-i386.c`).
const OLD: [&str; 2] = ["fixtures/sandbox/beacon-i386.tar.zst", "--rootfs=fixtures/sandbox/beacon-i386-image.tar.zst"];

#[test]
fn calls_of_32_bits_have_their_own_names_whoever_makes_them() {
    let events = events(&[&OLD[..], &["--network=sink", "--trace", "--for=10s"]].concat());
    assert!(of(&events, "error").is_empty(), "{:#?}", of(&events, "error"));
    let said = lines(&events);
    for line in ["ping 4 is answered", "ping 6 is answered", "round"] {
        assert!(said.contains(line), "{line}: {said:?}");
    }
    let calls = of(&events, "call");
    let find = |abi: Option<&str>, name: &str, args: &[&str]| {
        let has = |call: &Value, wanted: &str| call["args"].as_array().unwrap().iter().any(|arg| arg == wanted);
        let found = calls
            .iter()
            .copied()
            .find(|call| call["abi"].as_str() == abi && call["call"] == name && args.iter().all(|arg| has(call, arg)));
        found.unwrap_or_else(|| panic!("{abi:?} {name} {args:?}: {calls:#?}"))
    };
    let (old, own) = (Some("i386"), None);
    let opened = find(old, "open", &["\"/home/loot\"", "O_WRONLY|O_CREAT", "0600"]);
    assert!(opened["result"].as_i64().is_some_and(|fd| fd > 2) && opened["comm"] == "beacon-i386", "{opened}");
    assert_eq!(find(old, "unlink", &["\"/home/nothing-here\""])["error"], "ENOENT");
    find(old, "socketcall", &["socket"]);
    find(old, "socketcall", &["connect", "203.0.113.7:4444"]);
    find(old, "connect", &["203.0.113.7:443", "16"]);
    find(old, "sendto", &["192.0.2.99:9999"]);
    find(old, "nanosleep", &[]);
    let failed = find(old, "execve", &["\"/usr/bin/dropper\""]);
    assert_eq!(failed["error"], "ENOENT");
    assert_eq!(find(old, "fork", &[])["result"], failed["pid"]);
    assert_eq!(find(old, "exit", &["7"])["pid"], failed["pid"]);

    // A program of 64 bits that it starts has both kinds; the call that starts it ends in the other table.
    let started = find(old, "execve", &["\"/usr/local/bin/both\""]);
    assert_eq!(started["result"], 0);
    let native = find(own, "open", &["\"/home/native\"", "O_WRONLY|O_CREAT", "0600"]);
    assert_eq!(native["pid"], started["pid"]);
    find(old, "open", &["\"/home/other\"", "O_WRONLY|O_CREAT", "0600"]);
    let both: Vec<_> = calls.iter().filter(|call| call["pid"] == started["pid"]).collect();
    let has = |abi: Option<&str>, name: &str| both.iter().any(|it| it["abi"].as_str() == abi && it["call"] == name);
    assert!(has(old, "getpid") && has(own, "getpid") && has(own, "exit"), "{both:#?}");
    assert!(calls.iter().all(|call| call["pid"] != 1 || call["abi"] == "i386"), "{calls:#?}");
    let names: BTreeSet<&str> = calls.iter().map(|call| call["call"].as_str().unwrap()).collect();
    for wrong in ["writev", "fstat", "mkdir", "umask", "getuid", "io_setup"] {
        assert!(!names.contains(wrong), "{wrong}: {names:?}");
    }

    let attempts: BTreeSet<(&str, &str)> =
        of(&events, "attempt").iter().map(|it| (it["call"].as_str().unwrap(), it["to"].as_str().unwrap())).collect();
    for to in [("connect", "203.0.113.7:4444"), ("connect", "203.0.113.7:443"), ("sendto", "192.0.2.99:9999")] {
        assert!(attempts.contains(&to), "{attempts:?}");
    }
}

#[test]
fn attempts_by_32_bit_calls_are_seen_without_a_trace_and_a_container_would_end_them() {
    let events = events(&[&OLD[..], &["--for=3s"]].concat());
    let attempts = of(&events, "attempt");
    for (call, to) in [("connect", "203.0.113.7:4444"), ("connect", "203.0.113.7:443"), ("sendto", "192.0.2.99:9999")] {
        let found = attempts.iter().find(|it| it["to"] == to).unwrap_or_else(|| panic!("{to}: {attempts:#?}"));
        assert_eq!((found["call"].as_str(), found["error"].as_str()), (Some(call), Some("ENETUNREACH")));
    }
    assert!(of(&events, "call").is_empty());

    let fatal = |backend: &str| -> Vec<String> {
        let args = [&["sandbox", "plan", "--json", backend], &OLD[..]].concat();
        let plan = json_lines(&program(cache(), &args).output().unwrap()).remove(0);
        let concerns = plan["concerns"].as_array().unwrap().iter().filter(|it| it["weight"] == "fatal");
        concerns.map(|it| it["what"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(fatal("--backend=microvm"), [""; 0]);
    let what = fatal("--backend=container");
    assert!(what.len() == 1 && what[0].starts_with("1 threads are of programs of 32 bits"), "{what:?}");
}

#[test]
fn without_a_network_attempts_are_seen_all_the_same_and_fail() {
    let events = beacon(&["--for=2s"]);
    let attempt = of(&events, "attempt")[0];
    assert_eq!((attempt["to"].as_str(), attempt["error"].as_str()), (Some("198.51.100.53:53"), Some("ENETUNREACH")));
    assert!(of(&events, "call").is_empty() && of(&events, "contact").is_empty());
}

#[test]
fn processes_stand_still_until_they_are_told_to_go_on_and_go_on_in_steps() {
    let _turn = turn();
    let args: Vec<&str> = ["sandbox", "run", "--json"].iter().chain(&BEACON).copied().collect();
    let mut command = program(cache(), &args);
    let mut child = command.args(["--stopped", "--orders", "--for=60s"]).stdin(Stdio::piped()).spawn().unwrap();
    let orders = b"step 400ms\nno such order\nstep 100ms\nend\n";
    child.stdin.take().unwrap().write_all(orders).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let events = json_lines(&output);
    let paused: Vec<bool> = of(&events, "paused").iter().map(|it| it["is_paused"].as_bool().unwrap()).collect();
    assert_eq!(paused, [true, false, true, false, true]);
    let place = |wanted: &dyn Fn(&Value) -> bool| events.iter().position(wanted).unwrap();
    let first_step = place(&|event| event["event"] == "paused" && event["is_paused"] == false);
    assert!(first_step < place(&|event| event["event"] == "output"), "it ran before it was told to");
    let times: Vec<u64> = of(&events, "paused").iter().map(|it| it["at_ms"].as_u64().unwrap()).collect();
    assert!(times[2] - times[1] >= 350, "{times:?}");
}

#[test]
fn calls_of_chosen_processes_only_are_told() {
    let of_first = beacon(&["--trace=1", "--for=4s"]);
    assert!(of(&of_first, "call").iter().any(|call| call["pid"] == 1 && call["call"] == "openat"));
    let of_nobody = beacon(&["--trace=99", "--for=2s"]);
    assert!(of(&of_nobody, "call").is_empty() && !of(&of_nobody, "output").is_empty());
}

#[test]
fn hostile_guest_cannot_break_what_is_watched() {
    const HELLO: &str = r#"m() { l=${#1}; printf "\\$(printf %03o $((l & 255)))\\$(printf %03o $((l >> 8 & 255)))\\$(printf %03o $((l >> 16)))\\0%s" "$1" >&102; }
m '{"type":"hello","version":3,"kernel":"x","uptime_ms":1}'
m '{"type":"restored","pid":1,"took_ms":1,"clock_us":18446744073709551615}'"#;
    let run = |script: &str, more: &[&str]| {
        let dir = fake_qemu(&format!("{HELLO}\n{script}\nsleep 100"));
        let args: Vec<&str> = ["sandbox", "run", "fixtures/memory-zoo.tar.zst", "--for=1s", "--json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        program(cache(), &args).env("PATH", dir.path()).output().unwrap()
    };
    let _turn = turn();
    // Calls with wild numbers and texts are told, escaped; what never happened is not waited for.
    let call = r#"m '{"type":"calls","list":[{"time_us":18446744073709551615,"pid":null,"tid":4294967295,"comm":"\u001b[2J","nr":18446744073709551615,"args":[1,2,3,4,5,18446744073709551615],"texts":["a","b","c","d","e","f","g","h","i","j"],"address":"zz\u0000","result":-9223372036854775808,"took_us":0}],"dropped":18446744073709551615,"lost":18446744073709551615}'"#;
    let output = run(call, &["--trace"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let events = json_lines(&output);
    assert_eq!(of(&events, "call")[0]["call"], "syscall_18446744073709551615");
    assert_eq!(of(&events, "calls-left-out")[0]["dropped"].as_u64(), Some(u64::MAX));
    assert!(!output.stdout.contains(&0x1b));
    // A list that is longer than may be is cut, and what is cut is counted.
    let many = r#"one='{"path":"/x","change":"new","size_bytes":1}'; all=$one; for i in {1..999}; do all=$all,$one; done
m "{\"type\":\"changes\",\"list\":[$all],\"left_out\":1}""#;
    let events = json_lines(&run(many, &[]));
    assert_eq!(of(&events, "file-change").len(), 256);
    assert_eq!(of(&events, "changes-left-out")[0]["count"], 745);
    // Packets that make no sense are not written, and are told.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.pcap");
    let pcap = format!("--pcap={}", file.display());
    let packets = r#"m '{"type":"packets","records":"AAAAAAAAAAD/////AAAAAA==","lost":7}'
m '{"type":"packets","records":"not base64","lost":1}'"#;
    let events = json_lines(&run(packets, &["--network=sink", &pcap]));
    assert_eq!(of(&events, "packets")[0]["lost"], 8);
    assert_eq!(fs::metadata(&file).unwrap().len(), 24);
    // Of the wrong shape, it is cut off.
    for wrong in [
        r#"m '{"type":"calls","list":[{}],"dropped":0,"lost":0}'"#,
        r#"m '{"type":"contacts","list":[{"time_us":1}],"dropped":0}'"#,
        r#"m '{"type":"open-files","list":[{"pid":-1,"fd":0,"target":""}],"left_out":0}'"#,
    ] {
        let output = run(wrong, &[]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(text(&output.stderr).contains("makes no sense"), "{wrong}: {}", text(&output.stderr));
    }
}
