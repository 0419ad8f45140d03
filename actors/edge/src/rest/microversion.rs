//! Microversions: which one a request asks for, and what every answer says about it.

use std::{fmt, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    edge::Context,
    error::ServiceError,
    links::Links,
    service::{API_VERSION, NOVA_API_VERSION, Service},
};

/// A version of a service's API, such as 2.100. In a handler: the one that holds for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion {
    /// Before the dot.
    pub major: u32,
    /// After the dot.
    pub minor: u32,
}

impl Microversion {
    /// The version with these numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads `MAJOR.MINOR`, both without leading zeros, as strictly as the services do. A number
    /// too large to be held is the largest one.
    fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str, may_be_zero: bool| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let leading = digits.starts_with('0') && !(may_be_zero && digits == "0");
            (plain && !leading).then(|| digits.parse().unwrap_or(u32::MAX))
        };
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: number(major, false)?, minor: number(minor, true)? })
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<S: Sync> FromRequestParts<S> for Microversion {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServiceError> {
        let context = Context::of(&parts.extensions)?;
        Ok(parts.extensions.get().copied().unwrap_or(context.versions.min))
    }
}

/// The versions that a service offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest, which a request gets that asks for none.
    pub min: Microversion,
    /// The newest, also called `latest`.
    pub max: Microversion,
}

impl VersionRange {
    /// From one to the other.
    #[must_use]
    pub const fn new(min: Microversion, max: Microversion) -> Self {
        Self { min, max }
    }
}

/// Settles the version before the handler runs and says it in the answer.
pub(super) async fn negotiate(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    let service = context.service;
    let legacy = request.extensions().get::<Links>().is_some_and(Links::is_legacy);
    if !service.has_microversions() || legacy {
        return next.run(request).await;
    }
    let (version, mut response) = match settle(service, context.versions, request.headers()) {
        Ok(version) => {
            request.extensions_mut().insert(version);
            (version.to_string(), next.run(request).await)
        }
        Err((version, error)) => (version, error.into_response()),
    };
    say(service, &version, response.headers_mut());
    response
}

/// The version that the headers ask for; on an error also what the answer shall echo.
fn settle(
    service: Service,
    offered: VersionRange,
    headers: &HeaderMap,
) -> Result<Microversion, (String, ServiceError)> {
    let Some(asked) = asked(service, headers) else { return Ok(offered.min) };
    if asked == "latest" {
        return Ok(offered.max);
    }
    let Some(version) = Microversion::parse(&asked) else {
        let message = format!(
            "API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum."
        );
        return Err((String::new(), service.bad_request(message)));
    };
    if version < offered.min || version > offered.max {
        let VersionRange { min, max } = offered;
        let message = format!(
            "Version {asked} is not supported by the API. Minimum is {min} and maximum is {max}."
        );
        return Err((asked, service.error(StatusCode::NOT_ACCEPTABLE, message)));
    }
    Ok(version)
}

/// What the headers ask for. Entries for other services are passed over; of several the last holds.
fn asked(service: Service, headers: &HeaderMap) -> Option<String> {
    let entries = |name| {
        headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
    };
    let standard = entries(API_VERSION)
        .filter_map(|entry| entry.split_once(char::is_whitespace))
        .filter(|(kind, _)| kind.eq_ignore_ascii_case(service.name()))
        .map(|(_, version)| version.trim())
        .next_back();
    let legacy = || match service {
        Service::Compute => entries(NOVA_API_VERSION).next_back(),
        _ => None,
    };
    standard.or_else(legacy).map(str::to_owned)
}

/// Says the version, unless there is none to say, and that the answer depends on it.
fn say(service: Service, version: &str, headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("OpenStack-API-Version"));
    let spoken = HeaderValue::from_str(&format!("{} {version}", service.name()));
    if let (false, Ok(value)) = (version.is_empty(), spoken) {
        headers.insert(API_VERSION, value);
    }
    if service == Service::Compute {
        headers.append(header::VARY, HeaderValue::from_static("X-OpenStack-Nova-API-Version"));
        if let (false, Ok(value)) = (version.is_empty(), HeaderValue::from_str(version)) {
            headers.insert(NOVA_API_VERSION, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_strictly_as_the_services_read_them() {
        assert_eq!(Microversion::parse("2.1"), Some(Microversion::new(2, 1)));
        assert_eq!(Microversion::parse("3.0"), Some(Microversion::new(3, 0)));
        let huge = Microversion::new(2, u32::MAX);
        assert_eq!(Microversion::parse("2.99999999999999999999"), Some(huge));
        for text in ["", "2", "2.", ".1", "0.1", "02.1", "2.01", "2.1.1", "2.x", "+2.1", "２.1"] {
            assert_eq!(Microversion::parse(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_not_by_text() {
        assert!(Microversion::new(2, 100) > Microversion::new(2, 99));
    }
}
