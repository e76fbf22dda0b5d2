use proptest::prelude::*;

use super::*;

/// The requests on a connection of which these bytes were read in pieces of this size; whether they had fragments.
fn fragments(bytes: &[u8], piece: usize, requests: &[(&str, &str)]) -> Vec<bool> {
    let lines = Arc::new(RequestLines::default());
    let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
    for piece in bytes.chunks(piece) {
        reader.read(piece);
    }
    let found = requests.iter().map(|(method, target)| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        lines.begin_request(&method, &target.parse().unwrap(), false)
    });
    found.collect()
}

#[test]
fn fragments_of_targets_are_found_however_the_bytes_arrive() {
    let bytes = b"PUT /c/b/a#x HTTP/1.1\r\nHost: h\r\n\r\nGET /c/b/a HTTP/1.1\r\nReferer: http://h/#f\r\n\r\n\
        DELETE /c/b/a?q#x HTTP/1.0\r\n\r\nGET http://h#x HTTP/1.1\r\n\r\n";
    for piece in 1..=bytes.len() {
        assert_eq!(
            fragments(
                bytes,
                piece,
                &[
                    ("PUT", "/c/b/a"),
                    ("GET", "/c/b/a"),
                    ("DELETE", "/c/b/a?q"),
                    ("GET", "http://h/"),
                ]
            ),
            [true, false, true, true],
            "{piece}"
        );
    }
}

#[test]
fn first_line_with_method_and_target_decides() {
    // The second line is one of the body.
    let bytes = b"PUT /a HTTP/1.1\r\n\r\nPUT /a#x HTTP/1.1\n";
    assert_eq!(fragments(bytes, 1000, &[("PUT", "/a")]), [false]);
    assert_eq!(fragments(bytes, 1000, &[("GET", "/a")]), [false]);
    // The rest of an unread body is before the method.
    let bytes = b"abc\xffdef DELETE /a#x HTTP/1.1\r\n";
    assert_eq!(fragments(bytes, 1000, &[("DELETE", "/a")]), [true]);
}

#[test]
fn long_lines_and_many_lines_are_not_kept() {
    let long = format!("GET /{}#x HTTP/1.1\r\n", "a".repeat(300));
    let lines = Arc::new(RequestLines::default());
    let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
    for byte in long.as_bytes() {
        reader.read(&[*byte]);
        assert!(reader.begin.len() <= 200);
    }
    assert!(lines.kept.lock().lines.is_empty());
    for _ in 0..1000 {
        reader.read(b"GET /a#x HTTP/1.1\r\n");
    }
    assert_eq!(lines.kept.lock().lines.len(), LINES_MAX);
    lines.end_body();
    assert!(!lines.begin_request(&Method::GET, &"/a".parse().unwrap(), false));
}

#[test]
fn bodies_are_not_searched_and_the_request_after_one_is() {
    let lines = Arc::new(RequestLines::default());
    let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
    let uri: Uri = "/a".parse().unwrap();
    reader.read(b"PUT /a HTTP/1.1\r\nContent-Length: 100\r\n\r\nbegin");
    assert!(!lines.begin_request(&Method::PUT, &uri, true));
    reader.read(b"GET /a#x HTTP/1.1\r\nbegin of a line");
    assert!(lines.kept.lock().lines.is_empty());
    assert!(reader.begin.is_empty());
    lines.end_body();
    reader.read(b"GET /a#x HTTP/1.1\r\n\r\n");
    assert!(lines.begin_request(&Method::GET, &uri, false));
}

#[test]
fn whole_heads_without_fragments_are_not_kept() {
    let lines = Arc::new(RequestLines::default());
    let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
    let uri: Uri = "/a".parse().unwrap();
    for (bytes, kept) in [
        ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 0),
        // Another request, a body, or the rest of the head may follow with a line that looks like this one.
        ("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n", 2),
        ("PUT /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", 1),
        ("GET /a HTTP/1.1\r\nHost: h\r\n", 1),
        ("GET /a#x HTTP/1.1\r\n\r\n", 1),
    ] {
        reader.read(bytes.as_bytes());
        assert_eq!(lines.kept.lock().lines.len(), kept, "{bytes}");
        reader.begin.clear();
        lines.end_body();
        reader.read(b"GET /a#x HTTP/1.1\r\n\r\n");
        assert!(lines.begin_request(&Method::GET, &uri, false), "{bytes}");
        assert!(!lines.begin_request(&Method::GET, &uri, false), "{bytes}");
    }
}

#[test]
fn nothing_is_kept_of_a_connection_that_changed_its_protocol() {
    let lines = Arc::new(RequestLines::default());
    let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
    reader.read(b"GET /x HTTP/1.1\r\nUpgrade: websocket\r\n\r\nfirst");
    assert!(!reader.begin.is_empty());
    lines.end_requests();
    reader.read(b"a message without an end of a line");
    reader.read(b"GET /y HTTP/1.1\r\n\r\n");
    assert_eq!(reader.begin.capacity(), 0);
    assert_eq!(lines.kept.lock().lines.capacity(), 0);
}

#[test]
fn whole_head_after_lines_that_are_kept_is_kept_too() {
    // The first request is being answered when the others arrive.
    let heads = b"GET /x HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n";
    let lines = Arc::new(RequestLines::default());
    let mut reader = RequestLineReader::new((), Arc::clone(&lines), 200);
    reader.read(heads);
    reader.read(b"GET /a HTTP/1.1\r\n\r\n");
    assert_eq!(lines.kept.lock().lines.len(), 3);
}

#[test]
fn targets_of_every_form_are_recognized() {
    for (sent, parsed) in [
        ("/", "/"),
        ("/a?b", "/a?b"),
        ("*", "*"),
        ("http://h", "http://h/"),
        ("http://h/a?b", "http://h/a?b"),
    ] {
        let line = format!("OPTIONS {sent}#x HTTP/1.1\r\n");
        let requests = [("OPTIONS", parsed)];
        assert_eq!(
            fragments(line.as_bytes(), 1000, &requests),
            [true],
            "{sent}"
        );
    }
}

proptest! {
    #[test]
    fn other_bytes_are_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
        prop_assert_eq!(fragments(&bytes, piece, &[("GET", "/a")]), [false]);
    }
}
