//! Text of the evidence: usually UTF-8, but any bytes may stand in a path, a name, an argument.

use std::fmt;

use bytes::Bytes;

/// Bytes that the kernel treats as text, kept exactly as found.
///
/// `Display` writes valid UTF-8 as it is and other bytes as `\xNN`; labels and terminals want
/// [`Text::label`], which also disarms control characters.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub Bytes);

impl Text {
    /// The exact bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For JSON: valid UTF-8 as it is, other bytes as `\xNN`.
    pub fn to_lossless(&self) -> std::borrow::Cow<'_, str> {
        super::text::escape(&self.0)
    }

    /// For a terminal or a label: control characters are spelled too.
    pub fn label(&self) -> String {
        super::text::escape_controls(&self.to_lossless()).into_owned()
    }

    /// The hex digits of the bytes when they are not valid UTF-8, for the `_hex` twin in JSON.
    pub fn hex_if_not_utf8(&self) -> Option<String> {
        if super::text::is_clean_utf8(&self.0) { None } else { Some(super::text::hex(&self.0)) }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(Bytes::from(text.into_bytes()))
    }
}

impl From<Bytes> for Text {
    fn from(bytes: Bytes) -> Text {
        Text(bytes)
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        Text(Bytes::from(bytes))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_lossless())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_lossless())
    }
}
