//! What serves files of volumes to other hosts: one `qemu-storage-daemon` for each file.
//!
//! Owns the processes and a record of each: whom it serves, at which port. A process outlives this program, as guests do.
//! Promises that a process serves one attachment, to the one host whose certificate it was begun for, and that none
//! is left when [`Exports::end`] says so. Blocks, all of it; call it where that is fine, with the file's fence held.

mod process;

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{Export, ExportWant},
};
use updraft_runtime::{Env, folder::Folder};
use uuid::Uuid;

use self::process::Processes;

/// Where records are, in the folder of the files.
pub(super) const EXPORTS: &str = "exports";

/// The ports that are tried for a new export, the first free one of them: those above NBD's own, which other servers may
/// have.
const PORTS: std::ops::Range<u16> = 10_810..12_810;

/// How many ports are tried that look free, before it is said that none is.
const PORTS_TRIED_MAX: usize = 32;

/// Connections of one client: QEMU opens one for a disk, and a second one to look at it.
const CONNECTIONS_MAX: u32 = 4;

/// How much of what the program says on its standard error is quoted.
const QUOTED_MAX_CHARS: usize = 400;

/// How a host serves its volumes.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The address at which other hosts reach it.
    pub address: IpAddr,
    /// How it knows who connects; without it anybody who reaches the address is served.
    pub tls: Option<ServingTls>,
}

/// The certificates by which hosts know each other.
#[derive(Clone, Debug)]
pub struct ServingTls {
    /// This host's name, as its certificate bears it.
    pub name: String,
    /// A folder with `ca-cert.pem`, `server-cert.pem` and `server-key.pem`.
    pub folder: PathBuf,
}

/// What is kept of an export, on the disk before its process begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    to: ExportWant,
    port: u16,
}

/// The exports of one host; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Exports {
    folder: Folder,
    processes: Processes,
    serving: Serving,
    /// Held while a port is chosen and a process begins: no two choose the same.
    turn: Arc<Mutex<()>>,
}

impl Exports {
    /// The exports in this folder, which is made if there is none. Blocks; call it at start-up.
    pub(super) fn open(env: &Env, folder: &Path, serving: Serving) -> io::Result<Self> {
        let (records, processes) = (env.folder(&folder.join("records"))?, processes(folder));
        processes.make_folder()?;
        Ok(Self { folder: records, processes, serving, turn: Arc::default() })
    }

