//! A folder outlives the program that wrote it: rows of every shape that this format ever had can be read.
//!
//! `stored/updraft-data-1.jsonl` has rows as programs of the format "updraft data 1" wrote them, one a line. Lines
//! are added and never changed:
//!
//! - A field that old rows lack needs a serde default; then the new shape is added to the file.
//! - A change that old rows cannot follow needs another [`FORMAT`], and with it another file.
//!
//! `UPDRAFT_TEST_RECORD=1` has [`the_rows_of_a_real_cloud_are_read_as_they_were_written`] add what is missing.

mod scenario;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use updraft_cloud::machine::FORMAT;
use updraft_runtime::store::Shape;

/// A recorded row or entry of a log.
#[derive(Clone, Debug)]
struct Recorded {
    table: String,
    value: Value,
}

fn path() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/stored");
    folder.join(format!("{}.jsonl", FORMAT.replace(' ', "-")))
}

fn recorded() -> Vec<Recorded> {
    let content = fs::read_to_string(path()).unwrap_or_default();
    let lines = content.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| Recorded {
            table: line["table"].as_str().unwrap().to_owned(),
            value: line["value"].clone(),
        })
        .collect()
}

fn shapes() -> BTreeMap<&'static str, Shape> {
    updraft_cloud::stored().into_iter().map(|shape| (shape.table, shape)).collect()
}

/// The row as this program would write it.
fn again(shape: &Shape, value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(&shape.reread(value.to_string().as_bytes())?)
}

/// What of the old value is not in the new one.
fn lost(old: &Value, new: &Value, at: &str) -> Vec<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old
            .iter()
            .flat_map(|(key, value)| match new.get(key) {
                Some(kept) => lost(value, kept, &format!("{at}.{key}")),
                None => vec![format!("{at}.{key}")],
            })
            .collect(),
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => old
            .iter()
            .zip(new)
            .enumerate()
            .flat_map(|(index, (value, kept))| lost(value, kept, &format!("{at}[{index}]")))
            .collect(),
        (old, new) if old == new => Vec::new(),
        _ => vec![format!("{at}: {old} became {new}")],
    }
}

#[test]
fn rows_of_every_former_shape_can_be_read_and_lose_nothing() {
    let shapes = shapes();
    for Recorded { table, value } in recorded() {
        let shape = shapes.get(&*table).unwrap_or_else(|| panic!("nobody reads {table} any more"));
        let again = again(shape, &value).unwrap_or_else(|error| {
            panic!(
                "{error}: a row of {table} in a folder of format {FORMAT:?} cannot be read; give the field a \
                 serde default, or change FORMAT\n{value}"
            )
        });
        let lost = lost(&value, &again, &table);
        assert!(lost.is_empty(), "an older row loses {lost:?}; keep it, or change FORMAT");
    }
}

#[test]
fn the_present_shape_of_every_table_is_recorded() {
    let recorded = recorded();
    for (table, shape) in shapes() {
        let of_table = || recorded.iter().filter(|row| row.table == table);
        assert!(
            of_table().count() > 0,
            "no row of {table} is recorded in {}; UPDRAFT_TEST_RECORD=1 adds one, or write one",
            path().display()
        );
        let present =
            of_table().any(|row| again(&shape, &row.value).is_ok_and(|new| new == row.value));
        let last = of_table().next_back().and_then(|row| again(&shape, &row.value).ok());
        let line = json!({"table": table, "value": last});
        assert!(present, "{table} has a new shape; add it to {}:\n{line}", path().display());
    }
}

/// Every table that the source names, test code apart.
fn tables_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "tests" && name != "target")
        {
            tables_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let named = source.lines().filter(|line| line.contains("const TABLE: &"));
            found.extend(named.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())));
        }
    }
}

#[test]
fn every_table_of_the_source_is_listed() {
    let mut found = BTreeSet::new();
    let actors = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    tables_in(actors, &mut found);
    assert!(found.len() > 40, "the search finds too little: {found:?}");
    let shapes = shapes();
    let missing: Vec<_> = found.iter().filter(|table| !shapes.contains_key(&***table)).collect();
    assert!(missing.is_empty(), "add to the crate's stored(): {missing:?}");
}

/// The names and kinds of everything in a value: two rows of one shape differ in contents only.
fn outline(value: &Value, at: &str, outline_of: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    outline_of.insert(format!("{at}: {kind}"));
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| outline(item, &format!("{at}[]"), outline_of));
        }
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| outline(value, &format!("{at}.{}", plain(key)), outline_of)),
        _ => {}
    }
}

/// A field's name; keys of maps, such as ids and addresses, are all alike.
fn plain(key: &str) -> &str {
    let name = key.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    if name { key } else { "*" }
}

fn outline_of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    outline(value, "", &mut found);
    found
}

#[tokio::test]
async fn the_rows_of_a_real_cloud_are_read_as_they_were_written() {
    let shapes = shapes();
    let rows = scenario::rows(&shapes).await;
    for Recorded { table, value } in &rows {
        let again = again(&shapes[&**table], value);
        assert_eq!(again.ok().as_ref(), Some(value), "{table}");
    }
    if std::env::var_os("UPDRAFT_TEST_RECORD").is_some() {
        record(rows);
    }
}

/// Adds the rows that have what no recorded row of their table has.
fn record(rows: Vec<Recorded>) {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Recorded { table, value } in recorded() {
        known.entry(table).or_default().extend(outline_of(&value));
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path()).unwrap();
    for Recorded { table, value } in rows {
        let outline = outline_of(&value);
        let known = known.entry(table.clone()).or_default();
        if !outline.is_subset(known) {
            known.extend(outline);
            writeln!(file, "{}", json!({"table": table, "value": value})).unwrap();
        }
    }
}
