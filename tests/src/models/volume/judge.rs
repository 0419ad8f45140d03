//! What must never be, when it rests, and which situations are worth having been in.

use updraft_protocol::volume::ExportWant;
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
        self.check_served()?;
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

    /// Whom the volume's file is served to, if to anybody.
    fn served_to(&self) -> Option<ExportWant> {
        let files = self.machine.0.simulated_files();
        files.get(&id(0)).and_then(|file| Some(file.export.as_ref()?.to.clone()))
    }

    /// Once the host has said that it is so, the file is served to the one who has the volume, and to nobody else: a host
    /// that lost it can write no more.
    fn check_served(&self) -> Result<(), String> {
        let Some(row) = self.volumes[0].as_ref().filter(|row| row.is_ready()) else {
            return Ok(());
        };
        match (row.want().export, self.served_to()) {
            (Some(_), None) => Err("kill-live: a volume is not served to its host".to_owned()),
            (wanted, served) if wanted != served => {
                Err("double-run: a volume is served to a host that lost it".to_owned())
            }
            _ => Ok(()),
        }
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
            ("served to another host", {
                self.served_to().is_some() && volume.as_ref().is_some_and(VolumeRow::is_ready)
            }),
            ("given to a third host while it is served to another", {
                let wanted = volume.as_ref().and_then(|row| row.want().export);
                let served = self.served_to();
                wanted.is_some() && served.is_some() && wanted != served
            }),
            ("let go of and still served", self.served_to().is_some() && !self.is_held()),
            ("a stale call is on its way", self.bag.messages().any(stale)),
            ("the driver is about to be too late", self.bag.messages().any(late)),
        ])
    }
}

/// Every situation that an exploration is to have met.
pub const MARKS: [&str; 12] = [
    "ready",
    "grown",
    "copied",
    "deleted while it is copied",
    "deleted while there",
    "failed",
    "gone",
    "served to another host",
    "given to a third host while it is served to another",
    "let go of and still served",
    "a stale call is on its way",
    "the driver is about to be too late",
];
