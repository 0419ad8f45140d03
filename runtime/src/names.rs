//! Names of what runs on one node.
//!
//! Owns the node's register: ractor's own is one for the whole process, where a simulation has many nodes. Promises
//! that a name means one thing at a time, and that it is free again when its [`Registration`] is dropped.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// Names given at once on one node: more than any has actors, so that a bug that makes names up is noticed.
pub const NAMES_MAX: usize = 65_536;

type Register = Arc<Mutex<BTreeMap<Arc<str>, Box<dyn Any + Send>>>>;

/// Why a name was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Something that runs has it.
    #[error("the name {0} is taken on this node")]
    Taken(String),
    /// There are too many.
    #[error("{NAMES_MAX} names are given on this node already")]
    TooMany,
}

/// A node's register, cheap to clone.
#[derive(Clone, Default)]
pub struct Names {
    register: Register,
}

/// A name that is given; free again when this is dropped.
#[must_use = "the name is free again at once"]
pub struct Registration {
    register: Register,
    name: Arc<str>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        // What had the name may itself hold another one: it is dropped when the register is free again.
        let gone = self.register.lock().remove(&self.name);
        drop(gone);
    }
}

impl Names {
    /// Gives `what`, such as a handle to an actor, this name.
    pub fn register<T: Any + Send>(&self, name: &str, what: T) -> Result<Registration, NameError> {
        let mut register = self.register.lock();
        if register.contains_key(name) {
            return Err(NameError::Taken(name.to_owned()));
        }
        if register.len() >= NAMES_MAX {
            return Err(NameError::TooMany);
        }
        let name: Arc<str> = name.into();
        register.insert(name.clone(), Box::new(what));
        Ok(Registration { register: self.register.clone(), name })
    }

    /// What has this name, if it is of this type.
    #[must_use]
    pub fn find<T: Any + Clone>(&self, name: &str) -> Option<T> {
        self.register.lock().get(name)?.downcast_ref::<T>().cloned()
    }

    /// Every name that is given, in order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<str>> {
        self.register.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_thing_until_it_is_given_back() {
        let names = Names::default();
        let first = names.register("clock", 1_u32).unwrap();
        assert_eq!(names.find::<u32>("clock"), Some(1));
        assert_eq!(names.find::<u64>("clock"), None, "it is of another type");
        let taken = names.register("clock", 2_u32).err();
        assert_eq!(taken, Some(NameError::Taken("clock".to_owned())));
        drop(first);
        assert_eq!(names.find::<u32>("clock"), None);
        let _second = names.register("clock", 2_u32).unwrap();
        assert_eq!((names.find::<u32>("clock"), names.all().len()), (Some(2), 1));
    }

    #[test]
    fn two_nodes_have_names_of_their_own() {
        let (one, two) = (Names::default(), Names::default());
        let _one = one.register("clock", ()).unwrap();
        assert!(two.register("clock", ()).is_ok());
    }
}
