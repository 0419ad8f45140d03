//! A worker does not outlive whoever asked it.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "it waits for a process")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use updraft_harness::campaign::process::{self, WORKER};

#[test]
fn it_ends_with_its_input_in_the_middle_of_a_job_that_never_ends() {
    if process::is_worker() {
        return process::serve(|job| {
            println!("begins {job}");
            loop {
                std::thread::park();
            }
        });
    }
    let this = "it_ends_with_its_input_in_the_middle_of_a_job_that_never_ends";
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(WORKER, "-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut jobs = worker.stdin.take().unwrap();
    writeln!(jobs, "a job").unwrap();
    let mut said = BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.ends_with("begins a job")));
    drop(jobs);
    let until = Instant::now() + Duration::from_secs(20);
    let ended = loop {
        let ended = worker.try_wait().unwrap();
        if ended.is_some() || Instant::now() > until {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let _ = worker.kill();
    assert!(ended.is_some_and(|how| how.success()), "{ended:?}");
}
