//! The look, in one place: colours of both themes, spacing, type, radii.
//!
//! Views ask for a role (`muted`, `accent`, `Tone::Error`), never for a colour. Every text colour
//! has a contrast of at least 4.5 against the surfaces it stands on; the tests hold that.
#![expect(clippy::disallowed_methods, reason = "the one file that makes colours")]

use egui::{Color32, CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, TextStyle, Theme, Vec2, Visuals};

/// Spacing between parts of one thing.
pub const SPACE_XS: f32 = 4.0;
/// Spacing between things.
pub const SPACE_S: f32 = 8.0;
/// Margin inside panels.
pub const SPACE_M: f32 = 12.0;
/// Spacing between groups.
pub const SPACE_L: f32 = 16.0;

/// Height of a row in lists, trees and tables.
pub const ROW_HEIGHT: f32 = 23.0;
/// Height of the header of a table.
pub const HEADER_HEIGHT: f32 = 26.0;
/// Height of toolbars and tab bars.
pub const BAR_HEIGHT: f32 = 30.0;
/// Indent of one level in a tree.
pub const INDENT: f32 = 14.0;
/// Side of an icon.
pub const ICON_SIZE: f32 = 15.0;
/// Width of the label column of property rows.
pub const LABEL_WIDTH: f32 = 148.0;
/// Corner radius of controls.
pub const RADIUS: u8 = 4;

/// Sizes of type.
pub const TEXT_SMALL: f32 = 11.0;
/// Body text.
pub const TEXT_BODY: f32 = 13.0;
/// Monospaced text beside body text.
pub const TEXT_MONO: f32 = 12.0;
/// Title of a section.
pub const TEXT_HEADING: f32 = 15.0;
/// Title of the start screen.
pub const TEXT_TITLE: f32 = 26.0;

/// Meaning of a coloured mark. Never the only sign: a word or an icon stands beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// No meaning.
    #[default]
    Neutral,
    /// Worth a look.
    Accent,
    /// Good.
    Success,
    /// Partly bad.
    Warning,
    /// Bad.
    Error,
}

/// Colours of one theme by role.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// Background of panels.
    pub surface: Color32,
    /// Background of bars around panels.
    pub chrome: Color32,
    /// Background of inputs and of text viewers.
    pub well: Color32,
    /// Background of popups.
    pub popup: Color32,
    /// Lines between things.
    pub line: Color32,
    /// A row under the pointer.
    pub hover: Color32,
    /// A selected row.
    pub selected: Color32,
    /// Every second row.
    pub stripe: Color32,
    /// Text.
    pub text: Color32,
    /// Text that matters most.
    pub strong: Color32,
    /// Text that matters less.
    pub muted: Color32,
    /// Lines of trees and marks that carry no text.
    pub faint: Color32,
    /// Links, the selected, the focused.
    pub accent: Color32,
    /// Good.
    pub success: Color32,
    /// Partly bad.
    pub warning: Color32,
    /// Bad.
    pub error: Color32,
    /// Behind a match of a filter.
    pub highlight: Color32,
    /// Behind a dialog.
    pub backdrop: Color32,
    /// Text on the accent colour.
    pub on_accent: Color32,
    /// Text of bytes.
    pub bytes: ByteTokens,
    /// Words of instructions.
    pub code: CodeTokens,
    /// Fields of structures.
    pub structures: StructureTokens,
    /// Marks of where bytes come from.
    pub origins: OriginTokens,
}

/// Colours of bytes by class.
#[derive(Clone, Copy, Debug)]
pub struct ByteTokens {
    /// 0x00.
    pub zero: Color32,
    /// Printable ASCII and the space.
    pub printable: Color32,
    /// Other ASCII.
    pub control: Color32,
    /// 0x80 to 0xfe.
    pub high: Color32,
    /// 0xff.
    pub ones: Color32,
}

impl ByteTokens {
    /// Of a byte.
    pub fn of(&self, byte: u8) -> Color32 {
        match byte {
            0 => self.zero,
            0x20..=0x7e => self.printable,
            1..=0x7f => self.control,
            0xff => self.ones,
            _ => self.high,
        }
    }
}

