//! System calls for people: names and arguments of what the guest saw as numbers.
//!
//! The machine is x86-64; programs of 32 bits have numbers of their own (`i386`), and the guest says which a call has.

mod i386;
mod table;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;

use super::watched::{Abi, RawCall};
use crate::base::escape_controls;
use crate::decode::Arch;
use crate::decode::names::{self, MMAP_PROT, SOCKET_FAMILY};
use table::{CALLS, ERRORS};

/// Most strings that are captured of a list of strings.
pub(super) const MAX_LISTED: usize = 4;
/// Calls that may reach an address; `socketcall` is any of them.
const REACHING: [&str; 4] = ["connect", "sendto", "sendmsg", "sendmmsg"];
const SOCKETCALL: &str = "socketcall";
/// Errors that the kernel keeps to itself: the call is made again.
const RESTARTED: std::ops::RangeInclusive<i64> = -516..=-512;

/// One system call, decoded. Texts are those of an untrusted machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Microseconds since the processes were restored, by the machine's clock.
    pub time_us: u64,
    /// Process inside the container; `None` where it had ended before it was looked at.
    pub pid: Option<u32>,
    /// Thread inside the container.
    pub tid: Option<u32>,
    /// Short name of the thread.
    pub comm: String,
    /// Name of the call.
    pub call: String,
    /// Whose call it is; not told where it is one of the machine's own.
    #[serde(skip_serializing_if = "Abi::is_native")]
    pub abi: Abi,
    /// Its arguments, as many as it has.
    pub args: Vec<String>,
    /// What it returned; `None` while it goes on, or where it does not return.
    pub result: Option<i64>,
    /// Name of the error, where that is one.
    pub error: Option<&'static str>,
    /// Microseconds from its beginning to its end.
    pub took_us: Option<u64>,
}

/// Somebody in the container wants to reach an address, whether or not anything answers there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Microseconds since the processes were restored, by the machine's clock.
    pub time_us: u64,
    /// Process inside the container.
    pub pid: Option<u32>,
    /// Short name of the thread.
    pub comm: String,
    /// The system call.
    pub call: String,
    /// Address and port.
    pub to: String,
    /// What the call returned.
    pub result: Option<i64>,
    /// Name of the error, where that is one.
    pub error: Option<&'static str>,
}

/// What the arguments of a call are, as letters of the table.
fn kinds(abi: Abi, nr: u64) -> Option<&'static str> {
    let entry = entry(abi, nr)?;
    match (entry.split_once(' '), abi) {
        (Some((_, kinds)), _) => Some(kinds),
        (None, Abi::X86_64) => None,
        (None, Abi::I386) => kinds(Abi::X86_64, number(entry)?),
    }
}

fn entry(abi: Abi, nr: u64) -> Option<&'static str> {
    let calls: &[&'static str] = match abi {
        Abi::I386 if nr < i386::UNIFIED => &i386::CALLS,
        _ => &CALLS,
    };
    calls.get(usize::try_from(nr).ok()?).copied().filter(|entry| !entry.is_empty())
}

fn known_name(abi: Abi, nr: u64) -> Option<&'static str> {
    entry(abi, nr).and_then(|entry| entry.split(' ').next())
}

/// The name of a call, or its number.
pub fn name(abi: Abi, nr: u64) -> String {
    known_name(abi, nr).map_or_else(|| format!("syscall_{nr}"), str::to_owned)
}

/// Whether a call is one of those.
pub(super) fn is_one_of(abi: Abi, nr: u64, names: &[&str]) -> bool {
    known_name(abi, nr).is_some_and(|name| names.contains(&name))
}

/// The number of a call of the machine's own.
pub(super) fn number(wanted: &str) -> Option<u64> {
    numbers(Abi::X86_64).find(|nr| known_name(Abi::X86_64, *nr) == Some(wanted))
}

/// Numbers that mean something.
pub(super) fn numbers(abi: Abi) -> impl Iterator<Item = u64> {
    (0..CALLS.len() as u64).filter(move |nr| entry(abi, *nr).is_some())
}

/// Numbers of calls that may reach an address.
pub(super) fn reaching(abi: Abi) -> impl Iterator<Item = u64> {
    let is_reaching = move |nr: &u64| is_one_of(abi, *nr, &REACHING) || is_one_of(abi, *nr, &[SOCKETCALL]);
    numbers(abi).filter(is_reaching)
}

/// Places of a call's arguments that are strings, lists of strings, addresses of sockets.
pub(super) fn captured(abi: Abi, nr: u64) -> impl Iterator<Item = (usize, char)> {
    let kinds = kinds(abi, nr).unwrap_or_default();
    kinds.chars().enumerate().filter(|(_, kind)| matches!(kind, 's' | 'v' | 'a'))
}

