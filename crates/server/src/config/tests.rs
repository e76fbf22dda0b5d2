use std::collections::BTreeSet;

use super::*;

fn sources(
    file: &str,
    environment: &[(&str, &str)],
    options: &[(&str, &str)],
) -> (tempfile::TempDir, ConfigSources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unit.properties");
    std::fs::write(&path, file).unwrap();
    let owned = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let sources = ConfigSources {
        file: Some(path),
        environment: owned(environment),
        options: owned(options),
    };
    (folder, sources)
}

fn load(
    file: &str,
    environment: &[(&str, &str)],
    options: &[(&str, &str)],
) -> Result<LoadedConfig, ConfigError> {
    LoadedConfig::load(&sources(file, environment, options).1)
}

fn problems(file: &str) -> Vec<String> {
    load(file, &[], &[]).unwrap_err().0
}

#[test]
fn empty_file_gives_the_defaults() {
    let loaded = load("", &[], &[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let config = loaded.config;
    assert_eq!(config.unit.scheme, Scheme::Https);
    assert_eq!(config.odata.top_default, 25);
    assert_eq!(
        config.schema.simple_layers,
        [None, Some(50), Some(30), Some(10)]
    );
    assert_eq!(config.unit.master_token, None);
    assert!(
        config.passwords.pattern.is_match("pa$$w0rd")
            && !config.passwords.pattern.is_match("short")
    );
    assert!(!config.passwords.pattern.is_match("with space"));
    Config::defaults().unwrap();
}

#[test]
fn command_line_precedes_environment_and_environment_precedes_file() {
    let file = "io.personium.core.unitPort=1\nio.personium.core.unitPort=2\nio.personium.core.unitFqdn=a.example\n\
                io.personium.core.dav.depth.maxnum=7\n";
    let environment = [
        ("PERSONIUM_CORE_UNIT_PORT", "3"),
        ("io.personium.core.unitFqdn", "b.example"),
        ("PERSONIUM_CORE_ODATA_QUERY_TOP_MAXNUM", "77"),
        ("HOME", "somewhere"),
    ];
    let options = [
        ("unitPort", "4"),
        ("io.personium.core.dav.depth.maxnum", "8"),
    ];
    let loaded = load(file, &environment, &options).unwrap();
    assert_eq!(loaded.config.unit.port, Some(4));
    assert_eq!(loaded.config.unit.host.as_deref(), Some("b.example"));
    assert_eq!(loaded.config.odata.top_max, 77);
    assert_eq!(loaded.config.dav.depth_max, 8);
    assert_eq!(
        load(file, &[], &[]).unwrap().config.unit.port,
        Some(2),
        "the last line of a file counts"
    );
    assert_eq!(loaded.warnings.len(), 1);
    assert!(
        loaded.warnings[0].contains("unitPort is given twice"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn paths_in_a_file_are_relative_to_its_folder() {
    let (folder, sources) = sources(
        "io.personium.core.x509.root=a.crt /b.crt\nio.personium.core.data.dir=d",
        &[],
        &[],
    );
    let config = LoadedConfig::load(&sources).unwrap().config;
    assert_eq!(
        config.certificates.roots,
        [folder.path().join("a.crt"), PathBuf::from("/b.crt")]
    );
    assert_eq!(config.store.data_dir, folder.path().join("d"));
}

#[test]
fn problem_names_key_value_origin_and_permitted_values() {
    let found = problems(
        "io.personium.core.unitScheme=ftp\nio.personium.core.authn.account.lockCount=101\n\
         io.personium.core.security.secret16=short\n",
    );
    assert_eq!(found.len(), 3);
    let all = found.join("\n");
    for part in [
        "unitScheme = ftp",
        "line 1",
        "one of https, http",
        "lockCount = 101",
        "from 0 to 100",
        "= ***",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(!all.contains("short"), "secrets are not shown: {all}");
}

#[test]
fn invalid_values_are_refused() {
    for line in [
        "unitPort=0",
        "unitPort=65536",
        "unitPort=x",
        "unitFqdn=https://unit",
        "unitFqdn=-a",
        "pathBasedCellUrl.enabled=yes",
        "unitUser.issuers=not-a-url",
        "proxy.host=http://proxy.example",
        "proxy.host=proxy.example",
        "proxy.port=8080",
        "proxy.pswd=word",
        "listen=nowhere",
        "admin.listen=0.0.0.0:9997",
        "store.sync=off",
        "security.auth.password.regex=[",
        "security.auth.password.hashAlgorithm=md5",
        "security.auth.password.scrypt.cpuCost=16383",
        "security.auth.password.scrypt.cpuCost=16777216",
        "box.odata.schema.property.LayerLimits.SimpleType=1,x",
        "odata.query.top.default=20000",
        "x509.key=only-one",
        "introspect.username=only-one",
        "cell.relayhtmlurl.default=javascript:alert(1)",
        "eventbus.mq=rabbit",
        "eventbus.broker=localhost",
        "eventbus.topic.all=a,b",
        "eventbus.topic.all=a.>",
        "eventbus.username=alone",
        "eventbus.saslMechanism=MD5",
        "eventbus.broker.certificateFile=alone.pem",
        "stream.mq=kafka",
        "stream.broker=localhost:61613",
        "stream.broker=tcp://localhost",
        "stream.broker=tcp://localhost:0",
        "stream.username=alone",
        "stream.password=alone",
        "log.format=xml",
        "log.access=yes",
        "log.filter=",
        "log.filter=x y z",
        "log.filter=info,=,[[",
        "log.filter=verbose",
        "log.filter=info,personium_api=loud",
        "log.filter=info,,debug",
        "security.auth.password.regex=",
        "security.auth.password.regex=.*",
        "security.token.defaultScope.ropc=rooot",
        "security.token.defaultScope.assertion=root read",
        "security.token.defaultScope.grant_code=Root",
        "authn.account.lockCount=5",
        "authn.account.lockTime=60",
    ] {
        let key = line.split('=').next().unwrap().rsplit('.').next().unwrap();
        let found = problems(&format!("io.personium.core.{line}")).join("\n");
        let named = found.contains(key) || found.contains("scrypt");
        assert!(named, "{line}: {found}");
    }
    for (lines, key) in [
        ("broker=tcp://a:9092,ssl://b:9093", "eventbus.broker"),
        ("topic.all=a/b", "eventbus.topic.all"),
        ("topic.all=..", "eventbus.topic.all"),
        ("broker.keyFile=k", "eventbus.broker.certificateFile"),
    ] {
        let prefix = "io.personium.core.eventbus.";
        let found = problems(&format!("{prefix}mq=kafka\n{prefix}{lines}")).join("\n");
        assert!(found.contains(key), "{lines}: {found}");
    }
    assert!(problems("a=\\uzz")[0].contains("line 1"));
    let foreign = problems("root:x:0:0\nsomething.else=1\n");
    assert!(
        foreign[0].contains("none of its 2 lines is a setting"),
        "{foreign:?}"
    );
    assert!(load("# nothing yet\n", &[], &[]).is_ok());
    let missing = ConfigSources {
        file: Some("no/such/file".into()),
        ..ConfigSources::default()
    };
    assert!(LoadedConfig::load(&missing).unwrap_err().0[0].contains("no/such/file"));
}

#[test]
fn unknown_and_ineffective_keys_cause_warnings() {
    let file = "io.personium.core.odata.query.top.defaultnum=1\nio.personium.core.unitPath=\nsomething.else=1\n\
                io.personium.core.es.hosts=a:9200\nio.personium.core.lock.retry.times=3\n\
                io.personium.engine.masterToken=from-the-engine\nio.personium.es.index.x=1\n\
                io.personium.core.store.postgres.startTimeoutInSec=5\n";
    let loaded = load(file, &[("PERSONIUM_CORE_NO_SUCH", "1")], &[]).unwrap();
    let warnings = loaded.warnings.join("\n");
    for part in [
        "top.defaultnum (",
        "line 1) is not a known key; is io.personium.core.odata.query.top.default meant?",
        "something.else (",
        "line 3) is ignored",
        "nosuch (environment variable PERSONIUM_CORE_NO_SUCH) is not a known key",
        "unitPath (",
        "line 2) has no effect: the unit is always at the root",
        "es.hosts (",
        "lock.retry.times (",
        "es.index.x (",
        "has no effect: use server.start.waitInSec",
    ] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
    assert_eq!(loaded.warnings.len(), 8, "{warnings}");
    assert_eq!(
        loaded.config.unit.master_token.unwrap().reveal(),
        "from-the-engine"
    );
}

#[test]
fn doubtful_values_cause_warnings() {
    for (line, part) in [
        (
            "log.filter=personium_apii=debug,info",
            "no crate that logs is called personium_apii",
        ),
        (
            "log.filter=personium_api=debug",
            "names no level for all other crates",
        ),
        ("log.filter=off", "turns the log off"),
        (
            "log.access=off\nio.personium.core.log.access.file=a.log",
            "log.access.file",
        ),
        ("security.auth.password.regex=^.+$", "one character"),
        ("unitport=9", "is io.personium.core.unitPort meant?"),
    ] {
        let loaded = load(&format!("io.personium.core.{line}"), &[], &[]).unwrap();
        let warnings = loaded.warnings.join("\n");
        assert!(warnings.contains(part), "{line}: {warnings}");
    }
    let usual = "io.personium.core.log.filter=info,personium_api=debug,hyper=warn\n\
                 io.personium.core.authn.account.lockCount=5\nio.personium.core.authn.account.lockTime=60\n\
                 io.personium.core.security.token.defaultScope.ropc=auth-read openid https://u.example/__role/__/r\n";
    assert_eq!(
        load(usual, &[], &[]).unwrap().warnings,
        Vec::<String>::new()
    );
}

#[test]
fn published_secrets_are_refused_where_others_reach_the_unit() {
    let public = "io.personium.core.unitFqdn=unit.example\n";
    let open = "io.personium.core.listen=0.0.0.0:9998\n";
    for line in [
        "security.secret16=gv7hpmmf5siwj5by",
        "security.secret16=secret16abcdefgh",
        "masterToken=personiumio",
        "masterToken=abc123",
        "introspect.password=changeme\nio.personium.core.introspect.username=u",
    ] {
        let line = format!("io.personium.core.{line}\n");
        for more in [public, open] {
            let found = problems(&format!("{line}{more}")).join("\n");
            assert!(
                found.contains("published") && !found.contains("gv7h"),
                "{line}: {found}"
            );
        }
        let local = load(&line, &[], &[]).unwrap();
        assert!(local.warnings.join("\n").contains("published"), "{line}");
    }
    let salt = "io.personium.core.security.auth.password.salt=voAbizvF\n";
    assert_eq!(
        load(&format!("{salt}{public}"), &[], &[])
            .unwrap()
            .warnings
            .len(),
        1
    );
}

#[test]
fn example_file_says_of_each_key_whether_it_has_an_effect() {
    let text = example::text();
    let blocks: Vec<&str> = text.split("\n\n").collect();
    for key in Config::sections().iter().flat_map(|section| &section.keys) {
        let line = format!("# {}=", key.name);
        let block = blocks.iter().find(|block| block.contains(&line)).unwrap();
        assert_eq!(block.contains("NO EFFECT: "), !key.has_effect, "{block}");
        assert!(!key.doc.contains("no effect"), "{}", key.name);
    }
}

#[test]
fn every_key_without_effect_has_an_explanation() {
    let keys = Config::sections()
        .into_iter()
        .flat_map(|section| section.keys);
    let (with, without): (Vec<_>, Vec<_>) = keys.partition(|key| key.has_effect);
    assert!(with.len() > 80 && without.len() > 30, "{}", without.len());
    for key in without {
        assert!(
            ineffective_keys::explanation(&key.name).is_some(),
            "{}",
            key.name
        );
    }
    for key in with {
        assert_eq!(
            ineffective_keys::explanation(&key.name),
            None,
            "{}",
            key.name
        );
    }
}

#[test]
fn given_settings_mask_secrets_and_unknown_keys() {
    let file = "io.personium.core.masterToken=hidden\nio.personium.core.unitPort=9\nio.personium.core.misspelt=hidden";
    let given = load(file, &[], &[]).unwrap().given;
    let shown = format!("{given:?}");
    assert!(
        !shown.contains("hidden") && shown.contains("\"9\""),
        "{shown}"
    );
    assert_eq!(given.len(), 3);
}

#[test]
fn openid_connect_providers_are_read_and_checked() {
    let prefix = "io.personium.plugin.oidc.";
    let file = format!(
        "{prefix}one.enabled=true\n{prefix}one.configURL=https://idp.example/.well-known/openid-configuration\n\
         {prefix}one.trustedClientIds=a b\n{prefix}two.enabled=false\n"
    );
    let config = load(&file, &[], &[]).unwrap().config;
    assert_eq!(config.oidc.len(), 1);
    assert_eq!(
        config.oidc[0].trusted_client_ids,
        Some(vec!["a".into(), "b".into()])
    );
    assert_eq!(config.oidc[0].account_type, "oidc:generic");
    for more in ["one.trustedClientIds=", "one.configURL=x", "one.nonsense=1"] {
        let found = problems(&format!("{file}{prefix}{more}\n"));
        assert!(
            found[0].contains(more.split('=').next().unwrap()),
            "{found:?}"
        );
    }
    // A second provider with the same account type could log in users of the first.
    let second = format!(
        "{prefix}two.enabled=true\n{prefix}two.configURL=https://other.example/config\n\
         {prefix}two.trustedClientIds=a\n"
    );
    let found = problems(&format!("{file}{second}"));
    assert!(found[0].contains("two.accountType"), "{found:?}");
    assert!(found[1].contains("two.grantType"), "{found:?}");
    let distinct =
        format!("{second}{prefix}two.accountType=oidc:two\n{prefix}two.grantType=urn:two\n");
    assert_eq!(
        load(&format!("{file}{distinct}"), &[], &[])
            .unwrap()
            .config
            .oidc
            .len(),
        2
    );
}

#[test]
fn key_names_are_unique_without_dots_and_case_and_documented() {
    let mut seen = BTreeSet::new();
    for key in Config::sections().iter().flat_map(|section| &section.keys) {
        let bare: String = key
            .name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        assert!(seen.insert(bare.to_ascii_lowercase()), "{}", key.name);
        assert!(
            key.doc.ends_with('.') && !key.doc.contains('\n'),
            "{}: {}",
            key.name,
            key.doc
        );
    }
    assert!(seen.len() > 130, "{}", seen.len());
}

#[expect(
    clippy::disallowed_methods,
    reason = "the developer asks for the update"
)]
#[test]
fn example_file_is_up_to_date() {
    for (path, text) in [
        (
            "../../personium-unit-config.example.properties",
            example::text(),
        ),
        ("../../docs/operate/settings.md", page::text()),
    ] {
        if std::env::var_os("UPDATE_EXAMPLE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == text,
            "run cargo xtask gen-settings, or this test with UPDATE_EXAMPLE=1, to write {path}"
        );
    }
}

#[test]
fn uncommented_example_file_gives_the_defaults() {
    let active: String = example::text()
        .lines()
        .filter_map(|line| line.strip_prefix("# io.personium.core."))
        .map(|line| format!("io.personium.core.{line}\n"))
        .collect();
    let loaded = load(&active, &[], &[]).unwrap();
    let keys: usize = Config::sections()
        .iter()
        .map(|section| section.keys.len())
        .sum();
    assert_eq!(loaded.given.len(), keys);
    let defaults = Config::defaults().unwrap();
    assert_eq!(
        format!("{:?}", loaded.config.odata),
        format!("{:?}", defaults.odata)
    );
    assert_eq!(
        loaded.config.passwords.pattern.as_str(),
        defaults.passwords.pattern.as_str()
    );
}

#[test]
fn settings_of_the_object_store_are_checked_together() {
    let key = "io.personium.core.blobStore";
    let whole = format!(
        "{key}.type=s3\n{key}.s3.bucket=b\n{key}.s3.accessKey=a\n{key}.s3.secretKey=s3cr3t\n\
         {key}.s3.endpoint=https://s3.example\n"
    );
    let config = load(&whole, &[], &[]).unwrap().config;
    assert!(!format!("{config:?}").contains("s3cr3t"));
    for (from, to, named) in [
        ("s3.bucket=b", "s3.region=r", "s3.bucket"),
        ("https:", "http:", "s3.endpoint"),
        (
            "https://s3.example",
            "personium-localunit:/a",
            "s3.endpoint",
        ),
        ("s3.secretKey=s3cr3t", "s3.region=r", "s3.accessKey"),
        ("s3.accessKey=a", "s3.region=r", "s3.accessKey"),
        ("s3.region", "s3.secretKeyFile=/f\nx", "s3.accessKey"),
    ] {
        let changed = match whole.contains(from) {
            true => whole.replacen(from, to, 1),
            false => format!("{whole}{key}.s3.secretKeyFile=/f\n"),
        };
        let found = problems(&changed).join("\n");
        assert!(found.contains(named), "{from}: {found}");
    }
    let plain = whole.replace("https:", "http:") + &format!("{key}.s3.allowHttp=true\n");
    load(&plain, &[], &[]).unwrap();
    let environment = [("PERSONIUM_CORE_BLOB_STORE_S3_SECRET_KEY", "s3cr3t")];
    let without = whole.replace("s3.secretKey=s3cr3t", "s3.region=r");
    let config = load(&without, &environment, &[]).unwrap().config;
    assert!(config.object_store.secret_key.is_some());
}

#[test]
fn settings_of_the_tls_port_fit_together() {
    let core = |lines: &str| -> String {
        let lines = lines.split_whitespace();
        lines.map(|line| format!("{PREFIX}{line}\n")).collect()
    };
    let authority = "tls.acme.directory=https://ca.example/dir tls.acme.termsAgreed=true";
    for (lines, part) in [
        ("tls.crt=a", "tls.crt"),
        ("tls.listen=127.0.0.1:1", "needs a certificate"),
        (authority, "needs tls.listen"),
        (
            "tls.listen=127.0.0.1:1 tls.redirect.listen=127.0.0.1:2 tls.acme.directory=https://ca.example/dir",
            "tls.acme.termsAgreed",
        ),
        (
            &format!("tls.listen=127.0.0.1:1 tls.crt=a tls.key=b {authority}"),
            "give one of them",
        ),
        (
            &format!("tls.listen=127.0.0.1:1 {authority}"),
            "tls.redirect.listen",
        ),
        (
            &format!("tls.listen=127.0.0.1:1 tls.acme.challenge=dns-01 {authority}"),
            "tls.acme.dns.command",
        ),
        (
            "tls.listen=127.0.0.1:1 tls.acme.challenge=tls-alpn-01 tls.acme.directory=http://ca.example/dir \
             tls.acme.termsAgreed=true",
            "https",
        ),
        (
            &format!(
                "tls.listen=127.0.0.1:1 tls.acme.challenge=tls-alpn-01 tls.acme.names=*.unit.example {authority}"
            ),
            "names with *",
        ),
        (
            &format!(
                "tls.listen=127.0.0.1:1 tls.acme.challenge=tls-alpn-01 store.type=postgres {authority}"
            ),
            "one process",
        ),
        ("tls.acme.names=a_b.example", "tls.acme.names"),
        ("tls.acme.names=*.*.example", "tls.acme.names"),
        ("tls.acme.contact=nobody", "tls.acme.contact"),
    ] {
        let found = problems(&core(lines)).join("\n");
        assert!(found.contains(part), "{lines}: {found}");
    }
    let http = format!("tls.listen=127.0.0.1:1 tls.redirect.listen=127.0.0.1:2 {authority}");
    let loaded = load(&core(&http), &[], &[]).unwrap();
    let warnings = loaded.warnings.join("\n");
    assert!(
        warnings.contains("no certificate for the hosts of cells"),
        "{warnings}"
    );
    let paths = format!("{http} pathBasedCellUrl.enabled=true");
    assert_eq!(load(&core(&paths), &[], &[]).unwrap().warnings, [""; 0]);
}

/// Whether a source file below a folder writes to the log.
fn logs(folder: &std::path::Path) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => logs(&path),
            false => std::fs::read_to_string(path).is_ok_and(|text| text.contains("tracing::")),
        }
    })
}

#[test]
fn crates_that_log_are_those_that_a_filter_can_name() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = [crates.clone(), crates.join("adapters")];
    let members = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").exists());
    let logging: BTreeSet<String> = members
        .filter(|path| logs(&path.join("src")))
        .filter_map(|path| Some(format!("personium_{}", path.file_name()?.to_str()?)))
        .filter(|name| name != "personium_testkit")
        .collect();
    let named = LOGGING_CRATES
        .iter()
        .filter(|name| name.starts_with("personium_"));
    assert_eq!(
        named
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
        logging
    );
}
