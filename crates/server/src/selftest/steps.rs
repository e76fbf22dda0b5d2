//! The steps of the test.

use std::sync::Arc;

use http::Method;
use personium_types::{Clock, Secret};
use serde_json::{Value, json};

use super::{Scene, SelfTestReport, Step, StepOutcome, StepProblem, bodies, since};
use crate::outside::{self, OutsideResponse};

/// The name of account, role, box and collections in the cell.
const NAME: &str = "selftest";

/// The content of the file.
const CONTENT: &str = "content of a file of the self-test\n";

/// The outcome of a part of the test.
type Outcome<T = ()> = Result<T, StepProblem>;

/// Status codes that a unit without a function answers with.
const UNSUPPORTED: u16 = 501;

/// Runs the steps one after the other. After one that failed, only the removal is left.
pub(super) async fn run(scene: &Scene, report: &mut SelfTestReport, clock: &Arc<dyn Clock>) {
    let mut record = Recorder { report, clock };
    let start = clock.monotonic();
    let made = record.add("cell", start, make_cell(scene).await);
    let mut token = None;
    if made.is_some() {
        let start = clock.monotonic();
        if record
            .add("account and role", start, make_account(scene).await)
            .is_some()
        {
            let start = clock.monotonic();
            token = record.add("box and access", start, make_box(scene).await);
        }
    }
    if let Some(token) = &token {
        let start = clock.monotonic();
        record.add("file", start, use_file(scene, token).await);
        let start = clock.monotonic();
        record.add("entity", start, use_entity(scene, token).await);
        let start = clock.monotonic();
        record.add("service", start, use_service(scene, token).await);
        let start = clock.monotonic();
        record.add("rule and event", start, use_rule(scene).await);
    }
    let start = clock.monotonic();
    record.add("removal", start, remove(scene).await);
}

/// Adds steps to the report.
struct Recorder<'r> {
    report: &'r mut SelfTestReport,
    clock: &'r Arc<dyn Clock>,
}

impl Recorder<'_> {
    fn add<T>(
        &mut self,
        name: &'static str,
        start: std::time::Instant,
        outcome: Outcome<T>,
    ) -> Option<T> {
        let elapsed = since(self.clock, start);
        let (value, outcome) = match outcome {
            Ok(value) => (Some(value), StepOutcome::Passed),
            Err(StepProblem::Unsupported(why)) => (None, StepOutcome::Skipped(why)),
            Err(StepProblem::Wrong(why)) => (None, StepOutcome::Failed(why)),
        };
        self.report.0.push(Step {
            name,
            outcome,
            elapsed,
        });
        value
    }
}

/// A request of a step.
struct Call<'c> {
    method: &'static [u8],
    url: String,
    headers: &'c [(&'static str, &'c str)],
    body: String,
    expected: u16,
}

impl<'c> Call<'c> {
    fn new(method: &'static [u8], url: String, expected: u16) -> Self {
        Self {
            method,
            url,
            headers: &[],
            body: String::new(),
            expected,
        }
    }

    fn headers(self, headers: &'c [(&'static str, &'c str)]) -> Self {
        Self { headers, ..self }
    }

    fn json(self, body: &Value) -> Self {
        self.headers(&[
            ("content-type", "application/json"),
            ("accept", "application/json"),
        ])
        .text(body.to_string())
    }

    fn text(self, body: String) -> Self {
        Self { body, ..self }
    }

    /// Sends it. The answer must have the expected status.
    async fn send(self, scene: &Scene, token: &Secret<String>) -> Outcome<OutsideResponse> {
        let sent = self.send_if_supported(scene, token).await;
        sent.map_err(|problem| match problem {
            StepProblem::Unsupported(why) | StepProblem::Wrong(why) => StepProblem::Wrong(why),
        })
    }

