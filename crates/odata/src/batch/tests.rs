use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/mixed; boundary=B";
const ROOT: BatchRoot<'static> = BatchRoot {
    url: "http://h/c/b/od/",
    host: None,
};

fn read(body: &str) -> Result<Vec<BatchPart<'_>>, BatchError> {
    parse(TYPE, body.as_bytes(), ROOT, &BatchLimits::default())
}

fn one(line: &str) -> String {
    format!("--B\nContent-Type: application/http\n\n{line}\n\n--B--")
}

fn change_set(line: &str) -> String {
    format!(
        "--C\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n{line} HTTP/1.1\nHost:\nIf-Match: *\n\n{{}}\n"
    )
}

#[test]
fn parts_and_change_sets_are_parsed() {
    let text = format!(
        "--B\nContent-Type: application/http\nContent-Transfer-Encoding:binary\n\nGET Set?$top=3\nHost: host\n\n\
         --B\nContent-Type: multipart/mixed; boundary=C\nContent-Length: 995\n\n{}{}--C--\n\n\
         --B\nContent-Type: multipart/mixed; boundary=C\n\n{}--C--\n\n--B--\n",
        change_set("POST Set('a%2Fb')/_Nav"),
        change_set("PUT Set('a')"),
        change_set("POST Set('a')/$links/_Nav"),
    );
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        let parts = read(&text).unwrap();
        assert_eq!(parts.len(), 4);
        assert_eq!(
            (&parts[0].target, parts[0].query),
            (&BatchTarget::Set("Set".into()), "$top=3")
        );
        assert_eq!(parts[0].change_set, None);
        let (set, navigation) = (String::from("Set"), String::from("_Nav"));
        assert_eq!(
            parts[1].target,
            BatchTarget::Navigation {
                set: set.clone(),
                id: "a/b".into(),
                navigation: navigation.clone(),
                target: None
            }
        );
        assert_eq!(parts[1].body.trim_end(), "{}");
        assert_eq!(parts[2].header("if-match"), Some("*"));
        assert_eq!(
            parts[3].target,
            BatchTarget::Links {
                set,
                id: "a".into(),
                navigation,
                target: None
            }
        );
        let numbers: Vec<_> = parts
            .iter()
            .map(|part| part.change_set.map(|frame| frame.number))
            .collect();
        assert_eq!(numbers, [None, Some(0), Some(0), Some(1)]);
    }
}

#[test]
fn malformed_framing_and_content_types_are_refused() {
    for bad in [
        "",
        "--B--",
        "x",
        "--B\n",
        "--X\n--X--",
        "--B\nContent-Type: application/http\n\nGET Set\n--B--x",
        // The boundary is that of a multipart body around or in the batch.
        "--X\n--B\nContent-Type: application/http\n\nGET Set\n--B--\n",
        "--B\nContent-Type: application/http\n\nGET Set\n--B--\n--X--",
    ] {
        assert_eq!(read(bad), Err(BatchError::MalformedFraming), "{bad}");
    }
    let valid = one("GET Set");
    for content_type in [
        "",
        "application/json",
        "multipart/mixed",
        "multipart/mixed; boundary=",
        "multipart/form-data; boundary=B",
    ] {
        assert_eq!(
            parse(
                content_type,
                valid.as_bytes(),
                ROOT,
                &BatchLimits::default()
            ),
            Err(BatchError::UnsupportedContentType),
            "{content_type}"
        );
    }
    assert!(
        parse(
            "multipart/mixed;boundary=\"B\"",
            valid.as_bytes(),
            ROOT,
            &BatchLimits::default()
        )
        .is_ok()
    );
    for header in [
        "",
        "Content-Type: text/plain\n",
        "Content-Type: multipart/mixed\n",
    ] {
        let text = format!("--B\n{header}\nGET Set\n\n--B--");
        assert_eq!(
            read(&text),
            Err(BatchError::UnsupportedContentType),
            "{header}"
        );
    }
    let nested = "--B\nContent-Type: multipart/mixed; boundary=C\n\n--C\nContent-Type: multipart/mixed; boundary=D\n\n--D--\n--C--\n--B--";
    assert_eq!(read(nested), Err(BatchError::NestedChangeSet));
}

#[test]
fn text_before_the_first_and_after_the_final_delimiter_is_ignored() {
    for text in [
        format!("This is a batch.\n\n{}", one("GET Set")),
        format!("{}\n\nThe end. --\n", one("GET Set")),
        one("GET Set").replace("--B\n", "--B \t\n"),
    ] {
        assert_eq!(read(&text).map(|parts| parts.len()), Ok(1), "{text}");
    }
}

