//! One pass over the bytes of a protobuf message, before it is decoded.
//!
//! prost takes a missing `required` field for zero, and skips unknown fields without a word. This pass finds
//! both, and bounds nesting. It allocates nothing but for unknown fields. Tables are made from the descriptors once.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{Cardinality, Kind};

use super::error::{FieldName, UnknownField, WireError};
use super::schema;

/// Most different unknown fields that are told apart in one image.
const MAX_UNKNOWN: usize = 64;
/// Most values in one record. Two bytes can become a message of fifty when decoded; the largest honest records are
/// address spaces with 100,000 mappings, a million values.
const MAX_VALUES: u64 = 4_000_000;
/// What a record counts beside its values: it is one of our structs even when it is empty.
pub const RECORD_VALUES: u64 = 16;

/// What the pass needs to know of one message.
#[derive(Debug)]
pub(super) struct Rules {
    name: &'static str,
    /// By field number.
    fields: Vec<Option<FieldRule>>,
    /// One bit for each required field.
    required: u64,
    /// Whether it, or a message in it, has a field of bytes, which can borrow from the image.
    pub(super) holds_bytes: bool,
}

#[derive(Debug)]
struct FieldRule {
    name: &'static str,
    wire_type: u8,
    /// Repeated numbers may also come packed.
    packable: bool,
    /// Index of the message.
    message: Option<usize>,
    required: u64,
}

#[derive(Debug)]
struct Tables {
    rules: Vec<Rules>,
    by_name: HashMap<&'static str, usize>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

/// The rules of a message, by CRIU's name.
pub(super) fn rules(message: &str) -> Option<&'static Rules> {
    let index = TABLES.by_name.get(message)?;
    TABLES.rules.get(*index)
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const START_GROUP: u8 = 3;
const END_GROUP: u8 = 4;
const FIXED32: u8 = 5;

impl Tables {
    fn new() -> Tables {
        // Names of the schema live as long as the program.
        let messages: Vec<_> = schema::descriptors().all_messages().collect();
        let mut by_name = HashMap::new();
        for (index, message) in messages.iter().enumerate() {
            let name: &'static str = message.name().to_owned().leak();
            by_name.insert(name, index);
        }
        let mut rules: Vec<Rules> = Vec::new();
        for message in &messages {
            let mut fields: Vec<Option<FieldRule>> = Vec::new();
            let mut required = 0_u64;
            for field in message.fields() {
                let bit = if field.cardinality() == Cardinality::Required {
                    let bit = required.trailing_ones();
                    1_u64.checked_shl(bit).unwrap_or(0)
                } else {
                    0
                };
                required |= bit;
                let wire_type = wire_type(&field.kind());
                let kind = field.kind();
                let inner = kind.as_message().and_then(|inner| by_name.get(inner.name()).copied());
                let rule = FieldRule {
                    name: field.name().to_owned().leak(),
                    wire_type,
                    packable: field.is_list() && wire_type != LENGTH_DELIMITED,
                    message: inner,
                    required: bit,
                };
                let number = usize::try_from(field.number()).unwrap_or(0);
                if fields.len() <= number {
                    fields.resize_with(number.saturating_add(1), || None);
                }
                if let Some(slot) = fields.get_mut(number) {
                    *slot = Some(rule);
                }
            }
            let name = by_name.get_key_value(message.name()).map_or("", |(name, _)| *name);
            let holds_bytes = message.fields().any(|field| matches!(field.kind(), Kind::Bytes | Kind::String));
            rules.push(Rules { name, fields, required, holds_bytes });
        }
        // A message holds bytes if one inside it does; no chain of messages is longer than their number.
        loop {
            let holders: Vec<bool> = rules.iter().map(|rules| rules.holds_bytes).collect();
            let mut changed = false;
            for rules in &mut rules {
                let inner = rules.fields.iter().flatten().filter_map(|field| field.message);
                if !rules.holds_bytes && inner.into_iter().any(|inner| holders.get(inner) == Some(&true)) {
                    rules.holds_bytes = true;
                    changed = true;
                }
            }
            if !changed {
                return Tables { rules, by_name };
            }
        }
    }
}

fn wire_type(kind: &Kind) -> u8 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::String | Kind::Bytes | Kind::Message(_) => LENGTH_DELIMITED,
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Bool
        | Kind::Enum(_) => VARINT,
    }
}

