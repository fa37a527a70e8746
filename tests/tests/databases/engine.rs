//! A database by its own protocol, over the published port.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql::prelude::Queryable;

/// An answer that takes longer does not come: the connection is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    Mariadb,
    Redis,
}

/// A connection.
pub(crate) enum Client {
    Postgres(postgres::Client),
    Mariadb(Box<mysql::Conn>),
    Redis(redis::Connection),
}

type Outcome<T> = Result<T, String>;

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What makes rows large enough to fill pages.
const PADDING: &str = "................................................................";

impl Engine {
    /// Connects, and makes what rows go into.
    pub(crate) fn connect(self, port: u16) -> Outcome<Client> {
        match self {
            Engine::Postgres => {
                let mut config = postgres::Config::new();
                config
                    .host("127.0.0.1")
                    .port(port)
                    .user("postgres")
                    .connect_timeout(PATIENCE);
                config
                    .tcp_user_timeout(PATIENCE)
                    .keepalives_idle(Duration::from_secs(5));
                let mut client = config.connect(postgres::NoTls).map_err(said)?;
                let table = "CREATE TABLE IF NOT EXISTS t (n bigint PRIMARY KEY, p text)";
                client.batch_execute(table).map_err(said)?;
                Ok(Client::Postgres(client))
            }
            Engine::Mariadb => {
                let options = mysql::OptsBuilder::new()
                    .ip_or_hostname(Some("127.0.0.1"))
                    .tcp_port(port)
                    .user(Some("root"))
                    .db_name(Some("test"))
                    .prefer_socket(false)
                    .tcp_connect_timeout(Some(PATIENCE))
                    .read_timeout(Some(PATIENCE))
                    .write_timeout(Some(PATIENCE));
                let mut client = mysql::Conn::new(options).map_err(said)?;
                let table = "CREATE TABLE IF NOT EXISTS t (n bigint PRIMARY KEY, p text)";
                client.query_drop(table).map_err(said)?;
                Ok(Client::Mariadb(Box::new(client)))
            }
            Engine::Redis => {
                let client = redis::Client::open(("127.0.0.1", port)).map_err(said)?;
                let client = client.get_connection_with_timeout(PATIENCE).map_err(said)?;
                client.set_read_timeout(Some(PATIENCE)).map_err(said)?;
                client.set_write_timeout(Some(PATIENCE)).map_err(said)?;
                Ok(Client::Redis(client))
            }
        }
    }
}

impl Client {
    /// One transaction: `Ok` is the database's word that it is kept.
    pub(crate) fn insert(&mut self, n: u64) -> Outcome<()> {
        match self {
            Client::Postgres(client) => {
                let row = format!("INSERT INTO t VALUES ({n}, '{PADDING}')");
                client.batch_execute(&row).map_err(said)
            }
            Client::Mariadb(client) => {
                let row = format!("INSERT INTO t VALUES ({n}, '{PADDING}')");
                client.query_drop(row).map_err(said)
            }
            Client::Redis(client) => {
                let mut set = redis::cmd("SET");
                set.arg(n).arg(PADDING).exec(client).map_err(said)
            }
        }
    }

    /// Everything that is there, and that the database finds nothing wrong
    /// with its files.
    pub(crate) fn all(&mut self) -> Outcome<BTreeSet<u64>> {
        match self {
            Client::Postgres(client) => {
                // By the index and by the table.
                let by_index = "SET enable_seqscan = off; SET enable_bitmapscan = off";
                client.batch_execute(by_index).map_err(said)?;
                let counted = client.query_one("SELECT count(*) FROM t WHERE n >= 0", &[]);
                let counted: i64 = counted.map_err(said)?.get(0);
                client.batch_execute("SET enable_seqscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off").map_err(said)?;
                let rows = client
                    .query("SELECT n FROM t WHERE length(p) > 0", &[])
                    .map_err(said)?;
                if rows.len() as i64 != counted {
                    return Err(format!("{} rows, {counted} in the index", rows.len()));
                }
                Ok(rows.iter().map(|row| row.get::<_, i64>(0) as u64).collect())
            }
            Client::Mariadb(client) => {
                let checked: Vec<(String, String, String, String)> =
                    client.query("CHECK TABLE t EXTENDED").map_err(said)?;
                if checked
                    .iter()
                    .any(|(_, _, kind, text)| kind != "status" || text != "OK")
                {
                    return Err(format!("{checked:?}"));
                }
                let rows: Vec<u64> = client.query("SELECT n FROM t").map_err(said)?;
                Ok(rows.into_iter().collect())
            }
            Client::Redis(client) => {
                let keys: Vec<u64> = redis::cmd("KEYS").arg("*").query(client).map_err(said)?;
                Ok(keys.into_iter().collect())
            }
        }
    }
}
