//! One entry for fuzzing and property tests: everything this module does with a file.

use bytes::Bytes;

use crate::base::{Limits, PageSize};

use super::{Ctx, Img, crit_json, ghost, netlink, pagemap, raw, typed};

/// Decodes bytes under a file name in every way there is. Must not panic, nor allocate more than a few times their
/// length.
pub fn fuzz_img(name: &str, bytes: &[u8]) {
    let img = Img::new(name, Bytes::copy_from_slice(bytes));
    let (ctx, _) = Ctx::detect(&img, &Limits::default());
    let order = Ctx::order_of(bytes).unwrap_or(ctx.order);
    let ctx = Ctx { order, ..ctx };
    let _ = raw::raw(&img, &ctx);
    let _ = crit_json(&img, &ctx);
    let _ = pagemap::pagemap(&img, &ctx, PageSize::DEFAULT);
    let _ = ghost(&img, &ctx);
    for message in netlink::netlink(&img, &ctx).value {
        let _ = (message.address(), message.route(), message.rule());
    }
    let _ = typed::<super::schema::CoreEntry>(&img, &ctx);
    let _ = typed::<super::schema::MmEntry>(&img, &ctx);
    let _ = typed::<super::schema::FileEntry>(&img, &ctx);
    let _ = typed::<super::schema::SkPacketEntry>(&img, &ctx);
    let _ = typed::<super::schema::IpcMsgEntry>(&img, &ctx).value.iter().map(super::ipc_messages).count();
    let _ = typed::<super::schema::CgroupEntry>(&img, &ctx);
}
