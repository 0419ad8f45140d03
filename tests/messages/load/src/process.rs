//! What processes have used.

use std::{fs, time::Duration};

use nix::{
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};

use crate::{
    Failure,
    order::{Latency, Sample},
};

/// Processor time of the process and of all threads that it ever had, the kernel's work for it included; exact to the
/// nanosecond, where `/proc` counts hundredths of a second.
fn cpu(process: i32) -> Result<Duration, Failure> {
    let clock: ClockId = clock_getcpuclockid(Pid::from_raw(process))?;
    Ok(clock.now()?.into())
}

/// Processor time that several processes use from now on.
struct CpuSince(Vec<(i32, Duration)>);

impl CpuSince {
    /// Begins to count. A process that has ended is left out.
    fn now(processes: &[i32]) -> Self {
        let at = |process: &i32| Some((*process, cpu(*process).ok()?));
        Self(processes.iter().filter_map(at).collect())
    }

    /// What they have used since. One that has ended meanwhile, such as a helper of a broker, is left out.
    fn used(&self) -> Duration {
        let used = |(process, before): &(i32, Duration)| Some(cpu(*process).ok()? - *before);
        self.0.iter().filter_map(used).sum()
    }
}

/// What a message costs whoever calls, and everybody else; counted from its making on.
pub struct Costs {
    own: CpuSince,
    others: CpuSince,
}

impl Costs {
    /// Begins to count this process, and these.
    #[must_use]
    pub fn since_now(others: &[i32]) -> Self {
        Self { own: CpuSince::now(&[this()]), others: CpuSince::now(others) }
    }

    /// What was seen, if so many messages have passed in that time.
    #[must_use]
    pub fn sample(&self, messages: f64, lasted: Duration, latency: Option<Latency>) -> Sample {
        let each_us = |used: Duration| used.as_secs_f64() * 1e6 / messages;
        Sample {
            per_second: messages / lasted.as_secs_f64(),
            latency,
            caller_cpu_us: each_us(self.own.used()),
            other_cpu_us: each_us(self.others.used()),
        }
    }
}

/// What the process holds in memory.
pub fn resident_bytes(process: i32) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.ok_or("a process without memory")?.parse::<f64>()? * 1_024.0)
}

/// The same of several.
pub(crate) fn resident_bytes_of(processes: &[i32]) -> f64 {
    // One that has ended holds nothing.
    processes.iter().filter_map(|process| resident_bytes(*process).ok()).sum()
}

/// This process.
pub(crate) fn this() -> i32 {
    Pid::this().as_raw()
}
