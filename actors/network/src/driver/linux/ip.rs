//! `ip` of iproute2, as far as the drivers need it, with its answers typed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use updraft_runtime::Env;

use super::{
    LinuxConfig,
    command::{CommandError, run},
};
use crate::driver::DriverError;

/// A network device.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Link {
    pub(super) ifname: String,
    #[serde(default)]
    pub(super) ifalias: Option<String>,
    /// The MAC address.
    #[serde(default)]
    pub(super) address: Option<String>,
    #[serde(default)]
    pub(super) master: Option<String>,
    #[serde(default)]
    pub(super) mtu: u32,
    #[serde(default)]
    pub(super) flags: Vec<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
    #[serde(default)]
    linkinfo: LinkInfo,
}

/// What is particular to a kind of device, and to its place on a bridge.
#[derive(Clone, Debug, Default, Deserialize)]
struct LinkInfo {
    #[serde(default)]
    info_kind: String,
    #[serde(default)]
    info_data: Options,
    #[serde(default)]
    info_slave_data: Place,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Options {
    /// Of a bridge.
    #[serde(default)]
    nf_call_iptables: u8,
    /// Of a bridge.
    #[serde(default)]
    nf_call_ip6tables: u8,
    /// Of a tunnel: a number. Other kinds of devices have words here.
    #[serde(default)]
    id: serde_json::Value,
    /// Of a tunnel.
    #[serde(default)]
    local: Option<String>,
    /// Of a tunnel.
    #[serde(default)]
    local6: Option<String>,
    /// Of a tunnel.
    #[serde(default)]
    learning: bool,
}

/// How a bridge treats a device on it.
#[derive(Clone, Debug, Default, Deserialize)]
struct Place {
    #[serde(default)]
    learning: bool,
    #[serde(default)]
    flood: bool,
    #[serde(default)]
    isolated: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    #[serde(default)]
    local: Option<IpAddr>,
    #[serde(default)]
    prefixlen: u8,
    #[serde(default)]
    scope: String,
}

impl Link {
    /// Whether it has been set up.
    pub(super) fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    /// Whether it is a bridge.
    pub(super) fn is_bridge(&self) -> bool {
        self.linkinfo.info_kind == "bridge"
    }

    /// Whether it is a bridge whose packets are shown to the kernel's connection tracking.
    pub(super) fn is_tracked(&self) -> bool {
        let options = &self.linkinfo.info_data;
        options.nf_call_iptables == 1 && options.nf_call_ip6tables == 1
    }

    /// The number and own end of the VXLAN tunnel that it is, if any.
    fn end(&self) -> Option<(u32, IpAddr)> {
        let LinkInfo { info_kind, info_data: options, .. } = &self.linkinfo;
        let local = options.local.as_ref().or(options.local6.as_ref())?.parse().ok()?;
        let vni = options.id.as_u64().filter(|_| info_kind == "vxlan")?;
        Some((u32::try_from(vni).ok()?, local))
    }

    /// Whether it is the tunnel of this number from this end, that learns nothing.
    pub(super) fn is_tunnel(&self, vni: u32, local: IpAddr) -> bool {
        self.end() == Some((vni, local)) && !self.linkinfo.info_data.learning
    }

    /// The number and own end of the tunnel that it is, if it is up, learns nothing, and its bridge does not either,
    /// floods nothing to it and keeps it apart from other such.
    pub(super) fn tunnel(&self) -> Option<(u32, IpAddr)> {
        let Place { learning, flood, isolated } = &self.linkinfo.info_slave_data;
        let learns = *learning || self.linkinfo.info_data.learning;
        self.end().filter(|_| self.is_up() && !learns && !flood && *isolated)
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        self.addr_info.iter().filter_map(|address| {
            address.local.map(|local| format!("{local}/{}", address.prefixlen))
        })
    }

    /// The addresses that somebody gave it, each with its prefix's length.
    pub(super) fn given(&self) -> BTreeSet<IpNet> {
        let given = self.addr_info.iter().filter(|address| address.scope == "global");
        given.filter_map(|address| IpNet::new(address.local?, address.prefixlen).ok()).collect()
    }
}

/// A route as `ip` shows it.
#[derive(Debug, Deserialize)]
struct ShownRoute {
    dst: String,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    dev: String,
    #[serde(default)]
    protocol: String,
}

/// A route that somebody made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    /// Where packets go.
    pub(super) to: IpNet,
    /// Over which neighbour.
    pub(super) via: Option<IpAddr>,
    /// By which device; not looked at where the neighbour says it.
    pub(super) dev: Option<String>,
}

