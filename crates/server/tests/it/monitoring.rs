//! The files of `deploy/monitoring` with a real Prometheus, which reads the metrics of a unit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use personium_testkit::{ActiveMq, Memcached, OnDrop, Process, TestClient, free_port, wait_until};
use serde_json::Value;

use crate::acme_server::{AcmeServer, UnitPorts};
use crate::storage_unit::{StorageUnit, cell_files};
use crate::trace_collector::TraceCollector;

/// The parts of names of metrics that these files use.
const METRIC_PREFIXES: [&str; 2] = ["personium_", "process_"];

fn folder() -> PathBuf {
    std::path::absolute("../../deploy/monitoring").unwrap()
}

fn promtool(arguments: &[&str]) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder());
    command.output().unwrap()
}

fn text_of(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn rules_and_settings_are_valid_and_each_alert_fires_when_it_must() {
    for arguments in [
        &["check", "rules", "personium.rules.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "personium.rules.test.yml"],
    ] {
        let output = promtool(arguments);
        assert!(output.status.success(), "{}", text_of(&output));
    }
    let rules = fs::read_to_string(folder().join("personium.rules.yml")).unwrap();
    let tests = fs::read_to_string(folder().join("personium.rules.test.yml")).unwrap();
    let alerts = rules
        .lines()
        .filter_map(|line| line.split_once("- alert: "));
    let alerts: Vec<&str> = alerts.map(|(_, name)| name).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        let cases = tests.split("- eval_time:").skip(1);
        let name = format!("alertname: {alert}\n");
        let mut of_alert = cases.filter(|case| case.contains(&name));
        let fires = of_alert.any(|case| case.contains("exp_alerts:"));
        assert!(fires, "{alert} fires in no test");
    }
}

/// A Prometheus with the settings of `deploy/monitoring`, which reads the metrics of a unit each second.
struct Prometheus {
    client: TestClient,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    async fn start(unit: &StorageUnit) -> Self {
        let own = tempfile::tempdir().unwrap();
        let rules = folder().join("personium.rules.yml");
        fs::copy(rules, own.path().join("personium.rules.yml")).unwrap();
        let settings = fs::read_to_string(folder().join("prometheus.yml")).unwrap();
        let target = format!("127.0.0.1:{}", unit.admin_port());
        let settings = settings
            .replace("127.0.0.1:9997", &target)
            .replace("15s", "1s");
        assert!(settings.contains(&target) && settings.contains("1s"));
        let path = own.path().join("prometheus.yml");
        fs::write(&path, settings).unwrap();
        let (process, port) = Self::listen(&path, own.path());
        let prometheus = Self {
            client: TestClient::for_port(port),
            _process: process,
            _folder: own,
        };
        wait_until("Prometheus is ready", async || prometheus.is_ready().await).await;
        prometheus
    }

    async fn is_ready(&self) -> bool {
        let response = self.client.request("GET", "-/ready").try_send().await;
        response.is_ok_and(|response| response.status == 200)
    }

    fn listen(settings: &Path, folder: &Path) -> (Process, u16) {
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", settings.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let listening = Process::listen(&mut command, port, OnDrop::Kill);
        (listening.unwrap_or_else(|e| panic!("{e}")).0, port)
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.client.request("GET", path).try_send().await;
        response.map_or(Value::Null, |response| response.json()["data"].clone())
    }

    /// The values of a query.
    async fn query(&self, query: &str) -> Vec<Value> {
        let request = self.client.request("POST", "api/v1/query");
        let response = request.form(&[("query", query)]).try_send().await.unwrap();
        let answer = response.json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    async fn wait_for(&self, query: &str) {
        let has_values = async || !self.query(query).await.is_empty();
        wait_until(query, has_values).await;
    }
}

/// The queries in the panels of a dashboard.
fn queries(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    found
}

/// The names of metrics of units in a query.
fn metric_names(query: &str) -> BTreeSet<String> {
    let is_part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = query.split(|c| !is_part_of_name(c));
    let is_metric = |word: &&str| {
        METRIC_PREFIXES
            .iter()
            .any(|prefix| word.starts_with(prefix))
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

#[tokio::test]
async fn prometheus_knows_every_metric_of_rules_and_dashboard_and_gives_alerts() {
    let (memcached, broker) = (Memcached::start(), ActiveMq::start());
    let traces = TraceCollector::start().await;
    let ports = UnitPorts::free();
    let authority = AcmeServer::start(ports, Duration::from_secs(90 * 24 * 3600));
    let builder = crate::unit()
        .settings(&authority.settings_without_admin_port(ports, "http-01"))
        .setting("io.personium.core.tls.acme.names", "unit.example")
        .setting(
            "io.personium.core.cache.memcached.host",
            memcached.address(),
        )
        .setting("io.personium.core.log.access", "common")
        .setting("io.personium.core.store.journalInHours", 24)
        .setting("io.personium.core.stream.mq", "activemq")
        .setting("io.personium.core.stream.broker", broker.url())
        .setting("io.personium.core.eventbus.mq", "activemq")
        .setting("io.personium.core.eventbus.broker", broker.url())
        .setting("io.personium.core.telemetry.traces.endpoint", traces.url())
        // A stall of a loaded machine must not be an alert here.
        .setting("io.personium.core.log.stall.thresholdInMs", 0);
    let mut unit = StorageUnit::start(builder);
    unit.create_cell("lost").await;
    let prometheus = Prometheus::start(&unit).await;
    prometheus.wait_for("up{job=\"personium\"} == 1").await;

    let rules = prometheus.get("api/v1/rules").await;
    let groups = rules["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let rules: Vec<String> = rules
        .map(|rule| rule["query"].as_str().unwrap().to_owned())
        .collect();
    let dashboard = fs::read(folder().join("grafana-dashboard.json")).unwrap();
    let panels = queries(&serde_json::from_slice(&dashboard).unwrap());
    assert!(
        rules.len() > 20 && panels.len() > 30,
        "{rules:?} {panels:?}"
    );
    let names: BTreeSet<String> = rules
        .iter()
        .chain(&panels)
        .flat_map(|query| metric_names(query))
        .collect();
    for name in &names {
        prometheus.wait_for(name).await;
    }
    for panel in panels {
        let query = panel
            .replace("$instance", ".*")
            .replace("$__rate_interval", "1m");
        assert!(!query.contains('$'), "{query}");
        prometheus.wait_for(&query).await;
    }
    // Nothing is wrong so far.
    let alerts = "ALERTS{alertstate=\"firing\"}";
    assert_eq!(prometheus.query(alerts).await, Vec::<Value>::new());

    for path in cell_files(&unit.data()) {
        fs::remove_file(path).unwrap();
    }
    let refused = unit.admin_request("PUT", "lost/__/file").send().await;
    assert!(refused.status.is_server_error());
    let damaged = "ALERTS{alertstate=\"firing\",alertname=\"PersoniumDataDamaged\"}";
    prometheus.wait_for(damaged).await;
    unit.kill();
    prometheus
        .wait_for("ALERTS{alertstate=\"pending\",alertname=\"PersoniumNodeDown\"}")
        .await;
    let health = prometheus.get("api/v1/rules").await.to_string();
    assert!(!health.contains("\"health\":\"err\""), "{health}");
}

#[tokio::test]
async fn stopped_process_is_logged_and_counted_as_a_stall() {
    let unit =
        StorageUnit::start(crate::unit().setting("io.personium.core.log.stall.thresholdInMs", 300));
    unit.admin_text("health").await;
    unit.pause();
    tokio::time::sleep(Duration::from_millis(900)).await;
    unit.resume();
    let is_logged = async || unit.log().contains("the runtime was stalled");
    wait_until("the stall in the log", is_logged).await;
    let is_counted = async || {
        let (_, text) = unit.admin_text("metrics").await;
        let count = "personium_runtime_stalls_total ";
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(count)?.parse::<u64>().ok());
        found.unwrap() > 0
    };
    wait_until("the stall in the metrics", is_counted).await;
}
