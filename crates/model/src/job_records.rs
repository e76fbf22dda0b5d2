//! The records of a job of a service, see [`crate::service_job`], and the bytes that they take.

use bytes::Bytes;
use personium_store::{Batch, Expect, Key, Record};
use personium_types::{Result, ServerNodeId};
use serde::{Deserialize, Serialize};

use crate::keys::{self, JobKey, JobPart};
use crate::records::{self, Records};
use crate::usage;

/// The state of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredJob {
    /// The identity that started it.
    #[serde(rename = "i")]
    pub(crate) starter: String,
    /// The server node that runs it.
    #[serde(rename = "n")]
    pub(crate) node: ServerNodeId,
    /// When it was accepted, milliseconds since 1970.
    #[serde(rename = "a")]
    pub(crate) accepted_at: i64,
    /// When its script began.
    #[serde(rename = "s", default)]
    pub(crate) started_at: Option<i64>,
    /// Its end.
    #[serde(rename = "e", default)]
    pub(crate) end: Option<StoredEnd>,
}

/// The end of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredEnd {
    /// When, milliseconds since 1970.
    #[serde(rename = "a")]
    pub(crate) at: i64,
    /// When it is removed, milliseconds since 1970.
    #[serde(rename = "x")]
    pub(crate) expires_at: i64,
    /// Why it failed; `None` if the script has answered.
    #[serde(rename = "f", default)]
    pub(crate) failure: Option<StoredFailure>,
}

/// Why a job has failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredFailure {
    /// The code of the error.
    #[serde(rename = "c")]
    pub(crate) code: String,
    /// The error, for people.
    #[serde(rename = "t")]
    pub(crate) text: String,
}

/// The response of the script of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResponse {
    /// The status.
    #[serde(rename = "s")]
    pub status: u16,
    /// The headers, names in lower case.
    #[serde(rename = "h")]
    pub headers: Vec<(String, String)>,
    /// The body: the text, or Base64 if it is not UTF-8.
    #[serde(rename = "b")]
    pub body: String,
    /// Whether the body is Base64.
    #[serde(rename = "x", default)]
    pub is_base64: bool,
}

/// The records of a job that were read together.
pub(crate) struct ReadJob {
    pub(crate) state: StoredJob,
    /// The states of the records, in the order of their parts.
    slots: [Option<Record>; 3],
}

impl ReadJob {
    /// Reads a job; `None` if there is none.
    pub(crate) async fn find(records: &Records, job: &JobKey) -> Result<Option<Self>> {
        let parts = [JobPart::State, JobPart::Request, JobPart::Response];
        let found = records
            .find_records(&parts.map(|part| job.part(part)))
            .await?;
        let mut found = found.into_iter();
        let slots = [(); 3].map(|()| found.next().flatten());
        let [Some(state), _, _] = &slots else {
            return Ok(None);
        };
        let state = records::decode(&state.value)?;
        Ok(Some(Self { state, slots }))
    }

    /// Reads a job without its request, which cannot be removed with it then; `None` if there is none.
    pub(crate) async fn find_document(records: &Records, job: &JobKey) -> Result<Option<Self>> {
        let parts = [JobPart::State, JobPart::Response];
        let found = records
            .find_records(&parts.map(|part| job.part(part)))
            .await?;
        let mut found = found.into_iter();
        let (Some(state), response) = (found.next().flatten(), found.next().flatten()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            state: records::decode(&state.value)?,
            slots: [Some(state), None, response],
        }))
    }

    /// Reads the state of a job only; `None` if there is none.
    pub(crate) async fn find_state(records: &Records, job: &JobKey) -> Result<Option<StoredJob>> {
        let found = records.find(&job.part(JobPart::State)).await?;
        Ok(found.map(|found| found.value))
    }

    fn slot(&self, part: JobPart) -> Option<&Record> {
        let [state, request, response] = &self.slots;
        match part {
            JobPart::State => state.as_ref(),
            JobPart::Request => request.as_ref(),
            JobPart::Response => response.as_ref(),
        }
    }

    /// The value of a record.
    pub(crate) fn value(&self, part: JobPart) -> Option<&Bytes> {
        self.slot(part).map(|record| &record.value)
    }

    /// Adds a change of the state to a batch, which asserts the state that was read.
    pub(crate) fn put_state(
        &self,
        batch: &mut Batch,
        job: &JobKey,
        state: &StoredJob,
    ) -> Result<()> {
        self.assert(batch, job);
        self.put(batch, job, (JobPart::State, records::encode(state)?));
        Ok(())
    }

    /// Adds another record of the job to a batch.
    pub(crate) fn put(&self, batch: &mut Batch, job: &JobKey, (part, value): (JobPart, Vec<u8>)) {
        let before = self.value(part).map_or(0, Bytes::len);
        usage::add_jobs(batch, length(value.len()).saturating_sub(length(before)));
        batch.put(job.part(part), value);
    }

    /// Adds the removal of a record of the job to a batch.
    pub(crate) fn delete(&self, batch: &mut Batch, job: &JobKey, part: JobPart) {
        if let Some(value) = self.value(part) {
            usage::add_jobs(batch, length(value.len()).saturating_neg());
            batch.delete(job.part(part));
        }
    }

    /// Adds the removal of the whole job to a batch, which asserts the state that was read.
    pub(crate) fn delete_all(&self, batch: &mut Batch, job: &JobKey) {
        self.assert(batch, job);
        for part in [JobPart::State, JobPart::Request, JobPart::Response] {
            self.delete(batch, job, part);
        }
        if self.state.end.is_none() {
            batch.add(keys::unfinished_jobs(), -1);
        }
    }

    fn assert(&self, batch: &mut Batch, job: &JobKey) {
        let version = self.slot(JobPart::State).map(|record| record.version);
        let expected = version.map_or(Expect::Absent, Expect::Version);
        batch.assert(job.part(JobPart::State), expected);
    }
}

/// Adds the records of a new job to a batch.
pub(crate) fn put_new(
    batch: &mut Batch,
    job: &JobKey,
    (state, request): (&StoredJob, &[u8]),
) -> Result<()> {
    let state = records::encode(state)?;
    usage::add_jobs(
        batch,
        length(state.len()).saturating_add(length(request.len())),
    );
    batch.assert(job.part(JobPart::State), Expect::Absent);
    batch.put(job.part(JobPart::State), state);
    batch.put(job.part(JobPart::Request), request.to_vec());
    batch.add(keys::unfinished_jobs(), 1);
    Ok(())
}

/// Adds to a batch the removal of records of jobs, whatever their state; each is asserted to be as it was read.
pub(crate) fn delete_records(batch: &mut Batch, found: Vec<(Key, Record)>) {
    for (key, record) in found {
        batch.assert(key.clone(), Expect::Version(record.version));
        usage::add_jobs(batch, length(record.value.len()).saturating_neg());
        let state =
            keys::is_state_of_job(&key).then(|| records::decode::<StoredJob>(&record.value));
        if let Some(Ok(state)) = state
            && state.end.is_none()
        {
            batch.add(keys::unfinished_jobs(), -1);
        }
        batch.delete(key);
    }
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
