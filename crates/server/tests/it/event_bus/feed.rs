//! The feed of a unit as the bus, read by clients of Server-Sent Events, which connect again with the last id that they got.

use std::cell::Cell;

use personium_testkit::{EventStream, StreamedEvent, StubServer, TestClient, wait_until};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{BusEvent, Refusal, post};

const REFUSING_RULE: &str = "refusing";
/// The information of events of which fewer than forty are kept: each character has six bytes in JSON.
const LARGE: &str = "\u{1}";
const LARGE_CHARS: usize = 50_000;

/// A client that listens to one cell.
struct CellListener {
    cell: &'static str,
    stream: Option<EventStream>,
    /// The id from which it resumes.
    last_id: Option<String>,
}

impl CellListener {
    fn new(cell: &'static str) -> Self {
        Self {
            cell,
            stream: None,
            last_id: None,
        }
    }

    /// The next event; connects again when the stream has ended.
    async fn next(&mut self, admin: &impl Fn() -> TestClient) -> StreamedEvent {
        loop {
            if self.stream.is_none() {
                self.connect(admin).await;
            }
            if let Some(stream) = &mut self.stream {
                let event = stream.next().await;
                self.last_id = Some(stream.last_id().to_owned());
                match event {
                    Some(event) => return event,
                    None => self.stream = None,
                }
            }
        }
    }

    /// Connects as soon as the unit answers.
    async fn connect(&mut self, admin: &impl Fn() -> TestClient) {
        let opened = Cell::new(None);
        wait_until("a client can listen", async || {
            let last_id = self.last_id.as_deref();
            let stream = EventStream::try_open(&admin(), self.cell, last_id).await;
            let is_open = stream.is_some();
            opened.set(stream);
            is_open
        })
        .await;
        self.stream = opened.into_inner();
    }
}

/// Clients that listen to the cells `c` and `d`, and a receiver of requests of rules that refuses all.
pub(super) struct FeedListeners {
    listeners: [CellListener; 2],
    refusing: Option<JoinHandle<()>>,
}

impl Drop for FeedListeners {
    fn drop(&mut self) {
        if let Some(refusing) = &self.refusing {
            refusing.abort();
        }
    }
}

impl FeedListeners {
    pub(super) fn new() -> Self {
        Self {
            listeners: ["c", "d"].map(CellListener::new),
            refusing: None,
        }
    }

    /// Begins to listen.
    pub(super) async fn listen(&mut self, admin: &impl Fn() -> TestClient) {
        for listener in &mut self.listeners {
            listener.connect(admin).await;
            let stream = listener.stream.as_mut().expect("the unit runs");
            stream.wait_for_id().await;
            listener.last_id = Some(stream.last_id().to_owned());
        }
    }

    /// The next event of one of the cells.
    pub(super) async fn next(&mut self, admin: &impl Fn() -> TestClient) -> BusEvent {
        let [c, d] = &mut self.listeners;
        let (cell, event) = tokio::select! {
            event = c.next(admin) => ("c", event),
            event = d.next(admin) => ("d", event),
        };
        assert_eq!(event.kind, "message", "{event:?}");
        let json = serde_json::from_str(&event.data).unwrap();
        BusEvent::new(&admin().cell_url(cell), sortable(&event.id), &json)
    }

    /// Makes a rule that relays events whose information begins with this text to a receiver that refuses them.
    pub(super) async fn refuse(&mut self, admin: &TestClient, beginning: &str) -> Refusal {
        let receiver = StubServer::start().await;
        let rule = json!({
            "Name": REFUSING_RULE, "EventExternal": true, "EventInfo": beginning, "Action": "relay",
            "TargetUrl": receiver.url(),
        });
        admin.create("c/__ctl/Rule", &rule.to_string()).await;
        self.refusing = Some(tokio::spawn(async move {
            loop {
                receiver.receive("413 Payload Too Large", "").await;
            }
        }));
        Refusal {
            action: "relay",
            rule: REFUSING_RULE.into(),
            reason: "413",
        }
    }

    /// Lets the client of `c` stay away until more was posted than is kept: it is told that events are missing, and then gets new
    /// ones.
    pub(super) async fn check_more_than_is_kept(&mut self, admin: &impl Fn() -> TestClient) {
        let [listener, _] = &mut self.listeners;
        let large = LARGE.repeat(LARGE_CHARS);
        listener.stream = None;
        let last_id = listener.last_id.clone();
        let told = loop {
            assert!(post(&admin(), "c", &large).await);
            let mut late = EventStream::try_open(&admin(), "c", last_id.as_deref()).await;
            let first = late.as_mut().expect("the unit runs").next().await;
            let first = first.expect("the stream ended");
            if first.kind != "message" {
                break (late, first);
            }
        };
        let (Some(mut late), first) = told else {
            unreachable!("it was open");
        };
        assert_eq!((&*first.kind, &*first.data), ("gap", "events were missed"));
        assert!(post(&admin(), "c", "new").await);
        loop {
            let (_, event) = late.next_of_cell().await;
            if event["Info"] == "new" {
                break;
            }
        }
    }
}

/// The id of an event as a text that sorts as the event: the numbers of the commit and of the event in it.
fn sortable(id: &str) -> String {
    let mut parts = id.split('-').map(|part| part.parse::<u64>().unwrap());
    let mut next = || parts.next().unwrap();
    format!("{:020}-{:010}", next(), next())
}
