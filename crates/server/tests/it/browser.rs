//! Pages of cells in a real browser (Chromium), where cell URLs are paths and all cells have one origin.

use personium_testkit::{ProcessUnit, TestClient};
use serde_json::json;

use crate::authorization_code::{CHALLENGE, VERIFIER};
use crate::external_programs::{is_installed, run_node};

const BROWSER: &str = "chromium";
const CONTENT: &str = "for who may read";

/// Puts a page that everybody may read into the main box of a cell.
async fn put_page(unit: &TestClient, path: &str, media_type: &str, content: String) {
    unit.admin_request("PUT", path)
        .header("content-type", media_type)
        .body(content)
        .send()
        .await
        .expect_success();
}

/// The application: a page with a link to the login, and the page that the login leads to, which gets a token as a client
/// without secret and reads a file with it.
async fn make_app(unit: &TestClient) {
    unit.create_cell("app").await;
    unit.grant_to_everybody("app/__", &["D:read"]).await;
    let (app, cell) = (unit.cell_url("app"), unit.cell_url("vb"));
    let login = format!(
        "{cell}__authz?response_type=code&client_id={app}&redirect_uri={app}__/back.html&state=s\
         &code_challenge={CHALLENGE}&code_challenge_method=S256"
    );
    let login = login.replace('&', "&amp;");
    let start = format!("<!DOCTYPE html><title>start</title><a id=go href=\"{login}\">log in</a>");
    put_page(unit, "app/__/start.html", "text/html", start).await;
    let back = format!(
        "<!DOCTYPE html><title>working</title><script>(async () => {{\
         const code = new URLSearchParams(location.search).get('code');\
         const body = new URLSearchParams({{ grant_type: 'authorization_code', code, client_id: '{app}',\
           code_verifier: '{VERIFIER}' }});\
         const tokens = await (await fetch('{cell}__token', {{ method: 'POST', body }})).json();\
         const headers = {{ authorization: 'Bearer ' + tokens.access_token }};\
         document.title = await (await fetch('{cell}box/file', {{ headers }})).text();\
         }})().catch(error => {{ document.title = 'failed: ' + error }})</script>"
    );
    put_page(unit, "app/__/back.html", "text/html", back).await;
    let installed = json!({"Name": "installed", "Schema": app}).to_string();
    unit.create("vb/__ctl/Box", &installed).await;
}

/// The cell of the attacker: pages in which browsers run scripts, also at its root.
async fn make_attacker(unit: &TestClient) {
    unit.create_cell("va").await;
    unit.grant_to_everybody("va/__", &["D:read"]).await;
    let xhtml = "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title>x</title></head><body></body></html>";
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>1</script></svg>";
    for (name, media_type, content) in [
        (
            "attack.html",
            "text/html",
            "<!DOCTYPE html><title>x</title><body>",
        ),
        ("attack.xhtml", "application/xhtml+xml", xhtml),
        ("attack.svg", "image/svg+xml", svg),
        ("worker.js", "text/javascript", "1"),
        ("back.html", "text/html", "<!DOCTYPE html><title>x</title>"),
    ] {
        put_page(
            unit,
            &format!("va/__/{name}"),
            media_type,
            content.to_owned(),
        )
        .await;
    }
    let page = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                <p:relayhtmlurl>personium-localcell:/__/attack.html</p:relayhtmlurl></D:prop></D:set></D:propertyupdate>";
    unit.admin().call("PROPPATCH", "va/", page).await;
}

async fn try_in_browser(unit: &ProcessUnit, is_sandboxed: bool) {
    let owner = unit.create_cell_with_owner("vb").await;
    owner.call("PUT", "vb/box/file", CONTENT).await;
    make_app(unit).await;
    make_attacker(unit).await;
    let input = json!({
        "browser": format!("/usr/bin/{BROWSER}"),
        "unit": unit.url(),
        "sandboxed": is_sandboxed,
        "username": "me",
        "password": personium_testkit::PASSWORD,
        "content": CONTENT,
    });
    let unit_url = unit.url().to_owned();
    let done = tokio::task::spawn_blocking(move || run_node("cells_in_browser.mjs", &input)).await;
    assert_eq!(done.unwrap()["done"], true, "{unit_url}");
}

#[tokio::test]
async fn page_of_one_cell_gets_nothing_from_another_and_apps_log_in() {
    if is_installed(BROWSER) {
        try_in_browser(&crate::unit().start(), true).await;
    }
}

#[tokio::test]
async fn requests_of_a_page_that_is_not_kept_apart_do_not_log_in_by_cookie() {
    if is_installed(BROWSER) {
        let unit = crate::unit().setting("io.personium.core.security.content.sandbox", "never");
        try_in_browser(&unit.start(), false).await;
    }
}

/// A page that logs in with what its fragment says, and shows the events of files in two lists.
const LISTENING_PAGE: &str = r#"<!DOCTYPE html><title>working</title><ul id=socket></ul><ul id=stream></ul><script>
const cell = 'CELL', kinds = 'davfile.create';
const show = (list, event) => {
  const item = document.createElement('li');
  item.textContent = `${event.Type} ${event.Object}`;
  document.getElementById(list).append(item);
};
const listenBySocket = () => new Promise((ready, failed) => {
  const socket = window.socket = new WebSocket(cell.replace(/^http/, 'ws') + '__event');
  socket.onopen = () => socket.send(JSON.stringify({ AccessToken: window.token }));
  socket.onclose = ({ code, reason }) => failed(new Error(`${code} ${reason}`));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.Response === 'AccessToken') socket.send(JSON.stringify({ Subscribe: { Type: kinds, Object: '*' } }));
    else if (message.Response === 'Subscribe') ready();
    else show('socket', message);
  };
});
const listenByStream = async () => {
  const headers = { accept: 'text/event-stream', authorization: 'Bearer ' + window.token };
  const response = await fetch(`${cell}__event?type=${kinds}&object=*`, { headers });
  if (response.status !== 200) throw new Error(await response.text());
  (async () => {
    let rest = '';
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split('\n').filter(line => line.startsWith('data:')).map(line => line.slice(5)).join('\n');
        if (data.trim()) show('stream', JSON.parse(data));
      }
    }
  })();
};
(async () => {
  const body = new URLSearchParams(location.hash.slice(1));
  body.set('grant_type', 'password');
  window.token = (await (await fetch(cell + '__token', { method: 'POST', body })).json()).access_token;
  await listenBySocket();
  await listenByStream();
  document.title = 'listening';
})().catch(error => { document.title = 'failed: ' + error });
</script>"#;

#[tokio::test]
async fn page_shows_events_of_a_web_socket_and_of_server_sent_events() {
    if !is_installed(BROWSER) {
        return;
    }
    let unit = crate::unit().start();
    unit.create_cell_with_owner("ev").await;
    let may = ["p:event", "p:event-read"];
    unit.grant_by_new_role("ev", ("me", "listener"), &may).await;
    unit.grant_to_everybody("ev/__", &["D:read"]).await;
    let page = LISTENING_PAGE.replace("CELL", &unit.cell_url("ev"));
    put_page(&unit, "ev/__/events.html", "text/html", page).await;
    let input = json!({
        "browser": format!("/usr/bin/{BROWSER}"),
        "cell": unit.cell_url("ev"),
        "page": format!("{}__/events.html", unit.cell_url("ev")),
        "username": "me",
        "password": personium_testkit::PASSWORD,
    });
    let done = tokio::task::spawn_blocking(move || run_node("events_in_browser.mjs", &input)).await;
    assert_eq!(done.unwrap()["done"], true);
}
