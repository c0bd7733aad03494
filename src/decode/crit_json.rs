//! An image as the JSON document that `crit show` prints: `{"magic", "entries"}`.
//!
//! Spelling of values follows crit 4.1.1, as options of the schema say: numbers in hexadecimal, sets of flags joined
//! by ` | `, devices as `major:minor`, addresses, base64 in lines of 76, quoted-printable names of unix sockets. What
//! crit does not know is added in the same shape: newer fields, and files that it cannot show. Two things differ, both
//! listed as crit's defects: a stopped task is `Stopped` and not `Zombie`, and a shared memory segment whose content
//! lies in a pagemap has no bytes here, where crit takes the next records for them.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage as _, Value as Reflected};
use serde_json::{Map, Number, Value, json};

use crate::base::{self, ByteOrder};

use super::crit_text::{base64_lines, quoted_printable, text};
use super::error::{DecodeErrorKind, Decoded};
use super::img::{Ctx, Img};
use super::netlink;
use super::payload::{self, Content, Part};
use super::raw::{self, RawImg, RawRecord};
use super::schema::{self, Show};

/// Most bytes of records that a document is built of: it takes fifty times as much memory.
const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// The document of an image.
///
/// Of an image with more than 16 MiB of records it has the first ones only, and an issue says how many;
/// [`crit_entries`] has no such limit.
pub fn crit_json(img: &Img, ctx: &Ctx) -> Decoded<Value> {
    let mut decoded = raw::raw(img, ctx);
    let mut budget = MAX_DOCUMENT_BYTES;
    let fits = |record: &RawRecord| {
        let fitted = 0 < budget;
        // Bytes of a payload become text, a third longer; fields become maps with names.
        let payload = record.payload.iter().map(payload_len).fold(0, usize::saturating_add);
        budget = budget.saturating_sub(record.body.len().saturating_add(payload / 64).saturating_add(8));
        fitted
    };
    let n_records = decoded.value.records.iter().map(fits).take_while(|fitted| *fitted).count();
    if let Some(left_out) = decoded.value.records.get(n_records) {
        let shown = u64::try_from(n_records).unwrap_or(u64::MAX);
        decoded.issues.push(img.error(left_out.offset, DecodeErrorKind::DocumentTooLarge { shown }));
        decoded.value.records.truncate(n_records);
    }
    decoded.map(|raw| {
        let entries: Vec<Value> = crit_entries(&raw, ctx).collect();
        json!({"magic": raw.kind.crit_key, "entries": entries})
    })
}

/// Bytes of a piece of payload, a record in it by its true weight.
fn payload_len(part: &Part) -> usize {
    match &part.content {
        // Records in payloads hold no further ones.
        Content::Record { body, parts } => {
            let data = parts.iter().map(|part| part.content.bytes().len()).fold(0, usize::saturating_add);
            body.len().saturating_add(8).saturating_mul(64).saturating_add(data)
        }
        content => content.bytes().len(),
    }
}

/// The entries of the document one after the other, for an image that is larger as JSON than memory should be.
pub fn crit_entries(raw: &RawImg, ctx: &Ctx) -> impl Iterator<Item = Value> {
    let records = raw.records.iter().flat_map(|record| {
        let mut entries = Vec::new();
        entry(record, ctx, &mut entries);
        entries
    });
    let parts = raw.parts.iter().flat_map(|part| {
        let mut entries = Vec::new();
        raw_part(part, ctx, &mut entries);
        entries
    });
    records.chain(parts)
}

