//! Netlink messages in the dumps of addresses, routes, rules and connections of a network namespace.
//!
//! A message is u32 length with the header, u16 type, u16 flags, u32 sequence number, u32 port, then a header of its
//! family, then attributes: u16 length, u16 type, value, padded to 4. CRIU stores what `ip save` and the kernel wrote.
//! Integers are in the byte order of the dumping machine, ports and marks of connection tracking in network order.
//! Source: Linux `include/uapi/linux/{netlink,rtnetlink,if_addr,fib_rules}.h`, `nfnetlink_conntrack.h`.

use std::net::IpAddr;

use bytes::Bytes;
use serde_json::{Map, Value, json as value};

use crate::base::{self, ByteOrder, Cursor};

use super::crit_text::base64_lines;
use super::error::{DecodeErrorKind, Decoded, Issues};
use super::img::{Ctx, Img};
use super::kinds::Framing;
use super::payload::Content;
use super::raw;

/// Nesting of attributes in attributes that is followed.
const MAX_NESTING: usize = 4;
/// Most messages of one image: more addresses, routes or connections than any machine dumps.
const MAX_MESSAGES: usize = 1_000_000;
/// Length of the header of a message.
const HEADER: u64 = 16;

/// A netlink message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NlMsg {
    /// Offset of its length word in the image.
    pub offset: u64,
    /// `RTM_NEWADDR` 20, `RTM_NEWROUTE` 24, `RTM_NEWRULE` 32, connection tracking 0x100.
    pub msg_type: u16,
    /// Flags of netlink, not of the object.
    pub flags: u16,
    /// All after the header.
    pub body: Bytes,
    order: ByteOrder,
}

/// The messages of a dump of addresses, routes, rules or connections.
pub fn netlink(img: &Img, ctx: &Ctx) -> Decoded<Vec<NlMsg>> {
    let mut issues = Issues::new(ctx.limits.max_issues_per_img);
    let mut out = Vec::new();
    match img.kind {
        Some(kind) if kind.framing == Framing::Raw => {
            let (parts, res) = raw::parts(img, kind, ctx);
            for part in &parts {
                if let Content::Netlink { bytes, align } = &part.content {
                    let (found, err) = messages(bytes, part.offset, *align, ctx.order);
                    out.extend(found);
                    if let Some((offset, err)) = err {
                        issues.push(img.error(offset, err));
                    }
                }
            }
            if let Err((offset, err)) = res {
                issues.push(img.error(offset, err));
            }
        }
        kind => {
            let found = kind.map_or("records of an unknown kind", |kind| kind.entry);
            issues.push(img.error(0, DecodeErrorKind::WrongKind { wanted: "netlink messages", found }));
        }
    }
    Decoded { value: out, issues: issues.finish(), unknown: Vec::new() }
}

/// The messages up to the first whose length makes no sense, and the error there.
pub(super) fn messages(
    bytes: &Bytes,
    start: u64,
    align: u64,
    order: ByteOrder,
) -> (Vec<NlMsg>, Option<(u64, DecodeErrorKind)>) {
    let mut cursor = Cursor::new(bytes, order);
    let mut out = Vec::new();
    while !cursor.is_empty() && out.len() < MAX_MESSAGES {
        let offset = start.saturating_add(cursor.offset());
        let left = cursor.left();
        match message(&mut cursor, bytes, offset, order) {
            Ok(found) => out.push(found),
            Err(len) => return (out, Some((offset, DecodeErrorKind::NetlinkLength { len, left }))),
        }
        let padded = cursor.offset().checked_next_multiple_of(align).unwrap_or(u64::MAX);
        let padding = padded.saturating_sub(cursor.offset()).min(cursor.left());
        let _ = cursor.take(padding, "padding");
    }
    (out, None)
}

fn message(cursor: &mut Cursor<'_>, bytes: &Bytes, offset: u64, order: ByteOrder) -> Result<NlMsg, u32> {
    let len = cursor.u32("netlink message").map_err(|_short| 0_u32)?;
    let header = || -> Option<(u16, u16, Bytes)> {
        let body_len = u64::from(len).checked_sub(HEADER)?;
        let mut ahead = cursor.clone();
        let msg_type = ahead.u16("netlink type").ok()?;
        let flags = ahead.u16("netlink flags").ok()?;
        ahead.take(8, "netlink header").ok()?;
        let body = bytes.slice_ref(ahead.take(body_len, "netlink body").ok()?);
        *cursor = ahead;
        Some((msg_type, flags, body))
    };
    let (msg_type, flags, body) = { header }().ok_or(len)?;
    Ok(NlMsg { offset, msg_type, flags, body, order })
}

