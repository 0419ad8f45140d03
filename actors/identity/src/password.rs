//! Passwords: hashed with argon2id, off the threads that serve the network.
//!
//! Promises that checking a password costs the same whether the user exists, has a password or has
//! another one, that only a few hashes are made at once, and that only so many wait for their turn.
//! A hash is stored as a PHC string, which names its own cost: a changed setting leaves old ones valid.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use rand::RngCore;
use tokio::sync::Semaphore;
use updraft_runtime::Env;

use crate::error::Error;

/// Longest password, in bytes, as Keystone has it: enough for any phrase, and hashing it costs little.
pub const PASSWORD_MAX_BYTES: usize = 4_096;

/// How many passwords may wait to be hashed. At the default cost and two at a time this is a wait of
/// some seconds; a client whose turn would come later is told so at once.
pub const HASHES_WAITING_MAX: usize = 256;

/// Bytes of a salt, as argon2's authors recommend.
const SALT_BYTES: usize = 16;

/// What hashing one password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// How many are made at once; each takes a thread of the blocking pool and the memory.
    pub at_once: usize,
}

impl Default for HashCost {
    /// What OWASP recommends for argon2id: 19 MiB and two passes, some 20 ms.
    fn default() -> Self {
        Self { memory_kib: 19 * 1_024, passes: 2, at_once: 2 }
    }
}

impl HashCost {
    /// As little as argon2 allows: for simulations and tests, never for a cloud that is reachable.
    #[must_use]
    pub fn least() -> Self {
        Self { memory_kib: Params::MIN_M_COST, passes: 1, at_once: 2 }
    }

    fn argon2(self) -> Result<Argon2<'static>, Error> {
        let params = Params::new(self.memory_kib, self.passes, 1, None)
            .map_err(|_| Error::Internal("the cost of hashing is out of bounds"))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// Hashes and checks passwords, some at a time.
#[derive(Clone)]
pub(crate) struct Hasher {
    env: Env,
    cost: HashCost,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// A hash of a password that nobody knows, which stands in for one that does not exist.
    nobody: Arc<tokio::sync::OnceCell<String>>,
}

impl Hasher {
    pub(crate) fn new(env: Env, cost: HashCost) -> Self {
        let at_once = cost.at_once.max(1);
        Self {
            env,
            cost,
            turns: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(at_once + HASHES_WAITING_MAX)),
            nobody: Arc::default(),
        }
    }

    /// The hash to store for a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Error> {
        if password.len() > PASSWORD_MAX_BYTES {
            return Err(too_long());
        }
        let salt = self.salt();
        let argon2 = self.cost.argon2()?;
        let work = move || {
            argon2.hash_password_with_salt(password.as_bytes(), &salt).map(|hash| hash.to_string())
        };
        self.in_turn(work).await?.map_err(|_| Error::Internal("argon2 did not take a password"))
    }

    /// Whether this is the password of the hash. Without a hash it never is, at the same cost.
    pub(crate) async fn check(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        if password.len() > PASSWORD_MAX_BYTES {
            return Err(Error::Unauthenticated("the password is too long"));
        }
        let exists = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => self.nobody.get_or_try_init(|| self.hash_of_nobody()).await?.clone(),
        };
        let argon2 = self.cost.argon2()?;
        // The comparison inside is constant-time.
        let work = move || argon2.verify_password(password.as_bytes(), &*hash).is_ok();
        let right = self.in_turn(work).await?;
        Ok(right && exists)
    }

    async fn hash_of_nobody(&self) -> Result<String, Error> {
        self.hash(base16ct::lower::encode_string(&self.salt())).await
    }

    fn salt(&self) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        self.env.rng("password salt").fill_bytes(&mut salt);
        salt
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::Busy("a password to be checked");
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let _turn = self.turns.acquire().await.map_err(|_| busy())?;
        Ok(self.env.blocking(work).await?)
    }
}

fn too_long() -> Error {
    Error::Forbidden(format!(
        "The password length must be less than or equal to {PASSWORD_MAX_BYTES}. The server could \
         not comply with the request because the password is invalid."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(at_once: usize) -> Hasher {
        Hasher::new(Env::real(), HashCost { at_once, ..HashCost::least() })
    }

    #[tokio::test]
    async fn the_right_password_passes_and_no_other() {
        let hasher = hasher(2);
        let hash = hasher.hash("correct horse".to_owned()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        let check = |password: &str, hash: Option<String>| {
            let (hasher, password) = (hasher.clone(), password.to_owned());
            async move { hasher.check(password, hash).await.expect("checked") }
        };
        assert!(check("correct horse", Some(hash.clone())).await);
        assert!(!check("correct horsf", Some(hash.clone())).await);
        assert!(!check("", Some(hash)).await);
        assert!(!check("correct horse", None).await);
        assert!(!check("correct horse", Some("not a hash".to_owned())).await);
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        let hasher = hasher(2);
        let one = hasher.hash("same".to_owned()).await.expect("hashed");
        let other = hasher.hash("same".to_owned()).await.expect("hashed");
        assert_ne!(one, other);
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_still_counts() {
        let dear =
            Hasher::new(Env::real(), HashCost { memory_kib: 64, passes: 3, ..HashCost::least() });
        let hash = dear.hash("secret".to_owned()).await.expect("hashed");
        assert!(hasher(1).check("secret".to_owned(), Some(hash)).await.expect("checked"));
    }

    #[tokio::test]
    async fn a_password_beyond_the_limit_is_refused_before_it_is_hashed() {
        let long = "x".repeat(PASSWORD_MAX_BYTES + 1);
        assert!(matches!(hasher(1).hash(long.clone()).await, Err(Error::Forbidden(_))));
        assert!(matches!(hasher(1).check(long, None).await, Err(Error::Unauthenticated(_))));
    }

    #[tokio::test]
    async fn beyond_those_that_may_wait_one_more_is_turned_away() {
        let hasher = hasher(1);
        let _turn = hasher.turns.acquire().await.expect("open");
        let all = u32::try_from(HASHES_WAITING_MAX + 1).expect("small");
        let _places = hasher.places.acquire_many(all).await.expect("open");
        assert!(matches!(hasher.hash("x".to_owned()).await, Err(Error::Busy(_))));
    }
}
