//! Extensions of scripts: built as docs/plugins.md says, and called by the script of a service.

use std::fs;
use std::time::{Duration, Instant};

use crate::plugins::{PluginPlace, block_with};
use crate::script_workers::{run, start_with_script};
use crate::storage_unit::StorageUnit;
use crate::wasm_plugins::{Language, build, template};

const JAVASCRIPT: Language = Language {
    name: "extension-javascript",
    command: "--js plugins/javascript/extension.js",
    source: "javascript/extension.js",
};
const RUST: Language = Language {
    name: "extension-rust",
    command: "-o module.wasm plugins/rust/extension.rs",
    source: "rust/extension.rs",
};
const C: Language = Language {
    name: "extension-c",
    command: "-o module.wasm plugins/c/extension.c",
    source: "c/extension.c",
};
const PYTHON: Language = Language {
    name: "extension-python",
    command: "--python-path plugins/python extension",
    source: "python/extension.py",
};
/// The time that a unit may take to follow a change of its folder of plugins.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(120);

/// The file of the page for an extension of this class.
fn description(class: &str) -> String {
    let text = block_with("toml", "extension = \"Sample\"");
    // No machine is too slow for the test.
    text.replace("\"Sample\"", &format!("{class:?}")).replace(
        "[wasm.settings]",
        "[wasm]\ntimeout_ms = 20000\n[wasm.settings]",
    )
}

async fn unit(place: &PluginPlace, isolation: &str) -> StorageUnit {
    let unit = crate::unit()
        .setting("io.personium.core.plugin.path", place.path("").display())
        .setting("io.personium.core.engine.script.isolation", isolation)
        .setting("io.personium.core.engine.script.calls.maxNum", 50);
    start_with_script(unit).await
}

/// Status and body of the response of a script that returns what these statements put into `out`.
async fn outcome(unit: &StorageUnit, code: &str) -> (u16, String) {
    let code = format!(
        "var out = []; {code}
         return {{status: 200, headers: {{'Content-Type': 'application/json'}}, body: [JSON.stringify(out)]}};"
    );
    run(unit, &code).await
}

/// The text of the error of each expression.
fn caught(expressions: &[&str]) -> String {
    let each = |code: &&str| {
        format!(
            "try {{ out.push([{code}]); }} catch (e) {{ out.push(e.name + ' ' + (e instanceof Error) + ' ' + e.message); }}\n"
        )
    };
    expressions.iter().map(each).collect()
}

const CALLS: &str = "
  var C = _p.extension.CLASS, plain = new C(), warm = new C('Good morning', {a: [1]});
  out.push(plain.greet('Alice'), warm.greet('\\u65e5\\u672c'), plain.total(1, 2.5, -3), plain.total());
  out.push(plain.shout(request.input.stream()).constructor === undefined);
  _p.localbox().put({path: 'file', contentType: 'text/plain', data: 'stored \\u00e9'});
  _p.localbox().put({path: 'copy', contentType: 'text/plain', data: plain.shout(_p.localbox().getStream('file'))});
  out.push(_p.localbox().getString('copy'), plain instanceof C, C.name, Object.keys(_p).indexOf('extension CLASS'));";

const FAILURES: [(&str, &str); 8] = [
    ("plain.total('x')", "Error true total adds numbers"),
    (
        "plain.greet(1)",
        "Error true greet does not take these arguments",
    ),
    (
        "plain.greet(function () {})",
        "Error true An argument is neither data nor a stream.",
    ),
    (
        "plain.greet('x'.repeat(2e6))",
        "Error true the arguments of an extension have more than 1048576 bytes",
    ),
    ("C()", "Error true CLASS is a constructor"),
    (
        "new C(_p.localbox().getStream('file'))",
        "Error true A stream is read once: it is no argument of a constructor.",
    ),
    ("plain.nothing()", "TypeError true not a function"),
    (
        "plain.greet.call({}, 'x')",
        "_p.PersoniumException true Invalid",
    ),
];

async fn call_all(unit: &StorageUnit, class: &str) {
    let (status, text) = outcome(unit, &CALLS.replace("CLASS", class)).await;
    let expected = format!(
        r#"["Hello, Alice!","Good morning, 日本!",0.5,0,false,"STORED é",true,"{class}",-1]"#
    );
    assert_eq!((status, text), (200, expected));
    let expressions = FAILURES.map(|(expression, _)| expression);
    let code = format!(
        "var C = _p.extension.{class}, plain = new C(); {}",
        caught(&expressions)
    );
    let (status, text) = outcome(unit, &code).await;
    let found: Vec<String> = serde_json::from_str(&text).unwrap_or_default();
    let expected = FAILURES.map(|(_, message)| message.replace("CLASS", class));
    assert_eq!(
        (status, found.as_slice()),
        (200, expected.as_slice()),
        "{text}"
    );
}

