//! One order: challenges, their answers, the certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use personium_token::trust::ChallengeCertificate;
use personium_types::error::chain;

use super::authority_client::AuthorityClient;
use super::dns_command::{self, RecordChange, TxtRecord};
use super::{AcmeClient, AcmeError, account, files};
use crate::config::AcmeChallenge;
use crate::tls::TokenChallenge;

/// How long the authority may take to verify, or to issue.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// The problem of an account that the authority does not know (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// The facts of an order besides its result.
#[derive(Debug, Default)]
pub(super) struct OrderOutcome {
    retry_after_secs: Arc<AtomicU64>,
}

impl OrderOutcome {
    /// How long the authority asks to wait after a refusal.
    pub(super) fn retry_after(&self) -> Duration {
        Duration::from_secs(self.retry_after_secs.load(Ordering::Relaxed))
    }
}

/// A key and its certificates in one text. The own key is the first one, and so the one that is read, whatever the authority has sent.
pub(super) fn in_pem(chain: &str, key: &str) -> String {
    format!("{key}\n{chain}")
}

/// Gets a certificate with a new key. Returns both in PEM, with the certificates of intermediate authorities.
///
/// # Errors
/// [`AcmeError`].
pub(super) async fn obtain(
    client: &AcmeClient,
    outcome: &mut OrderOutcome,
) -> Result<String, AcmeError> {
    let authority = AuthorityClient::new(&client.settings, Arc::clone(&outcome.retry_after_secs))?;
    let account = account::open(&client.settings, &authority).await?;
    let mut order = match new_order(client, &account).await {
        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
            let account = account::recreate(&client.settings, &authority).await?;
            new_order(client, &account).await?
        }
        other => other?,
    };
    let mut records = Vec::new();
    let proven = prove(client, &mut order, &mut records).await;
    for record in &records {
        remove_record(client, record).await;
    }
    proven?;
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLLING).await?;
    Ok(in_pem(&chain, &key))
}

async fn new_order(client: &AcmeClient, account: &Account) -> Result<Order, Error> {
    let names = client.settings.names.iter().cloned();
    let identifiers: Vec<Identifier> = names.map(Identifier::Dns).collect();
    account.new_order(&NewOrder::new(&identifiers)).await
}

/// Answers the challenges of an order and waits until the authority has verified them. Adds the records that were set to
/// `records`.
async fn prove(
    client: &AcmeClient,
    order: &mut Order,
    records: &mut Vec<TxtRecord>,
) -> Result<(), AcmeError> {
    let kind = client.settings.challenge;
    let mut is_any_pending = false;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => is_any_pending = true,
            other => {
                return Err(AcmeError::Authority(format!(
                    "an authorization is {other:?}"
                )));
            }
        }
        let name = authorization
            .identifier()
            .identifier
            .authorized(false)
            .to_string();
        if !is_ordered(&client.settings.names, &name) {
            let name = files::bounded(&name);
            return Err(AcmeError::Authority(format!(
                "it wants a proof of {name:?}, which was not ordered"
            )));
        }
        let challenge = authorization
            .challenge(challenge_type(kind))
            .ok_or_else(|| {
                let kind = kind.as_str();
                AcmeError::Authority(format!("it offers no challenge {kind} for {name}"))
            })?;
        let authorized = challenge.key_authorization();
        match kind {
            AcmeChallenge::Http01 => client.challenges.add_token(TokenChallenge {
                token: challenge.token.clone(),
                key_authorization: authorized.as_str().to_owned(),
                name,
            }),
            AcmeChallenge::TlsAlpn01 => add_certificate(client, &name, &authorized)?,
            AcmeChallenge::Dns01 => {
                let record = TxtRecord {
                    name: format!("_acme-challenge.{name}"),
                    value: authorized.dns_value(),
                };
                records.push(record.clone());
                change_record(client, RecordChange::Add, &record).await?;
            }
        }
    }
    if !records.is_empty() {
        tokio::time::sleep(client.settings.dns_wait).await;
    }
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(challenge_type(kind)) {
            challenge.set_ready().await?;
        }
    }
    if !is_any_pending {
        return Ok(());
    }
    match order.poll_ready(&POLLING).await? {
        OrderStatus::Ready | OrderStatus::Valid => Ok(()),
        _ => Err(AcmeError::Challenge(refusals(order).await)),
    }
}

