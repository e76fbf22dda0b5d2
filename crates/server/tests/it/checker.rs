//! Sends hostile requests and collects wrong responses.

use std::time::Duration;

use personium_testkit::{MASTER_TOKEN, ProcessUnit, RawBody, RawConnection, TestClient};

/// The time that a response to raw bytes may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// Whether a status says that the request is wrong, or that the unit does not support it.
fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status) || matches!(status, 501 | 505)
}

/// Sends requests and collects wrong responses, so that one run shows all of them.
pub struct Checker {
    unit: ProcessUnit,
    /// A client with the token of the account `me` of the cell `bad`.
    owner: TestClient,
    errors: Vec<String>,
}

impl Checker {
    /// Starts a unit with a cell `bad`, which has in its box `box` an OData collection `data` with an entity type `Row` and one
    /// row, and a file `file`.
    pub async fn start() -> Self {
        let unit = crate::unit().start();
        let owner = unit.create_cell_with_owner("bad").await;
        unit.create_odata_collection("bad/box/data", "Row").await;
        let row = r#"{"__id":"one","n":1,"text":"some"}"#;
        owner.call("POST", "bad/box/data/Row", row).await;
        owner.call("PUT", "bad/box/file", "content").await;
        Self {
            unit,
            owner,
            errors: Vec::new(),
        }
    }

    /// Sends a request that must be refused.
    pub async fn expect_refusal(
        &mut self,
        name: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        let request = self.owner.request(method, path).headers(headers);
        // A connection that is closed without a response is a refusal too, as long as the unit runs.
        if let Ok(response) = request.body(body).try_send().await
            && !is_refusal(response.status.as_u16())
        {
            let text: String = response.text().chars().take(200).collect();
            self.errors
                .push(format!("{name}: {} {text}", response.status));
        }
        self.expect_running(name);
    }

    /// Sends a request that may be answered with any status below 500, or with 501.
    pub async fn expect_no_failure(
        &mut self,
        name: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        let request = self.owner.request(method, path).headers(headers);
        if let Ok(response) = request.body(body).try_send().await
            && response.status.is_server_error()
            && response.status != 501
        {
            self.errors
                .push(format!("{name}: {} {}", response.status, response.text()));
        }
        self.expect_running(name);
    }

    /// Sends bytes on a connection of their own, which must be refused.
    pub async fn expect_raw_refusal(&mut self, name: &str, bytes: &[u8]) {
        let mut connection = RawConnection::open_once(self.unit.port()).await.unwrap();
        let exchange = async {
            // The unit may answer and close before it has read everything.
            let _ = connection.send(bytes).await;
            let _ = connection.finish_sending().await;
            connection.receive(RawBody::Count, false).await
        };
        let response = tokio::time::timeout(RESPONSE_TIMEOUT, exchange).await;
        if let Ok(Ok(response)) = response
            && !is_refusal(response.status)
        {
            self.errors.push(format!("{name}: {}", response.status));
        }
        self.expect_running(name);
    }

    /// The head of a request of the owner with a method that HTTP libraries do not send.
    pub fn raw_head(&self, method: &str, path: &str, headers: &str) -> Vec<u8> {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n{headers}\r\n",
            self.unit.port(),
            self.owner.token()
        )
        .into_bytes()
    }

    /// The value of an `Authorization` header with the master token.
    pub fn admin_authorization() -> String {
        format!("Bearer {MASTER_TOKEN}")
    }

    fn expect_running(&mut self, name: &str) {
        assert!(
            self.unit.is_running(),
            "{name} ended the unit\n{}",
            self.unit.log()
        );
    }

    /// Checks that the unit still serves, that it logged no panic, and that there was no wrong response.
    pub async fn finish(self) {
        self.owner.call("GET", "bad/box/file", "").await;
        let log = self.unit.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(
            self.errors.is_empty(),
            "{} wrong responses:\n{}",
            self.errors.len(),
            self.errors.join("\n")
        );
    }
}
