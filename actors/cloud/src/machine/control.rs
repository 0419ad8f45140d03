//! The control process of a machine: opens the folder, starts the services, answers REST, keeps the
//! machine's compute process running.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    process::Command,
    signal::unix::{SignalKind, signal},
};
use updraft_compute::scheduler::Ratios;
use updraft_identity::{BootstrapConfig, catalog_at};
use updraft_image::ByteStore;
use updraft_runtime::{Env, node::Parts, store::Store};
use updraft_transport::NodeId;

use super::{
    config::Settings,
    data_dir::DataDir,
    link::{self, Failure},
    processes::Processes,
};
use crate::control::{Control, ControlConfig};

/// The control node's id on a machine of its own.
pub(super) const CONTROL: &str = "control-1";

/// The cell's name until there are several.
const CELL: &str = "cell-1";

/// The pause before a compute process that ended is started again.
const RESTART: Duration = Duration::from_secs(1);

/// How long a control process that was killed may take to let go of its address.
const LET_GO: Duration = Duration::from_secs(2);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a control node until it is told to end.
pub async fn run_control(settings: Settings) -> Result<(), Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let processes = Processes::of(&data);
    if let Some(pid) = processes.running("control") {
        return Err(format!(
            "a cloud runs in {} already (process {pid}). See it with 'updraft status', end it with \
             'updraft down'",
            data.root().display()
        )
        .into());
    }
    let listener = listen(&env, settings.listen).await?;
    let address = listener.local_addr()?;
    let store = Store::redb(env.clone(), &data.path("control.redb")).await?;
    let credentials = link::credentials(&env, &data, CONTROL, &["control"])?;
    let incarnation = data.next_incarnation(CONTROL)?;
    let (quic, events) = link::link(&env, credentials, incarnation, settings.quic_listen)?;
    let quic_address = quic.local_addr()?;
    let parts = Parts {
        env: env.clone(),
        transport: quic,
        events,
        incarnation,
        address: quic_address,
        cell: CELL.to_owned(),
        seeds: vec![(NodeId::new(CONTROL)?, quic_address)],
        topics: std::collections::BTreeSet::new(),
    };
    let base = format!("http://{address}");
    let bootstrap = bootstrap(&env, &data, &settings, &base)?;
    let control =
        Control::start(parts, store.clone(), config(&settings, &data)?, &bootstrap).await?;
    data.write("run/address", &address.to_string())?;
    data.write("run/quic-address", &quic_address.to_string())?;
    // Last: whoever waits for the cloud reads the others when this is there.
    processes.note("control")?;
    let compute = keep_compute(env.clone(), settings.clone(), quic_address);
    let served = axum::serve(listener, control.router())
        .with_graceful_shutdown(async { told_to_end().await });
    tokio::select! {
        biased;
        result = served => result?,
        error = compute => return Err(error),
        reason = control.node().failed() => return Err(reason.into()),
    }
    control.node().stop().await;
    store.close().await;
    processes.forget("control");
    Ok(())
}

async fn listen(env: &Env, address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} is not a loopback address, and REST without TLS listens on loopback only. Choose \
             127.0.0.1 or [::1] with --listen"
        )
        .into());
    }
    let until = env.now() + LET_GO;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse && env.now() < until => {
                env.sleep(LOOK).await;
            }
            Err(error) => {
                return Err(format!(
                    "cannot listen on {address}: {error}. Choose another address with --listen, or stop \
                     what uses it"
                )
                .into());
            }
        }
    }
}

fn config(settings: &Settings, data: &DataDir) -> Result<ControlConfig, Failure> {
    let images = data.path("images");
    std::fs::create_dir_all(&images)?;
    Ok(ControlConfig {
        region: settings.region.clone(),
        image: updraft_image::Config {
            bytes: ByteStore::directory(&images)?,
            ..updraft_image::Config::default()
        },
        compute: updraft_compute::Config {
            ratios: Ratios {
                vcpus: settings.cpu_allocation_ratio.0,
                ram: settings.ram_allocation_ratio.0,
                ..Ratios::default()
            },
            ..updraft_compute::Config::default()
        },
        ..ControlConfig::default()
    })
}

/// What the cloud begins with; the administrator's password is drawn once and kept.
fn bootstrap(
    env: &Env,
    data: &DataDir,
    settings: &Settings,
    base: &str,
) -> Result<BootstrapConfig, Failure> {
    let password = data.keep("admin-password", || env.uuid().simple().to_string())?;
    data.write("clouds.yaml", &clouds_yaml(&password, &settings.region, base))?;
    Ok(BootstrapConfig {
        admin_password: password.to_string(),
        service_password: None,
        region: settings.region.clone(),
        catalog: catalog_at(base),
    })
}

/// What the `openstack` client reads, with the cloud named `updraft`.
fn clouds_yaml(password: &str, region: &str, base: &str) -> String {
    format!(
        "clouds:\n  updraft:\n    auth:\n      auth_url: {base}/identity/v3\n      username: admin\n      \
         password: {password}\n      project_name: admin\n      user_domain_name: Default\n      \
         project_domain_name: Default\n    region_name: {region}\n    identity_api_version: 3\n"
    )
}

/// Keeps the machine's compute process running; returns only with why that is impossible.
async fn keep_compute(env: Env, settings: Settings, control: SocketAddr) -> Failure {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let settings = Arc::new(settings);
    loop {
        let child = Command::new(&program)
            .arg("compute")
            .arg("--data-dir")
            .arg(&settings.data_dir)
            .args(["--control", &control.to_string()])
            .args(["--hypervisor", hypervisor(&settings)])
            .args(["--virt-type", settings.virt_type.as_str()])
            .kill_on_drop(false)
            .spawn();
        let ended = match child {
            Ok(mut child) => child.wait().await.map(|status| status.to_string()),
            Err(error) => Err(error),
        };
        let reason = ended.unwrap_or_else(|error| error.to_string());
        tracing::warn!(reason, "the compute process ended and is started again");
        env.sleep(RESTART).await;
    }
}

fn hypervisor(settings: &Settings) -> &'static str {
    match settings.hypervisor {
        super::config::HypervisorKind::Libvirt => "libvirt",
        super::config::HypervisorKind::Simulated => "simulated",
    }
}

/// Waits for the signal to end.
pub(super) async fn told_to_end() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("no signal can be heard; end this process by force");
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