/// An attribute: its type without the bits for nesting and byte order, and its value.
pub type Attr<'a> = (u16, &'a [u8]);

/// The attributes in a piece of a message, up to the first whose length makes no sense.
pub fn attrs(bytes: &[u8], order: ByteOrder) -> impl Iterator<Item = Attr<'_>> {
    let mut cursor = Cursor::new(bytes, order);
    std::iter::from_fn(move || {
        let len = u64::from(cursor.u16("attribute length").ok()?);
        let attr_type = cursor.u16("attribute type").ok()? & 0x3fff;
        let value = cursor.take(len.checked_sub(4)?, "attribute").ok()?;
        let padded = len.checked_next_multiple_of(4)?;
        let padding = padded.saturating_sub(len).min(cursor.left());
        cursor.take(padding, "padding").ok()?;
        Some((attr_type, value))
    })
}

impl NlMsg {
    /// The bytes before the attributes.
    fn family_header(&self) -> &[u8] {
        let len = match self.msg_type {
            20 => 8,
            24 | 32 => 12,
            16 => 16,
            _ => 4,
        };
        self.body.get(..len).unwrap_or(&self.body)
    }

    fn byte(&self, at: usize) -> u8 {
        self.family_header().get(at).copied().unwrap_or(0)
    }

    fn word(&self, at: usize) -> u32 {
        self.family_header().get(at..).and_then(|rest| Cursor::new(rest, self.order).u32("word").ok()).unwrap_or(0)
    }

    /// Address family: 2 IPv4, 10 IPv6.
    pub fn family(&self) -> u8 {
        self.byte(0)
    }

    /// The attributes.
    pub fn attrs(&self) -> impl Iterator<Item = Attr<'_>> {
        attrs(self.body.get(self.family_header().len()..).unwrap_or_default(), self.order)
    }

    fn attr(&self, wanted: u16) -> Option<&[u8]> {
        self.attrs().find(|(attr_type, _)| *attr_type == wanted).map(|(_, value)| value)
    }

    fn attr_u32(&self, wanted: u16) -> Option<u32> {
        Cursor::new(self.attr(wanted)?, self.order).u32("number").ok()
    }

    fn attr_ip(&self, wanted: u16) -> Option<IpAddr> {
        ip(self.attr(wanted)?)
    }

    /// An interface address, if this is one (`ifaddr-N.img`).
    pub fn address(&self) -> Option<Address> {
        (self.msg_type == 20).then(|| Address {
            address: self.attr_ip(2).or_else(|| self.attr_ip(1)),
            prefix_len: self.byte(1),
            broadcast: self.attr_ip(4),
            label: self.attr(3).map(|label| Bytes::copy_from_slice(until_nul(label))),
            ifindex: self.word(4),
            scope: self.byte(3),
        })
    }

    /// A route, if this is one (`route-N.img`, `route6-N.img`).
    pub fn route(&self) -> Option<Route> {
        (self.msg_type == 24).then(|| Route {
            dst: self.attr_ip(1),
            dst_len: self.byte(1),
            gateway: self.attr_ip(5),
            prefsrc: self.attr_ip(7),
            oif: self.attr_u32(4),
            priority: self.attr_u32(6),
            table: self.attr_u32(15).unwrap_or_else(|| u32::from(self.byte(4))),
            protocol: self.byte(5),
            scope: self.byte(6),
            route_type: self.byte(7),
        })
    }

    /// A routing rule, if this is one (`rule-N.img`).
    pub fn rule(&self) -> Option<Rule> {
        let name = |attr: u16| self.attr(attr).map(|name| Bytes::copy_from_slice(until_nul(name)));
        (self.msg_type == 32).then(|| Rule {
            priority: self.attr_u32(6).unwrap_or(0),
            src: self.attr_ip(2),
            src_len: self.byte(2),
            dst: self.attr_ip(1),
            dst_len: self.byte(1),
            iif: name(3),
            oif: name(17),
            fwmark: self.attr_u32(10),
            table: self.attr_u32(15).unwrap_or_else(|| u32::from(self.byte(4))),
            action: self.byte(7),
        })
    }
}

