//! Addresses of networks and cards, and uuid.

use proptest::array::{uniform6, uniform8, uniform16};
use proptest::num::u8::ANY;
use proptest::strategy::Strategy;

use super::{Texts, constants, weighted};

pub(super) fn texts(name: &str) -> Option<Texts> {
    Some(match name {
        "inet" => weighted([
            (6, (0_u32..=u32::MAX).prop_map(v4).sboxed()),
            (
                2,
                (0_u32..=u32::MAX, 0_u8..=32)
                    .prop_map(|(ip, mask)| format!("{}/{mask}", v4(ip)))
                    .sboxed(),
            ),
            (
                2,
                uniform16(ANY)
                    .prop_map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
                    .sboxed(),
            ),
            (
                1,
                constants(&["0.0.0.0", "255.255.255.255", "127.0.0.1/8", "::", "::1"]),
            ),
        ]),
        "cidr" => weighted([
            (
                6,
                (0_u32..=u32::MAX, 1_u32..=32)
                    .prop_map(|(ip, mask)| cidr(ip, mask))
                    .sboxed(),
            ),
            (
                1,
                constants(&["0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32", "::/0"]),
            ),
        ]),
        "macaddr" => uniform6(ANY).prop_map(|bytes| hex(&bytes, ":")).sboxed(),
        "macaddr8" => uniform8(ANY).prop_map(|bytes| hex(&bytes, ":")).sboxed(),
        "uuid" => weighted([
            (40, uniform16(ANY).prop_map(uuid).sboxed()),
            (
                1,
                constants(&[
                    "00000000-0000-0000-0000-000000000000",
                    "ffffffff-ffff-ffff-ffff-ffffffffffff",
                ]),
            ),
        ]),
        _ => return None,
    })
}

fn v4(ip: u32) -> String {
    std::net::Ipv4Addr::from(ip).to_string()
}

/// A network: no bit is set to the right of the mask.
fn cidr(ip: u32, mask: u32) -> String {
    format!("{}/{mask}", v4(ip & (u32::MAX << (32 - mask))))
}

fn hex(bytes: &[u8], separator: &str) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(separator)
}

/// Version and variant as a random uuid has them.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes, "");
    let (a, rest) = digits.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}
