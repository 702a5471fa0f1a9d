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
mod users;

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
    c01_view_type {
        upgrade: run([Upgrade]).finds([
            error("up/failed", "migration 0002_wider", "view mailbox_domains depends on column"),
        ]);
    }
    c02_lock_queue {
        upgrade: run([Upgrade]).behind_a_reader_of("ride").finds([
            warning("traffic/slow", "rides are shown", "took over 500ms"),
            warning("up/lock-queue", "table public.ride", "migration 0002_note waited "),
            warning("up/lock-queue", "table public.ride", " for ACCESS EXCLUSIVE behind session "),
            warning("up/lock-queue", "table public.ride", "(`reporting`, idle in transaction, in a "),
            warning("up/lock-queue", "table public.ride", "`select count(*) from ride where id > ?`)"),
            warning("up/lock-queue", "table public.ride", "; 4 other sessions waited behind it, the "),
            warning("up/lock-queue", "table public.ride", "`alter table ride add column note text`"),
        ]);
    }
    c03_cic_if_not_exists {
        crash: run([Crash]).finds([
            error("up/index-invalid", "index public.chat_inbox_at", "not valid"),
            error("rollback/schema-differs", "index public.chat_inbox_at", "was not there before"),
            warning("crash/half-applied", "migration 0002_idx", ""),
            warning("crash/record-wrong", "migration 0002_idx", ""),
        ]);
    }
    c03d_cic_dropped_first {
        crash: run([Crash]).finds([
            warning("crash/not-rerunnable", "migration 0003_idx", "already exists"),
            warning("crash/half-applied", "migration 0003_idx", ""),
            warning("crash/record-wrong", "migration 0003_idx", ""),
        ]);
    }
    drop {
        round_trip: run([RoundTrip]).finds([
            error("up/column-lost", "column public.goods.stock", "20 values"),
            error("down/rows-changed", "table public.goods", "`stock`"),
            error("down/failed", "migration 0003_z", "zz"),
            error("down/schema-differs", "column public.goods.stock", "its default"),
            error("down/schema-differs", "index public.stray", ""),
        ]);
    }
    leak {
        round_trip: run([RoundTrip]).finds([
            error("session/setting-leaked", "migration 0002_at", ""),
            error("down/failed", "migration 0003_b", "bb"),
        ]);
    }
    c07c_seq_up_only {
        upgrade: run([Upgrade]).finds([
            error("up/sequence-behind", "sequence public.ticket_new_id_seq", "would hand out 1 next"),
        ]);
    }
    c10_up_loses_rls {
        upgrade: run([Upgrade]).finds([
            error("up/protection-lost", "policy public.invoice / own_invoices", "is missing"),
            error("up/protection-lost", "table public.invoice", "its row security"),
            error("up/protection-lost", "table public.invoice", "its owner `c10_owner`"),
            error("up/protection-lost", "table public.invoice", "its grants `c10_tenant: SELECT`"),
            warning("up/lost-as-side-effect", "table public.invoice", "its comment"),
            warning("up/lost-as-side-effect", "index public.invoice_tenant", "is missing"),
            warning("up/lost-as-side-effect", "trigger public.invoice / invoice_no_negative", "is missing"),
        ]);
    }
    c14_diesel_comment {
        every: run([Upgrade, RoundTrip, FreshInstall]).passes();
    }
    c15_unique_dups {
        upgrade: run([Upgrade]).every_seed().finds([
            error("up/failed", "migration 0002_pair", "likes_once"),
        ]);
    }
    c17_old_insert {
        every_scenario: run([Upgrade, RoundTrip, Rollback]).finds([
            note("statement/old-fails", "table public.parcel", "`insert into public.parcel (weight) values (..)`"),
        ]);
    }
    c19b_matview_up_empty {
        up: run([Upgrade, RoundTrip]).finds([
            warning("up/view-not-populated", "materialized view public.sale_by_shop", "fails until it is refreshed"),
        ]);
    }
    c20b_insert_delete {
        every_scenario: run([Upgrade, RoundTrip, Rollback]).passes();
    }
    c21_down_not_null {
        round_trip: run([RoundTrip]).every_seed().finds([
            error("down/fails-on-new-rows", "migration 0002_open", "ended"),
        ]);
    }
    c23b_seed_triggers {
        fills_the_others: run([Upgrade, RoundTrip]).finds([
            note("data/table-empty", "table public.current_tenant_row", "app.tenant"),
        ]);
    }
    c24_watermark_golang {
        upgrade: run([Upgrade]).finds([
            error("history/late-version", "000002_b.up.sql", "golang-migrate never applies it"),
            warning("up/already-applied", "migration 000002_b", "applied already"),
        ]);
    }
    c24b_late_sqlx {
        fresh: run([FreshInstall]).finds([
            error("order/fresh-install-differs", "column public.v.b", ""),
            error("order/fresh-install-differs", "view public.v", "another definition"),
        ]);
        branch: run([OutOfOrder]).finds([
            error("order/late-differs", "column public.v.b", ""),
            error("order/late-differs", "view public.v", "another definition"),
        ]);
        upgrade: run([Upgrade]).finds([
            warning("history/late-version", "0002_b.up.sql", "sqlx applies it behind the others"),
        ]);
    }
    c33b_declared_down {
        upgrade: run([Upgrade]).finds([
            error("statement/write-fails", "table public.item", "has no field \"legacy_code\""),
        ]);
    }
    c33c_fn_renamed_up_only {
        every_scenario: run([Upgrade, RoundTrip, Rollback]).finds([
            error("statement/write-fails", "table public.item", "has no field \"qty\""),
        ]);
    }
    c36_blanked_up_only {
        every_scenario: run([Upgrade, RoundTrip, Rollback]).finds([
            error("up/rows-changed", "table public.customer", "`phone`"),
        ]);
    }
    c39_trigger_left_disabled {
        upgrade: run([Upgrade]).finds([
            warning("up/trigger-disabled", "trigger public.stock / stock_touch", "is left disabled"),
        ]);
    }
    l1b_goose_simple {
        every: run([Upgrade, RoundTrip, Rollback, Rerun, FreshInstall, SkipRelease, Crash])
            .reversible()
            .passes();
    }
    old {
        every: run([Upgrade, RoundTrip]).reversible().passes();
    }
    path {
        upgrade: run([Upgrade]).passes();
        judges_the_others: run([RoundTrip]).finds([
            error("up/failed", "migration 0003_kind", "kind"),
        ]);
    }
    rename {
        every_scenario: run([Upgrade, RoundTrip, Rollback]).passes();
    }
    seed_2 {
        fills: run([Upgrade]).every_seed().passes();
    }
    seq {
        round_trip: run([Upgrade, RoundTrip]).passes();
    }
    short {
        fills: run([Upgrade]).every_seed().finds([
            error("up/failed", "migration 0002_kind", "kind"),
        ]);
    }
    stray {
        every: run([Upgrade, RoundTrip]).finds([
            note("file/stray", "fill_by_hand.sql", "`fill_by_hand.sql` is no migration"),
        ]);
    }
}

/// Folders that are not answered rightly yet.
const PENDING: &[&str] = &[];

#[test]
fn every_folder_is_answered_or_pending() {
    let mut listed: Vec<&str> = [ANSWERED, PENDING].concat();
    listed.sort_unstable();
    assert_eq!(support::folders(), listed);
}
