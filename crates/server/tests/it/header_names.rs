//! The spelling of header names, as programs that compare them literally see it.

use personium_testkit::{RawBody, RawConnection};

#[tokio::test]
async fn response_headers_are_spelled_as_registered() {
    let unit = crate::unit().start();
    let owner = unit.create_cell_with_owner("c").await;
    owner.put_file("c/box/file", "x").await;
    let mut connection = RawConnection::open(unit.port()).await.unwrap();
    let bearer = format!(
        "Authorization: Bearer {}\r\nOrigin: http://app.example\r\n",
        owner.token()
    );
    for (request, headers, expected) in [
        (
            "GET /c/box/file",
            bearer.as_str(),
            &[
                "ETag: \"",
                "Content-Type: ",
                "Content-Length: 1",
                "Last-Modified: ",
                "Accept-Ranges: bytes",
                "Date: ",
                "X-Personium-Version: ",
                "X-Personium-RequestKey: ",
                "Vary: ",
                "Access-Control-Allow-Origin: ",
                "Access-Control-Expose-Headers: ",
            ][..],
        ),
        (
            "GET /c/box/none",
            "",
            &[
                "WWW-Authenticate: Bearer realm=",
                "WWW-Authenticate: Basic realm=",
            ],
        ),
        (
            "OPTIONS /c/box",
            "",
            &["DAV: 1, 3", "MS-Author-Via: DAV", "Allow: "],
        ),
        (
            "LOCK /c/box",
            bearer.as_str(),
            &["Allow: ", "Content-Type: application/json"],
        ),
    ] {
        let request = format!(
            "{request} HTTP/1.1\r\nHost: localhost:{}\r\n{headers}\r\n",
            unit.port()
        );
        connection
            .exchange(request.as_bytes(), RawBody::Count)
            .await
            .unwrap();
        let head = String::from_utf8(connection.head().to_vec()).unwrap();
        for name in expected {
            assert!(
                head.contains(&format!("\r\n{name}")),
                "{name} of {request}: {head}"
            );
        }
    }
}
