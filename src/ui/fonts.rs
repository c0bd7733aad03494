//! The fonts: Inter for text, Hack for addresses and paths, Phosphor for icons.

use std::sync::Arc;

use egui::{FontData, FontDefinitions, FontFamily, FontTweak};

/// Family of the heavier cut of the text font.
pub const STRONG: &str = "strong";
/// Family of the icon font.
pub const ICONS: &str = "icons";

const INTER: &[u8] = include_bytes!("../../assets/fonts/Inter-Regular.otf");
const INTER_SEMIBOLD: &[u8] = include_bytes!("../../assets/fonts/Inter-SemiBold.otf");
const PHOSPHOR: &[u8] = include_bytes!("../../assets/fonts/Phosphor.ttf");

/// Gives `ctx` our fonts; those of egui stay behind them for what ours lack.
pub fn install(ctx: &egui::Context) {
    let mut fonts = FontDefinitions::default();
    let mut add = |name: &str, bytes: &'static [u8], tweak: FontTweak| {
        fonts.font_data.insert(name.into(), Arc::new(FontData::from_static(bytes).tweak(tweak)));
    };
    add("Inter", INTER, FontTweak::default());
    add("Inter SemiBold", INTER_SEMIBOLD, FontTweak::default());
    add("Phosphor", PHOSPHOR, FontTweak::default());
    let behind = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let family = |first: &str| std::iter::once(first.to_owned()).chain(behind.iter().cloned()).collect::<Vec<_>>();
    fonts.families.insert(FontFamily::Proportional, family("Inter"));
    fonts.families.insert(FontFamily::Name(STRONG.into()), family("Inter SemiBold"));
    fonts.families.insert(FontFamily::Name(ICONS.into()), vec!["Phosphor".into()]);
    ctx.set_fonts(fonts);
}
