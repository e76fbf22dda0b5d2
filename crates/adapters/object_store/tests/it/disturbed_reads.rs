//! Reading while the server or the network fails.

use http::{Method, Uri};
use personium_store::StoreError;
use personium_testkit::{Disturbance, S3Program, S3Proxy, S3Server};

use crate::stores::{new_space, open, random_body, read, settings, write};

const ALWAYS: usize = 1_000;

fn is_get(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && uri.query().is_none()
}

const DISTURBANCES: [Disturbance; 9] = [
    Disturbance::Status(500, "InternalError"),
    Disturbance::Status(503, "SlowDown"),
    Disturbance::CutRequest,
    Disturbance::LoseResponse,
    Disturbance::CutResponse(0),
    Disturbance::CutResponse(40_000),
    Disturbance::CutResponse(150_000),
    Disturbance::ShortenResponse(1_000),
    Disturbance::ChangeByte(10),
];

#[tokio::test]
async fn each_read_survives_failures_that_pass() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&settings(&proxy.url(), "p"));
    let space = new_space();
    for len in [1_000, 1_500_000] {
        let body = random_body(len);
        let id = write(&store, &space, &body).await.unwrap();
        for disturbance in DISTURBANCES {
            // What the opening reads: the response to this is not repeated, but it must not be taken for a body.
            proxy.disturb(1, disturbance, is_get);
            match read(&store, &space, &id).await {
                Ok(found) => assert!(found.unwrap() == body, "{disturbance:?} {len}"),
                Err(error) => assert!(is_damage_of_opening(disturbance), "{error:?}"),
            }
            proxy.calm();
            let found = read(&store, &space, &id).await.unwrap().unwrap();
            assert!(found == body, "{disturbance:?} {len}");
        }
    }
}

/// Whether the end of an object that was changed or cut on its way makes the opening fail.
const fn is_damage_of_opening(disturbance: Disturbance) -> bool {
    matches!(
        disturbance,
        Disturbance::ShortenResponse(_) | Disturbance::ChangeByte(_)
    )
}

#[tokio::test]
async fn response_that_fails_in_the_middle_of_a_body_is_continued() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&settings(&proxy.url(), "p"));
    let space = new_space();
    let body = random_body(2_000_000);
    let id = write(&store, &space, &body).await.unwrap();
    for disturbance in DISTURBANCES {
        let is_opening = std::sync::atomic::AtomicBool::new(true);
        proxy.disturb(1, disturbance, move |method, uri| {
            let opens = is_opening.swap(false, std::sync::atomic::Ordering::Relaxed);
            is_get(method, uri) && !opens
        });
        let found = read(&store, &space, &id).await;
        let found = found.unwrap_or_else(|e| panic!("{disturbance:?}: {e:?}"));
        assert!(found.unwrap() == body, "{disturbance:?}");
        proxy.calm();
    }
}

#[tokio::test]
async fn body_that_is_always_changed_is_reported_as_damaged_and_not_sent() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let settings = settings(&proxy.url(), "p");
    let store = open(&settings);
    let space = new_space();
    let id = write(&store, &space, &random_body(1_000_000))
        .await
        .unwrap();
    proxy.disturb(ALWAYS, Disturbance::ChangeByte(100), |method, uri| {
        is_get(method, uri)
    });
    let found = read(&store, &space, &id).await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
    assert_eq!(settings.health.damaged_spaces().len(), 1);
}

#[tokio::test]
async fn lasting_failure_of_a_read_is_an_error_and_not_a_missing_body() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&settings(&proxy.url(), "p"));
    let space = new_space();
    let body = random_body(1_000_000);
    let id = write(&store, &space, &body).await.unwrap();
    for disturbance in DISTURBANCES {
        proxy.disturb(ALWAYS, disturbance, is_get);
        let found = read(&store, &space, &id).await;
        match found {
            // What was read before a cut need not be read again, so that the end is reached.
            Ok(found) => assert!(found.unwrap() == body, "{disturbance:?}"),
            Err(error) => assert!(is_retryable_or_damage(&error), "{error:?}"),
        }
        proxy.calm();
    }
}

const fn is_retryable_or_damage(error: &StoreError) -> bool {
    error.is_retryable() || matches!(error, StoreError::Corrupt(_))
}
