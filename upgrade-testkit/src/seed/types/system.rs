//! Bit strings, positions in the write-ahead log, and the names of catalog objects.

use proptest::collection::vec;
use proptest::strategy::Strategy;

use super::{Texts, constants};
use crate::seed::check::Hints;

pub(super) fn texts(name: &str, typmod: i32, hints: &Hints) -> Option<Texts> {
    let declared = usize::try_from(typmod).ok();
    let bits = |least: usize, most: usize| {
        vec(proptest::bool::ANY, least..=most)
            .prop_map(|bits| {
                bits.into_iter()
                    .map(|bit| if bit { '1' } else { '0' })
                    .collect()
            })
            .sboxed()
    };
    let least = hints
        .min_len
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0);
    Some(match name {
        "bit" => bits(declared.unwrap_or(1), declared.unwrap_or(1)),
        "varbit" => {
            let most = declared.unwrap_or(64);
            bits(least.min(most), most)
        }
        "pg_lsn" => (0_u32..0xffff, 0_u32..=u32::MAX)
            .prop_map(|(hi, lo)| format!("{hi:X}/{lo:X}"))
            .sboxed(),
        "tid" => (0_u32..1000, 1_u32..100)
            .prop_map(|(block, item)| format!("({block},{item})"))
            .sboxed(),
        "pg_snapshot" | "txid_snapshot" => (1_u64..1000, 0_u64..1000)
            .prop_map(|(min, span)| format!("{min}:{}:", min + span))
            .sboxed(),
        "int2vector" | "oidvector" => vec(0_i16..100, 0..4)
            .prop_map(|items| {
                items
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .sboxed(),
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
