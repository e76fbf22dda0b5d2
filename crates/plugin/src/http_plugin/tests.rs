use std::time::Instant;

use super::*;
use crate::call::{BoxError, PluginHost};

/// A host that must not be used to send.
struct NoNetwork;

#[async_trait]
impl PluginHost for NoNetwork {
    async fn send(&self, _: Request<Bytes>, _: usize) -> Result<Response<Bytes>, BoxError> {
        Err("no network".into())
    }

    fn now_ms(&self) -> i64 {
        1_796_000_000_999
    }

    fn monotonic(&self) -> Instant {
        unreachable!("the plugin measures no time")
    }

    fn new_id(&self) -> String {
        "0123".to_owned()
    }

    fn fill_random(&self, _: &mut [u8]) -> Result<(), BoxError> {
        Err("no randomness".into())
    }
}

fn question(fields: Option<&[&str]>, form: &[(&str, &str)]) -> Value {
    let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let plugin = HttpPlugin {
        url: "https://auth.example/".to_owned(),
        key: SigningKey::new(b"key"),
        timeout: Duration::from_secs(1),
        fields: fields.map(owned),
        name: "sample".to_owned(),
        grant_type: "urn:x".to_owned(),
    };
    let pairs = form
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let call = PluginCall {
        cell_url: "https://unit.example/c/",
        fields: &pairs.collect::<Vec<_>>(),
        host: &NoNetwork,
    };
    let request = plugin.request(&call, "0123").unwrap();
    let signature = request.headers().get(SIGNATURE_HEADER).unwrap();
    assert_eq!(signature, &plugin.key.sign_request(request.body()));
    serde_json::from_slice(request.body()).unwrap()
}

#[test]
fn client_secrets_are_passed_only_if_the_operator_names_them() {
    let form = [
        ("user", "a"),
        ("client_secret", "x"),
        ("client_assertion", "y"),
        ("user", "b"),
    ];
    let asked = question(None, &form);
    let expected = serde_json::json!({
        "version": 1, "id": "0123", "time": 1_796_000_000, "plugin": "sample", "grant_type": "urn:x",
        "cell": "https://unit.example/c/", "fields": {"user": ["a", "b"]},
    });
    assert_eq!(asked, expected);
    let asked = question(Some(&["client_secret", "absent"]), &form);
    assert_eq!(asked["fields"], serde_json::json!({"client_secret": ["x"]}));
}
