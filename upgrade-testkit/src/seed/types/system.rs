//! Bit strings, positions in the write-ahead log, and the names of catalog objects.

use std::fmt::Write as _;

use super::{Texts, constants};
use crate::seed::check::Hints;

pub(super) fn texts(name: &str, typmod: i32, hints: &Hints) -> Option<Texts> {
    let declared = usize::try_from(typmod).ok();
    let bits = |least: usize, most: usize| {
        Texts::new(move |choices, out| {
            for _ in 0..choices.length(least, most) {
                out.push(if choices.one_in(2) { '1' } else { '0' });
            }
        })
        .with_limits(["1".repeat(most), "0".repeat(least)])
    };
    Some(match name {
        "bit" => bits(declared.unwrap_or(1), declared.unwrap_or(1)),
        "varbit" => {
            let most = declared.unwrap_or(64);
            bits(hints.least_len().min(most), most)
        }
        "pg_lsn" => Texts::new(|choices, out| {
            let _ = write!(
                out,
                "{:X}/{:X}",
                choices.below(0xffff),
                choices.below(1 << 32)
            );
        }),
        "tid" => Texts::new(|choices, out| {
            let _ = write!(out, "({},{})", choices.below(1000), choices.between(1, 99));
        }),
        "pg_snapshot" | "txid_snapshot" => Texts::new(|choices, out| {
            let least = choices.between(1, 999);
            let _ = write!(out, "{least}:{}:", least + choices.between(0, 999));
        }),
        "int2vector" | "oidvector" => Texts::new(|choices, out| {
            for at in 0..choices.length(0, 3) {
                let space = if at > 0 { " " } else { "" };
                let _ = write!(out, "{space}{}", choices.below(100));
            }
        }),
        // Read by the server's own roles only: the owner of the bootstrap has the oid 10.
        "aclitem" => constants(&[
            "=r/pg_monitor",
            "pg_monitor=arwd/pg_monitor",
            "pg_monitor=r*/pg_monitor",
        ]),
        "regclass" => constants(&[
            "pg_catalog.pg_class",
            "pg_catalog.pg_type",
            "pg_catalog.pg_attribute",
        ]),
        "regtype" => constants(&["integer", "text", "boolean", "jsonb"]),
        "regproc" => constants(&["pg_catalog.pg_backend_pid", "pg_catalog.version"]),
        "regprocedure" => constants(&["pg_catalog.now()", "pg_catalog.version()"]),
        "regoper" => constants(&["pg_catalog.||/", "pg_catalog.|/"]),
        "regoperator" => constants(&[
            "pg_catalog.+(integer,integer)",
            "pg_catalog.-(integer,integer)",
        ]),
        "regnamespace" => constants(&["pg_catalog", "information_schema"]),
        "regrole" => constants(&["pg_monitor", "pg_signal_backend"]),
        "regconfig" => constants(&["simple", "english"]),
        "regdictionary" => constants(&["simple", "english_stem"]),
        "regcollation" => constants(&["\"C\"", "\"POSIX\""]),
        _ => return None,
    })
}
