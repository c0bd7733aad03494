//! Colours, which are never the only sign.

/// What a piece of text is, and thereby its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// A heading or a name.
    Strong,
    /// Labels and guides.
    Dim,
    /// A number that names something.
    Id,
    /// Worth a second look: deleted, writable and executable, an issue.
    Alert,
}

/// Where the text goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences are wanted.
    pub is_coloured: bool,
    /// Columns of the terminal; `None` when there is none, and then nothing is cut.
    pub width: Option<usize>,
}

impl Style {
    /// The text in its tone.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Id => "36",
            Tone::Alert => "33",
        };
        if self.is_coloured && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text, cut to what is left of the line after `used` columns; `…` says that it was cut.
    pub fn fit(self, used: usize, text: &str) -> String {
        let Some(width) = self.width else { return text.to_owned() };
        let room = width.saturating_sub(used).max(8);
        if text.chars().count() <= room {
            return text.to_owned();
        }
        let mut cut: String = text.chars().take(room.saturating_sub(1)).collect();
        cut.push('…');
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_on_a_terminal_only() {
        let long = "x".repeat(100);
        assert_eq!(Style::default().fit(50, &long), long);
        assert_eq!(Style { width: Some(20), ..Style::default() }.fit(10, &long), "xxxxxxxxx…");
    }

    #[test]
    fn escape_sequences_are_written_only_when_wanted() {
        assert_eq!(Style::default().paint(Tone::Alert, "a"), "a");
        assert_eq!(Style { is_coloured: true, width: None }.paint(Tone::Alert, "a"), "\x1b[33ma\x1b[0m");
    }
}
