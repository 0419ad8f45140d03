//! The kinds of values that compute's bodies are made of, each refused in words that name what is wrong.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Longest name, tag, key or value, in characters, as everywhere in nova.
pub(crate) const NAME_MAX_CHARS: usize = 255;

/// Largest number in a body: what nova's database holds.
pub(crate) const NUMBER_MAX: i64 = 0x7FFF_FFFF;

/// A text of this many characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text<const MIN: usize, const MAX: usize>(pub(crate) String);

/// What things are called.
pub(crate) type Name = Text<1, NAME_MAX_CHARS>;

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let length = text.trim().chars().count();
        if length < MIN {
            return Err(D::Error::custom(format_args!("'{text}' is too short")));
        }
        if text.chars().count() > MAX {
            let shown: String = text.chars().take(NAME_MAX_CHARS).collect();
            return Err(D::Error::custom(format_args!("'{shown}' is too long")));
        }
        if text.chars().any(|c| c.is_control() && MAX <= NAME_MAX_CHARS) {
            return Err(D::Error::custom("a control character is not allowed here"));
        }
        Ok(Self(text))
    }
}

/// A whole number in these bounds, also as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Int<const MIN: i64, const MAX: i64>(pub(crate) i64);

/// A whole number of 0 or more.
pub(crate) type Count = Int<0, NUMBER_MAX>;

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Int<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(WholeNumber)?;
        if number < MIN {
            return Err(D::Error::custom(format_args!(
                "{number} is less than the minimum of {MIN}"
            )));
        }
        if number > MAX {
            return Err(D::Error::custom(format_args!(
                "{number} is greater than the maximum of {MAX}"
            )));
        }
        Ok(Self(number))
    }
}

struct WholeNumber;

impl Visitor<'_> for WholeNumber {
    type Value = i64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        text.parse().map_err(|_| E::custom(format_args!("'{text}' is not an integer")))
    }
}

/// True or false, also as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TrueOrFalse).map(Self)
    }
}

struct TrueOrFalse;

impl Visitor<'_> for TrueOrFalse {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean")
    }
    fn visit_bool<E: Error>(self, flag: bool) -> Result<bool, E> {
        Ok(flag)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "t" | "y" => Ok(true),
            "false" | "0" | "off" | "no" | "f" | "n" => Ok(false),
            _ => Err(E::custom(format_args!("'{text}' is not a boolean"))),
        }
    }
}

/// A number above 0, also as text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decimal(pub(crate) f64);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(AnyNumber)?;
        let legal = number.is_finite() && number > 0.0;
        let wrong = || D::Error::custom(format_args!("{number} is not a number above 0"));
        legal.then_some(Self(number)).ok_or_else(wrong)
    }
}

struct AnyNumber;

#[allow(clippy::cast_precision_loss, reason = "a factor need not be exact beyond 2^52")]
impl Visitor<'_> for AnyNumber {
    type Value = f64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        text.parse().map_err(|_| E::custom(format_args!("'{text}' is not a number")))
    }
}

/// An id that clients send as text or as a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ref(pub(crate) String);

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(TextOrNumber)?;
        if text.is_empty() {
            return Err(D::Error::custom("'' is too short"));
        }
        // Old clients send an address that ends in the id.
        let id = text.rsplit('/').next().unwrap_or(&text);
        Ok(Self(id.to_owned()))
    }
}

/// Reads a text, or a number as its text.
pub(crate) struct TextOrNumber;

impl Visitor<'_> for TextOrNumber {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// The user's keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata(pub(crate) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<String, Text<0, NAME_MAX_CHARS>>::deserialize(deserializer)?;
        match all.keys().find(|key| !is_key(key)) {
            Some(key) => Err(D::Error::custom(format_args!(
                "Additional properties are not allowed ('{key}' was unexpected)"
            ))),
            None => Ok(Self(all.into_iter().map(|(key, value)| (key, value.0)).collect())),
        }
    }
}

/// Whether this may be a key of metadata or extra specs.
pub(crate) fn is_key(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_:. ".contains(c);
    (1..=NAME_MAX_CHARS).contains(&text.chars().count()) && text.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use updraft_edge::rest::{Service, from_value};

    use super::*;

    fn refusal<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> String {
        match from_value::<BTreeMap<String, T>>(Service::Compute, &json!({ "field": value })) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn numbers_and_flags_may_be_text() {
        assert_eq!(refusal::<Count>(&json!(7)), "accepted");
        assert_eq!(refusal::<Count>(&json!("7")), "accepted");
        assert_eq!(refusal::<Flag>(&json!("True")), "accepted");
        assert_eq!(refusal::<Flag>(&json!(false)), "accepted");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            (refusal::<Count>(&json!("x")), "field. Value: \"x\". 'x' is not an integer"),
            (refusal::<Count>(&json!(-1)), "field. Value: -1. -1 is less than the minimum of 0"),
            (refusal::<Flag>(&json!(3)), "field. Value: 3. a number where a boolean belongs"),
            (refusal::<Name>(&json!("")), "field. Value: \"\". '' is too short"),
            (refusal::<Name>(&json!(5)), "field. Value: 5. a number where a string belongs"),
            (
                refusal::<Metadata>(&json!({"a/b": "c"})),
                "field. Value: an object. Additional properties are not allowed ('a/b' was \
                 unexpected)",
            ),
        ];
        for (said, expected) in table {
            assert_eq!(said, format!("Invalid input for field/attribute {expected}"));
        }
    }
}