/// A record, and the chunks that follow it as entries of their own.
fn entry(record: &RawRecord, ctx: &Ctx, entries: &mut Vec<Value>) {
    let fields = record.fields();
    let mut map = fields_or_bytes(fields.as_ref(), &record.body, ctx);
    let extra = |name: &str| base64_of(payload::part(&record.payload, name));
    let mut chunks = Vec::new();
    match record.message {
        "pipe_data_entry" | "sk_packet_entry" | "ipc_shm_entry" => {
            map.insert("extra".to_owned(), extra("data").into());
        }
        "bpfmap_data_entry" => {
            let mut bytes = Vec::new();
            for part in &record.payload {
                bytes.extend_from_slice(part.content.bytes());
            }
            map.insert("extra".to_owned(), base64_lines(&bytes).into());
        }
        "tcp_stream_entry" => {
            map.insert("extra".to_owned(), json!({"inq": extra("inq"), "outq": extra("outq")}));
        }
        "ipc_sem_entry" => {
            let values = payload::part(&record.payload, "values").map(|part| part.content.bytes());
            let values = payload::u16s(values.unwrap_or(&Bytes::new()), ctx.order);
            map.insert("extra".to_owned(), values.into());
        }
        "ipc_msg_entry" => {
            let mut extra = Vec::new();
            for (name, body, parts) in inner_records(&record.payload) {
                let fields = raw::message(name, body);
                extra.push(Value::Object(fields_or_bytes(fields.as_ref(), body, ctx)));
                extra.push(base64_of(payload::part(parts, "data")).into());
            }
            map.insert("extra".to_owned(), extra.into());
        }
        "ghost_file_entry" => {
            let is_chunked =
                fields.as_ref().and_then(|fields| fields.get_field_by_name("chunks").and_then(|value| value.as_bool()));
            if is_chunked != Some(true) {
                map.insert("extra".to_owned(), extra("data").into());
            }
            for (name, body, parts) in inner_records(&record.payload) {
                let fields = raw::message(name, body);
                let mut chunk = fields_or_bytes(fields.as_ref(), body, ctx);
                chunk.insert("extra".to_owned(), base64_of(payload::part(parts, "data")).into());
                chunks.push(Value::Object(chunk));
            }
        }
        _ => {
            for part in &record.payload {
                map.insert(part.name.to_owned(), base64_lines(part.content.bytes()).into());
            }
        }
    }
    entries.push(Value::Object(map));
    entries.append(&mut chunks);
}

fn base64_of(part: Option<&Part>) -> String {
    part.map_or_else(String::new, |part| base64_lines(part.content.bytes()))
}

fn inner_records(parts: &[Part]) -> impl Iterator<Item = (&'static str, &Bytes, &[Part])> {
    parts.iter().filter_map(|part| match &part.content {
        Content::Record { body, parts } => Some((part.name, body, parts.as_slice())),
        _ => None,
    })
}

/// A piece of a file without records, which crit cannot show.
fn raw_part(part: &Part, ctx: &Ctx, entries: &mut Vec<Value>) {
    match &part.content {
        Content::Text(lines) => {
            let lines = lines.split(|byte| *byte == b'\n').map(|line| Value::from(base::escape(line)));
            entries.extend(lines.filter(|line| line != ""));
        }
        Content::Netlink { bytes, align } => {
            entries.extend(netlink::messages(bytes, part.offset, *align, ctx.order).0.iter().map(netlink::json));
        }
        // Pages and archives have views of their own, and may be larger than memory.
        content => entries.push(json!({"offset": part.offset, "bytes": content.bytes().len()})),
    }
}

fn fields_or_bytes(fields: Option<&DynamicMessage>, body: &Bytes, ctx: &Ctx) -> Map<String, Value> {
    match fields {
        Some(fields) => message_json(fields, false, ctx),
        None => Map::from_iter([("undecoded".to_owned(), Value::from(base64_lines(body)))]),
    }
}

