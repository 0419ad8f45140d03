//! What every engine promises. Each function gets a fresh, empty store; the macro runs it on every engine.

mod isolation;
mod logs;
pub(crate) mod owners;
mod rows;
mod watches;

/// Runs functions of this suite as tests on every engine.
macro_rules! on_every_engine {
    ($($suite:ident :: { $($test:ident),* $(,)? })*) => {
        mod in_memory {$(mod $suite {$(
            #[tokio::test]
            async fn $test() {
                let store = updraft_runtime::store::Store::memory(updraft_runtime::Env::real());
                super::super::$suite::$test(store).await;
            }
        )*})*}
        mod on_redb {$(mod $suite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("store.redb");
                let env = updraft_runtime::Env::real();
                let store = updraft_runtime::store::Store::redb(env, &path).await.unwrap();
                super::super::$suite::$test(store).await;
            }
        )*})*}
        #[cfg(feature = "postgres")]
        mod on_postgres {$(mod $suite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let database = crate::postgres::server::Database::fresh().await;
                let Some(database) = database else { return };
                super::super::$suite::$test(database.store().await).await;
            }
        )*})*}
    };
}

on_every_engine! {
    isolation::{
        a_transaction_sees_its_own_writes,
        a_scan_merges_what_is_stored_with_what_is_written,
        a_snapshot_stays_as_it_was,
        nothing_is_visible_before_the_commit,
        of_two_that_read_and_write_a_key_one_conflicts,
        a_write_of_something_unread_does_not_conflict,
        write_skew_is_refused,
        a_key_that_appears_where_none_was_found_is_a_conflict,
        a_key_that_appears_in_a_scanned_range_is_a_conflict,
        a_key_that_vanishes_from_a_scanned_range_is_a_conflict,
        a_key_behind_a_full_page_is_no_conflict,
        a_key_that_was_rewritten_with_the_same_value_is_a_conflict,
        reading_alone_never_conflicts,
        a_version_is_the_commit_that_wrote_the_key,
        transact_runs_again_after_a_conflict,
        transact_writes_nothing_if_its_function_fails,
        transfers_between_accounts_keep_the_sum,
        a_relaxed_commit_is_visible_at_once,
        a_scoped_handle_reaches_nothing_outside,
        a_scope_within_a_scope_only_narrows,
        what_cannot_be_kept_is_refused,
        a_closed_store_refuses,
    }
    owners::{
        what_a_row_owns_is_found_and_follows_the_references,
        an_owner_that_is_not_there_is_refused_when_it_is_gained,
        a_row_is_not_born_while_its_owner_is_deleted,
        an_owner_that_saw_nothing_of_a_birth_is_not_deleted,
        a_row_never_owns_itself_however_far_away,
        of_two_that_would_own_each_other_one_conflicts,
        an_owner_of_another_service_is_refused,
        owners_and_the_walk_through_what_is_owned_are_bounded,
    }
    rows::{
        a_row_is_found_by_key_and_by_index,
        an_index_follows_its_row,
        a_deleted_row_leaves_no_key_behind,
        a_second_row_with_a_unique_value_is_refused,
        a_unique_value_is_free_again_within_the_transaction_that_gives_it_up,
        two_rows_with_a_unique_value_at_once_conflict,
        a_row_is_inserted_once,
        a_value_is_not_mistaken_for_a_longer_one,
        any_text_can_be_key_and_index_value,
        rows_are_scanned_in_pages,
        rows_of_an_index_are_found_in_pages,
        entries_of_an_index_are_read_without_their_rows,
        a_scope_covers_rows_and_their_index_entries,
        a_damaged_row_names_its_key,
        an_index_entry_without_a_row_names_its_key,
        an_index_entry_may_become_unique,
    }
    logs::{
        entries_come_in_the_order_of_their_commits,
        a_log_is_read_in_pages,
        a_log_longer_than_its_tail_is_read_whole,
        an_entry_is_written_with_its_transaction_or_not_at_all,
        trimming_forgets_the_oldest_entries,
        logs_are_apart_from_each_other_and_from_rows,
    }
    watches::{
        a_watch_tells_what_changed_under_its_prefix,
        a_watch_tells_of_logs_too,
        a_watch_gathers_changes_until_it_is_asked,
        a_watch_that_nobody_asks_overflows,
        a_watch_is_narrowed_to_the_scope,
        a_watch_wakes_when_the_store_closes,
    }
}
