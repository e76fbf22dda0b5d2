//! `personium cert`: what it makes is accepted by OpenSSL and by units.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_testkit::ProcessUnit;
use serde_json::Value;

use crate::faketime::FAKETIME_LIBRARY;
use crate::program::{self, logged_after, signal};

/// A folder with keys and certificates.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `personium cert` in the folder. Returns whether it succeeded, and its output.
    fn try_cert(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = program::command(&[&["cert"][..], arguments].concat());
        let output = command.current_dir(self.0.path()).output().unwrap();
        (output.status.success(), program::text(&output))
    }

    /// As [`Self::try_cert`], for a command that must succeed.
    fn cert(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.try_cert(arguments);
        assert!(succeeded, "{arguments:?}: {text}");
        text
    }

    /// As [`Self::try_cert`], for a command that must fail with this text.
    fn refused(&self, arguments: &[&str], part: &str) {
        let (succeeded, text) = self.try_cert(arguments);
        assert!(!succeeded && text.contains(part), "{arguments:?}: {text}");
    }

    /// Runs OpenSSL in the folder.
    fn try_openssl(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.0.path());
        let output = command.output().unwrap();
        (output.status.success(), program::text(&output))
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.try_openssl(arguments);
        assert!(succeeded, "{arguments:?}: {text}");
        text
    }

    fn mode(&self, name: &str) -> u32 {
        let metadata = std::fs::metadata(self.path(name)).unwrap();
        metadata.permissions().mode() & 0o777
    }

    /// Makes an authority in `ca.key` and `ca.crt`.
    fn make_authority(&self) {
        let name = ["--name", "Example Authority", "--organization", "Example"];
        self.cert(&[&["ca", "--key", "ca.key", "--cert", "ca.crt"][..], &name].concat());
    }

    /// Makes a key and a request for a name in `{file}.key` and `{file}.csr`.
    fn make_request(&self, file: &str, name: &str) {
        let (key, request) = (format!("{file}.key"), format!("{file}.csr"));
        self.cert(&["csr", "--key", &key, "--request", &request, "--name", name]);
    }

    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.cert(&[&["list", "--json"][..], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }
}

const CA: [&str; 4] = ["--ca-key", "ca.key", "--ca-cert", "ca.crt"];

