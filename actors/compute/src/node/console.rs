//! The consoles of a host's guests, for control nodes: what they have written, and a way to talk to them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use updraft_protocol::{
    compute::{ConsoleLog, Goal, NO_CONSOLE, OpenConsole, Power, Screenshot},
    hypervisor::{Answer, DriverError, Op},
};
use updraft_runtime::{
    bulk::{Algorithm, Memory},
    rpc::{Fault, FaultKind},
};
use uuid::Uuid;

use super::{actor::ComputeNode, guest::GuestRow};
use crate::hypervisor::ConsoleEnd;

/// How long a console may take to answer; a person waits.
const CONSOLE: Duration = Duration::from_secs(5);

impl ComputeNode {
    pub(super) async fn console_log(&self, message: ConsoleLog) -> Result<String, Fault> {
        let op = Op::ConsoleLog { guest: message.server, bytes_max: message.bytes_max };
        match self.hypervisor.perform(op, CONSOLE).await {
            Ok(Answer::Console(text)) => Ok(text),
            Ok(other) => Err(Fault::internal(format!("the hypervisor answered {other:?}"))),
            Err(error) => Err(fault(&error)),
        }
    }

    /// A connection to a guest's console. Of a guest that is not to run here by now there is none, though it may run
    /// still: who asks was told of it by somebody who knew no better.
    pub(super) async fn open_console(&self, message: OpenConsole) -> Result<ConsoleEnd, Fault> {
        let OpenConsole { server, kind } = message;
        if !self.shall_run(server).await? {
            return Err(fault(&DriverError::NoGuest(server)));
        }
        let console = self.hypervisor.console(server, kind, CONSOLE).await;
        console.map_err(|error| fault(&error))
    }

    /// A picture of a guest's screen; the same is asked of it as of its console.
    pub(super) async fn screenshot(&self, message: Screenshot) -> Result<Memory, Fault> {
        let guest = message.server;
        if !self.shall_run(guest).await? {
            return Err(fault(&DriverError::NoGuest(guest)));
        }
        match self.hypervisor.perform(Op::Screenshot { guest }, CONSOLE).await {
            Ok(Answer::Picture(text)) => {
                let picture = STANDARD.decode(text).map_err(|error| {
                    Fault::internal(format!("the hypervisor's picture is none: {error}"))
                })?;
                Ok(Memory::new(picture.into(), Algorithm::Sha256))
            }
            Ok(other) => Err(Fault::internal(format!("the hypervisor answered {other:?}"))),
            Err(error) => Err(fault(&error)),
        }
    }

    async fn shall_run(&self, server: Uuid) -> Result<bool, Fault> {
        let row = self.store.read(|txn| txn.get::<GuestRow>(&server.to_string())).await?;
        let runs = |row: GuestRow| {
            let wanted = row.want.filter(|_| !row.unwanted);
            wanted.is_some_and(|want| want.goal == Goal::Present && want.power == Power::On)
        };
        Ok(row.is_some_and(runs))
    }
}

fn fault(error: &DriverError) -> Fault {
    let kind = match error {
        DriverError::NoGuest(_) => FaultKind::NotFound,
        _ => FaultKind::Unavailable,
    };
    Fault::new(kind, NO_CONSOLE, error.to_string())
}
