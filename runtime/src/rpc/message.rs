//! A message is a plain type that says where it goes and what may be done with it.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use updraft_transport::{Class, NodeId, Role};

use super::outcome::encode;

/// What a set of equal servers does together, such as `compute.conductor`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Topic(Arc<str>);

impl Topic {
    /// A topic by name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A topic is looked up by its name, without making one.
impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a message goes: any one server of its topic in a cell, or a named one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The cell of which any one server is meant; `None` is the sender's own. A named server is found in any.
    pub cell: Option<Arc<str>>,
    /// The server; `None` is any one.
    pub server: Option<NodeId>,
    /// An actor that was [spawned](crate::spawn) on that server; `None` is the server's own service of the topic.
    pub actor: Option<Arc<str>>,
}

impl Address {
    /// Any one server of the topic in this cell.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// The topic's server on this node.
    #[must_use]
    pub fn server(node: &NodeId) -> Self {
        Self { server: Some(node.clone()), ..Self::default() }
    }

    /// A spawned actor on this node.
    #[must_use]
    pub fn actor(node: &NodeId, name: &str) -> Self {
        Self { actor: Some(name.into()), ..Self::server(node) }
    }
}

/// What may be done when it is unknown whether a message was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: it is sent once. The sender learns that the outcome is unknown.
    Never,
    /// Send it again, to any server: the handler reads only, or is fenced by a generation in the message.
    Fenced,
    /// Send it again to the same server, which remembers what it answered.
    Deduplicated,
}

/// What sender and handler of a message may count on.
#[derive(Clone, Copy, Debug)]
pub struct Contract {
    /// What may be done when the outcome is unknown.
    pub repeat: Repeat,
    /// The roles of which a sender must have one; `*` is any certificate of the cloud.
    pub senders: &'static [&'static str],
    /// The roles of which a server must have one: what a node announces to serve is its own word.
    pub servers: &'static [&'static str],
    /// The stream that carries it.
    pub class: Class,
    /// How long a sender waits at most, all attempts together.
    pub deadline: Duration,
}

/// How long a call waits when its contract says nothing else.
pub(super) const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);

/// What the servers of a topic understand, as a type: messages name it, [`Client`](super::Client)s and
/// [`Handlers`](super::Handlers) are made of it, and so the compiler knows what is sent where.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a topic",
    label = "a topic is wanted here",
    note = "declare one with `protocol!({Self} = \"name\");`"
)]
pub trait Protocol: 'static {
    /// The topic's name.
    const TOPIC: &'static str;
}

/// What can be sent: every type of its own that serde can write and read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent in a message",
    label = "serde cannot write and read this",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; what it holds must be its own, and `Send`"
)]
pub trait MessageBody: Sized + Send + 'static {
    /// As it is sent.
    #[doc(hidden)]
    fn to_bytes(&self) -> Result<Bytes, postcard::Error>;
    /// As it was sent.
    #[doc(hidden)]
    fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error>;
}

// Else the compiler would speak of serde's traits, and of the types that happen to have them. It does so also if these
// are asked for by `MessageBody` itself.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> MessageBody for T {
    fn to_bytes(&self) -> Result<Bytes, postcard::Error> {
        encode(self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// What every message has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "a message is wanted here",
    note = "declare it with `message!(call {Self} = ...)`, or `message!(cast {Self} = ...)`"
)]
pub trait Message: MessageBody + Sync {
    /// The topic that handles it.
    type Protocol: Protocol;
    /// Its name on the wire: `topic/method`.
    const METHOD: &'static str;
    /// What may be done with it.
    const CONTRACT: Contract;
}

/// Says of a message that this topic handles it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message of the topic `{P}`",
    label = "`{P}` does not understand this message",
    note = "a message belongs to the one topic that its `message!` line names"
)]
pub trait BelongsTo<P> {}

/// A message that wants a reply.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a call",
    label = "only a call is answered",
    note = "declare it with `message!(call {Self} = ..., reply ...)`; one that is declared as a cast wants no reply"
)]
pub trait Call: Message + BelongsTo<Self::Protocol> {
    /// What comes back.
    type Reply: MessageBody;
}

