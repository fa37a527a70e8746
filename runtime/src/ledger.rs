//! What must survive the daemon: stacks, containers, networks and volumes.
//!
//! One SQLite file, written before the thing it describes is touched. Rows
//! hold JSON: the schema changes with the types, not with migrations.

mod journal;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use stack_api::event::ApiError;

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
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new("ledger", format!("the ledger cannot be used: {error}"))
        .help("is the disk full, or was the file changed by hand?")
}

impl Ledger {
    /// Opens or makes the ledger.
    ///
    /// # Errors
    /// The file cannot be opened or is not a ledger.
    pub fn open(path: &Path) -> Result<Ledger, ApiError> {
        let db = Connection::open(path).map_err(failed)?;
        db.pragma_update(None, "journal_mode", "WAL")
            .map_err(failed)?;
        db.pragma_update(None, "synchronous", "NORMAL")
            .map_err(failed)?;
        db.execute_batch(SCHEMA).map_err(failed)?;
        let last = tokio::sync::watch::Sender::new(journal::last(&db)?);
        Ok(Ledger {
            db: Mutex::new(db),
            last,
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
        self.db()
            .execute("DELETE FROM stacks WHERE name = ?1", [name])
            .map_err(failed)?;
        Ok(())
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

    /// Forgets the history of a stack.
    ///
    /// # Errors
    /// The disk is full or the file is damaged.
    pub fn forget_history(&self, project: &str) -> Result<(), ApiError> {
        self.db()
            .execute("DELETE FROM history WHERE project = ?1", [project])
            .map_err(failed)?;
        Ok(())
    }

    /// All records; those that cannot be read any more are skipped with a
    /// warning in the log.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<T>, ApiError> {
        let (table, _) = table.name();
        let db = self.db();
        let mut query = db
            .prepare(&format!("SELECT record FROM {table}"))
            .map_err(failed)?;
        let rows = query
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(failed)?;
        let mut out = Vec::new();
        for row in rows {
            let json = row.map_err(failed)?;
            match serde_json::from_str(&json) {
                Ok(record) => out.push(record),
                Err(error) => tracing::warn!(%error, table, "unreadable record"),
            }
        }
        Ok(out)
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
        self.db()
            .execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [key])
            .map_err(failed)?;
        Ok(())
    }
}
