//! What a seed that failed leaves behind.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Misuse, Ran, Scenarios, Violation};
use crate::{
    timeline::{self, Told},
    world::Tier,
};

/// A run to be, with everything that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// What every draw follows from.
    pub seed: u64,
    /// Where the nodes run.
    pub tier: Tier,
    /// The scenario's case.
    pub case: Value,
}

impl Plan {
    /// What its folder and its regression test are called.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.scenario, self.seed)
    }

    /// Reads a plan from its file, or from the folder that a failing seed left: there the smallest one.
    ///
    /// # Errors
    /// If there is none, or it is none.
    pub fn read(path: &Path) -> Result<Self, Misuse> {
        let shrunk = path.join(SHRUNK);
        let inside = if shrunk.is_file() { shrunk } else { path.join(PLAN) };
        let file = if path.is_dir() { &inside } else { path };
        let text = fs::read_to_string(file).map_err(Misuse::of(file))?;
        serde_json::from_str(&text)
            .map_err(|error| Misuse::NoPlan(file.display().to_string(), error))
    }
}

const PLAN: &str = "plan.json";
const SHRUNK: &str = "shrunk.json";
const WHY: &str = "why.txt";
const REGRESSION: &str = "regression.rs";
const LOG: &str = "log.txt";
const TIMELINE: &str = "timeline.html";

/// What the folder of a failure has besides its reason.
const FILES: &str = "\
timeline.html is the small one as a picture, log.txt all that happens in it, shrunk.json what it follows from, and
regression.rs a test that fails as long as it does. plan.json is all of what failed first.";

/// Writes the text log and the timeline of a run into a folder.
pub(super) fn write_down(
    scenarios: &Scenarios,
    plan: &Plan,
    ran: &Ran,
    folder: &Path,
) -> Result<(), Misuse> {
    let shown = scenarios.find(&plan.scenario)?.show(&plan.case);
    let told = Told {
        title: format!("Seed {} of {} on {}", plan.seed, plan.scenario, plan.tier),
        check: ran.outcome.violation.as_ref().map(|v| v.check.clone()).unwrap_or_default(),
        why: ran.failed.clone().unwrap_or_else(|| "It passes.".to_owned()),
        plan: shown.map_err(|error| Misuse::NoPlan(plan.name(), error))?,
        again: format!("updraft-sim replay {}", folder.display()),
    };
    fs::create_dir_all(folder).map_err(Misuse::of(folder))?;
    let records = ran.recorder.records();
    let mut log = String::new();
    for record in &records {
        // Writing to a string cannot fail.
        let _ = writeln!(log, "{record}");
    }
    for (name, text) in [(LOG, log), (TIMELINE, timeline::page(&told, &records))] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Misuse::of(&path))?;
    }
    Ok(())
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The run.
    pub plan: Plan,
    /// The smallest plan found that fails in the same way, if it failed in a process of its own at all.
    pub shrunk: Option<Plan>,
    /// Why the plan failed.
    pub why: String,
    /// The check that failed, if one did.
    pub violation: Option<Violation>,
    /// Why the shrunk plan fails.
    pub shrunk_why: String,
    /// The runs that it took to make it small.
    pub shrinks: u64,
    /// Where all of it was written.
    pub folder: PathBuf,
}

/// What a failure is known by: two seeds that fail the same check need one look, not two.
pub(super) fn signature(why: &str, violation: Option<&Violation>) -> String {
    if let Some(violation) = violation {
        return violation.check.clone();
    }
    let first = why.lines().next().unwrap_or_default();
    let words = first.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.take(12).collect::<Vec<_>>().join(" ")
}

impl Failure {
    /// Writes everything that is known of it into its folder.
    pub(super) fn write(&self, scenarios: &Scenarios) -> Result<(), Misuse> {
        fs::create_dir_all(&self.folder).map_err(Misuse::of(&self.folder))?;
        let write = |name: &str, text: &str| {
            let path = self.folder.join(name);
            fs::write(&path, text).map_err(Misuse::of(&path))
        };
        write(PLAN, &json(&self.plan)?)?;
        write(WHY, &self.words(scenarios)?)?;
        if let Some(shrunk) = &self.shrunk {
            write(SHRUNK, &json(shrunk)?)?;
            write(REGRESSION, &self.regression(shrunk, scenarios)?)?;
        }
        Ok(())
    }

    /// Everything in words.
    fn words(&self, scenarios: &Scenarios) -> Result<String, Misuse> {
        let shown = |plan: &Plan| {
            let shown = scenarios.find(&plan.scenario)?.show(&plan.case);
            shown.map_err(|error| Misuse::NoPlan(plan.name(), error))
        };
        let Plan { scenario, seed, tier, .. } = &self.plan;
        let mut words = format!("Seed {seed} of the scenario {scenario} on {tier} failed.\n\n");
        if let Some(violation) = &self.violation {
            words += &format!("The rule that was broken: {}\n\n", violation.check);
        }
        words += &format!("{}\n\n", self.why);
        words += &match &self.shrunk {
            Some(shrunk) => format!(
                "After {} runs to make it small, these steps and faults are left of it:\n\n{}\nThe small one fails \
                 in these words, with ids of its own:\n\n{}\n\nTo run it again:\n\n    updraft-sim replay \
                 {}\n\n{FILES}\n",
                self.shrinks,
                shown(shrunk)?,
                self.shrunk_why,
                self.folder.display(),
            ),
            None => {
                "It did not fail again in a process of its own: a run is not a function of its \
                     seed.\n"
                    .to_owned()
            }
        };
        words += &format!("\nBefore it was made small, all of it was:\n\n{}", shown(&self.plan)?);
        Ok(words)
    }

    /// A test that fails as long as the shrunk plan does.
    fn regression(&self, shrunk: &Plan, scenarios: &Scenarios) -> Result<String, Misuse> {
        let name = shrunk.name().replace('-', "_");
        let why = self.shrunk_why.lines().next().unwrap_or_default();
        let (replay, plan) = (scenarios.replayed_by, json(shrunk)?);
        Ok(format!(
            "/// Once failed with: {why}\n#[test]\nfn {name}() {{\n    {replay}(\n        r#\"{plan}\"#,\n    );\n}}\n"
        ))
    }
}

fn json(plan: &Plan) -> Result<String, Misuse> {
    serde_json::to_string_pretty(plan).map_err(|error| Misuse::NoPlan(plan.name(), error))
}
