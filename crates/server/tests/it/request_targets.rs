//! Targets of requests as raw bytes: what cannot be in a target must not be cut off or read as something else.

use personium_testkit::{MASTER_TOKEN, ProcessUnit, RawBody, RawConnection, request_bytes};

/// Starts a unit with a cell `raw`, and in its box `box` the file `file`.
async fn start() -> ProcessUnit {
    let unit = crate::unit().start();
    unit.create_cell_with_owner("raw").await;
    unit.put_file("raw/box/file", "kept").await;
    unit
}

fn request(unit: &ProcessUnit, method: &str, target: &str) -> Vec<u8> {
    let token = format!("Bearer {MASTER_TOKEN}");
    let host = format!("localhost:{}", unit.port());
    let destination = format!("{}raw/box/moved", unit.url());
    let headers = [
        ("Host", host.as_str()),
        ("Authorization", token.as_str()),
        ("X-Personium-Recursive", "true"),
        ("Destination", destination.as_str()),
    ];
    let body: &[u8] = if method == "PUT" { b"new" } else { b"" };
    request_bytes(method, target, &headers, body)
}

/// The status and the body of the response.
async fn answer(connection: &mut RawConnection) -> (u16, String) {
    let mut body = Vec::new();
    let response = connection.receive(RawBody::Keep(&mut body), false).await;
    let status = response.unwrap().status;
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn assert_kept(unit: &ProcessUnit) {
    let file = unit.admin_request("GET", "raw/box/file").send().await;
    assert_eq!(file.text(), "kept");
    let moved = unit.admin_outcome("GET", "raw/box/moved").await;
    assert_eq!(moved.0, 404);
}

#[tokio::test]
async fn target_with_a_fragment_is_refused_and_nothing_is_changed() {
    let unit = start().await;
    let mut connection = RawConnection::open(unit.port()).await.unwrap();
    let absolute = format!("{}raw/box/file#x", unit.url());
    for target in [
        "/raw/box/file#x",
        "/raw/box/file#",
        "/raw/box/file?a=b#c",
        "/raw/box#/file",
        "/raw#",
        "/raw/#",
        &absolute,
    ] {
        for method in ["GET", "PUT", "DELETE", "MOVE", "MKCOL", "PROPFIND"] {
            connection
                .send(&request(&unit, method, target))
                .await
                .unwrap();
            let (status, body) = answer(&mut connection).await;
            assert_eq!(status, 400, "{method} {target}");
            assert!(body.contains("PR400-MC-0010"), "{method} {target}: {body}");
        }
    }
    assert_kept(&unit).await;
    assert_eq!(unit.admin_outcome("GET", "raw/box").await.0, 200);
}

#[tokio::test]
async fn fragment_is_found_in_pipelined_requests_and_in_pieces() {
    let unit = start().await;
    let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
    let mut pipelined = request(&unit, "GET", "/raw/box/file");
    pipelined.extend(request(&unit, "DELETE", "/raw/box/file#x"));
    pipelined.extend(request(&unit, "GET", "/raw/box/file"));
    connection.send(&pipelined).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(answer(&mut connection).await.0);
    }
    assert_eq!(statuses, [200, 400, 200]);
    for byte in request(&unit, "DELETE", "/raw/box/file#x") {
        connection.send(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(answer(&mut connection).await.0, 400);
    assert_kept(&unit).await;
}

#[tokio::test]
async fn body_that_looks_like_a_request_with_a_fragment_is_stored() {
    let unit = start().await;
    let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
    let log = "PUT /raw/box/log#x HTTP/1.1\r\nGET /raw/box/log#x HTTP/1.1\r\n";
    let token = format!("Bearer {MASTER_TOKEN}");
    let host = format!("localhost:{}", unit.port());
    let headers = [("Host", host.as_str()), ("Authorization", token.as_str())];
    for status in [201, 204] {
        let put = request_bytes("PUT", "/raw/box/log", &headers, log.as_bytes());
        connection.send(&put).await.unwrap();
        assert_eq!(answer(&mut connection).await.0, status);
        let get = request_bytes("GET", "/raw/box/log", &headers, b"");
        connection.send(&get).await.unwrap();
        assert_eq!(answer(&mut connection).await, (200, log.to_owned()));
    }
}

#[tokio::test]
async fn other_targets_that_are_not_valid_are_refused_and_nothing_is_changed() {
    let unit = start().await;
    for target in [
        "/raw/box\\file",
        "\\raw\\box\\file",
        "/raw/box/..\\box/file",
        "*",
        "raw/box/file",
        "/raw/box/fi\u{1}le",
        "/raw/box/file\u{7f}",
        "/raw/box/file\0",
        "/raw/box/<file>",
        "http://else.example/raw/box/file",
        "//raw/box/file",
    ] {
        for method in ["PUT", "DELETE", "MOVE"] {
            let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
            connection
                .send(&request(&unit, method, target))
                .await
                .unwrap();
            let (status, _) = answer(&mut connection).await;
            assert!(
                (400..500).contains(&status),
                "{method} {target:?}: {status}"
            );
        }
    }
    assert_kept(&unit).await;
}

#[tokio::test]
async fn options_of_the_server_as_a_whole_names_the_methods_with_and_without_credentials() {
    let unit = start().await;
    let host = format!("localhost:{}", unit.port());
    for authorization in [None, Some(MASTER_TOKEN), Some("unknown")] {
        let token = authorization.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Host", host.as_str())];
        headers.extend(token.as_deref().map(|token| ("Authorization", token)));
        let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
        let options = request_bytes("OPTIONS", "*", &headers, b"");
        connection.send(&options).await.unwrap();
        assert_eq!(answer(&mut connection).await.0, 200, "{authorization:?}");
        let methods = connection.header("allow").unwrap_or_default();
        assert!(methods.starts_with("OPTIONS, GET,"), "{methods}");
    }
}

#[tokio::test]
async fn letters_that_are_not_encoded_name_the_same_resource_as_encoded_ones() {
    let unit = start().await;
    let mut connection = RawConnection::open(unit.port()).await.unwrap();
    connection
        .send(&request(&unit, "PUT", "/raw/box/日本"))
        .await
        .unwrap();
    assert_eq!(answer(&mut connection).await.0, 201);
    let found = unit
        .admin_request("GET", "raw/box/%E6%97%A5%E6%9C%AC")
        .send()
        .await;
    assert_eq!(found.text(), "new");
    // Bytes that are not UTF-8 are no letters.
    let mut put = request(&unit, "PUT", "/raw/box/@");
    let at = put.iter().position(|byte| *byte == b'@').unwrap();
    put.splice(at..=at, [0xff, 0xfe]);
    let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
    connection.send(&put).await.unwrap();
    assert_eq!(answer(&mut connection).await.0, 400);
}
