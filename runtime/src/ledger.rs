//! What must survive the daemon: stacks, containers, networks and volumes.
//!
//! One SQLite file, written before the thing it describes is touched. Rows
//! hold JSON: the schema changes with the types, not with migrations.

mod journal;
mod reserve;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use stack_api::event::ApiError;

use reserve::Reserve;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS stacks (name TEXT PRIMARY KEY, spec TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, project TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS networks (
    name TEXT PRIMARY KEY, project TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS volumes (
    name TEXT PRIMARY KEY, project TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS worked (
    name TEXT PRIMARY KEY, project TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS history (
    project TEXT NOT NULL, number INTEGER NOT NULL, definition TEXT NOT NULL,
    PRIMARY KEY (project, number));
CREATE TABLE IF NOT EXISTS journal (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, happening TEXT NOT NULL);
";

/// The tables that hold one JSON record per key.
#[derive(Debug, Clone, Copy)]
pub enum Table {
    /// By 64-digit id.
    Containers,
    /// By full name.
    Networks,
    /// By full name.
    Volumes,
    /// What was applied last without a failure, by project.
    Worked,
}

impl Table {
    fn name(self) -> (&'static str, &'static str) {
        match self {
            Table::Containers => ("containers", "id"),
            Table::Networks => ("networks", "name"),
            Table::Volumes => ("volumes", "name"),
            Table::Worked => ("worked", "name"),
        }
    }
}

/// The open ledger.
#[derive(Debug)]
pub struct Ledger {
    db: Mutex<Connection>,
    /// Sequence number of the last entry of the journal.
    last: tokio::sync::watch::Sender<u64>,
    reserve: Reserve,
    /// Records that cannot be read, and that the log tells of already.
    unreadable: Mutex<BTreeSet<(&'static str, String)>>,
}

/// The code of the error that there is no room.
const FULL: &str = "ledger_full";

fn failed(error: impl std::error::Error + 'static) -> ApiError {
    let any: &(dyn std::error::Error + 'static) = &error;
    let code = any
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    // A quota, or no room for the index beside the ledger, is the latter.
    match code {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => {
            ApiError::new(FULL, format!("the ledger cannot be written: {error}"))
                .help("is the disk full? `stack system df` shows what takes it up")
        }
        _ => ApiError::new("ledger", format!("the ledger cannot be used: {error}"))
            .help("was the file changed by hand?"),
    }
}

fn connect(path: &Path) -> Result<Connection, ApiError> {
    match connect_as(path, false) {
        // An index in memory takes no room, and there is one daemon for each home.
        Err(error) if error.code == FULL => connect_as(path, true),
        done => done,
    }
}

fn connect_as(path: &Path, alone: bool) -> Result<Connection, ApiError> {
    let db = Connection::open(path).map_err(failed)?;
    if alone {
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")
            .map_err(failed)?;
    }
    db.pragma_update(None, "journal_mode", "WAL")
        .map_err(failed)?;
    db.pragma_update(None, "synchronous", "NORMAL")
        .map_err(failed)?;
    // Secrets are in it: what is forgotten is overwritten.
    db.pragma_update(None, "secure_delete", "ON")
        .map_err(failed)?;
    db.execute_batch(SCHEMA).map_err(failed)?;
    Ok(db)
}

impl Ledger {
    /// Opens or makes the ledger.
    ///
    /// # Errors
    /// The file cannot be opened or is not a ledger.
    pub fn open(path: &Path) -> Result<Ledger, ApiError> {
        let db = connect(path)?;
        let last = tokio::sync::watch::Sender::new(journal::last(&db)?);
        let reserve = Reserve::of(path);
        reserve.fill();
        Ok(Ledger {
            db: Mutex::new(db),
            last,
            reserve,
            unreadable: Mutex::default(),
        })
    }

    /// Something large was deleted: room is kept again before others take it.
    pub fn keep_room(&self) {
        self.reserve.fill();
    }

    /// Forgets something; on a full disk with the room that is kept for that.
    fn forgetting(&self, act: impl Fn() -> Result<(), ApiError>) -> Result<(), ApiError> {
        match act() {
            Err(error) if error.code == FULL && self.reserve.spend() => {
                tracing::warn!("the disk is full: what was kept for removals is used");
                act()
            }
            done => done,
        }
    }

    /// A statement that forgets what has this key.
    fn delete(&self, statement: &str, key: &str) -> Result<(), ApiError> {
        self.forgetting(|| {
            self.db().execute(statement, [key]).map_err(failed)?;
            Ok(())
        })
    }

    fn db(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a stack's spec.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn put_stack<T: Serialize>(&self, name: &str, spec: &T) -> Result<(), ApiError> {
        let json = serde_json::to_string(spec).map_err(failed)?;
        self.db()
            .execute(
                "INSERT OR REPLACE INTO stacks VALUES (?1, ?2)",
                params![name, json],
            )
            .map_err(failed)?;
        Ok(())
    }

    /// A stack's spec.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn stack<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let json: Option<String> = self
            .db()
            .query_row("SELECT spec FROM stacks WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(failed)?;
        json.map(|json| serde_json::from_str(&json).map_err(failed))
            .transpose()
    }

    /// Forgets a stack's spec.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn forget_stack(&self, name: &str) -> Result<(), ApiError> {
        self.delete("DELETE FROM stacks WHERE name = ?1", name)
    }

    /// Stores a record.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn put<T: Serialize>(
        &self,
        table: Table,
        key: &str,
        project: &str,
        record: &T,
    ) -> Result<(), ApiError> {
        let json = serde_json::to_string(record).map_err(failed)?;
        let (table, _) = table.name();
        self.db()
            .execute(
                &format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2, ?3)"),
                params![key, project, json],
            )
            .map_err(failed)?;
        Ok(())
    }

    /// The definitions of a stack that were reached, oldest first; those
    /// that cannot be read any more are skipped.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn history<T: DeserializeOwned>(&self, project: &str) -> Result<Vec<T>, ApiError> {
        let db = self.db();
        let mut query = db
            .prepare("SELECT definition FROM history WHERE project = ?1 ORDER BY number")
            .map_err(failed)?;
        let rows = query
            .query_map([project], |row| row.get::<_, String>(0))
            .map_err(failed)?;
        let mut out = Vec::new();
        for row in rows {
            match serde_json::from_str(&row.map_err(failed)?) {
                Ok(definition) => out.push(definition),
                Err(error) => tracing::warn!(%error, project, "unreadable definition"),
            }
        }
        Ok(out)
    }

    /// The definitions of all stacks that were reached; those that cannot be
    /// read any more are skipped.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn whole_history<T: DeserializeOwned>(&self) -> Result<Vec<T>, ApiError> {
        let db = self.db();
        let mut query = db
            .prepare("SELECT definition FROM history")
            .map_err(failed)?;
        let rows = query
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(failed)?;
        let mut out = Vec::new();
        for row in rows {
            out.extend(serde_json::from_str(&row.map_err(failed)?).ok());
        }
        Ok(out)
    }

    /// Adds a definition and forgets all but the last `keep`.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn add_history<T: Serialize>(
        &self,
        project: &str,
        number: u32,
        definition: &T,
        keep: u32,
    ) -> Result<(), ApiError> {
        let json = serde_json::to_string(definition).map_err(failed)?;
        let db = self.db();
        db.execute(
            "INSERT OR REPLACE INTO history VALUES (?1, ?2, ?3)",
            params![project, number, json],
        )
        .map_err(failed)?;
        db.execute(
            "DELETE FROM history WHERE project = ?1 AND number <= ?2",
            params![project, number.saturating_sub(keep)],
        )
        .map_err(failed)?;
        Ok(())
    }

    /// Puts a definition into the place of one that has more in it.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn shorten_history<T: Serialize>(
        &self,
        project: &str,
        number: u32,
        definition: &T,
    ) -> Result<(), ApiError> {
        let json = serde_json::to_string(definition).map_err(failed)?;
        self.forgetting(|| {
            self.db()
                .execute(
                    "UPDATE history SET definition = ?3 WHERE project = ?1 AND number = ?2",
                    params![project, number, json],
                )
                .map_err(failed)?;
            Ok(())
        })
    }

    /// Leaves nothing of what was forgotten in the file's log of changes. If that is
    /// not possible now, later changes overwrite it.
    pub fn forget_changes(&self) {
        let all = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        match self
            .db()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], all)
        {
            Ok(0) => {}
            Ok(_) => tracing::warn!("the ledger is in use: its log of changes stays"),
            Err(error) => tracing::warn!(%error, "the ledger's log of changes stays"),
        }
    }

    /// Forgets the history of a stack.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn forget_history(&self, project: &str) -> Result<(), ApiError> {
        self.delete("DELETE FROM history WHERE project = ?1", project)
    }

    /// All records; those that cannot be read any more are skipped with a
    /// warning in the log.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<T>, ApiError> {
        Ok(self.read(table)?.0)
    }

    /// Are there records that cannot be read any more? A later version may have
    /// written them: what they tell of is there, and in use perhaps.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn has_unreadable<T: DeserializeOwned>(&self, table: Table) -> Result<bool, ApiError> {
        Ok(self.read::<T>(table)?.1 > 0)
    }

    /// The records, and how many cannot be read.
    fn read<T: DeserializeOwned>(&self, table: Table) -> Result<(Vec<T>, usize), ApiError> {
        let (table, key) = table.name();
        let db = self.db();
        let mut query = db
            .prepare(&format!("SELECT record, {key} FROM {table}"))
            .map_err(failed)?;
        let rows = query
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(failed)?;
        let (mut out, mut skipped) = (Vec::new(), 0);
        for row in rows {
            let (json, key) = row.map_err(failed)?;
            match serde_json::from_str(&json) {
                Ok(record) => out.push(record),
                Err(error) => {
                    skipped += 1;
                    let mut told = self
                        .unreadable
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    if told.insert((table, key.clone())) {
                        tracing::warn!(%error, table, key, "unreadable record");
                    }
                }
            }
        }
        Ok((out, skipped))
    }

    /// The record with this key.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn get<T: DeserializeOwned>(&self, table: Table, key: &str) -> Result<Option<T>, ApiError> {
        let (table, column) = table.name();
        let query = format!("SELECT record FROM {table} WHERE {column} = ?1");
        let json: Option<String> = self
            .db()
            .query_row(&query, [key], |row| row.get(0))
            .optional()
            .map_err(failed)?;
        json.map(|json| serde_json::from_str(&json).map_err(failed))
            .transpose()
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn forget(&self, table: Table, key: &str) -> Result<(), ApiError> {
        let (table, column) = table.name();
        self.delete(&format!("DELETE FROM {table} WHERE {column} = ?1"), key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_on_a_full_disk_takes_what_is_kept_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
        let reserve = dir.path().join("ledger.reserve");
        assert!(reserve.exists());
        let full = |ledger: &Ledger| {
            let db = ledger.db();
            let pages: i64 = db
                .query_row("PRAGMA page_count", [], |row| row.get(0))
                .unwrap();
            db.pragma_update(None, "max_page_count", pages).unwrap();
        };
        full(&ledger);
        let large = "x".repeat(100_000);
        let error = ledger.put_stack("shop", &large).unwrap_err();
        assert_eq!(error.code, FULL, "{error}");
        // What adds something leaves the reserve alone.
        assert!(reserve.exists());
        let tried = std::cell::Cell::new(0);
        let forget = || {
            tried.set(tried.get() + 1);
            match tried.get() {
                1 => ledger.put_stack("shop", &large),
                _ => Ok(()),
            }
        };
        ledger.forgetting(forget).unwrap();
        assert_eq!(tried.get(), 2);
        assert!(!reserve.exists());
        // Once there is room again, so is the reserve.
        ledger.tell(&[]).unwrap();
        assert!(reserve.exists());
    }

    #[test]
    fn what_cannot_be_read_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
        ledger.put(Table::Volumes, "a", "shop", &1).unwrap();
        assert!(!ledger.has_unreadable::<u32>(Table::Volumes).unwrap());
        ledger.put(Table::Volumes, "b", "shop", &"later").unwrap();
        assert!(ledger.has_unreadable::<u32>(Table::Volumes).unwrap());
        assert_eq!(ledger.all::<u32>(Table::Volumes).unwrap(), [1]);
    }

    #[test]
    fn without_a_shared_index_it_is_the_same_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let ledger = Ledger::open(&path).unwrap();
        ledger.put_stack("shop", &1).unwrap();
        drop(ledger);
        let db = connect_as(&path, true).unwrap();
        let one: String = db
            .query_row("SELECT spec FROM stacks", [], |row| row.get(0))
            .unwrap();
        assert_eq!(one, "1");
        assert!(!dir.path().join("ledger.sqlite-shm").exists());
    }
}
