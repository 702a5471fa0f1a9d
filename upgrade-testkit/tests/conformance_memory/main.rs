//! The conformance suite, examined itself: reference implementations in memory keep every clause,
//! and each implementation that breaks one promise fails the clause of that promise and no other.

mod environment;
mod facets;
mod memory;
mod migration;
mod rollback;
mod validator;

use upgrade_testkit::conformance::{self, ClauseInfo, ClauseOutcome, ClauseResult};
use upgrade_testkit::{
    environment_conformance, migration_conformance, rollback_conformance, validator_conformance,
};

environment_conformance!(
    environment_with_every_power,
    environment::Fixture::full(environment::Bug::None)
);
environment_conformance!(
    environment_without_powers,
    environment::Fixture::plain(environment::Bug::None)
);
migration_conformance!(
    migration_in_memory,
    migration::Fixture::new(migration::Bug::None)
);
validator_conformance!(
    validator_in_memory,
    validator::Fixture::new(validator::Bug::None)
);
rollback_conformance!(
    rollback_in_memory,
    rollback::Fixture::new(rollback::Bug::None)
);

// Attributes go on every test, the expression may await, and what panics in it fails the test.
validator_conformance!(
    #[should_panic(expected = "this fixture cannot be made")]
    attributes_are_passed_on,
    unmakeable().await
);

async fn unmakeable() -> validator::Fixture {
    panic!("this fixture cannot be made")
}

type Results = Vec<(&'static str, ClauseResult)>;

/// On a clock that runs ahead when all wait: what ignores a deadline takes no time either.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs only a few file descriptors")
        .block_on(future)
}

/// The clauses that failed, by name.
fn failed(results: &Results) -> Vec<&'static str> {
    results
        .iter()
        .filter_map(|(name, result)| {
            let failed = result.as_ref().err()?;
            assert_eq!(
                failed.clause, *name,
                "a clause tells another name: {failed}"
            );
            Some(*name)
        })
        .collect()
}

fn not_applicable(results: &Results) -> Vec<&'static str> {
    results
        .iter()
        .filter(|(_, result)| matches!(result, Ok(ClauseOutcome::NotApplicable(_))))
        .map(|(name, _)| *name)
        .collect()
}

/// For each bug, the clauses that must fail; all others must hold.
macro_rules! each_bug_fails_its_clause {
    ($test:ident, $module:ident, $make:expr, { $($bug:ident => [$($clause:ident),+],)+ }) => {
        mod $test {
            pub(crate) const COVERED: &[&str] = &[$($(stringify!($clause)),+),+];

            $(
                #[test]
                #[expect(non_snake_case, reason = "named after the bug")]
                fn $bug() {
                    use super::*;
                    let make = $make;
                    let results = block_on(conformance::$module::all(async || {
                        make($module::Bug::$bug)
                    }));
                    assert_eq!(failed(&results), [$(stringify!($clause)),+], "{results:#?}");
                }
            )+
        }
    };
}

