//! The tokens that a grant leads to.

use std::collections::BTreeMap;

use personium_token::local::{LocalKind, LocalToken, Origin};
use personium_token::role_url::RoleUrl;
use personium_token::saml::{self, IssueError, TransCellToken};
use personium_types::{Code, Error, Result};

use super::cell_token;
use super::visitor::{self, Visitor};
use crate::event::Event;
use crate::{Access, CellContext, Unit};

/// The claim that holds the epoch of the account; see [`super::account::EPOCH`].
pub const TOKEN_GENERATION_CLAIM: &str = "epoch";
/// The claim of a refresh token that names the login it came of.
pub const FAMILY_CLAIM: &str = "family";
/// The claim of a code that holds the URL that it was sent to.
pub const REDIRECT_CLAIM: &str = "redirect_uri";
/// The claim of a code that holds the challenge of who may use it (RFC 7636).
pub const CHALLENGE_CLAIM: &str = "code_challenge";
/// The claim of a code that holds what the ID token shall repeat.
pub const NONCE_CLAIM: &str = "nonce";

/// What somebody was granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// To whom.
    pub subject: TokenSubject,
    /// The app that asked, with its mark if it is confidential.
    pub schema: Option<String>,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The login that it came of, where refresh tokens are good for one use only.
    pub family: Option<String>,
}

/// Whose tokens they are.
#[derive(Debug, Clone)]
pub enum TokenSubject {
    /// An account of the cell.
    Resident {
        /// Its entity id.
        id: String,
        /// Its name.
        account: String,
        /// Its epoch.
        token_generation: Option<String>,
    },
    /// Somebody from another cell.
    Visitor {
        /// The subject URL.
        subject: String,
        /// The cell that issued the assertion.
        issuer: String,
        /// The id of the assertion.
        assertion_id: String,
        /// The role class URLs of the assertion.
        roles: Vec<String>,
    },
}

/// Signs a token for another cell, or for a unit.
fn sign(unit: &Unit, token: &TransCellToken) -> Result<String> {
    saml::issue(&unit.keys().signing, token).map_err(|failure| match failure {
        IssueError::Field { field: "target" } => Code::TargetInvalid.into(),
        other => Error::internal(other),
    })
}

/// The token that a cell issues for itself, to deliver a message to another cell. Schema and scopes are those of
/// whoever sends the message.
///
/// # Errors
/// 400 if the target cannot be written.
pub fn delivery_token(
    unit: &Unit,
    context: &CellContext,
    sender: &Access,
    target: &str,
    lifespan: i64,
) -> Result<String> {
    let cell = unit.urls().cell(&context.cell().name);
    let token = TransCellToken {
        id: uuid::Uuid::new_v4().to_string(),
        issued_at: unit.now_ms(),
        lifespan,
        issuer: cell.clone(),
        subject: cell,
        target: target.to_owned(),
        schema: sender.schema.clone(),
        roles: Vec::new(),
        scopes: sender.scopes.clone(),
    };
    sign(unit, &token)
}

/// The token that a rule acts with for whoever caused its event: in this cell, or in the cell `target`. Roles are those
/// of this moment. `None` for an event that nobody in particular caused.
///
/// # Errors
/// 400 if the account is gone or deactivated, or the target cannot be written.
pub async fn action_token(
    unit: &Unit,
    context: &CellContext,
    event: &Event,
    target: Option<&str>,
    scopes: Vec<String>,
    lifespan: i64,
) -> Result<Option<String>> {
    let Some(subject) = &event.subject else {
        return Ok(None);
    };
    let (holder, roles) = match &event.account {
        Some(id) => {
            let name = subject.split_once('#').map_or("", |(_, name)| name);
            let found = context.find_account(name).await?;
            let found = found.filter(|account| account.id == *id && !account.deactivated);
            let found = found.ok_or(Code::AuthnFailed)?;
            let holder = TokenSubject::Resident {
                id: found.id.clone(),
                account: found.name.clone(),
                token_generation: found.token_generation.clone(),
            };
            (holder, &found.roles.clone())
        }
        None => {
            let holder = TokenSubject::Visitor {
                subject: subject.clone(),
                issuer: unit.urls().cell(&context.cell().name),
                assertion_id: String::new(),
                roles: Vec::new(),
            };
            (holder, &event.roles)
        }
    };
    let grant = Grant {
        subject: holder,
        schema: event.schema.clone().filter(|schema| !schema.is_empty()),
        scopes,
        family: None,
    };
    let token = match target {
        None => {
            grant
                .access_token_with(unit, context, lifespan, roles)
                .await?
        }
        Some(target) => {
            grant
                .trans_cell_with(unit, context, (target, lifespan), roles)
                .await?
        }
    };
    Ok(Some(token))
}

impl Grant {
    fn local(
        &self,
        unit: &Unit,
        context: &CellContext,
        kind: LocalKind,
        lifespan: i64,
    ) -> LocalToken {
        let (subject, extra) = match &self.subject {
            TokenSubject::Resident {
                id,
                account,
                token_generation: epoch,
            } => (account, cell_token::account_claims(id, epoch.as_deref())),
            TokenSubject::Visitor { subject, .. } => (subject, BTreeMap::new()),
        };
        LocalToken {
            kind,
            issued_at: unit.now_ms(),
            lifespan,
            subject: subject.clone(),
            schema: self.schema.clone(),
            scopes: self.scopes.clone(),
            issuer: unit.urls().cell(&context.cell().name),
            roles: Vec::new(),
            origin: None,
            extra,
        }
    }

