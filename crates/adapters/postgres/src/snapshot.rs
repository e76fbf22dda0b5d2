//! A snapshot of a space: a transaction on a connection of its own.

use std::sync::Arc;

use async_trait::async_trait;
use personium_store::{
    CommitSeq, Direction, Key, KeyRange, Limit, Record, RecordSnapshot, Result, Space, StoreError,
    StoreHealth,
};

use crate::connections::{Connection, Connections};
use crate::read::{self, ReadPlace, column, number};
use crate::{space_key, statement};

/// The text of failures.
const FAILED: &str = "failed to begin a snapshot";

/// The records of a space as they were at one time. Its connection is closed when it is dropped.
pub(crate) struct PostgresSnapshot {
    connection: Connection,
    space: Space,
    health: Arc<StoreHealth>,
    last_commit: CommitSeq,
}

impl PostgresSnapshot {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// As a read.
    pub(crate) async fn begin(
        connections: &Connections,
        health: &Arc<StoreHealth>,
        space: &Space,
    ) -> Result<Self> {
        let connection = connections.get().await;
        let connection = connection.map_err(|failure| failure.into_store_error(FAILED))?;
        connection.set_unusable(true);
        let text = connection.begin_snapshot();
        let begun = connection.round_trip(vec![connection.command(&text)]).await;
        begun.map_err(|failed| failed.error.into_store_error(FAILED))?;
        let rows = connection
            .run(&statement::LAST_COMMIT, &[&space_key::of(space)])
            .await;
        let rows = rows.map_err(|failure| failure.into_store_error(FAILED))?;
        let last_commit = match rows.first() {
            None => 0,
            Some(row) if column::<bool>(row, 1)? => return Err(StoreError::SpaceDropped),
            Some(row) => number(row, 0)?,
        };
        Ok(Self {
            connection,
            space: *space,
            health: Arc::clone(health),
            last_commit,
        })
    }
}

#[async_trait]
impl RecordSnapshot for PostgresSnapshot {
    fn last_commit(&self) -> CommitSeq {
        self.last_commit
    }

    async fn scan(&mut self, range: &KeyRange, limit: Limit) -> Result<Vec<(Key, Record)>> {
        let (place, wanted) = (
            ReadPlace::One(&self.connection),
            (range, Direction::Up, limit),
        );
        Ok(read::scan(place, &self.health, &self.space, wanted)
            .await?
            .value)
    }
}
