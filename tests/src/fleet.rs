//! Clouds of many hosts, and crowds of servers that are asked for at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Poll,
    time::Duration,
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    census::{Audit, Census},
    cloud::{Answer, Client, Pending, SimCloud},
    flow::Prepared,
};

const SERVERS: &str = "/compute/v2.1/servers";

/// Makes what servers need, and lets the project have as many as it likes.
#[must_use]
pub fn prepare(cloud: &mut SimCloud, client: &Client) -> Prepared {
    let listed = client.must(cloud, "GET", "/identity/v3/projects?name=admin", Value::Null);
    let project = text(&listed["projects"][0]["id"]);
    let boundless = json!({"quota_set": {"instances": -1, "cores": -1, "ram": -1}});
    client.must(cloud, "PUT", &format!("/compute/v2.1/os-quota-sets/{project}"), boundless);
    let boundless = json!({"quota": {"port": -1}});
    client.must(cloud, "PUT", &format!("/networking/v2.0/quotas/{project}"), boundless);
    let image = client.image(cloud, b"not much of a disk");
    let flavor = client.flavor(cloud, 64);
    let network = client.network(cloud, "10.0.0.0/16");
    Prepared { image, flavor, network }
}

/// A user who asks for many servers and waits for none.
pub struct Crowd {
    client: Client,
    have: Prepared,
    waiting: Vec<Pending>,
    /// Servers that were acknowledged.
    pub acknowledged: BTreeSet<Uuid>,
    /// How often which answer came; 0 is none.
    pub answers: BTreeMap<u16, u64>,
}

impl Crowd {
    /// One who has this.
    #[must_use]
    pub fn new(client: Client, have: Prepared) -> Self {
        let (waiting, acknowledged) = (Vec::new(), BTreeSet::new());
        Self { client, have, waiting, acknowledged, answers: BTreeMap::new() }
    }

    /// Asks for a server, with a port or without, by this control node or by the next that runs.
    pub fn ask(&mut self, cloud: &mut SimCloud, control: u8, port: bool) {
        let networks = if port { json!([{"uuid": self.have.network}]) } else { json!("none") };
        let body = json!({"server": {
            "name": "vm", "imageRef": self.have.image, "flavorRef": self.have.flavor,
            "networks": networks}});
        self.begin(cloud, control, ("POST", SERVERS), body.to_string().into_bytes());
    }

    /// Asks for the end of a server.
    pub fn delete(&mut self, cloud: &mut SimCloud, control: u8, server: Uuid) {
        self.begin(cloud, control, ("DELETE", &format!("{SERVERS}/{server}")), Vec::new());
    }

    fn begin(&mut self, cloud: &mut SimCloud, control: u8, what: (&str, &str), body: Vec<u8>) {
        self.waiting.extend(self.client.begin(cloud, control, what, "application/json", body));
    }

    /// Whether it waits for an answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the answers that have come.
    pub fn look(&mut self, cloud: &SimCloud) {
        for mut request in std::mem::take(&mut self.waiting) {
            match request.look(cloud) {
                Poll::Pending => self.waiting.push(request),
                Poll::Ready(Some(answer)) => self.learn(&answer),
                Poll::Ready(None) => *self.answers.entry(0).or_default() += 1,
            }
        }
    }

    fn learn(&mut self, answer: &Answer) {
        *self.answers.entry(answer.status).or_default() += 1;
        let id = answer.body["server"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        if answer.status == 202 {
            self.acknowledged.extend(id);
        }
    }
}

/// How many servers are active.
#[must_use]
pub fn active(census: &Census) -> usize {
    census.servers.values().filter(|server| server.state == "active").count()
}

/// Whether every server is what it is to be, or will never be.
#[must_use]
pub fn settled(census: &Census) -> bool {
    census
        .servers
        .values()
        .all(|server| server.is_wanted() && server.action.is_none() && server.state != "building")
}

/// Runs until this holds of the cloud, which is looked at so often; `false` if it does not within the limit.
pub fn until(
    cloud: &mut SimCloud,
    audit: &mut Audit,
    (every, limit): (Duration, Duration),
    mut holds: impl FnMut(&mut SimCloud, &Census) -> bool,
) -> bool {
    let end = cloud.world.now() + limit;
    loop {
        let census = audit.look(cloud);
        if holds(cloud, census) {
            return true;
        }
        if cloud.world.now() >= end {
            return false;
        }
        cloud.world.run_for(every);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
