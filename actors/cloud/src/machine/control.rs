//! The control process of a machine: opens the folder, starts the services, answers REST, keeps the
//! machine's compute process running.

use std::{collections::BTreeSet, io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, sync::watch};
use updraft_compute::scheduler::{Driver, Ratios};
use updraft_edge::listener::{self, Limits};
use updraft_identity::{BootstrapConfig, catalog_at};
use updraft_image::ByteStore;
use updraft_runtime::{Env, node::Parts};
use updraft_transport::{NodeId, PeerIdentity, quic::Quic};

use super::{
    config::{ConfigError, Settings, is_open},
    data_dir::DataDir,
    database, enrol,
    keeper::{Keeper, OWN_NODE, SETTINGS_FILE},
    link::{self, AddressError, Failure, Side},
    node::CELL,
    processes::Processes,
    renewal, revoked,
    signals::told_to_end,
};
use crate::{
    control::{Control, ControlConfig},
    membership::Registrar,
    vitals,
};

/// The control node's id on a machine of its own.
const CONTROL_NODE: &str = "control-1";

/// The name of a control process among the processes of a folder.
pub const CONTROL: &str = "control";

/// Where the REST APIs answer; there as long as they do.
pub const ADDRESS_FILE: &str = "run/address";

/// Where metrics are shown; there as long as they are.
const METRICS_ADDRESS_FILE: &str = "run/metrics-address";

/// How long a control process that was killed may take to let go of its address.
const LET_GO: Duration = Duration::from_secs(2);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// How long requests under way may take to end when the process is told to.
const REQUESTS_END_WITHIN: Duration = Duration::from_secs(5);

/// Runs a control node until it is told to end.
pub async fn run_control(settings: Settings) -> Result<(), Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let _held = Processes::of(&data).hold(&env, CONTROL).await?;
    refuse_foreign_node(&data)?;
    data.remove(ADDRESS_FILE)?;
    let settings = Settings { data_dir: data.root().to_owned(), ..settings };
    data.write(SETTINGS_FILE, &settings.to_file()?)?;
    let listener = listen(&env, settings.listen.address()).await?;
    let address = listener.local_addr()?;
    let store = database::open(&env, &settings, &data).await?;
    let node = NodeId::new(CONTROL_NODE)?;
    let own = BTreeSet::from([NodeId::new(OWN_NODE)?]);
    let registrar = Registrar::beside(&env, &store, link::ca(&env, &data)?, node.clone(), own);
    let refused = registrar.revoked().await?;
    let (parts, quic, quic_address) = parts(&env, &data, &settings, &registrar)?;
    // Before anything else runs: nobody who was removed is heard even once.
    quic.revoke(&refused.keys)?;
    let base = format!("http://{address}");
    let bootstrap = bootstrap(&env, &data, &settings, &base)?;
    let config = ControlConfig { registrar: Some(registrar.clone()), ..config(&settings, &data)? };
    let control = Control::start(parts, store.clone(), config, &bootstrap).await?;
    let revocations = control.node().rpc().directory().revocations();
    revocations.take(refused);
    revoked::follow(&env, quic, None, revocations);
    data.write("run/quic-address", &quic_address.to_string())?;
    show_metrics(&env, &settings, &data, &control).await?;
    settings.export_spans(&env, control.node());
    let keeper = Keeper {
        env: env.clone(),
        data: data.clone(),
        registrar,
        control: node,
        control_address: quic_address,
    };
    // Last: whoever waits for the cloud reads the others when this is there.
    data.write(ADDRESS_FILE, &address.to_string())?;
    let ended = serve(&env, &control, keeper, listener).await;
    // The compute process has ended: nothing more is to be heard of it.
    let _ = data.remove(ADDRESS_FILE);
    control.node().stop().await;
    store.close().await;
    ended
}

/// Shows metrics where the settings say so, for as long as the process runs.
async fn show_metrics(
    env: &Env,
    settings: &Settings,
    data: &DataDir,
    control: &Control,
) -> Result<(), Failure> {
    let address = settings.metrics_listen;
    data.remove(METRICS_ADDRESS_FILE)?;
    if !vitals::is_wanted(&address) {
        return Ok(());
    }
    if !address.ip().is_loopback() {
        return Err(ConfigError::Together(format!(
            "metrics_listen {address} is no address of this machine alone: without TLS it has to be, such as \
             127.0.0.1:9100"
        ))
        .into());
    }
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| AddressError::metrics(address, source))?;
    data.write(METRICS_ADDRESS_FILE, &listener.local_addr()?.to_string())?;
    let (router, door) = (vitals::open_metrics(control.node().rpc()), env.clone());
    env.spawn("metrics", async move {
        // Its sender is kept for as long: no end is told but the process's own.
        let (_kept, never) = watch::channel(false);
        listener::serve(&door, listener, router, Limits::default(), never).await;
    });
    Ok(())
}

