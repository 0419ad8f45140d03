//! The conversation with the parent: requests in, answers and events out, a JSON object a line.
//!
//! Promises exactly one answer to each request with an id, no later than its deadline; a line that
//! is no request costs only itself. Never waits for an operation before it reads the next line.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc, oneshot},
};
use updraft_protocol::hypervisor::{Answer, DriverError, Op, Outgoing, Request};
use updraft_runtime::env::{BoxFuture, Env};

/// Longest request line; a guest with a hundred disks takes a tenth of it.
const LINE_MAX_BYTES: u64 = 1024 * 1024;

/// Requests answered later, at once; a compute node works on far fewer guests at a time.
const REQUESTS_MAX: u32 = 256;

/// Lines on their way to the parent.
pub(crate) const OUTGOING_MAX: usize = 1024;

/// Longest wait for a request, whatever it says: no operation here takes that long.
const DEADLINE_MAX: Duration = Duration::from_secs(3600);

/// How long requests under way may go on after the parent has gone; the next driver of this host
/// waits for it.
const DRAIN: Duration = Duration::from_secs(5);

/// What carries out operations.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Carries one out. The session gives up the future at the call's deadline.
    fn serve(
        self: Arc<Self>,
        op: Op,
        call: Call,
    ) -> BoxFuture<'static, Result<Answer, DriverError>>;
}

/// What an operation knows of the request that it serves.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// When the asker stops waiting, on `Env::now`'s clock.
    pub(crate) deadline: Duration,
    /// How long it waits in all.
    pub(crate) deadline_ms: u32,
    begun: Arc<AtomicBool>,
}

impl Call {
    /// A call that ends so long after `now`.
    pub(crate) fn new(now: Duration, deadline_ms: u32) -> Self {
        let limit = Duration::from_millis(deadline_ms.into()).min(DEADLINE_MAX);
        Self { deadline: now + limit, deadline_ms, begun: Arc::default() }
    }

    /// From here on nobody can say that nothing happened.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// The outcome when the deadline passes.
    fn overdue(&self) -> DriverError {
        if self.begun.load(Ordering::Relaxed) {
            return DriverError::Unknown(self.deadline_ms);
        }
        DriverError::Unavailable(format!(
            "it had not begun after {} ms: something earlier is still under way",
            self.deadline_ms
        ))
    }
}

/// Reads requests until the parent closes its end, then lets the last ones finish for a moment.
pub(crate) async fn run<S: Serve>(
    env: Env,
    mut input: impl AsyncBufRead + Send + Unpin,
    out: mpsc::Sender<Outgoing>,
    server: Arc<S>,
) {
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX as usize));
    loop {
        match read_line(&mut input).await {
            Ok(Line::Whole(line)) => {
                if let Some(request) = parse(&line, &out).await {
                    start(&env, &slots, request, &out, &server).await;
                }
            }
            Ok(Line::TooLong) => tracing::warn!("a request longer than {LINE_MAX_BYTES} bytes"),
            Ok(Line::End) => break,
            Err(error) => {
                tracing::error!(%error, "the parent's requests cannot be read");
                break;
            }
        }
    }
    if env.timeout(DRAIN, slots.acquire_many(REQUESTS_MAX)).await.is_none() {
        tracing::warn!("the parent is gone; what is still under way is left as it is");
    }
}

