//! How QUIC is set up: limits, timers, and every source of entropy that quinn has.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quinn::{
    AckFrequencyConfig, ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig,
    IdleTimeout, MtuDiscoveryConfig, ServerConfig, TimeSource, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use ring::{hkdf, hmac};

use crate::{
    body,
    host::Host,
    join::JoinToken,
    key::NodeKey,
    tls::{self, Beliefs, Credentials, Crypto, TlsError},
    wire::Class,
};

/// A peer that is silent for so long is gone. It is noticed up to a second later, because a keep-alive on
/// the way out counts as hope.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection without traffic says so this often: a third of the idle timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Streams that a peer may open: one for each class, and room for later releases. quinn allocates for
/// all of them at once, so the limit is memory.
const STREAMS_MAX: u32 = 16;
/// What one stream may send ahead of the reader, in bytes: a few frames of the bulk class on a fast link.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What may be under way to a peer and not acknowledged, in bytes: all streams with full windows, so that this limit,
/// which they would share, never lets a large body hold up a call.
const SEND_WINDOW_BYTES: u64 =
    STREAM_WINDOW_BYTES as u64 * (Class::ALL.len() as u64 + body::STREAMS_MAX as u64);
/// Packets after which an acknowledgement is due at the latest: acknowledging every second one costs a
/// sixth of the CPU of a call.
const ACK_EVERY_PACKETS: u32 = 20;
/// How long an acknowledgement may wait.
const ACK_DELAY: Duration = Duration::from_millis(5);
/// The round trip that is assumed before one is measured: a lost first packet is repeated after three of
/// these. Right for a cloud; a peer that is farther away sees a few packets twice.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);
/// Bytes of a connection id: long enough that guessing one is hopeless.
const CONNECTION_ID_BYTES: usize = 8;
/// Bytes of the first id of a dial: QUIC wants at least 8, and more than ours so that the two differ.
const INITIAL_ID_BYTES: usize = 16;
/// Handshakes that may wait to be looked at.
const INCOMING_MAX: usize = 1024;
/// Bytes that may be buffered for one of them, and for all together.
const INCOMING_BYTES: u64 = 64 * 1024;
const INCOMING_TOTAL_BYTES: u64 = 16 * 1024 * 1024;

/// The endpoint's configuration. The reset key follows from the node's key, so that a node that was
/// restarted can tell its peers that their connections are gone.
pub(super) fn endpoint(host: &Arc<dyn Host>, key: &NodeKey) -> EndpointConfig {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, key.derive(b"quic reset").as_ref());
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    let ids = Arc::clone(host);
    config
        .rng_seed(Some(host.seed("quic")))
        .cid_generator(move || Box::new(HostIds(Arc::clone(&ids))));
    config
}

/// How this node is dialled.
pub(super) fn server(
    host: &Arc<dyn Host>,
    credentials: &Credentials,
    crypto: &Crypto,
    beliefs: &Beliefs,
    transport: Arc<TransportConfig>,
    joins: bool,
) -> Result<ServerConfig, TlsError> {
    let tls = QuicServerConfig::try_from(credentials.server_config(crypto, beliefs, joins)?)?;
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"updraft");
    let token_key = salt.extract(credentials.key().derive(b"quic token").as_ref());
    let mut config = ServerConfig::new(Arc::new(tls), Arc::new(token_key));
    config
        .transport_config(transport)
        // A peer is who its certificate says, not where it is: a host that gets another address, or whose NAT
        // forgets it, keeps the connections that it has dialled. QUIC proves the new path before it sends much
        // along it, so nobody can be flooded in another's name.
        .migration(true)
        .time_source(Arc::new(HostTime(Arc::clone(host))))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_TOTAL_BYTES);
    Ok(config)
}

/// How this node dials.
pub(super) fn client(
    host: &Arc<dyn Host>,
    credentials: &Credentials,
    crypto: &Crypto,
    beliefs: &Beliefs,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, TlsError> {
    dialling(host, credentials.client_config(crypto, beliefs)?, transport)
}

/// How a machine dials that wants to join.
pub(super) fn joining(
    host: &Arc<dyn Host>,
    token: &JoinToken,
    crypto: &Crypto,
) -> Result<ClientConfig, TlsError> {
    dialling(host, tls::join::client_config(crypto, token)?, Arc::new(transport(false)))
}

fn dialling(
    host: &Arc<dyn Host>,
    tls: rustls::ClientConfig,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, TlsError> {
    let tls = QuicClientConfig::try_from(tls)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    let ids = Arc::clone(host);
    config
        .transport_config(transport)
        .initial_dst_cid_provider(Arc::new(move || connection_id(&*ids, INITIAL_ID_BYTES)));
    Ok(config)
}

/// Limits and timers of each connection.
pub(super) fn transport(mtu_discovery: bool) -> TransportConfig {
    let mut ack_frequency = AckFrequencyConfig::default();
    ack_frequency
        .ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY_PACKETS))
        .max_ack_delay(Some(ACK_DELAY));
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        // Opened for bodies, once the peer is accepted.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .send_window(SEND_WINDOW_BYTES)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(FIRST_ROUND_TRIP)
        .ack_frequency_config(Some(ack_frequency))
        .mtu_discovery_config(mtu_discovery.then(MtuDiscoveryConfig::default));
    config
}

/// Connection ids from the host's entropy.
struct HostIds(Arc<dyn Host>);

impl ConnectionIdGenerator for HostIds {
    fn generate_cid(&mut self) -> ConnectionId {
        connection_id(&*self.0, CONNECTION_ID_BYTES)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn connection_id(host: &dyn Host, bytes: usize) -> ConnectionId {
    ConnectionId::new(&host.seed("quic connection id")[..bytes])
}

/// The host's wall clock.
struct HostTime(Arc<dyn Host>);

impl TimeSource for HostTime {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.unix_secs())
    }
}