/// Colours of the words of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct CodeTokens {
    /// What is done.
    pub mnemonic: Color32,
    /// Jumps, calls, returns, traps.
    pub flow: Color32,
    /// Registers.
    pub register: Color32,
    /// Numbers.
    pub number: Color32,
    /// Words about sizes and shifts, brackets and commas.
    pub keyword: Color32,
}

/// Colours of structures in memory: their fields stand on a tint of it, their names are in it.
#[derive(Clone, Copy, Debug)]
pub struct StructureTokens {
    /// Heads of images.
    pub image: Color32,
    /// Program headers.
    pub segment: Color32,
    /// The list of the dynamic linker.
    pub linker: Color32,
    /// Addresses of sockets.
    pub socket: Color32,
}

impl StructureTokens {
    /// How much of the colour a tint has.
    pub const TINT: f32 = 0.17;
}

/// Colours of where bytes come from. A word stands with them.
#[derive(Clone, Copy, Debug)]
pub struct OriginTokens {
    /// This checkpoint.
    pub dump: Color32,
    /// A parent checkpoint.
    pub parent: Color32,
    /// A shared object or a file.
    pub shared: Color32,
    /// Zeros: they carry nothing, and are paler than what does.
    pub zero: Color32,
    /// Not there: like an empty place.
    pub absent: Color32,
    /// Much information: packed or encrypted.
    pub entropy: Color32,
}

const DARK: Tokens = Tokens {
    surface: Color32::from_rgb(0x17, 0x1a, 0x1f),
    chrome: Color32::from_rgb(0x10, 0x12, 0x16),
    well: Color32::from_rgb(0x0d, 0x0f, 0x12),
    popup: Color32::from_rgb(0x1e, 0x22, 0x29),
    line: Color32::from_rgb(0x2a, 0x2f, 0x38),
    hover: Color32::from_rgb(0x21, 0x26, 0x2e),
    selected: Color32::from_rgb(0x1c, 0x3a, 0x50),
    stripe: Color32::from_rgb(0x1a, 0x1d, 0x23),
    text: Color32::from_rgb(0xd3, 0xd8, 0xe0),
    strong: Color32::from_rgb(0xf3, 0xf5, 0xf8),
    muted: Color32::from_rgb(0x9a, 0xa3, 0xb0),
    faint: Color32::from_rgb(0x4b, 0x53, 0x60),
    accent: Color32::from_rgb(0x5c, 0xbc, 0xef),
    success: Color32::from_rgb(0x63, 0xc7, 0x8d),
    warning: Color32::from_rgb(0xe8, 0xb3, 0x4b),
    error: Color32::from_rgb(0xf7, 0x84, 0x7f),
    highlight: Color32::from_rgb(0x5a, 0x48, 0x12),
    backdrop: Color32::from_black_alpha(0x90),
    on_accent: Color32::from_rgb(0x06, 0x1a, 0x26),
    bytes: ByteTokens {
        zero: Color32::from_rgb(0x82, 0x8b, 0x98),
        printable: Color32::from_rgb(0x86, 0xd8, 0xb0),
        control: Color32::from_rgb(0xe8, 0xb1, 0x6a),
        high: Color32::from_rgb(0xb8, 0xb0, 0xf6),
        ones: Color32::from_rgb(0xef, 0x8f, 0xbd),
    },
    code: CodeTokens {
        mnemonic: Color32::from_rgb(0xf3, 0xf5, 0xf8),
        flow: Color32::from_rgb(0xe8, 0xb1, 0x6a),
        register: Color32::from_rgb(0x86, 0xd8, 0xb0),
        number: Color32::from_rgb(0xb8, 0xb0, 0xf6),
        keyword: Color32::from_rgb(0x9a, 0xa3, 0xb0),
    },
    structures: StructureTokens {
        image: Color32::from_rgb(0xb8, 0xb0, 0xf6),
        segment: Color32::from_rgb(0xe8, 0xb1, 0x6a),
        linker: Color32::from_rgb(0x5c, 0xbc, 0xef),
        socket: Color32::from_rgb(0xef, 0x8f, 0xbd),
    },
    origins: OriginTokens {
        dump: Color32::from_rgb(0x5c, 0xbc, 0xef),
        parent: Color32::from_rgb(0xb8, 0xb0, 0xf6),
        shared: Color32::from_rgb(0x63, 0xc7, 0x8d),
        zero: Color32::from_rgb(0x5a, 0x63, 0x70),
        absent: Color32::from_rgb(0x30, 0x36, 0x40),
        entropy: Color32::from_rgb(0xe8, 0xb3, 0x4b),
    },
};

