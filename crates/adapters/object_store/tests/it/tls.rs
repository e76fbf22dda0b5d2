//! Encrypted connections, and credentials that end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_object_store::{S3BlobStore, S3Credentials, S3Settings};
use personium_store::{BlobStore, StoreError};
use personium_testkit::{S3Program, S3Server, wait_until};
use personium_types::{Secret, SystemClock, SystemRandom};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::stores::{new_space, open, random_body, read, settings, write};

/// A server with a certificate for `host`, and the file of the certificate of its issuer.
fn start_for(host: &str) -> (S3Server, TempDir, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, issuer.pem()).unwrap();
    let server = S3Server::start_with_tls(&certificate.pem(), &key.serialize_pem());
    (server, folder, roots)
}

fn trusting(url: &str, roots: Option<&Path>) -> S3Settings {
    S3Settings {
        tls_roots: roots.map(Path::to_owned),
        ..settings(url, "p")
    }
}

/// Waits until the server takes writes.
async fn wait_for(store: &S3BlobStore) {
    wait_until("the object store takes writes", async || {
        store.check().await.is_ok()
    })
    .await;
}

fn try_open(settings: &S3Settings) -> Result<S3BlobStore, StoreError> {
    let (clock, random) = (SystemClock::new(), SystemRandom::new());
    S3BlobStore::new(
        settings,
        std::sync::Arc::new(clock),
        std::sync::Arc::new(random),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_is_trusted_by_the_given_certificates_only_and_by_its_own_name_only() {
    let (server, _folder, roots) = start_for("127.0.0.1");
    let trusted = open(&trusting(&server.url(), Some(&roots)));
    wait_for(&trusted).await;
    let (space, body) = (new_space(), random_body(6 << 20));
    let id = write(&trusted, &space, &body).await.unwrap();
    assert!(read(&trusted, &space, &id).await.unwrap().unwrap() == body);
    // Those of the system do not have its issuer.
    let untrusted = open(&trusting(&server.url(), None));
    assert!(untrusted.check().await.is_err());
    let other_name = server.url().replace("127.0.0.1", "localhost");
    let refused = open(&trusting(&other_name, Some(&roots))).check().await;
    assert!(refused.is_err());
    assert!(trusted.server_name().unwrap().contains("MinIO"));
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("none", None),
        ("empty", Some("")),
        (
            "garbage",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ),
    ] {
        let path = folder.path().join(name);
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let refused = try_open(&trusting("https://127.0.0.1:1", Some(&path)));
        assert!(matches!(refused, Err(StoreError::Unsupported(_))), "{name}");
        let file = S3Settings {
            credentials: S3Credentials::File(path),
            ..settings("http://127.0.0.1:1", "p")
        };
        assert!(
            matches!(try_open(&file), Err(StoreError::Unsupported(_))),
            "{name}"
        );
    }
}

/// Asks MinIO for temporary credentials: access key, secret and session token.
fn temporary_credentials(server: &S3Server) -> [String; 3] {
    let user = format!("{}:{}", S3Server::ACCESS_KEY, S3Server::SECRET_KEY);
    let asked = Command::new("curl")
        .args([
            "-sS",
            "--aws-sigv4",
            "aws:amz:us-east-1:sts",
            "--user",
            &user,
        ])
        .args([
            "-d",
            "Action=AssumeRole&Version=2011-06-15&DurationSeconds=900",
        ])
        .arg(server.url())
        .output()
        .unwrap();
    let text = String::from_utf8(asked.stdout).unwrap();
    ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| {
        let value = text.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
        let value = value.and_then(|rest| rest.split_once("</"));
        value
            .unwrap_or_else(|| panic!("no {name} in {text}"))
            .0
            .to_owned()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_credentials_need_their_session_token_and_a_replaced_file_is_used_at_once() {
    let server = S3Server::start(S3Program::Minio);
    let [access_key, secret, token] = temporary_credentials(&server);
    let with = |credentials| S3Settings {
        credentials,
        ..settings(&server.url(), "p")
    };
    let keys = |session_token: Option<String>| S3Credentials::Keys {
        access_key: access_key.clone(),
        secret_key: Secret::new(secret.clone()),
        session_token: session_token.map(Secret::new),
    };
    open(&with(keys(Some(token.clone()))))
        .check()
        .await
        .unwrap();
    assert!(open(&with(keys(None))).check().await.is_err());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    let put = |key: &str, secret: &str, token: &str| {
        let text = format!(
            "[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\naws_session_token={token}\n"
        );
        let new = folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
    };
    put("ended-credentials", "ended-secret", "ended");
    let store = open(&with(S3Credentials::File(path.clone())));
    assert!(store.check().await.is_err());
    put(&access_key, &secret, &token);
    store.check().await.unwrap();
    let (space, body) = (new_space(), random_body(12 << 20));
    let id = write(&store, &space, &body).await.unwrap();
    assert!(read(&store, &space, &id).await.unwrap().unwrap() == body);
    // What is not there for a moment changes nothing.
    fs::remove_file(&path).unwrap();
    store.check().await.unwrap();
}
