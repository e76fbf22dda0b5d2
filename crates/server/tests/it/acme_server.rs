//! An authority with the protocol ACME (Pebble) and its name system, each in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use personium_testkit::{OnDrop, Process, built_program, free_port};
use serde_json::json;
use tempfile::TempDir;

use crate::program;

/// A name for which the authority refuses certificates.
pub const BLOCKED_NAME: &str = "blocked.example";

/// The ports of a unit: two that the authority asks, and the admin port.
#[derive(Debug, Clone, Copy)]
pub struct UnitPorts {
    pub http: u16,
    pub tls: u16,
    pub admin: u16,
}

impl UnitPorts {
    pub fn free() -> Self {
        Self {
            http: free_port(),
            tls: free_port(),
            admin: free_port(),
        }
    }
}

/// A running authority. All names lead to this machine.
pub struct AcmeServer {
    folder: TempDir,
    pebble: Process,
    _names: Process,
    directory_port: u16,
    management_port: u16,
    names_port: u16,
    names_management_port: u16,
}

impl AcmeServer {
    /// Starts an authority whose certificates are valid for so long.
    pub fn start(unit: UnitPorts, validity: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cert = |arguments: &[&str]| {
            let mut command = program::command(&[&["cert"][..], arguments].concat());
            let output = command.current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{}", program::text(&output));
        };
        let authority = ["--ca-key", "ca.key", "--ca-cert", "ca.crt"];
        cert(&[
            "ca",
            "--name",
            "Root of the API",
            "--key",
            "ca.key",
            "--cert",
            "ca.crt",
        ]);
        let server = [
            "server",
            "--name",
            "localhost",
            "--key",
            "api.key",
            "--cert",
            "api.crt",
        ];
        cert(&[&server[..], &authority].concat());

        let (directory_port, management_port) = (free_port(), free_port());
        let (names_port, names_management_port) = (free_port(), free_port());
        let address = |port: u16| format!("127.0.0.1:{port}");
        let names = Process::listen(
            Command::new(built_program("pebble-challtestsrv"))
                .args(["-management", &address(names_management_port)])
                .args(["-dnsserver", &address(names_port), "-defaultIPv6", ""])
                .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""])
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
            names_management_port,
            OnDrop::Kill,
        );
        let config = json!({"pebble": {
            "listenAddress": address(directory_port),
            "managementListenAddress": address(management_port),
            "certificate": folder.path().join("api.crt"),
            "privateKey": folder.path().join("api.key"),
            "httpPort": unit.http,
            "tlsPort": unit.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "domainBlocklist": [BLOCKED_NAME],
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {
                "description": "of this test",
                "validityPeriod": validity.as_secs(),
            }},
        }});
        std::fs::write(folder.path().join("pebble.json"), config.to_string()).unwrap();
        Self {
            pebble: start_pebble(folder.path(), directory_port, names_port),
            folder,
            _names: names.unwrap().0,
            directory_port,
            management_port,
            names_port,
            names_management_port,
        }
    }

    /// Ends the authority by SIGKILL. It forgets everything.
    pub fn kill(&mut self) {
        self.pebble.kill();
    }

    /// Starts the authority again, without the accounts that it had and with another root.
    pub fn restart(&mut self) {
        self.pebble = start_pebble(self.folder.path(), self.directory_port, self.names_port);
    }

    /// The port of the directory.
    pub fn port(&self) -> u16 {
        self.directory_port
    }

    /// The folder with key and certificate of its server, `api.key` and `api.crt`, and of the root of that.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root certificate of what it issues, in a file.
    pub fn root(&self) -> PathBuf {
        let path = self.folder.path().join("issued.pem");
        let url = format!("https://localhost:{}/roots/0", self.management_port);
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--retry",
                "5",
                "--retry-connrefused",
            ])
            .arg("--cacert")
            .arg(self.folder.path().join("ca.crt"))
            .arg("--output")
            .args([&path.display().to_string(), &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", program::text(&output));
        path
    }

    /// The settings of a unit that gets its certificate here by a challenge.
    pub fn settings(&self, unit: UnitPorts, challenge: &str) -> String {
        let settings = self.settings_without_admin_port(unit, challenge);
        format!(
            "{settings}io.personium.core.admin.listen=127.0.0.1:{}\n",
            unit.admin
        )
    }

    /// The same without the admin port.
    pub fn settings_without_admin_port(&self, unit: UnitPorts, challenge: &str) -> String {
        let key = "io.personium.core.tls";
        format!(
            "{key}.listen=127.0.0.1:{}\n{key}.redirect.listen=127.0.0.1:{}\n\
             {key}.acme.directory=https://localhost:{}/dir\n{key}.acme.root={}\n{key}.acme.termsAgreed=true\n\
             {key}.acme.contact=operator@unit.example\n{key}.acme.challenge={challenge}\n{key}.acme.retryInSec=1\n",
            unit.tls,
            unit.http,
            self.directory_port,
            self.folder.path().join("ca.crt").display(),
        )
    }

    /// The settings of a command that sets records in the name system of the authority. It waits while the file `wait` beside it
    /// exists, and logs its calls in the file `calls`.
    pub fn dns_settings(&self, folder: &Path) -> String {
        let script = format!(
            "#!/bin/sh\nset -e\ncd '{}'\necho \"$1 $2 $3\" >> calls\n\
             while [ -e wait ]; do sleep 0.05; done\n\
             case $1 in\n\
             add) call=set-txt; body=\"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" ;;\n\
             remove) call=clear-txt; body=\"{{\\\"host\\\":\\\"$2.\\\"}}\" ;;\n\
             esac\n\
             curl --silent --show-error --fail --data \"$body\" http://127.0.0.1:{}/$call\n",
            folder.display(),
            self.names_management_port
        );
        let path = folder.join("set-record");
        std::fs::write(&path, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let key = "io.personium.core.tls.acme.dns";
        format!("{key}.command={}\n{key}.waitInSec=0\n", path.display())
    }
}

fn start_pebble(folder: &Path, port: u16, names_port: u16) -> Process {
    let log = std::fs::File::create(folder.join("pebble.log")).unwrap();
    let process = Process::listen(
        Command::new(built_program("pebble"))
            .args(["-config", "pebble.json", "-strict"])
            .args(["-dnsserver", &format!("127.0.0.1:{names_port}")])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .current_dir(folder)
            .stdout(log.try_clone().unwrap())
            .stderr(log),
        port,
        OnDrop::Kill,
    );
    process.unwrap().0
}
