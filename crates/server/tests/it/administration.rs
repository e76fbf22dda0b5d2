//! `personium init` and `personium admin`, and what the administrator of the first start may do.

use std::fs::File;

use personium_testkit::{
    OnDrop, PostgresCluster, Process, TestClient, create_unit_database, free_port, make_unit_key,
};

use crate::administered_unit::{AdministeredUnit, printed_password};
use crate::program;

const FIRST: (&str, &str) = ("unitadmin", "unitadmin");

async fn status_of(client: &TestClient, path: &str) -> u16 {
    let response = client.request("GET", path).body("").try_send().await;
    response.unwrap().status.as_u16()
}

#[tokio::test]
async fn first_administrator_sees_the_status_and_reloads_settings() {
    let unit = AdministeredUnit::local();
    let (_process, client) = unit.serve("localhost", &[]);
    let administrator = unit.administrator(&client).await;
    assert_eq!(status_of(&administrator, "__status").await, 200);
    let reload = administrator.request("POST", "__status").body("");
    assert_eq!(reload.try_send().await.unwrap().status, 204);
    assert_eq!(
        status_of(&client, "__status").await,
        401,
        "nobody else does"
    );
}

#[tokio::test]
async fn password_that_cannot_be_written_is_an_error_and_the_next_start_makes_another() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    for command in ["init", "serve"] {
        let mut full = program::command(&[command, "--data", data, "-c", "listen=127.0.0.1:0"]);
        let output = full
            .stdout(File::options().write(true).open("/dev/full").unwrap())
            .output()
            .unwrap();
        let text = program::text(&output);
        assert!(!output.status.success(), "{command}: {text}");
        assert!(text.contains("could not be written"), "{command}: {text}");
    }
    let output = program::run(&["init", "--data", data]);
    assert!(output.status.success(), "{}", program::text(&output));
    let unit = AdministeredUnit {
        password: printed_password(&program::text(&output)),
        folder,
    };
    let (_process, client) = unit.serve("localhost", &[]);
    unit.administrator(&client).await;
}

#[tokio::test]
async fn lost_password_is_replaced_on_a_stopped_unit_only() {
    let mut unit = AdministeredUnit::local();
    let (process, client) = unit.serve("localhost", &[]);
    let (succeeded, text) = unit.admin(&["password"]);
    assert!(!succeeded && text.contains("stopped"), "{text}");
    assert!(
        AdministeredUnit::token(&client, FIRST, &unit.password)
            .await
            .is_some()
    );
    drop(process);

    let new = printed_password(&unit.expect_admin(&["password"]));
    let old = std::mem::replace(&mut unit.password, new);
    assert_ne!(old, unit.password);
    let (process, client) = unit.serve("localhost", &[]);
    assert!(
        AdministeredUnit::token(&client, FIRST, &unit.password)
            .await
            .is_some()
    );
    assert!(
        AdministeredUnit::token(&client, FIRST, &old)
            .await
            .is_none()
    );
    drop(process);

    // From the standard input; it is not printed.
    let input = unit.folder.path().join("input");
    std::fs::write(&input, "my-own-password\n").unwrap();
    let data = unit.data();
    let arguments = [
        "admin",
        "password",
        "--stdin",
        "--data",
        data.to_str().unwrap(),
    ];
    let mut command = program::command(&arguments);
    let output = command.stdin(File::open(&input).unwrap()).output().unwrap();
    let text = program::text(&output);
    assert!(
        output.status.success() && !text.contains("my-own"),
        "{text}"
    );
    let (_process, client) = unit.serve("localhost", &[]);
    assert!(
        AdministeredUnit::token(&client, FIRST, "my-own-password")
            .await
            .is_some()
    );
}

#[tokio::test]
async fn password_is_kept_if_the_new_one_is_refused_or_cannot_be_written() {
    let unit = AdministeredUnit::local();
    let data = unit.data();
    let data = data.to_str().unwrap();
    let input = unit.folder.path().join("input");
    std::fs::write(&input, "x\n").unwrap();
    let mut short = program::command(&["admin", "password", "--stdin", "--data", data]);
    let mut full = program::command(&["admin", "password", "--data", data]);
    short.stdin(File::open(&input).unwrap());
    if let Ok(output) = File::options().write(true).open("/dev/full") {
        full.stdout(output);
    } else {
        full.args(["--cell", "none"]);
    }
    let mut absent = program::command(&["admin", "password", "--account", "none", "--data", data]);
    for (name, command) in [
        ("short", &mut short),
        ("full", &mut full),
        ("absent", &mut absent),
    ] {
        let output = command.output().unwrap();
        assert!(
            !output.status.success(),
            "{name}: {}",
            program::text(&output)
        );
    }
    let (_process, client) = unit.serve("localhost", &[]);
    unit.administrator(&client).await;
}

