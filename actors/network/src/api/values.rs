//! What clients may write in a body, and what becomes of it.
//!
//! Owns neutron's converters and validators: each takes a value as it came and gives it back in the one form
//! that the rest of the service reads, or says in neutron's words what is wrong.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::{
    error::{NetworkError, Outcome, bad_request, invalid_input, security as refusals},
    ipam::MacAddress,
    ops::rules::PROTOCOLS,
};

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// Anything.
    Any,
    /// Text of at most so many characters, all of which can be printed.
    Name(usize),
    /// Text of at most so many characters.
    Text(usize),
    /// The same or null.
    TextOrNull(usize),
    /// True or false, in any spelling.
    Flag,
    /// One of these numbers.
    NumberOf(&'static [i64]),
    /// A number.
    Number,
    /// A number not below zero.
    NotNegative,
    /// A number of this range.
    Range(i64, i64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An id.
    Id,
    /// An id or null.
    IdOrNull,
    /// Ids; null is none.
    Ids,
    /// An address or null.
    AddressOrNull,
    /// Addresses, none twice; null is none.
    Addresses,
    /// A network's addresses.
    Cidr,
    /// A MAC address.
    Mac,
    /// Ranges of addresses.
    Pools,
    /// Routes; null is none.
    Routes,
    /// Addresses of a port.
    FixedIps,
    /// Further addresses of a port; null is none.
    AddressPairs,
    /// A router's way out; null is none.
    Gateway,
    /// An object or null.
    ObjectOrNull,
    /// Texts.
    Texts,
    /// The name of a security group.
    GroupName,
    /// The protocol of a rule.
    Protocol,
    /// The ethertype of a rule.
    EtherType,
    /// A port of a rule.
    RulePort,
    /// The peers' addresses of a rule.
    Prefix,
}

/// A value as Python writes it, which is how neutron's messages show it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| format!("'{key}': {}", repr(value));
            format!("{{{}}}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A value that a validator found wrong.
fn wrong(name: &str, reason: impl std::fmt::Display) -> NetworkError {
    bad_request(format!("Invalid input for {name}. Reason: {reason}."))
}

/// A value that a converter cannot read. Neutron leaves out of which attribute.
fn not_convertible(name: &str, reason: impl std::fmt::Display) -> NetworkError {
    invalid_input(format_args!("{name}: {reason}"))
}

impl Check {
    /// The value in its one form, or what is wrong with it.
    pub(crate) fn convert(self, name: &str, value: &Value) -> Outcome<Value> {
        match self {
            Self::Any => Ok(value.clone()),
            Self::TextOrNull(_) | Self::IdOrNull | Self::AddressOrNull | Self::ObjectOrNull
                if value.is_null() =>
            {
                Ok(Value::Null)
            }
            Self::Name(most) => printable(name, &text(name, value, most)?),
            Self::Text(most) | Self::TextOrNull(most) => text(name, value, most),
            Self::Flag => flag(name, value),
            Self::Number => number(name, value).map(Value::from),
            Self::NumberOf(_) | Self::NotNegative | Self::Range(..) => self.bounded(name, value),
            Self::OneOf(known) => match value.as_str().filter(|text| known.contains(text)) {
                Some(text) => Ok(text.into()),
                None => Err(wrong(name, format_args!("{} is not in valid_values", shown(value)))),
            },
            Self::Id | Self::IdOrNull => id(name, value),
            Self::Ids => list(name, value)?.iter().map(|item| id(name, item)).collect(),
            Self::AddressOrNull => Ok(json!(address(name, value)?)),
            Self::Addresses => name_servers(name, value),
            Self::Cidr => cidr(name, value),
            Self::Mac => match value.as_str().and_then(MacAddress::parse) {
                Some(mac) => Ok(mac.to_string().into()),
                None => {
                    Err(wrong(name, format_args!("'{}' is not a valid MAC address", shown(value))))
                }
            },
            Self::Pools => pools(name, value),
            Self::Routes => routes(name, value),
            Self::FixedIps => fixed_ips(name, value),
            Self::AddressPairs => address_pairs(name, value),
            Self::Gateway => gateway(name, value),
            Self::ObjectOrNull => match value {
                Value::Object(_) => Ok(value.clone()),
                _ => Err(wrong(name, format_args!("'{}' is not a dictionary", shown(value)))),
            },
            Self::Texts => list(name, value)?.iter().map(|item| text(name, item, 255)).collect(),
            Self::GroupName => match text(name, value, 255)? {
                Value::String(text) if text.eq_ignore_ascii_case("default") => {
                    Err(refusals::default_exists())
                }
                text => Ok(text),
            },
            Self::Protocol => protocol(value),
            Self::EtherType => ethertype(value),
            Self::RulePort => rule_port(value),
            Self::Prefix => prefix(value),
        }
    }

    fn bounded(self, name: &str, value: &Value) -> Outcome<Value> {
        let number = number(name, value)?;
        let reason = match self {
            Self::NumberOf(known) if !known.contains(&number) => {
                format!("{number} is not in valid_values")
            }
            Self::NotNegative if number < 0 => format!("'{number}' should be non-negative"),
            Self::Range(least, _) if number < least => {
                format!("'{number}' is too small - must be at least '{least}'")
            }
            Self::Range(_, most) if number > most => {
                format!("'{number}' is too large - must be no larger than '{most}'")
            }
            _ => return Ok(number.into()),
        };
        Err(wrong(name, reason))
    }
}

fn text(name: &str, value: &Value, most: usize) -> Outcome<Value> {
    let Some(text) = value.as_str() else {
        return Err(wrong(name, format_args!("'{}' is not a valid string", shown(value))));
    };
    if text.chars().count() > most {
        return Err(wrong(name, format_args!("'{text}' exceeds maximum length of {most}")));
    }
    Ok(text.into())
}

fn printable(name: &str, value: &Value) -> Outcome<Value> {
    let text = value.as_str().unwrap_or_default();
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err(wrong(name, format_args!("'{text}' is not a valid string")));
    }
    Ok(value.clone())
}

/// What a text means as true or false.
pub(crate) fn parse_flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

fn flag(name: &str, value: &Value) -> Outcome<Value> {
    let meant = match value {
        Value::Bool(flag) => Some(*flag),
        other => parse_flag(&shown(other)),
    };
    match meant {
        Some(flag) => Ok(flag.into()),
        None => Err(not_convertible(
            name,
            format_args!("'{}' cannot be converted to boolean", shown(value)),
        )),
    }
}

fn number(name: &str, value: &Value) -> Outcome<i64> {
    let meant = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    };
    meant.ok_or_else(|| not_convertible(name, format_args!("'{}' is not an integer", shown(value))))
}

