use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One rule, asked.
fn allows(rule: &str, who: &Credentials, what: &Target) -> bool {
    match Policy::new(&[("asked", rule)]) {
        Ok(policy) => policy.check("asked", who, what).is_ok(),
        Err(error) => panic!("{error}"),
    }
}

fn member_of_p1() -> Credentials {
    Credentials::with_roles(["member", "Reader"])
        .with("project_id", "p1")
        .with("user_id", "u1")
        .with("is_admin", false)
        .with("token.project.domain.id", "default")
        .with("service_roles", vec!["service".to_owned(), "admin".to_owned()])
}

fn shared_server_of_p1() -> Target {
    Target::new()
        .with("project_id", "p1")
        .with("target.project.domain_id", "default")
        .with("user_id", "somebody else")
        .with("shared", true)
        .with("size", 20)
        .with("owner", Attribute::Null)
        .with("name", "a%b")
}

#[test]
fn every_form_of_the_language_decides_as_it_does_elsewhere() {
    let table = [
        ("", true),
        ("@", true),
        ("!", false),
        ("role:member", true),
        ("role:MEMBER", true),
        ("role:reader", true),
        ("role:admin", false),
        ("project_id:%(project_id)s", true),
        ("user_id:%(user_id)s", false),
        ("user_id:u1", true),
        ("is_admin:True", false),
        ("is_admin:False", true),
        ("token.project.domain.id:%(target.project.domain_id)s", true),
        ("service_roles:service", true),
        ("service_roles:reader", false),
        ("True:%(shared)s", true),
        ("False:%(shared)s", false),
        ("20:%(size)s", true),
        ("21:%(size)s", false),
        ("None:%(owner)s", true),
        ("'p1':%(project_id)s", true),
        ("\"p1\":%(project_id)s", true),
        ("'a%b':%(name)s", true),
        ("'a%b':a%%b", true),
        ("'p1-20':%(project_id)s-%(size)s", true),
        ("not role:admin", true),
        ("not not role:member", true),
        ("NOT role:admin AND role:member", true),
        ("role:admin or role:member", true),
        ("role:admin and role:member", false),
        ("role:member or role:admin and role:admin", true),
        ("(role:member or role:admin) and role:admin", false),
        ("not role:member or role:member", true),
        ("not (role:member or role:admin)", false),
        ("((role:member))  and\n project_id:%(project_id)s", true),
    ];
    for (rule, expected) in table {
        let allowed = allows(rule, &member_of_p1(), &shared_server_of_p1());
        assert_eq!(allowed, expected, "{rule}");
    }
}

#[test]
fn what_is_absent_matches_nothing() {
    let nobody = Credentials::default();
    let nothing = Target::new();
    for rule in [
        "role:member",
        "project_id:%(project_id)s",
        "system_scope:all",
        "None:%(owner)s",
        "project_id:None",
        "role:%(role)s",
        "''owner:%(owner)s",
    ] {
        assert!(!allows(rule, &nobody, &nothing), "{rule}");
    }
}

#[test]
fn a_null_attribute_of_the_target_does_not_match_absent_credentials() {
    let unscoped = Credentials::with_roles(["member"]);
    let unowned = Target::new().with("project_id", None::<String>);
    assert!(!allows("project_id:%(project_id)s", &unscoped, &unowned));
}

#[test]
fn a_rule_that_was_never_defined_denies_and_is_named() {
    let policy = Policy::new(&[("compute:get", "@")]).expect("valid");
    let denied = policy.check("compute:delete", &Credentials::default(), &Target::new());
    assert_eq!(denied, Err(Denied { rule: "compute:delete".to_owned() }));
    assert_eq!(denied.expect_err("denied").to_string(), "compute:delete is disallowed by policy");
}

#[test]
fn rules_refer_to_one_another() {
    let policy = Policy::new(&[
        ("admin_api", "role:admin"),
        ("owner", "project_id:%(project_id)s"),
        ("admin_or_owner", "rule:admin_api or rule:owner"),
        ("server:delete", "rule:admin_or_owner and not rule:admin_api"),
    ])
    .expect("valid");
    let what = shared_server_of_p1();
    assert_eq!(policy.check("server:delete", &member_of_p1(), &what), Ok(()));
    let admin = Credentials::with_roles(["admin"]).with("project_id", "p1");
    assert!(policy.check("server:delete", &admin, &what).is_err());
    assert!(policy.check("admin_or_owner", &admin, &what).is_ok());
}

#[test]
fn an_operators_override_replaces_a_rule_and_those_that_refer_to_it() {
    let policy = Policy::new(&[("base", "role:admin"), ("list", "rule:base")]).expect("valid");
    let overrides = BTreeMap::from([("base".to_owned(), "role:member".to_owned())]);
    let overridden = policy.overridden(&overrides).expect("valid");
    let (who, what) = (member_of_p1(), Target::new());
    assert!(policy.check("list", &who, &what).is_err());
    assert!(overridden.check("list", &who, &what).is_ok());
    assert!(overridden.defines("list") && !overridden.defines("lists"));
    assert_eq!(
        overridden.rules().collect::<Vec<_>>(),
        [("base", "role:member"), ("list", "rule:base")]
    );
}

