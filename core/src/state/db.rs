//! Connections to the SQLite database. Meaning lives elsewhere: here are transactions and durability.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::schema;
use crate::error::{Call, Error, ErrorKind, Result};

/// How long a writer waits for the writers of other processes.
const BUSY: Duration = Duration::from_secs(60);
/// Idle connections that are kept.
const KEPT: usize = 8;
/// Statements that each connection keeps prepared.
const STATEMENTS: usize = 64;

/// The database of a store. Any thread may use it; connections are made as needed.
pub(crate) struct Db {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// One writer of this process at a time: waiting here is fair and wakes at once, the database's own waiting polls.
    writer: Mutex<()>,
}

impl Db {
    /// Opens the database; None if it is not there, or there without tables, because its making was cut short.
    pub(super) fn open(path: &Path) -> Result<Option<Db>> {
        // A stat, not an open: closing any descriptor of the file would drop the locks that another engine of this process has on it.
        match rustix::fs::lstat(path) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::syscall("stat", path, errno.raw_os_error())),
        }
        let db = Db { path: path.to_owned(), idle: Mutex::default(), writer: Mutex::default() };
        let connection = db.connect()?;
        match schema::version(&connection)? {
            schema::VERSION => {}
            0 => return Ok(None),
            _ => schema::migrate(&connection)?,
        }
        db.give_back(connection);
        Ok(Some(db))
    }

    /// Makes the database, or finishes what another process began. The caller holds the gate exclusively.
    pub(super) fn create(data: &OwnedFd, path: &Path) -> Result<Db> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::openat(data, "store.db", flags, mode) {
            Ok(file) => rustix::fs::fchmod(&file, mode).call("fchmod", path)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::syscall("open", path, errno.raw_os_error())),
        }
        let db = Db { path: path.to_owned(), idle: Mutex::default(), writer: Mutex::default() };
        let connection = db.connect()?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the file system of \"{}\" cannot hold a database that is used by many processes",
                    path.display()
                ),
            )
            .with_hint("put the data root on a local file system"));
        }
        schema::migrate(&connection)?;
        db.give_back(connection);
        Ok(db)
    }

    /// Reads, in one consistent state.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.take()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let result = work(&transaction);
        transaction.finish()?;
        self.give_back(connection);
        result
    }

    /// Writes, all or nothing. What is written survives every crash of processes; a crash of the machine may lose it as a whole.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let _writer = self.writer();
        let mut connection = self.take()?;
        let result = transact(&mut connection, work);
        self.give_back(connection);
        self.nudge();
        result
    }

    /// As [`Db::write`], and on the disk when it returns: for what files are deleted after.
    pub(crate) fn write_durably<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let _writer = self.writer();
        let mut connection = self.take()?;
        connection.execute_batch("PRAGMA synchronous = FULL")?;
        let result = transact(&mut connection, work);
        connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        self.give_back(connection);
        self.nudge();
        result
    }

    /// Wakes whoever watches the store for something new: opening its directory and closing it is something that such a watch tells, and costs a microsecond.
    pub(crate) fn nudge(&self) {
        if let Some(directory) = self.path.parent() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            drop(rustix::fs::open(directory, flags, Mode::empty()));
        }
    }

    /// Gives back the space of the log, unless somebody is using it now.
    pub(crate) fn shrink(&self) -> Result<()> {
        let _writer = self.writer();
        let connection = self.take()?;
        connection.busy_timeout(Duration::ZERO)?;
        let shrunk = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        connection.busy_timeout(BUSY)?;
        self.give_back(connection);
        Ok(shrunk?)
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }

    fn connect(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Without a checkpoint at the last close, a short-lived program pays no fsync; the log is bounded by the checkpoints of writers.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.execute_batch(
            "PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 500; PRAGMA trusted_schema = OFF;",
        )?;
        Ok(connection)
    }
}

fn transact<T>(connection: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({})", self.path.display())
    }
}