fn id(name: &str, value: &Value) -> Outcome<Value> {
    match value.as_str().filter(|text| uuid::Uuid::try_parse(text).is_ok()) {
        Some(text) => Ok(text.into()),
        None => Err(wrong(name, format_args!("'{}' is not a valid UUID", shown(value)))),
    }
}

/// A list of which no item comes twice; null is an empty one.
fn list<'a>(name: &str, value: &'a Value) -> Outcome<&'a [Value]> {
    let items = match value {
        Value::Null => return Ok(&[]),
        Value::Array(items) => items,
        other => return Err(wrong(name, format_args!("'{}' is not a list", shown(other)))),
    };
    let twice = |(at, item): &(usize, &Value)| items[..*at].contains(item);
    if let Some((_, item)) = items.iter().enumerate().find(twice) {
        let item = shown(item);
        return Err(wrong(name, format_args!("Duplicate items in the list: '{item}'")));
    }
    Ok(items)
}

fn address(name: &str, value: &Value) -> Outcome<IpAddr> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| wrong(name, format_args!("'{}' is not a valid IP address", shown(value))))
}

fn name_servers(name: &str, value: &Value) -> Outcome<Value> {
    let items = match value {
        Value::Null => return Ok(json!([])),
        Value::Array(items) => items,
        other => {
            let other = shown(other);
            return Err(wrong(name, format_args!("Invalid data format for nameserver: '{other}'")));
        }
    };
    let mut servers = Vec::new();
    for item in items {
        let Some(server) = item.as_str().and_then(|text| text.parse::<IpAddr>().ok()) else {
            let item = shown(item);
            return Err(wrong(
                name,
                format_args!(
                    "'{item}' is not a valid nameserver. '{item}' is not a valid IP address"
                ),
            ));
        };
        if servers.contains(&server) {
            return Err(wrong(name, format_args!("Duplicate nameserver '{server}'")));
        }
        servers.push(server);
    }
    Ok(json!(servers))
}

