//! The modes of maintenance of a unit that runs, on any of its nodes: over its API, by an administrator of the unit.

use std::fmt::Write as _;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use personium_types::Secret;
use serde_json::{Value, json};

use super::AdminCommand;
use crate::outside::{
    OutsideClient, OutsideRequest, OutsideResponse, UnitAccess, UnitAddress, UnitFacts,
};

/// A unit that runs, and the authority over it.
#[derive(Debug)]
pub struct RemoteUnit {
    /// Where it is.
    pub address: UnitAddress,
    /// As whom the command comes.
    pub access: UnitAccess,
}

/// Shows the modes of a running unit, or sets one. Returns what is on then.
///
/// # Errors
/// A text if the unit cannot be reached or refuses, or the command is another one.
pub async fn run(unit: RemoteUnit, command: &AdminCommand) -> Result<String, String> {
    let RemoteUnit { address, access } = unit;
    let client = OutsideClient::new(&address)?;
    let facts = UnitFacts::ask(&client, &address).await?;
    let token = access.token(&client, &facts).await?;
    let resource = format!("{}__maintenance", facts.url);
    let for_owner = |owner: &str| {
        let owner = utf8_percent_encode(owner, NON_ALPHANUMERIC);
        format!("{resource}?unitUser={owner}")
    };
    let change = match command {
        AdminCommand::ShowMode => None,
        AdminCommand::SetReadDeleteOnly(true) => {
            let body = json!({"mode": "readDelete"});
            Some((Method::PUT, resource.clone(), body.to_string()))
        }
        AdminCommand::SetReadDeleteOnly(false) => {
            Some((Method::DELETE, resource.clone(), String::new()))
        }
        AdminCommand::SetReadOnly(owner, true) => {
            let body = json!({"mode": "readOnly", "unitUser": owner});
            Some((Method::PUT, resource.clone(), body.to_string()))
        }
        AdminCommand::SetReadOnly(owner, false) => {
            Some((Method::DELETE, for_owner(owner), String::new()))
        }
        _ => return Err("only modes can be set in a running unit".to_owned()),
    };
    if let Some((method, url, body)) = change {
        send(&client, &token, (method, url, body), 204).await?;
    }
    let asked = (Method::GET, resource, String::new());
    let shown = send(&client, &token, asked, 200).await?;
    Ok(describe(&shown.json()))
}

/// Sends a request, which must be answered with this status.
async fn send(
    client: &OutsideClient,
    token: &Secret<String>,
    (method, url, body): (Method, String, String),
    expected: u16,
) -> Result<OutsideResponse, String> {
    let request = OutsideRequest {
        method: method.clone(),
        url: url.clone(),
        headers: vec![("authorization".into(), format!("Bearer {}", token.reveal()))],
        body: body.into_bytes(),
    };
    let response = client.send(request).await;
    let response = response.map_err(|error| format!("{url}: {error}"))?;
    match response.status == expected {
        true => Ok(response),
        false => Err(format!(
            "{method} {url} answers {}: {}",
            response.status,
            response.shown()
        )),
    }
}

/// The answer of `__maintenance` as a text.
fn describe(shown: &Value) -> String {
    let is_on = |mode: Option<&Value>| mode.and_then(Value::as_str) == Some("readDelete");
    let mut out = match is_on(shown.get("mode")) {
        true => "The unit can be read and deleted from only.\n".to_owned(),
        false => "The unit is in its normal mode.\n".to_owned(),
    };
    if !is_on(shown.get("mode")) && is_on(shown.pointer("/thisNode/mode")) {
        out.push_str(
            "The node that answered can be read and deleted from only: its disk is nearly full.\n",
        );
    }
    let owners = shown.get("unitUsers").and_then(Value::as_object);
    if let Some(owners) = owners.filter(|owners| !owners.is_empty()) {
        out.push_str("The cells of these owners can be read only:\n");
        for owner in owners.keys() {
            let _ = writeln!(out, "  {}", owner.escape_debug());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_texts() {
        for (shown, text) in [
            (json!({}), "The unit is in its normal mode.\n"),
            (
                json!({"mode": "readDelete", "unitUsers": {}}),
                "The unit can be read and deleted from only.\n",
            ),
            (
                json!({"mode": "normal", "unitUsers": {"http://u/c/#\u{1b}[1m": "readOnly"}, "thisNode": {"mode": "readDelete"}}),
                "The unit is in its normal mode.\n\
                 The node that answered can be read and deleted from only: its disk is nearly full.\n\
                 The cells of these owners can be read only:\n  http://u/c/#\\u{1b}[1m\n",
            ),
        ] {
            assert_eq!(describe(&shown), text);
        }
    }
}