#[test]
fn a_mistake_is_found_at_load_and_located() {
    let table = [
        ("role:admin or", "at byte 13: the end where a check belongs"),
        (
            "role:admin role:member",
            "at byte 11: `role:member` where `and`, `or` or the end belongs",
        ),
        ("or role:admin", "at byte 0: `or` where a check belongs"),
        ("(role:admin", "at byte 0: `(` without its `)`"),
        ("role:admin)", "at byte 10: `)` where `and`, `or` or the end belongs"),
        ("()", "at byte 1: `)` where a check belongs"),
        ("admin", "at byte 0: `admin` is not a check: `@`, `!` or KIND:TEXT"),
        (":x", "at byte 0: `:x` has nothing before its colon"),
        ("@ and a:x%(y", "at byte 9: `%` without (NAME)s after it; `%%` is a plain one"),
        ("a:%(y)d", "at byte 2: `%` without (NAME)s after it; `%%` is a plain one"),
        ("http://host/%(x)s", "at byte 0: checks that ask a remote server are not supported"),
    ];
    for (rule, expected) in table {
        match Policy::new(&[("asked", rule)]) {
            Err(PolicyError::Syntax { rule: named, source }) => {
                assert_eq!((named.as_str(), source.to_string().as_str()), ("asked", expected));
            }
            other => panic!("{rule}: {other:?}"),
        }
    }
}

#[test]
fn a_reference_to_nothing_is_found_at_load() {
    let error = Policy::new(&[("a", "not rule:b")]).expect_err("refused");
    assert_eq!(error.to_string(), "rule \"a\" refers to rule \"b\", which is not defined");
}

#[test]
fn a_circle_is_found_at_load() {
    let rules = [("a", "rule:b"), ("b", "@ and rule:c"), ("c", "not rule:b"), ("d", "@")];
    let error = Policy::new(&rules).expect_err("refused");
    assert_eq!(error.to_string(), "rules refer to one another in a circle: b -> c -> b");
    assert!(Policy::new(&[("self", "rule:self")]).is_err());
}

/// Rules 000, 001, ... where each is made from the number of the one before it.
fn chain(length: usize, text: impl Fn(String) -> String) -> Result<Policy, PolicyError> {
    let first = [("000".to_owned(), "@".to_owned())];
    let rest = (1..length).map(|n| (format!("{n:03}"), text(format!("rule:{:03}", n - 1))));
    let texts: Vec<_> = first.into_iter().chain(rest).collect();
    let rules: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Policy::new(&rules)
}

#[test]
fn chains_are_bounded_whichever_end_is_read_first() {
    assert!(chain(RULE_CHAIN_MAX, |before| before).is_ok());
    let error = chain(RULE_CHAIN_MAX + 1, |before| before).expect_err("refused");
    assert_eq!(error, PolicyError::ChainTooLong("064".to_owned()));
    let backwards: Vec<_> =
        (0..100).map(|n| (format!("{n:03}"), format!("rule:{:03}", n + 1))).collect();
    let mut rules: Vec<_> =
        backwards.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    rules.push(("100", "@"));
    assert!(matches!(Policy::new(&rules), Err(PolicyError::ChainTooLong(_))));
}

#[test]
fn rules_cannot_multiply_without_bound() {
    let error = chain(40, |before| format!("{before} and {before}")).expect_err("refused");
    assert!(matches!(error, PolicyError::TooCostly(_)), "{error}");
}

#[test]
fn nesting_and_length_are_bounded() {
    let nested = |depth| format!("{}@{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Policy::new(&[("a", &nested(RULE_NESTING_MAX - 1))]).is_ok());
    assert!(Policy::new(&[("a", &nested(RULE_NESTING_MAX))]).is_err());
    assert!(Policy::new(&[("a", &"not ".repeat(2_000))]).is_err());
    assert!(Policy::new(&[("a", &"x".repeat(RULE_MAX_BYTES + 1))]).is_err());
}

/// A rule and what it must decide for roles `a` (held) and `b` (not held).
fn sensible_rule() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop_oneof![
        Just(("@".to_owned(), true)),
        Just(("!".to_owned(), false)),
        Just(("role:a".to_owned(), true)),
        Just(("role:b".to_owned(), false)),
    ];
    leaf.prop_recursive(4, 32, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(text, holds)| (format!("not ({text})"), !holds)),
            (inner.clone(), inner.clone())
                .prop_map(|((a, x), (b, y))| (format!("({a}) and ({b})"), x && y)),
            (inner.clone(), inner).prop_map(|((a, x), (b, y))| (format!("({a}) or ({b})"), x || y)),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_a_rule_or_an_error_and_never_a_panic(text in "\\PC*") {
        let _ = Policy::new(&[("asked", &text)]);
    }

    #[test]
    fn any_heap_of_words_is_a_rule_or_an_error_and_never_a_panic(
        words in proptest::collection::vec(
            prop_oneof![
                Just("("), Just(")"), Just("and"), Just("or"), Just("not"), Just("@"), Just("!"),
                Just("role:a"), Just("a:%(b)s"), Just("((role:a)"), Just("%"), Just(":"), Just("é:%"),
            ],
            0..60,
        ),
    ) {
        if let Ok(policy) = Policy::new(&[("asked", &words.join(" "))]) {
            let _ = policy.check("asked", &member_of_p1(), &shared_server_of_p1());
        }
    }

    #[test]
    fn a_rule_means_what_its_operators_mean((text, expected) in sensible_rule()) {
        prop_assert_eq!(allows(&text, &Credentials::with_roles(["a"]), &Target::new()), expected);
    }
}
