//! A request's JSON body: bounded, read, and refused in words that name the field.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{edge::Context, error::ServiceError, service::Service, strict::Strict};

/// Largest JSON body unless a setting says otherwise, in bytes; what OpenStack's services allow.
pub const JSON_BODY_MAX_BYTES: usize = 114_688;

/// How long a client may take to send a JSON body.
pub const JSON_BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Most characters of a wrong value that an error repeats.
const SHOWN_VALUE_MAX_CHARS: usize = 120;

/// Parts of field names whose values an error does not repeat.
const SECRET_FIELDS: [&str; 4] = ["pass", "secret", "token", "user_data"];

/// A handler's argument: the request's body as JSON of this type.
///
/// A mistake is refused with 400 and the field's name, too much with 413, a wrong type of content
/// as the service does it.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ServiceError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ServiceError> {
        let context = Context::of(request.extensions())?;
        content_type(context.service, request.headers())?;
        let bytes = read(&context, request).await?;
        parse(context.service, &bytes).map(Self)
    }
}

fn content_type(service: Service, headers: &HeaderMap) -> Result<(), ServiceError> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let json = kind.is_empty() || kind == "application/json" || kind.ends_with("+json");
    match service {
        // What it takes besides JSON differs by route, and its handlers look for themselves.
        Service::Image => Ok(()),
        Service::Identity if !json => Err(service.bad_request(
            "Expecting to find application/json in Content-Type header. The server could not \
             comply with the request since it is either malformed or otherwise incorrect. The \
             client is assumed to be in error.",
        )),
        Service::Identity => Ok(()),
        _ if json || kind == "text/plain" => Ok(()),
        _ => Err(service.unsupported_media_type()),
    }
}

async fn read(context: &Arc<Context>, request: Request) -> Result<Bytes, ServiceError> {
    let (service, limit) = (context.service, context.json_body_max_bytes);
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(service.body_too_large(limit));
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match context.env.timeout(JSON_BODY_TIMEOUT, body).await {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(service.body_too_large(limit)),
        Some(Err(_)) => Err(malformed(service, "it ended early")),
        None => Err(service.error(
            StatusCode::REQUEST_TIMEOUT,
            format!("The request's body took longer than {} seconds.", JSON_BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn malformed(service: Service, reason: impl std::fmt::Display) -> ServiceError {
    let message = match service {
        Service::Identity => format!(
            "Expecting to find valid JSON in request body: {reason}. The server could not comply \
             with the request since it is either malformed or otherwise incorrect. The client is \
             assumed to be in error."
        ),
        Service::Image => format!("Malformed JSON in request body: {reason}."),
        Service::Network => format!("Body contains invalid data: {reason}."),
        Service::Compute | Service::Volume | Service::Cloud => {
            format!("Malformed request body: {reason}")
        }
    };
    service.bad_request(message)
}

/// A value of this type from a body, or an error that names the field and what is wrong with it.
pub fn parse<T: DeserializeOwned>(service: Service, body: &[u8]) -> Result<T, ServiceError> {
    if body.is_empty() {
        return Err(malformed(service, "it is empty"));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| malformed(service, error))?;
    from_value(service, &value)
}

/// The same from JSON that was read already.
pub fn from_value<T: DeserializeOwned>(service: Service, value: &Value) -> Result<T, ServiceError> {
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let (path, wrong) = locate(value, error.path().iter());
        service.invalid_field(&path, &shown(&path, wrong), &error.inner().to_string())
    })
}

/// The path as text and the value that stands there.
fn locate<'a, 'v>(
    body: &'v Value,
    segments: impl Iterator<Item = &'a Segment>,
) -> (String, Option<&'v Value>) {
    let mut path = String::new();
    let mut at = Some(body);
    for segment in segments {
        match segment {
            Segment::Seq { index } => {
                path.push_str(&format!("[{index}]"));
                at = at.and_then(|value| value.get(index));
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                at = at.and_then(|value| value.get(key));
            }
            Segment::Unknown => {}
        }
    }
    (path, at)
}

/// The wrong value for an error's text, cut short, and hidden if its name speaks of a secret.
fn shown(path: &str, value: Option<&Value>) -> String {
    let path = path.to_ascii_lowercase();
    if SECRET_FIELDS.iter().any(|word| path.contains(word)) {
        return "***".to_owned();
    }
    match value {
        Some(Value::Object(_)) => "an object".to_owned(),
        Some(Value::Array(_)) => "an array".to_owned(),
        Some(value) => value.to_string().chars().take(SHOWN_VALUE_MAX_CHARS).collect(),
        None => "None".to_owned(),
    }
}
