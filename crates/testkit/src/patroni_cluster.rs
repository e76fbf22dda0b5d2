//! A primary and a synchronous standby of PostgreSQL, which Patroni manages with etcd.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::TestClient;
use crate::postgres_cluster::{Owner, SUPERUSER, program};
use crate::process::{OnDrop, Process, free_port};
use crate::unit_database::unit_tables;

/// The time until the standby must be synchronous.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// The number of database servers.
const MEMBERS: usize = 2;

/// Two database servers, Patroni for each, and etcd. Dropping it ends all of them.
pub struct PatroniCluster {
    members: Vec<PatroniMember>,
    _etcd: Process,
    _folder: TempDir,
}

/// A database server with its Patroni.
struct PatroniMember {
    name: String,
    port: u16,
    api_port: u16,
    data: PathBuf,
    patroni: Option<Process>,
}

impl PatroniMember {
    /// The id of the process of the database server, if there is one.
    fn server_id(&self) -> Option<String> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        Some(text.lines().next()?.trim().to_owned())
    }

    /// Ends both processes by SIGKILL, as if the machine had lost its power.
    fn kill(&mut self) {
        if let Some(mut patroni) = self.patroni.take() {
            patroni.kill();
        }
        if let Some(id) = self.server_id() {
            let _ = Command::new("kill").args(["-9", &id]).output();
        }
    }
}

impl Drop for PatroniMember {
    fn drop(&mut self) {
        if self.patroni.is_some() {
            self.kill();
        }
    }
}

impl PatroniCluster {
    /// Starts all, and waits until the standby is synchronous.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::find();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        owner.own(&home);
        let etcd_port = free_port();
        let etcd = start_etcd(owner, &home, etcd_port);
        let members = (0..MEMBERS)
            .map(|number| start_member(owner, &home, number, etcd_port))
            .collect();
        let cluster = Self {
            members,
            _etcd: etcd,
            _folder: folder,
        };
        let until = Instant::now() + START_TIMEOUT;
        while cluster.member_of_role("sync_standby").await.is_none()
            || cluster.member_of_role("leader").await.is_none()
        {
            assert!(Instant::now() < until, "no synchronous standby in time");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        cluster
    }

    /// Makes a database with the tables of a unit. Returns the settings of a unit that uses it, as lines with whole keys.
    pub async fn unit_settings(&self, unit_program: &Path) -> String {
        let hosts: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("127.0.0.1:{}", member.port))
            .collect();
        let settings = vec![
            ("store.type", "postgres".to_owned()),
            ("store.postgres.hosts", hosts.join(",")),
            ("store.postgres.database", "unit".to_owned()),
            ("store.postgres.user", SUPERUSER.to_owned()),
            ("store.postgres.tls", "off".to_owned()),
        ];
        let leader = self.member_of_role("leader").await.unwrap();
        let port = self.members[leader].port;
        run_sql(port, SUPERUSER, "CREATE DATABASE unit");
        run_sql(port, "unit", &unit_tables(unit_program, &settings));
        let lines = settings
            .iter()
            .map(|(key, value)| format!("io.personium.core.{key}={value}\n"));
        lines.collect()
    }

    /// Kills the primary and its Patroni.
    pub async fn kill_primary(&mut self) {
        let leader = self.member_of_role("leader").await.unwrap();
        self.members[leader].kill();
    }

    /// The member that has a role in the view of one that runs.
    async fn member_of_role(&self, role: &str) -> Option<usize> {
        for member in self.members.iter().filter(|m| m.patroni.is_some()) {
            let client = TestClient::for_port(member.api_port);
            let Ok(answer) = client.request("GET", "/cluster").try_send().await else {
                continue;
            };
            let Ok(shown) = serde_json::from_slice::<Value>(&answer.body) else {
                continue;
            };
            let found = shown["members"].as_array().and_then(|members| {
                let is_it = |shown: &&Value| shown["role"] == role && shown["state"] == "running";
                members.iter().find(is_it)
            });
            if let Some(found) = found {
                return self.members.iter().position(|m| found["name"] == *m.name);
            }
        }
        None
    }
}

fn run_sql(port: u16, database: &str, statements: &str) {
    let mut psql = Command::new(program("psql"));
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"])
        .args(["-U", SUPERUSER, "-d", database, "-p", &port.to_string()])
        .args(["-c", statements]);
    let output = psql.output().unwrap();
    assert!(output.status.success(), "{statements}: {output:?}");
}

fn start_etcd(owner: Owner, home: &Path, port: u16) -> Process {
    let (clients, peers) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", free_port()),
    );
    let log = File::create(home.join("etcd.log")).unwrap();
    let mut command = owner.command(Path::new("etcd"));
    command
        .current_dir(home)
        .args(["--name", "one", "--data-dir", "etcd"])
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("one={peers}")])
        .arg("--unsafe-no-fsync")
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let listening = Process::listen(&mut command, port, OnDrop::Kill);
    listening.unwrap_or_else(|error| panic!("{error}")).0
}

fn start_member(owner: Owner, home: &Path, number: usize, etcd_port: u16) -> PatroniMember {
    let name = format!("member{number}");
    let (port, api_port) = (free_port(), free_port());
    let data = home.join(&name);
    let programs = program("postgres");
    let programs = programs.parent().unwrap().display();
    let (place, home_shown) = (data.display(), home.display());
    // A primary that is lost is replaced after `ttl` seconds.
    let settings = format!(
        "scope: unit\nname: {name}\n\
         restapi: {{listen: '127.0.0.1:{api_port}', connect_address: '127.0.0.1:{api_port}'}}\n\
         etcd3: {{hosts: ['127.0.0.1:{etcd_port}']}}\n\
         bootstrap:\n  dcs:\n    ttl: 10\n    loop_wait: 1\n    retry_timeout: 3\n    master_start_timeout: 0\n    \
         synchronous_mode: true\n    postgresql: {{use_pg_rewind: false}}\n  \
         initdb: [{{auth: trust}}, {{encoding: UTF8}}, {{locale: C}}]\n  \
         pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']\n\
         postgresql:\n  listen: 127.0.0.1:{port}\n  connect_address: 127.0.0.1:{port}\n  data_dir: {place}\n  \
         bin_dir: {programs}\n  pgpass: {home_shown}/{name}.pgpass\n  basebackup: [{{checkpoint: fast}}]\n  \
         authentication: {{superuser: {{username: {SUPERUSER}}}, replication: {{username: {SUPERUSER}}}}}\n  \
         parameters: {{unix_socket_directories: ''}}\n"
    );
    let file = home.join(format!("{name}.yml"));
    fs::write(&file, settings).unwrap();
    let log = File::create(home.join(format!("{name}.log"))).unwrap();
    let mut command = owner.command(Path::new("patroni"));
    command
        .current_dir(home)
        .arg(&file)
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    PatroniMember {
        name,
        port,
        api_port,
        data,
        patroni: Some(Process::spawn(&mut command, OnDrop::Kill)),
    }
}
