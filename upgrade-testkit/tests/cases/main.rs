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
    c15_unique_dups {
        straight: run([Straight]).every_seed().finds([
            error("up-failed", "migration 0002_pair", "likes_once"),
        ]);
    }
    c21_down_not_null {
        round_trip: run([RoundTrip]).every_seed().finds([
            error("down-fails-on-new-rows", "migration 0002_open", "ended"),
        ]);
    }
    c23b_seed_triggers {
        fills_the_others: run([Straight, RoundTrip]).finds([
            note("table-empty", "table public.current_tenant_row", "app.tenant"),
        ]);
    }
    c33b_declared_down {
        straight: run([Straight]).passes();
    }
    path {
        straight: run([Straight]).passes();
        judges_the_others: run([RoundTrip]).finds([
            error("up-failed", "migration 0003_kind", "kind"),
        ]);
    }
    seed_2 {
        fills: run([Straight]).every_seed().passes();
    }
    short {
        fills: run([Straight]).every_seed().finds([
            error("up-failed", "migration 0002_kind", "kind"),
        ]);
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
    "c17_old_insert",
    "c19b_matview_up_empty",
    "c20b_insert_delete",
    "c24_watermark_golang",
    "c24b_late_sqlx",
    "c33c_fn_renamed_up_only",
    "c36_blanked_up_only",
    "c39_trigger_left_disabled",
    "drop",
    "l1b_goose_simple",
    "leak",
    "old",
    "rename",
    "seq",
    "stray",
];

#[test]
fn every_folder_is_answered_or_pending() {
    let mut listed: Vec<&str> = [ANSWERED, PENDING].concat();
    listed.sort_unstable();
    assert_eq!(support::folders(), listed);
}
