//! JSON into a type, more strictly than `serde_json` does it and with complaints for people.
//!
//! A derived type takes an array for an object, field by field; no API of OpenStack does, and
//! neither does this. Complaints are in the words of JSON schema, which clients of these services
//! know, and hold no name of a Rust type.

use std::fmt::{self, Display};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Complaint(String);

impl Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Complaint {}

impl de::Error for Complaint {
    fn custom<T: Display>(message: T) -> Self {
        let message = message.to_string();
        let end = message.find(" of untagged enum ").unwrap_or(message.len());
        Self(message.chars().take(end).collect())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("{} where {} belongs", kind(found), plain(&expected.to_string())))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("{} where {} belongs", shown(found), plain(&expected.to_string())))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self(format!("{length} elements where {} belongs", plain(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("'{variant}' is not one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self(format!("Additional properties are not allowed ('{field}' was unexpected)"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("'{field}' is a required property"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(format!("'{field}' is there twice"))
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        // It may be long, or secret.
        other => format!("{} of this value", kind(other)),
    }
}

/// What is expected, without the names of types, which are nobody's business.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "u128" | "usize" => "an integer of 0 or more",
        "i8" | "i16" | "i32" => "an integer of moderate size",
        "i64" | "i128" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "unit" => "null",
        "a map" => "an object",
        "a sequence" => "an array",
        _ if expected.starts_with("struct ") => "an object",
        _ if expected.starts_with("tuple ") || expected.starts_with("a tuple") => "an array",
        _ if expected.contains("enum ") => "one of the known values",
        other => other,
    }
}

/// A value as a source of typed data.
#[derive(Clone, Copy)]
pub(super) struct Strict<'de>(pub(super) &'de Value);

impl<'de> IntoDeserializer<'de, Complaint> for Strict<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = Complaint;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(values) => {
                let mut values = SeqDeserializer::new(values.iter().map(Strict));
                let result = visitor.visit_seq(&mut values)?;
                values.end()?;
                Ok(result)
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.as_str(), Strict(value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Complaint> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        match self.0 {
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Object(fields) => visitor.visit_enum(Variant::of(fields)?),
            other => Err(de::Error::invalid_type(unexpected(other), &visitor)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Number(_) => Unexpected::Float(0.0),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

/// An enum's variant that carries something: `{"name": content}`.
struct Variant<'de> {
    name: &'de str,
    content: Strict<'de>,
}

impl<'de> Variant<'de> {
    fn of(fields: &'de Map<String, Value>) -> Result<Self, Complaint> {
        let mut fields = fields.iter();
        match (fields.next(), fields.next()) {
            (Some((name, value)), None) => Ok(Self { name, content: Strict(value) }),
            _ => Err(de::Error::custom("there must be exactly one property")),
        }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Complaint;
    type Variant = Self;

    fn variant_seed<V: de::DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), Complaint> {
        let name = seed.deserialize(self.name.into_deserializer())?;
        Ok((name, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Complaint;

    fn unit_variant(self) -> Result<(), Complaint> {
        Deserialize::deserialize(self.content)
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Complaint> {
        seed.deserialize(self.content)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Complaint> {
        self.content.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Complaint> {
        self.content.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Action {
        Stop,
        Reboot { hard: bool },
        Rename(String),
        Move(u8, u8),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Words(Vec<String>),
    }

    fn read<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, String> {
        T::deserialize(Strict(value)).map_err(|complaint| complaint.to_string())
    }

    #[test]
    fn every_form_of_an_enum_is_read() {
        assert_eq!(read(&json!("stop")), Ok(Action::Stop));
        assert_eq!(read(&json!({"stop": null})), Ok(Action::Stop));
        assert_eq!(read(&json!({"reboot": {"hard": true}})), Ok(Action::Reboot { hard: true }));
        assert_eq!(read(&json!({"rename": "b"})), Ok(Action::Rename("b".to_owned())));
        assert_eq!(read(&json!({"move": [1, 2]})), Ok(Action::Move(1, 2)));
        assert_eq!(read(&json!(-7)), Ok(Either::Number(-7)));
        assert_eq!(read(&json!(["a"])), Ok(Either::Words(vec!["a".to_owned()])));
    }

    #[test]
    fn complaints_name_no_type() {
        let table = [
            (json!("fly"), "'fly' is not one of stop, reboot, rename, move"),
            (json!({"reboot": {}}), "'hard' is a required property"),
            (json!({"reboot": [true]}), "an array where an object belongs"),
            (json!({"move": [1, 300]}), "300 where an integer from 0 to 255 belongs"),
            (json!({"a": 1, "b": 2}), "there must be exactly one property"),
            (json!(5), "a number where one of the known values belongs"),
        ];
        for (value, complaint) in table {
            assert_eq!(read::<Action>(&value), Err(complaint.to_owned()), "{value}");
        }
        let neither = read::<Either>(&json!({})).expect_err("neither");
        assert_eq!(neither, "data did not match any variant");
    }

    #[test]
    fn an_array_is_no_object_and_a_surplus_is_an_error() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Pair {
            a: u8,
            b: u8,
        }
        assert_eq!(read(&json!({"a": 1, "b": 2})), Ok(Pair { a: 1, b: 2 }));
        let array = read::<Pair>(&json!([1, 2]));
        assert_eq!(array, Err("an array where an object belongs".to_owned()));
        assert!(read::<(u8, u8)>(&json!([1, 2, 3])).is_err());
    }
}
