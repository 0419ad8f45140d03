//! Which tier and seed a scenario runs on, by the arguments of its program.

use super::Tier;

/// How the arguments look.
const USAGE: &str = "[--memory | --quic | --disks | --real] [--seed NUMBER]";

/// What the arguments chose.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) tier: Tier,
    pub(super) seed: u64,
}

impl Choice {
    pub(super) fn of(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut chosen = Self { tier: Tier::default(), seed: 1 };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--memory" => chosen.tier = Tier::Memory,
                "--quic" => chosen.tier = Tier::Quic,
                "--disks" => chosen.tier = Tier::Disks,
                "--real" => chosen.tier = Tier::Real,
                "--seed" => {
                    let number = arguments.next().unwrap_or_default();
                    let seed = number.parse();
                    chosen.seed = seed.map_err(|_| format!("--seed {number:?} is no number"))?;
                }
                other => return Err(format!("{other:?} is no argument of this program")),
            }
        }
        Ok(chosen)
    }
}

/// Ends the program over its arguments.
#[allow(clippy::print_stderr, reason = "it is what a program says about its arguments")]
pub(super) fn end(error: &str) -> ! {
    eprintln!("{error}; it takes {USAGE}");
    std::process::exit(2);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(arguments: &[&str]) -> Result<Choice, String> {
        Choice::of(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn arguments_choose_a_tier_and_a_seed() {
        assert_eq!(choice(&[]), Ok(Choice { tier: Tier::Memory, seed: 1 }));
        let chosen = Choice { tier: Tier::Quic, seed: 7 };
        assert_eq!(choice(&["--seed", "7", "--quic"]), Ok(chosen));
    }

    #[test]
    fn what_is_no_argument_is_said() {
        assert!(choice(&["--fast"]).unwrap_err().contains("--fast"));
        assert!(choice(&["--seed", "x"]).unwrap_err().contains("no number"));
        assert!(choice(&["--seed"]).is_err());
    }
}
