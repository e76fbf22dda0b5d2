//! Scripts that wait for other servers.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{put, register, unit_with};

const WAITING: usize = 200;

#[tokio::test]
async fn requests_and_scripts_are_answered_while_200_scripts_wait() {
    let unit = unit_with(|settings| {
        settings.allow_private_networks = true;
        settings.scripts.limits.running_max = WAITING + 1;
        settings.scripts.limits.running_of_cell_max = WAITING + 1;
    })
    .await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    register(&unit, "", &[("t", "t.js"), ("w", "w.js")]).await;
    let answer = "return {status: 200, headers: {}, body: ['done']};";
    put(&unit, "t.js", &format!("function (r) {{ {answer} }}")).await;
    let waits = format!("function (r) {{ new _p.extension.HttpClient().get('{url}'); {answer} }}");
    put(&unit, "w.js", &waits).await;
    unit.put_file("c/b/file", "content").await;
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let request = unit.admin_request("GET", "c/b/svc/w");
            tokio::spawn(async move { request.send().await.status })
        })
        .collect();
    let mut requests = Vec::new();
    while requests.len() < WAITING {
        requests.push(server.accept().await.unwrap().0);
    }
    for _ in 0..20 {
        for path in ["c/b/file", "c/b/svc/t"] {
            unit.admin_request("GET", path).send().await.expect(200);
        }
    }
    assert!(waiting.iter().all(|script| !script.is_finished()));
    for mut request in requests {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        request.write_all(answer).await.unwrap();
    }
    for script in waiting {
        assert_eq!(script.await.unwrap(), 200);
    }
}
