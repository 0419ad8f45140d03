//! A client that listens to server-sent events.

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use tower::ServiceExt;
use updraft_cloud::control::Control;

use super::{Client, SimCloud, client::PATIENCE};

/// One event, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Where it stands.
    pub id: String,
    /// Its type.
    pub event: String,
    /// Its data, if it is JSON.
    pub data: Value,
}

impl Event {
    /// An event of a block of lines; `None` for comments.
    fn of(block: &str) -> Option<Self> {
        let mut event = Self::default();
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut event.id),
                Some(("event", name)) => name.clone_into(&mut event.event),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap_or_default(),
                _ => {}
            }
        }
        (!event.event.is_empty()).then_some(event)
    }
}

impl Client {
    /// Listens until so many events have come, and hangs up; goes on behind `last`, if there is one. `None` if they do
    /// not come.
    pub fn listen(
        &self,
        cloud: &mut SimCloud,
        query: &str,
        last: Option<&str>,
        events: usize,
    ) -> Option<Vec<Event>> {
        let mut heard = self.begin_to_listen(cloud, query, last, events)?;
        let mut said = None;
        cloud.world.run_until(PATIENCE, |_| match heard.try_recv() {
            Err(TryRecvError::Empty) => false,
            ended => {
                said = ended.ok().flatten();
                true
            }
        });
        said
    }

    /// The same without waiting; `None` comes when the stream ends before so many events.
    pub fn begin_to_listen(
        &self,
        cloud: &mut SimCloud,
        query: &str,
        last: Option<&str>,
        events: usize,
    ) -> Option<Receiver<Option<Vec<Event>>>> {
        let node = cloud.serving()?;
        let router = cloud.world.handle::<Control>(&node)?.router();
        let mut request = Request::get(format!("/updraft/v1/events{query}"))
            .header("host", "cloud.example")
            .header("x-auth-token", self.token());
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).ok()?;
        let listening = async move {
            let mut body = router.oneshot(request).await.ok()?.into_body();
            let (mut text, mut heard) = (String::new(), Vec::new());
            while heard.len() < events {
                let frame = body.frame().await?.ok()?;
                text.push_str(&String::from_utf8_lossy(frame.data_ref()?));
                while let Some((block, rest)) = text.split_once("\n\n") {
                    heard.extend(Event::of(block));
                    text = rest.to_owned();
                }
            }
            heard.truncate(events);
            Some(heard)
        };
        cloud.world.begin(&node, listening)
    }
}
