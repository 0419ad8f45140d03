//! How a measuring process begins and ends.

use std::{
    future::Future,
    io::{self, Read, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    Failure,
    order::{Drive, Serve},
};

/// The command line of a program that measures and does nothing else.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    main: Main,
}

/// What a measuring process is started as. Its orders are JSON; the program that gives them writes no secrets there.
#[derive(Subcommand)]
pub enum Main {
    /// Answer calls until the standard input ends
    #[command(hide = true)]
    Serve {
        /// A [`Serve`]
        #[arg(value_parser = parsed::<Serve>)]
        order: Serve,
    },
    /// Do one job and print what was seen
    #[command(hide = true)]
    Drive {
        /// A [`Drive`]
        #[arg(value_parser = parsed::<Drive>)]
        order: Drive,
    },
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

impl Main {
    /// Does what it says. `serve` announces its address and never returns; `drive` says what it saw.
    pub fn run(
        self,
        serve: impl AsyncFnOnce(Serve) -> Result<(), Failure>,
        drive: impl AsyncFnOnce(Drive) -> Result<String, Failure>,
    ) -> ExitCode {
        let ended = match self {
            Self::Serve { order } => {
                end_with_input();
                block_on(serve(order))
            }
            Self::Drive { order } => block_on(drive(order)).and_then(|seen| announce(&seen)),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Who closes it does not want to be told.
                let _ = writeln!(io::stderr().lock(), "{error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// The whole of a program that measures and does nothing else.
pub fn run(
    serve: impl AsyncFnOnce(Serve) -> Result<(), Failure>,
    drive: impl AsyncFnOnce(Drive) -> Result<String, Failure>,
) -> ExitCode {
    Arguments::parse().main.run(serve, drive)
}

/// A server ends with the program that started it, however that ends.
fn end_with_input() {
    std::thread::spawn(|| {
        // Whatever comes or goes wrong: nobody is there any more.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}

/// Prints the one line that the starting program waits for.
pub fn announce(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Everything of a process runs on one thread, as in production.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