/// Whether a name is one of those that a certificate is ordered for, without the `*.` of one.
fn is_ordered(ordered: &[String], name: &str) -> bool {
    ordered.iter().any(|own| {
        let own = own.strip_prefix("*.").unwrap_or(own);
        own.eq_ignore_ascii_case(name)
    })
}

const fn challenge_type(kind: AcmeChallenge) -> ChallengeType {
    match kind {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        AcmeChallenge::Dns01 => ChallengeType::Dns01,
    }
}

fn add_certificate(
    client: &AcmeClient,
    name: &str,
    authorized: &instant_acme::KeyAuthorization,
) -> Result<(), AcmeError> {
    let failed = |reason: String| AcmeError::Challenge(format!("{name}: {reason}"));
    let digest = authorized.digest();
    let digest: &[u8; 32] = digest
        .as_ref()
        .try_into()
        .map_err(|_| failed("no digest".to_owned()))?;
    let made = ChallengeCertificate::new(name, digest);
    let made = made.map_err(|error| failed(error.to_string()))?;
    let (certificate, key) = (made.certificate_der, made.key_der);
    let added = client.challenges.add_certificate(name, certificate, key);
    added.map_err(|error| failed(error.to_string()))
}

async fn change_record(
    client: &AcmeClient,
    change: RecordChange,
    record: &TxtRecord,
) -> Result<(), AcmeError> {
    let Some(command) = &client.settings.dns_command else {
        return Err(AcmeError::Challenge(
            "there is no tls.acme.dns.command".to_owned(),
        ));
    };
    dns_command::call(command, change, record).await
}

/// Removes a record. One that stays does no harm.
async fn remove_record(client: &AcmeClient, record: &TxtRecord) {
    if let Err(error) = change_record(client, RecordChange::Remove, record).await {
        tracing::warn!(record = record.name, error = %chain(&error), "record not removed");
    }
}

/// Why the authority has not accepted the answers.
async fn refusals(order: &mut Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        let problems = authorization.challenges.iter();
        let problems = problems.filter_map(|challenge| challenge.error.as_ref());
        reasons.extend(problems.map(|problem| format!("{name}: {problem}")));
    }
    match reasons.is_empty() {
        true => "the authority refuses without a reason".to_owned(),
        false => reasons.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use personium_token::trust::{
        CertificatePurpose, CertificateSpec, RsaBits, generate_rsa_key, self_signed_certificate,
    };

    use super::*;
    use crate::tls::ServerCertificate;

    #[test]
    fn key_that_the_authority_sends_is_not_used() {
        let made = || {
            let key = generate_rsa_key(RsaBits::Bits2048).unwrap();
            let spec = CertificateSpec {
                purpose: CertificatePurpose::Server,
                name: "unit.example".to_owned(),
                organization: None,
                not_before_ms: 1_800_000_000_000,
                not_after_ms: 1_900_000_000_000,
                serial: [7; 16],
            };
            let certificate = self_signed_certificate(&key, &spec).unwrap();
            (certificate, key)
        };
        let ((certificate, own_key), (foreign, foreign_key)) = (made(), made());
        let read = |chain: &str| {
            let pem = in_pem(chain, &own_key);
            ServerCertificate::read(pem.as_bytes(), pem.as_bytes(), "test")
        };
        read(&certificate).unwrap();
        for chain in [
            format!("{foreign_key}\n{}", foreign),
            format!("{}\n{foreign_key}", foreign),
        ] {
            let error = read(&chain).unwrap_err().to_string();
            assert!(error.contains("cannot be used"), "{error}");
        }
    }

    #[test]
    fn only_names_that_were_ordered_are_proven() {
        let ordered = ["unit.example".to_owned(), "*.cells.example".to_owned()];
        for (name, is_own) in [
            ("unit.example", true),
            ("Unit.example", true),
            ("cells.example", true),
            ("other.example", false),
            ("example", false),
            ("a.unit.example", false),
            ("unit.example\nupdate delete unit.example", false),
            ("", false),
        ] {
            assert_eq!(is_ordered(&ordered, name), is_own, "{name}");
        }
    }
}
