//! Errors as pages, which is how the image service tells them: HTML, JSON or plain text by `Accept`.

use axum::http::StatusCode;
use serde_json::json;

/// What a client takes of what is on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Plain,
}

/// The media type and body of an error for a client that accepts these types.
pub(super) fn render(
    status: StatusCode,
    message: &str,
    accept: Option<&str>,
) -> (&'static str, String) {
    let title = status.canonical_reason().unwrap_or_default();
    let line = format!("{} {title}", status.as_u16());
    match negotiate(accept) {
        Form::Html => {
            let message = escape(message);
            let body = format!(
                "<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  \
                 <h1>{line}</h1>\n  {message}<br /><br />\n\n\n </body>\n</html>"
            );
            ("text/html; charset=UTF-8", body)
        }
        Form::Json => {
            let message = format!("{message}<br /><br />\n\n\n");
            let body = json!({"message": message, "code": line, "title": title});
            ("application/json", body.to_string())
        }
        Form::Plain => ("text/plain; charset=UTF-8", format!("{line}\n\n{message}\n\n   ")),
    }
}

/// The better liked of HTML and JSON, HTML if both are liked as well, plain text if neither is.
fn negotiate(accept: Option<&str>) -> Form {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return Form::Html;
    };
    let html = liking(accept, "text", "html");
    let json = liking(accept, "application", "json");
    match (html, json) {
        (0, 0) => Form::Plain,
        (html, json) if html >= json => Form::Html,
        _ => Form::Json,
    }
}

/// How much a type is liked, in thousandths. The most specific range that fits counts.
fn liking(accept: &str, major: &str, minor: &str) -> u32 {
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let specific = match kind.split_once('/') {
            Some(("*", "*")) => 1,
            Some((a, "*")) if a.eq_ignore_ascii_case(major) => 2,
            Some((a, b)) if a.eq_ignore_ascii_case(major) && b.eq_ignore_ascii_case(minor) => 3,
            _ => continue,
        };
        let liked = parts.find_map(|part| part.strip_prefix("q=")).map_or(1_000, thousandths);
        if specific > best.0 {
            best = (specific, liked);
        }
    }
    best.1
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0 ..= 1000 first"
)]
fn thousandths(quality: &str) -> u32 {
    let quality: f32 = quality.trim().parse().unwrap_or(0.0);
    (quality.clamp(0.0, 1.0) * 1_000.0) as u32
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#x27;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_the_client_likes_best() {
        let table = [
            (None, Form::Html),
            (Some(""), Form::Html),
            (Some("*/*"), Form::Html),
            (Some("application/json"), Form::Json),
            (Some("application/json, */*;q=0.1"), Form::Json),
            (Some("text/*;q=0.5, application/json;q=0.4"), Form::Html),
            (Some("text/html;q=0, */*"), Form::Json),
            (Some("image/png"), Form::Plain),
            (Some("text/html;q=x"), Form::Plain),
            (Some(";;,,/"), Form::Plain),
        ];
        for (accept, form) in table {
            assert_eq!(negotiate(accept), form, "{accept:?}");
        }
    }

    #[test]
    fn a_message_cannot_bring_markup_into_a_page() {
        let (_, body) = render(StatusCode::NOT_FOUND, "<script>'&\"", None);
        assert!(body.contains("&lt;script&gt;&#x27;&amp;&quot;<br />"), "{body}");
        assert!(body.contains("<title>404 Not Found</title>"), "{body}");
    }

    #[test]
    fn plain_text_and_json_say_the_same() {
        let (_, plain) = render(StatusCode::CONFLICT, "It is in use.", Some("image/png"));
        assert!(plain.starts_with("409 Conflict\n\nIt is in use."));
        let (_, json) = render(StatusCode::CONFLICT, "It is in use.", Some("application/json"));
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["code"], "409 Conflict");
        assert_eq!(json["message"], "It is in use.<br /><br />\n\n\n");
    }
}
