//! What a resource's attributes are called, and what may be done with each.

use serde_json::{Value, json};

use super::values::Check;

/// A value that an attribute has unless the client gives one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fixed {
    /// null
    Null,
    /// true or false
    Flag(bool),
    /// A number
    Number(i64),
    /// A text
    Text(&'static str),
    /// An empty list
    List,
}

impl Fixed {
    /// As JSON.
    pub(crate) fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => flag.into(),
            Self::Number(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::List => json!([]),
        }
    }
}

/// Whether POST may, or must, give an attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Post {
    /// It may not.
    Never,
    /// It must.
    Required,
    /// It may; without it there is none, and the service chooses.
    Optional,
    /// It may; without it this holds.
    Default(Fixed),
}

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) check: Check,
    pub(crate) post: Post,
    /// Whether PUT may give it.
    pub(crate) put: bool,
    /// Whether giving it has a rule of its own.
    pub(crate) guarded: bool,
    /// Whether lists may be sorted by it.
    pub(crate) sorts: bool,
    /// Whether answers show it.
    pub(crate) visible: bool,
}

impl Attribute {
    /// One that POST and PUT may give.
    pub(crate) const fn open(name: &'static str, check: Check, default: Fixed) -> Self {
        Self { post: Post::Default(default), put: true, ..Self::read_only(name, check) }
    }

    /// One that no client gives.
    pub(crate) const fn read_only(name: &'static str, check: Check) -> Self {
        let post = Post::Never;
        Self { name, check, post, put: false, guarded: false, sorts: true, visible: true }
    }

    /// One that a client sees and cannot give.
    pub(crate) const fn shown(name: &'static str) -> Self {
        Self::read_only(name, Check::Any)
    }

    pub(crate) const fn post(mut self, post: Post) -> Self {
        self.post = post;
        self
    }

    pub(crate) const fn no_put(mut self) -> Self {
        self.put = false;
        self
    }

    pub(crate) const fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    pub(crate) const fn unsorted(mut self) -> Self {
        self.sorts = false;
        self
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.visible = false;
        self
    }
}

/// A resource's name, and its attributes but for those that all have.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) singular: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) attributes: &'static [Attribute],
    /// What answers show only to those whom a rule lets see it.
    pub(crate) veiled: &'static [&'static str],
}

/// What answers show of every resource besides its own attributes.
const COMMON: [&str; 5] =
    ["tenant_id", "project_id", "created_at", "updated_at", "revision_number"];

impl Spec {
    /// The attribute of this name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Whether lists may be sorted by this name.
    pub(crate) fn sorts(&self, name: &str) -> bool {
        COMMON.contains(&name) || self.attribute(name).is_some_and(|attribute| attribute.sorts)
    }

    /// Whether lists may be filtered by this name.
    pub(crate) fn filters(&self, name: &str) -> bool {
        COMMON.contains(&name) || self.attribute(name).is_some_and(|attribute| attribute.visible)
    }
}
