//! The supervised child process that links libvirt.
//!
//! It speaks `updraft_protocol::hypervisor` on its standard input and output, one JSON object a line,
//! and logs to its standard error. It is a process of its own so that a call that hangs, a libvirt
//! that is missing or a crash in a C library harms nothing else. It ends when its parent closes its
//! standard input.

mod connection;
mod console;
mod devices;
mod driver;
mod events;
mod failure;
mod fence;
mod guest;
mod host;
mod probe_program;
mod session;
mod sys;
mod turns;
mod view;
mod virt_type;
mod work;
mod xml;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use tokio::{
    io::BufReader,
    sync::{mpsc, oneshot},
};
use tracing_subscriber::EnvFilter;
use updraft_protocol::hypervisor::{GuestEvent, Outgoing};
use updraft_runtime::Env;

use crate::{connection::Link, driver::Driver, fence::Fence, virt_type::VirtTypes};

/// Drives guests through libvirt, told what to do on standard input.
#[derive(Debug, Parser)]
#[command(name = "updraft-libvirt", version)]
struct Arguments {
    /// Which libvirt: its connection URI.
    #[arg(long, default_value = "qemu:///system")]
    uri: String,
    /// Where guests' files are, and what this program keeps: which generations it has served.
    #[arg(long)]
    instances: PathBuf,
    /// How guest code is run: translated, by the processor, or whichever a trial shows to work.
    #[arg(long, value_enum, default_value = "auto")]
    virt_type: virt_type::Setting,
}

/// Between looks at whether an earlier driver of the same folder has ended.
const LOCK_RETRY: Duration = Duration::from_millis(200);

/// Why the program cannot do its work at all.
#[derive(Debug, thiserror::Error)]
enum Hopeless {
    #[error("the tokio runtime cannot be made: {0}")]
    Runtime(io::Error),
    #[error("the instances' folder {path} cannot be used: {source}", path = path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("what was served before cannot be read: {0}")]
    Fence(#[from] fence::FenceError),
    #[error("libvirt's event loop cannot be made: {0}")]
    EventLoop(virt::error::Error),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match drive(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn drive(arguments: Arguments) -> Result<(), Hopeless> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Hopeless::Runtime)?;
    let result = runtime.block_on(converse(arguments));
    // Calls that hang in libvirt, and libvirt's event loop, end with the process.
    runtime.shutdown_background();
    result
}

async fn converse(arguments: Arguments) -> Result<(), Hopeless> {
    let (out, said) = mpsc::channel(session::OUTGOING_MAX);
    let (close, closing) = oneshot::channel();
    let work = async {
        let result = serve(Env::real(), arguments, out).await;
        close.send(()).ok();
        match result {
            // What was said last is still to be written: the writer ends this program.
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        biased;
        () = session::write_all(said, tokio::io::stdout(), closing) => Ok(()),
        error = work => Err(error),
    }
}

async fn serve(
    env: Env,
    arguments: Arguments,
    out: mpsc::Sender<Outgoing>,
) -> Result<(), Hopeless> {
    let folder = arguments.instances;
    fs::create_dir_all(&folder).map_err(in_folder(&folder))?;
    // Held until the process ends: two drivers with a fence each would be no fence.
    let _alone = lock(&env, &folder, &out).await?;
    let fence = Fence::open(&folder, env.clone())?;
    // libvirt would print each error that a call returns anyway.
    virt::error::clear_error_callback();
    virt::event::event_register_default_impl().map_err(Hopeless::EventLoop)?;
    let events = env.clone();
    env.spawn("libvirt events", async move {
        events.blocking(connection::run_event_loop).await.ok();
    });
    let link = Link::new(env.clone(), arguments.uri);
    let virt_types = VirtTypes::new(arguments.virt_type);
    let driver = Driver::new(env.clone(), link, fence, virt_types, folder, out.clone());
    let driver = Arc::new(driver);
    driver.start();
    session::run(env, BufReader::new(tokio::io::stdin()), out, driver).await;
    Ok(())
}

/// Waits until no other driver works with this folder; says so if that is not at once.
async fn lock(env: &Env, folder: &Path, out: &mpsc::Sender<Outgoing>) -> Result<File, Hopeless> {
    let path = folder.join("driver.lock");
    let file = File::create(&path).map_err(in_folder(&path))?;
    let mut waiting = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(Hopeless::Folder { path, source }),
            Err(TryLockError::WouldBlock) if waiting => {}
            Err(TryLockError::WouldBlock) => {
                waiting = true;
                let reason = "an earlier driver of this host has not ended yet".to_owned();
                let event = GuestEvent::Hypervisor { available: false, reason };
                out.send(Outgoing::Event(event)).await.ok();
            }
        }
        env.sleep(LOCK_RETRY).await;
    }
}

fn in_folder(path: &Path) -> impl FnOnce(io::Error) -> Hopeless + '_ {
    move |source| Hopeless::Folder { path: path.to_owned(), source }
}
