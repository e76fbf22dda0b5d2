//! Keys of the jobs of services: requests whose scripts run after the response.

use personium_store::{Key, KeyRange};
use personium_types::{CellId, NodeId};

use super::single_values::{CellMarkers, single};

/// The beginning of the names of the claims of jobs; the ids of cell, service and job follow.
const JOB_CLAIM: &str = "job/cell/";
/// The table of jobs in the space of a cell, and of the index of those that have ended in that of the unit.
const TABLE: u8 = b'j';
/// The length of an id.
const ID_BYTES: usize = 16;
/// The length of the tag of a table and a time.
const TIME_BYTES: usize = 9;

/// A job: its service and its own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobKey {
    /// The cell.
    pub cell: CellId,
    /// The service collection.
    pub service: NodeId,
    /// The random id of the job.
    pub id: NodeId,
}

/// A record of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPart {
    /// Its state.
    State,
    /// The request, encrypted, until the job has ended.
    Request,
    /// The response of the script.
    Response,
}

impl JobKey {
    /// The key of a record of the job, in the space of the cell.
    #[must_use]
    pub fn part(&self, part: JobPart) -> Key {
        let number = match part {
            JobPart::State => 0,
            JobPart::Request => 1,
            JobPart::Response => 2,
        };
        Key::table(TABLE)
            .fixed(self.service.as_bytes())
            .fixed(self.id.as_bytes())
            .byte(number)
            .build()
    }

    /// The job of a cell in the key of its [`JobPart::State`].
    #[must_use]
    pub fn of_state(cell: &CellId, key: &Key) -> Option<Self> {
        let ids = key.as_bytes().strip_prefix(&[TABLE])?;
        let (service, ids) = ids.split_first_chunk::<ID_BYTES>()?;
        let (id, part) = ids.split_first_chunk::<ID_BYTES>()?;
        (*part == [0]).then(|| Self {
            cell: *cell,
            service: NodeId::from_bytes(*service),
            id: NodeId::from_bytes(*id),
        })
    }

    /// In the space of the unit: the claim of the job by the server node that runs it, until it has ended.
    #[must_use]
    pub fn claim(&self) -> Key {
        let Self { cell, service, id } = self;
        single(&format!("{JOB_CLAIM}{cell}/{service}/{id}"))
    }

    /// The job in the key of a [`Self::claim`].
    #[must_use]
    pub fn of_claim(key: &Key) -> Option<Self> {
        let name = super::last_text(key, 1 + JOB_CLAIM.len())?;
        let mut ids = name.split('/');
        Some(Self {
            cell: ids.next()?.parse().ok()?,
            service: ids.next()?.parse().ok()?,
            id: ids.next()?.parse().ok()?,
        })
    }

    /// In the space of the unit: the job has ended, and is removed at this time, milliseconds since 1970.
    #[must_use]
    pub fn expiry(&self, at_ms: i64) -> Key {
        Key::table(TABLE)
            .fixed(&time(at_ms))
            .fixed(self.cell.as_bytes())
            .fixed(self.service.as_bytes())
            .fixed(self.id.as_bytes())
            .build()
    }

    /// The job in the key of an [`Self::expiry`].
    #[must_use]
    pub fn of_expiry(key: &Key) -> Option<Self> {
        let ids = key.as_bytes().get(TIME_BYTES..)?;
        let (cell, ids) = ids.split_first_chunk::<ID_BYTES>()?;
        let (service, ids) = ids.split_first_chunk::<ID_BYTES>()?;
        let id: [u8; ID_BYTES] = ids.try_into().ok()?;
        Some(Self {
            cell: CellId::from_bytes(*cell),
            service: NodeId::from_bytes(*service),
            id: NodeId::from_bytes(id),
        })
    }
}

/// The claims of all jobs.
#[must_use]
pub fn job_claims() -> CellMarkers {
    CellMarkers::of(JOB_CLAIM)
}

/// In the space of the unit: the jobs that are to be removed at a time or before, milliseconds since 1970.
#[must_use]
pub fn expired_jobs(until_ms: i64) -> KeyRange {
    let end = Key::table(TABLE).fixed(&time(until_ms.saturating_add(1)));
    KeyRange {
        start: Key::table(TABLE).build(),
        end: Some(end.build()),
    }
}

/// The records of the jobs of a service.
#[must_use]
pub fn jobs_of(service: &NodeId) -> KeyRange {
    KeyRange::prefix(&Key::table(TABLE).fixed(service.as_bytes()).build())
}

/// The records of the jobs of a cell.
#[must_use]
pub fn all_jobs() -> KeyRange {
    KeyRange::prefix(&Key::table(TABLE).build())
}

/// Whether a record of a cell belongs to a job.
#[must_use]
pub fn is_of_jobs(key: &Key) -> bool {
    key.as_bytes().first() == Some(&TABLE)
}

/// Whether a record of a job is its [`JobPart::State`].
#[must_use]
pub fn is_state_of_job(key: &Key) -> bool {
    is_of_jobs(key) && key.as_bytes().last() == Some(&0)
}

/// The number of jobs of a cell that wait or run.
#[must_use]
pub fn unfinished_jobs() -> Key {
    single("job/unfinished")
}

fn time(at_ms: i64) -> [u8; 8] {
    at_ms.max(0).unsigned_abs().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_jobs_give_back_their_parts() {
        let job = JobKey {
            cell: CellId::from_bytes([7; 16]),
            service: NodeId::from_bytes([0; 16]),
            id: NodeId::from_bytes([255; 16]),
        };
        assert_eq!(JobKey::of_claim(&job.claim()), Some(job));
        assert_eq!(job_claims().cell_of(&job.claim()), Some(job.cell));
        let expiry = job.expiry(1_700_000_000_000);
        assert_eq!(JobKey::of_expiry(&expiry), Some(job));
        assert!(expired_jobs(1_700_000_000_000).contains(&expiry));
        assert!(!expired_jobs(1_699_999_999_999).contains(&expiry));
        let parts = [JobPart::State, JobPart::Request, JobPart::Response];
        let states = parts.map(|part| is_state_of_job(&job.part(part)));
        assert_eq!(states, [true, false, false]);
        assert!(
            parts
                .iter()
                .all(|part| jobs_of(&job.service).contains(&job.part(*part)))
        );
    }
}
