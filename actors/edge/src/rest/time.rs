//! Times as each service writes them.

use time::{
    OffsetDateTime, PrimitiveDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};
use updraft_runtime::env::UnixMicros;

const MICROS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
const SECS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// `2026-01-01T00:00:00.000000Z`: identity.
#[must_use]
pub fn iso_micros_z(time: UnixMicros) -> String {
    format!("{}Z", iso_micros(time))
}

/// `2026-01-01T00:00:00Z`: compute, image, network.
#[must_use]
pub fn iso_secs_z(time: UnixMicros) -> String {
    format!("{}Z", written(time, SECS))
}

/// `2026-01-01T00:00:00.000000`, in UTC without saying so: volume, and compute's `launched_at`.
#[must_use]
pub fn iso_micros(time: UnixMicros) -> String {
    written(time, MICROS)
}

/// A time as a client writes it: any of the forms here, a date and time with an offset, or one
/// with a space in the middle. Without an offset it is UTC.
#[must_use]
pub fn parse(text: &str) -> Option<UnixMicros> {
    let text = text.trim().replacen(' ', "T", 1);
    let time = OffsetDateTime::parse(&text, &Rfc3339).ok().or_else(|| {
        let bare = text.trim_end_matches('Z');
        [MICROS, SECS]
            .iter()
            .find_map(|form| PrimitiveDateTime::parse(bare, form).ok())
            .map(PrimitiveDateTime::assume_utc)
    })?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000).ok().map(UnixMicros)
}

/// A time beyond the year 9999 is written as 1970: no row has one.
fn written(time: UnixMicros, form: &[BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&form)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: UnixMicros = UnixMicros(1_767_225_600_123_456);

    #[test]
    fn each_form_is_written_as_its_service_writes_it() {
        assert_eq!(iso_micros_z(TIME), "2026-01-01T00:00:00.123456Z");
        assert_eq!(iso_micros_z(UnixMicros(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(iso_secs_z(TIME), "2026-01-01T00:00:00Z");
        assert_eq!(iso_micros(TIME), "2026-01-01T00:00:00.123456");
    }

    #[test]
    fn every_written_form_is_read_back() {
        assert_eq!(parse(&iso_micros_z(TIME)), Some(TIME));
        assert_eq!(parse(&iso_micros(TIME)), Some(TIME));
        assert_eq!(parse(&iso_secs_z(TIME)), Some(UnixMicros(1_767_225_600_000_000)));
        assert_eq!(parse("2026-01-01T02:00:00.123456+02:00"), Some(TIME));
        assert_eq!(parse("2026-01-01 00:00:00.123456"), Some(TIME));
    }

    #[test]
    fn what_is_no_time_is_none_and_the_far_future_does_not_panic() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "1960-01-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(iso_secs_z(UnixMicros(u64::MAX)), "1970-01-01T00:00:00Z");
    }
}
