//! What the compiler says to whoever defines or sends a message wrongly: it points at the user's own line.

#[test]
fn mistakes_with_messages_are_errors_at_the_users_line() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
