//! Logins with the form of a cell and an authorization code (RFC 6749, section 4.1), as a client without a secret (RFC 7636).

use personium_testkit::{PASSWORD, ProcessUnit, encode_form};

/// Verifier and challenge of RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Logs in the account `me` of the cell `c` with the form of a node, for the application with the URL `app`; returns the code.
pub(crate) async fn new_code(node: &ProcessUnit, app: &str) -> String {
    let redirect = format!("{app}__/back");
    let fields = [
        ("response_type", "code"),
        ("client_id", app),
        ("redirect_uri", &redirect),
        ("username", "me"),
        ("password", PASSWORD),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let request = node.request("POST", "c/__authz").body(encode_form(&fields));
    let location = request.send().await.header("location").unwrap().to_owned();
    let (_, rest) = location.split_once("code=").unwrap();
    rest.split('&').next().unwrap().to_owned()
}

/// Asks a node for the tokens of a code; returns the status.
pub(crate) async fn redeem_status(node: &ProcessUnit, app: &str, code: &str) -> u16 {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", app),
        ("code_verifier", VERIFIER),
    ];
    node.request_token("c", &fields).await.status.as_u16()
}