    /// Serves a file to this attachment: as it does already, or by a new process once the one before it is gone.
    pub(super) fn begin(
        &self,
        id: Uuid,
        file: &Path,
        format: DiskFormat,
        to: &ExportWant,
    ) -> io::Result<Export> {
        let known = self.record(id)?;
        let same = known.filter(|record| record.to == *to);
        if let Some(record) = &same
            && self.processes.running(id)?.is_some()
        {
            return Ok(self.told(record));
        }
        self.processes.kill(id)?;
        let _turn = self.turn.lock();
        if let Some(record) = same {
            // Whoever was told of it comes again at the same place.
            self.spawn(id, file, format, &record)?;
            return Ok(self.told(&record));
        }
        for port in self.free_ports()?.take(PORTS_TRIED_MAX) {
            let record = Record { to: to.clone(), port };
            self.folder.replace(&id.to_string(), &serde_json::to_vec(&record)?)?;
            match self.spawn(id, file, format, &record) {
                Ok(()) => return Ok(self.told(&record)),
                // Another program was faster.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        let words = format!("no port from {} to {} is free", PORTS.start, PORTS.end - 1);
        Err(io::Error::new(ErrorKind::AddrInUse, words))
    }

    /// Nobody is served any longer. Returns only when that is so, however long the process takes to go.
    pub(super) fn end(&self, id: Uuid) -> io::Result<()> {
        self.processes.kill(id)?;
        self.folder.remove(&id.to_string())?;
        self.processes.forget(id)
    }

    fn told(&self, Record { to, port }: &Record) -> Export {
        Export {
            address: self.serving.address.to_string(),
            port: *port,
            name: to.attachment.to_string(),
            tls: self.serving.tls.as_ref().map(|tls| tls.name.clone()),
        }
    }

    fn record(&self, id: Uuid) -> io::Result<Option<Record>> {
        let Some(content) = self.folder.read(&id.to_string())? else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&content)?))
    }

    /// The ports that no other export has and nobody listens at.
    fn free_ports(&self) -> io::Result<impl Iterator<Item = u16>> {
        let mut taken = Vec::new();
        for name in self.folder.names()? {
            let id = name.parse::<Uuid>().ok();
            taken.extend(id.map(|id| self.record(id)).transpose()?.flatten().map(|one| one.port));
        }
        let address = self.serving.address;
        let is_free =
            move |port: &u16| !taken.contains(port) && TcpListener::bind((address, *port)).is_ok();
        Ok(PORTS.filter(is_free))
    }

    fn spawn(&self, id: Uuid, file: &Path, format: DiskFormat, record: &Record) -> io::Result<()> {
        let output = Command::new("qemu-storage-daemon")
            .args(self.arguments(id, file, format, record)?)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                let words = format!(
                    "`qemu-storage-daemon` could not be run ({error}): is its package installed?"
                );
                io::Error::new(error.kind(), words)
            })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let quoted: String = said.trim().chars().take(QUOTED_MAX_CHARS).collect();
        let words = format!("`qemu-storage-daemon` failed ({}): {quoted}", output.status);
        let in_use = quoted.contains("Address already in use");
        let kind = if in_use { ErrorKind::AddrInUse } else { ErrorKind::Other };
        Err(io::Error::new(kind, words))
    }

    fn arguments(
        &self,
        id: Uuid,
        file: &Path,
        format: DiskFormat,
        record: &Record,
    ) -> io::Result<Vec<String>> {
        let mut arguments = Vec::new();
        let mut say = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        let mut server = format!(
            "addr.type=inet,addr.host={},addr.port={},max-connections={CONNECTIONS_MAX}",
            self.serving.address, record.port
        );
        if let Some(tls) = &self.serving.tls {
            let folder = text(&tls.folder)?;
            let object =
                format!("tls-creds-x509,id=tls,endpoint=server,dir={folder},verify-peer=yes");
            say("--object", object);
            let client = escaped(&record.to.host);
            say("--object", format!("authz-simple,id=client,identity=CN={client}"));
            server.push_str(",tls-creds=tls,tls-authz=client");
        }
        let driver = super::qemu::name(format);
        let path = text(file)?;
        say("--blockdev", format!("driver=file,node-name=file,filename={path},discard=unmap"));
        say("--blockdev", format!("driver={driver},node-name=disk,file=file,discard=unmap"));
        say("--nbd-server", server);
        let name = record.to.attachment;
        say("--export", format!("type=nbd,id=export,node-name=disk,name={name},writable=on"));
        say("--pidfile", text(&self.processes.file(id))?);
        arguments.push("--daemonize".to_owned());
        Ok(arguments)
    }
}

fn processes(folder: &Path) -> Processes {
    Processes::new(folder.join("processes"))
}

/// Ends what serves files of this folder of volumes; whoever opens it next serves them again, at the same places. Returns
/// only when that is so, however long the processes take to go. Blocks.
///
/// # Errors
///
/// When a process cannot be found out about or ended.
pub fn stop_serving(volumes: &Path) -> io::Result<()> {
    processes(&volumes.join(EXPORTS)).kill_all()
}

/// A path as a value of one of QEMU's options.
fn text(path: &Path) -> io::Result<String> {
    let text = path.to_str().ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidInput, format!("{} is no Unicode", path.display()))
    })?;
    Ok(escaped(text))
}

/// A comma ends a value, and two are one.
fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}