#[test]
fn self_signed_unit_certificate_is_verified_by_openssl_for_the_name_and_ten_years() {
    let folder = Folder::new();
    let files = ["--key", "unit.key", "--cert", "unit.crt"];
    let made = [&["self-signed", "--name", "unit.example"][..], &files].concat();
    let text = folder.cert(&made);
    assert!(text.contains("unit.key: a new key"), "{text}");
    assert!(text.contains("CN=unit.example"), "{text}");
    assert_eq!(
        (folder.mode("unit.key"), folder.mode("unit.crt")),
        (0o600, 0o644)
    );
    folder.openssl(&["verify", "-x509_strict", "-CAfile", "unit.crt", "unit.crt"]);
    let shown = folder.openssl(&["x509", "-in", "unit.crt", "-noout", "-subject", "-text"]);
    for part in ["CN = unit.example", "2048 bit", "DNS:unit.example"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let day = 24 * 3600;
    for (days, is_valid) in [(3649, true), (3651, false)] {
        let seconds = (days * day).to_string();
        let end = ["x509", "-in", "unit.crt", "-noout", "-checkend", &seconds];
        assert_eq!(folder.try_openssl(&end).0, is_valid, "{days}");
    }
    // Nothing is overwritten.
    let key = std::fs::read(folder.path("unit.key")).unwrap();
    folder.refused(&made, "unit.crt exists already");
    folder.refused(&["key", "--key", "unit.key"], "unit.key exists already");
    assert_eq!(std::fs::read(folder.path("unit.key")).unwrap(), key);
    folder.cert(&["key", "--key", "large.key", "--bits", "4096"]);
    let shown = folder.openssl(&["pkey", "-in", "large.key", "-noout", "-text"]);
    assert!(shown.contains("4096 bit"), "{shown}");
}

#[test]
fn file_of_which_a_part_was_written_is_not_there() {
    let folder = Folder::new();
    folder.make_authority();
    folder.make_request("a", "a.example");
    let name = ["--name", "a.example"];
    let signed = [&["sign", "--request", "a.csr", "--cert", "x.crt"][..], &CA].concat();
    let csr = ["csr", "--key", "a.key", "--request", "x.csr"];
    let own = ["self-signed", "--key", "a.key", "--cert", "x.crt"];
    let cases = [
        vec!["key", "--key", "x.key"],
        [&csr[..], &name].concat(),
        [&own[..], &name].concat(),
        signed,
    ];
    for arguments in cases {
        let made = program::command(&[&["cert"][..], &arguments].concat());
        let mut limited = Command::new("sh");
        // The system ends a process that writes more than 512 bytes into a file.
        limited.args(["-c", "ulimit -f 1; exec \"$@\"", "sh"]);
        limited.arg(made.get_program()).args(made.get_args());
        let output = limited.current_dir(folder.0.path()).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        let target = arguments.iter().find(|word| word.starts_with("x."));
        let target = folder.path(target.unwrap());
        assert!(!target.exists(), "{arguments:?}");
        // What it has left is not in the way.
        folder.cert(&arguments);
        std::fs::remove_file(target).unwrap();
        let names = std::fs::read_dir(folder.0.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["a.csr", "a.key", "ca.crt", "ca.key"],
            "{arguments:?}"
        );
    }
}

#[test]
fn wildcard_server_certificate_is_verified_for_the_unit_and_its_cells_only() {
    let folder = Folder::new();
    folder.make_authority();
    let server = ["server", "--name", "unit.example"];
    let (own, signed) = (
        ["--key", "own.key", "--cert", "own.crt"],
        ["--key", "server.key", "--cert", "server.crt"],
    );
    folder.cert(&[&server[..], &own].concat());
    folder.cert(&[&server[..], &signed, &CA].concat());
    for (file, root) in [("own.crt", "own.crt"), ("server.crt", "ca.crt")] {
        for (host, is_covered) in [
            ("unit.example", true),
            ("cell.unit.example", true),
            ("a.cell.unit.example", false),
            ("other.example", false),
        ] {
            let verify = ["verify", "-purpose", "sslserver", "-verify_hostname", host];
            let verified = folder.try_openssl(&[&verify[..], &["-CAfile", root, file]].concat());
            assert_eq!(verified.0, is_covered, "{file} {host}: {}", verified.1);
        }
    }
    folder.openssl(&["verify", "-x509_strict", "-CAfile", "ca.crt", "server.crt"]);
}

#[test]
fn authority_signs_requests_of_this_program_and_of_openssl() {
    let folder = Folder::new();
    folder.make_authority();
    folder.make_request("a", "a.example");
    folder.openssl(&["req", "-in", "a.csr", "-noout", "-verify"]);
    folder.openssl(&[
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "b.key",
        "-out",
        "b.csr",
        "-subj",
        "/C=JP/O=Example B/CN=b.example",
    ]);
    for (request, certificate) in [("a.csr", "a.crt"), ("b.csr", "b.crt")] {
        let files = ["sign", "--request", request, "--cert", certificate];
        folder.cert(&[&files[..], &CA].concat());
        folder.openssl(&["verify", "-x509_strict", "-CAfile", "ca.crt", certificate]);
    }
    let shown = folder.openssl(&[
        "x509",
        "-in",
        "b.crt",
        "-noout",
        "-subject",
        "-ext",
        "basicConstraints",
    ]);
    let is_kept = ["C = JP", "O = Example B", "CN = b.example", "CA:FALSE"];
    assert!(is_kept.iter().all(|part| shown.contains(part)), "{shown}");
    // Two certificates of one authority have different serial numbers.
    folder.cert(&[&["sign", "--request", "a.csr", "--cert", "a2.crt"][..], &CA].concat());
    let serial = |file: &str| folder.openssl(&["x509", "-in", file, "-noout", "-serial"]);
    assert_ne!(serial("a.crt"), serial("a2.crt"));
}

#[test]
fn requests_and_authorities_that_are_wrong_are_refused_and_leave_nothing() {
    let folder = Folder::new();
    folder.make_authority();
    folder.make_request("a", "a.example");
    let request = std::fs::read_to_string(folder.path("a.csr")).unwrap();
    // A signature that is not that of the key.
    let lines: Vec<&str> = request.lines().collect();
    let at = lines.len() - 3;
    let first = if lines[at].starts_with('A') { "B" } else { "A" };
    let changed = format!("{first}{}", &lines[at][1..]);
    let forged = request.replace(lines[at], &changed);
    std::fs::write(folder.path("forged.csr"), forged).unwrap();
    std::fs::write(folder.path("garbage.csr"), "garbage").unwrap();
    let sign = |request: &'static str| {
        [&["sign", "--request", request, "--cert", "x.crt"][..], &CA].concat()
    };
    folder.refused(&sign("forged.csr"), "not signed by its own key");
    folder.refused(&sign("garbage.csr"), "no certificate signing request");
    folder.refused(&sign("none.csr"), "none.csr");
    folder.openssl(&[
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "c.key",
        "-out",
        "c.csr",
        "-subj",
        "/CN=not a host",
    ]);
    folder.refused(&sign("c.csr"), "must be a host name");
    let as_authority = ["sign", "--request", "a.csr", "--cert", "x.crt"];
    let other_key = ["--ca-key", "a.key", "--ca-cert", "ca.crt"];
    folder.refused(&[&as_authority[..], &other_key].concat(), "does not belong");
    // A certificate that is not that of an authority.
    folder.cert(&[&["sign", "--request", "a.csr", "--cert", "a.crt"][..], &CA].concat());
    let no_authority = ["--ca-key", "a.key", "--ca-cert", "a.crt"];
    folder.refused(
        &[&as_authority[..], &no_authority].concat(),
        "not that of an authority",
    );
    let bad_name = [
        "self-signed",
        "--name",
        "https://unit",
        "--key",
        "n.key",
        "--cert",
        "x.crt",
    ];
    folder.refused(&bad_name, "must be a host name");
    folder.refused(
        &["key", "--key", "/proc/none/x.key"],
        "cannot use /proc/none/x.key",
    );
    assert!(!folder.path("x.crt").exists() && !folder.path("n.key").exists());
}