/// A message that wants none: queued, sent once, lost or not. Whoever depends on it repeats it by a timer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cast",
    label = "only a cast is sent without waiting",
    note = "declare it with `message!(cast {Self} = ...)`; one that is declared as a call is called"
)]
pub trait Cast: Message + BelongsTo<Self::Protocol> {}

/// The name of the topic that handles a message.
pub(crate) fn topic_of<M: Message>() -> &'static str {
    <M::Protocol as Protocol>::TOPIC
}

/// Makes a type a topic, under this name; the messages of the topic are declared by [`message!`](crate::message).
///
/// ```
/// use updraft_runtime::protocol;
///
/// /// Adds numbers.
/// pub struct Calculator;
/// protocol!(Calculator = "calculator");
/// ```
#[macro_export]
macro_rules! protocol {
    ($protocol:ty = $topic:expr) => {
        #[diagnostic::do_not_recommend]
        impl $crate::rpc::Protocol for $protocol {
            const TOPIC: &'static str = $topic;
        }
    };
}

/// Makes a plain type a message: its topic and method, whether it may be repeated, and the roles of which a
/// node's certificate must carry one that sends it, and that is sent it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use updraft_runtime::{message, protocol};
///
/// /// Adds numbers, and is told when that is no longer wanted.
/// pub struct Calculator;
/// protocol!(Calculator = "calculator");
///
/// /// Adds two numbers.
/// #[derive(Serialize, Deserialize)]
/// pub struct Add(u32, u32);
/// message!(call Add = Calculator / "add", Fenced, from ["client"], to ["server"], reply u32);
///
/// /// Says that nothing more will be added.
/// #[derive(Serialize, Deserialize)]
/// pub struct Enough;
/// message!(cast Enough = Calculator / "enough", from ["client"], to ["server"]);
///
/// /// Asks for a large body; see [`bulk`](crate::bulk).
/// #[derive(Serialize, Deserialize)]
/// pub struct Table;
/// message!(body Table = Calculator / "table", from ["client"], to ["server"]);
///
/// /// Asks for bytes both ways; see [`tunnel`](crate::tunnel).
/// #[derive(Serialize, Deserialize)]
/// pub struct Keys;
/// message!(tunnel Keys = Calculator / "keys", from ["client"], to ["server"]);
/// ```
///
/// A call may say, at the end and in this order, which [`Class`] carries it, and how long its sender waits at most if not
/// ten seconds. One whose handler takes longer than a second is sent again meanwhile, to another server too if it is
/// [`Fenced`](Repeat::Fenced):
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use updraft_runtime::{message, protocol};
/// # pub struct Calculator;
/// # protocol!(Calculator = "calculator");
/// # #[derive(Serialize, Deserialize)]
/// # pub struct Factor(u64);
/// message!(call Factor = Calculator / "factor", Deduplicated, from ["client"], to ["server"], reply Vec<u64>,
///     class Calls, deadline_ms 60_000);
/// ```
#[macro_export]
macro_rules! message {
    (call $name:ty = $protocol:ident / $method:literal, $repeat:ident, from $senders:expr, to $servers:expr,
        reply $reply:ty $(, class $class:ident)? $(, deadline_ms $deadline:expr)?) => {
        $crate::message!(@message $name, $protocol, $method, {
            #[allow(unused_mut)]
            let mut contract =
                $crate::rpc::Contract::of($crate::rpc::Repeat::$repeat, &$senders, &$servers);
            $(contract.class = $crate::transport::Class::$class;)?
            $(contract.deadline = ::std::time::Duration::from_millis($deadline);)?
            contract
        });
        #[diagnostic::do_not_recommend]
        impl $crate::rpc::Call for $name {
            type Reply = $reply;
        }
    };
    (cast $name:ty = $protocol:ident / $method:literal, from $senders:expr, to $servers:expr) => {
        $crate::message!(@message $name, $protocol, $method,
            $crate::rpc::Contract::of($crate::rpc::Repeat::Never, &$senders, &$servers));
        #[diagnostic::do_not_recommend]
        impl $crate::rpc::Cast for $name {}
    };
    (body $name:ty = $protocol:ident / $method:literal, from $senders:expr, to $servers:expr) => {
        $crate::message!(@message $name, $protocol, $method,
            $crate::rpc::Contract::of($crate::rpc::Repeat::Fenced, &$senders, &$servers));
        #[diagnostic::do_not_recommend]
        impl $crate::bulk::Request for $name {}
    };
    (tunnel $name:ty = $protocol:ident / $method:literal, from $senders:expr, to $servers:expr) => {
        $crate::message!(@message $name, $protocol, $method,
            $crate::rpc::Contract::of($crate::rpc::Repeat::Never, &$senders, &$servers));
        #[diagnostic::do_not_recommend]
        impl $crate::tunnel::Request for $name {}
    };
    (@message $name:ty, $protocol:ident, $method:literal, $contract:expr) => {
        #[diagnostic::do_not_recommend]
        impl $crate::rpc::BelongsTo<$protocol> for $name {}
        #[diagnostic::do_not_recommend]
        impl $crate::rpc::Message for $name {
            type Protocol = $protocol;
            const METHOD: &'static str = {
                const TOPIC: &str = <$protocol as $crate::rpc::Protocol>::TOPIC;
                const METHOD: [u8; TOPIC.len() + 1 + $method.len()] =
                    $crate::rpc::method_bytes(TOPIC, $method);
                match ::std::str::from_utf8(&METHOD) {
                    Ok(method) => method,
                    Err(_) => ::std::panic!("its parts are text, and so is it"),
                }
            };
            const CONTRACT: $crate::rpc::Contract = $contract;
        }
    };
}

