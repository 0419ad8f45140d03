//! That the command line has every setting, and says how it is found.

use clap::CommandFactory;
use updraft_cloud::machine::config::DESCRIBED;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_setting_has_an_option_and_a_variable() {
    let command = Arguments::command();
    let config = command.find_subcommand("config").unwrap();
    for described in &DESCRIBED {
        let option =
            config.get_arguments().find(|arg| arg.get_long() == Some(&*described.option()));
        let option = option.unwrap_or_else(|| panic!("--{} is missing", described.option()));
        let variable = option.get_env().and_then(|variable| variable.to_str());
        assert_eq!(variable, Some(&*described.variable()));
        assert!(option.get_help().is_some(), "--{} has no words", described.option());
    }
}

#[test]
fn the_help_states_what_goes_before_what_and_the_exit_codes() {
    let help = Arguments::command().render_help().to_string();
    for words in ["goes before the environment", "Exit codes:", "  6  "] {
        assert!(help.contains(words), "{help}");
    }
}

#[test]
fn every_command_says_what_it_does() {
    for command in Arguments::command().get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
    }
}

#[test]
fn the_command_line_goes_before_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "region = \"south\"\nvirt_type = \"qemu\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let arguments =
        Arguments::try_parse_from(["updraft", "config", "--config", path, "--region", "north"]);
    let Ok(Arguments { command: Command::Config { place, control, host, node } }) = arguments
    else {
        panic!("it is a command line");
    };
    let settings = place.settings(&[&control, &host, &node]).unwrap();
    assert_eq!(settings.region.as_str(), "north");
    assert_eq!(settings.virt_type.as_str(), "qemu");
}
