use http_body_util::BodyExt;
use personium_model::AnswerMemory;

use super::*;

/// The budget of the unit itself.
fn share(memory: &AnswerMemory) -> AnswerShare {
    memory.share(personium_store::Space::Unit)
}

#[tokio::test]
async fn long_text_is_sent_in_parts_that_are_released_one_by_one() {
    let memory = AnswerMemory::new(16 << 20);
    let mut answer = AnswerText::new(share(&memory).reservation(), 100);
    for _ in 0..10 {
        answer.out.push_str(&"x".repeat(100 << 10));
        answer.count().unwrap();
    }
    let response = answer.into_response("text/plain");
    let mut body = counted(response, &Method::GET, &share(&memory))
        .unwrap()
        .into_body();
    let size = http_body::Body::size_hint(&body).exact();
    assert_eq!(size, Some(1_000 << 10), "the length is known");
    let mut left = memory.used_bytes();
    assert!((1_000 << 10..1_200 << 10).contains(&left), "{left}");
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let part = frame.unwrap().into_data().unwrap();
        assert!(part.len() < 512 << 10, "{}", part.len());
        received += part.len();
        assert_eq!(
            memory.used_bytes(),
            left,
            "a part is counted until it is sent"
        );
        drop(part);
        assert!(memory.used_bytes() < left);
        left = memory.used_bytes();
    }
    assert_eq!((received, left), (1_000 << 10, 0));
}

#[tokio::test]
async fn response_without_a_reservation_is_counted_until_it_is_sent() {
    let memory = AnswerMemory::new(1 << 20);
    let page = |kib: usize| {
        let text = "x".repeat(kib << 10);
        response::content(StatusCode::OK, "text/plain", text)
    };
    let small = counted(page(16), &Method::GET, &share(&memory)).unwrap();
    assert_eq!(memory.used_bytes(), 0);
    let large = counted(page(800), &Method::GET, &share(&memory)).unwrap();
    assert_eq!(memory.used_bytes(), 800 << 10);
    let refused = counted(page(800), &Method::GET, &share(&memory)).unwrap_err();
    assert_eq!(refused.code(), Code::ServerBusy);
    let refused = counted(page(800), &Method::POST, &share(&memory)).unwrap_err();
    assert_eq!(refused.code(), Code::ServerBusy);
    let cell = personium_store::Space::Cell(personium_types::CellId::from_bytes([1; 16]));
    let mut rest = memory.share(cell).reservation();
    rest.hold(224 << 10).unwrap();
    let changed = counted(page(64), &Method::POST, &share(&memory)).unwrap();
    assert_eq!(memory.used_bytes(), 1_088 << 10);
    drop(rest);
    drop((small, changed));
    let bytes = large.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(memory.used_bytes(), 800 << 10, "the sender has the bytes");
    drop(bytes);
    assert_eq!(memory.used_bytes(), 0);
}