// `do_not_recommend` in these macros: who has forgotten a line is told which, and not who else has one.

/// `topic/method`, for [`message!`](crate::message): a constant is made of two others.
#[doc(hidden)]
#[must_use]
pub const fn method_bytes<const LENGTH: usize>(topic: &str, method: &str) -> [u8; LENGTH] {
    let (topic, method) = (topic.as_bytes(), method.as_bytes());
    let mut bytes = [b'/'; LENGTH];
    let (before, rest) = bytes.split_at_mut(topic.len());
    before.copy_from_slice(topic);
    rest.split_at_mut(1).1.copy_from_slice(method);
    bytes
}

impl Contract {
    /// A contract with the default class and deadline.
    #[must_use]
    pub const fn of(
        repeat: Repeat,
        senders: &'static [&'static str],
        servers: &'static [&'static str],
    ) -> Self {
        Self { repeat, senders, servers, class: Class::Calls, deadline: DEADLINE_DEFAULT }
    }

    /// Whether a node whose certificate has these roles may send the message.
    pub(crate) fn may_be_sent_by(&self, roles: &BTreeSet<Role>) -> bool {
        has_any(roles, self.senders)
    }

    /// Whether a node whose certificate has these roles may be sent the message.
    pub(crate) fn may_be_served_by(&self, roles: &BTreeSet<Role>) -> bool {
        has_any(roles, self.servers)
    }
}

/// Whether one of these roles is among those wanted.
pub(crate) fn has_any(roles: &BTreeSet<Role>, wanted: &[&str]) -> bool {
    wanted.contains(&ANY_ROLE) || roles.iter().any(|role| wanted.contains(&&*role.0))
}

/// Stands for every role in a contract: whoever has a certificate of the cloud.
const ANY_ROLE: &str = "*";

/// What stands between a topic and the name of a spawned actor in a method on the wire.
const ACTOR_MARK: char = '#';

/// The method on the wire: `topic/name`, or `topic#actor/name`.
pub(super) fn wire_method(method: &'static str, actor: Option<&str>) -> ByteString {
    match (actor, method.split_once('/')) {
        (Some(actor), Some((topic, name))) => format!("{}/{name}", actor_key(topic, actor)).into(),
        _ => ByteString::from_static(method),
    }
}

/// Under what a spawned actor is found among a node's services.
pub(super) fn actor_key(topic: &str, actor: &str) -> String {
    format!("{topic}{ACTOR_MARK}{actor}")
}

/// Of a method on the wire: under what its service is found, and the method itself.
pub(super) fn key_and_method(wire: &str) -> (&str, Cow<'_, str>) {
    let (key, name) = wire.split_once('/').unwrap_or((wire, ""));
    match key.split_once(ACTOR_MARK) {
        Some((topic, _)) => (key, format!("{topic}/{name}").into()),
        None => (key, wire.into()),
    }
}