/// The fields of a message that are there, in the order of their numbers.
///
/// `hex` is inherited: a message that is marked spells every number below it in hexadecimal.
fn message_json(message: &DynamicMessage, hex: bool, ctx: &Ctx) -> Map<String, Value> {
    let descriptor = message.descriptor();
    let shows = schema::shows(&descriptor);
    let plain = Show::default();
    let mut map = Map::new();
    for (field, value) in message.fields() {
        let show = usize::try_from(field.number()).ok().and_then(|number| shows.get(number)).unwrap_or(&plain);
        let hex = hex || show.hex();
        let value = match value {
            Reflected::List(values) if show.ipadd() => vec![address(values, ctx.order)].into(),
            Reflected::List(values) => {
                values.iter().map(|value| value_json(&field, value, show, hex, ctx)).collect::<Vec<_>>().into()
            }
            value => value_json(&field, value, show, hex, ctx),
        };
        map.insert(field.name().to_owned(), value);
    }
    if descriptor.name() == "pagemap_entry" && !message.has_field_by_name("nr_pages") {
        // Before 4.2 this was the number of pages, and crit calls it so.
        if let Some(nr_pages) = map.remove("compat_nr_pages") {
            map.insert("nr_pages".to_owned(), nr_pages);
        }
    }
    let mut unknown = Map::new();
    for field in message.unknown_fields() {
        let mut encoded = Vec::new();
        field.encode(&mut encoded);
        let values = unknown.entry(field.number().to_string()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(unknown_json(&encoded));
        }
    }
    if !unknown.is_empty() {
        map.insert("unknown_fields".to_owned(), unknown.into());
    }
    map
}

/// The value of an unknown field: a number as such, anything else as its bytes.
fn unknown_json(encoded: &[u8]) -> Value {
    let mut rest = encoded;
    let key = prost::encoding::decode_varint(&mut rest).unwrap_or(2);
    match key & 7 {
        0 => prost::encoding::decode_varint(&mut rest).unwrap_or(0).into(),
        2 => {
            let _ = prost::encoding::decode_varint(&mut rest);
            base64_lines(rest).into()
        }
        _ => base64_lines(rest).into(),
    }
}

fn value_json(field: &FieldDescriptor, value: &Reflected, show: &Show, hex: bool, ctx: &Ctx) -> Value {
    match value {
        Reflected::Bool(value) => (*value).into(),
        Reflected::Message(message) => message_json(message, hex, ctx).into(),
        Reflected::Bytes(bytes) if show.text() => text(bytes).into(),
        Reflected::Bytes(bytes) if show.conv() == "unix_name" => quoted_printable(bytes).into(),
        Reflected::Bytes(bytes) => base64_lines(bytes).into(),
        Reflected::String(text) => text.as_str().into(),
        Reflected::EnumNumber(number) => {
            let kind = field.kind();
            let name = kind.as_enum().and_then(|values| values.get_value(*number));
            name.map_or_else(|| (*number).into(), |name| name.name().into())
        }
        Reflected::U32(value) => number(field, i128::from(*value), show, hex),
        Reflected::U64(value) => number(field, i128::from(*value), show, hex),
        Reflected::I32(value) => number(field, i128::from(*value), show, hex),
        Reflected::I64(value) => number(field, i128::from(*value), show, hex),
        Reflected::F32(value) => Number::from_f64(f64::from(*value)).into(),
        Reflected::F64(value) => Number::from_f64(*value).into(),
        Reflected::List(values) => {
            values.iter().map(|value| value_json(field, value, show, hex, ctx)).collect::<Vec<_>>().into()
        }
        Reflected::Map(values) => {
            let entry =
                |(key, value): (&MapKey, &Reflected)| (format!("{key:?}"), value_json(field, value, show, hex, ctx));
            values.iter().map(entry).collect::<Map<_, _>>().into()
        }
    }
}

fn number(field: &FieldDescriptor, value: i128, show: &Show, hex: bool) -> Value {
    if hex {
        let sign = if value < 0 { "-" } else { "" };
        return format!("0x{sign}{:x}", value.unsigned_abs()).into();
    }
    if show.dev() {
        return device(value, show.odev()).into();
    }
    if !show.flags().is_empty() {
        return flags(value, show.flags()).into();
    }
    if !show.dict().is_empty()
        && let Some(name) = word(show.dict(), field.name(), value)
    {
        return name.into();
    }
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (_, Ok(value)) => value.into(),
        _ => Value::Null,
    }
}

