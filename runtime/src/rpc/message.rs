//! A message is a plain type that says where it goes and what may be done with it.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use updraft_transport::{Class, NodeId, Role};

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

/// What every message has.
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The topic that handles it.
    const TOPIC: &'static str;
    /// Its name on the wire: `topic/method`.
    const METHOD: &'static str;
    /// What may be done with it.
    const CONTRACT: Contract;
}

/// A message that wants a reply.
pub trait Call: Message {
    /// What comes back.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// A message that wants none: queued, sent once, lost or not. Whoever depends on it repeats it by a timer.
pub trait Cast: Message {}

/// Makes a plain type a message: its topic and method, whether it may be repeated, and the roles of which a
/// node's certificate must carry one that sends it, and that is sent it.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use updraft_runtime::message;
///
/// /// Adds two numbers.
/// #[derive(Serialize, Deserialize)]
/// pub struct Add(u32, u32);
/// message!(call Add = "calculator" / "add", Fenced, from ["client"], to ["server"], reply u32);
///
/// /// Says that something happened.
/// #[derive(Serialize, Deserialize)]
/// pub struct Happened;
/// message!(cast Happened = "listener" / "happened", from ["client"], to ["server"]);
/// ```
#[macro_export]
macro_rules! message {
    (call $name:ty = $topic:literal / $method:literal, $repeat:ident, from $senders:expr, to $servers:expr,
        reply $reply:ty $(, class $class:ident)? $(, deadline_ms $deadline:expr)?) => {
        impl $crate::rpc::Message for $name {
            const TOPIC: &'static str = $topic;
            const METHOD: &'static str = concat!($topic, "/", $method);
            const CONTRACT: $crate::rpc::Contract = {
                #[allow(unused_mut)]
                let mut contract =
                    $crate::rpc::Contract::of($crate::rpc::Repeat::$repeat, &$senders, &$servers);
                $(contract.class = $crate::transport::Class::$class;)?
                $(contract.deadline = ::std::time::Duration::from_millis($deadline);)?
                contract
            };
        }
        impl $crate::rpc::Call for $name {
            type Reply = $reply;
        }
    };
    (cast $name:ty = $topic:literal / $method:literal, from $senders:expr, to $servers:expr) => {
        impl $crate::rpc::Message for $name {
            const TOPIC: &'static str = $topic;
            const METHOD: &'static str = concat!($topic, "/", $method);
            const CONTRACT: $crate::rpc::Contract =
                $crate::rpc::Contract::of($crate::rpc::Repeat::Never, &$senders, &$servers);
        }
        impl $crate::rpc::Cast for $name {}
    };
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
pub(super) fn wire_method(method: &str, actor: Option<&str>) -> String {
    match (actor, method.split_once('/')) {
        (Some(actor), Some((topic, name))) => format!("{}/{name}", actor_key(topic, actor)),
        _ => method.to_owned(),
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
