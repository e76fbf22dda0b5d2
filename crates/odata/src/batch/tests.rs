use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/mixed; boundary=B";

fn read(body: &str) -> Result<Vec<BatchPart<'_>>, BatchError> {
    parse(TYPE, body.as_bytes(), &BatchLimits::default())
}

fn one(line: &str) -> String {
    format!("--B\nContent-Type: application/http\n\n{line}\n\n--B--")
}

fn changeset(line: &str) -> String {
    format!(
        "--C\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n{line} HTTP/1.1\nHost:\nIf-Match: *\n\n{{}}\n"
    )
}

#[test]
fn parts_and_changesets_are_parsed() {
    let text = format!(
        "--B\nContent-Type: application/http\nContent-Transfer-Encoding:binary\n\nGET Set?$top=3\nHost: host\n\n\
         --B\nContent-Type: multipart/mixed; boundary=C\nContent-Length: 995\n\n{}{}--C--\n\n\
         --B\nContent-Type: multipart/mixed; boundary=C\n\n{}--C--\n\n--B--\n",
        changeset("POST Set('a%2Fb')/_Nav"),
        changeset("PUT Set('a')"),
        changeset("POST Set('a')/$links/_Nav"),
    );
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        let parts = read(&text).unwrap();
        assert_eq!(parts.len(), 4);
        assert_eq!(
            (&parts[0].target, parts[0].query),
            (&BatchTarget::Set("Set".into()), "$top=3")
        );
        assert_eq!(parts[0].changeset, None);
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
            .map(|part| part.changeset.map(|changeset| changeset.number))
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
        "x\n--B\nContent-Type: application/http\n\nGET Set\n--B--",
        "--X\n--X--",
        "--B\nContent-Type: application/http\n\nGET Set\n--B--x",
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
            parse(content_type, valid.as_bytes(), &BatchLimits::default()),
            Err(BatchError::UnsupportedContentType),
            "{content_type}"
        );
    }
    assert!(
        parse(
            "multipart/mixed;boundary=\"B\"",
            valid.as_bytes(),
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
    assert_eq!(read(nested), Err(BatchError::NestedChangeset));
}

#[test]
fn request_lines_are_checked_by_method() {
    for method in ["MERGE", "PATCH", "HEAD", "get", ""] {
        assert_eq!(
            read(&one(&format!("{method} Set"))),
            Err(BatchError::UnsupportedMethod(method_or_set(method))),
            "{method}"
        );
    }
    for line in [
        "POST Set('a') HTTP/1.1",
        "PUT Set HTTP/1.1",
        "DELETE Set",
        "GET",
        "GET /Set",
        "POST Set('a')/ HTTP/1.1",
        "POST Set('a')/Nav",
        "GET Set('a')/_Nav?$top=1",
        "POST Set?x=1",
        "GET Set(1)",
        "GET Set('a)",
        "GET Set('a'b')",
        "GET Set('a')/_Nav/_Nav",
        "PUT Set('a')/_Nav",
        "GET Set('a')/$links/_Nav?x",
        "GET Set('a')/$links/",
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
        "GET Set('a')/_Nav('b')",
        "PUT Set('a')/_Nav('b')",
        "PUT Set('a')/$links/_Nav",
        "DELETE Set('a')/$links/_Nav('b')",
        "POST Set",
        "POST Set('a')/_Nav('b') HTTP/1.1",
    ] {
        assert_eq!(read(&one(line)).map(|parts| parts.len()), Ok(1), "{line}");
    }
}

fn method_or_set(method: &str) -> String {
    if method.is_empty() {
        "Set".to_owned()
    } else {
        method.to_owned()
    }
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
fn response_parts_of_a_changeset_share_one_section() {
    let mut writer = BatchWriter::new("B");
    let inside = |number| {
        Some(Changeset {
            number,
            boundary: "C",
        })
    };
    writer.push_part(None, 200, &[("DataServiceVersion", "2.0")], Some("{}"));
    writer.push_part(inside(0), 201, &[], Some("{1}"));
    writer.push_part(inside(0), 204, &[("ETag", "x")], None);
    writer.push_part(inside(1), 404, &[], Some("{2}"));
    assert_eq!(writer.content_type(), TYPE);
    let head = "Content-Type: application/http\nContent-Transfer-Encoding: binary\n\n";
    assert_eq!(
        writer.finish(),
        format!(
            "--B\nContent-Type: application/http\n\nHTTP/1.1 200 OK\nDataServiceVersion: 2.0\n\n{{}}\n\n\
             --B\nContent-Type: multipart/mixed; boundary=C\n\n--C\n{head}HTTP/1.1 201 Created\n\n{{1}}\n\n\
             --C\n{head}HTTP/1.1 204 No Content\nETag: x\n\n--C--\n\n\
             --B\nContent-Type: multipart/mixed; boundary=C\n\n--C\n{head}HTTP/1.1 404 \n\n{{2}}\n\n--C--\n\n--B--"
        )
    );
}

proptest! {
    #[test]
    fn arbitrary_input_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "(--[BC](--)?|\\r?\\n|Content-Type: |application/http|multipart/mixed; boundary=C|GET Set|[(')/_$? ]|\\PC)*") {
        let _ = parse(TYPE, &bytes, &BatchLimits::default());
        let _ = read(&text);
        let _ = read(&one(&text));
    }
}
