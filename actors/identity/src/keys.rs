//! Rotation of the keys of tokens.
//!
//! A key is staged before it seals anything, so that every node knows it by then; it is kept after
//! another has taken its place, until no token that it sealed can pass any more. With a lifetime L
//! of tokens, expired ones included as long as they may pass, and a rotation every P that makes
//! L / P + 2 keys, rounded up: the staged one, the primary, and those of tokens that still count.

use std::time::Duration;

use updraft_edge::{token, verify::EXPIRED_GRACE};
use updraft_protocol::identity::FernetKey;
use updraft_runtime::{
    env::UnixMicros,
    planted::{Bug, is_planted},
    sometimes,
};

use crate::{error::Error, rows::KeysRow};

/// The least time between two rotations: ten times as long as a node is at most behind, so that each
/// knows the staged key before it seals a token.
pub const ROTATION_PAUSE_MIN: Duration = Duration::from_secs(10);

/// Most keys. Opening a token tries them all, so that each adds to the cost of every request; 32 is
/// one every hour and a half at the longest time for which a token may pass.
pub const KEYS_MAX: usize = 32;

/// The keys of a new cloud.
pub(crate) fn first(staged: FernetKey, primary: FernetKey, now: UnixMicros) -> KeysRow {
    KeysRow {
        keys: token::first_keys(staged, primary),
        rotated_at: now,
        retired_at: Default::default(),
    }
}

/// When the keys are to be rotated next.
pub(crate) fn next_rotation(row: &KeysRow, every: Duration) -> UnixMicros {
    row.rotated_at.plus(every.max(ROTATION_PAUSE_MIN))
}

/// The keys after a rotation.
pub(crate) fn rotated(
    row: &KeysRow,
    staged: FernetKey,
    now: UnixMicros,
    token_lifetime: Duration,
) -> Result<KeysRow, Error> {
    if now < row.rotated_at.plus(ROTATION_PAUSE_MIN) {
        return Err(Error::Conflict(format!(
            "The keys were rotated less than {} seconds ago; the staged one may not be known \
             everywhere yet.",
            ROTATION_PAUSE_MIN.as_secs()
        )));
    }
    let may_count = token_lifetime + EXPIRED_GRACE + token::CLOCK_SKEW_MAX;
    let mut retired_at = row.retired_at.clone();
    retired_at.retain(|_, at| now < at.plus(may_count));
    if let Some((primary, _)) = row.keys.0.last_key_value().filter(|(number, _)| **number > 0) {
        retired_at.insert(*primary, now);
    }
    let active = retired_at.len() + token::ACTIVE_KEYS_MIN;
    if active > KEYS_MAX {
        return Err(Error::Conflict(format!(
            "All {KEYS_MAX} keys may still be needed; rotate them less often or let tokens live \
             shorter."
        )));
    }
    sometimes!(active > token::ACTIVE_KEYS_MIN, "keys rotate while tokens of older keys live");
    let forgets = is_planted(Bug::KeyRotationForgets);
    let active = if forgets { token::ACTIVE_KEYS_MIN } else { active };
    let keys = token::rotate(&row.keys, staged, active);
    retired_at.retain(|number, _| keys.0.contains_key(number));
    Ok(KeysRow { keys, rotated_at: now, retired_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const START: UnixMicros = UnixMicros(1_000_000_000_000_000);

    fn key(n: u8) -> FernetKey {
        FernetKey::from_bytes([n; 32])
    }

    fn numbers(row: &KeysRow) -> Vec<u32> {
        row.keys.0.keys().copied().collect()
    }

    #[test]
    fn the_staged_key_becomes_the_primary_and_the_primary_stays_to_read() {
        let row = first(key(0), key(1), START);
        let row = rotated(&row, key(2), START.plus(HOUR), HOUR).expect("due");
        assert_eq!(numbers(&row), [0, 1, 2]);
        assert_eq!(row.keys.0[&2], key(0), "the staged key is the primary");
        assert_eq!(row.keys.0[&1], key(1), "the old primary still reads");
        assert_eq!(row.keys.0[&0], key(2));
    }

    #[test]
    fn a_key_goes_once_no_token_of_it_can_pass_and_not_before() {
        let mut row = first(key(0), key(1), START);
        let mut now = START;
        let mut most = 0;
        for n in 2..100 {
            now = now.plus(HOUR * 6);
            row = rotated(&row, key(n), now, HOUR).expect("due");
            most = most.max(row.keys.0.len());
            let oldest_needed = row.retired_at.values().min().expect("one at least");
            assert!(now < oldest_needed.plus(HOUR + EXPIRED_GRACE + HOUR * 6));
        }
        // 49 hours and a minute of tokens, a rotation every 6: 9 retired, the primary, the staged.
        assert_eq!(most, 11);
    }

    #[test]
    fn keys_are_not_rotated_before_every_node_knows_the_staged_one() {
        let row = first(key(0), key(1), START);
        let soon = START.plus(ROTATION_PAUSE_MIN - Duration::from_micros(1));
        assert!(matches!(rotated(&row, key(2), soon, HOUR), Err(Error::Conflict(_))));
        assert!(rotated(&row, key(2), START.plus(ROTATION_PAUSE_MIN), HOUR).is_ok());
    }

    #[test]
    fn there_is_a_limit_to_keys_and_reaching_it_costs_no_token() {
        let mut row = first(key(0), key(1), START);
        let mut now = START;
        for n in 0..100 {
            now = now.plus(ROTATION_PAUSE_MIN);
            match rotated(&row, key(n), now, HOUR) {
                Ok(next) => row = next,
                Err(Error::Conflict(_)) => break,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(row.keys.0.len(), KEYS_MAX);
        assert_eq!(row.keys.0[&1], key(1), "the first key still reads");
    }
}
