//! A unit with an administrator and no master token, whose process the tests start and stop.

use std::path::PathBuf;

use personium_testkit::{OnDrop, Process, TestClient, free_port, text_member};
use tempfile::TempDir;

use crate::program;

/// A new unit without a master token, and its administrator.
pub struct AdministeredUnit {
    pub folder: TempDir,
    pub password: String,
}

/// The password in the output of a command.
pub fn printed_password(text: &str) -> String {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("password "))
        .unwrap_or_else(|| panic!("no password in {text}"))
        .trim()
        .to_owned()
}

impl AdministeredUnit {
    /// Makes a unit without settings, as on a laptop.
    pub fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let output = program::run(&["init", "--data", data.to_str().unwrap()]);
        let text = program::text(&output);
        assert!(output.status.success(), "{text}");
        Self {
            password: printed_password(&text),
            folder,
        }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts the unit with these options. Returns it with a client that sends this host name.
    pub fn serve(&self, host: &str, options: &[&str]) -> (Process, TestClient) {
        let port = free_port();
        let process = self.serve_on(port, ["--port", &port.to_string()], options);
        (process, TestClient::for_host(host, port))
    }

    /// Starts the unit behind a proxy, whose port is that of its URLs.
    pub fn serve_behind_proxy(&self, host: &str, proxy_port: u16) -> (Process, TestClient) {
        let port = free_port();
        let listen = format!("listen=127.0.0.1:{port}");
        let process = self.serve_on(port, ["-c", &listen], &[]);
        (process, TestClient::behind_proxy(host, proxy_port, port))
    }

    fn serve_on(&self, port: u16, port_option: [&str; 2], options: &[&str]) -> Process {
        let data = self.data();
        let mut arguments = vec!["serve", "--data", data.to_str().unwrap()];
        arguments.extend(port_option);
        for option in options {
            arguments.extend(["-c", option]);
        }
        let log = std::fs::File::create(self.folder.path().join("unit.log")).unwrap();
        let mut command = program::command(&arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let (process, _) = Process::listen(&mut command, port, OnDrop::Terminate)
            .unwrap_or_else(|e| panic!("{e}\n{}", self.log()));
        process
    }

    /// The log of the newest start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("unit.log")).unwrap_or_default()
    }

    /// Runs `personium admin` on the data folder; returns whether it succeeded, and its output.
    pub fn admin(&self, arguments: &[&str]) -> (bool, String) {
        let data = self.data();
        let mut all = vec!["admin"];
        all.extend(arguments);
        all.extend(["--data", data.to_str().unwrap()]);
        let output = program::run(&all);
        (output.status.success(), program::text(&output))
    }

    /// As [`Self::admin`], for a command that must succeed.
    pub fn expect_admin(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.admin(arguments);
        assert!(succeeded, "{arguments:?}: {text}");
        text
    }

    /// A token of an account for the unit; `None` if the login is refused.
    pub async fn token(
        client: &TestClient,
        address: (&str, &str),
        password: &str,
    ) -> Option<String> {
        let target = client.url().to_owned();
        let fields = [
            ("grant_type", "password"),
            ("username", address.1),
            ("password", password),
            ("p_target", &target),
        ];
        let response = client.request_token(address.0, &fields).await;
        (response.status == 200).then(|| text_member(&response.json(), "access_token"))
    }

    /// A client with a token of the administrator of the first start.
    pub async fn administrator(&self, client: &TestClient) -> TestClient {
        let address = ("unitadmin", "unitadmin");
        let token = Self::token(client, address, &self.password).await;
        client.with_token(&token.expect("the administrator logs in"))
    }
}
