//! Kinds of values in requests, which refuse what is none of them in the words of JSON schema.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A name of 1 to `MAX` characters, not all of them blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name<const MAX: usize>(String);

impl<const MAX: usize> Name<MAX> {
    /// The name without blanks around it, which is how it is stored.
    pub(super) fn trimmed(self) -> String {
        self.0.trim().to_owned()
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Name<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check_length(&text, MAX)?;
        if text.trim().is_empty() {
            return Err(D::Error::custom(format!("'{text}' does not match '[\\\\S]+'")));
        }
        Ok(Self(text))
    }
}

/// An id of 1 to 64 letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check_length(&text, 64)?;
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let text = text.escape_debug();
            return Err(D::Error::custom(format!("'{text}' does not match '^[a-zA-Z0-9-]+$'")));
        }
        Ok(Self(text))
    }
}

/// A tag of 1 to 255 characters, none of them a comma or a slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) String);

impl Tag {
    /// The tag, if it is one.
    pub(super) fn new(text: &str) -> Result<Self, serde::de::value::Error> {
        check_length(text, 255)?;
        if text.contains([',', '/']) {
            let text = text.escape_debug();
            return Err(Error::custom(format!("'{text}' does not match '^[^,/]*$'")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// An address with a scheme, of at most 225 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url(pub(super) String);

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check_length(&text, 225)?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"+.-".contains(&b);
        let has_scheme = text.split_once(':').is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && scheme.bytes().all(legal) && !rest.is_empty()
        });
        if has_scheme {
            return Ok(Self(text));
        }
        let text = text.escape_debug();
        Err(D::Error::custom(format!("'{text}' does not match '^[a-zA-Z0-9+.-]+:.+'")))
    }
}

fn check_length<E: Error>(text: &str, max: usize) -> Result<(), E> {
    let shown = |text: &str| text.chars().take(80).collect::<String>();
    if text.is_empty() {
        return Err(E::custom("'' should be non-empty"));
    }
    if text.chars().count() > max {
        return Err(E::custom(format!("'{}' is too long", shown(text))));
    }
    Ok(())
}

/// True or false, or one of the words that clients write for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean")
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Flag, E> {
                match word {
                    "True" | "TRUE" | "true" | "1" | "y" | "Y" | "on" | "ON" | "yes" => {
                        Ok(Flag(true))
                    }
                    "False" | "FALSE" | "false" | "" | "0" | "n" | "N" | "off" | "OFF" | "no" => {
                        Ok(Flag(false))
                    }
                    word => Err(E::custom(format!("'{}' is not a boolean", word.escape_debug()))),
                }
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// Keeps `null` apart from nothing: for fields that an update may empty.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_neither_empty_nor_blank_nor_too_long() {
        assert_eq!(read::<Name<5>>(json!(" ab ")).map(Name::trimmed), Ok("ab".to_owned()));
        assert_eq!(read::<Name<5>>(json!("äöüäö")).map(Name::trimmed), Ok("äöüäö".to_owned()));
        assert_eq!(read::<Name<5>>(json!("")), Err("'' should be non-empty".to_owned()));
        assert_eq!(read::<Name<5>>(json!("abcdef")), Err("'abcdef' is too long".to_owned()));
        assert_eq!(read::<Name<5>>(json!(" ")), Err("' ' does not match '[\\\\S]+'".to_owned()));
        assert!(read::<Name<5>>(json!(5)).is_err());
    }

    #[test]
    fn a_flag_may_be_a_word() {
        for (value, flag) in [(json!(true), true), (json!("False"), false), (json!("yes"), true)] {
            assert_eq!(read::<Flag>(value.clone()), Ok(Flag(flag)), "{value}");
        }
        for value in [json!("maybe"), json!(1), json!(null)] {
            assert!(read::<Flag>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn an_address_has_a_scheme() {
        assert!(read::<Url>(json!("http://c:8774/$(project_id)s")).is_ok());
        for wrong in ["", "controller", ":8774", "http:", "h p://c"] {
            assert!(read::<Url>(json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_and_a_tag_keep_to_their_letters() {
        assert!(read::<Id>(json!("default-1")).is_ok());
        assert!(read::<Id>(json!("a/b")).is_err());
        assert!(read::<Tag>(json!("blue sky")).is_ok());
        assert!(read::<Tag>(json!("a,b")).is_err());
    }
}
