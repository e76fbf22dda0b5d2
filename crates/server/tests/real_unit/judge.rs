//! Sends what is wrong on purpose and collects what is wrong with the answers.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::process::{Client, Unit, read_answer};

/// Statuses that say that the client is at fault, or that this unit does not offer it.
pub fn refused(status: u16) -> bool {
    (400..500).contains(&status) || matches!(status, 501 | 505)
}

/// Sends requests and collects what is wrong with the answers, so that one run shows all faults.
pub struct Judge<'u> {
    pub unit: &'u mut Unit,
    pub client: Client,
    faults: Vec<String>,
}

impl Judge<'_> {
    pub fn refuses(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        match self.client.send(method, path, headers, body.as_bytes()) {
            Ok(answer) if refused(answer.status) => {}
            Ok(answer) => self.faults.push(format!(
                "{what}: {} {}",
                answer.status,
                answer.text().chars().take(200).collect::<String>()
            )),
            // Closing the connection is a refusal too, as long as the unit lives.
            Err(_) => {}
        }
        self.lives(what);
    }

    /// Any answer below 500 will do.
    pub fn survives(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        if let Ok(answer) = self.client.send(method, path, headers, body.as_bytes())
            && answer.status >= 500
            && answer.status != 501
        {
            self.faults
                .push(format!("{what}: {} {}", answer.status, answer.text()));
        }
        self.lives(what);
    }

    /// Bytes as they are, on a connection of their own.
    pub fn raw(&mut self, what: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.unit.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        if let Ok(answer) = read_answer(&mut BufReader::new(stream), false)
            && !refused(answer.status)
        {
            self.faults.push(format!("{what}: {}", answer.status));
        }
        self.lives(what);
    }

    pub fn lives(&mut self, what: &str) {
        assert!(
            self.unit.running(),
            "{what} ended the unit\n{}",
            self.unit.log()
        );
    }

    fn close(self) {
        let log = self.unit.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(
            self.faults.is_empty(),
            "{} faults:\n{}",
            self.faults.len(),
            self.faults.join("\n")
        );
    }
}

/// A unit with a cell `bad`, an OData collection `data` with a type `Row` and one row, and a file `file`.
fn prepared(purpose: &str) -> (Unit, Client) {
    let unit = Unit::start(purpose);
    let mut owner = unit.cell_with_owner("bad");
    owner.make_odata("/bad/box/data", "Row");
    owner.made(
        "POST",
        "/bad/box/data/Row",
        "{\"__id\":\"one\",\"n\":1,\"text\":\"some\"}",
    );
    owner.made("PUT", "/bad/box/file", "content");
    (unit, owner)
}

/// Runs requests against a prepared unit. In the end the unit must still serve, have logged no panic, and have shown no fault.
pub fn judged(purpose: &str, requests: impl FnOnce(&mut Judge<'_>)) {
    let (mut unit, client) = prepared(purpose);
    let mut judge = Judge {
        unit: &mut unit,
        client,
        faults: Vec::new(),
    };
    requests(&mut judge);
    judge.client.made("GET", "/bad/box/file", "");
    judge.close();
}
