//! Machines of units: each with a network, host names and an address of its own, in namespaces.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use personium_testkit::{OnDrop, Process, wait_until};
use serde_json::Value;

use crate::program;

/// The file of the addresses of names.
const HOSTS_FILE: &str = "hosts";

/// A machine. Dropping it ends what runs on it.
pub struct UnitHost {
    pub name: &'static str,
    folder: PathBuf,
    holder: Process,
    unit: Option<Process>,
}

impl UnitHost {
    /// Two machines with addresses in one network, which know each other's names and those of cells of their units. `folder` gets
    /// the folder of each.
    pub async fn start_two(folder: &Path, names: [&'static str; 2], cells: [&str; 2]) -> [Self; 2] {
        let addresses = ["10.77.0.1", "10.77.0.2"];
        let lines = names.iter().zip(cells).zip(addresses);
        let lines = lines.map(|((name, cell), ip)| format!("{ip} {name} {cell}.{name}\n"));
        let hosts = format!("127.0.0.1 localhost\n{}", lines.collect::<String>());
        let mut machines = Vec::new();
        for name in names {
            let own = folder.join(name);
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join(HOSTS_FILE), &hosts).unwrap();
            let script = "mount --bind hosts /etc/hosts && ip link set lo up && touch ready && exec sleep 86400";
            let mut command = Command::new("unshare");
            command
                .args(["--mount", "--net", "sh", "-c", script])
                .current_dir(&own);
            let holder = Process::spawn(&mut command, OnDrop::Kill);
            wait_until("the machine", async || own.join("ready").exists()).await;
            machines.push(Self {
                name,
                folder: own,
                holder,
                unit: None,
            });
        }
        let [one, two]: [Self; 2] = machines.try_into().ok().unwrap();
        let pid = |host: &Self| host.holder.id().to_string();
        let link = Command::new("ip")
            .args(["link", "add", "eth0", "netns", &pid(&one), "type", "veth"])
            .args(["peer", "name", "eth0", "netns", &pid(&two)])
            .output()
            .unwrap();
        assert!(link.status.success(), "{}", program::text(&link));
        for (host, address) in [&one, &two].into_iter().zip(addresses) {
            host.run(
                "ip",
                &["address", "add", &format!("{address}/24"), "dev", "eth0"],
            );
            host.run("ip", &["link", "set", "eth0", "up"]);
        }
        [one, two]
    }

    /// A file of this machine.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command of this machine, which runs in its folder.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &self.holder.id().to_string(),
                "--mount",
                "--net",
            ])
            .args(["--", "sh", "-c", "cd \"$0\" && exec \"$@\""])
            .arg(&self.folder)
            .arg(program)
            .args(arguments)
            .env("SSL_CERT_FILE", self.path("web-roots.crt"));
        command
    }

    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(program, arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a program, which must succeed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_run(program, arguments);
        let text = program::text(&output);
        assert!(
            output.status.success(),
            "{}: {arguments:?}: {text}",
            self.name
        );
        text
    }

    /// Runs `personium` with the settings of the unit.
    pub fn try_personium(&self, arguments: &[&str]) -> Output {
        let own = ["--config", "unit.properties"];
        self.try_run(env!("CARGO_BIN_EXE_personium"), &[arguments, &own].concat())
    }

    /// As [`Self::try_personium`], for a command that must succeed.
    pub fn personium(&self, arguments: &[&str]) -> String {
        let output = self.try_personium(arguments);
        let text = program::text(&output);
        assert!(
            output.status.success(),
            "{}: {arguments:?}: {text}",
            self.name
        );
        text
    }

    /// Starts the unit, or starts it again, and waits until it answers.
    pub async fn serve(&mut self) {
        self.unit = None;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("unit.log"))
            .unwrap();
        let own = ["serve", "--config", "unit.properties"];
        let mut command = self.command(env!("CARGO_BIN_EXE_personium"), &own);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.unit = Some(Process::spawn(&mut command, OnDrop::Kill));
        let url = format!("https://{}/", self.name);
        wait_until("the unit", async || self.get(&url, "").0 == 200).await;
    }

    /// Lets the unit take its certificates over.
    pub async fn reload(&self) {
        let log = || std::fs::read_to_string(self.path("unit.log")).unwrap();
        let before = log().matches("settings reloaded").count();
        program::signal(self.unit.as_ref().unwrap().id(), "HUP");
        wait_until("the reload", async || {
            log().matches("settings reloaded").count() > before
        })
        .await;
    }

    /// Sends a request from this machine. Returns the status, 0 without a response, and the body.
    pub fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let mut arguments = vec!["--silent", "--max-time", "30", "--request", method];
        arguments.extend(["--cacert", "web-roots.crt", "--write-out", "\n%{http_code}"]);
        let headers: Vec<String> = headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        for header in &headers {
            arguments.extend(["--header", header]);
        }
        arguments.extend(["--data-binary", "@-", url]);
        let mut command = self.command("curl", &arguments);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(body.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Requests a URL with a token, or without one if it is empty.
    pub fn get(&self, url: &str, token: &str) -> (u16, String) {
        let bearer = format!("Bearer {token}");
        let json = ("Accept", "application/json");
        let headers = [json, ("Authorization", bearer.as_str())];
        let headers = if token.is_empty() {
            &headers[..1]
        } else {
            &headers
        };
        self.request("GET", url, headers, "")
    }

    /// Sends a request to a path of a cell of the own unit as its administrator. Returns the response as JSON.
    pub fn call(&self, method: &str, cell: &str, path: &str, body: &str) -> Value {
        let url = format!("https://{cell}.{}/{path}", self.name);
        self.call_url(method, &url, body)
    }

    /// As [`Self::call`], for a URL.
    pub fn call_url(&self, method: &str, url: &str, body: &str) -> Value {
        let bearer = format!("Bearer {}", personium_testkit::MASTER_TOKEN);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Accept", "application/json"),
            ("X-Personium-Credential", personium_testkit::PASSWORD),
        ];
        let (status, body) = self.request(method, url, &headers, body);
        assert!(
            (200..300).contains(&status),
            "{method} {url}: {status} {body}"
        );
        serde_json::from_str(&body).unwrap_or_default()
    }
}
