//! The messages of CRIU's image files as Rust types, generated from `assets/schema`, and their descriptors.
//!
//! A field that CRIU declares as `string` is `bytes` here, because paths and names may hold any bytes; the option
//! `(show).text` marks it. Enums are plain numbers with an accessor, so that a number we do not know survives.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

/// Generated from `assets/schema/*.proto`; each message says there what it is.
#[expect(missing_docs, reason = "field names are those of CRIU, and described in the schema where they need it")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/criu.rs"));
}

pub use generated::*;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let encoded = include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"));
    // Our own build wrote these bytes; a test holds that they decode.
    DescriptorPool::decode(encoded.as_slice()).unwrap_or_default()
});

/// The descriptors of every message, with the `show` options of their fields.
pub fn descriptors() -> &'static DescriptorPool {
    &POOL
}

static SHOWS: LazyLock<HashMap<String, Vec<Show>>> = LazyLock::new(|| {
    let extension = POOL.get_extension_by_name("criu.show");
    let show = |field: FieldDescriptor| {
        let options = field.options();
        let value = options.get_extension(extension.as_ref()?);
        Some((field.number(), value.as_message()?.transcode_to::<Show>().ok()?))
    };
    let shows = POOL.all_messages().map(|message| {
        let mut by_number = Vec::new();
        for (number, show) in message.fields().filter_map(show) {
            let number = usize::try_from(number).unwrap_or(0);
            if by_number.len() <= number {
                by_number.resize(number.saturating_add(1), Show::default());
            }
            if let Some(slot) = by_number.get_mut(number) {
                *slot = show;
            }
        }
        (message.full_name().to_owned(), by_number)
    });
    shows.collect()
});

/// How the fields of a message are shown, by field number; a number that is not there has nothing special.
pub fn shows(message: &MessageDescriptor) -> &'static [Show] {
    SHOWS.get(message.full_name()).map_or(&[], Vec::as_slice)
}

/// How a field is shown.
pub fn show(field: &FieldDescriptor) -> Show {
    let number = usize::try_from(field.number()).unwrap_or(0);
    shows(field.parent_message()).get(number).cloned().unwrap_or_default()
}

/// The descriptor of a message by CRIU's name, as `pstree_entry`.
pub fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&format!("criu.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_a_descriptor() {
        assert!(descriptors().all_messages().count() > 160);
        assert!(message("pstree_entry").is_some());
        assert!(message("no_such_entry").is_none());
    }

    #[test]
    fn options_survive_into_the_descriptors() {
        let field = |message_name: &str, field| show(&message(message_name).unwrap().get_field_by_name(field).unwrap());
        assert_eq!(field("vma_entry", "start").hex, Some(true));
        assert_eq!(field("vma_entry", "prot").flags.as_deref(), Some("mmap.prot"));
        assert_eq!(field("reg_file_entry", "name").text, Some(true));
        assert_eq!(field("vma_entry", "pgoff"), Show::default());
    }
}
