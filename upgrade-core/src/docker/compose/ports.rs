//! `ports`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::field::Field;
use crate::docker::stack::{Port, Protocol};
use crate::error::Result;

const SHORT: &str = "a port such as `80`, `8080:80` or `127.0.0.1:8080:80/tcp`";

pub(super) fn ports(field: &Field<'_>) -> Result<Vec<Port>> {
    let read = |item: &Field<'_>| match item.is_map() {
        true => long(item),
        false => item.parsed(SHORT, short),
    };
    let mut ports = Vec::new();
    for port in field.each(read)?.into_iter().flatten() {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

fn long(item: &Field<'_>) -> Result<Vec<Port>> {
    let fields = item.fields()?;
    let container = fields.required("target")?.parsed("a port", port)?;
    let published = fields.read("published", |field| {
        field.parsed("a port or a range `3000-3005`", |text| {
            if text.is_empty() {
                return Some(None);
            }
            range(text).map(|range| Some(*range.start()))
        })
    });
    let protocol = fields.read("protocol", |field| field.parsed("`tcp` or `udp`", protocol));
    fields.accept(&["app_protocol", "host_ip", "mode", "name"]);
    fields.finish();
    Ok(vec![Port {
        container,
        published: published.flatten(),
        protocol: protocol.unwrap_or(Protocol::Tcp),
    }])
}

/// `[[address:]published:]container[/protocol]`, where ports may be ranges.
fn short(text: &str) -> Option<Vec<Port>> {
    let (text, protocol) = match text.split_once('/') {
        Some((text, name)) => (text, protocol(name)?),
        None => (text, Protocol::Tcp),
    };
    let (text, container) = match text.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, text),
    };
    let container = range(container)?;
    let published = match text {
        None => None,
        Some(text) => {
            let (address, published) = text.rsplit_once(':').unwrap_or(("", text));
            let address = address.trim_start_matches('[').trim_end_matches(']');
            if !address.is_empty() {
                address.parse::<IpAddr>().ok()?;
            }
            // `address::container` publishes at a port that the engine picks.
            if published.is_empty() && !address.is_empty() {
                None
            } else {
                Some(range(published)?)
            }
        }
    };
    let width = |range: &RangeInclusive<u16>| range.end() - range.start();
    let one_by_one = match &published {
        None => false,
        Some(published) if width(published) == width(&container) => true,
        // One port of a range: the engine takes the first that is free.
        Some(_) if width(&container) == 0 => true,
        Some(_) => return None,
    };
    let first = published.map(|range| *range.start());
    let ports = container.clone().map(|port| Port {
        container: port,
        published: first
            .filter(|_| one_by_one)
            .map(|first| first + (port - container.start())),
        protocol,
    });
    Some(ports.collect())
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            (first <= last).then_some(first..=last)
        }
        None => port(text).map(|port| port..=port),
    }
}

fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_syntax() {
        let tcp = |container, published| Port {
            container,
            published,
            protocol: Protocol::Tcp,
        };
        for (text, expected) in [
            ("8080", vec![tcp(8080, None)]),
            ("80:8080", vec![tcp(8080, Some(80))]),
            ("127.0.0.1:80:8080/tcp", vec![tcp(8080, Some(80))]),
            ("[::1]:80:8080", vec![tcp(8080, Some(80))]),
            ("127.0.0.1::8080", vec![tcp(8080, None)]),
            (
                "53:53/udp",
                vec![Port {
                    protocol: Protocol::Udp,
                    ..tcp(53, Some(53))
                }],
            ),
            ("3000-3001", vec![tcp(3000, None), tcp(3001, None)]),
            (
                "3000-3001:80-81",
                vec![tcp(80, Some(3000)), tcp(81, Some(3001))],
            ),
            ("3000-3005:80", vec![tcp(80, Some(3000))]),
            ("65535:65535", vec![tcp(65535, Some(65535))]),
        ] {
            assert_eq!(short(text), Some(expected), "{text}");
        }
        for text in [
            "",
            ":",
            ":80",
            "80:",
            "x",
            "0",
            "65536",
            "+80",
            "80:x",
            "3001-3000",
            "3000-3002:80-81",
            "1-2-3",
            "80/sctp",
            "80/",
            "host:80:80",
            "1.2.3:80:80",
            "1:2:3:4",
        ] {
            assert_eq!(short(text), None, "{text}");
        }
    }
}
