//! Something between a store and its server that knows where one message ends and the next begins, and misbehaves
//! once, at a message that a test has chosen.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};
use updraft_runtime::{
    Env,
    store::{PostgresSettings, Store},
};

use super::server::Database;

/// Where a message is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// The message at which it happens; it does not arrive, nor does anything after it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// This one of those that go this way from now on, over all connections.
    Nth(Way, usize),
    /// The next that is called so: its type, and the text of a question or of what was done.
    Called(Way, &'static str),
}

/// `COMMIT`, and the answer that it is done.
pub(crate) const COMMIT: Point = Point::Called(Way::ToServer, "Q COMMIT");
pub(crate) const COMMITTED: Point = Point::Called(Way::ToClient, "C COMMIT");

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Both sides see that it has ended.
    Cut,
    /// The same, and nobody can connect until [`Proxy::clear`].
    CutForLong,
    /// The client sees that it has ended; the server waits.
    Abandoned,
    /// Both sides wait.
    Stalled,
}

#[derive(Default)]
struct State {
    plan: Option<(Point, Fate)>,
    /// Messages since the plan was made.
    passed: usize,
    struck: Option<String>,
    closed: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Proxy(Arc<Mutex<State>>);

impl Proxy {
    /// Starts one; returns how to reach the database through it.
    pub(crate) async fn start(&self, database: &Database) -> PostgresSettings {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = database.server.directory().join(".s.PGSQL.5432");
        let proxy = self.clone();
        Env::real().spawn("test-proxy", async move {
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                if proxy.0.lock().closed {
                    continue;
                }
                // Without a server there is none for the client either.
                let Ok(server) = UnixStream::connect(&socket).await else { continue };
                Env::real().spawn("test-proxy", proxy.clone().carry(client, server));
            }
        });
        let text = database.text_at("127.0.0.1", &format!("port={port}"));
        PostgresSettings::parse(&text).unwrap()
    }

    /// Has this happen at that message, once.
    pub(crate) fn plan(&self, point: Point, fate: Fate) {
        *self.0.lock() = State { plan: Some((point, fate)), ..State::default() };
    }

    /// Lets everything pass from now on; returns what the message was called at which something happened.
    pub(crate) fn clear(&self) -> Option<String> {
        std::mem::take(&mut *self.0.lock()).struck
    }

    /// What happens at this message, if anything does.
    fn fate(&self, way: Way, message: &[u8]) -> Option<Fate> {
        let mut state = self.0.lock();
        let (point, fate) = state.plan?;
        let is_it = match point {
            Point::Nth(counted, nth) if counted == way => {
                state.passed += 1;
                state.passed > nth
            }
            Point::Called(its, called) => its == way && name(message) == called,
            Point::Nth(..) => false,
        };
        if !is_it {
            return None;
        }
        state.plan = None;
        state.struck = Some(name(message));
        state.closed = fate == Fate::CutForLong;
        Some(fate)
    }

    async fn carry(self, mut client: TcpStream, mut server: UnixStream) {
        let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
        // The first message of a client has no type.
        let mut typed = false;
        loop {
            let way = tokio::select! {
                biased;
                read = client.read_buf(&mut up) => read.map(|count| (Way::ToServer, count)),
                read = server.read_buf(&mut down) => read.map(|count| (Way::ToClient, count)),
            };
            let Some((way, _)) = way.ok().filter(|(_, count)| *count > 0) else { return };
            let buffer = if way == Way::ToServer { &mut up } else { &mut down };
            while let Some(message) = take(buffer, typed || way == Way::ToClient) {
                let fate = if typed { self.fate(way, &message) } else { None };
                typed = true;
                if let Some(fate) = fate {
                    return end(fate, client, server).await;
                }
                let sent = match way {
                    Way::ToServer => server.write_all(&message).await,
                    Way::ToClient => client.write_all(&message).await,
                };
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

async fn end(fate: Fate, mut client: TcpStream, mut server: UnixStream) {
    let mut unheard = vec![0; 1 << 16];
    match fate {
        Fate::Cut | Fate::CutForLong => {}
        Fate::Abandoned => {
            drop(client);
            while server.read(&mut unheard).await.is_ok_and(|count| count > 0) {}
        }
        Fate::Stalled => while client.read(&mut unheard).await.is_ok_and(|count| count > 0) {},
    }
}

/// The next message, once it is whole.
fn take(buffer: &mut BytesMut, typed: bool) -> Option<Bytes> {
    let start = usize::from(typed);
    let length = buffer.get(start..start + 4)?;
    let end = start + u32::from_be_bytes(length.try_into().unwrap()) as usize;
    (buffer.len() >= end).then(|| buffer.split_to(end).freeze())
}

fn name(message: &[u8]) -> String {
    let (kind, text) = (char::from(message[0]), message.get(5..).unwrap_or_default());
    match kind {
        'Q' | 'C' => format!("{kind} {}", String::from_utf8_lossy(text).trim_end_matches('\0')),
        _ => kind.to_string(),
    }
}

/// A store behind a proxy, and one that is not.
pub(crate) struct Behind {
    pub(crate) database: Database,
    pub(crate) proxy: Proxy,
    pub(crate) store: Store,
    pub(crate) other: Store,
}

impl Behind {
    pub(crate) async fn a_proxy() -> Option<Self> {
        let database = Database::fresh().await?;
        let proxy = Proxy::default();
        let settings = proxy.start(&database).await;
        let store = Store::postgres(Env::real(), settings).await.unwrap();
        let other = database.store().await;
        Some(Self { database, proxy, store, other })
    }
}
