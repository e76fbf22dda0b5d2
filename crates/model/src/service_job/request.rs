//! The request of a job, as it is kept until the job has ended: encrypted, because it contains the token of the caller.

use std::net::IpAddr;

use personium_token::at_rest::new_salt;
use personium_types::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use crate::Unit;
use crate::keys::JobKey;

/// The beginning of the owner of the cipher of requests; the ids of service and job follow.
const OWNER: &[u8] = b"request of a job";

/// The request of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// The method.
    #[serde(rename = "m")]
    pub method: String,
    /// The absolute URL with the query.
    #[serde(rename = "u")]
    pub url: String,
    /// The headers, those with the credentials of the caller included.
    #[serde(rename = "h")]
    pub headers: Vec<(String, String)>,
    /// The identity that has sent it: only the same one may read the document of the job. It is kept with the state of the job.
    #[serde(skip)]
    pub starter: String,
    /// The address of the client, for accounts that may log in from some addresses only.
    #[serde(rename = "c", default)]
    pub client_address: Option<IpAddr>,
    /// The number of nested requests of the unit to itself that led to it.
    #[serde(rename = "d", default)]
    pub depth: u8,
    /// The body.
    #[serde(skip)]
    pub body: Vec<u8>,
}

impl JobRequest {
    /// Encrypts the request. The form is the length of the salt (1 byte), the salt, and the sealed content: the length of the head
    /// (4 bytes, big-endian), the head as JSON, and the body.
    pub(super) async fn seal(&self, unit: &Unit, job: &JobKey) -> Result<Vec<u8>> {
        let head = serde_json::to_vec(self).map_err(Error::internal)?;
        let length = u32::try_from(head.len()).map_err(Error::internal)?;
        let plain = [&length.to_be_bytes()[..], &head, &self.body].concat();
        let salt = new_salt(unit.random()).map_err(Error::internal)?;
        let cipher = unit.owned_cipher(&salt, &owner(job)).await?;
        let sealed = cipher.seal(&plain).map_err(Error::internal)?;
        let length = u8::try_from(salt.len()).map_err(Error::internal)?;
        Ok([&[length], salt.as_bytes(), &sealed].concat())
    }

    /// Decrypts a request.
    ///
    /// # Errors
    /// [`Code::StoreCorrupt`] if it was altered, or is that of another job.
    pub(super) async fn open(unit: &Unit, job: &JobKey, stored: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(Code::StoreCorrupt).with_source("the request of a job");
        let (length, rest) = stored.split_first().ok_or_else(corrupt)?;
        let (salt, sealed) = rest
            .split_at_checked(usize::from(*length))
            .ok_or_else(corrupt)?;
        let salt = std::str::from_utf8(salt).map_err(|_| corrupt())?;
        let cipher = unit.owned_cipher(salt, &owner(job)).await?;
        let plain = cipher.open(sealed.to_vec()).map_err(|_| corrupt())?;
        let (length, rest) = plain.split_first_chunk::<4>().ok_or_else(corrupt)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| corrupt())?;
        let (head, body) = rest.split_at_checked(length).ok_or_else(corrupt)?;
        let head: Self = serde_json::from_slice(head).map_err(|_| corrupt())?;
        Ok(Self {
            body: body.to_vec(),
            ..head
        })
    }
}

/// The owner of the cipher. It does not contain the cell: a cell that is put in the place of another keeps its services.
fn owner(job: &JobKey) -> Vec<u8> {
    [OWNER, job.service.as_bytes(), job.id.as_bytes()].concat()
}