each_bug_fails_its_clause!(broken_environments, environment, environment::Fixture::full, {
    NoName => [the_name_can_be_read],
    CapabilitiesComeLate => [capabilities_stay_as_they_are],
    FilledIsUnfilled => [unfilled_tables_have_no_rows],
    EndpointsTooEarly => [no_endpoints_before_prepare],
    Unpopulated => [prepare_makes_a_populated_system],
    // Nor has a side an endpoint that is not there.
    DeadEndpoint => [prepared_endpoints_can_be_reached, a_side_has_the_state_of_its_label],
    PreparesAnew => [prepare_twice_changes_nothing],
    LeaksWhenPrepareFails => [a_failed_prepare_leaves_nothing_after_teardown],
    RegistersTooLate => [a_cancelled_prepare_leaves_nothing_after_teardown],
    SharesOneDatabase => [two_environments_share_no_state],
    ReplacesNothing => [replace_brings_the_release],
    ReplacesTwice => [replace_again_changes_nothing],
    ReplacesByAnything => [replace_by_an_unknown_release_is_not_found],
    RollsOneTooMany => [replace_first_brings_so_many],
    RollsOnlyForward => [replace_first_goes_both_ways],
    // Nor is one with a claim equal to one without.
    ObservationsDiffer => [observing_twice_is_equal, a_claim_is_not_observed],
    ObservingWrites => [observing_changes_nothing],
    SeesNoRows => [observing_sees_a_change],
    IgnoresTheScope => [observing_reads_its_scope_only],
    UnknownLabelIsEmpty => [observing_an_unknown_label_is_not_found],
    SnapshotIsLive => [a_snapshot_can_be_observed],
    KeepsTheFirstLabel => [a_label_that_is_taken_again_is_overwritten],
    ForgetsEveryLabel => [forgetting_a_label_keeps_the_others],
    RestoreForgetsARow => [restore_equals_the_observation_at_the_snapshot, forgetting_a_label_keeps_the_others],
    RestoreDropsTheLabel => [a_label_can_be_restored_again],
    RestoresAnything => [restoring_an_unknown_label_is_not_found],
    EmptyHasATable => [the_empty_system_has_nothing_in_it],
    EmptiesOnce => [the_empty_system_can_be_restored_again],
    EmptyingDropsLabels => [emptying_keeps_the_labels],
    SideHasTheLiveState => [a_side_has_the_state_of_its_label],
    SidesAreOne => [sides_share_no_state],
    CopiesASideOnce => [copying_again_replaces_a_side],
    StartsNothing => [a_side_runs_the_release_that_is_started],
    CopiesAnything => [what_a_side_does_not_know_is_not_found],
    StartsAnything => [what_a_side_does_not_know_is_not_found],
    LeaksASide => [removing_a_side_leaves_nothing],
    RemoveIsCancelled => [removing_a_side_leaves_nothing],
    TeardownForgetsSides => [teardown_removes_all_sides],
    DiffMiscounts => [row_diff_numbers_are_exact],
    DiffsEverything => [row_diff_of_an_unchanged_system_is_empty],
    DiffingWrites => [row_diff_changes_nothing],
    DiffOfUnknownLabelIsEmpty => [row_diff_of_an_unknown_label_is_not_found],
    FaultsAreIgnored => [terminated_sessions_release_what_they_hold],
    FaultMovesTheSystem => [after_a_fault_the_system_is_where_it_was],
    DoesNotWaitForProcesses => [a_killed_process_is_waited_for],
    HeldSnapshotLocks => [a_held_snapshot_hinders_nobody],
    KillIsIgnored => [a_killed_server_releases_what_was_held],
    KilledServerMoves => [a_killed_server_answers_where_it_did],
    KillLosesARow => [a_killed_server_keeps_what_was_committed],
    SitesComeLate => [fault_sites_are_known_beforehand],
    InjectsNothing => [a_fault_lasts_until_it_is_recovered_from],
    RecoversNothing => [a_fault_lasts_until_it_is_recovered_from],
    InjectsIntoAnybody => [a_fault_that_cannot_be_injected_is_refused],
    InjectsTwice => [a_fault_that_cannot_be_injected_is_refused],
    RestoreKeepsFaults => [a_restore_recovers],
    WatchHolds => [a_session_monitor_holds_nothing],
    WatchGoesOn => [monitoring_again_begins_anew],
    FindsItself => [nothing_is_left_in_sessions_without_a_change],
    WatchSeesNothing => [what_a_session_holds_is_found],
    WatchNeverEnds => [the_end_of_monitoring_is_its_end],
    TryingWrites => [trying_statements_changes_no_row],
    TryingIsRandom => [the_same_statements_are_refused_again],
    ForgetsTheClaim => [a_claim_is_read_as_it_was_written],
    ClaimIsARow => [a_claim_is_not_observed],
    LogsAreWhole => [logs_are_no_longer_than_asked],
    LogsDieWithTheSystem => [logs_are_available_after_a_crash],
    LeaksSnapshots => [teardown_removes_all_sides, teardown_leaves_nothing],
    // Whoever tears down sees that.
    LeaksTheSystem => [
        a_failed_prepare_leaves_nothing_after_teardown,
        a_cancelled_prepare_leaves_nothing_after_teardown,
        teardown_removes_all_sides,
        teardown_leaves_nothing
    ],
    TeardownNeedsPrepare => [teardown_without_prepare_is_ok],
    TeardownOnlyOnce => [teardown_twice_is_ok],
    TeardownIsCancelled => [teardown_ignores_cancellation],
    TakesWhatWasAdopted => [what_was_adopted_is_left_as_it_is],
    IgnoresTheDeadline => [a_wait_ends_at_the_deadline],
    IgnoresCancellation => [cancellation_ends_a_call],
});

each_bug_fails_its_clause!(broken_when_never_killed, environment, environment::Fixture::never_killed, {
    KillsUndeclared => [a_fault_that_is_not_supported_is_unsupported],
});

each_bug_fails_its_clause!(broken_when_never_empty, environment, environment::Fixture::never_empty, {
    EmptiesUndeclared => [restoring_an_unknown_label_is_not_found],
});