    /// The access token for this cell. A visitor's roles of this moment are written into it.
    pub async fn access_token(
        &self,
        unit: &Unit,
        context: &CellContext,
        lifespan: i64,
    ) -> Result<String> {
        let roles = match &self.subject {
            TokenSubject::Resident { .. } => Vec::new(),
            TokenSubject::Visitor { .. } => self.role_ids(unit, context).await?,
        };
        self.access_token_with(unit, context, lifespan, &roles)
            .await
    }

    async fn access_token_with(
        &self,
        unit: &Unit,
        context: &CellContext,
        lifespan: i64,
        role_ids: &[String],
    ) -> Result<String> {
        let token = match &self.subject {
            TokenSubject::Resident { .. } => {
                self.local(unit, context, LocalKind::ResidentAccess, lifespan)
            }
            TokenSubject::Visitor { .. } => {
                let cell_url = unit.urls().cell(&context.cell().name);
                let mut roles = Vec::new();
                for id in role_ids {
                    roles.extend(instance_url(context, &cell_url, id).await?);
                }
                LocalToken {
                    roles,
                    ..self.local(unit, context, LocalKind::VisitorAccess, lifespan)
                }
            }
        };
        cell_token::seal(unit, context, token)
    }

    /// The access token for another cell, or for a unit. What a role of a box is called means nothing to this unit.
    ///
    /// # Errors
    /// 400 if the target cannot be written, or is this unit and the holder a visitor.
    pub async fn trans_cell_token(
        &self,
        unit: &Unit,
        context: &CellContext,
        target: &str,
        lifespan: i64,
    ) -> Result<String> {
        let roles = self.role_ids(unit, context).await?;
        self.trans_cell_with(unit, context, (target, lifespan), &roles)
            .await
    }

    async fn trans_cell_with(
        &self,
        unit: &Unit,
        context: &CellContext,
        (target, lifespan): (&str, i64),
        role_ids: &[String],
    ) -> Result<String> {
        let issuer = unit.urls().cell(&context.cell().name);
        let for_unit = target == unit.urls().unit();
        if for_unit && matches!(self.subject, TokenSubject::Visitor { .. }) {
            // Only the accounts of the cells that the unit names are unit users, not everybody who visits these cells.
            return Err(Code::TargetInvalid.into());
        }
        let mut roles = Vec::new();
        for id in role_ids {
            if for_unit && is_of_box(context, id).await? {
                continue;
            }
            roles.extend(self.class_url(context, &issuer, id).await?);
        }
        let subject = match &self.subject {
            TokenSubject::Resident { account, .. } => format!("{issuer}#{account}"),
            TokenSubject::Visitor { subject, .. } => subject.clone(),
        };
        let token = TransCellToken {
            id: uuid::Uuid::new_v4().to_string(),
            issued_at: unit.now_ms(),
            lifespan,
            issuer,
            subject,
            target: target.to_owned(),
            schema: self.schema.clone(),
            roles,
            scopes: self.scopes.clone(),
        };
        sign(unit, &token)
    }

    /// The token that new access tokens are got with.
    pub fn refresh_token(
        &self,
        unit: &Unit,
        context: &CellContext,
        lifespan: i64,
    ) -> Result<String> {
        let mut token = match &self.subject {
            TokenSubject::Resident { .. } => {
                self.local(unit, context, LocalKind::ResidentRefresh, lifespan)
            }
            TokenSubject::Visitor {
                issuer,
                assertion_id,
                roles,
                ..
            } => LocalToken {
                roles: roles.clone(),
                origin: Some(Origin {
                    issuer: issuer.clone(),
                    assertion_id: assertion_id.clone(),
                }),
                ..self.local(unit, context, LocalKind::VisitorRefresh, lifespan)
            },
        };
        if unit.settings().auth.rotate_refresh {
            let family = self.family.clone();
            let family = family.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
            token.extra.insert(FAMILY_CLAIM.to_owned(), family);
        }
        cell_token::seal(unit, context, token)
    }

    /// The token that only allows to change the password, or the code of the login form.
    pub fn resident_token(
        &self,
        unit: &Unit,
        context: &CellContext,
        kind: LocalKind,
        lifespan: i64,
        claims: BTreeMap<String, String>,
    ) -> Result<String> {
        let mut token = self.local(unit, context, kind, lifespan);
        token.extra.extend(claims);
        cell_token::seal(unit, context, token)
    }

    async fn role_ids(&self, unit: &Unit, context: &CellContext) -> Result<Vec<String>> {
        match &self.subject {
            TokenSubject::Resident { account, .. } => {
                let found = context.find_account(account).await?;
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
                visitor::roles(unit.urls(), context, visitor).await
            }
        }
    }

    /// The class URL of a role. Residents show the app of the role's box; for visitors every role is the cell's own.
    async fn class_url(
        &self,
        context: &CellContext,
        cell_url: &str,
        id: &str,
    ) -> Result<Option<String>> {
        let Some(role) = context.find_role(id).await? else {
            return Ok(None);
        };
        let schema = match (&self.subject, &role.box_id) {
            (TokenSubject::Resident { .. }, Some(box_id)) => context
                .find_box_by_id(box_id)
                .await?
                .and_then(|b| b.schema.clone()),
            _ => None,
        };
        let base = schema.unwrap_or_else(|| cell_url.to_owned());
        Ok(Some(RoleUrl::class(&base, &role.name).to_string()))
    }
}

async fn is_of_box(context: &CellContext, role: &str) -> Result<bool> {
    let found = context.find_role(role).await?;
    Ok(found.is_some_and(|role| role.box_id.is_some()))
}

/// The instance URL of a role; `None` if it is gone.
pub async fn instance_url(
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
