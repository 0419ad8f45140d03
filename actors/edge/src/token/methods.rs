//! Authentication methods as the bits of a token.

/// Names in the order of their bits, which is the default order of Keystone's `[auth] methods`.
/// Another order would make every token of another cloud mean something else.
const NAMES: [&str; 6] =
    ["external", "password", "token", "oauth1", "mapped", "application_credential"];

/// A set of authentication methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods(u32);

impl Methods {
    /// These methods; names that are not methods are left out.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name| NAMES.iter().position(|known| *known == name).map_or(0, |at| 1 << at);
        Self(names.into_iter().fold(0, |bits, name| bits | bit(name)))
    }

    /// The set with these bits, as a token carries it.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, as a token carries them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names, highest bit first.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        NAMES
            .iter()
            .enumerate()
            .rev()
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Methods;

    #[test]
    fn names_come_back_highest_bit_first() {
        let methods = Methods::of(["password", "token"]);
        assert_eq!((methods.bits(), methods.names()), (6, vec!["token", "password"]));
    }

    #[test]
    fn unknown_names_and_bits_are_left_out() {
        assert_eq!(Methods::of(["telepathy"]).bits(), 0);
        assert_eq!(Methods::from_bits(0xffff_ffc2).names(), ["password"]);
    }
}