/// What the kernel makes of addresses by itself.
const BY_ITSELF: &str = "kernel";

fn read_routes(doing: &str, text: &str, all: IpNet) -> Result<BTreeSet<Route>, DriverError> {
    let shown: Vec<ShownRoute> = match text.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|error| DriverError::failed(doing, error))?,
    };
    let mut routes = BTreeSet::new();
    for route in shown.into_iter().filter(|route| route.protocol != BY_ITSELF) {
        let single = || route.dst.parse::<IpAddr>().map(IpNet::from);
        let to = match route.dst.as_str() {
            "default" => all,
            text => text
                .parse()
                .or_else(|_| single())
                .map_err(|error| DriverError::failed(doing, error))?,
        };
        let dev = Some(route.dev).filter(|_| route.gateway.is_none());
        routes.insert(Route { to, via: route.gateway, dev });
    }
    Ok(routes)
}

/// Runs `ip`.
#[derive(Clone)]
pub(super) struct Ip {
    env: Env,
    program: std::path::PathBuf,
}

impl Ip {
    pub(super) fn new(env: &Env, config: &LinuxConfig) -> Self {
        Self { env: env.clone(), program: config.ip.clone() }
    }

    /// Runs it with these words, in the namespace if one is named.
    pub(super) async fn run(
        &self,
        namespace: Option<&str>,
        words: &[&str],
    ) -> Result<String, CommandError> {
        let mut arguments: Vec<&str> = namespace.iter().flat_map(|name| ["-n", name]).collect();
        arguments.extend(words);
        run(&self.env, &self.program, &arguments, "").await
    }

    /// The same for an operation of which only success matters.
    pub(super) async fn run_to(
        &self,
        doing: &str,
        namespace: Option<&str>,
        words: &[&str],
    ) -> Result<(), DriverError> {
        let done = self.run(namespace, words).await;
        done.map(drop).map_err(|error| DriverError::failed(doing, error))
    }

