//! The servers that carry messages for NATS and RabbitMQ.
//!
//! Owns their processes. Promises that they listen on the loopback interface alone, keep their data in the run's
//! folder, touch no server of the machine, and end with this program even if it is killed. Installs nothing.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use updraft_bench_load::Failure;
use updraft_runtime::Env;

/// Where Debian keeps it; the command in the path is a wrapper that wants to be a system service.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How long a broker may take to listen: RabbitMQ takes some ten seconds.
const START_WITHIN: Duration = Duration::from_secs(90);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// A broker that runs; it ends with this value.
pub(crate) struct Broker {
    processes: Vec<Child>,
    /// Where it listens.
    pub(crate) address: String,
}

impl Broker {
    /// The broker that a peer needs, if it needs one.
    pub(crate) async fn of(env: &Env, peer: &str, folder: &Path) -> Result<Option<Self>, Failure> {
        let port = free_port()?;
        let processes = match peer {
            "nats" => vec![nats(port, folder)?],
            "rabbitmq" => rabbitmq(port, folder)?,
            _ => return Ok(None),
        };
        let mut broker = Self { processes, address: format!("{}:{port}", Ipv4Addr::LOCALHOST) };
        let listens = env.timeout(START_WITHIN, broker.until_it_listens(env)).await;
        listens.ok_or_else(|| format!("its broker does not listen within {START_WITHIN:?}"))??;
        Ok(Some(broker))
    }

    async fn until_it_listens(&mut self, env: &Env) -> Result<(), Failure> {
        while TcpStream::connect(&self.address).await.is_err() {
            for process in &mut self.processes {
                if let Some(status) = process.try_wait()? {
                    return Err(format!("its broker has ended: {status}").into());
                }
            }
            env.sleep(LOOK).await;
        }
        Ok(())
    }

    /// Ends it. The data go with the folder, so nothing is lost by ending it at once.
    pub(crate) async fn end(&mut self) -> Result<(), Failure> {
        for process in &mut self.processes {
            process.kill().await?;
        }
        Ok(())
    }

    /// Its processes and all that they have started.
    pub(crate) fn processes(&self) -> Result<Vec<i32>, Failure> {
        let parents = parents()?;
        let ids = self.processes.iter().filter_map(Child::id);
        let mut all = ids.map(i32::try_from).collect::<Result<Vec<_>, _>>()?;
        let mut at = 0;
        while let Some(parent) = all.get(at).copied() {
            let children = parents.iter().filter(|(_, its)| **its == parent);
            all.extend(children.map(|(process, _)| *process));
            at += 1;
        }
        Ok(all)
    }
}

/// Every process of the machine, with the one that has started it.
fn parents() -> Result<BTreeMap<i32, i32>, Failure> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended meanwhile has no parent.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything; state and parent follow it.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            parents.insert(process, parent);
        }
    }
    Ok(parents)
}

fn nats(port: u16, folder: &Path) -> Result<Child, Failure> {
    let mut command = bound_to_this("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
    start(command, "nats-server", folder)
}

/// RabbitMQ and the port mapper of its own that Erlang wants.
fn rabbitmq(port: u16, folder: &Path) -> Result<Vec<Child>, Failure> {
    if !Path::new(RABBITMQ).exists() {
        return Err("rabbitmq-server is not installed".into());
    }
    let home = folder.join("rabbitmq-home");
    fs::create_dir(&home)?;
    let (mapper_port, erlang_port) = (free_port()?.to_string(), free_port()?.to_string());
    let mut mapper = bound_to_this("epmd");
    mapper.args(["-address", "127.0.0.1", "-port", &mapper_port]);
    let mut server = bound_to_this(RABBITMQ);
    server
        // Erlang's cookie, a secret, is made in it.
        .env("HOME", &home)
        .env("ERL_EPMD_PORT", &mapper_port)
        .env("RABBITMQ_NODENAME", "bench@localhost")
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", erlang_port)
        .env("RABBITMQ_MNESIA_BASE", home.join("data"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_CONF_ENV_FILE", home.join("none"))
        .env("RABBITMQ_CONFIG_FILE", home.join("none"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-start_epmd false")
        // The script becomes the server, instead of waiting beside it.
        .env("RUNNING_UNDER_SYSTEMD", "true");
    Ok(vec![start(mapper, "epmd", folder)?, start(server, "rabbitmq", folder)?])
}

/// A program that the kernel ends when this one has ended, however that was.
fn bound_to_this(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

fn start(mut command: Command, name: &str, folder: &Path) -> Result<Child, Failure> {
    let log = File::create(folder.join(format!("{name}-broker.log")))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{name} cannot be started: {error}").into())
}

/// A port that nobody uses at this moment.
fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