#[test]
fn request_lines_are_checked_by_method() {
    for (method, unsupported) in [
        ("HEAD", "HEAD"),
        ("POT", "POT"),
        ("get", "get"),
        ("", "Set"),
    ] {
        assert_eq!(
            read(&one(&format!("{method} Set"))),
            Err(BatchError::UnsupportedMethod(unsupported.to_owned())),
            "{method}"
        );
    }
    for line in [
        "POST Set('a') HTTP/1.1",
        "PUT Set HTTP/1.1",
        "MERGE Set",
        "DELETE Set",
        "GET",
        "GET /Set",
        "GET http://other/c/b/od/Set",
        "GET $batch",
        "GET $1",
        "POST Set('a')/ HTTP/1.1",
        "POST Set('a')/Nav",
        "GET Set(1)",
        "GET Set('a)",
        "GET Set('a'b')",
        "PUT Set('a')/_Nav",
        "GET Set('a')/$links/",
        "POST $metadata",
    ] {
        assert_eq!(
            read(&one(line)),
            Err(BatchError::MalformedRequestLine(line.to_owned())),
            "{line}"
        );
    }
    for line in [
        "GET Set",
        "GET Set('a')?$select=x",
        "GET Set('a')/_Nav",
        "GET Set('a')/_Nav?$top=1",
        "GET Set('a')/_Nav('b')",
        "GET $metadata",
        "PUT Set('a')/_Nav('b')",
        "PUT Set('a')/$links/_Nav",
        "DELETE Set('a')/$links/_Nav('b')",
        "POST Set",
        "POST Set?x=1",
        "POST Set('a')/_Nav('b') HTTP/1.1",
    ] {
        assert_eq!(read(&one(line)).map(|parts| parts.len()), Ok(1), "{line}");
    }
}

#[test]
fn method_is_that_of_the_line_or_of_a_header_on_post() {
    for (request, method) in [
        ("PATCH Set('a')", BatchMethod::Merge),
        ("MERGE Set('a')", BatchMethod::Merge),
        ("POST Set('a')\nX-HTTP-Method: MERGE", BatchMethod::Merge),
        (
            "POST Set('a')\nX-HTTP-Method-Override: PUT",
            BatchMethod::Put,
        ),
        ("POST Set('a')\nx-http-method: DELETE", BatchMethod::Delete),
        ("PUT Set('a')\nX-HTTP-Method: DELETE", BatchMethod::Put),
    ] {
        let text = one(request);
        assert_eq!(read(&text).unwrap()[0].method, method, "{request}");
    }
}

#[test]
fn keys_are_read_in_every_encoding() {
    for (path, id) in [
        ("Set('b1')", "b1"),
        ("Set%28%27b1%27%29", "b1"),
        ("/c/b/od/Set('b1')", "b1"),
        ("http://h/c/b/od/Set(%27b1%27)", "b1"),
        ("Set('it''s')", "it's"),
        ("Set('a%2Fb%20c')", "a/b c"),
        ("Set(__id='b1')", "b1"),
    ] {
        let text = one(&format!("DELETE {path} HTTP/1.1"));
        let parts = read(&text).unwrap();
        let (set, id) = ("Set".to_owned(), id.to_owned());
        assert_eq!(parts[0].target, BatchTarget::Entity { set, id }, "{path}");
        assert!(parts[0].has_http_version);
    }
}

fn named(content_id: &str, request: &str) -> String {
    format!("--C\nContent-Type: application/http\n{content_id}\n{request}\n\n")
}

#[test]
fn references_name_earlier_parts_of_the_change_set() {
    let batch = |parts: &[String]| {
        let parts = parts.concat();
        format!("--B\nContent-Type: multipart/mixed; boundary=C\n\n{parts}--C--\n--B--")
    };
    let text = batch(&[
        named("Content-ID: 1\n", "POST Set HTTP/1.1"),
        named("", "POST Set HTTP/1.1\nContent-ID: id-2"),
        named("", "POST $1/_Nav HTTP/1.1"),
        named("", "PUT $id-2 HTTP/1.1"),
    ]);
    let parts = read(&text).unwrap();
    let ids: Vec<_> = parts
        .iter()
        .map(|part| part.content_id.map(|id| (id.value, id.is_of_part)))
        .collect();
    assert_eq!(ids, [Some(("1", true)), Some(("id-2", false)), None, None]);
    let reference = |id: &str| BatchTarget::Reference {
        content_id: id.to_owned(),
    };
    assert_eq!(parts[2].target, reference("1"));
    assert_eq!(parts[2].path, "$1/_Nav");
    assert_eq!(parts[3].target, reference("id-2"));
    for parts in [
        vec![named("", "PUT $1 HTTP/1.1")],
        vec![named("", "PUT $1"), named("Content-ID: 1\n", "POST Set")],
    ] {
        let refused = read(&batch(&parts)).map(|_| ()).unwrap_err();
        assert!(matches!(refused, BatchError::MalformedRequestLine(_)));
    }
    let twice = [
        named("Content-ID: 1\n", "POST Set"),
        named("Content-ID: 1\n", "POST Set"),
    ];
    assert_eq!(read(&batch(&twice)), Err(BatchError::DuplicateContentId));
}

