//! What nft lists of the agent's tables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::script::{GENERATION, entering};

/// What is held by rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Held {
    /// Taps whose guests are checked.
    pub(in super::super) taps: BTreeSet<String>,
    /// Security groups with the generation in force.
    pub(in super::super) groups: BTreeMap<Uuid, Option<u64>>,
    /// Bridges on which connections are tracked, each with its zone.
    pub(in super::super) zones: BTreeMap<String, u16>,
}

fn objects<'a>(listing: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = listing["nftables"].as_array().into_iter().flatten();
    all.map(move |object| &object[kind]).filter(|object| !object.is_null())
}

/// What the listing of the bridge family's table tells.
pub(super) fn table(text: &str) -> Result<Held, serde_json::Error> {
    let listing: Value = serde_json::from_str(text)?;
    let mut held = Held::default();
    for set in objects(&listing, "set").filter(|set| set["name"] == "guests") {
        let taps = set["elem"].as_array().into_iter().flatten().filter_map(Value::as_str);
        held.taps.extend(taps.map(str::to_owned));
    }
    let group_of = |chain: &Value| {
        let id = Uuid::try_parse(chain.as_str()?.strip_prefix(&entering(""))?).ok()?;
        (chain == &Value::String(entering(&id.to_string()))).then_some(id)
    };
    for chain in objects(&listing, "chain") {
        held.groups.extend(group_of(&chain["name"]).map(|group| (group, None)));
    }
    for rule in objects(&listing, "rule") {
        let number = rule["comment"].as_str().and_then(|text| text.strip_prefix(GENERATION));
        let generation = number.and_then(|number| number.parse().ok());
        if let (Some(group), Some(generation)) = (group_of(&rule["chain"]), generation) {
            held.groups.insert(group, Some(generation));
        }
    }
    Ok(held)
}

/// The bridges and their zones in the listing of the map.
pub(super) fn zones(text: &str) -> Result<BTreeMap<String, u16>, serde_json::Error> {
    let listing: Value = serde_json::from_str(text)?;
    let pairs = objects(&listing, "map").filter_map(|map| map["elem"].as_array()).flatten();
    let zone = |pair: &Value| {
        let zone = u16::try_from(pair[1].as_u64()?).ok()?;
        Some((pair[0].as_str()?.to_owned(), zone))
    };
    Ok(pairs.filter_map(zone).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_and_groups_in_force_are_read() {
        let group = Uuid::from_u128(7);
        let listing = format!(
            r#"{{"nftables": [{{"metainfo": {{}}}},
            {{"set": {{"name": "guests", "elem": ["tap1", "tap2"]}}}},
            {{"chain": {{"name": "in-{group}"}}}}, {{"chain": {{"name": "in-tap1"}}}},
            {{"chain": {{"name": "in-{}"}}}},
            {{"rule": {{"chain": "in-{group}", "expr": [{{"accept": null}}]}}}},
            {{"rule": {{"chain": "in-{group}", "comment": "generation 12"}}}}]}}"#,
            Uuid::nil()
        );
        let held = table(&listing).unwrap();
        assert_eq!(held.taps, BTreeSet::from(["tap1".to_owned(), "tap2".to_owned()]));
        assert_eq!(held.groups, BTreeMap::from([(group, Some(12)), (Uuid::nil(), None)]));
    }

    #[test]
    fn an_empty_table_holds_nothing() {
        let listing = r#"{"nftables": [{"set": {"name": "guests"}}]}"#;
        assert_eq!(table(listing).unwrap(), Held::default());
    }

    #[test]
    fn zones_are_read() {
        let listing = r#"{"nftables": [{"map": {"name": "zones", "elem": [["brq1", 4097]]}}]}"#;
        assert_eq!(zones(listing).unwrap(), BTreeMap::from([("brq1".to_owned(), 4097)]));
    }
}
