//! An attempt to deliver a message to a cell of this unit or of another.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::odata::message::{AttemptOutcome, DeliverySender, OutgoingMessage};
use personium_model::{CellContext, Unit};
use personium_trace::Attribute;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{NoResponse, ReceivedResponse, RequestSender};

/// The header with the number of the attempt. The first attempt has none. A recipient that knows it does not store a message again
/// that it has received.
pub const ATTEMPT: &str = "x-personium-delivery-attempt";

/// The lifetime of the token of a delivery.
const TOKEN_TTL_MS: i64 = 60 * 60 * 1000;
/// The number of characters of a reason that are kept.
const MAX_REASON_CHARS: usize = 1024;
/// The code of a recipient that has a message with the id already. Recipients that do not know [`ATTEMPT`] answer a repeated delivery
/// with it.
const EXISTS: &str = "PR409-OD-0003";

/// An attempt to deliver a message.
pub struct DeliveryAttempt<'a> {
    /// The message.
    pub message: &'a OutgoingMessage,
    /// The URL of the recipient.
    pub to: &'a str,
    /// The sender.
    pub sender: &'a DeliverySender,
    /// The number of attempts before.
    pub attempts: u32,
}

impl DeliveryAttempt<'_> {
    /// Makes the attempt.
    pub async fn make(
        &self,
        unit: &Unit,
        context: &CellContext,
        sender: &dyn RequestSender,
    ) -> AttemptOutcome {
        let Some(request) = self.request(unit, context) else {
            let reason = "The URL of the cell is not valid.".to_owned();
            return AttemptOutcome::Unreachable { reason };
        };
        let span = personium_trace::work("message.deliver");
        if span.is_recorded() {
            span.set(Attribute::CellId(context.cell().id.to_string().into()));
        }
        let outcome = match span.scope(sender.send(request)).await {
            Ok(response) => self.outcome(&response),
            Err(NoResponse {
                reason,
                is_temporary: true,
            }) => AttemptOutcome::Failed { code: None, reason },
            Err(NoResponse { reason, .. }) => AttemptOutcome::Unreachable { reason },
        };
        match &outcome {
            AttemptOutcome::Failed { .. } => span.fail("failed"),
            AttemptOutcome::Unreachable { .. } => span.fail("unreachable"),
            AttemptOutcome::Answered { .. } | AttemptOutcome::Postponed(_) => {}
        }
        outcome
    }

    /// The request; `None` if the recipient is no valid URL.
    fn request(&self, unit: &Unit, context: &CellContext) -> Option<Request<Bytes>> {
        let Self { to, sender, .. } = *self;
        let token = TokenIssuer::new(unit, context)
            .delivery_token((sender.app(), sender.scopes()), to, TOKEN_TTL_MS)
            .ok()?;
        let from = unit.urls().cell(&context.cell().name);
        let body = Bytes::from(self.message.delivery_body(&from, to));
        let mut request = Request::post(format!("{to}__message/port"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(version) = &sender.version {
            request = request.header("X-Personium-Version", version);
        }
        for (name, value) in sender.chain_headers(unit, &context.cell().id) {
            request = request.header(name, value);
        }
        if self.attempts > 0 {
            request = request.header(ATTEMPT, self.attempts.saturating_add(1));
        }
        request.body(body).ok()
    }

    fn outcome(&self, response: &ReceivedResponse) -> AttemptOutcome {
        let (status, is_repeated) = (response.status, self.attempts > 0);
        let error = ErrorBody::of(response);
        let has_it = is_repeated
            && (status.is_success()
                || (status == StatusCode::CONFLICT && error.code.as_deref() == Some(EXISTS)));
        if has_it || status == StatusCode::CREATED {
            return AttemptOutcome::Answered {
                code: StatusCode::CREATED.as_str().to_owned(),
                reason: "Created.".to_owned(),
            };
        }
        let code = status.as_str().to_owned();
        let reason_phrase = status.canonical_reason().unwrap_or_default();
        let reason = error.message.unwrap_or_else(|| reason_phrase.to_owned());
        let reason = reason.chars().take(MAX_REASON_CHARS).collect();
        match is_temporary(status) {
            true => AttemptOutcome::Failed {
                code: Some(code),
                reason,
            },
            false => AttemptOutcome::Answered { code, reason },
        }
    }
}

/// Whether a server that answers with this status may answer otherwise another time.
pub(crate) fn is_temporary(status: StatusCode) -> bool {
    let is_other = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    is_other || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// The body of an error response of a unit.
#[derive(Default)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
}

/// Members of an error response. What else another server has sent is read over: as values it would take many times its size.
#[derive(Deserialize)]
struct ErrorMembers<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageMembers<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl ErrorBody {
    fn of(response: &ReceivedResponse) -> Self {
        if response.status.is_success() {
            return Self::default();
        }
        let Ok(body) = serde_json::from_slice::<ErrorMembers<'_>>(&response.body) else {
            return Self::default();
        };
        let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
        let message = |value: &RawValue| {
            let members: MessageMembers<'_> = serde_json::from_str(value.get()).ok()?;
            members.value.and_then(text)
        };
        Self {
            code: body.code.and_then(text),
            message: body.message.and_then(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_message_of_an_error_are_found_among_whatever_a_server_sends() {
        let of = |body: &str| {
            let response = ReceivedResponse {
                status: StatusCode::CONFLICT,
                body: body.to_owned().into(),
            };
            let error = ErrorBody::of(&response);
            (error.code, error.message)
        };
        let some = |text: &str| Some(text.to_owned());
        let zeros = "0,".repeat(1_000_000);
        for (body, expected) in [
            (
                r#"{"code":"a","message":{"lang":"en","value":"b \u00e9"}}"#.to_owned(),
                (some("a"), some("b \u{e9}")),
            ),
            (
                format!(r#"{{"x":[{zeros}0],"message":{{"value":"b"}},"code":1}}"#),
                (None, some("b")),
            ),
            (
                r#"{"code":"a","message":"b"}"#.to_owned(),
                (some("a"), None),
            ),
            (
                r#"{"code":null,"message":{"value":null}}"#.to_owned(),
                (None, None),
            ),
            (format!("[{zeros}0]"), (None, None)),
            ("[".repeat(1_000_000), (None, None)),
            ("<html>".to_owned(), (None, None)),
            (String::new(), (None, None)),
        ] {
            assert_eq!(of(&body), expected, "{}", body.get(..80).unwrap_or(&body));
        }
    }
}