/// Answers requests and keeps the compute process, until told to end or unable to go on; then ends both.
async fn serve(
    env: &Env,
    control: &Control,
    keeper: Keeper,
    listener: TcpListener,
) -> Result<(), Failure> {
    let end = watch::Sender::new(false);
    let answering = answer(env, listener, control.router(), end.subscribe());
    let both = async { tokio::join!(answering, keeper.keep(end.subscribe())) };
    tokio::pin!(both);
    let why = tokio::select! {
        biased;
        () = told_to_end() => Ok(()),
        reason = control.node().failed() => Err(reason.into()),
        ((), ()) = &mut both => return Ok(()),
    };
    tracing::info!("the cloud ends");
    end.send_replace(true);
    both.await;
    why
}

/// Answers requests until it is to end; those under way get a moment then.
async fn answer(env: &Env, listener: TcpListener, router: Router, mut end: watch::Receiver<bool>) {
    let listener = listener.tap_io(|connection| {
        // An answer in several pieces does not wait for the client's acknowledgement of the first.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays as it is");
        }
    });
    let served = listener::serve(env, listener, router, Limits::default(), end.clone());
    let too_long = async {
        // An error says the same: nobody is there to tell.
        let _ = end.wait_for(|end| *end).await;
        env.sleep(REQUESTS_END_WITHIN).await;
    };
    tokio::select! {
        biased;
        () = served => {}
        () = too_long => tracing::warn!("requests under way are cut off"),
    }
}

/// A folder that belongs to a host of another cloud is not made a cloud of its own.
fn refuse_foreign_node(data: &DataDir) -> Result<(), Failure> {
    match enrol::membership(data)? {
        Some(known) if known.node.as_str() != OWN_NODE => Err(format!(
            "{} belongs to node {} of the cloud at {}; start it with 'updraft node', or give another folder \
             with --data-dir",
            data.root().display(),
            known.node,
            known.control_address
        )
        .into()),
        _ => Ok(()),
    }
}

/// The node's link, and where others reach it.
fn parts(
    env: &Env,
    data: &DataDir,
    settings: &Settings,
    registrar: &Registrar,
) -> Result<(Parts, Arc<Quic>, SocketAddr), Failure> {
    let node = NodeId::new(CONTROL_NODE)?;
    let ca = Arc::new(link::ca(env, data)?);
    let key = link::key(env, data, CONTROL_NODE)?;
    let identity = PeerIdentity::new(node.clone(), &["control"]);
    let issue = {
        let env = env.clone();
        move || link::credentials(&env, &ca, key.clone(), &identity)
    };
    let credentials = issue()?;
    let incarnation = data.next_incarnation(CONTROL_NODE)?;
    let side = Side::Control(Arc::new(registrar.clone()));
    let (quic, events) =
        link::link(env, credentials.clone(), incarnation, settings.quic_listen, side)?;
    let address = quic_address(settings, quic.local_addr()?)?;
    renewal::of_control(env, quic.clone(), credentials, issue);
    let parts = Parts {
        env: env.clone(),
        transport: quic.clone(),
        events,
        incarnation,
        address,
        cell: CELL.to_owned(),
        seeds: vec![(node, address)],
    };
    Ok((parts, quic, address))
}

/// Where other nodes reach this one, which listens at `bound`.
fn quic_address(settings: &Settings, bound: SocketAddr) -> Result<SocketAddr, ConfigError> {
    let mut address = settings.quic_address;
    if is_open(&address) {
        address.set_ip(bound.ip());
    }
    if address.port() == 0 {
        address.set_port(bound.port());
    }
    if is_open(&address) {
        return Err(ConfigError::Together(format!(
            "quic_listen {bound} is every address of this machine: say with --quic-address which one other \
             nodes are to use"
        )));
    }
    Ok(address)
}

async fn listen(env: &Env, address: SocketAddr) -> Result<TcpListener, AddressError> {
    let until = env.now() + LET_GO;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse && env.now() < until => {
                env.sleep(LOOK).await;
            }
            Err(error) => return Err(AddressError::tcp(address, error)),
        }
    }
}