#[tokio::test]
async fn extensions_of_the_page_are_called_on_threads_and_in_workers() {
    let place = PluginPlace::new();
    for (language, class) in [(JAVASCRIPT, "InJavaScript"), (RUST, "InRust")] {
        let component = build(&language, &template(&language));
        place.write(&format!("{class}.wasm"), component);
        place.write(&format!("{class}.toml"), description(class));
    }
    let (status, text) = place.run(&["check"]);
    assert_eq!(status, Some(0), "{text}");
    let call = ["test", "InRust", "method=greet", "arguments=[\"Alice\"]"];
    assert_eq!(
        place.run(&call),
        (Some(0), "\"Hello, Alice!\"\n".to_owned())
    );
    assert_eq!(
        place
            .run(&["test", "InRust", "method=total", "arguments=[1,\"x\"]"])
            .0,
        Some(1)
    );
    let (_, text) = place.run(&["list", "--json"]);
    assert!(text.contains(r#""extension":"InJavaScript""#), "{text}");
    for isolation in ["thread", "process"] {
        let unit = unit(&place, isolation).await;
        for class in ["InJavaScript", "InRust"] {
            call_all(&unit, class).await;
        }
        // The script of the page.
        let script = block_with("javascript", "_p.extension.Sample").replace("Sample", "InRust");
        unit.put_file("c/b/svc/__src/run.js", &script).await;
        let response = unit.admin_request("GET", "c/b/svc/x").send().await;
        assert_eq!(response.text(), "Good morning, Alice!");
        // A call is one of the requests that a script may send.
        let many = "function (r) { var s = new _p.extension.InRust(); for (;;) s.total(); }";
        unit.put_file("c/b/svc/__src/run.js", many).await;
        let response = unit.admin_request("GET", "c/b/svc/x").send().await;
        let text = response.text();
        assert_eq!(response.status, 500, "{text}");
        assert!(text.contains("more than 50 requests"), "{text}");
    }
}

/// Their code differs from that of the others, the unit does not: one isolation is enough.
#[tokio::test]
async fn extensions_in_c_and_python_have_the_methods_of_the_page() {
    let place = PluginPlace::new();
    for (language, class) in [(C, "InC"), (PYTHON, "InPython")] {
        place.write(
            &format!("{class}.wasm"),
            build(&language, &template(&language)),
        );
        place.write(&format!("{class}.toml"), description(class));
    }
    let unit = unit(&place, "thread").await;
    for class in ["InC", "InPython"] {
        call_all(&unit, class).await;
    }
}

/// Bodies of methods that do harm, by class.
const HOSTILE: [(&str, &str); 5] = [
    ("Endless", "for (;;);"),
    (
        "Memory",
        "const all = []; for (;;) all.push(new Array(1e5).fill(all));",
    ),
    ("Recursion", "(function f() { return f() + 1; })();"),
    ("Huge", "return { tag: 'text', val: 'x'.repeat(5e6) };"),
    ("Lies", "return { tag: 'json', val: '{' };"),
];

#[tokio::test]
async fn hostile_extensions_end_with_codes_while_others_are_called() {
    let place = PluginPlace::new();
    let bodies: String = HOSTILE
        .iter()
        .map(|(class, body)| format!("if (call.extension === '{class}') {{ {body} }}\n"))
        .collect();
    let source = format!("export const methods = {{ invoke(call) {{ {bodies} }} }};");
    let component = build(&JAVASCRIPT, &source);
    for (class, _) in HOSTILE {
        place.write(&format!("{class}.wasm"), &component);
        place.write(&format!("{class}.toml"), description(class));
    }
    place.write("Good.wasm", build(&RUST, &template(&RUST)));
    place.write("Good.toml", description("Good"));
    place.write("a-broken.wasm", "no component");
    place.write("a-broken.toml", description("Broken"));
    let unit = unit(&place, "thread").await;
    let client = &unit;
    let calls = HOSTILE.map(|(class, _)| async move {
        let code = format!("new _p.extension.{class}().greet('x');");
        (class, outcome(client, &code).await)
    });
    let others = async {
        for _ in 0..5 {
            let (status, text) =
                outcome(client, "out.push(new _p.extension.Good().total(1, 2));").await;
            assert_eq!((status, text.as_str()), (200, "[3]"));
        }
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), others);
    for (class, (status, text)) in answers {
        let expected = format!("PR500-PL-0002: The extension [{class}] failed.");
        assert!(
            status == 500 && text.contains(&expected),
            "{class}: {status} {text}"
        );
    }
    // A script may catch it.
    let code = caught(&[
        "new _p.extension.Lies().greet()",
        "new _p.extension.Broken()",
    ]);
    let (status, text) = outcome(&unit, &code).await;
    assert!(
        status == 200 && text.contains("Error true PR500-PL-0002: "),
        "{text}"
    );
    assert!(text.contains("TypeError true "), "{text}");
    let log = unit.log();
    for expected in [
        "computed for more than 2 seconds",
        "memory_mib",
        "fuel",
        "its result is not JSON",
        "it is no component of WebAssembly",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    follow_extension(&place, &unit).await;
}

/// Waits until a script has this result.
async fn wait_for(unit: &StorageUnit, code: &str, expected: &str) {
    let until = Instant::now() + FOLLOW_TIMEOUT;
    loop {
        let (_, text) = outcome(unit, code).await;
        if text == expected {
            return;
        }
        assert!(Instant::now() < until, "{text} is not {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An extension that is dropped in, replaced, disabled, enabled and removed while the unit runs.
async fn follow_extension(place: &PluginPlace, unit: &StorageUnit) {
    let component = build(&RUST, &template(&RUST));
    place.write("later.wasm", &component);
    place.write("later.toml", description("Later"));
    let code = "out.push(typeof _p.extension.Later === 'undefined' ? 'none' : new _p.extension.Later().greet('B'));";
    wait_for(unit, code, r#"["Hello, B!"]"#).await;
    let other = template(&RUST).replace("{greeting}, {name}!", "{name}: {greeting}");
    place.write("later.wasm", build(&RUST, &other));
    wait_for(unit, code, r#"["B: Hello"]"#).await;
    assert_eq!(place.run(&["disable", "later"]).0, Some(0));
    wait_for(unit, code, r#"["none"]"#).await;
    assert_eq!(place.run(&["enable", "later"]).0, Some(0));
    wait_for(unit, code, r#"["B: Hello"]"#).await;
    fs::remove_file(place.path("later.toml")).unwrap();
    wait_for(unit, code, r#"["none"]"#).await;
}
