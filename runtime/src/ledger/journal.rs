//! The journal: what happened, in the order in which it did. An entry is
//! written in the same transaction as the record that it tells of, so that
//! no kill can part them.

use rusqlite::{Transaction, params};
use stack_api::event::ApiError;
use stack_api::journal::Happening;

use super::{Ledger, Table, failed};
use crate::container::Record;

/// Entries that are kept, over all stacks.
const KEEP: u64 = 50_000;
/// Old ones are removed every so many entries.
const TIDY_EVERY: u64 = 500;
/// Entries that are read at once.
const PAGE: u32 = 500;

impl Ledger {
    /// Stores records of containers and what happened to them: all or none.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn put_containers(&self, records: &[&Record], news: &[Happening]) -> Result<(), ApiError> {
        self.with_news(news, |transaction| {
            for record in records {
                let json = serde_json::to_string(record).map_err(failed)?;
                let container = &record.container;
                let values = params![container.id, container.project, json];
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO containers VALUES (?1, ?2, ?3)")
                    .and_then(|mut insert| insert.execute(values))
                    .map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Forgets a container and tells of it.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn forget_container(&self, id: &str, news: &[Happening]) -> Result<(), ApiError> {
        let (table, column) = Table::Containers.name();
        self.forgetting(|| {
            self.with_news(news, |transaction| {
                let delete = format!("DELETE FROM {table} WHERE {column} = ?1");
                transaction.execute(&delete, [id]).map_err(failed)?;
                Ok(())
            })
        })
    }

    /// Adds to the journal only.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn tell(&self, news: &[Happening]) -> Result<(), ApiError> {
        self.with_news(news, |_| Ok(()))
    }

    /// The sequence number of the last entry, and its changes.
    pub fn journal(&self) -> tokio::sync::watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The entries of a stack after a sequence number, oldest first; not
    /// necessarily all that there are.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn happened(&self, project: &str, after: u64) -> Result<Vec<Happening>, ApiError> {
        let db = self.db();
        let mut query = db
            .prepare_cached(
                "SELECT sequence, happening FROM journal \
                 WHERE project = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
            )
            .map_err(failed)?;
        let rows = query
            .query_map(params![project, after.cast_signed(), PAGE], |row| {
                Ok((
                    row.get::<_, i64>(0)?.cast_unsigned(),
                    row.get::<_, String>(1)?,
                ))
            })
            .map_err(failed)?;
        let mut out = Vec::new();
        for row in rows {
            let (sequence, json) = row.map_err(failed)?;
            match serde_json::from_str::<Happening>(&json) {
                Ok(happening) => out.push(Happening {
                    sequence,
                    ..happening
                }),
                Err(error) => tracing::warn!(%error, sequence, "unreadable entry of the journal"),
            }
        }
        Ok(out)
    }

    fn with_news(
        &self,
        news: &[Happening],
        change: impl FnOnce(&Transaction<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut db = self.db();
        let transaction = db.transaction().map_err(failed)?;
        change(&transaction)?;
        for happening in news {
            let json = serde_json::to_string(happening).map_err(failed)?;
            let values = params![happening.project, json];
            transaction
                .prepare_cached("INSERT INTO journal (project, happening) VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute(values))
                .map_err(failed)?;
            let sequence = transaction.last_insert_rowid().cast_unsigned();
            if sequence.is_multiple_of(TIDY_EVERY) {
                let oldest = sequence.saturating_sub(KEEP).cast_signed();
                transaction
                    .execute("DELETE FROM journal WHERE sequence <= ?1", [oldest])
                    .map_err(failed)?;
            }
        }
        let last = transaction.last_insert_rowid().cast_unsigned();
        transaction.commit().map_err(failed)?;
        self.reserve.fill();
        if !news.is_empty() {
            self.last.send_replace(last);
        }
        Ok(())
    }
}

/// The last sequence number in the file.
pub(super) fn last(db: &rusqlite::Connection) -> Result<u64, ApiError> {
    let query = "SELECT COALESCE(MAX(sequence), 0) FROM journal";
    let last: i64 = db.query_row(query, [], |row| row.get(0)).map_err(failed)?;
    Ok(last.cast_unsigned())
}
