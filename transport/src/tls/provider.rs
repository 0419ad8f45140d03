//! The one suite that nodes speak, with entropy and time from the host.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use rustls::{
    Error, NamedGroup, PeerMisbehaved, SignatureScheme,
    crypto::{
        ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
        SupportedKxGroup, WebPkiSupportedAlgorithms, ring as ring_provider,
    },
    pki_types::UnixTime,
    time_provider::TimeProvider,
};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::host::Host;

/// Certificates and handshakes are signed with Ed25519 and nothing else.
pub(super) static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::ring::ED25519])],
};

/// What TLS draws on, for one node.
#[derive(Clone)]
pub(crate) struct Crypto {
    provider: Arc<CryptoProvider>,
    time: Arc<HostTime>,
}

impl Crypto {
    /// The suite on this host's entropy and clock.
    pub(crate) fn new(host: &Arc<dyn Host>) -> Self {
        // rustls wants these for ever. What is leaked is a few bytes for each start of a node, and
        // does not keep the host alive.
        let entropy: &'static HostEntropy = Box::leak(Box::new(HostEntropy(Arc::downgrade(host))));
        let provider = CryptoProvider {
            cipher_suites: vec![ring_provider::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![entropy],
            signature_verification_algorithms: ALGORITHMS,
            secure_random: entropy,
            key_provider: ring_provider::default_provider().key_provider,
        };
        Self { provider: Arc::new(provider), time: Arc::new(HostTime(Arc::clone(host))) }
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    pub(super) fn time_provider(&self) -> Arc<dyn TimeProvider> {
        Arc::clone(&self.time) as Arc<dyn TimeProvider>
    }
}

/// The host's wall clock.
struct HostTime(Arc<dyn Host>);

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.unix_secs())))
    }
}

impl fmt::Debug for HostTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostTime")
    }
}

/// The host's entropy: TLS's random values, and the secrets of X25519.
///
/// The suite's usual X25519 draws from the operating system whatever its provider says, which no
/// simulation could repeat; hence this one.
struct HostEntropy(Weak<dyn Host>);

impl HostEntropy {
    fn draw(&self, stream: &'static str) -> Result<Zeroizing<[u8; 32]>, GetRandomFailed> {
        let host = self.0.upgrade().ok_or(GetRandomFailed)?;
        Ok(Zeroizing::new(host.seed(stream)))
    }
}

impl fmt::Debug for HostEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostEntropy")
    }
}

impl SecureRandom for HostEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        for piece in buffer.chunks_mut(32) {
            piece.copy_from_slice(&self.draw("tls")?[..piece.len()]);
        }
        Ok(())
    }
}

impl SupportedKxGroup for HostEntropy {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = StaticSecret::from(*self.draw("tls key exchange")?);
        let public = PublicKey::from(&secret);
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// One side of a key exchange. The secret is used once and wiped.
struct Exchange {
    secret: StaticSecret,
    public: PublicKey,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        let refused = || Error::from(PeerMisbehaved::InvalidKeyShare);
        let theirs = <[u8; 32]>::try_from(theirs).map_err(|_| refused())?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(theirs));
        // RFC 8446, 7.4.2: a share of low order, which makes the secret zero, is refused.
        if !shared.was_contributory() {
            return Err(refused());
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
