//! The fonts: Inter for text, Hack for addresses and paths, Phosphor for icons; what these lack comes
//! from fonts of the system, looked up for each script when a character of it is first drawn.

use std::sync::Arc;

use egui::{FallbackRequest, FontData, FontDefinitions, FontFamily, FontProvider as _, FontTweak};
use egui_system_font_provider::SystemFontProvider;

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

/// Lets `ctx` take from the system's fonts what ours lack. Takes as long as the system needs to list
/// its fonts: work for a job, after which nothing that draws has to wait for the list.
pub(super) fn add_system_fonts(ctx: &egui::Context) {
    let provider = SystemFontProvider::new();
    // The first question is answered when the list is there.
    let _ = provider.font_for(&FallbackRequest { cluster: "中", family: &FontFamily::Proportional });
    ctx.add_font_provider(Arc::new(provider));
}