each_bug_fails_its_clause!(broken_migrations, migration, migration::Fixture::new, {
    OneChecksumForAll => [equal_checksums_mean_equal_content],
    StatusMakesTheRecord => [status_changes_nothing],
    RevertKeepsTheRecord => [status_follows_what_was_done],
    StatusFromMemory => [another_instance_sees_the_same_status],
    DivergenceUnseen => [edited_content_is_divergent],
    DivergentIsNothingToDo => [divergent_content_is_not_applied],
    AppliesNothing => [apply_changes_the_system],
    AppliesTwice => [apply_twice_does_nothing],
    AppliedAfterFailure => [a_failed_apply_is_never_applied],
    HalfOfItIsPending => [a_failed_apply_is_never_applied],
    RevertsWhatIsPending => [revert_of_a_pending_one_does_nothing],
    RevertsHalf => [revert_undoes_apply],
    RevertForgetsARow => [revert_undoes_apply],
    PendingAfterFailedRevert => [a_failed_revert_is_never_pending],
    RevertsTheIrreversible => [revert_of_an_irreversible_one_is_unsupported],
    OwnConnection => [the_system_is_reached_only_through_the_endpoints],
    AppliesWhenCancelled => [a_cancelled_apply_is_not_applied],
    IgnoresTheDeadline => [a_wait_ends_at_the_deadline],
    IgnoresCancellation => [cancellation_ends_a_call],
    LeavesItRunning => [what_was_begun_is_stopped],
});

each_bug_fails_its_clause!(broken_validators, validator, validator::Fixture::new, {
    NoName => [the_name_can_be_read],
    BoredBySecondCall => [a_system_that_holds_passes_twice],
    FailsWithAWarning => [a_broken_system_fails_with_an_error],
    PassesOnNoData => [no_data_is_never_a_pass],
    InconclusiveWhenUnreachable => [an_unreachable_system_is_an_error],
    KeepsItsVerdict => [each_call_judges_anew],
    Writes => [judging_changes_nothing],
    OwnConnection => [the_system_is_reached_only_through_the_endpoints],
    IgnoresTheDeadline => [a_wait_ends_at_the_deadline],
    IgnoresCancellation => [cancellation_ends_a_call],
});

each_bug_fails_its_clause!(broken_rollbacks, rollback, rollback::Fixture::new, {
    NoName => [the_name_can_be_read],
    PrepareWrites => [prepare_changes_nothing_for_users],
    KeepsTheFirst => [prepare_again_leads_to_the_later_state],
    FailedPrepareKeeps => [a_failed_prepare_keeps_nothing],
    CheckWrites => [check_changes_nothing],
    CrossesTheUnsafe => [what_is_called_unsafe_is_refused],
    // Whoever asks whether it arrived, sees that.
    ForgetsARow => [
        prepare_again_leads_to_the_later_state,
        execute_arrives_where_prepare_was,
        execute_arrives_from_an_interrupted_migration,
        an_interrupted_execute_can_be_called_again,
        another_process_goes_on,
        another_system_is_left_alone
    ],
    NotFromTheMiddle => [execute_arrives_from_an_interrupted_migration],
    NotASecondTime => [an_interrupted_execute_can_be_called_again],
    TakesAnything => [what_another_strategy_kept_is_refused],
    Remembers => [another_process_goes_on],
    FinalizesOthers => [another_system_is_left_alone],
    OwnConnection => [the_system_is_reached_only_through_the_endpoints],
    ConfirmsBeforehand => [confirm_fails_before_execute_on_a_changed_system],
    ConfirmsAfterwards => [confirm_passes_after_execute],
    NeverConfirms => [confirm_passes_after_execute],
    FinalizeKeeps => [another_process_goes_on, finalize_gives_up_what_was_kept],
    FinalizesOnce => [finalize_twice_does_nothing],
    IgnoresTheDeadline => [a_wait_ends_at_the_deadline],
    IgnoresCancellation => [cancellation_ends_a_call],
});

#[test]
fn every_clause_is_failed_by_a_bug() {
    let environments = [
        broken_environments::COVERED,
        broken_when_never_killed::COVERED,
        broken_when_never_empty::COVERED,
    ]
    .concat();
    for (clauses, covered) in [
        (conformance::environment::CLAUSES, &*environments),
        (conformance::migration::CLAUSES, broken_migrations::COVERED),
        (conformance::validator::CLAUSES, broken_validators::COVERED),
        (conformance::rollback::CLAUSES, broken_rollbacks::COVERED),
    ] {
        for clause in clauses {
            assert!(
                covered.contains(&clause.name),
                "{} cannot fail",
                clause.name
            );
        }
    }
}

