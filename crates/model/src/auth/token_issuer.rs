//! Issues the tokens of a grant.

use std::collections::BTreeMap;

use personium_token::local::{AssertionOrigin, LocalKind, LocalToken};
use personium_token::role_url::RoleUrl;
use personium_token::saml::{self, IssueError, TransCellToken};
use personium_types::{Code, Error, Result};

use super::grant::{Grant, TokenSubject};
use super::visitor::{self, Visitor};
use super::{cell_token, claims};
use crate::credentials::UnitCertificates;
use crate::event::Event;
use crate::{CellContext, Unit};

/// Issues the tokens of one cell. Lifetimes are in milliseconds.
#[derive(Clone, Copy)]
pub struct TokenIssuer<'a> {
    unit: &'a Unit,
    context: &'a CellContext,
}

impl<'a> TokenIssuer<'a> {
    /// Creates the issuer of a cell.
    #[must_use]
    pub fn new(unit: &'a Unit, context: &'a CellContext) -> Self {
        Self { unit, context }
    }

    /// Issues an access token for this cell. The current roles of a visitor are written into it.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn access_token(&self, grant: &Grant, ttl_ms: i64) -> Result<String> {
        let roles = match &grant.subject {
            TokenSubject::Resident { .. } => Vec::new(),
            TokenSubject::Visitor { .. } => self.role_ids(&grant.subject).await?,
        };
        self.access_token_with_roles(grant, ttl_ms, &roles).await
    }

    async fn access_token_with_roles(
        &self,
        grant: &Grant,
        ttl_ms: i64,
        role_ids: &[String],
    ) -> Result<String> {
        let token = match &grant.subject {
            TokenSubject::Resident { .. } => {
                self.local_token(grant, LocalKind::ResidentAccess, ttl_ms)
            }
            TokenSubject::Visitor { .. } => {
                let cell_url = self.cell_url();
                let mut roles = Vec::new();
                for id in role_ids {
                    roles.extend(role_instance_url(self.context, &cell_url, id).await?);
                }
                LocalToken {
                    roles,
                    ..self.local_token(grant, LocalKind::VisitorAccess, ttl_ms)
                }
            }
        };
        cell_token::seal(self.unit, self.context, token)
    }

    /// Issues an access token for another cell, or for a unit. Roles of boxes are left out of a token for this unit,
    /// which does not know them.
    ///
    /// # Errors
    /// [`Code::TargetInvalid`] if the target is not valid, or if it is this unit and the subject a visitor;
    /// [`Code::AuthnFailed`] if the account was deleted; failures of the store.
    pub async fn trans_cell_token(
        &self,
        grant: &Grant,
        target: &str,
        ttl_ms: i64,
    ) -> Result<String> {
        let roles = self.role_ids(&grant.subject).await?;
        let unsigned = self.unsigned(grant, target, ttl_ms, &roles).await?;
        let certificates = self.unit.keys().certificates();
        sign(&certificates, &unsigned)
    }

    /// A token for another cell, or for a unit, that is not signed.
    async fn unsigned(
        &self,
        grant: &Grant,
        target: &str,
        ttl_ms: i64,
        role_ids: &[String],
    ) -> Result<TransCellToken> {
        let issuer = self.cell_url();
        let is_for_unit = target == self.unit.urls().unit();
        if is_for_unit && matches!(grant.subject, TokenSubject::Visitor { .. }) {
            // Only accounts of the configured cells are unit users, not visitors of these cells.
            return Err(Code::TargetInvalid.into());
        }
        let mut roles = Vec::new();
        for id in role_ids {
            if is_for_unit && self.is_role_of_box(id).await? {
                continue;
            }
            roles.extend(self.role_class_url(&grant.subject, &issuer, id).await?);
        }
        let subject = match &grant.subject {
            TokenSubject::Resident { account, .. } => format!("{issuer}#{account}"),
            TokenSubject::Visitor { subject, .. } => subject.clone(),
        };
        Ok(TransCellToken {
            id: self.unit.random().uuid().to_string(),
            issued_at_ms: self.unit.now_ms(),
            lifespan_ms: ttl_ms,
            issuer,
            subject,
            target: target.to_owned(),
            schema: grant.schema.clone(),
            roles,
            scopes: grant.scopes.clone(),
        })
    }

    /// Issues a refresh token.
    ///
    /// # Errors
    /// [`Code::Unknown`] if it cannot be sealed.
    pub fn refresh_token(&self, grant: &Grant, ttl_ms: i64) -> Result<String> {
        let mut token = match &grant.subject {
            TokenSubject::Resident { .. } => {
                self.local_token(grant, LocalKind::ResidentRefresh, ttl_ms)
            }
            TokenSubject::Visitor {
                issuer,
                assertion_id,
                roles,
                ..
            } => LocalToken {
                roles: roles.clone(),
                origin: Some(AssertionOrigin {
                    issuer: issuer.clone(),
                    assertion_id: assertion_id.clone(),
                }),
                ..self.local_token(grant, LocalKind::VisitorRefresh, ttl_ms)
            },
        };
        if grant.lineage.is_none() {
            let family = self.unit.random().uuid().simple().to_string();
            token.extra.insert(claims::FAMILY.to_owned(), family);
        }
        if let Some(lineage) = &grant.lineage {
            if let Some(parent) = &lineage.parent {
                token
                    .extra
                    .insert(claims::PARENT.to_owned(), parent.clone());
            }
            if lineage.is_public {
                let mark = (claims::PUBLIC_CLIENT.to_owned(), "true".to_owned());
                token.extra.extend([mark]);
            }
        }
        cell_token::seal(self.unit, self.context, token)
    }

    /// Issues the token that only allows to change the password of an account.
    ///
    /// # Errors
    /// [`Code::Unknown`] if it cannot be sealed.
    pub fn password_change_token(&self, grant: &Grant, ttl_ms: i64) -> Result<String> {
        let token = self.local_token(grant, LocalKind::PasswordChange, ttl_ms);
        cell_token::seal(self.unit, self.context, token)
    }

    /// Issues an authorization code with these claims; see [`claims`].
    ///
    /// # Errors
    /// [`Code::Unknown`] if it cannot be sealed.
    pub fn code(
        &self,
        grant: &Grant,
        ttl_ms: i64,
        claims: BTreeMap<String, String>,
    ) -> Result<String> {
        let mut token = self.local_token(grant, LocalKind::GrantCode, ttl_ms);
        token.extra.extend(claims);
        cell_token::seal(self.unit, self.context, token)
    }

    /// Issues the token with which the cell itself delivers a message to another cell, or one that was issued within the last minute and
    /// says the same. Application and scopes are those of the sender of the message.
    ///
    /// # Errors
    /// [`Code::TargetInvalid`] if the target is not valid.
    pub fn delivery_token(
        &self,
        (app, scopes): (Option<&str>, &[String]),
        target: &str,
        ttl_ms: i64,
    ) -> Result<String> {
        let cell_url = self.cell_url();
        self.signed_lately(&TransCellToken {
            id: self.unit.random().uuid().to_string(),
            issued_at_ms: self.unit.now_ms(),
            lifespan_ms: ttl_ms,
            issuer: cell_url.clone(),
            subject: cell_url,
            target: target.to_owned(),
            schema: app.map(str::to_owned),
            roles: Vec::new(),
            scopes: scopes.to_vec(),
        })
    }

    /// Issues the token with which a rule acts on behalf of the subject of an event, in this cell or in the cell
    /// `target`. It has the roles that the subject has now. A token for another cell may be one that was issued within the last minute
    /// and says the same. Returns `None` for an event without a subject.
    ///
    /// # Errors
    /// [`Code::AuthnFailed`] if the account was deleted or deactivated; [`Code::TargetInvalid`] if the target is not
    /// valid; failures of the store.
    pub async fn action_token(
        &self,
        event: &Event,
        scopes: Vec<String>,
        target: Option<&str>,
        ttl_ms: i64,
    ) -> Result<Option<String>> {
        let Some(subject_url) = &event.subject else {
            return Ok(None);
        };
        let (subject, roles) = match &event.account {
            Some(id) => {
                let name = subject_url.split_once('#').map_or("", |(_, name)| name);
                let found = self.context.find_account(name).await?;
                let found = found.filter(|account| account.id == *id && !account.deactivated);
                let found = found.ok_or(Code::AuthnFailed)?;
                let subject = TokenSubject::Resident {
                    id: found.id.clone(),
                    account: found.name.clone(),
                    token_generation: found.token_generation.clone(),
                };
                (subject, &found.roles.clone())
            }
            None => {
                let subject = TokenSubject::Visitor {
                    subject: subject_url.clone(),
                    issuer: self.cell_url(),
                    assertion_id: String::new(),
                    roles: Vec::new(),
                };
                (subject, &event.roles)
            }
        };
        let grant = Grant {
            subject,
            schema: event.schema.clone().filter(|schema| !schema.is_empty()),
            scopes,
            lineage: None,
        };
        let token = match target {
            None => self.access_token_with_roles(&grant, ttl_ms, roles).await?,
            Some(target) => {
                let unsigned = self.unsigned(&grant, target, ttl_ms, roles).await?;
                self.signed_lately(&unsigned)?
            }
        };
        Ok(Some(token))
    }

    fn cell_url(&self) -> String {
        self.unit.urls().cell(&self.context.cell().name)
    }

    fn local_token(&self, grant: &Grant, kind: LocalKind, ttl_ms: i64) -> LocalToken {
        let (subject, mut extra) = match &grant.subject {
            TokenSubject::Resident {
                id,
                account,
                token_generation,
            } => (
                account,
                cell_token::account_claims(id, token_generation.as_deref()),
            ),
            TokenSubject::Visitor { subject, .. } => (subject, BTreeMap::new()),
        };
        if let Some(lineage) = &grant.lineage {
            extra.insert(claims::FAMILY.to_owned(), lineage.family.clone());
        }
        LocalToken {
            kind,
            issued_at_ms: self.unit.now_ms(),
            lifespan_ms: ttl_ms,
            subject: subject.clone(),
            schema: grant.schema.clone(),
            scopes: grant.scopes.clone(),
            issuer: self.cell_url(),
            roles: Vec::new(),
            origin: None,
            extra,
        }
    }

    /// The text of a token for requests of the cell itself: this one, or one of the last minute that says the same.
    fn signed_lately(&self, token: &TransCellToken) -> Result<String> {
        let certificates = self.unit.keys().certificates();
        let signed = &self.unit.credentials().signed_assertions;
        signed.get_or_sign(token, &certificates, || sign(&certificates, token))
    }

    /// The entity ids of the current roles of a subject.
    async fn role_ids(&self, subject: &TokenSubject) -> Result<Vec<String>> {
        match subject {
            TokenSubject::Resident { account, .. } => {
                let found = self.context.find_account(account).await?;
                let found = found.ok_or(Code::AuthnFailed)?;
                Ok(found.roles.clone())
            }
            TokenSubject::Visitor {
                subject,
                issuer,
                roles,
                ..
            } => {
                let visitor = Visitor {
                    subject,
                    issuer,
                    roles,
                };
                visitor::roles(self.unit.urls(), self.context, visitor).await
            }
        }
    }

    /// The class URL of a role; `None` if it was deleted. For an account, a role of a box is a class of the box's app;
    /// for a visitor, every role is a class of the cell.
    async fn role_class_url(
        &self,
        subject: &TokenSubject,
        cell_url: &str,
        id: &str,
    ) -> Result<Option<String>> {
        let Some(role) = self.context.find_role(id).await? else {
            return Ok(None);
        };
        let schema = match (subject, &role.box_id) {
            (TokenSubject::Resident { .. }, Some(box_id)) => self
                .context
                .find_box_by_id(box_id)
                .await?
                .and_then(|b| b.schema.clone()),
            _ => None,
        };
        let base = schema.unwrap_or_else(|| cell_url.to_owned());
        Ok(Some(RoleUrl::class(&base, &role.name).to_string()))
    }

    async fn is_role_of_box(&self, id: &str) -> Result<bool> {
        let found = self.context.find_role(id).await?;
        Ok(found.is_some_and(|role| role.box_id.is_some()))
    }
}

fn sign(certificates: &UnitCertificates, token: &TransCellToken) -> Result<String> {
    saml::issue(&certificates.signing, token).map_err(|error| match error {
        IssueError::Field { field: "target" } => Code::TargetInvalid.into(),
        other => Error::internal(other),
    })
}

/// The instance URL of a role; `None` if the role or its box was deleted.
async fn role_instance_url(
    context: &CellContext,
    cell_url: &str,
    id: &str,
) -> Result<Option<String>> {
    let Some(role) = context.find_role(id).await? else {
        return Ok(None);
    };
    let in_box = match &role.box_id {
        Some(box_id) => match context.find_box_by_id(box_id).await? {
            Some(found) => Some(found),
            None => return Ok(None),
        },
        None => None,
    };
    let box_name = in_box
        .as_ref()
        .filter(|b| !b.is_main())
        .map(|b| b.name.as_str());
    Ok(Some(
        RoleUrl::instance(cell_url, box_name, &role.name).to_string(),
    ))
}