/// `major:minor`: the kernel keeps 20 bits of minor, user space has older bits in older places.
fn device(value: i128, user_space: bool) -> String {
    let (major, minor) = if user_space {
        (value >> 8 & 0xfff | value >> 32 & !0xfff, value & 0xff | value >> 12 & !0xff)
    } else {
        (value >> 20, value & 0xf_ffff)
    };
    format!("{major}:{minor}")
}

/// One or four words whose memory is an address.
fn address(words: &[Reflected], order: ByteOrder) -> Value {
    let word = |word: &Reflected| {
        let word = word.as_u32().unwrap_or(0);
        match order {
            ByteOrder::Little => word.to_le_bytes(),
            ByteOrder::Big => word.to_be_bytes(),
        }
    };
    match words {
        [only] => Ipv4Addr::from(word(only)).to_string().into(),
        [a, b, c, d, ..] => {
            let mut octets = [0; 16];
            let all = [word(a), word(b), word(c), word(d)];
            octets.copy_from_slice(all.as_flattened());
            Ipv6Addr::from(octets).to_string().into()
        }
        _ => words.iter().map(|word| word.as_u32().unwrap_or(0)).collect::<Vec<_>>().into(),
    }
}

/// A set of flags and their names.
type Flags = &'static [(&'static str, i128)];

const MMAP_PROT: Flags = &[("PROT_READ", 1), ("PROT_WRITE", 2), ("PROT_EXEC", 4)];

const MMAP_FLAGS: Flags = &[("MAP_SHARED", 1), ("MAP_PRIVATE", 2), ("MAP_ANON", 0x20), ("MAP_GROWSDOWN", 0x100)];

const MMAP_STATUS: Flags = &[
    ("VMA_AREA_REGULAR", 1),
    ("VMA_AREA_STACK", 1 << 1),
    ("VMA_AREA_VSYSCALL", 1 << 2),
    ("VMA_AREA_VDSO", 1 << 3),
    ("VMA_AREA_HEAP", 1 << 5),
    ("VMA_FILE_PRIVATE", 1 << 6),
    ("VMA_FILE_SHARED", 1 << 7),
    ("VMA_ANON_SHARED", 1 << 8),
    ("VMA_ANON_PRIVATE", 1 << 9),
    ("VMA_AREA_SYSVIPC", 1 << 10),
    ("VMA_AREA_SOCKET", 1 << 11),
    ("VMA_AREA_VVAR", 1 << 12),
    ("VMA_AREA_AIORING", 1 << 13),
    ("VMA_AREA_MEMFD", 1 << 14),
    ("VMA_AREA_SHSTK", 1 << 15),
    ("VMA_UNSUPP", 1 << 31),
];

const RFILE_FLAGS: Flags = &[
    ("O_WRONLY", 0o1),
    ("O_RDWR", 0o2),
    ("O_CREAT", 0o100),
    ("O_EXCL", 0o200),
    ("O_NOCTTY", 0o400),
    ("O_TRUNC", 0o1000),
    ("O_APPEND", 0o2000),
    ("O_NONBLOCK", 0o4000),
    ("O_DSYNC", 0o10000),
    ("FASYNC", 0o20000),
    ("O_DIRECT", 0o40000),
    ("O_LARGEFILE", 0o100_000),
    ("O_DIRECTORY", 0o200_000),
    ("O_NOFOLLOW", 0o400_000),
    ("O_NOATIME", 0o1_000_000),
    ("O_CLOEXEC", 0o2_000_000),
];

const PMAP_FLAGS: Flags = &[("PE_PARENT", 1), ("PE_LAZY", 2), ("PE_PRESENT", 4)];

