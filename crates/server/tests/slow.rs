//! Clients that are slow, or never finish, against the built program: nobody else waits for them.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/process.rs"]
mod process;

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use process::{Unit, read_answer};

fn connect(unit: &Unit) -> TcpStream {
    TcpStream::connect(("127.0.0.1", unit.port)).unwrap()
}

/// The setting for tests in which a body is given up.
const BODY_TIME: &str = "io.personium.core.server.transfer.timeoutInSec=4\n";

/// The setting for tests in which slow bodies stay.
const LONG_BODY_TIME: &str = "io.personium.core.server.transfer.timeoutInSec=3600\n";

/// The head of a request with a body.
fn head(unit: &Unit, client: &process::Client, request: &str, length: usize) -> String {
    let (port, token) = (unit.port, client.token());
    format!(
        "{request} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Sends a byte into each of some connections ten times a second, until it is dropped.
struct Trickle(Arc<AtomicBool>);

impl Trickle {
    fn into(streams: Vec<TcpStream>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let trickle = Self(Arc::clone(&ends));
        std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                for mut stream in &streams {
                    // One that the unit gave up is no reason to stop the others.
                    let _ = stream.write_all(b"a");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        trickle
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the other side closed the connection within the time.
fn closed_within(stream: &mut TcpStream, time: Duration) -> bool {
    let until = Instant::now() + time;
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut some = [0; 1024];
    while Instant::now() < until {
        match stream.read(&mut some) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn two_hundred_unfinished_heads_keep_nobody_waiting() {
    let unit = Unit::start("slow-heads");
    let mut owner = unit.cell_with_owner("slow");
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = connect(&unit);
            stream
                .write_all(b"GET /slow/box/a HTTP/1.1\r\nHost: local")
                .unwrap();
            stream
        })
        .collect();
    for number in 0..20 {
        owner.made("PUT", &format!("/slow/box/f{number}"), "content");
    }
    // A head that never ends is given up; the limit is generous, the test only wants that there is one.
    assert!(
        closed_within(&mut slow[0], Duration::from_secs(120)),
        "the unit waits for ever for a head"
    );
    // The owner's own connection was idle as long, and may be given up as well.
    owner.again().made("GET", "/slow/box/f1", "");
}

#[test]
fn a_trickling_head_is_given_up_too() {
    let unit = Unit::start("slow-trickle");
    let mut stream = connect(&unit);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        .unwrap();
    let until = Instant::now() + Duration::from_secs(150);
    let mut given_up = false;
    while !given_up && Instant::now() < until {
        given_up = stream.write_all(b"a").is_err()
            || closed_within(&mut stream, Duration::from_millis(400));
    }
    assert!(
        given_up,
        "one byte now and then keeps a connection open for ever"
    );
}

#[test]
fn a_trickling_body_is_given_up_by_its_mean_rate() {
    let unit = Unit::start_with("slow-form", BODY_TIME);
    unit.cell_with_owner("slow");
    let stream = connect(&unit);
    let head = head(&unit, &unit.client(""), "POST /slow/__token", 10_000);
    (&stream).write_all(head.as_bytes()).unwrap();
    let trickle = Trickle::into(vec![stream.try_clone().unwrap()]);
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let answer = read_answer(&mut BufReader::new(stream), false);
    let answer = answer.expect("one byte now and then keeps a request open for ever");
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
    drop(trickle);
}

#[test]
fn a_slow_body_that_goes_on_gets_through() {
    let unit = Unit::start_with("slow-honest", BODY_TIME);
    let owner = unit.cell_with_owner("slow");
    let mut stream = connect(&unit);
    let pieces = 40;
    let head = head(&unit, &owner, "PUT /slow/box/a", pieces * 400);
    stream.write_all(head.as_bytes()).unwrap();
    // It takes twice the time for one piece, and has 2 KB/s.
    for _ in 0..pieces {
        stream.write_all(&[b's'; 400]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    let answer = read_answer(&mut BufReader::new(stream), false).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn trickled_files_of_one_cell_leave_places_to_the_others() {
    let more = format!("{LONG_BODY_TIME}io.personium.core.dav.uploads.max=4\n");
    let unit = Unit::start_with("slow-uploads", &more);
    let slow = unit.cell_with_owner("slow");
    let mut other = unit.cell_with_owner("other");
    let slow: Vec<TcpStream> = (0..8)
        .map(|number| {
            let mut stream = connect(&unit);
            let put = format!("PUT /slow/box/f{number}");
            let head = head(&unit, &slow, &put, 1_000_000);
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&[b's'; 20_000]).unwrap();
            stream
        })
        .collect();
    let _trickle = Trickle::into(slow);
    std::thread::sleep(Duration::from_millis(500));
    other.made("PUT", "/other/box/a", &"o".repeat(100_000));
}

#[test]
fn trickled_archives_take_no_place_of_an_installation() {
    let more = format!("{LONG_BODY_TIME}io.personium.core.thread.pool.num.io.box=1\n");
    let unit = Unit::start_with("slow-installs", &more);
    for cell in ["slow", "other"] {
        unit.cell_with_owner(cell);
    }
    let mut admin = unit.admin();
    let slow: Vec<TcpStream> = (0..8)
        .map(|number| {
            let mut stream = connect(&unit);
            let mkcol = format!("MKCOL /slow/app{number}");
            let head = head(&unit, &admin, &mkcol, 1_000_000);
            let head = head.replace("Host:", "Content-Type: application/zip\r\nHost:");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&[b's'; 20_000]).unwrap();
            stream
        })
        .collect();
    let _trickle = Trickle::into(slow);
    std::thread::sleep(Duration::from_millis(500));
    let zip = [("Content-Type", "application/zip")];
    let answer = admin
        .send("MKCOL", "/other/app", &zip, b"no archive")
        .unwrap();
    assert!(
        answer.status == 400 && answer.text().contains("BI-0007"),
        "no turn to look at an archive: {} {}",
        answer.status,
        answer.text()
    );
}

#[test]
fn a_body_that_stops_leaves_nothing_behind() {
    let unit = Unit::start("slow-body");
    let mut owner = unit.cell_with_owner("slow");
    owner.made("PUT", "/slow/box/old", "old content");
    let begin = |path: &str| {
        let mut stream = connect(&unit);
        let head = head(&unit, &owner, &format!("PUT {path}"), 1_000_000);
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b'n'; 300_000]).unwrap();
        stream
    };
    let (new, over) = (begin("/slow/box/new"), begin("/slow/box/old"));
    let mut other = owner.again();
    let seen = |other: &mut process::Client| {
        let new = other.send("GET", "/slow/box/new", &[], b"").unwrap();
        let old = other.send("GET", "/slow/box/old", &[], b"").unwrap();
        (new.status, old.text())
    };
    assert_eq!(
        seen(&mut other),
        (404, "old content".to_owned()),
        "while the body is on its way"
    );
    drop((new, over));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        seen(&mut other),
        (404, "old content".to_owned()),
        "after its client went away"
    );
    other.made("PUT", "/slow/box/new", "whole");
    assert_eq!(other.made("GET", "/slow/box/new", "").text(), "whole");
}

#[test]
fn readers_that_do_not_read_keep_nobody_waiting() {
    let unit = Unit::start("slow-readers");
    let mut owner = unit.cell_with_owner("slow");
    let large = vec![b'l'; 8 << 20];
    assert_eq!(
        owner
            .send("PUT", "/slow/box/large", &[], &large)
            .unwrap()
            .status,
        201
    );
    let request = format!(
        "GET /slow/box/large HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {}\r\n\r\n",
        unit.port,
        owner.token()
    );
    let waiting: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(&unit);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for number in 0..20 {
        owner.made("PUT", &format!("/slow/box/f{number}"), "content");
    }
    // One of them wakes up and gets everything.
    let mut reader = BufReader::new(&waiting[7]);
    assert_eq!(read_answer(&mut reader, false).unwrap().body, large);
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let mut unit = Unit::start("large-heads");
    let long = "a".repeat(512 * 1024);
    let many: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    for (what, head) in [
        (
            "a long header",
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"),
        ),
        (
            "a long path",
            format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ),
        (
            "many headers",
            format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        ),
    ] {
        let mut stream = connect(&unit);
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        // The unit may answer and close before it has read all of it.
        let _ = stream.write_all(head.as_bytes());
        if let Ok(answer) = read_answer(&mut BufReader::new(stream), false) {
            assert!(
                matches!(answer.status, 400 | 414 | 431),
                "{what}: {}",
                answer.status
            );
        }
        assert!(unit.running(), "{what} ended the unit");
    }
    unit.cell_with_owner("after");
}
