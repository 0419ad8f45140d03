//! The control process of a machine: opens the folder, starts the services, answers REST, and on the machine with which
//! a cloud began keeps the compute process running.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, sync::watch};
use updraft_compute::{
    consoles::ConsoleConfig,
    scheduler::{Driver, Ratios},
};
use updraft_edge::listener::{self, Limits};
use updraft_image::ByteStore;
use updraft_runtime::Env;
use updraft_transport::NodeId;

use super::{
    config::{ConfigError, Settings, is_open},
    data_dir::DataDir,
    database,
    enlist::{self, ControlRequest},
    image_folder,
    keeper::{Keeper, SETTINGS_FILE},
    link::{AddressError, Failure},
    processes::Processes,
    signals::told_to_end,
};
use crate::{
    control::{Control, ControlConfig},
    vitals,
};

mod entered;

use self::entered::Entered;
pub(super) use self::entered::first_node;

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

/// What a control process is started as.
pub enum ControlStart {
    /// The one with which its cloud began, which keeps the machine's compute process running too.
    First,
    /// A further one, which may have to join first.
    Further(ControlRequest),
}

/// Makes this folder one of a further control node if it is none yet, without running it.
pub async fn enlist_control(
    settings: &Settings,
    request: ControlRequest,
) -> Result<NodeId, Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let _held = Processes::of(&data).hold(&env, CONTROL).await?;
    enlist::enlist(&env, &data, settings, request).await
}

/// Runs a control node until it is told to end.
pub async fn run_control(settings: Settings, start: ControlStart) -> Result<(), Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let _held = Processes::of(&data).hold(&env, CONTROL).await?;
    data.remove(ADDRESS_FILE)?;
    let settings = Settings { data_dir: data.root().to_owned(), ..settings };
    let further = matches!(start, ControlStart::Further(_));
    let node = match start {
        ControlStart::First => first_node(&data)?,
        ControlStart::Further(request) => enlist::enlist(&env, &data, &settings, request).await?,
    };
    data.write(SETTINGS_FILE, &settings.to_file()?)?;
    let listener = listen(&env, settings.listen.address()).await?;
    let entered = Entered { env, data, settings, node, further };
    let (store, database) = database::open(&entered.env, &entered.settings, &entered.data).await?;
    let ended = entered.serve(&store, database, listener).await;
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
    keeper: Option<Keeper>,
    listener: TcpListener,
    unseated: impl Future<Output = Failure>,
) -> Result<(), Failure> {
    let end = watch::Sender::new(false);
    let answering = answer(env, listener, control.router(), end.subscribe());
    let keeping = {
        let end = end.subscribe();
        async {
            if let Some(keeper) = keeper {
                keeper.keep(end).await;
            }
        }
    };
    let both = async { tokio::join!(answering, keeping) };
    tokio::pin!(both);
    let why = tokio::select! {
        biased;
        () = told_to_end() => Ok(()),
        reason = control.node().failed() => Err(reason.into()),
        reason = unseated => Err(reason),
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
    let images = image_folder::path(settings, data);
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
            consoles: ConsoleConfig {
                token_ttl: settings.console_token_ttl_secs.duration(),
                novnc_dir: settings.novnc_dir.clone(),
                url: settings.api_url.named().map(str::to_owned),
            },
            ..updraft_compute::Config::default()
        },
        network: updraft_network::Config {
            physical_mtu: settings.physical_mtu.bytes(),
            ..updraft_network::Config::default()
        },
        ..ControlConfig::default()
    })
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

    #[test]
    fn the_scheduler_has_the_driver_that_was_set() {
        let (_folder, data) = folder();
        let settings = Settings { scheduler_driver: SchedulerDriver::Zone, ..Settings::default() };
        let driver = config(&settings, &data).unwrap().compute.scheduler;
        assert!(format!("{driver:?}").contains("kind: Zone"), "{driver:?}");
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
