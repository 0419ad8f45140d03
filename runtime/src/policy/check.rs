//! The compiled form of a rule, and how it decides.

use std::borrow::Cow;

use super::facts::{Credentials, Target};

/// One node of a rule's tree. `R` is how it refers to another rule: by name, then by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check<R> {
    /// `@`
    Always,
    /// `!`
    Never,
    /// `not CHECK`
    Not(Box<Self>),
    /// `CHECK and CHECK`
    All(Vec<Self>),
    /// `CHECK or CHECK`
    Any(Vec<Self>),
    /// `rule:NAME`
    Rule(R),
    /// `role:NAME`
    Role(Template),
    /// `CONSTANT:TEXT`
    Constant(String, Template),
    /// `ATTRIBUTE:TEXT`
    Credential(String, Template),
}

impl<R> Check<R> {
    /// The same tree with every reference translated.
    pub(super) fn link<S, E>(
        self,
        resolve: &mut impl FnMut(R) -> Result<S, E>,
    ) -> Result<Check<S>, E> {
        Ok(match self {
            Self::Always => Check::Always,
            Self::Never => Check::Never,
            Self::Not(inner) => Check::Not(Box::new(inner.link(resolve)?)),
            Self::All(parts) => Check::All(link_all(parts, resolve)?),
            Self::Any(parts) => Check::Any(link_all(parts, resolve)?),
            Self::Rule(rule) => Check::Rule(resolve(rule)?),
            Self::Role(role) => Check::Role(role),
            Self::Constant(constant, text) => Check::Constant(constant, text),
            Self::Credential(name, text) => Check::Credential(name, text),
        })
    }
}

fn link_all<R, S, E>(
    parts: Vec<Check<R>>,
    resolve: &mut impl FnMut(R) -> Result<S, E>,
) -> Result<Vec<Check<S>>, E> {
    parts.into_iter().map(|part| part.link(resolve)).collect()
}

impl Check<usize> {
    /// The decision. `rules` are all rules of the policy, by index.
    pub(super) fn holds(&self, rules: &[Self], who: &Credentials, what: &Target) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Not(inner) => !inner.holds(rules, who, what),
            Self::All(parts) => parts.iter().all(|part| part.holds(rules, who, what)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(rules, who, what)),
            Self::Rule(index) => rules.get(*index).is_some_and(|rule| rule.holds(rules, who, what)),
            Self::Role(role) => role.fill(what).is_some_and(|role| who.has_role(&role)),
            Self::Constant(constant, text) => {
                text.fill(what).is_some_and(|text| *constant == *text)
            }
            Self::Credential(name, text) => text.fill(what).is_some_and(|text| {
                who.attribute(name).is_some_and(|attribute| attribute.matches(&text))
            }),
        }
    }
}

/// Text with places for the target's attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(pub(super) Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it stands.
    Text(String),
    /// The target's attribute of this name.
    Target(String),
}

impl Template {
    /// The text for this target; `None` if it lacks an attribute.
    fn fill<'a>(&'a self, target: &'a Target) -> Option<Cow<'a, str>> {
        match self.0.as_slice() {
            [] => Some(Cow::Borrowed("")),
            [one] => one.fill(target),
            several => {
                let filled: Option<String> =
                    several.iter().map(|piece| piece.fill(target)).collect();
                filled.map(Cow::Owned)
            }
        }
    }
}

impl Piece {
    fn fill<'a>(&'a self, target: &'a Target) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Target(name) => target.attribute(name)?.text(),
        }
    }
}
