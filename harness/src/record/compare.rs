//! Two logs of one seed: they are the same, or something in the run follows from no seed.

use std::fmt;

/// What stands in the line of a draw.
const DRAWS: &str = " draws \"";

/// Where two logs first differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the line, the first being 1.
    pub line: usize,
    /// What each log says there; nothing where it has ended.
    pub says: [Option<String>; 2],
    /// The last random draw before, which both have.
    pub drawn_before: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] =
            self.says.each_ref().map(|says| says.as_deref().unwrap_or("(it has ended)"));
        writeln!(f, "they differ in line {}:\n  {one}\n  {other}", self.line)?;
        match &self.drawn_before {
            Some(draw) => write!(f, "the random draw before it:\n  {draw}"),
            None => f.write_str("nothing was drawn before it"),
        }
    }
}

/// Where two logs first differ, if they do.
#[must_use]
pub fn difference(one: &[String], other: &[String]) -> Option<Difference> {
    let lines = one.len().max(other.len());
    let at = (0..lines).find(|at| one.get(*at) != other.get(*at))?;
    let drawn_before = one.iter().take(at).rev().find(|line| line.contains(DRAWS)).cloned();
    let says = [one, other].map(|log| log.get(at).cloned());
    Some(Difference { line: at + 1, says, drawn_before })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_line_that_differs_is_named_with_the_draw_before_it() {
        let one = log(&["1 add a", "2 a draws \"rpc\", after 4 draws", "3 a>b", "4 b>a"]);
        assert_eq!(difference(&one, &one.clone()), None);
        let other = log(&["1 add a", "2 a draws \"rpc\", after 4 draws", "3 a>c", "4 c>a"]);
        let told = difference(&one, &other).unwrap().to_string();
        assert!(told.contains("line 3:\n  3 a>b\n  3 a>c\n"), "{told}");
        assert!(told.ends_with("2 a draws \"rpc\", after 4 draws"), "{told}");
    }

    #[test]
    fn a_log_that_ends_early_differs() {
        let (one, other) = (log(&["1 add a", "2 a>b"]), log(&["1 add a"]));
        let told = difference(&one, &other).unwrap().to_string();
        assert!(told.contains("  2 a>b\n  (it has ended)"), "{told}");
        assert!(told.ends_with("nothing was drawn before it"), "{told}");
    }
}