/// The findings of `personium check` with these options, as lines.
fn check(folder: &Folder, options: &[&str]) -> (bool, String) {
    let data = folder.path("data");
    let mut arguments = vec!["check", "--data", data.to_str().unwrap()];
    for option in [&["listen=127.0.0.1:0"], options].concat() {
        arguments.extend(["-c", option]);
    }
    let mut command = program::command(&arguments);
    let output = command.current_dir(folder.0.path()).output().unwrap();
    (output.status.success(), program::text(&output))
}

#[test]
fn check_says_who_vouches_for_the_certificate_of_the_unit() {
    let folder = Folder::new();
    folder.make_authority();
    folder.make_request("a", "a.example");
    folder.cert(&[&["sign", "--request", "a.csr", "--cert", "a.crt"][..], &CA].concat());
    let (succeeded, text) = check(&folder, &[]);
    assert!(
        succeeded && text.contains("self-signed: other units"),
        "{text}"
    );
    let signed = ["unitFqdn=a.example", "x509.key=a.key", "x509.crt=a.crt"];
    let (succeeded, text) = check(&folder, &signed);
    let issuer = "CN=Example Authority,O=Example";
    assert!(succeeded, "{text}");
    assert!(
        text.contains("WARNING unit certificate       no certificate of x509.root has signed it"),
        "{text}"
    );
    let (succeeded, text) = check(&folder, &[&signed[..], &["x509.root=ca.crt"]].concat());
    assert!(succeeded, "{text}");
    assert!(
        text.contains(&format!(
            "ok      unit certificate       signed by the trusted root {issuer}"
        )),
        "{text}"
    );
}