fn config(settings: &Settings, data: &DataDir) -> Result<ControlConfig, Failure> {
    let images = data.folder("images")?;
    Ok(ControlConfig {
        region: settings.region.as_str().to_owned(),
        identity: updraft_identity::Config {
            token_lifetime: settings.token_lifetime_secs.duration(),
            ..updraft_identity::Config::default()
        },
        image: updraft_image::Config {
            bytes: ByteStore::directory(&images)?,
            ..updraft_image::Config::default()
        },
        compute: updraft_compute::Config {
            scheduler: Arc::new(Driver::new(settings.scheduler_driver.into())),
            ratios: Ratios {
                vcpus: settings.cpu_allocation_ratio.value(),
                ram: settings.ram_allocation_ratio.value(),
                ..Ratios::default()
            },
            ..updraft_compute::Config::default()
        },
        ..ControlConfig::default()
    })
}

/// What the cloud begins with; passwords are drawn once and kept.
fn bootstrap(
    env: &Env,
    data: &DataDir,
    settings: &Settings,
    base: &str,
) -> Result<BootstrapConfig, Failure> {
    let draw = || env.uuid().simple().to_string();
    let (password, service_password) =
        (data.keep("admin-password", draw)?, data.keep("service-password", draw)?);
    // Whoever writes one with an editor ends its line.
    let (password, service_password) = (password.trim(), service_password.trim());
    let region = settings.region.as_str();
    data.write("clouds.yaml", &clouds_yaml(password, region, base))?;
    Ok(BootstrapConfig {
        admin_password: password.to_owned(),
        service_password: Some(service_password.to_owned()),
        region: region.to_owned(),
        catalog: catalog_at(base),
    })
}

/// What the `openstack` client reads, with the cloud named `updraft`.
fn clouds_yaml(password: &str, region: &str, base: &str) -> String {
    // In YAML, as in SQL, a quote within quotes is doubled.
    let password = format!("'{}'", password.replace('\'', "''"));
    format!(
        "clouds:\n  updraft:\n    auth:\n      auth_url: {base}/identity/v3\n      username: admin\n      \
         password: {password}\n      project_name: admin\n      user_domain_name: Default\n      \
         project_domain_name: Default\n    region_name: {region}\n    identity_api_version: 3\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::config::SchedulerDriver;

    fn address_of(quic_address_set: &str, bound: &str) -> Result<SocketAddr, ConfigError> {
        let set = quic_address_set.parse().unwrap();
        let settings = Settings { quic_address: set, ..Settings::default() };
        quic_address(&settings, bound.parse().unwrap())
    }

    fn folder() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        (folder, data)
    }

    #[tokio::test]
    async fn passwords_are_drawn_once_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, data) = folder();
        let begin =
            || bootstrap(&Env::real(), &data, &Settings::default(), "http://cloud").unwrap();
        let (first, again) = (begin(), begin());
        let service = first.service_password.clone().unwrap();
        assert_eq!(service.len(), 32);
        assert_ne!(service, first.admin_password);
        assert_eq!(again.service_password.unwrap(), service);
        assert_eq!(again.admin_password, first.admin_password);
        for (name, holds) in
            [("admin-password", &first.admin_password), ("service-password", &service)]
        {
            assert_eq!(data.read(name).unwrap().unwrap().as_str(), holds);
            let mode = std::fs::metadata(data.path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn the_scheduler_has_the_driver_that_was_set() {
        let (_folder, data) = folder();
        let settings = Settings { scheduler_driver: SchedulerDriver::Zone, ..Settings::default() };
        let driver = config(&settings, &data).unwrap().compute.scheduler;
        assert!(format!("{driver:?}").contains("kind: Zone"), "{driver:?}");
    }

    #[test]
    fn a_password_of_any_letters_is_one_value_for_the_client() {
        let text = clouds_yaml("it's: #1", "RegionOne", "http://127.0.0.1:1");
        assert!(text.contains("\n      password: 'it''s: #1'\n"), "{text}");
    }

    #[test]
    fn other_nodes_are_told_where_the_control_node_listens_unless_told_otherwise() {
        for (set, bound, told) in [
            ("0.0.0.0:0", "192.0.2.1:8775", "192.0.2.1:8775"),
            ("192.0.2.7:0", "0.0.0.0:8775", "192.0.2.7:8775"),
            ("192.0.2.7:99", "192.0.2.1:8775", "192.0.2.7:99"),
        ] {
            assert_eq!(address_of(set, bound).unwrap(), told.parse().unwrap());
        }
        let error = address_of("0.0.0.0:0", "0.0.0.0:8775").unwrap_err().to_string();
        assert!(error.contains("--quic-address"), "{error}");
    }
}
