//! How a machine becomes a further control node of a cloud, and how its folder remembers that.
//!
//! Owns `control.json`, which says which control node the folder is of. A folder without one is that of the control
//! node with which the cloud began. It is written before the CA, whose key is written last: with a `control.json` and no
//! CA the exchange was cut short, and the same token ends it. The token is shown only when all else is in order: a token that was used up for
//! nothing has to be asked for again.

use serde::{Deserialize, Serialize};
use updraft_runtime::Env;
use updraft_transport::{
    Incarnation, NodeId,
    certificate::Certificate,
    join::{Entrusted, JoinToken},
};

use super::{
    config::{ConfigError, Settings},
    data_dir::DataDir,
    database::{self, DatabaseError},
    enrol::{self, EnrolError},
    estate, image_folder,
    link::{self, Failure},
};
use crate::membership::{Roster, authority_text};

/// Where a folder keeps which control node it is of.
const FILE: &str = "control.json";

/// What stands there.
#[derive(Serialize, Deserialize)]
struct Kept {
    node: NodeId,
}

/// What the command line says beyond the settings.
#[derive(Default)]
pub struct ControlRequest {
    /// The token to join with, if the folder is no control node's yet.
    pub token: Option<JoinToken>,
    /// The name to join under; the machine's own if there is none.
    pub name: Option<NodeId>,
}

/// Which further control node this folder is of, if it is one's.
pub fn further_control(data: &DataDir) -> Result<Option<NodeId>, Failure> {
    let Some(text) = data.read(FILE)? else { return Ok(None) };
    let kept: Kept = serde_json::from_str(&text).map_err(|error| data.damaged(FILE, error))?;
    Ok(Some(kept.node))
}

/// Makes this folder one of a further control node, unless it is one. A token that is not needed is left alone.
pub(super) async fn enlist(
    env: &Env,
    data: &DataDir,
    settings: &Settings,
    request: ControlRequest,
) -> Result<NodeId, Failure> {
    let root = || data.root().to_owned();
    let known = further_control(data)?;
    if let Some(known) = &known {
        if request.name.as_ref().is_some_and(|name| name != known) {
            return Err(EnrolError::OtherName { path: root(), node: known.clone() }.into());
        }
        if link::kept_ca(data)?.is_some() {
            return Ok(known.clone());
        }
    }
    refuse_other_folders(data)?;
    let token = request.token.ok_or_else(|| EnrolError::NoControlToken(root()))?;
    if !token.for_control {
        return Err(EnrolError::ForHost.into());
    }
    token.check(env.wall().secs()).map_err(EnrolError::from)?;
    refuse_unreachable(settings, &token)?;
    let node = match known.or(request.name) {
        Some(name) => name,
        None => enrol::own_name()?,
    };
    refuse_other_database(env, data, settings, &token).await?;
    join(env, data, &token, node).await
}

/// A folder of a host, or of the control node with which a cloud began.
fn refuse_other_folders(data: &DataDir) -> Result<(), Failure> {
    let root = data.root().display();
    if let Some(known) = enrol::membership(data)?.filter(|_| !database::has_control(data)) {
        let node = known.node;
        return Err(format!(
            "{root} belongs to compute node {node}; give another folder with --data-dir"
        )
        .into());
    }
    if database::has_control(data) {
        return Err(format!(
            "{root} belongs to the control node with which its cloud began; start it with 'updraft up', or give another \
             folder with --data-dir"
        )
        .into());
    }
    Ok(())
}

/// A control node that only its own machine reaches is of no use to others.
fn refuse_unreachable(settings: &Settings, token: &JoinToken) -> Result<(), ConfigError> {
    let listens = settings.quic_listen.ip();
    let told = settings.quic_address.ip();
    if token.address.ip().is_loopback() || !listens.is_loopback() || !told.is_unspecified() {
        return Ok(());
    }
    Err(ConfigError::Together(format!(
        "quic_listen {} is an address of this machine alone, and control node {} is at {}: say with --quic-listen where \
         other nodes reach this one",
        settings.quic_listen, token.control, token.address
    )))
}