#[test]
fn roots_that_cannot_be_used_are_named_with_the_cure() {
    let folder = Folder::new();
    folder.make_authority();
    let data = folder.path("data");
    let ca = ["cert", "ca", "--name", "Old", "--days", "10"];
    let mut made_long_ago = program::command(&ca);
    made_long_ago
        .args(["--key", "old.key", "--cert", "old.crt"])
        .current_dir(folder.0.path())
        .env("LD_PRELOAD", FAKETIME_LIBRARY)
        .env("FAKETIME", "2001-01-01 00:00:00");
    let output = made_long_ago.output().unwrap();
    assert!(output.status.success(), "{}", program::text(&output));
    std::fs::write(folder.path("garbage.crt"), "garbage").unwrap();
    let same_name = [
        "ca",
        "--name",
        "Example Authority",
        "--organization",
        "Example",
    ];
    folder.cert(
        &[
            &same_name[..],
            &["--key", "again.key", "--cert", "again.crt"],
        ]
        .concat(),
    );
    for (roots, part) in [
        (
            "ca.crt old.crt",
            "root certificate CN=Old is expired or not valid yet: get the renewed one",
        ),
        (
            "ca.crt garbage.crt",
            "x509.root: garbage.crt: contains no certificate in PEM or DER",
        ),
    ] {
        let (succeeded, text) = check(&folder, &[&format!("x509.root={roots}")]);
        assert!(!succeeded && text.contains(part), "{text}");
    }
    // An authority with another key is trusted beside the one before.
    let (succeeded, text) = check(&folder, &["x509.root=ca.crt again.crt"]);
    assert!(succeeded, "{text}");
    folder.refused(
        &["trust", "old.crt", "--data", data.to_str().unwrap()],
        "expired",
    );
}

#[test]
fn renewed_certificate_has_the_same_key_and_names_and_the_old_one_is_kept() {
    let folder = Folder::new();
    folder.make_authority();
    let files = ["--key", "server.key", "--cert", "server.crt"];
    let named = ["server", "--name", "unit.example", "--days", "20"];
    folder.cert(&[&named[..], &files, &CA].concat());
    std::fs::set_permissions(folder.path("server.crt"), PermissionsExt::from_mode(0o640)).unwrap();
    let before = std::fs::read(folder.path("server.crt")).unwrap();
    let renew = [&["renew"][..], &files].concat();
    folder.refused(&renew, "renew it there");
    folder.cert(&[&renew[..], &CA, &["--days", "90"]].concat());
    folder.openssl(&[
        "verify",
        "-verify_hostname",
        "x.unit.example",
        "-CAfile",
        "ca.crt",
        "server.crt",
    ]);
    assert_eq!(
        std::fs::read(folder.path("server.crt.old")).unwrap(),
        before
    );
    assert_eq!(folder.mode("server.crt"), 0o640);
    let public = |file: &str| folder.openssl(&["x509", "-in", file, "-noout", "-pubkey"]);
    assert_eq!(public("server.crt"), public("server.crt.old"));
    let rows = folder.list(&["server.crt", "server.crt.old"]);
    let days: Vec<i64> = rows
        .iter()
        .map(|row| row["daysLeft"].as_i64().unwrap())
        .collect();
    // The last second counts, so that the days are whole only within the second in which a certificate was made.
    assert!(matches!(days[..], [89..=90, 19..=20]), "{days:?}");
    assert_eq!(rows[0]["problem"], Value::Null);
    assert_eq!(rows[1]["problem"], "expires soon: renew it");
    assert_eq!(rows[0]["alternativeNames"][1], "*.unit.example");
    // The authority too.
    folder.cert(&["renew", "--key", "ca.key", "--cert", "ca.crt"]);
    folder.openssl(&["verify", "-x509_strict", "-CAfile", "ca.crt", "server.crt"]);
}

