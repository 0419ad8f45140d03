//! What a guest finds on its network: DHCP, and a metadata service that knows a nonce.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use updraft_protocol::hypervisor::Interface;
use uuid::Uuid;

use crate::{child::until, world::World};

/// The guest's address.
pub(crate) const GUEST: &str = "10.77.0.11";
const MAC: &str = "fa:16:3e:77:00:0b";
const SERVER: &str = "10.77.0.2";
const METADATA: &str = "169.254.169.254";
const TAP: &str = "tap77";

/// A bridge with a tap, a DHCP server and a metadata service.
pub(crate) struct Network {
    dnsmasq: Child,
    namespace: String,
}

impl Network {
    /// Makes it.
    pub(crate) fn new(world: &World, nonce: &str) -> Self {
        let ip = |line: &str| world.run_inside("ip", &line.split(' ').collect::<Vec<_>>());
        ip("link add br77 type bridge");
        ip(&format!("addr add {SERVER}/24 dev br77"));
        ip(&format!("addr add {METADATA}/32 dev br77"));
        ip("link set br77 up");
        ip(&format!("tuntap add dev {TAP} mode tap"));
        ip(&format!("link set {TAP} master br77 mtu 1400 up"));
        let namespace = world.namespace().to_owned();
        serve_metadata(&namespace, nonce.to_owned());
        Self { dnsmasq: start_dnsmasq(&namespace, world.folder()), namespace }
    }

    /// The guest's end of it.
    pub(crate) fn interface(&self) -> Interface {
        Interface { port: Uuid::from_u128(77), mac_address: MAC.into(), tap: TAP.into(), mtu: 1400 }
    }

    /// Whether the tap is still there, up and with the size that it was given.
    pub(crate) fn tap_is_there(&self) -> bool {
        let shown = Command::new("ip").args(["-n", &self.namespace, "link", "show", TAP]).output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        shown.contains("mtu 1400") && shown.contains(",UP")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.dnsmasq.kill().ok();
        self.dnsmasq.wait().ok();
    }
}

fn start_dnsmasq(namespace: &str, folder: &Path) -> Child {
    let (hosts, options) = (folder.join("dhcp-hosts"), folder.join("dhcp-options"));
    fs::write(&hosts, format!("{MAC},{GUEST}\n")).unwrap();
    let routes = format!("option:classless-static-route,{METADATA}/32,{SERVER},0.0.0.0/0,{SERVER}");
    fs::write(&options, format!("option:mtu,1400\n{routes}\n")).unwrap();
    Command::new("ip")
        .args(["netns", "exec", namespace, "dnsmasq", "--keep-in-foreground", "--user=root"])
        .args(["--no-hosts", "--no-resolv", "--bind-interfaces", "--interface=br77", "--port=0"])
        .args(["--except-interface=lo", "--leasefile-ro", "--dhcp-authoritative"])
        .args([
            "--conf-file=/dev/null",
            "--pid-file",
            "--dhcp-range=10.77.0.0,static,255.255.255.0",
        ])
        .arg(format!("--dhcp-hostsfile={}", hosts.display()))
        .arg(format!("--dhcp-optsfile={}", options.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Answers as the metadata service does, until the test's process ends.
fn serve_metadata(namespace: &str, nonce: String) {
    let namespace = File::open(Path::new("/run/netns").join(namespace)).unwrap();
    let listening = thread::spawn(move || {
        // A socket belongs to the network that its thread was in.
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        until(Duration::from_secs(5), "the metadata address", || {
            TcpListener::bind((METADATA, 80)).ok()
        })
    });
    let listener = listening.join().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A guest that goes away in the middle is not this service's concern.
            answer(&stream, &nonce).ok();
        }
    });
}

fn answer(mut stream: &TcpStream, nonce: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut header = String::from("unread");
    while header.trim_end() != "" {
        header.clear();
        reader.read_line(&mut header)?;
    }
    let body = match first.split(' ').nth(1) {
        Some("/latest/meta-data/instance-id") => Some("i-00000001".to_owned()),
        Some("/openstack/latest/meta_data.json") => Some(format!(
            "{{\"uuid\": \"x\", \"meta\": {{\"role\": \"web\", \"nonce\": \"{nonce}\"}}, \"keys\": []}}"
        )),
        Some("/latest/user-data") => Some("#!/bin/sh\necho UPDRAFT-USER-SAYS hello\n".to_owned()),
        _ => None,
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
