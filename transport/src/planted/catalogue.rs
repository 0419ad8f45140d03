//! What is planted. Written before any check was tuned; the first ten, of origin [`Origin::Laws`], were written from
//! the laws of the design alone, without a look at the checks.

use std::{fmt, str::FromStr};

/// Where the idea of a bug comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A law of the design, turned round. Written without a look at the checks.
    Laws,
    /// The list of classic mistakes that the harness was asked to find.
    Classics,
    /// What the code guards itself against at this place.
    Code,
}

/// There is no bug of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no planted bug is called {0:?}")]
pub struct NoSuchBug(String);

macro_rules! catalogue {
    ($($bug:ident = $name:literal, $origin:ident, $place:literal,
        law $law:literal, does $does:literal, harm $harm:literal;)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $(#[doc = $does] #[doc = ""] #[doc = $harm] $bug,)*
        }

        impl Bug {
            /// All of them, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// What it is called.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name),* }
            }

            /// Where the idea comes from.
            #[must_use]
            pub const fn origin(self) -> Origin {
                match self { $(Self::$bug => Origin::$origin),* }
            }

            /// In which part of the code it is.
            #[must_use]
            pub const fn place(self) -> &'static str {
                match self { $(Self::$bug => $place),* }
            }

            /// The law that it breaks.
            #[must_use]
            pub const fn law(self) -> &'static str {
                match self { $(Self::$bug => $law),* }
            }

            /// What the code does then.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$bug => $does),* }
            }

            /// What goes wrong for a user.
            #[must_use]
            pub const fn harm(self) -> &'static str {
                match self { $(Self::$bug => $harm),* }
            }
        }
    };
}