/// Declaring nothing must not pass: what does not apply is exactly what needs a power.
#[test]
fn without_powers_only_the_clauses_of_powers_do_not_apply() {
    let results = block_on(conformance::environment::all(async || {
        environment::Fixture::plain(environment::Bug::None)
    }));
    let powers = [
        "services",
        "instances",
        "snapshots",
        "empty",
        "database faults",
        "held snapshots",
        "server faults",
        "service faults",
        "session monitor",
        "statement trial",
        "row comparison",
        "side by side",
    ];
    let expected: Vec<&str> = conformance::environment::CLAUSES
        .iter()
        .filter(|clause| powers.contains(&clause.needs))
        .map(|clause| clause.name)
        .collect();
    assert_eq!(not_applicable(&results), expected);
    assert!(expected.len() >= 31, "{expected:?}");
}

/// In each file of clauses: the names of the public functions, and the names that they tell.
fn names(source: &str) -> (Vec<&str>, Vec<&str>) {
    let after = |mark: &str, end: char| -> Vec<&str> {
        source
            .match_indices(mark)
            .filter_map(|(at, _)| source[at + mark.len()..].split(end).next())
            .collect()
    };
    (after("\npub async fn ", '('), after("= Clause(\"", '"'))
}

fn check_list(sources: &[&str], clauses: &[ClauseInfo]) {
    let mut written = Vec::new();
    for source in sources {
        let (mut functions, told) = names(source);
        functions.retain(|name| !name.starts_with("all<"));
        assert_eq!(functions, told, "a clause tells another name than it has");
        written.extend(functions);
    }
    let mut listed: Vec<&str> = clauses.iter().map(|clause| clause.name).collect();
    written.sort_unstable();
    listed.sort_unstable();
    assert_eq!(written, listed, "written, and listed");
}

#[test]
fn every_clause_that_is_written_is_listed_once() {
    macro_rules! sources {
        ($($file:literal),+) => {
            &[$(include_str!(concat!("../../src/conformance/", $file))),+]
        };
    }
    check_list(
        sources!(
            "environment/claims.rs",
            "environment/empty.rs",
            "environment/faults.rs",
            "environment/observe.rs",
            "environment/prepare.rs",
            "environment/replace.rs",
            "environment/row_diff.rs",
            "environment/server_faults.rs",
            "environment/service_faults.rs",
            "environment/side_by_side.rs",
            "environment/snapshot.rs",
            "environment/teardown.rs",
            "environment/time.rs",
            "environment/sessions.rs",
            "environment/statements.rs"
        ),
        conformance::environment::CLAUSES,
    );
    check_list(
        sources!(
            "migration/apply.rs",
            "migration/revert.rs",
            "migration/status.rs",
            "migration/time.rs"
        ),
        conformance::migration::CLAUSES,
    );
    check_list(sources!("validator.rs"), conformance::validator::CLAUSES);
    check_list(
        sources!(
            "rollback/execute.rs",
            "rollback/finish.rs",
            "rollback/prepare.rs",
            "rollback/time.rs"
        ),
        conformance::rollback::CLAUSES,
    );
}

/// The example of the guide is a test of this crate, and the guide shows it as it is.
#[test]
fn the_guide_shows_the_example_that_runs() {
    let guide = include_str!("../../../docs/conformance.md");
    let example = include_str!("../conformance_guide.rs");
    let (_, code) = example.split_once("\n\n").expect("a header and the code");
    assert!(guide.contains(&format!("```rust\n{code}```")), "{code}");
}

/// The guide lists what there is.
#[test]
fn the_guide_lists_every_clause_with_its_need() {
    let guide = include_str!("../../../docs/conformance.md");
    let listed: Vec<(&str, &str)> = guide
        .lines()
        .filter_map(|line| {
            let (name, need) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, need.strip_suffix(" |")?))
        })
        // The fixtures are in a separate table.
        .filter(|(name, _)| !name.ends_with("Fixture"))
        .collect();
    let clauses: Vec<(&str, &str)> = [
        conformance::environment::CLAUSES,
        conformance::migration::CLAUSES,
        conformance::validator::CLAUSES,
        conformance::rollback::CLAUSES,
    ]
    .into_iter()
    .flatten()
    .map(|clause| (clause.name, clause.needs))
    .collect();
    assert_eq!(listed, clauses);
}
