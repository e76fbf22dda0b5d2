//! Settings of the object store of file bodies.

use std::path::PathBuf;
use std::time::Duration;

use personium_types::Secret;

use super::ConfigReader;
use super::files::{BlobStoreKind, FileConfig};
use super::section::section;
use super::value_parser::{FilePath, Flag, Number, Optional, SecretText, Text, Url};

section! {
    /// Settings of the S3-compatible object store of file bodies. They have an effect if blobStore.type is s3.
    ObjectStoreConfig "Object store" {
        /// The URL of the server; by default that of AWS in the region.
        endpoint: Option<String> = "blobStore.s3.endpoint", "", Optional(Url);
        /// The region.
        region: String = "blobStore.s3.region", "us-east-1", Text;
        /// The bucket. It must exist.
        bucket: Option<String> = "blobStore.s3.bucket", "", Optional(Text);
        /// The beginning of the names of all objects of this unit, before a slash. Two units can share a bucket with different
        /// prefixes.
        prefix: String = "blobStore.s3.prefix", "", Text;
        /// The access key. Without it, the unit asks the machine for the credentials of its role, as on AWS.
        access_key: Option<String> = "blobStore.s3.accessKey", "", Optional(Text);
        /// The secret of the access key.
        secret_key: Option<Secret<String>> = "blobStore.s3.secretKey", "", Optional(SecretText { min_bytes: 1 });
        /// A file with the secret of the access key, instead of the secret itself.
        secret_key_file: Option<PathBuf> = "blobStore.s3.secretKeyFile", "", Optional(FilePath);
        /// The session token of temporary credentials. It ends with them: a file is better.
        session_token: Option<Secret<String>> = "blobStore.s3.sessionToken", "", Optional(SecretText { min_bytes: 1 });
        /// A file with access key, secret and session token, as the tools of AWS write it (profile default), instead of the
        /// settings for them. It is read again when it has changed.
        credentials_file: Option<PathBuf> = "blobStore.s3.credentialsFile", "", Optional(FilePath);
        /// The certificates of the issuers that are trusted to name the server, in a PEM file; by default, those of the system.
        tls_roots: Option<PathBuf> = "blobStore.s3.tls.roots", "", Optional(FilePath);
        /// Whether URLs name the bucket in their path. Otherwise they name it in the host name.
        path_style: bool = "blobStore.s3.pathStyle", "true", Flag;
        /// Whether the URL of the server may begin with http. The file bodies are then sent unencrypted, unless the unit
        /// encrypts them.
        allow_http: bool = "blobStore.s3.allowHttp", "false", Flag;
        /// The size in MiB of the parts in which larger files are sent. An upload needs three times as much memory.
        part_mib: usize = "blobStore.s3.partSizeInMiB", "8", Number(5..=512);
        /// The number of times that a request is repeated if the server fails or cannot be reached.
        retries: usize = "blobStore.s3.retries", "4", Number(0..=20);
        /// The number of seconds after which a request without a response has failed.
        timeout_secs: u64 = "blobStore.s3.timeoutInSeconds", "20", Number(1..=600);
        /// The number of seconds after which the object of a deleted or replaced file is removed. Downloads that began before
        /// can go on so long.
        removal_delay_secs: u64 = "blobStore.s3.removalDelayInSeconds", "60", Number(0..=3600);
    }
}

impl ObjectStoreConfig {
    /// The time until the response to a request.
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_secs)
    }

    /// Checks conditions on several keys.
    pub(super) fn check(&self, files: &FileConfig, reader: &mut ConfigReader) {
        if files.kind != BlobStoreKind::S3 {
            return;
        }
        if files.root.is_some() {
            reader.add_key_warning("blobStore.root", "has no effect while blobStore.type is s3");
        }
        if self.bucket.is_none() {
            reader.add_key_problem(
                "blobStore.s3.bucket",
                "must be given if blobStore.type is s3",
            );
        }
        let endpoint = self.endpoint.as_deref().unwrap_or("https:");
        let is_permitted =
            endpoint.starts_with("https:") || (endpoint.starts_with("http:") && self.allow_http);
        if !is_permitted {
            reader.add_key_problem(
                "blobStore.s3.endpoint",
                "must begin with https, or with http if blobStore.s3.allowHttp is true",
            );
        }
        if self.credentials_file.is_some() && self.access_key.is_some() {
            reader.add_key_problem(
                "blobStore.s3.credentialsFile",
                "must not be given together with blobStore.s3.accessKey",
            );
        }
        if self.session_token.is_some() && self.access_key.is_none() {
            reader.add_key_problem(
                "blobStore.s3.sessionToken",
                "must be given together with blobStore.s3.accessKey",
            );
        }
        let secrets = [self.secret_key.is_some(), self.secret_key_file.is_some()];
        let given = secrets.iter().filter(|is_given| **is_given).count();
        if given != usize::from(self.access_key.is_some()) {
            reader.add_key_problem(
                "blobStore.s3.accessKey",
                "must be given together with either blobStore.s3.secretKey or blobStore.s3.secretKeyFile",
            );
        }
    }
}
