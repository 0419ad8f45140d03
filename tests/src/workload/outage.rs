//! An operator, and a host that loses its power: what was on it is made anew elsewhere, and what comes back is cleared away.

use std::time::Duration;

use serde_json::{Value, json};
use updraft_harness::campaign::Run;
use updraft_transport::NodeId;

use super::{requests::SERVERS, turn, users::Users};
use crate::{
    census::{self, Audit},
    cloud::{Client, SimCloud},
};

const SERVICES: &str = "/compute/v2.1/os-services";

/// How long an operator tries, now and then, to say what nobody takes.
const TRIES: Duration = Duration::from_secs(120);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// How long after its power a host is silent for everybody.
const SILENT: Duration = Duration::from_secs(5);

/// How long a host stays off once its servers were taken from it: most are elsewhere by then, and some are not.
const OFF: Duration = Duration::from_secs(20);

/// The run of which an outage is a part.
pub(super) struct Outage<'a> {
    pub(super) cloud: &'a mut SimCloud,
    pub(super) users: &'a mut Users,
    pub(super) audit: &'a mut Audit,
    pub(super) run: &'a Run,
}

impl Outage<'_> {
    /// The power of a host fails; an operator sees to what was on it, and later turns it on again.
    pub(super) fn of(mut self, host: u8) {
        let Some(host) = self.cloud.hosts().get(usize::from(host)).cloned() else { return };
        let Some(machine) = self.cloud.machine(&host) else { return };
        self.cloud.world.crash(&host);
        machine.guests.power_fails();
        self.audit.look_again();
        self.wait(SILENT);
        if self.says(&host, true) {
            self.run.count("a host is down");
            self.evacuate(&host);
            self.wait(OFF);
        }
        self.cloud.world.start(&host);
        self.wait(SILENT);
        self.says(&host, false);
    }

    fn wait(&mut self, duration: Duration) {
        turn(self.cloud, self.users, self.audit, duration, self.run);
    }

    /// Says that a host is down, or is so no longer, until somebody takes it; whether somebody did.
    fn says(&mut self, host: &NodeId, forced_down: bool) -> bool {
        let until = self.cloud.world.now() + TRIES;
        while self.cloud.world.now() < until {
            if self.is_taken(host, forced_down) == Some(true) {
                return true;
            }
            self.wait(PAUSE);
        }
        false
    }

    fn is_taken(&mut self, host: &NodeId, forced_down: bool) -> Option<bool> {
        let client = self.client()?;
        let listed = client.send(self.cloud, "GET", SERVICES, Value::Null)?;
        let services = listed.body["services"].as_array()?;
        let of_host = services.iter().find(|service| service["host"] == host.as_str())?;
        let path = format!("{SERVICES}/{}", of_host["id"].as_str()?);
        let answer = client.send(self.cloud, "PUT", &path, json!({"forced_down": forced_down}))?;
        Some(answer.status == 200)
    }

    /// The administrator, with a token of this moment; `None` if nobody lets anybody in.
    fn client(&mut self) -> Option<Client> {
        Client::try_log_in(self.cloud)
    }

    /// Takes every server from a host that can be taken from it, once: who does not hear of it leaves it there.
    fn evacuate(&mut self, host: &NodeId) {
        let Some(client) = self.client() else { return };
        let servers = census::take(self.cloud).servers;
        let here = servers.into_iter().filter(|(_, server)| server.host() == Some(host.as_str()));
        for (server, _) in here {
            let path = format!("{SERVERS}/{server}/action");
            let answer = client.send(self.cloud, "POST", &path, json!({"evacuate": {}}));
            let status = answer.map_or(0, |answer| answer.status);
            self.run.count(&format!("Evacuate {status}"));
        }
    }
}
