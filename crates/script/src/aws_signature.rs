//! The signature of requests to AWS, version 4 (SigV4, HMAC-SHA256), of the one form that the library sends: a POST of a form to `/`.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use serde::Deserialize;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The headers that are signed, in alphabetical order.
const SIGNED_HEADERS: &str = "content-type;host;x-amz-date";
/// The length of the date in a time such as `20150830T123600Z`.
const DATE_BYTES: usize = 8;

/// A request that is signed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignedPost {
    access_key: String,
    secret_key: String,
    region: String,
    service: String,
    host: String,
    /// The header `x-amz-date`, such as `20150830T123600Z`.
    time: String,
    content_type: String,
    body: String,
}

impl SignedPost {
    /// The header `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        let date = self.time.get(..DATE_BYTES).unwrap_or_default();
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let request = format!(
            "POST\n/\n\ncontent-type:{}\nhost:{}\nx-amz-date:{}\n\n{SIGNED_HEADERS}\n{}",
            self.content_type,
            self.host,
            self.time,
            sha256(&self.body)
        );
        let signed = format!("{ALGORITHM}\n{}\n{scope}\n{}", self.time, sha256(&request));
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [date, &self.region, &self.service, "aws4_request"] {
            key = hmac_sha256(&key, part);
        }
        let signature = hex(&hmac_sha256(&key, &signed));
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}",
            self.access_key
        )
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A text takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The case `post-x-www-form-urlencoded` of the test suite that AWS has published.
    #[test]
    fn signature_is_that_of_the_published_case() {
        let request = SignedPost {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
            service: "service".to_owned(),
            host: "example.amazonaws.com".to_owned(),
            time: "20150830T123600Z".to_owned(),
            content_type: "application/x-www-form-urlencoded".to_owned(),
            body: "Param1=value1".to_owned(),
        };
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                        SignedHeaders=content-type;host;x-amz-date, \
                        Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        assert_eq!(request.authorization(), expected);
    }
}
