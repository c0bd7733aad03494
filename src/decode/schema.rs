//! The messages of CRIU's image files as Rust types, generated from `assets/schema`, and their descriptors.
//!
//! A field that CRIU declares as `string` is `bytes` here, because paths and names may hold any bytes; the option
//! `(show).text` marks it. Enums are plain numbers with an accessor, so that a number we do not know survives.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

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
}
