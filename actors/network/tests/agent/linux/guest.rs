//! A guest: a namespace at the other end of the tap's name, with busybox for a DHCP client.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use updraft_network::driver::names;
use uuid::Uuid;

use super::sandbox::output_of;

/// What udhcpc runs: it sets what it was told, and prints it.
const SCRIPT: &str = r#"#!/bin/sh
case "$1" in bound|renew) ;; *) exit 0 ;; esac
ip address flush dev "$interface"
ip address add "$ip/$mask" dev "$interface"
set -- $staticroutes
while [ $# -ge 2 ]; do ip route add "$1" via "$2" dev "$interface" onlink; shift 2; done
for name in ip mask mtu router dns hostname serverid; do eval "echo $name=\$$name"; done
echo "staticroutes=$(echo $staticroutes)"
"#;

const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer on the same machine may take: what comes later was held back by a filter.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct Guest {
    namespace: String,
    tap: String,
    script: tempfile::TempPath,
}

impl Guest {
    /// A guest whose interface is where the port's tap would be. The agent finds a device of the right name
    /// and without a mark, as after a crash, and goes on with it.
    pub(crate) fn behind(port: Uuid, mac: &str) -> Self {
        let (tap, namespace) = (names::tap(port), format!("guest-{port}"));
        output_of("ip", &["netns", "add", &namespace]);
        let words = ["link", "add", "name", &tap, "type", "veth", "peer", "name", "eth0"];
        let rest = ["address", mac, "netns", &namespace];
        output_of("ip", &[words.as_slice(), &rest].concat());
        output_of("ip", &["-n", &namespace, "link", "set", "dev", "eth0", "up"]);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(SCRIPT.as_bytes()).unwrap();
        let script = file.into_temp_path();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { namespace, tap, script }
    }

    /// The same, with addresses of its own.
    pub(crate) fn at(port: Uuid, mac: &str, addresses: &[&str]) -> Self {
        let guest = Self::behind(port, mac);
        guest.set(&["link", "set", "dev", "lo", "up"]);
        for address in addresses {
            guest.set(&["address", "add", address, "dev", "eth0", "nodad"]);
        }
        guest
    }

    /// Whether the kernel has taken notice at both ends that its link is up; before, nothing is sent or forwarded.
    pub(crate) fn is_linked(&self) -> bool {
        let near = output_of("ip", &["-n", &self.namespace, "link", "show", "dev", "eth0"]);
        let far = output_of("ip", &["-d", "link", "show", "dev", &self.tap]);
        near.contains("state UP") && far.contains("state forwarding")
    }

    /// Makes sockets inside; they stay there.
    fn sockets<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        let inside = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            make()
        });
        inside.join().unwrap()
    }

    /// Listens at a port of all its addresses.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.sockets(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap())
    }

    /// Opens a connection, if anybody answers.
    pub(crate) fn connect(&self, to: &str) -> std::io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        self.sockets(move || {
            let stream = TcpStream::connect_timeout(&to, ANSWERS_WITHIN)?;
            stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
            Ok(stream)
        })
    }

    /// Whether what it sends from one port arrives at another guest's.
    pub(crate) fn datagram_arrives(&self, from: u16, other: &Self, to: &str) -> bool {
        self.datagram_arrives_or_not(from, other, to, true)
    }

    /// The same, with little patience for what is not expected.
    pub(crate) fn datagram_arrives_or_not(
        &self,
        from: u16,
        other: &Self,
        to: &str,
        expected: bool,
    ) -> bool {
        let to: SocketAddr = to.parse().unwrap();
        let heard = other.sockets(move || UdpSocket::bind(to).unwrap());
        let patience = if expected { ANSWERS_WITHIN } else { ANSWERS_WITHIN / 5 };
        heard.set_read_timeout(Some(patience)).unwrap();
        let sent = self.sockets(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, from)).unwrap());
        sent.send_to(b"x", to).unwrap();
        heard.recv(&mut [0]).is_ok()
    }

    /// Sends so many datagrams.
    pub(crate) fn sends(&self, to: &str, count: usize) {
        let to: SocketAddr = to.parse().unwrap();
        let socket = self.sockets(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        for _ in 0..count {
            socket.send_to(b"x", to).unwrap();
        }
    }

    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).args(words);
        command
    }

    /// Asks for an address and takes it; what it was told.
    pub(crate) fn ask_dhcp(&self) -> BTreeMap<String, String> {
        self.try_dhcp().expect("no DHCP server answers")
    }

    /// The same, if a server answers.
    pub(crate) fn try_dhcp(&self) -> Option<BTreeMap<String, String>> {
        let script = self.script.to_str().unwrap();
        let client = ["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "5", "-T", "1"];
        let asks = ["-O", "mtu", "-O", "staticroutes", "-O", "hostname", "-s", script];
        let output = self.inside(&[client.as_slice(), &asks].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let pairs = said.lines().filter_map(|line| line.split_once('='));
        let told = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        output.status.success().then_some(told)
    }

    /// The body of a metadata answer, or why there is none.
    pub(crate) fn get(&self, path: &str) -> Result<String, String> {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        let path = path.to_owned();
        let answer = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let address = SocketAddr::from((Ipv4Addr::new(169, 254, 169, 254), 80));
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes())?;
            stream.shutdown(Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        let answer: std::io::Result<String> = answer.join().unwrap();
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.0 200") => Ok(body.to_owned()),
            _ => Err(answer),
        }
    }

    /// Uses this address instead of its own, with the routes it had.
    pub(crate) fn take_address(&self, address: &str) {
        self.set(&["address", "flush", "dev", "eth0"]);
        self.set(&["address", "add", address, "dev", "eth0"]);
        self.set(&["route", "add", "169.254.169.254/32", "via", "10.1.0.2", "dev", "eth0"]);
    }

    /// Uses this MAC address instead of its own.
    pub(crate) fn take_mac(&self, mac: &str) {
        self.set(&["link", "set", "dev", "eth0", "address", mac]);
    }

    /// Whether this address answers.
    pub(crate) fn pings(&self, address: &str) -> bool {
        self.pings_with(address, 56)
    }

    /// The same with so many bytes.
    pub(crate) fn pings_with(&self, address: &str, bytes: u16) -> bool {
        let bytes = bytes.to_string();
        let words = ["busybox", "ping", "-c", "1", "-W", "1", "-s", &bytes, address];
        self.inside(&words).output().unwrap().status.success()
    }

    /// The MAC address that it takes this address to have.
    pub(crate) fn neighbour(&self, address: &str) -> Option<String> {
        let shown = output_of("ip", &["-n", &self.namespace, "-j", "neighbour", "show", address]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        Some(shown[0]["lladdr"].as_str()?.to_owned())
    }

    /// Whether its tap is in this namespace, and not in that of a host.
    pub(crate) fn is_here(&self) -> bool {
        let shown = Command::new("ip").args(["link", "show", "dev", &self.tap]).output();
        shown.unwrap().status.success()
    }

    pub(crate) fn set(&self, words: &[&str]) {
        output_of("ip", &[["-n", &self.namespace].as_slice(), words].concat());
    }
}
