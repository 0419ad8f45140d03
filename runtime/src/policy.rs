//! Who may do what, in oslo.policy's rule language, decided in this process.
//!
//! Owns the language: a [`Policy`] is a set of named rules, parsed and linked once; a decision walks
//! the compiled tree and does no I/O. It denies by default: a rule that was never defined, an
//! attribute that is absent and a role that is not held all say no. A mistake in a rule (syntax, a
//! reference to nothing, a cycle) is found when the policy is loaded, never when somebody asks.
//! It never knows what a project, a role or a rule name means: those are strings of its user.
//!
//! The language: `role:NAME`, `rule:NAME`, `ATTRIBUTE:TEXT` where TEXT may hold `%(target key)s`,
//! a constant in the place of the attribute (`True:%(shared)s`, `'x':%(name)s`), `@` (always), `!`
//! (never), `not`, `and`, `or` and parentheses. The empty rule is `@`.

use std::collections::BTreeMap;

mod check;
mod facts;
mod load;
mod parse;
#[cfg(test)]
mod tests;

pub use facts::{Attribute, Credentials, Target};
pub use parse::SyntaxError;

use check::Check;

/// Most rules in one policy; all of OpenStack's services together have about 1,500.
pub const RULES_MAX: usize = 4_096;

/// Longest text of one rule, in bytes; the longest default of OpenStack is under 1 KiB.
pub const RULE_MAX_BYTES: usize = 8_192;

/// Deepest nesting of `not` and parentheses in one rule, so that parsing needs little stack.
pub const RULE_NESTING_MAX: usize = 32;

/// Longest chain of rules that refer to one another, so that a decision needs little stack.
pub const RULE_CHAIN_MAX: usize = 64;

/// Most single checks that one decision may cost, so that rules cannot multiply without bound.
pub const DECISION_CHECKS_MAX: usize = 10_000;

/// A set of rules, ready to decide.
#[derive(Debug)]
pub struct Policy {
    texts: BTreeMap<String, String>,
    indexes: BTreeMap<String, usize>,
    rules: Vec<Check<usize>>,
}

/// The rule did not let it pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} is disallowed by policy")]
pub struct Denied {
    /// The rule that was asked.
    pub rule: String,
}

/// Why a policy cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A rule is not in the language.
    #[error("rule {rule:?}: {source}")]
    Syntax {
        /// The rule.
        rule: String,
        /// Where and what.
        source: SyntaxError,
    },
    /// A rule refers to one that does not exist.
    #[error("rule {rule:?} refers to rule {reference:?}, which is not defined")]
    Undefined {
        /// The rule.
        rule: String,
        /// What it refers to.
        reference: String,
    },
    /// Rules refer to one another in a circle.
    #[error("rules refer to one another in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// A chain of references is longer than [`RULE_CHAIN_MAX`].
    #[error("rule {0:?} is reached through more than {RULE_CHAIN_MAX} other rules")]
    ChainTooLong(String),
    /// A decision by this rule could cost more than [`DECISION_CHECKS_MAX`] checks.
    #[error("rule {0:?} could need more than {DECISION_CHECKS_MAX} checks for one decision")]
    TooCostly(String),
    /// More than [`RULES_MAX`] rules.
    #[error("{0} rules are more than the {RULES_MAX} a policy may have")]
    TooMany(usize),
}

impl Policy {
    /// Compiles these rules, each a name and its text. Of two with one name the later holds.
    pub fn new(rules: &[(&str, &str)]) -> Result<Self, PolicyError> {
        Self::compile(
            rules.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        )
    }

    /// This policy with some rules replaced or added, as an operator's file asks.
    pub fn overridden(&self, overrides: &BTreeMap<String, String>) -> Result<Self, PolicyError> {
        let mut texts = self.texts.clone();
        texts.extend(overrides.iter().map(|(name, text)| (name.clone(), text.clone())));
        Self::compile(texts)
    }

    fn compile(texts: BTreeMap<String, String>) -> Result<Self, PolicyError> {
        let (indexes, rules) = load::load(&texts)?;
        Ok(Self { texts, indexes, rules })
    }

    /// Whether the named rule lets these credentials act on this target.
    pub fn check(
        &self,
        rule: &str,
        credentials: &Credentials,
        target: &Target,
    ) -> Result<(), Denied> {
        let allowed = self
            .indexes
            .get(rule)
            .and_then(|index| self.rules.get(*index))
            .is_some_and(|check| check.holds(&self.rules, credentials, target));
        if allowed { Ok(()) } else { Err(Denied { rule: rule.to_owned() }) }
    }

    /// Whether a rule of this name is defined.
    #[must_use]
    pub fn defines(&self, rule: &str) -> bool {
        self.indexes.contains_key(rule)
    }

    /// Every rule with its text, by name.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}