/// Makes a cell that belongs to the administrator of the first start, as older versions made them.
async fn make_owned_cell(administrator: &TestClient, name: &str) {
    let owner = format!("{}#unitadmin", administrator.cell_url("unitadmin"));
    let request = administrator
        .request("POST", "__ctl/Cell")
        .header("x-personium-unit-user", &owner)
        .body(format!("{{\"Name\":\"{name}\"}}"));
    request.send().await.expect(201);
}

#[tokio::test]
async fn renamed_account_and_cell_keep_their_cells() {
    let unit = AdministeredUnit::local();
    let (process, client) = unit.serve("localhost", &[]);
    let administrator = unit.administrator(&client).await;
    make_owned_cell(&administrator, "alice").await;
    // By the API, while the unit runs.
    let path = "unitadmin/__ctl/Account('unitadmin')";
    let renamed = administrator
        .request("MERGE", path)
        .body(r#"{"Name":"boss"}"#);
    assert_eq!(renamed.try_send().await.unwrap().status, 204);
    // The accounts of a renamed cell still administrate the unit, with tokens of its new name only.
    let path = "__ctl/Cell('unitadmin')";
    let renamed = administrator
        .request("MERGE", path)
        .body(r#"{"Name":"bureau"}"#);
    assert_eq!(renamed.try_send().await.unwrap().status, 204);
    let old_token = administrator.request("GET", "__ctl/Cell").try_send().await;
    assert_ne!(old_token.unwrap().status, 200);
    let token = AdministeredUnit::token(&client, ("bureau", "boss"), &unit.password).await;
    let administrator = client.with_token(&token.unwrap());
    let path = "__ctl/Cell('bureau')";
    let renamed = administrator
        .request("MERGE", path)
        .body(r#"{"Name":"unitadmin"}"#);
    assert_eq!(renamed.try_send().await.unwrap().status, 204);
    drop(process);
    let list = unit.expect_admin(&["list"]);
    assert!(
        list.contains("personium-localunit:unitadmin:/#boss"),
        "{list}"
    );
    assert!(!list.contains("LOST"), "{list}");

    unit.expect_admin(&["rename", "--account", "boss", "--new-account", "chief"]);
    unit.expect_admin(&["rename", "--new-cell", "office"]);
    let list = unit.expect_admin(&["list"]);
    assert!(
        list.contains("personium-localunit:office:/#chief"),
        "{list}"
    );
    assert!(
        !list.contains("LOST") && !list.contains("#unitadmin"),
        "{list}"
    );
    let (_process, client) = unit.serve("localhost", &[]);
    let token = AdministeredUnit::token(&client, ("office", "chief"), &unit.password).await;
    let administrator = client.with_token(&token.unwrap());
    assert_eq!(status_of(&administrator, "__ctl/Cell('alice')").await, 200);
    assert_eq!(status_of(&administrator, "alice/__ctl/Account").await, 200);
}

#[tokio::test]
async fn granted_account_administrates_the_unit_and_others_do_not() {
    let unit = AdministeredUnit::local();
    let (process, client) = unit.serve("localhost", &[]);
    let administrator = unit.administrator(&client).await;
    make_owned_cell(&administrator, "alice").await;
    for name in ["me", "other"] {
        let request = administrator
            .request("POST", "alice/__ctl/Account")
            .header("x-personium-credential", "password1")
            .body(format!("{{\"Name\":\"{name}\"}}"));
        request.send().await.expect(201);
    }
    let token = AdministeredUnit::token(&client, ("alice", "me"), "password1")
        .await
        .unwrap();
    assert_ne!(status_of(&client.with_token(&token), "__status").await, 200);
    drop(process);

    unit.expect_admin(&["grant", "--cell", "alice", "--account", "me"]);
    let (succeeded, text) = unit.admin(&["grant", "--cell", "alice", "--account", "nobody"]);
    assert!(!succeeded && text.contains("no account nobody"), "{text}");
    let list = unit.expect_admin(&["list"]);
    assert!(list.contains("/alice/#me  "), "{list}");
    let (_process, client) = unit.serve("localhost", &[]);
    for (account, status) in [("me", 200), ("other", 403)] {
        let token = AdministeredUnit::token(&client, ("alice", account), "password1").await;
        assert_eq!(
            status_of(&client.with_token(&token.unwrap()), "__status").await,
            status,
            "{account}"
        );
    }
    unit.administrator(&client).await;
}

#[tokio::test]
async fn unit_without_an_administrator_says_so_and_the_command_makes_one() {
    let mut unit = crate::unit().start();
    program::logged_after(&unit, 0, "personium admin create").await;
    unit.create_cell("alice").await;
    unit.kill();
    let data = unit.folder().join("data");
    let settings = unit.folder().join("unit.properties");
    let text = std::fs::read_to_string(&settings).unwrap();
    let without_token: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("masterToken"))
        .collect();
    std::fs::write(&settings, without_token.join("\n")).unwrap();
    let common = [
        "--data",
        data.to_str().unwrap(),
        "--config",
        settings.to_str().unwrap(),
    ];
    let run = |arguments: &[&str]| {
        let output = program::run(&[arguments, &common].concat());
        (output.status.success(), program::text(&output))
    };
    let (_, checked) = run(&["check", "-c", "listen=127.0.0.1:0"]);
    assert!(
        checked.contains("nobody can administrate this unit"),
        "{checked}"
    );
    let (succeeded, created) = run(&["admin", "create", "--cell", "office", "--account", "boss"]);
    assert!(succeeded, "{created}");
    let (succeeded, again) = run(&["admin", "create", "--cell", "office"]);
    assert!(!succeeded && again.contains("exists"), "{again}");
    let (succeeded, moved) = run(&[
        "admin",
        "transfer",
        "--from",
        "personium-localunit:none:/#none",
        "--cell",
        "office",
        "--account",
        "boss",
    ]);
    assert!(succeeded && moved.starts_with("0 cells"), "{moved}");
    let port = free_port();
    let port_text = port.to_string();
    let mut serve = program::command(&[&["serve", "--port", &port_text][..], &common].concat());
    let (_process, _) = Process::listen(&mut serve, port, OnDrop::Terminate).unwrap();
    let client = TestClient::for_host("localhost", port);
    let token =
        AdministeredUnit::token(&client, ("office", "boss"), &printed_password(&created)).await;
    let administrator = client.with_token(&token.unwrap());
    assert_eq!(status_of(&administrator, "__ctl/Cell('alice')").await, 200);
}

#[tokio::test]
async fn low_limit_on_open_files_is_reported_and_several_connections_work() {
    let folder = tempfile::tempdir().unwrap();
    let (port, data, log) = (
        free_port(),
        folder.path().join("data"),
        folder.path().join("log"),
    );
    let script = format!(
        "ulimit -n 64; exec {} serve --data {} --port {port} >{} 2>&1",
        env!("CARGO_BIN_EXE_personium"),
        data.display(),
        log.display()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]);
    let started = Process::listen(&mut command, port, OnDrop::Terminate);
    let text = std::fs::read_to_string(&log).unwrap();
    let (_process, _) = started.unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(text.contains("the limit on open files is 64"), "{text}");
    let mut connections = Vec::new();
    for _ in 0..8 {
        let mut connection = personium_testkit::RawConnection::open_once(port)
            .await
            .unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        let response = connection
            .exchange(request.as_bytes(), personium_testkit::RawBody::Count)
            .await;
        assert_eq!(response.unwrap().status, 200);
        connections.push(connection);
    }
}

/// Settings of nodes over one database: the same secret and keys, and a folder of file bodies.
fn lines_of_nodes(cluster: &PostgresCluster, folder: &std::path::Path, port: u16) -> String {
    const PREFIX: &str = "io.personium.core.";
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_personium"));
    let mut lines = make_unit_key(folder, "localhost");
    let bodies = folder.join("bodies");
    for (key, value) in create_unit_database(cluster, program) {
        lines.push_str(&format!("{PREFIX}{key}={value}\n"));
    }
    for (key, value) in [
        ("security.secret16", "0123456789abcdef"),
        ("blobStore.root", bodies.to_str().unwrap()),
        ("unitScheme", "https"),
        ("unitFqdn", "localhost"),
        ("unitPort", &port.to_string()),
        ("pathBasedCellUrl.enabled", "true"),
    ] {
        lines.push_str(&format!("{PREFIX}{key}={value}\n"));
    }
    lines
}

/// Sets modes by commands while nodes run, and expects that the next request to each of them honours them.
async fn expect_modes(unit: &AdministeredUnit, nodes: &[TestClient]) {
    let owner = "personium-localunit:unitadmin:/#unitadmin";
    let put = async |node: &TestClient| {
        let put = node.request("PUT", "bob/__/file").body("x").try_send();
        put.await.unwrap().status.as_u16()
    };
    for (arguments, expected) in [
        (&["mode", "read-delete"][..], [503, 503]),
        (&["mode", "normal"], [201, 204]),
        (&["mode", "read-only", "--owner", owner], [503, 503]),
        (&["mode", "normal", "--owner", owner], [204, 204]),
    ] {
        unit.expect_admin(arguments);
        for (node, status) in nodes.iter().zip(expected) {
            assert_eq!(put(node).await, status, "{arguments:?}");
            assert_eq!(status_of(node, "__ctl/Cell").await, 200);
        }
    }
}

#[tokio::test]
async fn modes_are_shown_and_kept_by_a_unit_that_is_stopped_meanwhile() {
    let unit = AdministeredUnit::local();
    let owner = "personium-localunit:unitadmin:/#unitadmin";
    let shown = unit.expect_admin(&["mode"]);
    assert!(shown.contains("normal mode"), "{shown}");
    unit.expect_admin(&["mode", "read-delete"]);
    let shown = unit.expect_admin(&["mode", "read-only", "--owner", owner]);
    assert!(shown.contains("read and deleted from only"), "{shown}");
    assert!(shown.contains(owner), "{shown}");
    for (arguments, reason) in [
        (&["mode", "read-only"][..], "--owner"),
        (
            &["mode", "read-delete", "--owner", owner],
            "without --owner",
        ),
        (&["mode", "read-only", "--owner", "nobody"], "no owner"),
        (&["mode", "fast"], "fast"),
    ] {
        let (succeeded, text) = unit.admin(arguments);
        assert!(!succeeded && text.contains(reason), "{arguments:?}: {text}");
    }
    let create = async |client: &TestClient| {
        let request = client.request("POST", "__ctl/Cell").body(r#"{"Name":"c"}"#);
        request.try_send().await.unwrap().status.as_u16()
    };
    let (process, client) = unit.serve("localhost", &[]);
    assert_eq!(create(&unit.administrator(&client).await).await, 503);
    let (succeeded, text) = unit.admin(&["mode", "normal"]);
    assert!(!succeeded && text.contains("stopped"), "{text}");
    drop(process);
    unit.expect_admin(&["mode", "normal"]);
    let (_process, client) = unit.serve("localhost", &[]);
    assert_eq!(create(&unit.administrator(&client).await).await, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_made_by_one_node_are_honoured_by_the_next_request_to_every_running_node() {
    let cluster = PostgresCluster::shared();
    let shared = tempfile::tempdir().unwrap();
    let port = free_port();
    let lines = lines_of_nodes(&cluster, shared.path(), port);
    let node = |password: &str| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("personium-unit-config.properties"), &lines).unwrap();
        let password = password.to_owned();
        AdministeredUnit { password, folder }
    };
    let mut first = node("");
    let output = program::run(&["init", "--data", first.data().to_str().unwrap()]);
    let text = program::text(&output);
    assert!(output.status.success(), "{text}");
    first.password = printed_password(&text);
    // Two nodes with nothing but the settings.
    let others = [node(&first.password), node(&first.password)];
    let (_processes, clients): (Vec<Process>, Vec<TestClient>) = others
        .iter()
        .map(|other| other.serve_behind_proxy("localhost", port))
        .unzip();
    let expect_administrator = async |address: (&str, &str), password: &str, is_one: bool| {
        for client in &clients {
            let token = AdministeredUnit::token(client, address, password).await;
            let client = client.with_token(&token.unwrap());
            let listed = client
                .request("GET", "__ctl/Cell")
                .try_send()
                .await
                .unwrap();
            assert_eq!(listed.status == 200, is_one, "{address:?}");
        }
    };
    expect_administrator(FIRST, &first.password, true).await;
    let administrator = first.administrator(&clients[0]).await;
    make_owned_cell(&administrator, "alice").await;
    let account = administrator
        .request("POST", "alice/__ctl/Account")
        .header("x-personium-credential", "password1")
        .body(r#"{"Name":"me"}"#);
    account.send().await.expect(201);
    expect_administrator(("alice", "me"), "password1", false).await;
    first.expect_admin(&["grant", "--cell", "alice", "--account", "me"]);
    expect_administrator(("alice", "me"), "password1", true).await;
    let made = first.expect_admin(&["create", "--cell", "ops", "--account", "a"]);
    expect_administrator(("ops", "a"), &printed_password(&made), true).await;
    others[1].expect_admin(&["rename", "--cell", "alice", "--new-cell", "bob"]);
    expect_administrator(("bob", "me"), "password1", true).await;
    let administrator = first.administrator(&clients[0]).await;
    expect_modes(
        &others[0],
        &[
            administrator.clone(),
            clients[1].with_token(administrator.token()),
        ],
    )
    .await;
    // Whoever gets the former name administrates nothing.
    let list = others[0].expect_admin(&["list"]);
    assert!(list.contains("personium-localunit:bob:/"), "{list}");
    assert!(!list.contains("personium-localunit:alice:/"), "{list}");
    for other in &others {
        assert!(
            !other.log().contains("server node is dead"),
            "{}",
            other.log()
        );
    }
}
