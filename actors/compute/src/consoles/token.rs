//! The token of a console: which server, and a secret.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use updraft_runtime::Env;
use uuid::Uuid;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Bytes of a server's id.
const SERVER_BYTES: usize = 16;

/// What nobody can guess.
pub(super) struct Secret([u8; SECRET_BYTES]);

impl Secret {
    pub(super) fn draw(env: &Env) -> Self {
        let mut secret = [0; SECRET_BYTES];
        env.rng("console token").fill_bytes(&mut secret);
        Self(secret)
    }

    /// What the store has of it.
    pub(super) fn digest(&self) -> String {
        base16ct::lower::encode_string(&Sha256::digest(self.0))
    }

    /// Whether the store's digest is of this secret, in constant time.
    pub(super) fn fits(&self, digest: &str) -> bool {
        self.digest().as_bytes().ct_eq(digest.as_bytes()).into()
    }

    /// The token that opens a console of this server.
    pub(super) fn token(&self, server: Uuid) -> String {
        URL_SAFE_NO_PAD.encode([server.as_bytes(), &self.0[..]].concat())
    }
}

/// The server and the secret that a token is made of; `None` if it is no token.
pub(super) fn parse(token: &str) -> Option<(Uuid, Secret)> {
    if token.len() > (SERVER_BYTES + SECRET_BYTES) * 2 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (server, secret) = bytes.split_first_chunk::<SERVER_BYTES>()?;
    Some((Uuid::from_bytes(*server), Secret(secret.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made_and_no_other() {
        let (secret, server) = (Secret([7; SECRET_BYTES]), Uuid::from_u128(9));
        let token = secret.token(server);
        let (read, of) = parse(&token).map(|(server, secret)| (secret, server)).unwrap();
        assert_eq!(of, server);
        assert!(read.fits(&secret.digest()));
        assert!(!Secret([8; SECRET_BYTES]).fits(&secret.digest()));
        for wrong in ["", "x", &token[1..], &format!("{token}AA"), &"A".repeat(10_000)] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