fn cidr(name: &str, value: &Value) -> Outcome<Value> {
    let text = value.as_str().unwrap_or_default();
    let bare = text.parse::<IpAddr>().is_ok();
    match text.parse::<IpNet>() {
        Ok(net) => Ok(net.to_string().into()),
        Err(_) if bare => Err(wrong(name, format_args!("'{text}' is not a valid IP subnet"))),
        Err(_) => {
            Err(not_convertible(name, format_args!("{} is not in a CIDR format", shown(value))))
        }
    }
}

/// An object of exactly these keys.
fn object<'a>(name: &str, value: &'a Value, keys: [&str; 2]) -> Outcome<&'a Map<String, Value>> {
    let expected = format!("['{}', '{}']", keys[0], keys[1]);
    let Some(map) = value.as_object() else {
        let value = shown(value);
        return Err(wrong(
            name,
            format_args!("Invalid input. '{value}' must be a dictionary with keys: {expected}"),
        ));
    };
    if map.len() == keys.len() && keys.iter().all(|key| map.contains_key(*key)) {
        return Ok(map);
    }
    let provided: Vec<String> = map.keys().map(|key| format!("'{key}'")).collect();
    Err(wrong(
        name,
        format_args!(
            "Validation of dictionary's keys failed. Expected keys: {expected} Provided keys: [{}]",
            provided.join(", ")
        ),
    ))
}

fn pools(name: &str, value: &Value) -> Outcome<Value> {
    let Some(items) = value.as_array() else {
        let value = shown(value);
        return Err(wrong(name, format_args!("Invalid data format for IP pool: '{value}'")));
    };
    let pool = |item: &Value| {
        let map = object(name, item, ["start", "end"])?;
        let (start, end) = (address(name, &map["start"])?, address(name, &map["end"])?);
        Ok(json!({"start": start, "end": end}))
    };
    items.iter().map(pool).collect()
}

fn routes(name: &str, value: &Value) -> Outcome<Value> {
    let items = match value {
        Value::Null => return Ok(json!([])),
        Value::Array(items) => items,
        other => {
            let other = shown(other);
            return Err(wrong(name, format_args!("Invalid data format for hostroute: '{other}'")));
        }
    };
    let mut routes = Vec::new();
    for item in items {
        let map = object(name, item, ["destination", "nexthop"])?;
        let text = map["destination"].as_str().unwrap_or_default();
        let Some(destination) =
            text.parse::<IpNet>().ok().filter(|net| net.trunc().to_string() == net.to_string())
        else {
            return Err(wrong(name, format_args!("'{text}' is not a valid CIDR")));
        };
        let nexthop = address(name, &map["nexthop"])?;
        let route = json!({"destination": destination, "nexthop": nexthop});
        if routes.contains(&route) {
            return Err(wrong(name, format_args!("Duplicate hostroute '{}'", shown(&route))));
        }
        routes.push(route);
    }
    Ok(routes.into())
}

fn fixed_ips(name: &str, value: &Value) -> Outcome<Value> {
    let malformed =
        |value| wrong(name, format_args!("Invalid data format for fixed IP: '{}'", shown(value)));
    let items = value.as_array().ok_or_else(|| malformed(value))?;
    let mut seen: Vec<IpAddr> = Vec::new();
    let mut fixed_ips = Vec::new();
    for item in items {
        let map = item.as_object().ok_or_else(|| malformed(item))?;
        let mut fixed = Map::new();
        if let Some(given) = map.get("ip_address") {
            let address = address(name, given)?;
            if seen.contains(&address) {
                return Err(wrong(name, format_args!("Duplicate IP address '{address}'")));
            }
            seen.push(address);
            fixed.insert("ip_address".to_owned(), json!(address));
        }
        if let Some(subnet) = map.get("subnet_id") {
            fixed.insert("subnet_id".to_owned(), id(name, subnet)?);
        }
        fixed_ips.push(fixed.into());
    }
    Ok(Value::Array(fixed_ips))
}

