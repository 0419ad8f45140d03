//! From named texts to linked trees, with every check that can be made before the first decision.

use std::collections::BTreeMap;

use super::{
    DECISION_CHECKS_MAX, PolicyError, RULE_CHAIN_MAX, RULES_MAX, check::Check, parse::parse,
};

type Loaded = (BTreeMap<String, usize>, Vec<Check<usize>>);

/// Parses and links all rules, and refuses what could not be decided.
pub(super) fn load(texts: &BTreeMap<String, String>) -> Result<Loaded, PolicyError> {
    if texts.len() > RULES_MAX {
        return Err(PolicyError::TooMany(texts.len()));
    }
    let names: Vec<&str> = texts.keys().map(String::as_str).collect();
    let indexes: BTreeMap<String, usize> =
        names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), index)).collect();
    let mut rules = Vec::with_capacity(texts.len());
    for (rule, text) in texts {
        let check =
            parse(text).map_err(|source| PolicyError::Syntax { rule: rule.clone(), source })?;
        rules.push(check.link(&mut |reference: String| {
            indexes
                .get(&reference)
                .copied()
                .ok_or_else(|| PolicyError::Undefined { rule: rule.clone(), reference })
        })?);
    }
    let mut survey =
        Survey { names: &names, rules: &rules, known: vec![None; rules.len()], path: Vec::new() };
    for index in 0..rules.len() {
        survey.rule(index)?;
    }
    Ok((indexes, rules))
}

/// What a decision by a rule reaches at worst.
#[derive(Clone, Copy, Default)]
struct Reach {
    /// Single checks.
    checks: usize,
    /// Rules in the longest chain of references, itself included.
    chain: usize,
}

/// Walks all references once: finds circles and long chains, and adds up what a decision costs.
struct Survey<'a> {
    names: &'a [&'a str],
    rules: &'a [Check<usize>],
    known: Vec<Option<Reach>>,
    path: Vec<usize>,
}

impl Survey<'_> {
    fn name(&self, index: usize) -> String {
        self.names.get(index).copied().unwrap_or_default().to_owned()
    }

    fn rule(&mut self, index: usize) -> Result<Reach, PolicyError> {
        if let Some(known) = self.known.get(index).copied().flatten() {
            return Ok(known);
        }
        if let Some(start) = self.path.iter().position(|on_path| *on_path == index) {
            let circle = self.path.iter().skip(start).chain([&index]);
            return Err(PolicyError::Cycle(circle.map(|index| self.name(*index)).collect()));
        }
        if self.path.len() >= RULE_CHAIN_MAX {
            return Err(PolicyError::ChainTooLong(self.name(index)));
        }
        self.path.push(index);
        let rules = self.rules;
        let mut reach = rules.get(index).map_or(Ok(Reach::default()), |check| self.check(check))?;
        self.path.pop();
        reach.chain += 1;
        if reach.chain > RULE_CHAIN_MAX {
            return Err(PolicyError::ChainTooLong(self.name(index)));
        }
        if reach.checks > DECISION_CHECKS_MAX {
            return Err(PolicyError::TooCostly(self.name(index)));
        }
        if let Some(slot) = self.known.get_mut(index) {
            *slot = Some(reach);
        }
        Ok(reach)
    }

    fn check(&mut self, check: &Check<usize>) -> Result<Reach, PolicyError> {
        match check {
            Check::Not(inner) => self.check(inner),
            Check::All(parts) | Check::Any(parts) => {
                parts.iter().try_fold(Reach::default(), |so_far, part| {
                    let part = self.check(part)?;
                    Ok(Reach {
                        checks: so_far.checks + part.checks,
                        chain: so_far.chain.max(part.chain),
                    })
                })
            }
            Check::Rule(index) => {
                let reach = self.rule(*index)?;
                Ok(Reach { checks: reach.checks + 1, ..reach })
            }
            _ => Ok(Reach { checks: 1, chain: 0 }),
        }
    }
}
