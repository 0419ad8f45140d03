//! Who asks, and what the rules say to that.

use std::sync::Arc;

use serde_json::Value;
use updraft_edge::policy::Caller;
use updraft_protocol::identity::Principal;
use updraft_runtime::policy::{Policy, Target};

use super::{attribute::Spec, body::Body, body::Owner, listing::View};
use crate::error::{NetworkError, Outcome, denied};

/// The caller of a request.
pub(crate) struct Asker<'a> {
    caller: Caller<'a>,
    policy: &'a Policy,
    pub(crate) project_id: String,
    pub(crate) is_admin: bool,
    is_service: bool,
}

impl<'a> Asker<'a> {
    /// This caller; `principal` says for which project.
    pub(crate) fn new(caller: Caller<'a>, policy: &'a Arc<Policy>, principal: &Principal) -> Self {
        let nothing = Target::new();
        Self {
            is_admin: caller.may("context_is_admin", &nothing),
            is_service: caller.may("service_api", &nothing),
            caller,
            policy,
            project_id: principal.project_id().unwrap_or_default().to_owned(),
        }
    }

    /// For whom the caller may make things.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner { project_id: &self.project_id, for_others: self.is_admin || self.is_service }
    }

    /// Whether a rule lets the caller act on the target.
    pub(crate) fn may(&self, rule: &str, target: &Target) -> bool {
        self.caller.may(rule, target)
    }

    /// Refuses unless a rule lets the caller act on the target.
    pub(crate) fn must(&self, rule: &str, target: &Target) -> Outcome<()> {
        if self.may(rule, target) { Ok(()) } else { Err(denied(&format!("rule:{rule}"))) }
    }

    /// Refuses unless the rules let the caller do this with all that the body gives.
    pub(crate) fn must_with(
        &self,
        action: &str,
        spec: &Spec,
        body: &Body,
        target: &Target,
    ) -> Outcome<()> {
        let rules = self.rules(action, spec, body);
        if rules.iter().all(|rule| self.may(rule, target)) {
            return Ok(());
        }
        Err(refusal(&rules))
    }

    /// The rule of an action, and those of the attributes and their parts that a body gives.
    fn rules(&self, action: &str, spec: &Spec, body: &Body) -> Vec<String> {
        let mut rules = vec![action.to_owned()];
        let creates = action.starts_with("create");
        for attribute in spec.attributes.iter().filter(|attribute| attribute.guarded) {
            let name = attribute.name;
            let (Some(value), true) = (body.value(name), body.is_given(name)) else { continue };
            let default = match attribute.post {
                super::attribute::Post::Default(default) => Some(default.value()),
                _ => None,
            };
            if creates && default.as_ref() == Some(value) {
                continue;
            }
            rules.push(format!("{action}:{name}"));
            for part in parts(value) {
                let rule = format!("{action}:{name}:{part}");
                if self.policy.defines(&rule) && !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        rules
    }

    /// What of a view the caller may see.
    pub(crate) fn unveiled(&self, spec: &Spec, mut view: View, target: &Target) -> View {
        for name in spec.veiled {
            if !self.may(&format!("get_{}:{name}", spec.singular), target) {
                view.remove(*name);
            }
        }
        view
    }
}

/// The keys of an object, or of the objects in a list.
fn parts(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        Value::Array(items) => {
            let maps = items.iter().filter_map(Value::as_object);
            maps.flat_map(|map| map.keys()).map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
}

/// A refusal that names all rules that were asked, as neutron joins them.
fn refusal(rules: &[String]) -> NetworkError {
    let mut rules = rules.iter().map(|rule| format!("rule:{rule}"));
    let first = rules.next().unwrap_or_default();
    denied(&rules.fold(first, |so_far, rule| format!("({so_far} and {rule})")))
}
