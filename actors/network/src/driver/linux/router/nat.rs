//! What of packets a router rewrites, as text for nft, and what it remembers by it. Pure.

use std::{collections::BTreeSet, fmt::Write as _, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use updraft_protocol::network::{Outlet, Routing};

use crate::driver::names;

/// The router's table, which is all of them in its namespace.
const RULES: &str = "ip updraft";

/// An address by which somebody inside is seen outside: everybody's if nobody is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) outside: Ipv4Addr,
    pub(super) inside: Option<Ipv4Addr>,
}

/// The router's own address outside.
fn own(outlet: &Outlet) -> Option<Ipv4Addr> {
    outlet.leg.addresses.iter().find_map(|net| match net {
        ipnet::IpNet::V4(net) => Some(net.addr()),
        ipnet::IpNet::V6(_) => None,
    })
}

/// All by which connections may be remembered.
pub(super) fn seen(routing: &Routing) -> BTreeSet<Seen> {
    let floating = routing.floating.iter();
    let floating = floating.map(|it| Seen { outside: it.address, inside: Some(it.fixed) });
    let snat = routing.outlet.iter().filter(|outlet| outlet.snat).filter_map(own);
    floating.chain(snat.map(|outside| Seen { outside, inside: None })).collect()
}

/// The whole of the rules, in one transaction.
pub(super) fn script(routing: &Routing) -> String {
    let mut text = format!("add table {RULES}\ndelete table {RULES}\ntable {RULES} {{\n");
    text.push_str("chain entering {\ntype nat hook prerouting priority dstnat;\n");
    // Writing to a string cannot fail.
    for floating in &routing.floating {
        let _ = writeln!(text, "ip daddr {} dnat to {}", floating.address, floating.fixed);
    }
    text.push_str("}\nchain leaving {\ntype nat hook postrouting priority srcnat;\n");
    if let Some(outlet) = &routing.outlet {
        let out = names::outlet_inner(outlet.leg.port);
        for floating in &routing.floating {
            let (fixed, address) = (floating.fixed, floating.address);
            let _ = writeln!(text, "ip saddr {fixed} oifname \"{out}\" snat to {address}");
        }
        if let Some(own) = own(outlet) {
            // From inside to a floating address and back inside: the answer has to come by the router as well.
            let inside = format!("iifname != \"{out}\" oifname != \"{out}\"");
            let _ = writeln!(text, "{inside} ct status dnat snat to {own}");
            if outlet.snat {
                let _ = writeln!(text, "iifname != \"{out}\" oifname \"{out}\" snat to {own}");
            }
        }
    }
    text.push_str("}\n}\n");
    text
}

/// What makes conntrack forget the connections that were made by an address: those from outside, and those to outside.
pub(super) fn forgetting(seen: &Seen) -> Vec<[String; 3]> {
    let outside = seen.outside.to_string();
    let to_outside = ["-D".to_owned(), "-q".to_owned(), outside.clone()];
    match seen.inside {
        Some(_) => vec![["-D".to_owned(), "-d".to_owned(), outside], to_outside],
        None => vec![to_outside],
    }
}

#[cfg(test)]
mod tests;
