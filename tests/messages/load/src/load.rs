//! The loads.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{
    Caller, Failure,
    order::{Idle, Latency, Load, Sample, SetUp},
    process::{Costs, resident_bytes_of, this},
};

/// The load runs for so long before it is measured: queues fill, congestion windows open.
const WARM_UP: Duration = Duration::from_millis(300);

/// Times are kept to three digits, up to a minute; what takes longer counts as a minute.
const DIGITS: u8 = 3;

/// See [`DIGITS`].
const LONGEST_NS: u64 = 60_000_000_000;

/// Idle connections are left alone for so long before their memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// The body of the first call over a new connection.
const FIRST_BODY_BYTES: usize = 128;

/// What the tasks of a load share.
struct Window {
    open: AtomicBool,
    over: AtomicBool,
    times_ns: Mutex<Histogram<u64>>,
}

impl Window {
    fn note(&self, took: Duration) {
        if self.open.load(Ordering::Relaxed) {
            let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.times_ns.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(ns);
        }
    }
}

/// Keeps so many calls in flight, and says what they cost.
pub(crate) async fn under_load<C: Caller>(
    caller: C,
    load: &Load,
    others: &[i32],
) -> Result<Sample, Failure> {
    let window = Arc::new(Window {
        open: AtomicBool::new(false),
        over: AtomicBool::new(false),
        times_ns: Mutex::new(Histogram::new_with_max(LONGEST_NS, DIGITS)?),
    });
    let body = Bytes::from(vec![7; load.body_bytes]);
    let mut tasks = JoinSet::new();
    for _ in 0..load.in_flight {
        tasks.spawn(ask(caller.clone(), body.clone(), window.clone()));
    }
    let measured = tokio::select! {
        biased;
        measured = measure(&window, load.seconds, others) => measured?,
        failed = first_failure(&mut tasks) => return Err(failed),
    };
    window.over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(measured)
}

/// Waits for ever unless a task fails.
async fn first_failure(tasks: &mut JoinSet<Result<(), Failure>>) -> Failure {
    loop {
        match tasks.join_next().await {
            Some(Ok(Err(failure))) => return failure,
            Some(Err(error)) => return error.into(),
            Some(Ok(Ok(()))) => {}
            None => std::future::pending().await,
        }
    }
}

async fn ask<C: Caller>(caller: C, body: Bytes, window: Arc<Window>) -> Result<(), Failure> {
    while !window.over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = caller.call(body.clone()).await?;
        window.note(begun.elapsed());
        if answer.len() != body.len() {
            return Err(format!("{} bytes came back for {}", answer.len(), body.len()).into());
        }
    }
    Ok(())
}

async fn measure(window: &Window, seconds: f64, others: &[i32]) -> Result<Sample, Failure> {
    tokio::time::sleep(WARM_UP).await;
    let costs = Costs::since_now(others);
    let begun = Instant::now();
    window.open.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    window.open.store(false, Ordering::Relaxed);
    let lasted = begun.elapsed();
    let times_ns = window.times_ns.lock().unwrap_or_else(PoisonError::into_inner);
    if times_ns.is_empty() {
        return Err(format!("not one call was answered in {lasted:?}").into());
    }
    let below_us = |share: f64| times_ns.value_at_quantile(share) as f64 / 1e3;
    let latency =
        Latency { p50_us: below_us(0.5), p99_us: below_us(0.99), p999_us: below_us(0.999) };
    Ok(costs.sample(times_ns.len() as f64, lasted, Some(latency)))
}

/// Makes connections one after the other, and says how long each took up to its first answer.
pub(crate) async fn set_up<C: Caller>(
    times: u32,
    connect: impl AsyncFn(u32) -> Result<C, Failure>,
) -> Result<SetUp, Failure> {
    let mut took_ns = Histogram::<u64>::new_with_max(LONGEST_NS, DIGITS)?;
    for number in 0..times {
        let begun = Instant::now();
        first_call(&connect(number).await?).await?;
        took_ns.saturating_record(u64::try_from(begun.elapsed().as_nanos())?);
    }
    let below_us = |share: f64| took_ns.value_at_quantile(share) as f64 / 1e3;
    Ok(SetUp { p50_us: below_us(0.5), p99_us: below_us(0.99) })
}

async fn first_call<C: Caller>(caller: &C) -> Result<(), Failure> {
    caller.call(Bytes::from(vec![7; FIRST_BODY_BYTES])).await?;
    Ok(())
}

/// Opens connections that stay idle, and says what each takes of memory.
pub(crate) async fn idle<C: Caller>(
    count: u32,
    others: &[i32],
    connect: impl AsyncFn(u32) -> Result<C, Failure>,
) -> Result<Idle, Failure> {
    // What the first connection makes for all others is no part of the others.
    let first = connect(count).await?;
    first_call(&first).await?;
    let (own, other) = (resident_bytes_of(&[this()]), resident_bytes_of(others));
    let mut held = Vec::new();
    for number in 0..count {
        let caller = connect(number).await?;
        first_call(&caller).await?;
        held.push(caller);
    }
    tokio::time::sleep(SETTLE).await;
    let each = |before: f64, now: f64| (now - before) / f64::from(count);
    let bytes = each(other, resident_bytes_of(others));
    let maker_bytes = Some(each(own, resident_bytes_of(&[this()])));
    drop((first, held));
    Ok(Idle { bytes, maker_bytes })
}
