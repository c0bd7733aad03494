//! How single values are spelled in JSON.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::base::{Field, Text, VirtAddr, hex};

/// A string of the evidence and, when it is not UTF-8, its exact bytes in hex.
pub(super) type TextAndHex<'a> = (Option<Cow<'a, str>>, Option<String>);

/// The two spellings of a text.
pub(super) fn text(text: &Text) -> (Cow<'_, str>, Option<String>) {
    (text.to_lossless(), text.hex_if_not_utf8())
}

/// The two spellings of a text that may not be there.
pub(super) fn optional_text(text: Option<&Text>) -> TextAndHex<'_> {
    match text {
        Some(text) => (Some(text.to_lossless()), text.hex_if_not_utf8()),
        None => (None, None),
    }
}

/// The two spellings of a list: the second lists all items once one of them is not UTF-8.
pub(super) fn texts(texts: &[Text]) -> (Vec<Cow<'_, str>>, Option<Vec<String>>) {
    let is_clean = texts.iter().all(|text| text.hex_if_not_utf8().is_none());
    let hexes = if is_clean { None } else { Some(texts.iter().map(|text| hex(text.as_bytes())).collect()) };
    (texts.iter().map(Text::to_lossless).collect(), hexes)
}

/// The two spellings of a list that may not be there.
pub(super) fn optional_texts(field: &Field<Vec<Text>>) -> (Option<Vec<Cow<'_, str>>>, Option<Vec<String>>) {
    match field.known() {
        Some(list) => {
            let (texts, hexes) = texts(list);
            (Some(texts), hexes)
        }
        None => (None, None),
    }
}

/// Open flags as /proc/PID/fdinfo writes them: octal with a leading zero.
pub(super) fn octal_flags(flags: u32) -> String {
    format!("0{flags:o}")
}

/// Permission bits, four octal digits.
pub(super) fn octal_mode(mode: u32) -> String {
    format!("{mode:04o}")
}

/// A set of 64 bits as /proc/PID/status writes it.
pub(super) fn bit_set(set: u64) -> String {
    format!("{set:016x}")
}

/// `0x…`.
pub(super) fn address(addr: VirtAddr) -> String {
    format!("{addr:#x}")
}

/// A resource limit: a number or `"unlimited"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) Option<u64>);

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(limit) => serializer.serialize_u64(limit),
            None => serializer.serialize_str("unlimited"),
        }
    }
}

/// Pairs written as an object, in their order.
#[derive(Clone, Debug)]
pub(super) struct Map<K, V>(pub(super) Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Map<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// A list whose items are made one by one while they are written.
pub(super) struct Each<F>(pub(super) F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: IntoIterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_string_brings_the_hex_of_the_whole_list() {
        let list = [Text::from("sh"), Text::from(vec![b'a', 0xff])];
        let (spelled, hexes) = texts(&list);
        assert_eq!(spelled, ["sh", "a\\xff"]);
        assert_eq!(hexes, Some(vec!["7368".to_owned(), "61ff".to_owned()]));
        assert_eq!(texts(&list[..1]).1, None);
    }

    #[test]
    fn flags_and_limits_are_spelled_as_proc_spells_them() {
        assert_eq!(octal_flags(0o2_100_002), "02100002");
        assert_eq!(octal_flags(0), "00");
        assert_eq!(octal_mode(0o22), "0022");
        let limits = Map(vec![("CORE", [Limit(Some(0)), Limit(None)])]);
        assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"CORE":[0,"unlimited"]}"#);
    }
}