/// Decodes what the guest saw.
pub fn decode(raw: &RawCall) -> Call {
    let mut texts = raw.texts.iter();
    let kinds = kinds(raw.abi, raw.nr).unwrap_or("xxxxxx");
    let args = kinds.chars().zip(raw.args).map(|(kind, value)| match kind {
        's' => quoted(texts.next().and_then(Option::as_deref), value),
        'v' => list(&mut texts, value),
        'a' => raw.address.as_deref().and_then(address).unwrap_or_else(|| pointer(value)),
        'd' if raw.abi == Abi::I386 => int(value).to_string(),
        kind => plain(kind, value),
    });
    let args = args.collect();
    let error = raw.result.and_then(error);
    Call {
        time_us: raw.time_us,
        pid: raw.pid,
        tid: raw.tid,
        comm: raw.comm.clone(),
        call: name(raw.abi, raw.nr),
        abi: raw.abi,
        args,
        result: raw.result,
        error,
        took_us: raw.took_us,
    }
}

/// The attempt to reach an address of IP that a call is, if it is one.
pub fn attempt(raw: &RawCall) -> Option<Attempt> {
    let called = known_name(raw.abi, raw.nr)?;
    let call = if called == SOCKETCALL { socket_call(raw.args[0])? } else { called };
    let to = raw.address.as_deref().filter(|_| REACHING.contains(&call)).and_then(ip_address)?;
    Some(Attempt {
        time_us: raw.time_us,
        pid: raw.pid,
        comm: raw.comm.clone(),
        call: call.to_owned(),
        to: to.to_string(),
        result: raw.result,
        error: raw.result.and_then(error),
    })
}

/// What a call of `socketcall` does.
fn socket_call(value: u64) -> Option<&'static str> {
    let nr = usize::try_from(value).ok()?;
    i386::SOCKET_CALLS.get(nr).copied().filter(|name| !name.is_empty())
}

fn error(result: i64) -> Option<&'static str> {
    if RESTARTED.contains(&result) {
        return Some("restarted");
    }
    let number = usize::try_from(result.checked_neg()?).ok()?;
    ERRORS.get(number).copied().filter(|name| !name.is_empty())
}

fn quoted(text: Option<&str>, value: u64) -> String {
    text.map_or_else(|| pointer(value), |text| format!("\"{}\"", escape_controls(text)))
}

fn list<'a>(texts: &mut impl Iterator<Item = &'a Option<String>>, value: u64) -> String {
    let all: Vec<&str> = texts.take(MAX_LISTED).map_while(Option::as_deref).collect();
    if all.is_empty() {
        return pointer(value);
    }
    let words: Vec<String> = all.iter().map(|text| format!("\"{}\"", escape_controls(text))).collect();
    let more = if all.len() == MAX_LISTED { ", …" } else { "" };
    format!("[{}{more}]", words.join(", "))
}

fn pointer(value: u64) -> String {
    if value == 0 { "NULL".to_owned() } else { format!("{value:#x}") }
}

/// The low half as the kernel takes an `int`.
fn int(value: u64) -> i32 {
    (value & 0xffff_ffff) as u32 as i32
}

fn plain(kind: char, value: u64) -> String {
    const AT_FDCWD: i32 = -100;
    const SOCK_TYPES: [&str; 6] = ["0", "SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET"];
    match kind {
        'f' if int(value) == AT_FDCWD => "AT_FDCWD".to_owned(),
        'f' => int(value).to_string(),
        'd' => (value as i64).to_string(),
        'u' => value.to_string(),
        'o' => format!("0{:o}", value & 0xffff_ffff),
        'O' => names::open_flags(Arch::X86, value & 0xffff_ffff),
        'P' => MMAP_PROT.bits(Arch::X86, value),
        'A' => SOCKET_FAMILY.value_or_number(Arch::X86, value & 0xffff_ffff),
        'S' => socket_call(value).map_or_else(|| value.to_string(), str::to_owned),
        'g' => names::signal(Arch::X86, (value & 0xffff_ffff) as u32),
        'T' => {
            let (kind, flags) = ((value & 0xf) as usize, value & 0xffff_fff0);
            let flags = [(0o2_000_000, "|SOCK_CLOEXEC"), (0o4000, "|SOCK_NONBLOCK")]
                .map(|(bit, name)| if flags & bit == 0 { "" } else { name });
            format!("{}{}", SOCK_TYPES.get(kind).copied().unwrap_or("?"), flags.concat())
        }
        _ => pointer(value),
    }
}

