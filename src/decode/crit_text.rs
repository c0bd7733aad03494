//! Bytes as text in the two spellings that crit has: base64 and quoted-printable, both in lines of at most 76.

use std::borrow::Cow;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const MAX_LINE: usize = 76;

/// Base64 with a newline after every 57 bytes, and at the end unless there are no bytes.
pub(super) fn base64_lines(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().saturating_mul(4) / 3);
    for line in bytes.chunks(57) {
        for group in line.chunks(3) {
            let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let digit = usize::try_from(bits >> shift & 0x3f).ok().and_then(|digit| ALPHABET.get(digit));
                let is_padding = group.len() < index;
                out.push(if is_padding { '=' } else { char::from(digit.copied().unwrap_or(b'=')) });
            }
        }
        out.push('\n');
    }
    out
}

/// Quoted-printable as Python's `quopri.encodestring` writes it: text, tabs and spaces stay but at the end.
pub(super) fn quoted_printable(bytes: &[u8]) -> String {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let newline = bytes.iter().position(|byte| *byte == b'\n');
    let is_crlf = newline.and_then(|at| at.checked_sub(1)).and_then(|at| bytes.get(at)) == Some(&b'\r');
    let end_of_line: &[u8] = if is_crlf { b"\r\n" } else { b"\n" };
    let mut line_len = 0_usize;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let next = after.first().copied();
        let is_last = next.is_none();
        let is_lone_dot = byte == b'.' && line_len == 0 && matches!(next, None | Some(b'\n' | b'\r' | 0));
        let is_space = matches!(byte, b' ' | b'\t');
        let is_newline = matches!(byte, b'\r' | b'\n');
        if byte > 126 || byte == b'=' || is_lone_dot || (is_space && is_last) || (byte < 33 && !is_newline && !is_space)
        {
            if MAX_LINE <= line_len.saturating_add(3) {
                out.push(b'=');
                out.extend_from_slice(end_of_line);
                line_len = 0;
            }
            out.extend_from_slice(format!("={byte:02X}").as_bytes());
            line_len = line_len.saturating_add(3);
            rest = after;
        } else if byte == b'\n' || (byte == b'\r' && next == Some(b'\n')) {
            line_len = 0;
            if let Some(&last @ (b' ' | b'\t')) = out.last() {
                out.pop();
                out.extend_from_slice(format!("={last:02X}").as_bytes());
            }
            out.extend_from_slice(end_of_line);
            rest = if byte == b'\r' { after.get(1..).unwrap_or_default() } else { after };
        } else {
            if !is_last && next != Some(b'\n') && MAX_LINE <= line_len.saturating_add(1) {
                out.push(b'=');
                out.extend_from_slice(end_of_line);
                line_len = 0;
            }
            line_len = line_len.saturating_add(1);
            out.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Text, or what crit shows of a text that is not UTF-8: the bytes as Python writes them, `b'caf\\xe9'`.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for &byte in bytes {
        match byte {
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' if char::from(byte) == quote => {
                out.push('\\');
                out.push(quote);
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_broken_after_57_bytes() {
        assert_eq!(base64_lines(b""), "");
        assert_eq!(base64_lines(b"a"), "YQ==\n");
        assert_eq!(base64_lines(b"ab"), "YWI=\n");
        assert_eq!(base64_lines(b"abc"), "YWJj\n");
        assert_eq!(base64_lines(&[0; 58]), format!("{}\nAA==\n", "A".repeat(76)));
    }

    #[test]
    fn text_that_is_not_utf8_is_shown_as_python_bytes() {
        assert_eq!(text("caf\u{e9}".as_bytes()), "caf\u{e9}");
        assert_eq!(text(b"caf\xe9"), "b'caf\\xe9'");
        assert_eq!(text(b"it's\xff\n"), "b\"it's\\xff\\n\"");
        assert_eq!(text(b"'\"\xff\\"), "b'\\'\"\\xff\\\\'");
    }

    // Answers of Python 3.13's quopri.encodestring.
    #[test]
    fn quoted_printable_is_that_of_python() {
        assert_eq!(quoted_printable(b"\0hidden=1"), "=00hidden=3D1");
        assert_eq!(quoted_printable(b"/run/a b \0"), "/run/a b =00");
        assert_eq!(quoted_printable(b"tail "), "tail=20");
        assert_eq!(quoted_printable(b"."), "=2E");
        assert_eq!(quoted_printable(b"a \nb\r\nc"), "a=20\nb\nc");
        assert_eq!(quoted_printable(b"\r\n\xff"), "\r\n=FF");
        assert_eq!(quoted_printable(&[b'x'; 80]), format!("{}=\n{}", "x".repeat(75), "x".repeat(5)));
        assert_eq!(quoted_printable(&[0; 30]), format!("{}=\n{}", "=00".repeat(25), "=00".repeat(5)));
    }
}
