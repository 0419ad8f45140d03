//! What a decision is about: who asks, and what is asked for.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// One attribute of whoever asks or of what is asked for.
///
/// Rules compare attributes as text, in the spelling that existing policy files use: `True`,
/// `False`, `None`, decimal numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// A flag, `True` or `False`.
    Flag(bool),
    /// A number.
    Number(i64),
    /// Known to be empty, `None`. An attribute that is absent matches nothing, not even `None`.
    Null,
    /// Several texts: a match with any of them is a match. Of use for credentials alone.
    Many(Vec<String>),
}

impl Attribute {
    /// As a rule's text sees it; `None` for what has no single text.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Flag(true) => Some(Cow::Borrowed("True")),
            Self::Flag(false) => Some(Cow::Borrowed("False")),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Null => Some(Cow::Borrowed("None")),
            Self::Many(_) => None,
        }
    }

    /// Whether it is, or holds, this text.
    pub(super) fn matches(&self, wanted: &str) -> bool {
        match self {
            Self::Many(texts) => texts.iter().any(|text| text == wanted),
            one => one.text().is_some_and(|text| text == wanted),
        }
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Attribute {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<String>> for Attribute {
    fn from(texts: Vec<String>) -> Self {
        Self::Many(texts)
    }
}

impl<T: Into<Self>> From<Option<T>> for Attribute {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Who asks: roles, and attributes such as `project_id`.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    roles: BTreeSet<String>,
    attributes: BTreeMap<Cow<'static, str>, Attribute>,
}

impl Credentials {
    /// Credentials with these roles; the case of a role's letters does not matter.
    pub fn with_roles<R: AsRef<str>>(roles: impl IntoIterator<Item = R>) -> Self {
        Self {
            roles: roles.into_iter().map(|role| role.as_ref().to_lowercase()).collect(),
            attributes: BTreeMap::new(),
        }
    }

    /// The same with one more attribute. Leave out what does not apply.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Attribute>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    pub(super) fn has_role(&self, role: &str) -> bool {
        self.roles.contains(&role.to_lowercase())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }
}

/// What is asked for: attributes of the object that is acted on.
#[derive(Clone, Debug, Default)]
pub struct Target {
    attributes: BTreeMap<Cow<'static, str>, Attribute>,
}

impl Target {
    /// A target of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Attribute>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }
}
