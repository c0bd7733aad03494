//! What of an archive has passed while the rest still arrives.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::Limits;

use super::member::Content;
use super::path_index::PathIndex;
use super::{Compression, Delivered, Evidence, Inner, Member, Store};

/// Most bytes of content that are kept for an early look.
const MAX_BYTES: usize = 256 << 20;

/// Collects what [`OpenOptions::on_member`](super::OpenOptions::on_member) shows, and makes evidence of it: an early look
/// at an archive that still unpacks.
#[derive(Debug, Default)]
pub struct Passed {
    members: Vec<Member>,
    data: Vec<u8>,
}

impl Passed {
    /// Takes in a member. One whose content is not shown is listed with none of its bytes there.
    pub fn add(&mut self, member: &Member, content: Option<&Bytes>) {
        let mut member = member.clone();
        member.index = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let content = content.filter(|content| self.data.len().saturating_add(content.len()) <= MAX_BYTES);
        match (content, &member.content) {
            (_, Content::None | Content::BadSparse) => {}
            (Some(content), Content::Range { .. }) => {
                member.content = Content::Range { start: self.data.len() as u64 };
                self.data.extend_from_slice(content);
            }
            _ => {
                member.content = Content::Range { start: 0 };
                member.truncated = Some(0);
            }
        }
        self.members.push(member);
    }

    /// Members so far.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members so far as evidence of the name that the whole has.
    pub fn evidence(&self, name: &str, limits: &Limits) -> Evidence {
        let mut index = PathIndex::default();
        for count in 1..=self.members.len() {
            index.add_last(self.members.get(..count).unwrap_or_default());
        }
        let data = Bytes::from(self.data.clone());
        Evidence(Arc::new(Inner {
            name: name.to_owned(),
            path: None,
            compression: Compression::None,
            size_bytes: data.len() as u64,
            members: self.members.clone(),
            index,
            issues: Vec::new(),
            delivered: Delivered::Bytes(data.clone()),
            store: Store::Archive(data),
            limits: limits.clone(),
        }))
    }
}