/// The database has to be that of the token's cloud, and the folder of images too.
async fn refuse_other_database(
    env: &Env,
    data: &DataDir,
    settings: &Settings,
    token: &JoinToken,
) -> Result<(), Failure> {
    let needed = || {
        let words = "a further control node needs the PostgreSQL database of its cloud: name it with --database-url";
        ConfigError::Together(words.to_owned())
    };
    // Looked at first: to open a file makes one.
    settings.database_url.named().ok_or_else(needed)?;
    let (store, place) = database::open(env, settings, data).await?;
    let place = place.ok_or_else(needed)?;
    let roster = Roster::new(env, &store);
    let cloud = roster.cloud().await;
    let checked = match cloud {
        Err(error) => Err(error.into()),
        Ok(None) => Err(DatabaseError::Empty { place }.into()),
        Ok(Some(cloud)) if cloud.authority != authority_text(&token.authority) => {
            Err(DatabaseError::NotTheTokens { place }.into())
        }
        Ok(Some(cloud)) => image_folder::is_shared(settings, data, cloud.images.as_ref()),
    };
    store.close().await;
    checked
}

async fn join(
    env: &Env,
    data: &DataDir,
    token: &JoinToken,
    node: NodeId,
) -> Result<NodeId, Failure> {
    let joined = enrol::show(env, data, token, &node).await?;
    let authorities = joined.credentials.authorities();
    let authority = authorities.iter().find(|known| known.fingerprint() == token.authority);
    let authority = authority.ok_or("the token's CA is not among those of the answer")?;
    if joined.former > Incarnation::default() {
        data.count_from(env, node.as_str(), joined.former)?;
    }
    keep(data, &node, &joined.entrusted, authority)?;
    Ok(node)
}

/// Keeps whose folder it is, and then what that node is entrusted with: an estate in a folder of nobody would be taken
/// for that of a cloud that begins.
fn keep(
    data: &DataDir,
    node: &NodeId,
    entrusted: &Entrusted,
    authority: &Certificate,
) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&Kept { node: node.clone() })?;
    data.write(FILE, &format!("{text}\n"))?;
    estate::take_over(data, entrusted, authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::control::first_node;

    fn token(at: &str) -> JoinToken {
        use updraft_transport::{
            ca::{CloudCa, Validity},
            key::NodeKey,
        };
        let validity = Validity::starting(1, std::time::Duration::from_secs(60));
        let ca = CloudCa::create("test", NodeKey::from_seed(&[1; 32]).unwrap(), validity).unwrap();
        let control = NodeId::new("control-1").unwrap();
        JoinToken::new([7; 16], ca.certificate(), control, at.parse().unwrap(), 99)
    }

    #[tokio::test]
    async fn a_folder_whose_join_was_cut_short_founds_no_cloud_and_asks_for_a_token() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, data) =
            (DataDir::open(one.path()).unwrap(), DataDir::open(other.path()).unwrap());
        let env = Env::real();
        let ca = link::ca(&env, &one).unwrap();
        let estate = estate::hand_over(&ca, &estate::passwords(&env, &one).unwrap()).unwrap();
        let node = NodeId::new("control-2").unwrap();
        // The disk does not take the estate.
        std::fs::write(other.path().join("ca"), "").unwrap();
        keep(&data, &node, &estate, ca.certificate()).unwrap_err();
        std::fs::remove_file(other.path().join("ca")).unwrap();
        let refused = first_node(&data).unwrap_err().to_string();
        assert!(refused.contains("belongs to control node control-2"), "{refused}");
        let settings = Settings::default();
        let again = || enlist(&env, &data, &settings, ControlRequest::default());
        let error = again().await.unwrap_err().to_string();
        assert!(error.contains("a join token is needed"), "{error}");
        keep(&data, &node, &estate, ca.certificate()).unwrap();
        assert_eq!(again().await.unwrap(), node);
    }

    #[test]
    fn a_control_node_that_others_do_not_reach_is_refused_before_its_token_is_used() {
        let mut settings = Settings::default();
        assert!(refuse_unreachable(&settings, &token("127.0.0.1:8775")).is_ok());
        let refused = refuse_unreachable(&settings, &token("192.0.2.1:8775")).unwrap_err();
        assert!(refused.to_string().contains("--quic-listen"), "{refused}");
        settings.quic_listen = "192.0.2.2:8775".parse().unwrap();
        assert!(refuse_unreachable(&settings, &token("192.0.2.1:8775")).is_ok());
    }
}
