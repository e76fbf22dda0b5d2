//! The log of scripts: lines in the event log of their cell.

use std::time::Duration;

use personium_model::settings::ScriptLogLevel;
use personium_testkit::{TestUnit, wait_until};

use super::{put, run, unit, unit_with, value_of};
use crate::event::{after_level, log_lines};

const EMPTY: &str = "{status: 200, headers: {}, body: []}";

/// The text of the event log of `c`.
async fn log(unit: &TestUnit) -> String {
    let path = "c/__log/current/default.log";
    unit.admin_request("GET", path).send().await.text()
}

#[tokio::test]
async fn console_writes_lines_with_levels_and_request_key_and_the_client_gets_none() {
    let unit = unit().await;
    let script = format!(
        "function(r) {{ console.debug('hidden'); console.log('one', {{x: 1}}); console.info('two'); console.warn('three'); \
         console.error(new Error('four')); return {EMPTY}; }}"
    );
    put(&unit, "t.js", &script).await;
    let request = unit.admin_request("GET", "c/b/svc/t");
    let response = request.header("x-personium-requestkey", "key1").send();
    let response = response.await.expect(200);
    assert_eq!(response.text(), "");
    let lines = log_lines(&unit, "c").await;
    let ends = [
        ("[INFO ]", "one {\"\"x\"\":1}"),
        ("[INFO ]", "two"),
        ("[WARN ]", "three"),
        ("[ERROR]", "Error: four"),
    ];
    assert_eq!(lines.len(), ends.len(), "{lines:#?}");
    for (line, (level, text)) in lines.iter().zip(ends) {
        assert!(line.contains(level), "{line}");
        let end = format!(",\"service.log\",\"http://unit.example/c/b/svc/t\",\"{text}\"");
        assert!(line.ends_with(&end), "{line}");
        assert!(
            after_level(line).starts_with("\"key1\",\"false\","),
            "{line}"
        );
    }
}

#[tokio::test]
async fn level_of_the_setting_decides_what_is_stored() {
    let levels = [
        (ScriptLogLevel::Off, 0),
        (ScriptLogLevel::Error, 2),
        (ScriptLogLevel::Warn, 3),
        (ScriptLogLevel::Info, 4),
        (ScriptLogLevel::Debug, 5),
    ];
    for (level, expected) in levels {
        let unit = unit_with(|settings| settings.scripts.log = level).await;
        let script = "function(r) { console.debug(1); console.log(2); console.warn(3); console.error(4); throw 5; }";
        assert_eq!(run(&unit, script).await.status, 500);
        let lines = log_lines(&unit, "c").await;
        assert_eq!(lines.len(), expected, "{level:?}: {lines:#?}");
    }
}

#[tokio::test]
async fn failure_is_logged_with_file_and_line_which_the_client_does_not_get() {
    let unit = unit().await;
    put(&unit, "part.js", "exports.f = function() {\n  inner();\n};").await;
    for (script, place) in [
        ("function(r) {\n  throw new TypeError();\n}", "(t.js:2:"),
        ("function(r) {\n  require('part').f();\n}", "(part.js:2:"),
        ("function(r) {\n  return a b;\n}", "t.js:2"),
        (
            "async function(r) {\n\n  throw new Error('late');\n}",
            "(t.js:3:",
        ),
        ("function(r) { return 1; }", "\"t.js: not NativeObject\""),
    ] {
        let response = run(&unit, script).await;
        assert_eq!(response.status, 500, "{script}");
        let shown = response.text();
        assert!(
            !shown.contains("t.js") && !shown.contains(" at "),
            "{shown}"
        );
        let log = log(&unit).await;
        let (_, last) = log.rsplit_once("Z,[ERROR],").unwrap();
        assert!(last.contains("\"service.error\""), "{script}: {last}");
        assert!(last.contains(place), "{script}: {last}");
    }
}

#[tokio::test]
async fn failure_after_the_beginning_of_the_response_is_logged() {
    let unit = unit().await;
    let script = "function(r) { return {status: 200, headers: {}, body: {forEach: function(f) { f('x'.repeat(100000)); throw 'too late'; }}}; }";
    put(&unit, "t.js", script).await;
    let request = unit.admin_request("GET", "c/b/svc/t");
    let _ = tokio::spawn(async move { request.send().await }).await;
    wait_until("the line of the failure", async || {
        log(&unit).await.contains("t.js: too late")
    })
    .await;
}

#[tokio::test]
async fn lines_of_a_script_that_is_stopped_are_kept() {
    let unit = unit_with(|settings| settings.scripts.limits.timeout = Duration::from_secs(1)).await;
    for script in [
        "function(r) { console.log('before'); for (;;); }",
        // It does not look at the time.
        "function(r) { console.log('stuck'); Array.prototype.shift.call({length: 3000000}); for (;;); }",
    ] {
        wait_until("an end by the time limit", async || {
            run(&unit, script).await.text() == "Script TimeOut"
        })
        .await;
    }
    let log = log(&unit).await;
    for text in [
        "\"before\"",
        "\"stuck\"",
        "\"t.js: the script did not end in time\"",
    ] {
        assert!(log.contains(text), "{text} in {log}");
    }
}

#[tokio::test]
async fn million_lines_of_a_hostile_script_are_bounded() {
    let unit =
        unit_with(|settings| settings.scripts.limits.timeout = Duration::from_hours(1)).await;
    let script = format!(
        "function(r) {{ for (let i = 0; i < 1000000; i += 1) console.log(i); return {EMPTY}; }}"
    );
    assert_eq!(run(&unit, &script).await.status, 200);
    let lines = log_lines(&unit, "c").await;
    assert!((100..300).contains(&lines.len()), "{}", lines.len());
    let last = lines.last().unwrap();
    assert!(
        last.contains("[WARN ]") && last.contains("more lines were left out"),
        "{last}"
    );
    // One long line counts as much as many short ones.
    let script = format!(
        "function(r) {{ for (;;) {{ console.log('y'.repeat(9000)); if (r.n > 100) return {EMPTY}; r.n = (r.n || 0) + 1; }} }}"
    );
    assert_eq!(run(&unit, &script).await.status, 200);
    assert!(log(&unit).await.len() < 200_000);
    // The next request has its own share.
    value_of(&unit, "(console.log('again'), 1)").await;
    assert!(log(&unit).await.contains("\"again\""));
}

#[tokio::test]
async fn script_cannot_forge_lines() {
    let unit = unit().await;
    let script = format!(
        "function(r) {{ console.log('x\"\\n2024-01-31T09:15:30Z,[INFO ],\"k\",\"true\"'); return {EMPTY}; }}"
    );
    assert_eq!(run(&unit, &script).await.status, 200);
    let log = log(&unit).await;
    // The text is one value in one line: its quotes are doubled, its line break is escaped.
    assert!(
        log.ends_with("\"x\"\"\\n2024-01-31T09:15:30Z,[INFO ],\"\"k\"\",\"\"true\"\"\"\n"),
        "{log}"
    );
}
