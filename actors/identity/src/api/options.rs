//! Options of resources: flags with names of their own, beside the attributes.

use serde_json::Value;

use crate::{error::Error, rows::Extra};

/// Options of a user, which are kept and answered; none of them changes anything here.
const OF_USERS: [&str; 6] = [
    "ignore_change_password_upon_first_use",
    "ignore_password_expiry",
    "ignore_lockout_failure_attempts",
    "lock_password",
    "ignore_user_inactivity",
    "multi_factor_auth_enabled",
];

/// A user's option that is a list of lists of methods.
const RULES_OF_USERS: &str = "multi_factor_auth_rules";

/// The options of a domain, project or role after a request.
pub(super) fn of_place(given: Option<Extra>, held: Extra) -> Result<Extra, Error> {
    merged(given, held, |name, value| name == "immutable" && value.is_boolean())
}

/// The options of a user after a request.
pub(super) fn of_user(given: Option<Extra>, held: Extra) -> Result<Extra, Error> {
    merged(given, held, |name, value| {
        (OF_USERS.contains(&name) && value.is_boolean())
            || (name == RULES_OF_USERS && is_list_of_lists(value))
    })
}

fn is_list_of_lists(value: &Value) -> bool {
    let texts = |list: &Value| {
        list.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
    };
    value.as_array().is_some_and(|lists| lists.iter().all(texts))
}

fn merged(
    given: Option<Extra>,
    mut held: Extra,
    known: impl Fn(&str, &Value) -> bool,
) -> Result<Extra, Error> {
    for (name, value) in given.into_iter().flatten() {
        if value.is_null() {
            held.remove(&name);
        } else if known(&name, &value) {
            held.insert(name, value);
        } else {
            return Err(Error::Invalid(format!(
                "Invalid input for field 'options': '{}' is not an option, or has another value \
                 than it may have",
                name.escape_debug()
            )));
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extra(value: Value) -> Extra {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn known_options_are_kept_null_takes_one_away_and_others_are_refused() {
        let held = of_place(Some(extra(json!({"immutable": true}))), Extra::new()).expect("known");
        assert_eq!(held, extra(json!({"immutable": true})));
        let held = of_place(Some(extra(json!({"immutable": null}))), held).expect("known");
        assert!(held.is_empty());
        assert!(of_place(Some(extra(json!({"immutable": "yes"}))), Extra::new()).is_err());
        assert!(of_place(Some(extra(json!({"lock_password": true}))), Extra::new()).is_err());
        assert!(of_user(Some(extra(json!({"lock_password": true}))), Extra::new()).is_ok());
        let rules = extra(json!({"multi_factor_auth_rules": [["password", "totp"]]}));
        assert!(of_user(Some(rules), Extra::new()).is_ok());
    }
}