    /// As [`Self::send`], for what a unit may not do.
    async fn send_if_supported(
        self,
        scene: &Scene,
        token: &Secret<String>,
    ) -> Outcome<OutsideResponse> {
        let shown_method = String::from_utf8_lossy(self.method);
        let what = format!("{shown_method} {}", self.url);
        let wrong = |why: String| StepProblem::Wrong(format!("{what}: {why}"));
        let method = Method::from_bytes(self.method).map_err(|error| wrong(error.to_string()))?;
        let sent = scene.send(method, self.url, token, (self.headers, self.body));
        let response = sent.await.map_err(wrong)?;
        match response.status {
            status if status == self.expected => Ok(response),
            UNSUPPORTED => Err(StepProblem::Unsupported(format!(
                "{what}: {}",
                response.shown()
            ))),
            status => Err(wrong(format!(
                "{status} instead of {}: {}",
                self.expected,
                response.shown()
            ))),
        }
    }
}

async fn make_cell(scene: &Scene) -> Outcome {
    let url = format!("{}__ctl/Cell", scene.facts.url);
    let body = json!({"Name": scene.cell_name});
    let call = Call::new(b"POST", url, 201).json(&body);
    call.send(scene, &scene.token).await?;
    let get = Call::new(
        b"GET",
        format!("{}__ctl/Cell('{}')", scene.facts.url, scene.cell_name),
        200,
    );
    get.json(&Value::Null)
        .text(String::new())
        .send(scene, &scene.token)
        .await?;
    Ok(())
}

async fn make_account(scene: &Scene) -> Outcome {
    let set = |set: &str| format!("{}__ctl/{set}", scene.cell);
    let name = json!({"Name": NAME});
    let credential = [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-personium-credential", scene.password.reveal().as_str()),
    ];
    let account = Call::new(b"POST", set("Account"), 201)
        .headers(&credential)
        .text(name.to_string());
    account.send(scene, &scene.token).await?;
    let role = Call::new(b"POST", set("Role"), 201).json(&name);
    role.send(scene, &scene.token).await?;
    let link = set(&format!("Account('{NAME}')/$links/_Role"));
    let linked = json!({"uri": set(&format!("Role('{NAME}')"))});
    let link = Call::new(b"POST", link, 204).json(&linked);
    link.send(scene, &scene.token).await?;
    Ok(())
}

/// Makes a box, gives the role access to it, and logs the account in.
async fn make_box(scene: &Scene) -> Outcome<Secret<String>> {
    let name = json!({"Name": NAME});
    let call = Call::new(b"POST", format!("{}__ctl/Box", scene.cell), 201).json(&name);
    call.send(scene, &scene.token).await?;
    let role = format!("{}__role/__/{NAME}", scene.cell);
    let access = Call::new(b"ACL", format!("{}{NAME}", scene.cell), 200)
        .headers(&[("content-type", "application/xml")])
        .text(bodies::access(&role));
    access.send(scene, &scene.token).await?;
    let login = outside::password_form(NAME, scene.password.reveal(), None);
    let token = outside::log_in(&scene.client, &scene.cell, login).await;
    token.map_err(StepProblem::Wrong)
}

async fn use_file(scene: &Scene, token: &Secret<String>) -> Outcome {
    let url = || format!("{}{NAME}/file.txt", scene.cell);
    let put = Call::new(b"PUT", url(), 201)
        .headers(&[("content-type", "text/plain")])
        .text(CONTENT.to_owned());
    put.send(scene, token).await?;
    let got = Call::new(b"GET", url(), 200).send(scene, token).await?;
    match got.body == CONTENT.as_bytes() {
        true => Ok(()),
        false => Err(StepProblem::Wrong(format!(
            "GET {}: another content than was put: {}",
            url(),
            got.shown()
        ))),
    }
}

async fn use_entity(scene: &Scene, token: &Secret<String>) -> Outcome {
    let collection = format!("{}{NAME}/odata", scene.cell);
    let make = Call::new(b"MKCOL", collection.clone(), 201)
        .headers(&[("content-type", "application/xml")])
        .text(bodies::collection("odata"));
    make.send(scene, token).await?;
    let kind = json!({"Name": "item"});
    let kind = Call::new(b"POST", format!("{collection}/$metadata/EntityType"), 201).json(&kind);
    kind.send(scene, token).await?;
    let item = json!({"__id": "one", "text": CONTENT});
    let item = Call::new(b"POST", format!("{collection}/item"), 201).json(&item);
    item.send(scene, token).await?;
    let url = format!("{collection}/item('one')");
    let get = Call::new(b"GET", url.clone(), 200).headers(&[("accept", "application/json")]);
    let got = get.send(scene, token).await?;
    let json = got.json();
    match json.pointer("/d/results/text") {
        Some(text) if *text == CONTENT => Ok(()),
        _ => Err(StepProblem::Wrong(format!(
            "GET {url}: another entity than was made: {}",
            got.shown()
        ))),
    }
}