/// Address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address itself; of a point-to-point link the near end.
    pub address: Option<IpAddr>,
    /// Length of the network part in bits.
    pub prefix_len: u8,
    /// Broadcast address.
    pub broadcast: Option<IpAddr>,
    /// Label, usually the name of the interface.
    pub label: Option<Bytes>,
    /// Index of the interface.
    pub ifindex: u32,
    /// 0 global, 253 link, 254 host.
    pub scope: u8,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; `None` is the default route.
    pub dst: Option<IpAddr>,
    /// Length of the network part in bits.
    pub dst_len: u8,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Preferred source address.
    pub prefsrc: Option<IpAddr>,
    /// Index of the interface it leaves by.
    pub oif: Option<u32>,
    /// Metric.
    pub priority: Option<u32>,
    /// 254 main, 255 local.
    pub table: u32,
    /// Who made it: 2 kernel, 3 boot, 4 static.
    pub protocol: u8,
    /// 0 global, 253 link, 254 host.
    pub scope: u8,
    /// 1 unicast, 2 local, 3 broadcast, 5 multicast, 6 blackhole, 7 unreachable, 8 prohibit.
    pub route_type: u8,
}

/// A routing rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Lower comes first.
    pub priority: u32,
    /// Source it applies to.
    pub src: Option<IpAddr>,
    /// Length of the source network in bits.
    pub src_len: u8,
    /// Destination it applies to.
    pub dst: Option<IpAddr>,
    /// Length of the destination network in bits.
    pub dst_len: u8,
    /// Name of the interface packets come from.
    pub iif: Option<Bytes>,
    /// Name of the interface packets leave by.
    pub oif: Option<Bytes>,
    /// Mark of packets it applies to.
    pub fwmark: Option<u32>,
    /// Table it leads to.
    pub table: u32,
    /// 1 look into the table, 6 blackhole, 7 unreachable, 8 prohibit.
    pub action: u8,
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// How the value of an attribute reads.
#[derive(Clone, Copy, Debug)]
enum Form {
    Ip,
    U32,
    U8,
    Text,
    /// In network order.
    Be,
    Bytes,
    Nested(&'static [(u16, &'static str, Form)]),
}

type Forms = &'static [(u16, &'static str, Form)];

const ADDRESS: Forms = &[
    (1, "IFA_ADDRESS", Form::Ip),
    (2, "IFA_LOCAL", Form::Ip),
    (3, "IFA_LABEL", Form::Text),
    (4, "IFA_BROADCAST", Form::Ip),
    (5, "IFA_ANYCAST", Form::Ip),
    (6, "IFA_CACHEINFO", Form::Bytes),
    (8, "IFA_FLAGS", Form::U32),
    (9, "IFA_RT_PRIORITY", Form::U32),
    (11, "IFA_PROTO", Form::U8),
];

const ROUTE: Forms = &[
    (1, "RTA_DST", Form::Ip),
    (2, "RTA_SRC", Form::Ip),
    (3, "RTA_IIF", Form::U32),
    (4, "RTA_OIF", Form::U32),
    (5, "RTA_GATEWAY", Form::Ip),
    (6, "RTA_PRIORITY", Form::U32),
    (7, "RTA_PREFSRC", Form::Ip),
    (8, "RTA_METRICS", Form::Bytes),
    (9, "RTA_MULTIPATH", Form::Bytes),
    (11, "RTA_FLOW", Form::U32),
    (12, "RTA_CACHEINFO", Form::Bytes),
    (15, "RTA_TABLE", Form::U32),
    (16, "RTA_MARK", Form::U32),
    (18, "RTA_VIA", Form::Bytes),
    (20, "RTA_PREF", Form::U8),
    (23, "RTA_EXPIRES", Form::U32),
    (25, "RTA_UID", Form::U32),
    (30, "RTA_NH_ID", Form::U32),
];

const RULE: Forms = &[
    (1, "FRA_DST", Form::Ip),
    (2, "FRA_SRC", Form::Ip),
    (3, "FRA_IIFNAME", Form::Text),
    (4, "FRA_GOTO", Form::U32),
    (6, "FRA_PRIORITY", Form::U32),
    (10, "FRA_FWMARK", Form::U32),
    (11, "FRA_FLOW", Form::U32),
    (13, "FRA_SUPPRESS_IFGROUP", Form::U32),
    (14, "FRA_SUPPRESS_PREFIXLEN", Form::U32),
    (15, "FRA_TABLE", Form::U32),
    (16, "FRA_FWMASK", Form::U32),
    (17, "FRA_OIFNAME", Form::Text),
    (19, "FRA_L3MDEV", Form::U8),
    (20, "FRA_UID_RANGE", Form::Bytes),
    (21, "FRA_PROTOCOL", Form::U8),
    (22, "FRA_IP_PROTO", Form::U8),
    (23, "FRA_SPORT_RANGE", Form::Bytes),
    (24, "FRA_DPORT_RANGE", Form::Bytes),
];