const LIGHT: Tokens = Tokens {
    surface: Color32::from_rgb(0xfd, 0xfd, 0xfe),
    chrome: Color32::from_rgb(0xee, 0xf1, 0xf4),
    well: Color32::from_rgb(0xf6, 0xf8, 0xfa),
    popup: Color32::from_rgb(0xff, 0xff, 0xff),
    line: Color32::from_rgb(0xd8, 0xdd, 0xe3),
    hover: Color32::from_rgb(0xec, 0xf1, 0xf5),
    selected: Color32::from_rgb(0xcf, 0xe7, 0xf6),
    stripe: Color32::from_rgb(0xf8, 0xf9, 0xfb),
    text: Color32::from_rgb(0x27, 0x2e, 0x37),
    strong: Color32::from_rgb(0x0c, 0x11, 0x18),
    muted: Color32::from_rgb(0x56, 0x60, 0x6d),
    faint: Color32::from_rgb(0xb3, 0xbb, 0xc5),
    accent: Color32::from_rgb(0x0a, 0x64, 0x96),
    success: Color32::from_rgb(0x16, 0x6e, 0x3e),
    warning: Color32::from_rgb(0x83, 0x55, 0x00),
    error: Color32::from_rgb(0xb3, 0x26, 0x1e),
    highlight: Color32::from_rgb(0xff, 0xe7, 0x9a),
    backdrop: Color32::from_black_alpha(0x50),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    bytes: ByteTokens {
        zero: Color32::from_rgb(0x67, 0x70, 0x7c),
        printable: Color32::from_rgb(0x12, 0x6a, 0x3d),
        control: Color32::from_rgb(0x8f, 0x52, 0x00),
        high: Color32::from_rgb(0x5a, 0x3f, 0xb5),
        ones: Color32::from_rgb(0xa8, 0x24, 0x6b),
    },
    code: CodeTokens {
        mnemonic: Color32::from_rgb(0x0c, 0x11, 0x18),
        flow: Color32::from_rgb(0x8f, 0x52, 0x00),
        register: Color32::from_rgb(0x12, 0x6a, 0x3d),
        number: Color32::from_rgb(0x5a, 0x3f, 0xb5),
        keyword: Color32::from_rgb(0x56, 0x60, 0x6d),
    },
    structures: StructureTokens {
        image: Color32::from_rgb(0x5a, 0x3f, 0xb5),
        segment: Color32::from_rgb(0x83, 0x55, 0x00),
        linker: Color32::from_rgb(0x0a, 0x64, 0x96),
        socket: Color32::from_rgb(0xa8, 0x24, 0x6b),
    },
    origins: OriginTokens {
        dump: Color32::from_rgb(0x1b, 0x7c, 0xb4),
        parent: Color32::from_rgb(0x6f, 0x55, 0xc4),
        shared: Color32::from_rgb(0x1d, 0x86, 0x51),
        zero: Color32::from_rgb(0xa9, 0xb2, 0xbd),
        absent: Color32::from_rgb(0xd8, 0xdd, 0xe3),
        entropy: Color32::from_rgb(0xb0, 0x78, 0x0a),
    },
};