/// Puts a script and runs it. A unit that runs none skips this.
async fn use_service(scene: &Scene, token: &Secret<String>) -> Outcome {
    let collection = format!("{}{NAME}/service", scene.cell);
    let xml = [("content-type", "application/xml")];
    let make = Call::new(b"MKCOL", collection.clone(), 201)
        .headers(&xml)
        .text(bodies::collection("service"));
    make.send(scene, token).await?;
    let put = Call::new(b"PUT", format!("{collection}/__src/hello.js"), 201)
        .headers(&[("content-type", "text/javascript")])
        .text(bodies::SCRIPT.to_owned());
    put.send(scene, token).await?;
    let routed = Call::new(b"PROPPATCH", collection.clone(), 207)
        .headers(&xml)
        .text(bodies::service("hello", "hello.js"));
    routed.send(scene, token).await?;
    let url = format!("{collection}/hello");
    let run = Call::new(b"GET", url.clone(), 200);
    let ran = run.send_if_supported(scene, token).await?;
    match ran.body == bodies::SCRIPT_ANSWER.as_bytes() {
        true => Ok(()),
        false => Err(StepProblem::Wrong(format!(
            "GET {url}: another answer than that of the script: {}",
            ran.shown()
        ))),
    }
}

/// Makes a rule that writes events to the event log, posts an event, finds it in the log, and removes the rule.
async fn use_rule(scene: &Scene) -> Outcome {
    let rules = format!("{}__ctl/Rule", scene.cell);
    let rule = json!({"Name": NAME, "EventExternal": true, "EventType": NAME, "Action": "log"});
    let make = Call::new(b"POST", rules.clone(), 201).json(&rule);
    make.send(scene, &scene.token).await?;
    // A text that is in no line of another event.
    let info = format!("event of {}", scene.cell_name);
    let event = json!({"Type": NAME, "Object": NAME, "Info": info});
    let post = Call::new(b"POST", format!("{}__event", scene.cell), 200).json(&event);
    post.send(scene, &scene.token).await?;
    let url = format!("{}__log/current/default.log", scene.cell);
    let read = Call::new(b"GET", url.clone(), 200);
    let log = read.send(scene, &scene.token).await?;
    if !String::from_utf8_lossy(&log.body).contains(&info) {
        return Err(StepProblem::Wrong(format!(
            "GET {url}: the event that was posted is not in the log: {}",
            log.shown()
        )));
    }
    let rule = format!("{rules}('{NAME}')");
    let remove = Call::new(b"DELETE", rule.clone(), 204);
    remove.send(scene, &scene.token).await?;
    let gone = Call::new(b"GET", rule, 404).headers(&[("accept", "application/json")]);
    gone.send(scene, &scene.token).await?;
    Ok(())
}

/// Removes the cell with all that is in it. A cell that was not made is no problem.
async fn remove(scene: &Scene) -> Outcome {
    let recursive = [("x-personium-recursive", "true")];
    let gone = |status: u16| status == 204 || status == 404;
    let sent = scene.send(
        Method::DELETE,
        scene.cell.clone(),
        &scene.token,
        (&recursive[..], String::new()),
    );
    let response = sent
        .await
        .map_err(|why| StepProblem::Wrong(format!("DELETE {}: {why}", scene.cell)))?;
    if !gone(response.status) {
        return Err(StepProblem::Wrong(format!(
            "DELETE {} answers {}: {}; remove the cell yourself",
            scene.cell,
            response.status,
            response.shown()
        )));
    }
    let call = Call::new(b"GET", scene.cell.clone(), 404);
    call.send(scene, &scene.token).await?;
    Ok(())
}
