//! Keeps the compute process of the control node's own machine running.
//!
//! It is started as any other host is: `updraft node`, with a join token the first time. The token goes through
//! a pipe, so that no list of processes shows it. One that a killed control process left behind is told to end
//! and replaced: its guests run on meanwhile, and the new one takes them over from the disk.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    sync::watch,
};
use updraft_runtime::Env;
use updraft_transport::NodeId;

use super::{
    config::DESCRIBED, data_dir::DataDir, enrol, link::Failure, node::COMPUTE,
    processes::Processes, program::this_program,
};
use crate::membership::{Registrar, Wish};

/// The name of the node on the control node's own machine.
pub(super) const OWN_NODE: &str = "compute-1";

/// How long the token of the machine's own node is good: it is used at once.
const TOKEN_LASTS: Duration = Duration::from_secs(120);

/// The pause before a process that ended is started again; it doubles while it ends at once.
const RESTART: Duration = Duration::from_secs(1);

/// The longest such pause.
const RESTART_MAX: Duration = Duration::from_secs(30);

/// A process that lived for so long did not end at once.
const LIVED: Duration = Duration::from_secs(10);

/// How long it may take to end before the plug is pulled.
const GRACE: Duration = Duration::from_secs(10);

/// The settings that processes of a folder share, as the one who started them has put them together.
pub const SETTINGS_FILE: &str = "run/settings.toml";

/// Starts the compute process, again whenever it ends.
pub(super) struct Keeper {
    pub(super) env: Env,
    pub(super) data: DataDir,
    pub(super) registrar: Registrar,
    pub(super) control: NodeId,
    pub(super) control_address: SocketAddr,
}

impl Keeper {
    /// Keeps it running until `end` says so, then ends it in order.
    pub(super) async fn keep(self, mut end: watch::Receiver<bool>) {
        if let Err(error) = self.stop().await {
            tracing::warn!(%error, "the compute process of an earlier run is not ended");
        }
        let mut pause = RESTART;
        loop {
            let begun = self.env.now();
            let ended = self.run_once(&mut end).await;
            if *end.borrow() {
                return;
            }
            let reason = ended.unwrap_or_else(|error| error.to_string());
            tracing::warn!(reason, "the compute process ended and is started again");
            let lived = self.env.now().saturating_sub(begun) >= LIVED;
            pause = if lived { RESTART } else { pause };
            if self.env.timeout(pause, end.wait_for(|end| *end)).await.is_some() {
                return;
            }
            pause = (pause * 2).min(RESTART_MAX);
        }
    }

    /// Runs it until it ends or is to end; says how it ended.
    async fn run_once(&self, end: &mut watch::Receiver<bool>) -> Result<String, Failure> {
        let mut child = self.spawn().await?;
        tokio::select! {
            biased;
            _ = end.wait_for(|end| *end) => {}
            status = child.wait() => return Ok(status?.to_string()),
        }
        self.stop().await?;
        // It may not have come as far as to be known by its folder.
        if child.try_wait()?.is_none() {
            child.start_kill()?;
        }
        Ok(child.wait().await?.to_string())
    }

    async fn stop(&self) -> Result<(), Failure> {
        Processes::of(&self.data).stop(&self.env, COMPUTE, GRACE).await?;
        Ok(())
    }

    async fn spawn(&self) -> Result<Child, Failure> {
        let token = self.token().await?;
        let mut command = Command::from(this_program()?);
        command
            .args(["node", "--config"])
            .arg(self.data.path(SETTINGS_FILE))
            .arg("--data-dir")
            .arg(self.data.root())
            .args(["--control", &self.control_address.to_string()])
            .args(
                token
                    .as_ref()
                    .map(|_| ["--name", OWN_NODE, "--join-file", "-"])
                    .into_iter()
                    .flatten(),
            )
            .stdin(if token.is_some() { Stdio::piped() } else { Stdio::null() })
            // It says what it has to say in the log.
            .stdout(Stdio::null())
            // What a terminal sends is for the control process, which ends this one in order.
            .process_group(0)
            .kill_on_drop(false);
        for described in &DESCRIBED {
            // They are in the file already, under what the command line said.
            command.env_remove(described.variable());
        }
        let mut child = command.env_remove("UPDRAFT_CONFIG").spawn()?;
        if let (Some(token), Some(mut stdin)) = (token, child.stdin.take()) {
            stdin.write_all(token.as_bytes()).await?;
        }
        Ok(child)
    }

    /// A token, if the machine's own node has not joined yet.
    async fn token(&self) -> Result<Option<zeroize::Zeroizing<String>>, Failure> {
        if enrol::membership(&self.data)?.is_some() {
            return Ok(None);
        }
        let wish = Wish {
            control: self.control.clone(),
            address: self.control_address,
            node: Some(NodeId::new(OWN_NODE)?),
            lasts: TOKEN_LASTS,
            for_control: false,
        };
        Ok(Some(self.registrar.invite(wish).await?.to_text()))
    }
}
