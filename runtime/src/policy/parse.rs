//! From a rule's text to its tree.
//!
//! Words are separated by white space; parentheses count only at the ends of a word, so that
//! `%(name)s` inside one needs no quoting. `not` binds tighter than `and`, `and` than `or`.

use super::{
    RULE_MAX_BYTES, RULE_NESTING_MAX,
    check::{Check, Piece, Template},
};

/// Where and why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {problem}")]
pub struct SyntaxError {
    /// Offset into the rule's text, in bytes.
    pub at: usize,
    /// What was found, and what belongs there.
    pub problem: String,
}

impl SyntaxError {
    fn new(at: usize, problem: impl Into<String>) -> Self {
        Self { at, problem: problem.into() }
    }
}

/// Parses one rule.
pub(super) fn parse(text: &str) -> Result<Check<String>, SyntaxError> {
    if text.len() > RULE_MAX_BYTES {
        let problem = format!("{} bytes are more than the {RULE_MAX_BYTES} of a rule", text.len());
        return Err(SyntaxError::new(RULE_MAX_BYTES, problem));
    }
    let tokens = tokens(text);
    if tokens.is_empty() {
        return Ok(Check::Always);
    }
    let mut parser = Parser { tokens: &tokens, next: 0, end: text.len() };
    let check = parser.any(0)?;
    match parser.peek() {
        None => Ok(check),
        Some(extra) => Err(SyntaxError::new(
            extra.at,
            format!("{} where `and`, `or` or the end belongs", extra.what),
        )),
    }
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    at: usize,
    what: What<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What<'a> {
    Open,
    Close,
    And,
    Or,
    Not,
    Word(&'a str),
}

impl std::fmt::Display for What<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("`(`"),
            Self::Close => f.write_str("`)`"),
            Self::And => f.write_str("`and`"),
            Self::Or => f.write_str("`or`"),
            Self::Not => f.write_str("`not`"),
            Self::Word(word) => write!(f, "`{word}`"),
        }
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    for chunk in text.split_inclusive(char::is_whitespace) {
        word_tokens(chunk.trim_end(), at, &mut tokens);
        at += chunk.len();
    }
    tokens
}

/// The parentheses around a word, and the word.
fn word_tokens<'a>(chunk: &'a str, start: usize, tokens: &mut Vec<Token<'a>>) {
    let unopened = chunk.trim_start_matches('(');
    let opened = chunk.len() - unopened.len();
    let word = unopened.trim_end_matches(')');
    let word_at = start + opened;
    tokens.extend((start..word_at).map(|at| Token { at, what: What::Open }));
    if !word.is_empty() {
        tokens.push(Token { at: word_at, what: keyword(word) });
    }
    let closed_at = word_at + word.len();
    tokens.extend((closed_at..start + chunk.len()).map(|at| Token { at, what: What::Close }));
}

fn keyword(word: &str) -> What<'_> {
    if word.eq_ignore_ascii_case("and") {
        What::And
    } else if word.eq_ignore_ascii_case("or") {
        What::Or
    } else if word.eq_ignore_ascii_case("not") {
        What::Not
    } else {
        What::Word(word)
    }
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    next: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).copied()
    }

    /// Steps over the next token if it is this one.
    fn take(&mut self, what: What<'_>) -> bool {
        let found = self.peek().is_some_and(|token| token.what == what);
        self.next += usize::from(found);
        found
    }

    fn any(&mut self, depth: usize) -> Result<Check<String>, SyntaxError> {
        let mut parts = vec![self.all(depth)?];
        while self.take(What::Or) {
            parts.push(self.all(depth)?);
        }
        Ok(joined(parts, Check::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Check<String>, SyntaxError> {
        let mut parts = vec![self.one(depth)?];
        while self.take(What::And) {
            parts.push(self.one(depth)?);
        }
        Ok(joined(parts, Check::All))
    }

    fn one(&mut self, depth: usize) -> Result<Check<String>, SyntaxError> {
        let Some(token) = self.peek() else {
            return Err(SyntaxError::new(self.end, "the end where a check belongs"));
        };
        if depth >= RULE_NESTING_MAX {
            let problem = format!("nested deeper than {RULE_NESTING_MAX}");
            return Err(SyntaxError::new(token.at, problem));
        }
        self.next += 1;
        match token.what {
            What::Not => Ok(Check::Not(Box::new(self.one(depth + 1)?))),
            What::Open => {
                let inner = self.any(depth + 1)?;
                if self.take(What::Close) {
                    Ok(inner)
                } else {
                    Err(SyntaxError::new(token.at, "`(` without its `)`"))
                }
            }
            What::Word(word) => check(word, token.at),
            other => Err(SyntaxError::new(token.at, format!("{other} where a check belongs"))),
        }
    }
}

fn joined(
    mut parts: Vec<Check<String>>,
    join: fn(Vec<Check<String>>) -> Check<String>,
) -> Check<String> {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => Check::Never,
    }
}

/// A single check: `@`, `!` or `KIND:TEXT`.
fn check(word: &str, at: usize) -> Result<Check<String>, SyntaxError> {
    match word {
        "@" => return Ok(Check::Always),
        "!" => return Ok(Check::Never),
        _ => {}
    }
    let Some((kind, text)) = word.split_once(':') else {
        let problem = format!("`{word}` is not a check: `@`, `!` or KIND:TEXT");
        return Err(SyntaxError::new(at, problem));
    };
    let text_at = at + kind.len() + 1;
    match kind {
        "" => Err(SyntaxError::new(at, format!("`{word}` has nothing before its colon"))),
        "http" | "https" => {
            Err(SyntaxError::new(at, "checks that ask a remote server are not supported"))
        }
        "rule" => Ok(Check::Rule(text.to_owned())),
        "role" => Ok(Check::Role(template(text, text_at)?)),
        _ => {
            let text = template(text, text_at)?;
            Ok(match constant(kind) {
                Some(constant) => Check::Constant(constant, text),
                None => Check::Credential(kind.to_owned(), text),
            })
        }
    }
}

/// The text of a constant; `None` for what names an attribute.
fn constant(kind: &str) -> Option<String> {
    if matches!(kind, "True" | "False" | "None") {
        return Some(kind.to_owned());
    }
    if let Ok(number) = kind.parse::<i64>() {
        return Some(number.to_string());
    }
    let unquoted = |quote| kind.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    unquoted('\'').or_else(|| unquoted('"')).map(str::to_owned)
}

fn template(text: &str, at: usize) -> Result<Template, SyntaxError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            plain.push('%');
            rest = after;
            continue;
        }
        let place = after.strip_prefix('(').and_then(|name| name.split_once(")s"));
        let Some((name, after)) = place else {
            let at = at + text.len() - rest.len() + before.len();
            return Err(SyntaxError::new(at, "`%` without (NAME)s after it; `%%` is a plain one"));
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Target(name.to_owned()));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Template(pieces))
}