const TUPLE_IP: Forms = &[
    (1, "CTA_IP_V4_SRC", Form::Ip),
    (2, "CTA_IP_V4_DST", Form::Ip),
    (3, "CTA_IP_V6_SRC", Form::Ip),
    (4, "CTA_IP_V6_DST", Form::Ip),
];

const TUPLE_PROTO: Forms = &[
    (1, "CTA_PROTO_NUM", Form::U8),
    (2, "CTA_PROTO_SRC_PORT", Form::Be),
    (3, "CTA_PROTO_DST_PORT", Form::Be),
    (4, "CTA_PROTO_ICMP_ID", Form::Be),
    (5, "CTA_PROTO_ICMP_TYPE", Form::U8),
    (6, "CTA_PROTO_ICMP_CODE", Form::U8),
];

const TUPLE: Forms = &[(1, "CTA_TUPLE_IP", Form::Nested(TUPLE_IP)), (2, "CTA_TUPLE_PROTO", Form::Nested(TUPLE_PROTO))];

const COUNTERS: Forms = &[(1, "CTA_COUNTERS_PACKETS", Form::Be), (2, "CTA_COUNTERS_BYTES", Form::Be)];

const CONNECTION: Forms = &[
    (1, "CTA_TUPLE_ORIG", Form::Nested(TUPLE)),
    (2, "CTA_TUPLE_REPLY", Form::Nested(TUPLE)),
    (3, "CTA_STATUS", Form::Be),
    (4, "CTA_PROTOINFO", Form::Bytes),
    (7, "CTA_TIMEOUT", Form::Be),
    (8, "CTA_MARK", Form::Be),
    (9, "CTA_COUNTERS_ORIG", Form::Nested(COUNTERS)),
    (10, "CTA_COUNTERS_REPLY", Form::Nested(COUNTERS)),
    (11, "CTA_USE", Form::Be),
    (12, "CTA_ID", Form::Be),
    (14, "CTA_TUPLE_MASTER", Form::Nested(TUPLE)),
    (18, "CTA_ZONE", Form::Be),
];

/// A message as a JSON object, attributes by the kernel's names.
pub(super) fn json(msg: &NlMsg) -> Value {
    let (name, forms): (Value, Forms) = match msg.msg_type {
        20 => ("RTM_NEWADDR".into(), ADDRESS),
        24 => ("RTM_NEWROUTE".into(), ROUTE),
        32 => ("RTM_NEWRULE".into(), RULE),
        0x100 => ("IPCTNL_MSG_CT_NEW".into(), CONNECTION),
        0x200 => ("IPCTNL_MSG_EXP_NEW".into(), CONNECTION),
        other => (other.into(), &[]),
    };
    let family: Value = match msg.family() {
        2 => "INET".into(),
        10 => "INET6".into(),
        other => other.into(),
    };
    let mut map = Map::new();
    map.insert("type".to_owned(), name);
    map.insert("flags".to_owned(), format!("{:#x}", msg.flags).into());
    map.insert("family".to_owned(), family);
    let named: &[(&str, u32)] = match msg.msg_type {
        20 => &[
            ("prefixlen", u32::from(msg.byte(1))),
            ("flags", u32::from(msg.byte(2))),
            ("scope", u32::from(msg.byte(3))),
            ("index", msg.word(4)),
        ],
        24 => &[
            ("dst_len", u32::from(msg.byte(1))),
            ("src_len", u32::from(msg.byte(2))),
            ("tos", u32::from(msg.byte(3))),
            ("table", u32::from(msg.byte(4))),
            ("protocol", u32::from(msg.byte(5))),
            ("scope", u32::from(msg.byte(6))),
            ("type", u32::from(msg.byte(7))),
            ("flags", msg.word(8)),
        ],
        32 => &[
            ("dst_len", u32::from(msg.byte(1))),
            ("src_len", u32::from(msg.byte(2))),
            ("tos", u32::from(msg.byte(3))),
            ("table", u32::from(msg.byte(4))),
            ("action", u32::from(msg.byte(7))),
            ("flags", msg.word(8)),
        ],
        _ => &[],
    };
    let header: Map<_, _> = named.iter().map(|(name, number)| ((*name).to_owned(), (*number).into())).collect();
    if !header.is_empty() {
        map.insert("header".to_owned(), header.into());
    }
    map.insert("attributes".to_owned(), attrs_json(msg.attrs(), forms, msg.order, MAX_NESTING));
    Value::Object(map)
}

