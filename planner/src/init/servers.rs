//! Servers that a program may need, as they are written into a stack file.

/// One server.
#[derive(Debug)]
pub(super) struct About {
    /// Name of its service and template.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Its service, indented by four; `data` is its volume.
    pub(super) service: &'static str,
    /// It keeps data in a volume `<name>-data`.
    pub(super) has_data: bool,
    /// What a program is told: variable and value.
    pub(super) environment: (&'static str, &'static str),
    /// Packages of all languages that say that a program needs it.
    pub(super) packages: &'static [&'static str],
}

pub(super) const SERVERS: &[About] = &[
    About {
        name: "postgres",
        title: "PostgreSQL",
        service: "    image: postgres:17
    restart: unless-stopped
    environment:
      POSTGRES_USER: app
      POSTGRES_DB: app
      # Set POSTGRES_PASSWORD in a file .env, and keep that file to yourself.
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-change-me}
    volumes:
      - postgres-data:/var/lib/postgresql/data
    healthcheck:
      test: [\"CMD-SHELL\", \"pg_isready -h 127.0.0.1 -U app -d app\"]
      interval: 10s
      start_period: 1m
",
        has_data: true,
        environment: (
            "DATABASE_URL",
            "postgres://app:${POSTGRES_PASSWORD:-change-me}@postgres:5432/app",
        ),
        packages: &[
            "pg",
            "postgres",
            "pg-promise",
            "@prisma/adapter-pg",
            "psycopg",
            "psycopg2",
            "psycopg2-binary",
            "asyncpg",
            "tokio-postgres",
            "diesel",
            "sqlx",
            "github.com/lib/pq",
            "github.com/jackc/pgx",
            "postgresql",
            "gorm.io/driver/postgres",
            "ext-pgsql",
            "ext-pdo_pgsql",
        ],
    },
    About {
        name: "mysql",
        title: "MySQL",
        service: "    image: mysql:8.4
    restart: unless-stopped
    environment:
      MYSQL_USER: app
      MYSQL_DATABASE: app
      # Set both in a file .env, and keep that file to yourself.
      MYSQL_PASSWORD: ${MYSQL_PASSWORD:-change-me}
      MYSQL_ROOT_PASSWORD: ${MYSQL_ROOT_PASSWORD:-change-me-too}
    volumes:
      - mysql-data:/var/lib/mysql
    healthcheck:
      test: [\"CMD-SHELL\", \"mysqladmin ping -h 127.0.0.1 -u app -p$$MYSQL_PASSWORD --silent\"]
      interval: 10s
      start_period: 2m
",
        has_data: true,
        environment: (
            "DATABASE_URL",
            "mysql://app:${MYSQL_PASSWORD:-change-me}@mysql:3306/app",
        ),
        packages: &[
            "mysql",
            "mysql2",
            "mysqlclient",
            "pymysql",
            "mysql-connector-python",
            "mysql_async",
            "github.com/go-sql-driver/mysql",
            "mysql-connector-j",
            "gorm.io/driver/mysql",
            "ext-mysqli",
            "ext-pdo_mysql",
        ],
    },
    About {
        name: "mariadb",
        title: "MariaDB",
        service: "    image: mariadb:11.4
    restart: unless-stopped
    environment:
      MARIADB_USER: app
      MARIADB_DATABASE: app
      # Set both in a file .env, and keep that file to yourself.
      MARIADB_PASSWORD: ${MARIADB_PASSWORD:-change-me}
      MARIADB_ROOT_PASSWORD: ${MARIADB_ROOT_PASSWORD:-change-me-too}
    volumes:
      - mariadb-data:/var/lib/mysql
    healthcheck:
      test: [\"CMD\", \"healthcheck.sh\", \"--connect\", \"--innodb_initialized\"]
      interval: 10s
      start_period: 2m
",
        has_data: true,
        environment: (
            "DATABASE_URL",
            "mysql://app:${MARIADB_PASSWORD:-change-me}@mariadb:3306/app",
        ),
        packages: &["mariadb", "mariadb-java-client"],
    },
    About {
        name: "mongo",
        title: "MongoDB",
        service: "    image: mongo:8.0
    restart: unless-stopped
    volumes:
      - mongo-data:/data/db
    healthcheck:
      test: [\"CMD\", \"mongosh\", \"--quiet\", \"--eval\", \"db.runCommand({ping: 1})\"]
      interval: 10s
      start_period: 1m
",
        has_data: true,
        environment: ("MONGODB_URL", "mongodb://mongo:27017/app"),
        packages: &[
            "mongodb",
            "mongoose",
            "pymongo",
            "motor",
            "mongoid",
            "go.mongodb.org/mongo-driver",
            "mongodb-driver-sync",
            "spring-boot-starter-data-mongodb",
            "ext-mongodb",
        ],
    },
    About {
        name: "redis",
        title: "Redis",
        service: "    image: redis:7.4
    restart: unless-stopped
    volumes:
      - redis-data:/data
    healthcheck:
      test: [\"CMD-SHELL\", \"redis-cli ping | grep -q PONG\"]
      interval: 10s
      start_period: 30s
",
        has_data: true,
        environment: ("REDIS_URL", "redis://redis:6379"),
        packages: &[
            "redis",
            "ioredis",
            "bullmq",
            "celery[redis]",
            "aioredis",
            "sidekiq",
            "predis/predis",
            "ext-redis",
            "jedis",
            "github.com/redis/go-redis",
            "github.com/go-redis/redis",
            "spring-boot-starter-data-redis",
            "fred",
        ],
    },
    About {
        name: "rabbitmq",
        title: "RabbitMQ",
        service: "    image: rabbitmq:4.0
    restart: unless-stopped
    # Its data is kept under the name of its host.
    hostname: rabbitmq
    environment:
      RABBITMQ_DEFAULT_USER: app
      # Set RABBITMQ_PASSWORD in a file .env, and keep that file to yourself.
      RABBITMQ_DEFAULT_PASS: ${RABBITMQ_PASSWORD:-change-me}
    volumes:
      - rabbitmq-data:/var/lib/rabbitmq
    healthcheck:
      test: [\"CMD\", \"rabbitmq-diagnostics\", \"-q\", \"ping\"]
      interval: 15s
      timeout: 10s
      start_period: 2m
",
        has_data: true,
        environment: (
            "AMQP_URL",
            "amqp://app:${RABBITMQ_PASSWORD:-change-me}@rabbitmq:5672",
        ),
        packages: &[
            "amqplib",
            "pika",
            "aio-pika",
            "lapin",
            "bunny",
            "github.com/rabbitmq/amqp091-go",
            "github.com/streadway/amqp",
            "spring-boot-starter-amqp",
            "php-amqplib/php-amqplib",
        ],
    },
];