impl Tokens {
    /// Of the theme that `visuals` belong to.
    pub fn of(visuals: &Visuals) -> &'static Tokens {
        if visuals.dark_mode { &DARK } else { &LIGHT }
    }

    /// Of the theme that `ui` is drawn in.
    pub fn get(ui: &egui::Ui) -> &'static Tokens {
        Tokens::of(ui.visuals())
    }

    /// Colour of text and marks with this meaning.
    pub fn tone(&self, tone: Tone) -> Color32 {
        match tone {
            Tone::Neutral => self.muted,
            Tone::Accent => self.accent,
            Tone::Success => self.success,
            Tone::Warning => self.warning,
            Tone::Error => self.error,
        }
    }
}

/// Body text in the heavier cut.
pub fn strong_font(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(super::fonts::STRONG.into()))
}

/// Body text.
pub fn body_font() -> FontId {
    FontId::proportional(TEXT_BODY)
}

/// Small text.
pub fn small_font() -> FontId {
    FontId::proportional(TEXT_SMALL)
}

/// Monospaced text.
pub fn mono_font() -> FontId {
    FontId::monospace(TEXT_MONO)
}

/// An icon.
pub fn icon_font(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(super::fonts::ICONS.into()))
}

/// Gives both themes of `ctx` our look.
pub fn install(ctx: &egui::Context) {
    for (theme, tokens) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| style_for(style, theme, tokens));
    }
}

fn style_for(style: &mut egui::Style, theme: Theme, tokens: &Tokens) {
    style.text_styles = [
        (TextStyle::Small, small_font()),
        (TextStyle::Body, body_font()),
        (TextStyle::Button, body_font()),
        (TextStyle::Monospace, mono_font()),
        (TextStyle::Heading, strong_font(TEXT_HEADING)),
    ]
    .into();
    style.animation_time = 0.08;
    style.interaction.tooltip_delay = 0.4;
    style.interaction.selectable_labels = false;
    style.spacing.item_spacing = Vec2::new(SPACE_S, SPACE_XS);
    style.spacing.button_padding = Vec2::new(SPACE_S, 3.0);
    style.spacing.menu_margin = Margin::same(6);
    style.spacing.window_margin = Margin::same(SPACE_M as i8);
    style.spacing.interact_size = Vec2::new(32.0, 24.0);
    style.spacing.menu_width = 260.0;
    style.spacing.icon_spacing = SPACE_XS;
    style.spacing.scroll = egui::style::ScrollStyle { bar_width: 8.0, ..egui::style::ScrollStyle::thin() };
    style.visuals = visuals_for(theme, tokens);
}