/// The options of a unit with the certificate in a folder.
fn options(folder: &Path) -> String {
    let key = "io.personium.core.x509";
    let path = |name: &str| folder.join(name).display().to_string();
    format!(
        "{key}.key={}\n{key}.crt={}\n",
        path("unit.key"),
        path("unit.crt")
    )
}

/// The number of days until the certificate of a running unit expires, as its log says.
async fn reload(unit: &ProcessUnit) -> String {
    let before = unit.log().len();
    signal(unit.process_id(), "HUP");
    logged_after(unit, before, "settings ").await
}

#[tokio::test]
async fn running_unit_takes_a_renewed_certificate_and_a_trusted_root_over() {
    let folder = Folder::new();
    folder.make_authority();
    folder.make_request("unit", "localhost");
    let sign = [
        "sign",
        "--request",
        "unit.csr",
        "--cert",
        "unit.crt",
        "--days",
        "40",
    ];
    folder.cert(&[&sign[..], &CA].concat());
    let unit = crate::unit().settings(&options(folder.0.path())).start();
    let settings = unit.folder().join("unit.properties");
    let settings = settings.to_str().unwrap();

    let trust = folder.cert(&["trust", "ca.crt", "--config", settings]);
    assert!(trust.contains("Example Authority"), "{trust}");
    let again = folder.cert(&["trust", "ca.crt", "--config", settings]);
    assert!(again.contains("trusted already"), "{again}");
    let renewed =
        folder.cert(&[&["renew", "--config", settings, "--days", "70"][..], &CA].concat());
    assert!(renewed.contains("CN=localhost"), "{renewed}");
    let log = reload(&unit).await;
    assert!(log.contains("settings reloaded"), "{log}");

    let rows = folder.list(&["--config", settings]);
    let roles: Vec<&str> = rows
        .iter()
        .map(|row| row["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["unit", "root"]);
    let days = rows[0]["daysLeft"].as_i64();
    assert!(matches!(days, Some(69..=70)), "{days:?}");
    // What cannot be trusted is refused before the settings are touched.
    let text = std::fs::read(settings).unwrap();
    std::fs::write(folder.path("garbage.crt"), "garbage").unwrap();
    for (file, part) in [
        ("garbage.crt", "cannot be trusted"),
        ("none.crt", "none.crt"),
        ("unit.crt", "certificate of this unit"),
    ] {
        folder.refused(&["trust", file, "--config", settings], part);
    }
    assert_eq!(std::fs::read(settings).unwrap(), text);
}

#[test]
fn unit_gets_another_key_of_the_same_size_and_an_interrupted_change_goes_on() {
    let folder = Folder::new();
    folder.make_authority();
    let key = "io.personium.core";
    let settings = format!(
        "{key}.unitFqdn=unit.example\n{key}.data.dir=data\n{key}.x509.key=unit.key\n{key}.x509.crt=unit.crt\n"
    );
    std::fs::write(folder.path("unit.properties"), settings).unwrap();
    folder.cert(&["key", "--key", "unit.key", "--bits", "3072"]);
    let name = ["--name", "unit.example", "--organization", "Example"];
    let files = ["--key", "unit.key", "--cert", "unit.crt"];
    folder.cert(&[&["self-signed"][..], &name, &files].concat());
    let read = |name: &str| std::fs::read_to_string(folder.path(name)).unwrap();
    let mode = std::fs::Permissions::from_mode(0o400);
    std::fs::set_permissions(folder.path("unit.key"), mode).unwrap();
    let (old_key, old) = (read("unit.key"), read("unit.crt"));
    let change = ["renew", "--new-key", "--config", "unit.properties"];
    let prepare = [&change[..], &["--prepare"]].concat();

    folder.cert(&prepare);
    let next = [read("unit.key.next"), read("unit.crt.next")];
    folder.cert(&prepare);
    assert_eq!([read("unit.key.next"), read("unit.crt.next")], next);
    assert_eq!(
        [read("unit.key"), read("unit.crt")],
        [old_key.clone(), old.clone()]
    );
    assert_eq!(folder.mode("unit.key.next"), 0o600);

    // The change ends between the two files, and the command is repeated.
    std::fs::write(folder.path("unit.key"), &next[0]).unwrap();
    folder.cert(&change);
    assert_eq!([read("unit.key"), read("unit.crt")], next);
    assert_eq!(read("unit.crt.former"), old);
    assert_eq!(folder.mode("unit.key"), 0o400);
    for file in ["unit.key.next", "unit.crt.next"] {
        assert!(!folder.path(file).exists(), "{file}");
    }
    let rows = folder.list(&["--config", "unit.properties"]);
    let shown: Vec<&str> = rows
        .iter()
        .map(|row| row["role"].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["unit", "root"]);
    let text = folder.openssl(&["x509", "-in", "unit.crt", "-noout", "-subject", "-text"]);
    assert!(text.contains("O = Example, CN = unit.example") && text.contains("3072 bit"));

    // Once more: the certificate before takes the place of the one before that, and is named once.
    let settings = read("unit.properties");
    folder.cert(&change);
    assert_eq!(read("unit.crt.former"), next[1]);
    assert_eq!(read("unit.properties"), settings);
    // The change ends before it has removed both files, or after the key.
    for left in [&["unit.key", "unit.crt"][..], &["unit.crt"]] {
        for more in [&[][..], &["--prepare"]] {
            let pair = [read("unit.key"), read("unit.crt")];
            for file in left {
                std::fs::write(folder.path(&format!("{file}.next")), read(file)).unwrap();
            }
            folder.cert(&[&change[..], more].concat());
            assert_eq!([read("unit.key"), read("unit.crt")], pair);
            let is_prepared = !more.is_empty();
            for file in ["unit.key.next", "unit.crt.next"] {
                assert_eq!(folder.path(file).exists(), is_prepared, "{file}");
                if is_prepared {
                    assert!(!pair.contains(&read(file)));
                    std::fs::remove_file(folder.path(file)).unwrap();
                }
            }
        }
    }
    // The key is written in part.
    std::fs::write(folder.path(".unit.key.next.new"), &old_key[..300]).unwrap();
    folder.cert(&prepare);
    assert!(!folder.path(".unit.key.next.new").exists());
    for file in ["unit.key.next", "unit.crt.next"] {
        std::fs::remove_file(folder.path(file)).unwrap();
    }
    std::fs::write(folder.path("unit.key.next"), &old_key[..300]).unwrap();
    folder.refused(&prepare, "remove it, and run this again");
    std::fs::remove_file(folder.path("unit.key.next")).unwrap();
    // A pair that does not belong together, and an authority whose key is elsewhere.
    folder.cert(&prepare);
    let pair = [read("unit.key"), read("unit.crt")];
    std::fs::write(folder.path("unit.key.next"), old_key).unwrap();
    folder.refused(&change, "remove them, and run this again");
    for file in ["unit.key.next", "unit.crt.next"] {
        std::fs::remove_file(folder.path(file)).unwrap();
    }
    folder.refused(&[&change[..], &CA].concat(), "was issued by");
    assert!(!folder.path("unit.crt.next").exists());
    folder.refused(&[&change[..], &files].concat(), "cannot be used with");
    assert_eq!([read("unit.key"), read("unit.crt")], pair);
    assert!(!folder.path("unit.key.next").exists());
}
