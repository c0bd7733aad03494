//! The parts that panels are made of. Panels draw no colours and no frames of their own.
//!
//! | widget | for |
//! |---|---|
//! | [`section_header`], [`property`] | a card: a title, then rows of label and value |
//! | [`ListRow`] | one row of a list or tree |
//! | [`Table`] | many rows: virtual, sorted, filtered, walked by keys |
//! | [`FilterBox`] | a filter with its count, and match highlighting |
//! | [`link`], [`link_at`], [`target_link`] | a name that leads to its object |
//! | [`badge`] | a short word with a meaning |
//! | [`icon_button`], [`button`] | things to press |
//! | [`HexView`], [`TextView`], [`JsonView`] | bytes, text, JSON |
//! | [`BytesView`] | bytes as text or hex, to copy and to save |
//! | [`Follow`], [`split_detail`] | a list with details of what is selected |
//! | [`tab_strip`] | tabs inside a panel |
//! | [`empty_state`], [`Loading`] | nothing there, and what to do; not there yet |

mod badge;
mod buttons;
mod bytes_view;
mod detail;
mod empty;
mod filter;
mod hex;
mod json;
mod link;
mod loading;
mod order;
mod property;
mod row;
mod section;
mod tab_strip;
mod table;
mod text_view;
mod walk;

pub use badge::badge;
pub use buttons::{button, icon_button, icon_menu, paint_icon, primary_button, toggle_button};
pub use bytes_view::{BytesView, bytes_height};
pub use detail::{Follow, Side, detail_page, detail_sides, detail_title, link_row, split_detail};
pub use empty::{empty_state, no_archive};
pub use filter::{FilterBox, contains_ignore_case, highlighted};
pub use hex::HexView;
pub use json::JsonView;
pub use link::{link, link_at, link_mono, target_link};
pub use loading::Loading;
pub use property::{Value, absent, mono_text, property, property_field, property_phrase, property_ui};
pub use row::{ListRow, RowResponse};
pub use section::{section, section_header};
pub use tab_strip::{Tab, tab_strip};
pub use table::{Cell, Column, Table, TableRows, TableState};
pub use text_view::TextView;
pub use walk::{list_focus, walk};
