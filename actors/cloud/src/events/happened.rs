//! The questions that people ask of a cloud, answered by its notices: is the network up, is the server ready, has the
//! server crashed?

use serde_json::Value;
use updraft_runtime::notify::Published;
use uuid::Uuid;

/// What a notice says to whoever waits for one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A port of a network carries packets.
    NetworkUp {
        /// The network.
        network: Uuid,
        /// The port.
        port: Uuid,
    },
    /// A server runs.
    ServerReady(Uuid),
    /// A server's guest ended by itself, or the server is in error.
    ServerCrashed(Uuid),
}

impl Happened {
    /// What the notice says, if it is one of these.
    #[must_use]
    pub fn of(notice: &Published) -> Option<Self> {
        let id = |value: &Value| value.as_str().and_then(|text| Uuid::parse_str(text).ok());
        let object = || Uuid::parse_str(&notice.object).ok();
        let data = &notice.payload["nova_object.data"];
        match notice.event.as_str() {
            "port.update.end" => {
                let port = &notice.payload["port"];
                let up = port["status"] == "ACTIVE";
                let network = id(&port["network_id"]).filter(|_| up)?;
                Some(Self::NetworkUp { network, port: object()? })
            }
            "instance.create.end" | "instance.power_on.end" | "instance.reboot.end" => {
                object().filter(|_| data["state"] == "active").map(Self::ServerReady)
            }
            "instance.create.error" => object().map(Self::ServerCrashed),
            "instance.power_off.end" | "instance.update" => {
                let crashed = data["power_state"] == "crashed" || data["state"] == "error";
                object().filter(|_| crashed).map(Self::ServerCrashed)
            }
            _ => None,
        }
    }
}