/// Bytes of a `sockaddr`, written in hexadecimal.
fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn family(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|family| u16::from_le_bytes(*family))
}

/// Address and port of an IPv4 or IPv6 `sockaddr`.
fn ip_address(hex: &str) -> Option<SocketAddr> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let bytes = bytes(hex);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match family(&bytes)? {
        AF_INET => Some((Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?), port).into()),
        AF_INET6 => Some((Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?), port).into()),
        _ => None,
    }
}

/// Any `sockaddr`.
fn address(hex: &str) -> Option<String> {
    const AF_UNIX: u16 = 1;
    if let Some(ip) = ip_address(hex) {
        return Some(ip.to_string());
    }
    let bytes = bytes(hex);
    match family(&bytes)? {
        0 => Some("AF_UNSPEC".to_owned()),
        AF_UNIX => {
            let (mark, path) = match bytes.get(2..)? {
                [0, rest @ ..] => ("@", rest),
                path => ("", path),
            };
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            let path = String::from_utf8_lossy(path.get(..end)?).into_owned();
            Some(format!("\"{mark}{}\"", escape_controls(&path)))
        }
        other => Some(SOCKET_FAMILY.value_or_number(Arch::X86, u64::from(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(nr: u64, args: [u64; 6]) -> RawCall {
        raw_of(Abi::X86_64, nr, args)
    }

    fn raw_of(abi: Abi, nr: u64, args: [u64; 6]) -> RawCall {
        RawCall {
            time_us: 5,
            pid: Some(1),
            tid: Some(1),
            comm: "x".into(),
            abi,
            nr,
            args,
            texts: Vec::new(),
            address: None,
            result: Some(0),
            took_us: Some(7),
        }
    }

    fn check(raw: &RawCall, args: &[&str]) -> Call {
        let call = decode(raw);
        assert_eq!(call.args, args, "{}", call.call);
        call
    }

    #[test]
    fn table_has_the_calls_where_the_kernel_has_them() {
        for (nr, expected) in
            [(0, "read"), (59, "execve"), (257, "openat"), (334, "rseq"), (335, "uretprobe"), (336, "syscall_336")]
        {
            assert_eq!(name(Abi::X86_64, nr), expected);
        }
        assert_eq!(name(Abi::X86_64, 435), "clone3");
        assert_eq!(name(Abi::X86_64, u64::MAX), format!("syscall_{}", u64::MAX));
        assert_eq!(captured(Abi::X86_64, 257).collect::<Vec<_>>(), [(1, 's')]);
        assert_eq!(reaching(Abi::X86_64).collect::<Vec<_>>(), [42, 44, 46, 307]);
    }

    #[test]
    fn calls_of_32_bits_have_their_own_numbers_and_from_424_on_the_same() {
        let expected = [
            (0, "restart_syscall"),
            (1, "exit"),
            (11, "execve"),
            (17, "break"),
            (20, "getpid"),
            (102, "socketcall"),
            (192, "mmap2"),
            (222, "syscall_222"),
            (252, "exit_group"),
            (295, "openat"),
            (356, "memfd_create"),
            (373, "shutdown"),
            (383, "statx"),
            (403, "clock_gettime64"),
            (423, "sched_rr_get_interval_time64"),
            (424, "pidfd_send_signal"),
            (462, "mseal"),
            (466, "removexattrat"),
            (467, "syscall_467"),
        ];
        for (nr, expected) in expected {
            assert_eq!(name(Abi::I386, nr), expected, "{nr}");
        }
        assert_eq!(reaching(Abi::I386).collect::<Vec<_>>(), [102, 345, 362, 369, 370]);
        // Arguments are the namesake's, or its own.
        assert_eq!(captured(Abi::I386, 295).collect::<Vec<_>>(), [(1, 's')]);
        assert_eq!(captured(Abi::I386, 11).collect::<Vec<_>>(), captured(Abi::X86_64, 59).collect::<Vec<_>>());
        let never_made = ["break", "stty", "gtty", "ftime", "prof", "lock", "mpx", "ulimit", "profil"];
        let is_known = |name: &str| number(name).is_some_and(|nr| kinds(Abi::X86_64, nr).is_none());
        for nr in numbers(Abi::I386).filter(|nr| kinds(Abi::I386, *nr).is_none()) {
            let name = name(Abi::I386, nr);
            assert!(never_made.contains(&name.as_str()) || is_known(&name), "{nr} {name}");
        }
    }

    #[test]
    fn arguments_of_32_bits_are_signed_where_they_are_and_socketcall_is_what_it_does() {
        let of = |nr, args: [u64; 6]| raw_of(Abi::I386, nr, args);
        check(&of(19, [3, 0xffff_fff8, 1, 9, 9, 9]), &["3", "-8", "1"]);
        check(&of(180, [3, 0x1000, 16, 4096, 0, 9]), &["3", "0x1000", "16", "0x1000", "NULL"]);
        let mut open = of(5, [0x804_9000, 0o101, 0o600, 0, 0, 0]);
        open.texts = vec![Some("/tmp/a".into())];
        let call = check(&open, &["\"/tmp/a\"", &names::open_flags(Arch::X86, 0o101), "0600"]);
        assert_eq!(call.words(), format!("open/i386({}) = 0", call.args.join(", ")));
        let json = |call: &Call| serde_json::to_value(call).unwrap();
        assert_eq!(json(&call)["abi"], "i386");
        assert_eq!(json(&decode(&raw(5, [0; 6]))).get("abi"), None);

        let mut socket = of(102, [3, 0xffff_0000, 0, 0, 0, 0]);
        check(&socket, &["connect", "0xffff0000"]);
        assert_eq!(attempt(&socket), None);
        socket.address = Some("0200115ccb007107".into());
        check(&socket, &["connect", "203.0.113.7:4444"]);
        let found = attempt(&socket).unwrap();
        assert_eq!((found.call.as_str(), found.to.as_str()), ("connect", "203.0.113.7:4444"));
        for (what, expected) in [(0, None), (2, None), (11, Some("sendto")), (16, Some("sendmsg")), (21, None)] {
            socket.args[0] = what;
            assert_eq!(attempt(&socket).map(|it| it.call).as_deref(), expected, "{what}");
        }
        socket.args[0] = u64::MAX;
        check(&socket, &["18446744073709551615", "203.0.113.7:4444"]);
        socket.abi = Abi::X86_64;
        assert_eq!(attempt(&socket), None, "getuid");
    }

    #[test]
    fn arguments_read_as_the_manual_has_them() {
        let mut open = raw(257, [-100_i64 as u64, 0x7fff, 0o2_000_101, 0o600, 0, 0]);
        open.texts = vec![Some("/tmp/a\n\u{1b}[2J".into())];
        open.result = Some(-2);
        let flags = names::open_flags(Arch::X86, 0o2_000_101);
        let call = check(&open, &["AT_FDCWD", "\"/tmp/a\\n\\x1b[2J\"", &flags, "0600"]);
        assert_eq!((call.call.as_str(), call.error), ("openat", Some("ENOENT")));
        check(&raw(41, [2, 0o2_000_001, 0, 0, 0, 0]), &["AF_INET", "SOCK_STREAM|SOCK_CLOEXEC", "0"]);
        check(&raw(62, [7, 9, 0, 0, 0, 0]), &["7", "SIGKILL"]);
        check(&raw(999, [1, 0, 0, 0, 0, 0]), &["0x1", "NULL", "NULL", "NULL", "NULL", "NULL"]);
        let mut exec = raw(59, [1, 2, 3, 0, 0, 0]);
        exec.texts = vec![Some("/bin/sh".into()), Some("sh".into()), Some("-c".into()), None, None];
        check(&exec, &["\"/bin/sh\"", "[\"sh\", \"-c\"]", "0x3"]);
        exec.texts = Vec::new();
        check(&exec, &["0x1", "0x2", "0x3"]);
    }

    #[test]
    fn addresses_are_read_and_those_of_ip_are_attempts() {
        let mut connect = raw(42, [3, 0x1000, 16, 0, 0, 0]);
        connect.address = Some("0200115ccb007107".to_owned() + &"00".repeat(20));
        check(&connect, &["3", "203.0.113.7:4444", "16"]);
        assert_eq!(attempt(&connect).map(|it| it.to), Some("203.0.113.7:4444".into()));
        connect.address = Some("0a001a0a00000000".to_owned() + "20010db8000000000000000000000007" + "00000000");
        assert_eq!(attempt(&connect).map(|it| it.to), Some("[2001:db8::7]:6666".into()));
        connect.address = Some("01002f72756e2f7800".into());
        check(&connect, &["3", "\"/run/x\"", "16"]);
        assert_eq!(attempt(&connect), None);
        connect.address = Some("010000616200".into());
        check(&connect, &["3", "\"@ab\"", "16"]);
        for hostile in ["", "0", "02", "0200", "zz00", "0a00ffff00", "é2"] {
            connect.address = Some(hostile.into());
            decode(&connect);
            assert_eq!(attempt(&connect), None, "{hostile}");
        }
        connect.address = Some("0200115ccb007107".into());
        connect.nr = 49;
        assert_eq!(attempt(&connect), None, "bind");
    }
}
