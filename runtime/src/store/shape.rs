//! Rows without their service: that one can be read, and what is kept of it.
//!
//! A folder outlives the program that wrote it. What a program would make of an older row is only known by
//! reading one; so a service lists its kinds of rows, and a test holds them to rows of all former shapes.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use super::Record;

/// A kind of row, or of entry in a log.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Its table or log.
    pub table: &'static str,
    reread: fn(&[u8]) -> Result<Vec<u8>, serde_json::Error>,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shape").field(&self.table).finish()
    }
}

impl Shape {
    /// The shape of this record's rows.
    #[must_use]
    pub fn of<R: Record>() -> Self {
        Self::of_log::<R>(R::TABLE)
    }

    /// The shape of a log's entries.
    #[must_use]
    pub fn of_log<T: Serialize + DeserializeOwned>(log: &'static str) -> Self {
        Self {
            table: log,
            reread: |stored| serde_json::to_vec(&serde_json::from_slice::<T>(stored)?),
        }
    }

    /// Reads what is stored, and returns it as it would be written now.
    pub fn reread(&self, stored: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        (self.reread)(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_does_not_know_is_not_written_again() {
        #[derive(Serialize, serde::Deserialize)]
        struct Fruit {
            name: String,
            #[serde(default)]
            ripe: bool,
        }
        let fruit = Shape::of_log::<Fruit>("shop/fruit");
        let again = fruit.reread(br#"{"name":"fig","stones":3}"#).unwrap();
        assert_eq!(again, br#"{"name":"fig","ripe":false}"#);
        assert!(fruit.reread(b"{}").unwrap_err().to_string().contains("name"));
    }
}
