//! The memory of scripts that wait for another server.

use futures_util::future::join_all;
use tokio::net::TcpListener;

use crate::script_workers::{run, start_with_script};

/// The number of scripts that wait at once.
const SCRIPTS: u64 = 40;

/// A number of KiB that the system tells about a process.
fn told_kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim_start_matches(':').split_whitespace();
    number.take(1).collect::<String>().parse().unwrap()
}

/// A thread that used a little of many ranges of memory had huge pages for all of it.
#[tokio::test]
async fn scripts_that_wait_for_another_server_have_less_than_a_megabyte_each() {
    let mut unit =
        crate::unit().setting("io.personium.core.outgoing.privateNetworks.enabled", true);
    let huge_pages = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    if huge_pages.is_ok_and(|setting| setting.contains("[always]")) {
        // Huge pages are given unasked. The service sets this too.
        unit = unit.environment("MIMALLOC_ALLOW_THP", "0");
    }
    let unit = start_with_script(unit).await;
    let process = unit.process_id();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    let wait = format!("new _p.extension.HttpClient().get('http://127.0.0.1:{port}/');");
    let nothing = "return {status: 200, headers: {}, body: []};";
    assert_eq!(run(&unit, nothing).await.0, 200);
    let before = told_kib(process, "VmRSS");
    let scripts = join_all((0..SCRIPTS).map(|_| run(&unit, &wait)));
    let measured = async {
        let mut accepted = Vec::new();
        for _ in 0..SCRIPTS {
            accepted.push(other.accept().await.unwrap());
        }
        // The connections are closed with the end of this block.
        told_kib(process, "VmRSS")
    };
    let (answers, during) = tokio::join!(scripts, measured);
    assert_eq!(answers.len() as u64, SCRIPTS);
    let each = during.saturating_sub(before) / SCRIPTS;
    assert!(each < 1024, "{each} KiB each");
}