#[test]
fn headers_of_a_part_are_limited() {
    let with = |count: usize| one(&format!("GET Set\n{}", "A: b\n".repeat(count)));
    assert!(read(&with(MAX_PART_HEADERS)).is_ok());
    assert_eq!(
        read(&with(MAX_PART_HEADERS + 1)),
        Err(BatchError::MalformedFraming)
    );
}

#[test]
fn number_of_parts_and_sum_of_top_are_limited() {
    let many = |count: usize| {
        let part = "--B\nContent-Type: application/http\n\nGET Set?$top=10\n\n";
        part.repeat(count) + "--B--"
    };
    assert_eq!(read(&many(1000)).map(|parts| parts.len()), Ok(1000));
    assert_eq!(read(&many(1001)), Err(BatchError::TooManyParts(1001)));
    let tops = |first: &str| {
        let part =
            |top: &str| format!("--B\nContent-Type: application/http\n\nGET Set?$top={top}\n\n");
        part(first) + &part("5000") + "--B--"
    };
    assert_eq!(read(&tops("5001")), Err(BatchError::TopSumTooLarge));
    assert!(
        read(&tops("5000")).is_ok() && read(&tops("x")).is_ok() && read(&tops("10001")).is_ok()
    );
    assert_eq!(
        [
            grouped_digits(7),
            grouped_digits(1001),
            grouped_digits(1_234_567)
        ],
        ["7", "1,001", "1,234,567"]
    );
}

#[test]
fn response_parts_of_a_change_set_share_one_section() {
    let mut writer = BatchWriter::new("B");
    let inside = |number| {
        Some(ChangeSetFrame {
            number,
            boundary: "C",
        })
    };
    let part = |status, reason, body: Option<&'static [u8]>| ResponsePart {
        status,
        reason,
        body,
        ..ResponsePart::default()
    };
    let id = |is_of_part| {
        let value = "7";
        Some(ContentId { value, is_of_part })
    };
    let versioned = ResponsePart {
        headers: &[("DataServiceVersion", "2.0")],
        ..part(200, "OK", Some(b"{}"))
    };
    writer.push_part(None, &versioned);
    let created = ResponsePart {
        content_id: id(true),
        ..part(201, "Created", Some(b"{1}"))
    };
    writer.push_part(inside(0), &created);
    let changed = ResponsePart {
        content_id: id(false),
        headers: &[("ETag", "x")],
        ..part(204, "No Content", None)
    };
    writer.push_part(inside(0), &changed);
    writer.push_part(None, &part(404, "Not Found", Some(b"{2}")));
    assert_eq!(writer.content_type(), TYPE);
    let head = "Content-Type: application/http\nContent-Transfer-Encoding: binary\n";
    let expected = format!(
        "--B\n{head}\nHTTP/1.1 200 OK\nDataServiceVersion: 2.0\nContent-Length: 2\n\n{{}}\n\
         --B\nContent-Type: multipart/mixed; boundary=C\n\n--C\n{head}Content-ID: 7\n\n\
         HTTP/1.1 201 Created\nContent-Length: 3\n\n{{1}}\n\
         --C\n{head}\nHTTP/1.1 204 No Content\nETag: x\nContent-ID: 7\n\n\n--C--\n\n\
         --B\n{head}\nHTTP/1.1 404 Not Found\nContent-Length: 3\n\n{{2}}\n--B--\n"
    );
    let written = String::from_utf8(writer.finish()).unwrap();
    assert_eq!(written, expected.replace('\n', "\r\n"));
}

proptest! {
    #[test]
    fn arbitrary_input_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "(--[BC](--)?|\\r?\\n|Content-Type: |application/http|multipart/mixed; boundary=C|GET Set|[(')/_$? ]|\\PC)*") {
        let _ = parse(TYPE, &bytes, ROOT, &BatchLimits::default());
        let _ = read(&text);
        let _ = read(&one(&text));
    }
}