    /// The device with this name; `None` if there is none.
    pub(super) async fn find(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Link>, DriverError> {
        self.show(namespace, "link", name).await
    }

    /// The addresses of a device, each with its prefix's length.
    pub(super) async fn addresses(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<BTreeSet<String>, DriverError> {
        let link = self.show(Some(namespace), "address", name).await?;
        Ok(link.iter().flat_map(Link::addresses).collect())
    }

    async fn show(
        &self,
        namespace: Option<&str>,
        what: &str,
        name: &str,
    ) -> Result<Option<Link>, DriverError> {
        let doing = format!("looking for device {name}");
        match self.run(namespace, &["-d", "-j", what, "show", "dev", name]).await {
            Ok(text) => Ok(parse(&doing, &text)?.into_values().next()),
            Err(error) if error.says("does not exist") => Ok(None),
            Err(error) => Err(DriverError::failed(doing, error)),
        }
    }

    /// Every device, by name.
    pub(super) async fn links(&self) -> Result<BTreeMap<String, Link>, DriverError> {
        let doing = "listing devices";
        let text = self.run(None, &["-d", "-j", "link", "show"]).await;
        parse(doing, &text.map_err(|error| DriverError::failed(doing, error))?)
    }

    /// Every device of a namespace with its addresses, by name.
    pub(super) async fn inside(
        &self,
        namespace: &str,
    ) -> Result<BTreeMap<String, Link>, DriverError> {
        let doing = format!("listing the devices of {namespace}");
        let text = self.run(Some(namespace), &["-d", "-j", "address", "show"]).await;
        parse(&doing, &text.map_err(|error| DriverError::failed(&*doing, error))?)
    }

    /// The routes of a namespace that somebody made.
    pub(super) async fn routes(&self, namespace: &str) -> Result<BTreeSet<Route>, DriverError> {
        let doing = format!("listing the routes of {namespace}");
        let all: [(&str, IpNet); 2] =
            [("-4", Ipv4Net::default().into()), ("-6", Ipv6Net::default().into())];
        let mut routes = BTreeSet::new();
        for (family, everything) in all {
            let text = self.run(Some(namespace), &[family, "-j", "route", "show"]).await;
            let text = text.map_err(|error| DriverError::failed(&*doing, error))?;
            routes.extend(read_routes(&doing, &text, everything)?);
        }
        Ok(routes)
    }

    /// Does all of these, one a line, or as far as one fails.
    pub(super) async fn batch(
        &self,
        doing: &str,
        namespace: Option<&str>,
        lines: &[String],
    ) -> Result<(), DriverError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut arguments: Vec<&str> = namespace.iter().flat_map(|name| ["-n", name]).collect();
        arguments.extend(["-batch", "-"]);
        let done = run(&self.env, &self.program, &arguments, &(lines.join("\n") + "\n")).await;
        done.map(drop).map_err(|error| DriverError::failed(doing, error))
    }

    /// Runs a program inside a namespace, with this input.
    pub(super) async fn execute(
        &self,
        namespace: &str,
        program: &Path,
        words: &[&str],
        input: &str,
    ) -> Result<String, CommandError> {
        let program = program.to_string_lossy();
        let mut arguments = vec!["netns", "exec", namespace, &*program];
        arguments.extend(words);
        run(&self.env, &self.program, &arguments, input).await
    }

    /// Removes a device; one that is gone already is as good.
    pub(super) async fn remove(&self, name: &str) -> Result<(), DriverError> {
        match self.run(None, &["link", "delete", "dev", name]).await {
            Err(error) if !error.says("Cannot find device") => {
                Err(DriverError::failed(format!("removing device {name}"), error))
            }
            _ => Ok(()),
        }
    }
}

fn parse(doing: &str, text: &str) -> Result<BTreeMap<String, Link>, DriverError> {
    let links: Vec<serde_json::Value> = match text.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|error| DriverError::failed(doing, error))?,
    };
    // What a filter leaves out is an empty object.
    let devices = links.into_iter().filter(|link| link.get("ifname").is_some());
    devices
        .map(|link| {
            let link: Link =
                serde_json::from_value(link).map_err(|error| DriverError::failed(doing, error))?;
            Ok((link.ifname.clone(), link))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_alias_master_and_addresses() {
        let text = r#"[{},{"ifname":"ns-1","flags":["UP"],"mtu":1450,"master":"brq1","ifalias":"a:b",
            "addr_info":[{"family":"inet","local":"10.1.0.2","prefixlen":24}]}]"#;
        let link = parse("", text).unwrap().remove("ns-1").unwrap();
        assert!(link.is_up());
        assert_eq!((link.mtu, link.master.as_deref()), (1450, Some("brq1")));
        assert_eq!(link.addresses().collect::<Vec<_>>(), ["10.1.0.2/24"]);
        assert_eq!(link.ifalias.as_deref(), Some("a:b"));
    }

    #[test]
    fn a_bridge_is_tracked_if_both_internet_protocols_are() {
        let with = |options: &str| {
            let text = format!(r#"[{{"ifname":"b","linkinfo":{{"info_data":{{{options}}}}}}}]"#);
            parse("", &text).unwrap()["b"].is_tracked()
        };
        assert!(with(r#""nf_call_iptables":1,"nf_call_ip6tables":1"#));
        assert!(!with(r#""nf_call_iptables":1,"nf_call_ip6tables":0"#));
        assert!(!with(""));
    }

    #[test]
    fn a_tunnel_is_one_that_learns_and_floods_nothing() {
        let with = |learns: bool, floods: bool, isolated: bool| {
            let text = format!(
                r#"[{{"ifname":"v","flags":["UP"],"linkinfo":{{"info_kind":"vxlan",
                "info_data":{{"id":100,"local":"192.0.2.1","learning":{learns}}},
                "info_slave_data":{{"learning":false,"flood":{floods},"isolated":{isolated}}}}}}}]"#
            );
            parse("", &text).unwrap()["v"].tunnel()
        };
        assert_eq!(with(false, false, true), Some((100, "192.0.2.1".parse().unwrap())));
        assert_eq!(with(true, false, true), None);
        assert_eq!(with(false, true, true), None);
        assert_eq!(with(false, false, false), None);
    }

    #[test]
    fn an_empty_listing_is_no_device() {
        assert!(parse("", "\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_listing_is_an_error() {
        assert!(parse("listing", "nonsense").is_err());
    }
}
