//! The containers of `deploy/container`: built and run by podman, from a Debian in a folder instead of one of a registry. Compose files
//! and manifests are read by the programs that would use them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::ansible::is_root;
use crate::booted_debian::{expect, minimal, text, wait_until};
use crate::playbook::client_program;
use crate::unit_answers::{self, HOST, status_and_body};

/// The name of the image that the Containerfile begins with.
const DEBIAN: &str = "debian:bookworm-slim";

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .canonicalize()
        .unwrap()
}

/// The settings file in a container.
const MOUNTED_SETTINGS: &str = "/etc/personium/unit.properties";

/// Half of a file: more than the unit keeps in memory before it writes.
const HALF_BYTES: usize = 4 << 20;

/// A podman with images and containers of its own. Dropping it removes them.
struct Podman(TempDir);

impl Podman {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Locks in memory would be shared with other podmans of this machine.
        let settings = "[engine]\nlock_type = \"file\"\n";
        fs::write(folder.path().join("containers.conf"), settings).unwrap();
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONFIG", self.0.path().join("containers.conf"))
            .arg("--root")
            .arg(self.0.path().join("root"))
            .arg("--runroot")
            .arg(self.0.path().join("run"))
            .args(["--cgroup-manager", "cgroupfs", "--runtime", "runc"])
            .args(["--events-backend", "file"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns its standard output.
    fn expect(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Builds the image of the unit by the Containerfile, with the program of the same build.
    fn build(&self) {
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(minimal()).args(["-c", "."]);
        let mut pack = pack.stdout(Stdio::piped()).spawn().unwrap();
        let imported = self
            .command(&["import", "-", DEBIAN])
            .stdin(pack.stdout.take().unwrap())
            .output()
            .unwrap();
        assert!(imported.status.success(), "{}", text(&imported));
        assert!(pack.wait().unwrap().success());
        let context = self.0.path().join("context");
        fs::create_dir_all(context.join("deploy")).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(sources().join("container"));
        expect(copy.arg(context.join("deploy")));
        let program = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("personium");
        let mut strip = Command::new("strip");
        strip.args(["--strip-unneeded", "-o"]);
        expect(strip.arg(context.join("personium")).arg(program));
        let file = context.join("deploy/container/Containerfile");
        let (file, context) = (file.to_str().unwrap(), context.to_str().unwrap());
        self.expect(&[
            "build",
            "--quiet",
            "--format=docker",
            "--isolation=chroot",
            "--build-arg=PROGRAM=given",
            "--tag=personium",
            "--file",
            file,
            context,
        ]);
    }

    /// Starts a unit that can write to one volume only, and whose settings come from the environment.
    fn start_unit(&self) {
        let environment = [
            format!("--env=PERSONIUM_CORE_UNIT_FQDN={HOST}"),
            "--env=PERSONIUM_CORE_PATH_BASED_CELL_URL_ENABLED=true".to_owned(),
        ];
        self.start_unit_with(&environment, &[]);
    }

    /// Starts a unit that can write to one volume only, with further options, and arguments of its program.
    fn start_unit_with(&self, options: &[String], program: &[&str]) {
        let mut arguments = vec![
            "run",
            "--detach",
            "--name=unit",
            "--network=none",
            "--read-only",
            "--read-only-tmpfs=false",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
            "--pids-limit=512",
            "--ulimit=nofile=4096:4096",
            "--ulimit=nproc=512:512",
            "--volume=data:/var/lib/personium",
        ];
        arguments.extend(options.iter().map(String::as_str));
        arguments.push("personium");
        arguments.extend(program);
        self.expect(&arguments);
    }

    /// Writes settings to files, and copies key and certificate of the unit beside them. Returns the options that mount them read-only.
    fn files_to_mount(&self) -> [String; 3] {
        let folder = self.0.path().join("mounted");
        fs::create_dir(&folder).unwrap();
        let prefix = "io.personium.core";
        let settings = format!(
            "{prefix}.unitFqdn={HOST}\n{prefix}.pathBasedCellUrl.enabled=true\n\
             {prefix}.x509.key=/run/secrets/unit.key\n{prefix}.x509.crt=/run/secrets/unit.crt\n"
        );
        fs::write(folder.join("unit.properties"), settings).unwrap();
        for file in ["unit.key", "unit.crt"] {
            let from = format!("unit:/var/lib/personium/{file}");
            self.expect(&["cp", &from, folder.join(file).to_str().unwrap()]);
        }
        for file in ["unit.properties", "unit.key", "unit.crt"] {
            let mut give = Command::new("chown");
            expect(give.arg("10001:10001").arg(folder.join(file)));
            let mode = fs::Permissions::from_mode(0o400);
            fs::set_permissions(folder.join(file), mode).unwrap();
        }
        let mount = |file: &str, to: &str| {
            format!("--volume={}:{to}/{file}:ro", folder.join(file).display())
        };
        [
            mount("unit.properties", "/etc/personium"),
            mount("unit.key", "/run/secrets"),
            mount("unit.crt", "/run/secrets"),
        ]
    }

    fn inspect(&self, field: &str) -> String {
        let format = format!("--format={{{{{field}}}}}");
        let text = self.expect(&["inspect", "unit", &format]);
        text.trim().to_owned()
    }

    /// The log of the unit.
    fn logs(&self) -> String {
        text(&self.run(&["logs", "unit"]))
    }

    fn wait_until_healthy(&self) {
        wait_until("the health check succeeds", || {
            self.run(&["healthcheck", "run", "unit"]).status.success()
        });
    }

    /// A client in the network of the container.
    fn curl(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--target", &self.inspect(".State.Pid"), "curl"])
            .args(["-s", "--max-time", "60", "-w", "\n%{http_code}"])
            .args([
                "-H",
                &format!("Host: {HOST}"),
                "-H",
                "X-Forwarded-Proto: https",
            ])
            .args(arguments)
            .arg(format!("http://127.0.0.1:9998/{path}"));
        command
    }

    /// Sends a request to the unit. Returns the status and the body.
    fn send(&self, arguments: &[&str], path: &str) -> (String, String) {
        status_and_body(&self.curl(arguments, path).output().unwrap())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.run(&["rm", "--force", "--all", "--time=0"]);
        let _ = self.run(&["rmi", "--force", "--all"]);
        // podman leaves this mount, and the folder could not be removed.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path().join("root/overlay"))
            .output();
    }
}

/// Logs the administrator of the log in; returns the header with the token.
fn log_in(podman: &Podman) -> String {
    let logs = podman.logs();
    let mut passwords = logs
        .lines()
        .filter_map(|line| line.trim().strip_prefix("password  "));
    let password = passwords.next().unwrap_or_else(|| panic!("{logs}"));
    unit_answers::log_in(password, |arguments, path| podman.send(arguments, path))
}

#[test]
fn container_runs_without_rights_drains_at_sigterm_and_keeps_its_data() {
    if !is_root() {
        return;
    }
    let podman = Podman::new();
    podman.build();
    podman.start_unit();
    podman.wait_until_healthy();
    let inside = podman.expect(&[
        "exec",
        "unit",
        "sh",
        "-c",
        "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status | tr -d '\\t\\n'; echo; \
         touch /x /usr/bin/x 2>/dev/null; ls /x /usr/bin/x 2>/dev/null; \
         find / -xdev -type f -perm /6000 2>/dev/null; true",
    ]);
    assert_eq!(
        inside,
        "10001\nCapEff:0000000000000000CapBnd:0000000000000000NoNewPrivs:1\n"
    );

    let token = log_in(&podman);
    let with_token = ["-H", &token];
    let cell = ["-H", &token, "-d", "{\"Name\":\"kept\"}"];
    assert_eq!(podman.send(&cell, "__ctl/Cell").0, "201");
    let box_name = ["-H", &token, "-d", "{\"Name\":\"box\"}"];
    assert_eq!(podman.send(&box_name, "kept/__ctl/Box").0, "201");

    // A request in hand when the signal comes is finished.
    let mut upload = podman
        .curl(&["-H", &token, "-T", "-", "-X", "PUT"], "kept/box/file")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut body = upload.stdin.take().unwrap();
    body.write_all(&vec![b'a'; HALF_BYTES]).unwrap();
    body.flush().unwrap();
    wait_until("the unit has a part of the file", || {
        let parts = "find /var/lib/personium/files -type f -size +100k | grep -q .";
        podman
            .run(&["exec", "unit", "sh", "-c", parts])
            .status
            .success()
    });
    podman.expect(&["kill", "--signal=TERM", "unit"]);
    wait_until("the unit is stopping", || {
        podman.logs().contains("unit stopping")
    });
    body.write_all(&vec![b'b'; HALF_BYTES]).unwrap();
    drop(body);
    let (status, text) = status_and_body(&upload.wait_with_output().unwrap());
    assert_eq!(status, "201", "{text}");
    podman.expect(&["wait", "unit"]);
    assert_eq!(podman.inspect(".State.ExitCode"), "0");

    podman.expect(&["start", "unit"]);
    podman.wait_until_healthy();
    assert_eq!(podman.send(&with_token, "__ctl/Cell('kept')").0, "200");
    assert_eq!(
        podman.send(&with_token, "kept/box/file").1.len(),
        2 * HALF_BYTES
    );
    assert_eq!(podman.logs().matches("password  ").count(), 1);

    // Killed, and begun anew with the same volume, and with settings and the key in files.
    let mounts = podman.files_to_mount();
    podman.expect(&["kill", "--signal=KILL", "unit"]);
    podman.expect(&["rm", "--force", "unit"]);
    podman.start_unit_with(&mounts, &["serve", "--config", MOUNTED_SETTINGS]);
    podman.wait_until_healthy();
    assert_eq!(
        podman.send(&with_token, "kept/box/file").1.len(),
        2 * HALF_BYTES
    );
    let inside = |script: &str| podman.expect(&["exec", "unit", "sh", "-c", script]);
    let listed = inside(&format!(
        "personium cert list --json --config {MOUNTED_SETTINGS} | grep -c /run/secrets/unit.crt"
    ));
    assert_eq!(listed.trim(), "1");
    let files = format!("{MOUNTED_SETTINGS} /run/secrets/unit.key /run/secrets/unit.crt");
    let written = inside(&format!(
        "for file in {files}; do (: >> $file) 2>/dev/null && echo $file; done; true"
    ));
    assert_eq!(written, "");
}

/// A compose file as docker compose understands it.
fn compose(file: &str) -> Value {
    let output = Command::new(client_program("container", "docker-compose"))
        .args(["--file", file, "config", "--format=json"])
        .current_dir(sources().join("container"))
        .env("UNIT_NAME", HOST)
        .env("TLS_DIR", "./tls")
        .env("DATABASE_PASSWORD_FILE", "./database.password")
        .output()
        .unwrap();
    assert!(output.status.success(), "{file}: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn compose_files_are_accepted_and_their_services_have_no_rights() {
    for (file, expected) in [
        ("compose.yaml", &["unit", "web"][..]),
        (
            "compose.layers.yaml",
            &["cache", "database", "init", "node1", "node2", "web"][..],
        ),
    ] {
        let compose = compose(file);
        let services = compose["services"].as_object().unwrap();
        let names: Vec<&str> = services.keys().map(String::as_str).collect();
        assert_eq!(names, expected, "{file}");
        for (name, service) in services {
            let options = service["security_opt"].to_string();
            assert!(options.contains("no-new-privileges:true"), "{file} {name}");
            // PostgreSQL's own image begins as root and gives that up.
            if name != "database" {
                assert_eq!(service["user"], "10001:10001", "{file} {name}");
                assert_eq!(service["read_only"], true, "{file} {name}");
                assert_eq!(service["cap_drop"][0], "ALL", "{file} {name}");
            }
            let is_published = service.get("ports").is_some();
            assert_eq!(is_published, name == "web", "{file} {name}");
        }
    }
}

#[test]
fn only_nodes_and_the_web_layer_have_a_way_out_of_the_compose_networks() {
    for (file, nodes) in [
        ("compose.yaml", &["unit"][..]),
        ("compose.layers.yaml", &["node1", "node2"][..]),
    ] {
        let compose = compose(file);
        let is_open = |network: &str| {
            let networks = compose["networks"].as_object().unwrap();
            networks[network].get("internal") != Some(&Value::Bool(true))
        };
        for (name, service) in compose["services"].as_object().unwrap() {
            let networks = service["networks"].as_object().unwrap();
            let open: Vec<&str> = networks
                .keys()
                .map(String::as_str)
                .filter(|network| is_open(network))
                .collect();
            let expected: &[&str] = match name.as_str() {
                "web" => &["outer"],
                name if nodes.contains(&name) => &["outgoing"],
                _ => &[],
            };
            assert_eq!(open, expected, "{file} {name}");
            // The layers reach each other by one that has no way out.
            assert_eq!(networks.len(), open.len() + 1, "{file} {name}");
        }
    }
}

#[test]
fn manifests_are_valid_for_kubernetes_and_have_two_replicas_probes_and_a_budget() {
    let manifest = sources().join("container/kubernetes/personium.yaml");
    let mut validate = Command::new(client_program("container", "kubernetes-validate"));
    expect(validate.arg("--strict").arg(&manifest));
    let script =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let mut parse = Command::new(client_program("container", "python"));
    let parsed = expect(parse.args(["-c", script]).arg(&manifest));
    let objects: Vec<Value> = serde_json::from_str(&parsed).unwrap();
    let of_kind = |kind: &str| {
        objects
            .iter()
            .find(|object| object["kind"] == kind)
            .unwrap()
    };
    let deployment = &of_kind("Deployment")["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert_eq!(of_kind("PodDisruptionBudget")["spec"]["minAvailable"], 1);
    for pod in [
        &deployment["template"]["spec"],
        &of_kind("Job")["spec"]["template"]["spec"],
    ] {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["runAsUser"], 10001);
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(
            container["securityContext"]["capabilities"]["drop"][0],
            "ALL"
        );
    }
    let container = &deployment["template"]["spec"]["containers"][0];
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let program = container[probe]["exec"]["command"][0].as_str().unwrap();
        let name = program.strip_prefix("/usr/lib/personium/").unwrap();
        assert!(sources().join("container").join(name).exists(), "{probe}");
    }
    // What selects the nodes selects no pod of the job.
    let labels = &deployment["template"]["metadata"]["labels"];
    for (kind, selector) in [
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
    ] {
        assert_eq!(of_kind(kind).pointer(selector).unwrap(), labels, "{kind}");
    }
}
