//! Runs of the playbooks of `deploy/ansible`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::booted_debian::{PACKAGE_SOURCE, expect, text, wait_until};
use crate::package::{deb_in, packages, program};
use crate::test_network::TestNetwork;

/// The collection.
pub fn collection() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/ansible")
        .canonicalize()
        .unwrap()
}

/// A program of Ansible.
pub fn ansible_program(name: &str) -> PathBuf {
    client_program("ansible", name)
}

/// A program of one of the Python environments that `cargo xtask clients` installs.
pub fn client_program(environment: &str, name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_xtask")).ancestors().nth(2);
    let folder = target.unwrap().join("clients").join(environment);
    let program = folder.join("bin").join(name);
    assert!(
        program.exists(),
        "{} is missing: run cargo xtask clients",
        program.display()
    );
    program
}

/// Sets the environment of a program of Ansible, whose files are in a folder.
pub fn with_environment(command: &mut Command, folder: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    let programs = ansible_program("ansible-playbook");
    let programs = programs.parent().unwrap().display();
    command
        .current_dir(collection())
        .env("PATH", format!("{programs}:{path}"))
        .env("ANSIBLE_CONFIG", collection().join("ansible.cfg"))
        .env("ANSIBLE_HOME", folder.join("ansible"))
        .env("ANSIBLE_SSH_CONTROL_PATH_DIR", folder.join("ssh"))
        .env("ANSIBLE_HOST_KEY_CHECKING", "False")
        .env("ANSIBLE_NOCOLOR", "1")
        .env("LC_ALL", "C.UTF-8");
}

/// The machine of an operator: keys, packages, and the administrators of units.
pub struct Operator {
    folder: TempDir,
    packages: Arc<TempDir>,
}

/// The outcome of a run.
pub struct Run {
    pub succeeded: bool,
    pub output: String,
}

impl Run {
    /// The hosts in which something was changed, with the number of changes.
    pub fn changes(&self) -> Vec<(String, u32)> {
        let recap = self.output.rsplit_once("PLAY RECAP").unwrap_or_default().1;
        let changes = recap.lines().filter_map(|line| {
            let (host, counts) = line.split_once(':')?;
            let changed = counts.split_once("changed=")?.1;
            let changed = changed.split_whitespace().next()?.parse().ok()?;
            (changed > 0).then(|| (host.trim().to_owned(), changed))
        });
        changes.collect()
    }
}

impl Operator {
    /// A machine with packages of both versions of this build.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        expect(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(key),
        );
        let packages = packages();
        Self { folder, packages }
    }

    /// The public key.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.path("key.pub")).unwrap()
    }

    /// A file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file that the playbook writes the administrator to; checks that only its owner can read it.
    pub fn administrator(&self) -> String {
        let path = self.path("administrator.yml");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        fs::read_to_string(path).unwrap()
    }

    /// The password in that file.
    pub fn password(&self) -> String {
        let text = self.administrator();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("password: '"));
        line.unwrap().trim_end_matches('\'').to_owned()
    }

    /// Variables that name the package of a version.
    pub fn package(&self, version: &str) -> Vec<String> {
        let package = deb_in(&self.packages, version);
        let sum = expect(Command::new("sha256sum").arg(&package));
        let sum = sum.split_whitespace().next().unwrap().to_owned();
        vec![
            format!("unit_package={}", package.display()),
            format!("unit_package_sha256={sum}"),
        ]
    }

    /// Runs the playbook of an inventory, by its name in the collection or its path, with these variables and options.
    pub fn run(
        &self,
        network: &TestNetwork,
        inventory: &str,
        variables: &[String],
        options: &[&str],
    ) -> Run {
        self.run_playbook("site", network, inventory, (variables, options))
    }

    /// The same for another playbook.
    pub fn run_playbook(
        &self,
        playbook: &str,
        network: &TestNetwork,
        inventory: &str,
        (variables, options): (&[String], &[&str]),
    ) -> Run {
        let mut command = self.playbook(network, inventory, variables);
        command.arg(format!("playbooks/{playbook}.yml"));
        command.args(options);
        let output = command.output().unwrap();
        Run {
            succeeded: output.status.success(),
            output: text(&output),
        }
    }

    /// Runs the playbook of an inventory until something holds, and kills it then.
    pub fn run_until(
        &self,
        network: &TestNetwork,
        inventory: &str,
        variables: &[String],
        mut holds: impl FnMut() -> bool,
    ) {
        let mut command = self.playbook(network, inventory, variables);
        command.arg("playbooks/site.yml");
        let mut run = command.stdout(Stdio::null()).spawn().unwrap();
        wait_until("the playbook has come so far", || {
            assert!(run.try_wait().unwrap().is_none(), "the playbook ended");
            holds()
        });
        run.kill().unwrap();
        run.wait().unwrap();
    }

    /// Makes an authority, and a certificate that it signs for a TLS server. Returns the paths of the certificate, with that of the
    /// authority after it, and of the key.
    pub fn server_certificate(&self, name: &str, days: &str) -> (PathBuf, PathBuf) {
        let file = |end: &str| self.path(&format!("{name}-{days}.{end}"));
        let cert = |arguments: &[&str], key: &Path, certificate: &Path| {
            let mut command = Command::new(program());
            command.current_dir(self.folder.path()).arg("cert");
            command.args(arguments).arg("--key").arg(key);
            expect(command.arg("--cert").arg(certificate));
        };
        let (ca_key, ca) = (file("ca.key"), file("ca.crt"));
        cert(&["ca", "--name", "Test Authority"], &ca_key, &ca);
        let (key, certificate) = (file("key"), file("crt"));
        let [ca_key, ca_path] = [&ca_key, &ca].map(|path| path.to_str().unwrap());
        let signed = ["--ca-key", ca_key, "--ca-cert", ca_path, "--days", days];
        let arguments = [&["server", "--name", name], signed.as_slice()].concat();
        cert(&arguments, &key, &certificate);
        let chain = [&certificate, &ca].map(|path| fs::read_to_string(path).unwrap());
        fs::write(&certificate, chain.concat()).unwrap();
        (certificate, key)
    }

    fn playbook(&self, network: &TestNetwork, inventory: &str, variables: &[String]) -> Command {
        let mut command = network.command(ansible_program("ansible-playbook"));
        with_environment(&mut command, self.folder.path());
        let key = self.path("key");
        let fixed = serde_json::json!({
            "ansible_user": "root",
            "ansible_ssh_private_key_file": key,
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "unit_apt_sources": [PACKAGE_SOURCE],
            "unit_administrator_file": self.path("administrator.yml"),
        });
        command
            .arg("--inventory")
            .arg(collection().join("inventories").join(inventory))
            .args(["--extra-vars", &fixed.to_string()]);
        for variable in variables {
            command.args(["--extra-vars", variable]);
        }
        command
    }
}
