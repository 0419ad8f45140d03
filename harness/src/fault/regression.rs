//! A plan as the text of a test, ready to be put into a file.

use std::fmt::Write;

use super::FaultPlan;

/// The text of a test, in Rust, that calls `run` with the seed of a scenario and this plan. `name` is the test's, and
/// `run` a path to a `fn(u64, &FaultPlan)` that panics when the scenario fails. The file that it is put into uses
/// [`FaultPlan`] and `serde_json`.
#[must_use]
pub fn regression(name: &str, run: &str, seed: u64, plan: &FaultPlan) -> String {
    let json = serde_json::to_string(plan).unwrap_or_default();
    let mut text = String::new();
    for line in plan.to_string().lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "/// - {line}");
    }
    let _ = write!(
        text,
        "#[test]\nfn {name}() {{\n    let plan = {};\n    let plan: FaultPlan = \
         serde_json::from_str(plan).expect(\"a plan\");\n    {run}({seed}, &plan);\n}}\n",
        raw(&json),
    );
    text
}

/// A raw string literal that holds this, whatever quotes are in it.
fn raw(text: &str) -> String {
    let hashes = (1..).map(|n| "#".repeat(n)).find(|hashes| !text.contains(&format!("\"{hashes}")));
    let hashes = hashes.unwrap_or_default();
    format!("r{hashes}\"{text}\"{hashes}")
}
