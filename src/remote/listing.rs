//! One page of a list: the document that answers `ListObjectsV2` with `encoding-type=url`.
//!
//! Namespaces are not looked at: Google's store has one of its own.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use roxmltree::{Document, Node, ParsingOptions};

use super::RemoteError;
use super::s3_uri::MAX_KEY;

/// Most bytes of a page: a thousand keys of 1024 bytes, each byte as three, and what is told of each.
pub(super) const MAX_PAGE_BYTES: u64 = 8 << 20;
/// Most elements and texts of a page: a thousand objects with owners and checksums have some 30 000.
const MAX_NODES: u32 = 100_000;
/// Longest token.
const MAX_TOKEN: usize = 16 << 10;

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) keys: Vec<String>,
    /// What the next page is asked for with.
    pub(super) next: Option<String>,
}

impl Page {
    /// # Errors
    /// No list, or one that says it goes on and not how.
    pub(super) fn parse(body: &[u8]) -> Result<Page, RemoteError> {
        let malformed = |what| RemoteError::Malformed { what };
        let text = std::str::from_utf8(body).map_err(|_utf8| malformed("a list that is not UTF-8"))?;
        let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)
            .map_err(|_xml| malformed("no list of objects, is this a store that speaks S3?"))?;
        let root = document.root_element();
        if root.tag_name().name() != "ListBucketResult" {
            return Err(malformed("no list of objects, is this a store that speaks S3?"));
        }
        let is_encoded = child(root, "EncodingType").is_some_and(|encoding| encoding == "url");
        let mut keys = Vec::new();
        for contents in root.children().filter(|node| node.tag_name().name() == "Contents") {
            let key = child(contents, "Key").ok_or_else(|| malformed("a list of objects without keys"))?;
            let key = if is_encoded { decoded(&key) } else { key.into_owned() };
            if MAX_KEY < key.len() {
                return Err(malformed("a list with a key that is too long"));
            }
            keys.push(key);
        }
        let is_truncated = child(root, "IsTruncated").is_some_and(|text| text.trim() == "true");
        let next = child(root, "NextContinuationToken").filter(|token| !token.is_empty());
        let next = match (is_truncated, next) {
            (false, _) => None,
            (true, Some(token)) if token.len() <= MAX_TOKEN => Some(token.into_owned()),
            (true, _) => return Err(malformed("a list that goes on without saying how")),
        };
        Ok(Page { keys, next })
    }
}

/// Text of a child, which may come in pieces.
fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<Cow<'a, str>> {
    let child = node.children().find(|child| child.tag_name().name() == name)?;
    let mut texts = child.children().filter_map(|text| text.text());
    let first = texts.next().unwrap_or_default();
    Some(texts.fold(Cow::Borrowed(first), |whole, text| whole + text))
}

/// A space is `+` or `%20`, according to the store. A key that is not UTF-8 then is none that S3 knows.
///
/// Some stores (s3s-fs 0.14) say that keys are encoded and write them as they are. One that has in it what no encoding leaves
/// is taken as it is.
fn decoded(key: &str) -> String {
    let is_left = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '"' | '#' | '<' | '>' | '?' | '\\' | '^' | '`' | '{' | '|' | '}')
    };
    let is_digit = |at: usize| key.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    let is_byte = |(at, _): (usize, &str)| is_digit(at.saturating_add(1)) && is_digit(at.saturating_add(2));
    if !key.chars().all(is_left) || !key.match_indices('%').all(is_byte) {
        return key.to_owned();
    }
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> Result<Page, RemoteError> {
        Page::parse(
            format!("<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"urn:x\">{inner}</ListBucketResult>").as_bytes(),
        )
    }

    #[test]
    fn keys_are_decoded_as_the_page_says() {
        let contents =
            "<Contents><Key>a+b%2B%C3%A9&amp;c</Key><Size>1</Size></Contents><Contents><Key>d</Key></Contents>";
        let keys = |page: Page| page.keys;
        let encoded = page(&format!("<EncodingType>url</EncodingType>{contents}")).map(keys);
        assert_eq!(encoded.expect("a page"), ["a b+é&c", "d"]);
        assert_eq!(page(contents).map(keys).expect("a page"), ["a+b%2B%C3%A9&c", "d"]);
    }

    #[test]
    fn keys_that_cannot_be_encoded_are_not_decoded() {
        for key in ["a b+c", "é+%2F", "100%", "a%zz", "?+"] {
            assert_eq!(decoded(key), key);
        }
        assert_eq!(decoded("a%20b+%2B"), "a b +");
    }

    #[test]
    fn a_page_says_how_it_goes_on() {
        let next = |inner: &str| page(inner).map(|page| page.next);
        let (truncated, token) =
            ("<IsTruncated>true</IsTruncated>", "<NextContinuationToken>t</NextContinuationToken>");
        assert_eq!(next(&format!("{truncated}{token}")).expect("a page"), Some("t".into()));
        assert_eq!(next(token).expect("a page"), None);
        assert!(next(truncated).is_err());
    }

    #[test]
    fn pages_of_hostile_stores_are_refused() {
        let many = "<a/>".repeat(MAX_NODES as usize);
        let long = format!("<Contents><Key>{}</Key></Contents>", "k".repeat(MAX_KEY + 1));
        for inner in [many.as_str(), &long, "<Contents/>", "<Contents>", &"<a>".repeat(50_000)] {
            assert!(page(inner).is_err());
        }
        for body in ["", "<html/>", "<!DOCTYPE a [<!ENTITY b \"c\">]><ListBucketResult>&b;</ListBucketResult>"] {
            assert!(Page::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Page::parse(b"<ListBucketResult>\xff</ListBucketResult>").is_err());
    }

    proptest::proptest! {
        #[test]
        fn changed_pages_never_panic(changes in proptest::collection::vec((0_usize..400, 0_u8..), 0..8), cut in 0_usize..400) {
            let mut page = b"<?xml version=\"1.0\"?><ListBucketResult xmlns=\"u\"><EncodingType>url</EncodingType><IsTruncated>true\
                </IsTruncated><NextContinuationToken>t&amp;</NextContinuationToken><Contents><Key>a%20b+%C3%A9</Key></Contents>\
                </ListBucketResult>".to_vec();
            for (at, byte) in changes {
                if let Some(place) = page.get_mut(at) {
                    *place = byte;
                }
            }
            page.truncate(if cut < 100 { cut } else { page.len() });
            if let Ok(page) = Page::parse(&page) {
                proptest::prop_assert!(page.keys.iter().all(|key| key.len() <= MAX_KEY));
            }
        }
    }
}