/// What a pass found.
#[derive(Debug)]
pub(super) struct Findings {
    /// The first required field that is missing.
    pub(super) missing: Option<FieldName>,
    /// Fields that the schema does not have.
    pub(super) unknown: Vec<UnknownField>,
    /// Values in the record, at least; packed ones count by their bytes.
    pub(super) values: u64,
    /// Values in the records before it.
    earlier_values: u64,
    /// Most values in all records.
    max_values: u64,
}

impl Default for Findings {
    fn default() -> Findings {
        Findings::new(u64::MAX)
    }
}

impl Findings {
    /// Nothing found; at most `max_values` in all records, each counted as [`RECORD_VALUES`] more.
    pub(super) fn new(max_values: u64) -> Findings {
        Findings { missing: None, unknown: Vec::new(), values: 0, earlier_values: 0, max_values }
    }

    /// Forgets what belongs to the record before.
    pub(super) fn next_record(&mut self) {
        self.missing = None;
        self.earlier_values = self.all_values().saturating_add(RECORD_VALUES);
        self.values = 0;
    }

    /// Values in all records so far.
    pub(super) fn all_values(&self) -> u64 {
        self.earlier_values.saturating_add(self.values)
    }

    fn count_values(&mut self, count: usize) -> Result<(), WireError> {
        self.values = self.values.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        match (MAX_VALUES < self.values, self.max_values < self.all_values()) {
            (true, _) => Err(WireError::TooManyValues { max: MAX_VALUES }),
            (_, true) => Err(WireError::TooManyValuesInAll { max: self.max_values }),
            _ => Ok(()),
        }
    }

    fn count_unknown(&mut self, message: &'static str, number: u32, wire_type: u8) {
        let same = |it: &&mut UnknownField| it.message == message && it.number == number && it.wire_type == wire_type;
        if let Some(known) = self.unknown.iter_mut().find(same) {
            known.count = known.count.saturating_add(1);
        } else if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(UnknownField { message, number, wire_type, count: 1 });
        }
    }
}

/// Reads keys and values off a message. No method panics.
#[derive(Clone, Copy, Debug)]
struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    fn varint(&mut self) -> Result<u64, WireError> {
        if let Some((&first, rest)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(first));
        }
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            let shift = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(7);
            if index == 9 && byte > 1 {
                return Err(WireError::Overlong);
            }
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                self.rest = self.rest.get(index.saturating_add(1)..).unwrap_or_default();
                return Ok(value);
            }
        }
        let truncated = WireError::Truncated { what: "a number" };
        Err(if self.rest.len() < 10 { truncated } else { WireError::Overlong })
    }

    /// Field number and wire type; `None` at the end.
    fn key(&mut self) -> Result<Option<(u32, u8)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let wire_type = u8::try_from(key & 7).unwrap_or(7);
        match (number, wire_type) {
            (Some(number), VARINT..=FIXED32) => Ok(Some((number, wire_type))),
            _ => Err(WireError::Key { key }),
        }
    }

    fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], WireError> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = taken.ok_or(WireError::Truncated { what })?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.varint()?;
        self.take(len, "a field")
    }

    fn skip(&mut self, wire_type: u8, number: u32, max_nesting: usize) -> Result<(), WireError> {
        match wire_type {
            VARINT => self.varint().map(|_| ()),
            FIXED64 => self.take(8, "a number").map(|_| ()),
            FIXED32 => self.take(4, "a number").map(|_| ()),
            LENGTH_DELIMITED => self.bytes().map(|_| ()),
            START_GROUP => self.skip_group(number, max_nesting),
            _ => Err(WireError::Key { key: u64::from(number) << 3 | u64::from(wire_type) }),
        }
    }

    /// Skips to the end of a group, which no release of CRIU writes.
    fn skip_group(&mut self, number: u32, max_nesting: usize) -> Result<(), WireError> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let (number, wire_type) = self.key()?.ok_or(WireError::Truncated { what: "a group" })?;
            match wire_type {
                END_GROUP if number == innermost => {
                    open.pop();
                }
                START_GROUP if open.len() < max_nesting => open.push(number),
                START_GROUP => return Err(WireError::Nesting),
                _ => self.skip(wire_type, number, 0)?,
            }
        }
        Ok(())
    }
}

