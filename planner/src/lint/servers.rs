//! Well-known servers, by their images: where they listen and keep their data.

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Last part of the image's name.
    images: &'static [&'static str],
    /// Ports it listens on.
    pub(crate) ports: &'static [u16],
    /// Where it keeps its data; empty when it keeps none.
    pub(crate) data: &'static [&'static str],
    /// Its data is the point, not a copy of something else.
    pub(crate) keeps: bool,
}

const fn server(
    images: &'static [&'static str],
    ports: &'static [u16],
    data: &'static [&'static str],
    keeps: bool,
) -> Server {
    Server {
        images,
        ports,
        data,
        keeps,
    }
}

const SERVERS: &[Server] = &[
    server(
        &[
            "postgres",
            "postgresql",
            "postgis",
            "timescaledb",
            "timescaledb-ha",
            "pgvector",
        ],
        &[5432],
        &[
            "/var/lib/postgresql/data",
            "/var/lib/postgresql",
            "/bitnami/postgresql",
        ],
        true,
    ),
    server(
        &["mysql", "mysql-server", "percona"],
        &[3306, 33060],
        &["/var/lib/mysql", "/bitnami/mysql"],
        true,
    ),
    server(
        &["mariadb"],
        &[3306],
        &["/var/lib/mysql", "/bitnami/mariadb"],
        true,
    ),
    server(
        &["mongo", "mongodb", "mongodb-community-server"],
        &[27017],
        &["/data/db", "/bitnami/mongodb"],
        true,
    ),
    server(
        &[
            "redis",
            "valkey",
            "redis-stack-server",
            "keydb",
            "dragonfly",
        ],
        &[6379],
        &["/data"],
        false,
    ),
    server(&["memcached"], &[11211], &[], false),
    server(
        &["elasticsearch", "opensearch"],
        &[9200, 9300],
        &[
            "/usr/share/elasticsearch/data",
            "/usr/share/opensearch/data",
        ],
        true,
    ),
    server(&["rabbitmq"], &[5672, 15672], &["/var/lib/rabbitmq"], true),
    server(
        &["cassandra", "scylla"],
        &[9042],
        &["/var/lib/cassandra", "/var/lib/scylla"],
        true,
    ),
    server(&["couchdb"], &[5984], &["/opt/couchdb/data"], true),
    server(
        &["influxdb"],
        &[8086],
        &["/var/lib/influxdb2", "/var/lib/influxdb"],
        true,
    ),
    server(
        &["clickhouse", "clickhouse-server"],
        &[8123, 9000],
        &["/var/lib/clickhouse"],
        true,
    ),
    server(&["server"], &[1433], &["/var/opt/mssql"], true),
    server(&["neo4j"], &[7474, 7687], &["/data"], true),
    server(&["minio"], &[9000], &["/data", "/export"], true),
    server(
        &["kafka", "cp-kafka"],
        &[9092],
        &["/var/lib/kafka/data", "/bitnami/kafka"],
        true,
    ),
    server(&["zookeeper"], &[2181], &["/data"], false),
    server(&["etcd"], &[2379], &["/etcd-data"], false),
];

/// Ports that only databases use.
const DATABASE_PORTS: &[u16] = &[1433, 3306, 5432, 5984, 6379, 7687, 9042, 9200, 11211, 27017];

/// The server an image holds.
pub(crate) fn of_image(image: &str) -> Option<&'static Server> {
    let name = name(image);
    let found = SERVERS
        .iter()
        .find(|server| server.images.contains(&name))?;
    // `server` says little alone.
    (name != "server" || image.contains("mssql")).then_some(found)
}

/// A port that a database listens on.
pub(crate) fn is_database_port(port: u16) -> bool {
    DATABASE_PORTS.contains(&port)
}

/// `registry:5000/some/postgres:17@sha256:…` is `postgres`.
fn name(image: &str) -> &str {
    let path = image.split('@').next().unwrap_or(image);
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split(':').next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::of_image;

    #[test]
    fn images_are_known_by_their_last_part() {
        for image in [
            "postgres",
            "docker.io/library/postgres:17",
            "r:5000/x/postgres@sha256:ab",
        ] {
            assert_eq!(of_image(image).unwrap().ports, [5432], "{image}");
        }
        assert!(of_image("postgres-exporter").is_none());
        assert!(of_image("mcr.microsoft.com/mssql/server:2022-latest").is_some());
        assert!(of_image("my/server").is_none());
    }
}