fn address_pairs(name: &str, value: &Value) -> Outcome<Value> {
    let mut pairs = Vec::new();
    for item in list(name, value)? {
        let map = item.as_object();
        let Some(address) = map.and_then(|map| map.get("ip_address")).and_then(Value::as_str)
        else {
            return Err(NetworkError::new(
                crate::error::Kind::Invalid,
                "AllowedAddressPairsMissingIP",
                "AllowedAddressPair must contain ip_address",
            ));
        };
        if address.parse::<IpAddr>().is_err() && address.parse::<IpNet>().is_err() {
            return Err(wrong(name, format_args!("'{address}' is not a valid IP subnet")));
        }
        let mut pair = json!({"ip_address": address});
        if let Some(mac) = map.and_then(|map| map.get("mac_address")) {
            pair["mac_address"] = Check::Mac.convert(name, mac)?;
        }
        pairs.push(pair);
    }
    Ok(pairs.into())
}

fn gateway(name: &str, value: &Value) -> Outcome<Value> {
    let map = match value {
        Value::Null => return Ok(Value::Null),
        Value::Object(map) if map.is_empty() => return Ok(Value::Null),
        Value::Object(map) => map,
        other => {
            return Err(wrong(name, format_args!("'{}' is not a dictionary", shown(other))));
        }
    };
    let known = ["network_id", "enable_snat", "external_fixed_ips"];
    let unknown: Vec<&str> =
        map.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
    let Some(network) = map.get("network_id") else {
        let provided: Vec<String> = map.keys().map(|key| format!("'{key}'")).collect();
        return Err(wrong(
            name,
            format_args!(
                "Validation of dictionary's keys failed. Expected keys: {{'network_id'}} Provided \
                 keys: {{{}}}",
                provided.join(", ")
            ),
        ));
    };
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return Err(wrong(name, format_args!("Unexpected keys supplied: {unknown}")));
    }
    let mut gateway = Map::new();
    gateway.insert("network_id".to_owned(), id(name, network)?);
    if let Some(snat) = map.get("enable_snat") {
        gateway.insert("enable_snat".to_owned(), flag("enable_snat", snat)?);
    }
    if let Some(fixed) = map.get("external_fixed_ips") {
        gateway.insert("external_fixed_ips".to_owned(), fixed_ips(name, fixed)?);
    }
    Ok(gateway.into())
}

fn protocol(value: &Value) -> Outcome<Value> {
    let text = shown(value);
    let lower = text.to_ascii_lowercase();
    let named = value.is_string() && PROTOCOLS.iter().any(|(name, _)| *name == lower);
    match value {
        Value::Null => Ok(Value::Null),
        Value::String(text) if text == "any" => Ok(Value::Null),
        _ if text.parse::<u8>().is_ok() => Ok(text.into()),
        _ if named => Ok(lower.into()),
        _ => {
            let known: Vec<String> =
                PROTOCOLS.iter().map(|(name, _)| format!("'{name}'")).collect();
            let known = format!("(None, 'any', {})", known.join(", "));
            Err(refusals::invalid_protocol(text, &known))
        }
    }
}

fn ethertype(value: &Value) -> Outcome<Value> {
    match value.as_str() {
        Some(text) if text.eq_ignore_ascii_case("ipv4") => Ok("IPv4".into()),
        Some(text) if text.eq_ignore_ascii_case("ipv6") => Ok("IPv6".into()),
        _ => Err(refusals::invalid_ethertype(shown(value))),
    }
}

fn rule_port(value: &Value) -> Outcome<Value> {
    match value {
        Value::Null => Ok(Value::Null),
        _ => match shown(value).parse::<u16>() {
            Ok(port) => Ok(port.into()),
            Err(_) => Err(refusals::invalid_port(shown(value))),
        },
    }
}

fn prefix(value: &Value) -> Outcome<Value> {
    let text = match value {
        Value::Null => return Ok(Value::Null),
        Value::String(text) if text.is_empty() => return Ok(Value::Null),
        other => shown(other),
    };
    let host = text.parse::<IpAddr>().map(IpNet::from);
    match text.parse::<IpNet>().or(host) {
        Ok(net) => Ok(net.to_string().into()),
        Err(_) => Err(refusals::invalid_cidr(text)),
    }
}
