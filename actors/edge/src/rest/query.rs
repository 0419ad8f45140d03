//! A request's query: pairs in their order, some names more than once.

use std::{fmt::Display, str::FromStr};

use axum::{extract::FromRequestParts, http::request::Parts};
use updraft_runtime::env::UnixMicros;

use super::{edge::Context, error::ServiceError, service::Service, time};

/// A handler's argument: the query.
#[derive(Clone, Debug)]
pub struct Query {
    service: Service,
    pairs: Vec<(String, String)>,
}

impl Query {
    /// The query of this text.
    #[must_use]
    pub fn parse(service: Service, text: &str) -> Self {
        Self { service, pairs: form_urlencoded::parse(text.as_bytes()).into_owned().collect() }
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The value of this name; of several the last, as the services have it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// The value of this name as a number.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ServiceError> {
        self.read(name, "an integer", |text| text.trim().parse().ok())
    }

    /// The value of this name as true or false, in any of the spellings in use.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ServiceError> {
        self.read(name, "a boolean", flag)
    }

    /// The value of this name as a time.
    pub fn time(&self, name: &str) -> Result<Option<UnixMicros>, ServiceError> {
        self.read(name, "a date and time", time::parse)
    }

    /// Refuses names that are not among these.
    pub fn only(&self, known: &[&str]) -> Result<(), ServiceError> {
        match self.pairs().find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(self.service.bad_request(format!(
                "Additional properties are not allowed ('{name}' was unexpected)"
            ))),
        }
    }

    /// This query as text, with one name set anew or taken away.
    #[must_use]
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let others = self.pairs().filter(|(other, _)| *other != name);
        let set = value.map(|value| (name, value));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(others.chain(set)).finish()
    }

    fn read<T>(
        &self,
        name: &str,
        wanted: impl Display,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ServiceError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.service.invalid_query(name, text, &format!("not {wanted}"))),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServiceError> {
        let context = Context::of(&parts.extensions)?;
        Ok(Self::parse(context.service, parts.uri.query().unwrap_or_default()))
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}
