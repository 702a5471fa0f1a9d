//! Addresses of networks and cards, and uuid.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Texts, constants, weighted};
use crate::seed::check::Hints;
use crate::seed::choices::Choices;

pub(super) fn texts(name: &str, hints: &Hints) -> Option<Texts> {
    Some(match name {
        // A host overlaps no other.
        "inet" if hints.sparse => Texts::new(|choices, out| {
            let _ = write!(out, "{}", v4(choices));
        }),
        "inet" => weighted([
            (
                6,
                Texts::new(|choices, out| {
                    let _ = write!(out, "{}", v4(choices));
                }),
            ),
            (
                2,
                Texts::new(|choices, out| {
                    let _ = write!(out, "{}/{}", v4(choices), choices.below(33));
                }),
            ),
            (
                2,
                Texts::new(|choices, out| {
                    let bits = u128::from(choices.bits()) << 64 | u128::from(choices.bits());
                    let _ = write!(out, "{}", Ipv6Addr::from_bits(bits));
                }),
            ),
            (
                1,
                constants(&["0.0.0.0", "255.255.255.255", "127.0.0.1/8", "::", "::1"]),
            ),
        ]),
        "cidr" => weighted([
            (
                6,
                Texts::new(|choices, out| {
                    // A network: no bit is set to the right of the mask.
                    let mask = 1 + choices.below(32) as u32;
                    let ip = v4(choices).to_bits() & (u32::MAX << (32 - mask));
                    let _ = write!(out, "{}/{mask}", Ipv4Addr::from_bits(ip));
                }),
            ),
            (
                1,
                constants(&["0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32", "::/0"]),
            ),
        ]),
        "macaddr" => Texts::new(|choices, out| card(choices, out, 6)),
        "macaddr8" => Texts::new(|choices, out| card(choices, out, 8)),
        "uuid" => weighted([
            (40, Texts::new(uuid)),
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

fn v4(choices: &mut Choices) -> Ipv4Addr {
    Ipv4Addr::from_bits(choices.below(1 << 32) as u32)
}

fn card(choices: &mut Choices, out: &mut String, len: usize) {
    let bytes = choices.bits().to_be_bytes();
    for (at, byte) in bytes.iter().take(len).enumerate() {
        let colon = if at > 0 { ":" } else { "" };
        let _ = write!(out, "{colon}{byte:02x}");
    }
}

/// Version and variant as a random uuid has them.
fn uuid(choices: &mut Choices, out: &mut String) {
    let high = choices.bits() & !0xf000 | 0x4000;
    let low = choices.bits() & !(0b11 << 62) | 0b10 << 62;
    for (number, dashes) in [(high, [8, 12]), (low, [0, 4])] {
        for at in 0..16 {
            if dashes.contains(&at) {
                out.push('-');
            }
            let digit = (number >> (60 - 4 * at)) & 0xf;
            out.push(char::from(b"0123456789abcdef"[digit as usize]));
        }
    }
}
