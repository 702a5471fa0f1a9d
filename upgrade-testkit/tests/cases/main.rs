//! Cases from the field: small folders of migrations, written anew after public bug reports, each
//! with the answer that is right.
//!
//! `<folder>/m/` holds the migrations of the newer release. Beside it stand, where a case needs
//! them: `from`, the previous release (`0001` without it; `$DIR` is the case's folder), with its
//! files in `old/`; `setup.sql`, what is there before the first migration; `rows`, how many rows
//! each table gets.
//!
//! The table below says for each folder what a rehearsal has to answer: these findings above a
//! note, with these words in their message or evidence, and no others. A folder that is not
//! answered rightly yet is listed in [`PENDING`]; add `.every_seed()` where the rows decide.

mod support;

/// One test for each folder and set of scenarios, and the list of all folders.
macro_rules! cases {
    ($($folder:ident { $($name:ident: $run:expr;)+ })+) => {
        $(mod $folder {
            use upgrade_testkit::prelude::{Result, Scenario::*};

            use crate::support::*;

            $(
                #[tokio::test]
                async fn $name() -> Result<()> {
                    $run.check(stringify!($folder)).await
                }
            )+
        })+

        const ANSWERED: &[&str] = &[$(stringify!($folder)),+];
    };
}

cases! {
    c17_old_insert {
        every_scenario: run([Straight, RoundTrip, RollbackAt]).finds([
            note("old-statement-fails", "table public.parcel", "`insert into public.parcel (weight) values (..)`"),
        ]);
    }
    c20b_insert_delete {
        every_scenario: run([Straight, RoundTrip, RollbackAt]).passes();
    }
    // The loss is declared; the trigger that reads the column is not mended.
    c33b_declared_down {
        straight: run([Straight]).finds([
            error("writes-refused", "table public.item", "has no field \"legacy_code\""),
        ]);
    }
    c33c_fn_renamed_up_only {
        every_scenario: run([Straight, RoundTrip, RollbackAt]).finds([
            error("writes-refused", "table public.item", "has no field \"qty\""),
        ]);
    }
    c36_blanked_up_only {
        every_scenario: run([Straight, RoundTrip, RollbackAt]).finds([
            error("rows-changed-by-up", "table public.customer", "`phone`"),
        ]);
    }
    rename {
        every_scenario: run([Straight, RoundTrip, RollbackAt]).passes();
    }
}

/// Folders that are not answered rightly yet.
const PENDING: &[&str] = &[
    "c01_view_type",
    "c02_lock_queue",
    "c03_cic_if_not_exists",
    "c03d_cic_dropped_first",
    "c07c_seq_up_only",
    "c10_up_loses_rls",
    "c14_diesel_comment",
    "c15_unique_dups",
    "c19b_matview_up_empty",
    "c21_down_not_null",
    "c23b_seed_triggers",
    "c24_watermark_golang",
    "c24b_late_sqlx",
    "c39_trigger_left_disabled",
    "drop",
    "l1b_goose_simple",
    "leak",
    "old",
    "path",
    "seed_2",
    "seq",
    "short",
    "stray",
];

#[test]
fn every_folder_is_answered_or_pending() {
    let mut listed: Vec<&str> = [ANSWERED, PENDING].concat();
    listed.sort_unstable();
    assert_eq!(support::folders(), listed);
}
