//! Cells that are deleted while they are used.

use futures_util::future::join_all;

const ROUNDS: usize = 8;
const UPLOADS: usize = 16;

#[tokio::test]
async fn requests_to_a_cell_that_is_being_deleted_succeed_or_do_not_find_it() {
    let unit = crate::unit().start();
    let mut missed = 0;
    for round in 0..ROUNDS {
        let cell = format!("c{round}");
        unit.create_cell(&cell).await;
        unit.create_box(&cell, "b").await;
        let upload = |number: usize| {
            let client = unit.admin().reconnect();
            let path = format!("{cell}/b/f{number}");
            // Small files are records, large ones bodies.
            let length = if number.is_multiple_of(2) {
                3_000
            } else {
                400_000
            };
            async move {
                let put = client.request("PUT", &path).body(vec![b'x'; length]);
                let response = put.send().await;
                (response.status.as_u16(), response.text())
            }
        };
        let delete = async {
            tokio::time::sleep(std::time::Duration::from_millis(round as u64 * 3)).await;
            let delete = unit.admin_request("DELETE", &cell);
            delete
                .header("x-personium-recursive", "true")
                .send()
                .await
                .expect(204);
        };
        let (uploaded, ()) = tokio::join!(join_all((0..UPLOADS).map(upload)), delete);
        for (status, text) in uploaded {
            assert!([201, 404].contains(&status), "{status} {text}");
            missed += usize::from(status == 404);
        }
    }
    assert!(missed > 0, "no upload met the deletion");
}
