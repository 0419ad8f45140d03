//! Tells states apart by 128 bits, the same ones in every run.

use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

use serde::Serialize;

/// For a table whose keys are hashes already.
pub(super) type Hashed = BuildHasherDefault<Lowest>;

/// The hash of a state, serialized into these bytes on the way.
pub(super) fn hash(state: &impl Serialize, bytes: &mut Vec<u8>) -> u128 {
    bytes.clear();
    // What cannot be serialized would make all states one: no model has such a state, and its run would end at once.
    match postcard::to_extend(state, std::mem::take(bytes)) {
        Ok(serialized) => *bytes = serialized,
        Err(error) => bytes.extend(error.to_string().bytes()),
    }
    // A hasher made by `new` has no key but a fixed one.
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(bytes);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// What a part of a state is told apart by: equal for what is serialized alike.
#[must_use]
pub fn identity(part: &impl Serialize) -> u128 {
    hash(part, &mut Vec::new())
}

/// Takes the lowest bits of what is a hash already.
#[derive(Default)]
pub(super) struct Lowest(u64);

impl Hasher for Lowest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for (place, byte) in bytes.iter().take(8).enumerate() {
            self.0 ^= u64::from(*byte) << (8 * place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_states_have_equal_hashes_and_others_have_not() {
        let mut bytes = Vec::new();
        let one = hash(&("a", 1), &mut bytes);
        assert_eq!(one, hash(&("a", 1), &mut bytes));
        assert_ne!(one, hash(&("a", 2), &mut bytes));
        assert_ne!(one >> 64, one & u128::from(u64::MAX));
    }
}