const SEALS_FLAGS: Flags =
    &[("F_SEAL_SEAL", 1), ("F_SEAL_SHRINK", 2), ("F_SEAL_GROW", 4), ("F_SEAL_WRITE", 8), ("F_SEAL_FUTURE_WRITE", 16)];

/// Names that crit 4.1.1 has, which are those of x86 whatever the dump; the rest in hexadecimal.
fn flags(value: i128, set: &str) -> String {
    let names = match set {
        "mmap.prot" => MMAP_PROT,
        "mmap.flags" => MMAP_FLAGS,
        "mmap.status" => MMAP_STATUS,
        "rfile.flags" => RFILE_FLAGS,
        "pmap.flags" => PMAP_FLAGS,
        "seals.flags" => SEALS_FLAGS,
        _ => return format!("{value:#x}"),
    };
    let mut rest = value;
    let mut words = Vec::new();
    for (name, bit) in names {
        if value & bit != 0 {
            words.push((*name).to_owned());
            rest &= !bit;
        }
    }
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    words.join(" | ")
}

/// Names of single values that crit has.
fn word(dict: &str, field: &str, value: i128) -> Option<&'static str> {
    Some(match (dict, field, value) {
        // crit calls 3 a zombie. CRIU writes 2 for a zombie, for which crit has no name and prints the number.
        ("gen", "task_state", 1) => "Alive",
        ("gen", "task_state", 3) => "Stopped",
        ("sk", "family", 1) => "UNIX",
        ("sk", "family", 2) => "INET",
        ("sk", "family", 10) => "INET6",
        ("sk", "family", 16) => "NETLINK",
        ("sk", "family", 17) => "PACKET",
        ("sk", "type", 1) => "STREAM",
        ("sk", "type", 2) => "DGRAM",
        ("sk", "type", 3) => "RAW",
        ("sk", "type", 5) => "SEQPACKET",
        ("sk", "type", 10) => "PACKET",
        ("sk", "state", 1) => "ESTABLISHED",
        ("sk", "state", 2) => "SYN_SENT",
        ("sk", "state", 3) => "SYN_RECV",
        ("sk", "state", 4) => "FIN_WAIT1",
        ("sk", "state", 5) => "FIN_WAIT2",
        ("sk", "state", 6) => "TIME_WAIT",
        ("sk", "state", 7) => "CLOSE",
        ("sk", "state", 8) => "CLOSE_WAIT",
        ("sk", "state", 9) => "LAST_ACK",
        ("sk", "state", 10) => "LISTEN",
        ("sk", "proto", 0) => "IP",
        ("sk", "proto", 6) => "TCP",
        ("sk", "proto", 17) => "UDP",
        ("sk", "proto", 136) => "UDPLITE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, own: u32, rest: &[u8]) -> Img {
        Img::new(name, [&0x5456_4319_u32.to_le_bytes(), &own.to_le_bytes(), rest].concat().into())
    }

    fn entries(name: &str, own: u32, rest: &[u8]) -> Value {
        crit_json(&image(name, own, rest), &Ctx::default()).value["entries"].take()
    }

    #[test]
    fn the_number_of_pages_is_called_as_the_release_calls_it() {
        let old = b"\x02\0\0\0\x08\x07\x06\0\0\0\x08\x10\x10\x02\x20\x04";
        assert_eq!(
            entries("pagemap-1.img", 0x5608_4025, old),
            json!([{"pages_id": 7}, {"vaddr": "0x10", "nr_pages": 2, "flags": "PE_PRESENT"}])
        );
        let new = b"\x02\0\0\0\x08\x07\x08\0\0\0\x08\x10\x10\0\x20\x0c\x28\x02";
        assert_eq!(
            entries("pagemap-1.img", 0x5608_4025, new),
            json!([{"pages_id": 7},
                {"vaddr": "0x10", "compat_nr_pages": 0, "flags": "PE_PRESENT | 0x8", "nr_pages": 2}])
        );
    }

    #[test]
    fn a_stopped_task_is_no_zombie() {
        for (state, expected) in [(1, json!("Alive")), (2, json!(2)), (3, json!("Stopped")), (6, json!(6))] {
            // mtype x86-64, then tc with nothing but its state: not a record CRIU would write, and shown all the same.
            let core = [6, 0, 0, 0, 8, 1, 26, 2, 8, state];
            let core = entries("core-1.img", 0x5505_3847, &core);
            assert_eq!(core, json!([{"mtype": "X86_64", "tc": {"task_state": expected}}]));
        }
    }

    #[test]
    fn hexadecimal_is_inherited_and_numbers_keep_their_sign() {
        // thread_info.gpregs is marked, its fields are not; fd of a mapping is signed.
        let core = b"\x08\0\0\0\x08\x01\x12\x04\x12\x02\x08\x1f";
        let core = entries("core-1.img", 0x5505_3847, core);
        assert_eq!(core, json!([{"mtype": "X86_64", "thread_info": {"gpregs": {"r15": "0x1f"}}}]));
        assert_eq!(entries("vmas-1.img", 0x5412_3737, b"\x02\0\0\0\x40\x01"), json!([{"fd": -1}]));
    }

    #[test]
    fn addresses_follow_the_byte_order_of_the_dump() {
        let words = [Reflected::U32(0x0100_007f)];
        assert_eq!(address(&words, ByteOrder::Little), "127.0.0.1");
        assert_eq!(address(&[Reflected::U32(0x7f00_0001)], ByteOrder::Big), "127.0.0.1");
        let loopback = [0, 0, 0, 0x0100_0000].map(Reflected::U32);
        assert_eq!(address(&loopback, ByteOrder::Little), "::1");
        assert_eq!(address(&[Reflected::U32(1), Reflected::U32(2)], ByteOrder::Little), json!([1, 2]));
    }

    #[test]
    fn devices_are_packed_in_two_ways() {
        assert_eq!(device(0x0080_0001, false), "8:1");
        assert_eq!(device(0x0880_1034, true), "16:34868");
        assert_eq!(device(0x8801, true), "136:1");
    }

    #[test]
    fn unknown_fields_are_added() {
        let stats = entries("seccomp.img", 0x6441_3049, b"\x03\0\0\0\xa0\x06\x05");
        assert_eq!(stats, json!([{"unknown_fields": {"100": [5]}}]));
    }

    #[test]
    fn a_record_that_is_no_message_is_there_as_bytes() {
        let found = crit_json(&image("pstree.img", 0x5027_3030, b"\x01\0\0\0\x08"), &Ctx::default());
        assert_eq!(found.value["entries"], json!([{"undecoded": "CA==\n"}]));
        assert_eq!(found.issues[0].to_string(), "pstree.img+0x8: message ends inside a number");
    }

    #[test]
    fn a_document_is_not_built_of_more_than_memory_should_hold() {
        let record = [&[0, 0, 0x40, 0, 0xa2, 6, 0xfa, 0xff, 0xff, 1][..], &vec![0; (4 << 20) - 6]].concat();
        let found = crit_json(&image("netdev-9.img", 0x5737_3951, &record.repeat(6)), &Ctx::default());
        assert_eq!(found.value["entries"].as_array().map(Vec::len), Some(4));
        assert!(found.issues.iter().any(|issue| issue.kind == DecodeErrorKind::DocumentTooLarge { shown: 4 }));
    }

    #[test]
    fn text_dumps_are_lists_of_lines() {
        let img = Img::new("iptables-9.img", Bytes::from_static(b"*filter\nCOMMIT\n"));
        let found = crit_json(&img, &Ctx::default());
        assert_eq!(found.value, json!({"magic": "IPTABLES", "entries": ["*filter", "COMMIT"]}));
        let empty = crit_json(&Img::new("iptables-9.img", Bytes::new()), &Ctx::default());
        assert_eq!((empty.value["entries"].clone(), empty.issues), (json!([]), vec![]));
    }
}
