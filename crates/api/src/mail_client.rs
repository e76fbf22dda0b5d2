//! The mail of scripts, which goes through the mail server of the operator.

use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MessageBuilder, SinglePart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use personium_model::settings::{MailSecurity, MailServer};
use personium_script::{HostError, HostErrorKind, Mail, MailAddress};
use personium_types::error::chain;

/// The time for a step of the exchange with the mail server.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a mail. `now_ms` is its date; `id` makes its Message-ID unique.
///
/// # Errors
/// [`HostErrorKind::Argument`] if an address or header is not valid; [`HostErrorKind::Connect`] without a connection;
/// [`HostErrorKind::Response`] if the server refuses.
pub(crate) async fn send(
    server: &MailServer,
    mail: Mail,
    (now_ms, id): (i64, &str),
) -> Result<(), HostError> {
    let message = message(mail, now_ms, id)?;
    let transport = transport(server)?;
    let sent = Box::pin(transport.send(message)).await;
    sent.map(drop).map_err(|error| {
        let kind = match error.is_response() || error.is_permanent() || error.is_transient() {
            true => HostErrorKind::Response,
            false => HostErrorKind::Connect,
        };
        HostError::new(kind, &chain(&error))
    })
}

fn transport(server: &MailServer) -> Result<AsyncSmtpTransport<Tokio1Executor>, HostError> {
    let parameters = || {
        let failed = |error: SmtpError| HostError::new(HostErrorKind::Internal, &chain(&error));
        TlsParameters::new_rustls(server.host.clone()).map_err(failed)
    };
    let tls = match server.security {
        MailSecurity::None => Tls::None,
        MailSecurity::StartTls => Tls::Required(parameters()?),
        MailSecurity::Tls => Tls::Wrapper(parameters()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.as_str())
        .port(server.port)
        .tls(tls)
        .timeout(Some(STEP_TIMEOUT));
    if let Some((user, password)) = &server.credentials {
        let credentials = Credentials::new(user.clone(), password.reveal().clone());
        builder = builder.credentials(credentials);
    }
    Ok(builder.build())
}

fn invalid(text: &str) -> HostError {
    HostError::new(HostErrorKind::Argument, text)
}

fn address(text: &str) -> Result<Address, HostError> {
    let parsed = text.parse::<Address>();
    parsed.map_err(|_| invalid("Invalid mail address is detected."))
}

fn mailbox(given: &MailAddress) -> Result<Mailbox, HostError> {
    let name = given.name.clone().filter(|name| !name.is_empty());
    if name.as_deref().is_some_and(has_control) {
        return Err(invalid("Invalid mail address is detected."));
    }
    Ok(Mailbox::new(name, address(&given.address)?))
}

/// Whether a text would begin another line.
fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn envelope(mail: &Mail) -> Result<Envelope, HostError> {
    let from = mail.envelope_from.as_deref().unwrap_or(&mail.from.address);
    let all = [&mail.to, &mail.cc, &mail.bcc].into_iter().flatten();
    let to: Result<_, _> = all.map(|to| address(&to.address)).collect();
    let refused = |_| invalid("No mail recipients");
    Envelope::new(Some(address(from)?), to?).map_err(refused)
}

fn message(mail: Mail, now_ms: i64, id: &str) -> Result<Message, HostError> {
    if has_control(&mail.subject) {
        return Err(invalid("the subject has more than one line"));
    }
    let since = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    let from = mailbox(&mail.from)?;
    let message_id = format!("<{id}@{}>", from.email.domain());
    let mut builder: MessageBuilder = Message::builder()
        .from(from)
        .subject(mail.subject.as_str())
        .date(SystemTime::UNIX_EPOCH + since)
        .message_id(Some(message_id));
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    for cc in &mail.cc {
        builder = builder.cc(mailbox(cc)?);
    }
    for reply_to in &mail.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    // It has those that no header names.
    builder = builder.envelope(envelope(&mail)?);
    let media_type = format!("text/plain; charset={}", mail.charset);
    let media_type = ContentType::parse(&media_type).map_err(|_| invalid("unknown charset"))?;
    let body = Body::new_with_encoding(mail.text, ContentTransferEncoding::Base64);
    let body = body.map_err(|_| invalid("the text cannot be encoded"))?;
    let part = SinglePart::builder().header(media_type).body(body);
    let refused = |error: lettre::error::Error| invalid(&chain(&error));
    let mut message = builder.singlepart(part).map_err(refused)?;
    for (name, value) in mail.headers {
        let name = HeaderName::new_from_ascii(name);
        let name = name.map_err(|_| invalid("the name of a header is not valid"))?;
        if has_control(&value) {
            return Err(invalid("the value of a header has more than one line"));
        }
        message
            .headers_mut()
            .insert_raw(HeaderValue::new(name, value));
    }
    Ok(message)
}