/// Writes answers and events, until `closing` says that there will be no more or the parent does not
/// listen; what was said before `closing` is written.
pub(crate) async fn write_all(
    mut from: mpsc::Receiver<Outgoing>,
    mut to: impl AsyncWrite + Send + Unpin,
    mut closing: oneshot::Receiver<()>,
) {
    loop {
        let next = tokio::select! {
            biased;
            outgoing = from.recv() => outgoing,
            _ = &mut closing, if !from.is_closed() => {
                from.close();
                continue;
            }
        };
        let Some(outgoing) = next else { return };
        if let Err(error) = write(&mut to, &outgoing).await {
            tracing::error!(%error, "the parent does not listen");
            return;
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), outgoing: &Outgoing) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(outgoing)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

async fn start<S: Serve>(
    env: &Env,
    slots: &Arc<Semaphore>,
    request: Request,
    out: &mpsc::Sender<Outgoing>,
    server: &Arc<S>,
) {
    let Ok(slot) = slots.clone().try_acquire_owned() else {
        let full = format!("{REQUESTS_MAX} requests are under way already");
        return answer(out, request.id, Err(DriverError::Unavailable(full))).await;
    };
    let (server, out, clock) = (server.clone(), out.clone(), env.clone());
    let call = Call::new(env.now(), request.deadline_ms);
    let limit = call.deadline.saturating_sub(env.now());
    env.spawn("request", async move {
        let work = server.serve(request.op, call.clone());
        let result = clock.timeout(limit, work).await.unwrap_or_else(|| Err(call.overdue()));
        answer(&out, request.id, result).await;
        drop(slot);
    });
}

async fn answer(out: &mpsc::Sender<Outgoing>, id: u64, result: Result<Answer, DriverError>) {
    if out.send(Outgoing::Answer { id, result }).await.is_err() {
        tracing::debug!(id, "an answer that nobody waits for");
    }
}

/// What every request has, also one of a version that this program does not know.
#[derive(Deserialize)]
struct AnyRequest {
    id: u64,
}

async fn parse(line: &[u8], out: &mpsc::Sender<Outgoing>) -> Option<Request> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    match serde_json::from_slice(line) {
        Ok(request) => Some(request),
        Err(error) => {
            tracing::warn!(%error, "a line that is no request");
            if let Ok(AnyRequest { id }) = serde_json::from_slice(line) {
                let words = format!("the request is not understood: {error}");
                answer(out, id, Err(DriverError::Failed(words))).await;
            }
            None
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        line.clear();
        let read = input.take(LINE_MAX_BYTES).read_until(b'\n', &mut line).await?;
        let whole = line.last() == Some(&b'\n');
        match (read, whole, too_long) {
            (0, _, false) => return Ok(Line::End),
            (0, _, true) | (_, true, true) => return Ok(Line::TooLong),
            (_, true, false) => return Ok(Line::Whole(line)),
            // The end of the input is the end of a line as well.
            (_, false, false) if (read as u64) < LINE_MAX_BYTES => return Ok(Line::Whole(line)),
            (_, false, _) => too_long = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use updraft_protocol::hypervisor::GuestRef;
    use uuid::Uuid;

    use super::*;

    /// Lists at once; starts take for ever; stops never begin.
    struct Scripted;

    impl Serve for Scripted {
        fn serve(
            self: Arc<Self>,
            op: Op,
            call: Call,
        ) -> BoxFuture<'static, Result<Answer, DriverError>> {
            Box::pin(async move {
                match op {
                    Op::Start(_) => {
                        call.begin();
                        std::future::pending().await
                    }
                    Op::Stop { .. } => std::future::pending().await,
                    _ => Ok(Answer::Guests(Vec::new())),
                }
            })
        }
    }

    fn guest() -> GuestRef {
        GuestRef { guest: Uuid::from_u128(1), generation: 1 }
    }

    fn line(id: u64, op: Op) -> String {
        serde_json::to_string(&Request { id, deadline_ms: 100, op }).unwrap() + "\n"
    }

    /// Feeds these lines to a session and collects what it says.
    async fn talk(lines: String) -> Vec<Outgoing> {
        let (out, mut said) = mpsc::channel(OUTGOING_MAX);
        let input = std::io::Cursor::new(lines.into_bytes());
        run(Env::real(), input, out, Arc::new(Scripted)).await;
        let mut all = Vec::new();
        while let Some(outgoing) = said.recv().await {
            all.push(outgoing);
        }
        all
    }

    fn answered(id: u64, result: Result<Answer, DriverError>) -> Outgoing {
        Outgoing::Answer { id, result }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_answered_under_its_id() {
        let said = talk(line(7, Op::List)).await;
        assert_eq!(said, [answered(7, Ok(Answer::Guests(Vec::new())))]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_hangs_is_unknown_and_holds_up_nobody() {
        let said = talk(line(1, Op::Start(guest())) + &line(2, Op::List)).await;
        let expected = [
            answered(2, Ok(Answer::Guests(Vec::new()))),
            answered(1, Err(DriverError::Unknown(100))),
        ];
        assert_eq!(said, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_never_began_is_not_unknown() {
        let said = talk(line(1, Op::Stop { guest: guest(), grace_ms: 0 })).await;
        let [Outgoing::Answer { id: 1, result: Err(DriverError::Unavailable(_)) }] = &said[..]
        else {
            panic!("{said:?}")
        };
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_of_an_unknown_kind_is_refused_under_its_id() {
        let said = talk("{\"id\":3,\"deadline_ms\":1,\"op\":\"Levitate\"}\n".into()).await;
        let [Outgoing::Answer { id: 3, result: Err(DriverError::Failed(words)) }] = &said[..]
        else {
            panic!("{said:?}")
        };
        assert!(words.contains("Levitate"), "{words}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_no_request_costs_only_itself() {
        let said = talk(format!("garbage\n\n{}", line(4, Op::List))).await;
        assert_eq!(said, [answered(4, Ok(Answer::Guests(Vec::new())))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_beyond_the_limit_is_skipped_whole() {
        let long = "x".repeat(usize::try_from(LINE_MAX_BYTES).unwrap() * 2 + 5);
        let said = talk(format!("{long}\n{}", line(5, Op::List))).await;
        assert_eq!(said, [answered(5, Ok(Answer::Guests(Vec::new())))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_the_limit_is_refused_at_once() {
        let hanging: String =
            (0..u64::from(REQUESTS_MAX)).map(|id| line(id, Op::Start(guest()))).collect();
        let said = talk(hanging + &line(1000, Op::List)).await;
        let Outgoing::Answer { id: 1000, result: Err(DriverError::Unavailable(_)) } = &said[0]
        else {
            panic!("{:?}", said[0])
        };
    }

    #[tokio::test]
    async fn what_was_said_before_the_end_is_written_a_line_each() {
        let (out, said) = mpsc::channel(2);
        out.send(answered(1, Ok(Answer::Console("two\nlines".into())))).await.unwrap();
        let (close, closing) = oneshot::channel();
        close.send(()).unwrap();
        let mut written = Vec::new();
        write_all(said, &mut written, closing).await;
        let expected =
            "{\"Answer\":{\"id\":1,\"result\":{\"Ok\":{\"Console\":\"two\\nlines\"}}}}\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