fn visuals_for(theme: Theme, tokens: &Tokens) -> Visuals {
    let mut visuals = theme.default_visuals();
    let radius = CornerRadius::same(RADIUS);
    let shadow = Shadow {
        offset: [0, 4],
        blur: 16,
        spread: 0,
        color: Color32::from_black_alpha(if visuals.dark_mode { 110 } else { 40 }),
    };
    visuals.panel_fill = tokens.surface;
    visuals.window_fill = tokens.popup;
    visuals.window_stroke = Stroke::new(1.0, tokens.line);
    visuals.window_corner_radius = CornerRadius::same(8);
    visuals.menu_corner_radius = CornerRadius::same(6);
    visuals.window_shadow = shadow;
    visuals.popup_shadow = shadow;
    visuals.extreme_bg_color = tokens.well;
    visuals.text_edit_bg_color = Some(tokens.well);
    visuals.faint_bg_color = tokens.stripe;
    visuals.code_bg_color = tokens.well;
    visuals.hyperlink_color = tokens.accent;
    visuals.warn_fg_color = tokens.warning;
    visuals.error_fg_color = tokens.error;
    visuals.weak_text_color = Some(tokens.muted);
    visuals.selection.bg_fill = tokens.selected;
    visuals.selection.stroke = Stroke::new(1.0, tokens.accent);
    visuals.indent_has_left_vline = false;
    visuals.striped = false;
    let widgets = &mut visuals.widgets;
    for (widget, fill, stroke, text) in [
        (&mut widgets.noninteractive, tokens.surface, tokens.line, tokens.text),
        (&mut widgets.inactive, tokens.hover, tokens.line, tokens.text),
        (&mut widgets.hovered, tokens.line, tokens.faint, tokens.strong),
        (&mut widgets.active, tokens.selected, tokens.accent, tokens.strong),
        (&mut widgets.open, tokens.hover, tokens.faint, tokens.strong),
    ] {
        widget.bg_fill = fill;
        widget.weak_bg_fill = fill;
        widget.bg_stroke = Stroke::new(1.0, stroke);
        widget.fg_stroke = Stroke::new(1.0, text);
        widget.corner_radius = radius;
        widget.expansion = 0.0;
    }
    visuals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2 relative luminance.
    fn luminance(color: Color32) -> f64 {
        let channel = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(color.r()) + 0.7152 * channel(color.g()) + 0.0722 * channel(color.b())
    }

    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_has_enough_contrast_on_every_surface() {
        for (theme, tokens) in [("dark", DARK), ("light", LIGHT)] {
            let surfaces = [
                ("surface", tokens.surface),
                ("chrome", tokens.chrome),
                ("well", tokens.well),
                ("popup", tokens.popup),
                ("hover", tokens.hover),
                ("stripe", tokens.stripe),
                ("selected", tokens.selected),
            ];
            let texts = [
                ("text", tokens.text),
                ("strong", tokens.strong),
                ("muted", tokens.muted),
                ("accent", tokens.accent),
                ("success", tokens.success),
                ("warning", tokens.warning),
                ("error", tokens.error),
            ];
            for (surface, background) in surfaces {
                for (text, foreground) in texts {
                    let contrast = contrast(foreground, background);
                    assert!(contrast >= 4.5, "{theme}: {text} on {surface} has {contrast:.2}");
                }
            }
            let bytes = &tokens.bytes;
            for byte in [bytes.zero, bytes.printable, bytes.control, bytes.high, bytes.ones] {
                for background in [tokens.surface, tokens.well, tokens.stripe] {
                    let contrast = contrast(byte, background);
                    assert!(contrast >= 4.5, "{theme}: byte {byte:?} has {contrast:.2}");
                }
            }
            let code = &tokens.code;
            for word in [code.mnemonic, code.flow, code.register, code.number, code.keyword] {
                for background in [tokens.surface, tokens.stripe, tokens.selected] {
                    let contrast = contrast(word, background);
                    assert!(contrast >= 4.5, "{theme}: word {word:?} has {contrast:.2}");
                }
            }
            let structures = &tokens.structures;
            for color in [structures.image, structures.segment, structures.linker, structures.socket] {
                assert!(contrast(color, tokens.surface) >= 4.5, "{theme}: {color:?} as a name");
                let tint = color.gamma_multiply(StructureTokens::TINT);
                let over =
                    |tint: u8, below: u8| tint.saturating_add((f32::from(below) * (1.0 - StructureTokens::TINT)) as u8);
                let below = tokens.surface;
                let tinted =
                    Color32::from_rgb(over(tint.r(), below.r()), over(tint.g(), below.g()), over(tint.b(), below.b()));
                for byte in [bytes.zero, bytes.printable, bytes.control, bytes.high, bytes.ones] {
                    let contrast = contrast(byte, tinted);
                    assert!(contrast >= 3.4, "{theme}: byte {byte:?} on a tint of {color:?} has {contrast:.2}");
                }
            }
            let origins = &tokens.origins;
            for mark in [origins.dump, origins.parent, origins.shared, origins.entropy] {
                for background in [tokens.surface, tokens.well] {
                    let contrast = contrast(mark, background);
                    assert!(contrast >= 3.0, "{theme}: mark {mark:?} has {contrast:.2}");
                }
            }
            assert!(contrast(tokens.strong, tokens.selected) >= 4.5);
            assert!(contrast(tokens.text, tokens.highlight) >= 4.5);
            assert!(contrast(tokens.on_accent, tokens.accent) >= 4.5);
        }
    }
}
