//! What must never be, when it rests, and which situations are worth having been in.

use updraft_volume::decisions::VolumeRow;

use super::{FILES, Message, State, id};
use crate::models::so;

impl State {
    pub(super) fn check(&self) -> Result<(), String> {
        for (file, row) in self.volumes.iter().enumerate() {
            let there = self.found(file).is_some();
            match row {
                None if there => {
                    return Err("leak: there is a file and no volume has it".to_owned());
                }
                Some(row) if row.is_ready() && !there => {
                    return Err("kill-live: a volume is ready and its file is gone".to_owned());
                }
                _ => {}
            }
        }
        let made_for_nobody = |file: usize| {
            let wanted = self.node[file].row.as_ref().is_some_and(|row| row.wants().0.present);
            self.volumes[file].is_none() && wanted && self.makes(file)
        };
        if (0..FILES).any(made_for_nobody) {
            return Err("leak: a node is to make a file and no volume has it".to_owned());
        }
        let [volume, copy] = &self.volumes;
        if volume.is_none() && copy.as_ref().is_some_and(VolumeRow::is_being_made) {
            return Err("kill-live: what is copied from is gone".to_owned());
        }
        Ok(())
    }

    pub(super) fn is_settled(&self) -> bool {
        let rests = |(file, row): (usize, &Option<VolumeRow>)| match row {
            None => self.found(file).is_none(),
            Some(row) => row.is_present() && (row.failure().is_some() || row.is_ready()),
        };
        self.volumes.iter().enumerate().all(rests)
    }

    pub(super) fn marks(&self) -> Vec<&'static str> {
        let [volume, copy] = &self.volumes;
        let known = |file: usize| self.node[file].row.as_ref().map(|row| row.wants().0.generation);
        let stale = |message: &Message| match message {
            Message::Realize(want) => {
                known(want.id.as_u128() as usize - 1).is_some_and(|known| want.generation < known)
            }
            _ => false,
        };
        let late = |message: &Message| match message {
            Message::Work { file, generation, .. } => {
                self.machine.0.newest().get(&id(*file)).is_some_and(|newest| generation < newest)
            }
            _ => false,
        };
        let failed =
            |row: &Option<VolumeRow>| row.as_ref().is_some_and(|row| row.failure().is_some());
        so([
            ("ready", volume.as_ref().is_some_and(VolumeRow::is_ready)),
            ("grown", volume.as_ref().is_some_and(|row| row.is_ready() && row.want().size_gib > 1)),
            ("copied", copy.as_ref().is_some_and(VolumeRow::is_ready)),
            ("deleted while it is copied", {
                volume.as_ref().is_some_and(|row| !row.is_present())
                    && copy.as_ref().is_some_and(VolumeRow::is_being_made)
            }),
            ("deleted while there", {
                volume.as_ref().is_some_and(|row| !row.is_present()) && self.found(0).is_some()
            }),
            ("failed", failed(volume)),
            ("gone", volume.is_none()),
            ("a stale call is on its way", self.bag.messages().any(stale)),
            ("the driver is about to be too late", self.bag.messages().any(late)),
        ])
    }
}

/// Every situation that an exploration is to have met.
pub const MARKS: [&str; 9] = [
    "ready",
    "grown",
    "copied",
    "deleted while it is copied",
    "deleted while there",
    "failed",
    "gone",
    "a stale call is on its way",
    "the driver is about to be too late",
];