fn attrs_json<'a>(attrs: impl Iterator<Item = Attr<'a>>, forms: Forms, order: ByteOrder, nesting: usize) -> Value {
    let mut map = Map::new();
    for (attr_type, bytes) in attrs {
        let known = forms.iter().find(|(number, ..)| *number == attr_type);
        let (name, form) =
            known.map_or((attr_type.to_string(), Form::Bytes), |(_, name, form)| ((*name).to_owned(), *form));
        map.insert(name, attr_json(bytes, form, order, nesting));
    }
    map.into()
}

fn attr_json(bytes: &[u8], form: Form, order: ByteOrder, nesting: usize) -> Value {
    let plain = || -> Option<Value> {
        match form {
            Form::Ip => ip(bytes).map(|ip| ip.to_string().into()),
            Form::U32 => Cursor::new(bytes, order).u32("number").ok().map(Value::from),
            Form::U8 => bytes.first().copied().map(Value::from),
            Form::Text => Some(base::escape(until_nul(bytes)).into()),
            Form::Be => match bytes.len() {
                2 => Cursor::new(bytes, ByteOrder::Big).u16("number").ok().map(Value::from),
                4 => Cursor::new(bytes, ByteOrder::Big).u32("number").ok().map(Value::from),
                _ => Cursor::new(bytes, ByteOrder::Big).u64("number").ok().map(Value::from),
            },
            Form::Bytes => None,
            Form::Nested(forms) => {
                let nesting = nesting.checked_sub(1)?;
                Some(attrs_json(attrs(bytes, order), forms, order, nesting))
            }
        }
    };
    plain().unwrap_or_else(|| value!(base64_lines(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &[u8] = &[
        0x22, 0x12, 0x36, 0x47, // magic of a saved address table
        44, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, // RTM_NEWADDR
        2, 8, 0x80, 254, 1, 0, 0, 0, // IPv4, /8, host scope, first interface
        8, 0, 2, 0, 127, 0, 0, 1, // IFA_LOCAL
        7, 0, 3, 0, b'l', b'o', 0, 0, // IFA_LABEL
        4, 0, 99, 0, // an attribute nobody knows
    ];

    fn dump(bytes: &[u8]) -> Decoded<Vec<NlMsg>> {
        netlink(&Img::new("ifaddr-9.img", Bytes::copy_from_slice(bytes)), &Ctx::default())
    }

    #[test]
    fn an_address_is_read() {
        let found = dump(LOOPBACK);
        assert_eq!(found.issues, []);
        let address = found.value[0].address().unwrap();
        assert_eq!(address.address, Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!((address.prefix_len, address.ifindex, address.scope), (8, 1, 254));
        assert_eq!(address.label.as_deref(), Some(&b"lo"[..]));
        assert_eq!(json(&found.value[0])["attributes"]["IFA_LOCAL"], "127.0.0.1");
        assert_eq!(json(&found.value[0])["attributes"]["99"], "");
        assert_eq!(found.value[0].route(), None);
    }

    #[test]
    fn lengths_that_lie_end_the_list_with_an_issue() {
        let mut bytes = LOOPBACK.to_vec();
        bytes.extend([15, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let found = dump(&bytes);
        assert_eq!(found.value.len(), 1);
        assert_eq!(found.issues[0].to_string(), "ifaddr-9.img+0x30: netlink message of 15 bytes, 16 left");
        bytes[4..8].fill(0xff);
        assert_eq!(dump(&bytes).value.len(), 0);
        assert_eq!(dump(&[]).issues, []);
    }

    #[test]
    fn attributes_with_impossible_lengths_end_the_list() {
        assert_eq!(attrs(&[3, 0, 1, 0], ByteOrder::Little).count(), 0);
        assert_eq!(attrs(&[0xff, 0xff, 1, 0], ByteOrder::Little).count(), 0);
        assert_eq!(attrs(&[5, 0, 1, 0, 9], ByteOrder::Little).count(), 1);
    }
}