/// Checks a message and all in it.
///
/// # Errors
/// The bytes are no protobuf message, a field has another wire type than in the schema, or messages are nested
/// deeper than `max_nesting`.
pub(super) fn check(
    body: &[u8],
    rules: &'static Rules,
    max_nesting: usize,
    findings: &mut Findings,
) -> Result<(), WireError> {
    let mut wire = Wire { rest: body };
    let mut seen = 0_u64;
    findings.count_values(0)?;
    while let Some((number, wire_type)) = wire.key()? {
        findings.count_values(1)?;
        let rule = usize::try_from(number).ok().and_then(|number| rules.fields.get(number)).and_then(Option::as_ref);
        let Some(rule) = rule else {
            findings.count_unknown(rules.name, number, wire_type);
            wire.skip(wire_type, number, max_nesting)?;
            continue;
        };
        if wire_type != rule.wire_type && !(rule.packable && wire_type == LENGTH_DELIMITED) {
            let field = FieldName { message: rules.name, field: rule.name };
            return Err(WireError::WireType { field, found: wire_type });
        }
        seen |= rule.required;
        match rule.message.and_then(|inner| TABLES.rules.get(inner)) {
            Some(inner) => {
                let body = wire.bytes()?;
                let Some(left) = max_nesting.checked_sub(1) else {
                    return Err(WireError::Nesting);
                };
                check(body, inner, left, findings)?;
            }
            None if rule.packable && wire_type == LENGTH_DELIMITED => findings.count_values(wire.bytes()?.len())?,
            None => wire.skip(wire_type, number, max_nesting)?,
        }
    }
    let missing = rules.required & !seen;
    if missing != 0 && findings.missing.is_none() {
        let field = rules.fields.iter().flatten().find(|field| field.required & missing != 0);
        findings.missing = field.map(|field| FieldName { message: rules.name, field: field.name });
    }
    Ok(())
}

/// The value of a number in a message, the last one if it is there several times; `None` if it is not there.
pub(super) fn number(body: &[u8], wanted: u32) -> Option<u64> {
    let mut wire = Wire { rest: body };
    let mut value = None;
    while let Ok(Some((number, wire_type))) = wire.key() {
        if number == wanted && wire_type == VARINT {
            value = Some(wire.varint().ok()?);
        } else {
            wire.skip(wire_type, number, 8).ok()?;
        }
    }
    value
}

