//! What a fault is on each tier: the table that the book shows.

use super::FaultKind;
use crate::world::Tier;

/// What simulated drivers and databases do, wherever they are asked.
const AS_ASKED: Option<&str> = Some("whoever is simulated asks, and does so");

/// What a disk is wherever there is none but the harness's.
const OF_DRIVES: Option<&str> = Some("files on the node's drive");

impl FaultKind {
    /// What a fault of this kind does on this tier; `None` if there is nothing of the kind.
    #[must_use]
    pub fn on(self, tier: Tier) -> Option<&'static str> {
        match tier {
            Tier::Memory => self.on_frames(),
            Tier::Quic | Tier::Disks => self.on_datagrams(),
            Tier::Real => self.on_loopback(),
        }
    }

    fn on_frames(self) -> Option<&'static str> {
        Some(match self {
            Self::Loss => "a frame is lost, and nobody is told; bytes of a body are sent again",
            Self::Duplication => {
                "a frame arrives twice; the bytes of a body are a stream and never do"
            }
            Self::Reordering => "a frame arrives later than others that were sent after it",
            Self::Corruption => "a frame is lost, as a datagram is that does not authenticate",
            Self::Truncation => "a frame is lost, as a datagram is that does not authenticate",
            Self::MtuBlackHole => "a frame of more bytes is lost",
            Self::LatencySpike => "a frame arrives so much later",
            Self::Bandwidth => {
                "a frame waits for its turn, or is lost if that is longer than a call waits"
            }
            Self::Cut | Self::OneWayCut | Self::Flapping | Self::Partition => "frames are lost",
            Self::StaleCopy => {
                "a copy of a frame arrives, also when its sender has started anew and was heard, but not its receiver"
            }
            Self::Crash => "the node's runtime is dropped",
            Self::Pause => "the node's runtime is not stepped, and then its clock jumps",
            Self::Slow => "the node's runtime has a turn in each n-th millisecond alone",
            Self::Skew | Self::Drift | Self::Jump => "what the node's Env says of the wall clock",
            Self::FormerWire => return None,
            _ => return self.on_drives().or(AS_ASKED),
        })
    }

    fn on_datagrams(self) -> Option<&'static str> {
        Some(match self {
            Self::Loss => "a datagram is lost",
            Self::Duplication => "a datagram arrives twice",
            Self::Reordering => "a datagram arrives later than others that were sent after it",
            Self::Corruption => "a datagram arrives with a flipped bit, and does not authenticate",
            Self::Truncation => "a datagram arrives without its end, and does not authenticate",
            Self::MtuBlackHole => "a datagram of more bytes is lost",
            Self::LatencySpike => "a datagram arrives so much later",
            Self::Bandwidth => "a datagram waits for its turn, or is lost if that is far away",
            Self::Cut | Self::OneWayCut | Self::Flapping | Self::Partition => "datagrams are lost",
            Self::StaleCopy => "a copy of a datagram arrives, and QUIC knows it for one",
            Self::Skew | Self::Drift | Self::Jump => {
                "what the node's Env says of the wall clock; certificates are judged by true time"
            }
            Self::FormerWire => {
                "the node's runtime is dropped, and the next speaks the former version"
            }
            _ => return self.on_frames(),
        })
    }

    fn on_loopback(self) -> Option<&'static str> {
        Some(match self {
            Self::Loss | Self::MtuBlackHole => "a datagram is lost",
            Self::Cut | Self::OneWayCut | Self::Flapping | Self::Partition => "datagrams are lost",
            Self::Crash => "the node's thread ends",
            Self::Duplication
            | Self::Reordering
            | Self::Corruption
            | Self::Truncation
            | Self::LatencySpike
            | Self::Bandwidth
            | Self::StaleCopy
            | Self::Pause
            | Self::Slow
            | Self::Skew
            | Self::Drift
            | Self::Jump
            | Self::FormerWire
            | Self::SlowSync => return None,
            _ => return self.on_drives().or(AS_ASKED),
        })
    }

    fn on_drives(self) -> Option<&'static str> {
        OF_DRIVES.filter(|_| self.is_of_disks())
    }

    /// Whether it meets who keeps files on its node's [`Drive`](crate::disk::Drive), and nobody else.
    #[must_use]
    pub fn is_of_disks(self) -> bool {
        matches!(
            self,
            Self::DiskFull
                | Self::ReadsFail
                | Self::WritesFail
                | Self::SyncsFail
                | Self::SlowSync
                | Self::LostWrites
                | Self::TornWrites
        )
    }
}
