//! What processes have used.

use std::{fs, time::Duration};

use nix::{
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};

use crate::Failure;

/// Processor time of the process and of all threads that it ever had, the kernel's work for it included; exact to the
/// nanosecond, where `/proc` counts hundredths of a second.
pub fn cpu(process: i32) -> Result<Duration, Failure> {
    let clock: ClockId = clock_getcpuclockid(Pid::from_raw(process))?;
    Ok(clock.now()?.into())
}

/// Processor time of several.
pub(crate) fn cpu_of(processes: &[i32]) -> Result<Duration, Failure> {
    processes.iter().map(|process| cpu(*process)).sum()
}

/// What the process holds in memory.
pub fn resident_bytes(process: i32) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.ok_or("a process without memory")?.parse::<f64>()? * 1_024.0)
}

/// The same of several.
pub(crate) fn resident_bytes_of(processes: &[i32]) -> Result<f64, Failure> {
    processes.iter().map(|process| resident_bytes(*process)).sum()
}

/// This process.
pub(crate) fn this() -> i32 {
    Pid::this().as_raw()
}