/// Gives numbers with number `from` the number `to` (16 to 2047); `None` if there is nothing to change.
pub(super) fn renumber(body: &[u8], from: u32, to: u16) -> Option<Vec<u8>> {
    let key = u32::from(to).checked_mul(8)?;
    let key = [u8::try_from(key & 0x7f | 0x80).ok()?, u8::try_from(key >> 7).ok()?];
    let mut wire = Wire { rest: body };
    let mut out = Vec::new();
    let mut changed = false;
    loop {
        let start = wire.rest;
        let Some((number, wire_type)) = wire.key().ok()? else {
            return changed.then_some(out);
        };
        let value = wire.rest;
        wire.skip(wire_type, number, 8).ok()?;
        let upto = |from: &[u8]| from.len().saturating_sub(wire.rest.len());
        if number == from && wire_type == VARINT {
            changed = true;
            out.extend_from_slice(&key);
            out.extend_from_slice(value.get(..upto(value))?);
        } else {
            out.extend_from_slice(start.get(..upto(start))?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_message(message: &str, body: &[u8]) -> String {
        let mut findings = Findings::default();
        let rules = rules(message).unwrap();
        let res = check(body, rules, 8, &mut findings);
        let mut out = res.map_or_else(|err| err.to_string(), |()| "ok".to_owned());
        if let Some(missing) = findings.missing {
            out.push_str(&format!(", {missing} missing"));
        }
        for unknown in findings.unknown {
            out.push_str(&format!(", {} unknown {}/{}", unknown.count, unknown.number, unknown.wire_type));
        }
        out
    }

    #[test]
    fn required_fields_are_missed_also_inside() {
        assert_eq!(check_message("rlimit_entry", &[8, 1, 16, 2]), "ok");
        assert_eq!(check_message("rlimit_entry", &[8, 1]), "ok, rlimit_entry.max missing");
        assert_eq!(check_message("rlimit_entry", &[]), "ok, rlimit_entry.cur missing");
        assert_eq!(check_message("task_rlimits_entry", &[10, 2, 16, 2]), "ok, rlimit_entry.cur missing");
    }

    #[test]
    fn unknown_fields_are_counted_by_number_and_wire_type() {
        let body = [8, 1, 16, 2, 0xa0, 6, 1, 0xa0, 6, 2, 0xa2, 6, 1, 0, 0xa3, 6, 8, 1, 0xa4, 6];
        assert_eq!(check_message("rlimit_entry", &body), "ok, 2 unknown 100/0, 1 unknown 100/2, 1 unknown 100/3");
    }

    #[test]
    fn malformed_messages_say_why() {
        assert_eq!(check_message("rlimit_entry", &[8]), "message ends inside a number");
        assert_eq!(check_message("rlimit_entry", &[8, 0xff]), "message ends inside a number");
        assert_eq!(check_message("rlimit_entry", &[0xff; 20]), "number longer than 64 bits");
        assert_eq!(check_message("rlimit_entry", &[0, 0]), "impossible field key 0x0");
        assert_eq!(check_message("rlimit_entry", &[15, 0]), "impossible field key 0xf");
        assert_eq!(check_message("rlimit_entry", &[12]), "rlimit_entry.cur has wire type 4");
        assert_eq!(check_message("rlimit_entry", &[10, 1, 0]), "rlimit_entry.cur has wire type 2");
        assert_eq!(check_message("task_rlimits_entry", &[10, 200]), "message ends inside a number");
        assert_eq!(check_message("task_rlimits_entry", &[10, 100]), "message ends inside a field");
    }

    #[test]
    fn repeated_numbers_may_be_packed() {
        assert_eq!(check_message("pstree_entry", &[8, 1, 16, 0, 24, 1, 32, 1, 42, 2, 1, 2, 40, 3]), "ok");
    }

    #[test]
    fn a_nesting_bomb_ends_at_the_limit() {
        let mut body = vec![10, 1, b'x'];
        for _ in 0..20 {
            let mut outer = vec![10, 1, b'x', 18, u8::try_from(body.len()).unwrap()];
            outer.append(&mut body);
            body = outer;
        }
        assert_eq!(check_message("cgroup_dir_entry", &body), "messages are nested too deeply");
        let groups = [0xa3, 6].repeat(1000);
        assert_eq!(check_message("rlimit_entry", &groups), "messages are nested too deeply, 1 unknown 100/3");
    }

    #[test]
    fn a_record_of_millions_of_values_is_refused() {
        assert_eq!(check_message("cgroup_entry", &[18, 0].repeat(1000)), "ok");
        assert_eq!(check_message("cgroup_entry", &[18, 0].repeat(4_000_001)), "more than 4000000 values");
        let mut packed = vec![42, 0x80, 0x80, 0x80, 0x02];
        packed.resize(5 + (4 << 20), 1);
        assert_eq!(check_message("pstree_entry", &packed), "more than 4000000 values");
    }

    #[test]
    fn numbers_are_found_and_renumbered() {
        assert_eq!(number(&[8, 1, 16, 2, 8, 3], 1), Some(3));
        assert_eq!(number(&[8, 1], 2), None);
        assert_eq!(renumber(&[8, 1, 48, 5, 48, 0], 6, 60), Some(vec![8, 1, 0xe0, 3, 5, 0xe0, 3, 0]));
        assert_eq!(renumber(&[8, 1, 50, 1, 0], 6, 60), None);
    }
}
