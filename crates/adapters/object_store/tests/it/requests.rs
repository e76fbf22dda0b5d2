//! The requests that operations need.

use personium_store::BlobStore;
use personium_testkit::{S3Program, S3Proxy, S3Server};

use crate::stores::{PART_BYTES, new_space, open, random_body, read, settings, write};

#[tokio::test]
async fn small_body_takes_one_request_and_a_large_one_two_more_than_its_parts() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&settings(&proxy.url(), "p"));
    let space = new_space();
    // A server that has just started refuses some requests, which are repeated.
    loop {
        write(&store, &space, &random_body(100)).await.unwrap();
        if proxy.take_requests().len() == 1 {
            break;
        }
    }
    for (len, to_write, to_read) in [(10_000, 1, 1), (3 * PART_BYTES, 1 + 4 + 1, 2)] {
        let _ = proxy.take_requests();
        let id = write(&store, &space, &random_body(len)).await.unwrap();
        let requests = proxy.take_requests();
        assert_eq!(requests.len(), to_write, "{requests:?}");
        read(&store, &space, &id).await.unwrap().unwrap();
        let requests = proxy.take_requests();
        assert_eq!(requests.len(), to_read, "{requests:?}");
        let mut reader = store.open(&space, &id).await.unwrap().unwrap();
        reader.read_at(5_000, 100).await.unwrap();
        let requests = proxy.take_requests();
        assert_eq!(requests.len(), to_read, "a range: {requests:?}");
    }
}
