//! Encrypted connections.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use personium_operator_files::tls::ClientCertificate;
use personium_postgres::{PostgresHost, PostgresSettings, TlsMode};
use personium_store::{RecordStore, StoreError};
use personium_testkit::PostgresCluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::database::{Database, counted, new_space, open};

/// An issuer of certificates.
struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate with this host name and common name; returns it with its key.
    fn issue(&self, host: &str, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// A server that takes only encrypted connections, and those of a role only with its certificate.
fn cluster(issuer: &Issuer) -> PostgresCluster {
    let (certificate, key) = issuer.issue("localhost", "server");
    PostgresCluster::start_with(tempfile::tempdir().unwrap(), |files| {
        files.write("server.crt", &certificate);
        files.write("server.key", &key);
        files.write("root.crt", &issuer.pem());
        files.write(
            "pg_hba.conf",
            "hostnossl all postgres 127.0.0.1/32 trust\n\
             hostssl all by_certificate 127.0.0.1/32 cert\n\
             hostssl all postgres 127.0.0.1/32 trust\n",
        );
        [
            "ssl=on",
            "ssl_cert_file=server.crt",
            "ssl_key_file=server.key",
            "ssl_ca_file=root.crt",
        ]
        .map(str::to_owned)
        .to_vec()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_proves_its_name_and_the_client_its_own() {
    let issuer = Issuer::new();
    let database = Database::on(Arc::new(cluster(&issuer))).await;
    database.sql(
        "CREATE ROLE by_certificate LOGIN; GRANT USAGE ON SCHEMA personium TO by_certificate; \
         GRANT ALL ON ALL TABLES IN SCHEMA personium TO by_certificate",
    );
    let files = Files {
        folder: tempfile::tempdir().unwrap(),
    };
    let roots = files.write("roots.pem", &issuer.pem());
    let settings = |name: &str, user: &str, tls: TlsMode| PostgresSettings {
        hosts: vec![PostgresHost {
            name: name.to_owned(),
            port: database.cluster.port(),
        }],
        user: user.to_owned(),
        tls,
        ..database.settings()
    };
    let verify = |roots: &PathBuf, client: Option<ClientCertificate>| TlsMode::Verify {
        roots: Some(roots.clone()),
        client,
    };
    let trusting = open(&settings("localhost", "postgres", verify(&roots, None)));
    trusting.commit(&new_space(), counted(1)).await.unwrap();
    let encrypted = database.sql(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'personium' AND ssl",
    );
    assert_eq!(encrypted, "1");

    let (certificate, key) = issuer.issue("client", "by_certificate");
    let client = ClientCertificate {
        certificate: files.write("client.pem", &certificate),
        key: files.write("client.key", &key),
    };
    let with_certificate = verify(&roots, Some(client));
    let identified = open(&settings("localhost", "by_certificate", with_certificate));
    identified.commit(&new_space(), counted(1)).await.unwrap();

    let strangers = files.write("strangers.pem", &Issuer::new().pem());
    for refused in [
        settings("127.0.0.1", "postgres", verify(&roots, None)),
        settings("localhost", "postgres", verify(&strangers, None)),
        settings("localhost", "by_certificate", verify(&roots, None)),
        settings("localhost", "by_certificate", TlsMode::Off),
    ] {
        let read = open(&refused).get(&new_space(), &[]).await;
        assert!(
            matches!(read, Err(StoreError::Down(_))),
            "{refused:?}: {read:?}"
        );
    }
}

#[tokio::test]
async fn unusable_files_are_refused_at_the_start() {
    let files = Files {
        folder: tempfile::tempdir().unwrap(),
    };
    let empty = files.write("empty.pem", "");
    let roots = files.write("roots.pem", &Issuer::new().pem());
    let client = Some(ClientCertificate {
        certificate: roots.clone(),
        key: empty.clone(),
    });
    let host = PostgresHost {
        name: "localhost".to_owned(),
        port: 5432,
    };
    for (roots, client) in [
        (empty.clone(), None),
        (files.folder.path().join("absent"), None),
        (roots, client),
    ] {
        let settings = PostgresSettings {
            tls: TlsMode::Verify {
                roots: Some(roots),
                client,
            },
            ..PostgresSettings::new(host.clone(), "d", "u")
        };
        let random = Arc::new(personium_types::SystemRandom::new());
        let refused = personium_postgres::PostgresStore::new(&settings, random);
        assert!(
            matches!(refused, Err(StoreError::Unsupported(_))),
            "{refused:?}"
        );
    }
}