catalogue! {
    // From the laws alone.
    StaleWantAccepted = "stale-want-accepted", Laws, "network",
        law "2: a node refuses an older generation",
        does "An agent makes what it is told, though it was told something newer before.",
        harm "A late message plugs the tap of a deleted port, or takes away that of a live guest, for good.";
    StaleReportFolded = "stale-report-folded", Laws, "compute",
        law "2: the generation of a report filters it",
        does "A report about an older generation counts as one about what is wanted now.",
        harm "A guest that still runs is taken for gone: its server disappears, its guest stays.";
    LateObservationFolded = "late-observation-folded", Laws, "compute",
        law "2: observations of one generation are counted",
        does "Of two reports about one generation, the one that comes last counts, not the newer.",
        harm "A server that is built is told again and again, for ever, what its host has long done.";
    SecondCopyBeforeFirstGone = "second-copy-before-first-gone", Laws, "compute",
        law "2: no second copy before the first is confirmed gone",
        does "When a host has failed, another is tried without waiting for its word that nothing is left there.",
        harm "The same server runs on two hosts with one disk and one address.";
    StaleReadCommitted = "stale-read-committed", Laws, "runtime",
        law "Store: serializable optimistic transactions",
        does "A transaction commits although what it read has changed since.",
        harm "Of two changes at once, one is lost, though both were acknowledged.";
    RowWithoutTimer = "row-without-timer", Laws, "runtime",
        law "3: every row is also driven by a timer",
        does "A row is looked at only when it changes; nothing wakes it after a lost message.",
        harm "A server stays in BUILD for ever once a single message was lost.";
    UnknownToldAsRefused = "unknown-told-as-refused", Laws, "runtime",
        law "4: unknown is never folded into failed",
        does "A call that was sent and not answered in time ends as refused.",
        harm "A caller does again, or gives up, what was in fact carried out.";
    MailboxWithoutLimit = "mailbox-without-limit", Laws, "runtime",
        law "5: everything has a limit",
        does "A mailbox takes in whatever comes, beyond its limit.",
        harm "A flood of messages eats the memory of a node, and everybody waits instead of being told that it is busy.";
    SenderRoleUnchecked = "sender-role-unchecked", Laws, "runtime",
        law "7: a message is checked against the role of its sender",
        does "A message is carried out whatever its sender may send.",
        harm "One broken-into compute host tells every other what to do.";
    AcknowledgedBeforeDurable = "acknowledged-before-durable", Laws, "runtime",
        law "8: nothing acknowledged is lost",
        does "A commit is acknowledged before it is on the disk.",
        harm "What a user was told is created is gone after a power cut.";

    // The classics.
    ReplyToFormerIncarnation = "reply-to-former-incarnation", Classics, "runtime",
        law "RPC: a reply belongs to one incarnation of its caller",
        does "A reply to a call of a node's former life answers the call that has the same number in this one.",
        harm "A caller is given the answer to somebody else's question.";
    DuplicateWindowTooSmall = "duplicate-window-too-small", Classics, "runtime",
        law "RPC: duplicates are dropped by incarnation and id",
        does "A node remembers only the last few messages of each sender, and takes what it forgot as new.",
        harm "A message that the network doubled is carried out twice.";
    CommitUnknownTakenAsFailure = "commit-unknown-taken-as-failure", Classics, "runtime",
        law "4: a commit can be unknown too",
        does "A transaction whose commit has an unknown outcome is run again as if it had failed.",
        harm "A counter counts twice; a user is told that what the request itself made exists already.";
    NonIdempotentCallRetried = "non-idempotent-call-retried", Classics, "runtime",
        law "4: a message type says whether it may be repeated",
        does "A call that must not be repeated is sent again when no answer comes.",
        harm "What must happen once happens twice.";
    GenerationNotKeptByHost = "generation-not-kept-by-host", Classics, "volume",
        law "2: the node keeps the generation on disk",
        does "A host forgets a file soon after it has removed it, and begins without asking what it knows nothing of.",
        harm "A late message makes the file of a deleted volume again, and nobody ever removes it.";
    ClaimReleasedEarly = "claim-released-before-guest-gone", Classics, "scheduler",
        law "2: a claim stands as long as its placement",
        does "A host's room is given back when a server is to leave it, not when it has left.",
        harm "A host is given more guests than it has memory for.";
    AddressGivenTwice = "address-given-twice", Classics, "network",
        law "2: no second copy before the first is confirmed gone",
        does "An address is given back when its port is to go, not when the port's host has let go of it.",
        harm "A host that crashed comes back with a guest whose address is by now another guest's.";
    KeyRotationForgets = "key-rotation-forgets-old-key", Classics, "identity",
        law "Tokens: keys rotate without a failed request",
        does "A rotation drops the key that sealed the tokens in use.",
        harm "Everybody is logged out by a rotation, and builds under way fail.";
    RevokedTokenAccepted = "revoked-token-accepted", Classics, "identity",
        law "Tokens: revoked is revoked",
        does "Whether a token was revoked is looked up by the first token of its chain only.",
        harm "A stolen token goes on working after it was revoked.";
    LeaseByWallClock = "lease-by-wall-clock", Classics, "runtime",
        law "1: a lease is measured by a clock that does not jump",
        does "How long an actor started for another node may live is measured by the wall clock.",
        harm "When the clock is set back, an actor outlives its lease and runs twice.";
    LostWakeUp = "lost-wake-up", Classics, "runtime",
        law "3: messages wake",
        does "An actor that is started anew is not told of the messages that wait for it.",
        harm "A service that failed once never answers again, while its mailbox fills.";
    MailboxDeadlock = "mailbox-deadlock", Classics, "runtime",
        law "6: no remote wait inside a mailbox handler",
        does "An actor waits for a handler to end before it takes the next message.",
        harm "Two services that ask each other wait for each other until their deadlines.";
    DhcpFileInPlace = "dhcp-file-in-place", Classics, "network",
        law "Disk: a file is replaced whole or not at all",
        does "The host file of DHCP is written over in place.",
        harm "dnsmasq reads half a file, and guests get no address until the next change.";
    VolumeDetachedInUse = "volume-detached-while-in-use", Classics, "compute",
        law "2: no second copy before the first is confirmed gone",
        does "A volume that is to be detached is let go of before the host has unplugged it.",
        harm "A second server writes to a volume that the first still has, and its file system is destroyed.";

    // What the code guards against.
    ClaimWithoutSecondLook = "claim-without-second-look", Code, "scheduler",
        law "Scheduler: a claim is made in the transaction that checks it",
        does "A scheduler places a server by what it read before, without checking again where it writes.",
        harm "Two schedulers fill the same host at once, beyond what it has.";
    UsageNotReturned = "usage-not-returned", Code, "compute",
        law "Resources: what was allocated is what is counted",
        does "A deleted server is still counted against its project's quota.",
        harm "A user who has nothing left is told that the quota is used up.";
    ForeignServerShown = "foreign-server-shown", Code, "compute",
        law "7: a compute node can touch only rows placed on it",
        does "A conductor tells any host about any server.",
        harm "One broken-into host reads the user data and secrets of every server in the cloud.";
    BindingForgotten = "binding-forgotten-unconfirmed", Code, "network",
        law "2: no second copy before the first is confirmed gone",
        does "A port forgets the host that it leaves before the host has said that nothing is left.",
        harm "A tap that nobody knows of stays on the host, with the address of somebody else's guest.";
    PortUpBeforeLease = "port-up-before-lease", Code, "network",
        law "Network: a port that is up has what its guest needs",
        does "A port counts as up although DHCP does not know its address yet.",
        harm "A guest starts, asks for its address, and is given none.";
    VolumeReservedTwice = "volume-reserved-twice", Code, "volume",
        law "Resources: a volume has one attachment",
        does "A volume that is reserved for one server is given to another that asks.",
        harm "Two servers write to one volume, and its file system is destroyed.";
    SourceRemovedUnderCopy = "source-removed-under-copy", Code, "volume",
        law "2: rows that own one another end in order",
        does "A volume is removed although another is being copied from it.",
        harm "A volume that was acknowledged as a copy ends in error.";
    ExpiredTokenFromAnyone = "expired-token-from-anyone", Code, "identity",
        law "Tokens: an expired one passes only from a node with the service role",
        does "An expired token passes at the edge as long as it would pass between services.",
        harm "A token that expired yesterday still opens everything.";
    OlderSnapshotPublished = "older-snapshot-published", Code, "identity",
        law "Tokens: what is known of users never goes back",
        does "A control node takes an older state of users, keys and revocations for a newer one.",
        harm "A revoked token works again for a while.";
    RevokedNodeHeard = "revoked-node-heard", Code, "transport",
        law "7: deny by default",
        does "A node whose certificate was revoked is still connected with, and heard.",
        harm "A host that an operator has shut out goes on as before.";
    FormerIncarnationAdmitted = "former-incarnation-admitted", Code, "transport",
        law "Transport: an incarnation is counted on disk and sent in the hello",
        does "A connection of a former life of a peer takes the place of that of its present one.",
        harm "A frozen process that wakes up cuts off the one that took its place.";
    FullQueueDropsSilently = "full-queue-drops-silently", Code, "transport",
        law "5: over the limit is a clear refusal",
        does "A message for a full queue is dropped, and its sender told that it was sent.",
        harm "Casts vanish on a healthy network, and calls wait for their whole deadline.";
    ImageActiveBeforeStored = "image-active-before-stored", Code, "image",
        law "8: nothing acknowledged is lost",
        does "An image becomes active, and its upload is acknowledged, before its bytes are kept.",
        harm "An image that a user uploaded is active and has no bytes; every build from it fails.";
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = NoSuchBug;

    fn from_str(name: &str) -> Result<Self, NoSuchBug> {
        let found = Self::ALL.iter().find(|bug| bug.name() == name);
        found.copied().ok_or_else(|| NoSuchBug(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bug_has_a_name_of_its_own_and_is_found_by_it() {
        let names: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        for bug in Bug::ALL {
            assert_eq!(bug.name().parse(), Ok(*bug));
        }
        assert!("no-such-bug".parse::<Bug>().is_err());
    }

    #[test]
    fn ten_are_written_from_the_laws_alone() {
        let from_laws = Bug::ALL.iter().filter(|bug| bug.origin() == Origin::Laws).count();
        assert_eq!(from_laws, 10);
    }
}
