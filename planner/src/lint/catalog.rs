//! Every code of the lints: what it is about, why it matters, an example.

use crate::diagnostic::Severity;

/// Characters of a line at most.
const WIDTH: usize = 80;

/// What there is to say about a code.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// E.g. `L0001`.
    pub code: &'static str,
    /// One sentence without a full stop.
    pub title: &'static str,
    /// An error will not work; a warning works but is unwise.
    pub severity: Severity,
    /// Why it matters.
    pub why: &'static str,
    /// How it is done better.
    pub example: &'static str,
}

impl Explanation {
    /// The text as Markdown: a heading, the reason, and how it is done better.
    pub fn markdown(&self) -> String {
        let Self {
            code,
            title,
            severity: _,
            why,
            example,
        } = self;
        format!(
            "# {title}\n\n{}\n\n## Better\n\n```yaml\n{example}```\n\n## On purpose\n\n\
             Write `# stack-lint: allow({code})` on the line or above it, or\n\
             `x-stack: {{lint: {{allow: [{code}]}}}}` for a service or the whole file.\n",
            wrapped(why)
        )
    }
}

/// The text in lines of a terminal's width.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

/// The text about a code of a lint.
pub fn explain(code: &str) -> Option<&'static Explanation> {
    CATALOG
        .iter()
        .find(|about| about.code.eq_ignore_ascii_case(code))
}

/// All codes of lints, in order.
pub fn all() -> &'static [Explanation] {
    CATALOG
}

/// The table of `docs/tools.md`.
pub fn table() -> String {
    let row = |about: &Explanation| {
        let severity = match about.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!("| `{}` | {severity} | {} |\n", about.code, about.title)
    };
    let rows: String = CATALOG.iter().map(row).collect();
    format!("| code | | |\n|---|---|---|\n{rows}")
}

const CATALOG: &[Explanation] = &[
    Explanation {
        code: "L0001",
        title: "An image without a version",
        severity: Severity::Warning,
        why: "`latest`, which is also meant when there is no tag, is another image tomorrow: the stack \
              starts differently on another machine, and nobody can say what ran yesterday.",
        example: "services:\n  web:\n    image: nginx:1.27\n",
    },
    Explanation {
        code: "L0002",
        title: "A database port published on all interfaces",
        severity: Severity::Warning,
        why: "A port without an address is open to every network the machine is on, past most \
              firewalls. Services of the stack reach the database over their network without it.",
        example: "services:\n  db:\n    image: postgres:17\n    ports:\n      - \"127.0.0.1:5432:5432\"\n",
    },
    Explanation {
        code: "L0003",
        title: "A health check that is not waited for",
        severity: Severity::Warning,
        why: "The short form of `depends_on` waits until the other service was started, not until it \
              works. The health check that is there tells when that is.",
        example: "services:\n  web:\n    image: web:1\n    depends_on:\n      db:\n        condition: service_healthy\n",
    },
    Explanation {
        code: "L0004",
        title: "A server that is waited for without a health check",
        severity: Severity::Warning,
        why: "A database needs a while until it accepts connections. Without a health check the service \
              that needs it starts too early, and fails or not by chance.",
        example: "services:\n  db:\n    image: postgres:17\n    healthcheck:\n      test: [\"CMD-SHELL\", \"pg_isready -U postgres\"]\n      interval: 5s\n",
    },
    Explanation {
        code: "L0005",
        title: "A secret in the environment",
        severity: Severity::Warning,
        why: "The file is checked in and passed around, and variables are shown by `ps`, by crash reports \
              and by `/proc`. Secrets are mounted as files and come from a file or a variable that stays here.",
        example: "services:\n  db:\n    image: postgres:17\n    environment:\n      POSTGRES_PASSWORD_FILE: /run/secrets/db_password\n    secrets: [db_password]\nsecrets:\n  db_password:\n    file: ./db_password.txt\n",
    },
    Explanation {
        code: "L0006",
        title: "A privileged service",
        severity: Severity::Warning,
        why: "All capabilities and devices are hardly ever needed; a program that is taken over has them too.",
        example: "services:\n  vpn:\n    image: vpn:1\n    cap_add: [NET_ADMIN]\n",
    },
    Explanation {
        code: "L0007",
        title: "The socket of a container engine",
        severity: Severity::Warning,
        why: "Whoever can talk to the engine can start a container that mounts the host's root: it is as \
              good as being root on the host.",
        example: "services:\n  proxy:\n    image: tecnativa/docker-socket-proxy:0.3\n",
    },
    Explanation {
        code: "L0008",
        title: "A bind mount of a system or home folder",
        severity: Severity::Warning,
        why: "The service can read, and without `:ro` change, everything in it: keys, settings, other projects.",
        example: "services:\n  web:\n    image: nginx:1.27\n    volumes:\n      - ./html:/usr/share/nginx/html:ro\n",
    },
    Explanation {
        code: "L0009",
        title: "Two services that publish the same port",
        severity: Severity::Warning,
        why: "The second one to start finds the port in use. In different profiles it works until both are enabled.",
        example: "services:\n  a: {image: \"a:1\", ports: [\"8080:80\"]}\n  b: {image: \"b:1\", ports: [\"8081:80\"]}\n",
    },
    Explanation {
        code: "L0010",
        title: "A network, volume, secret, config or model that nobody uses",
        severity: Severity::Warning,
        why: "It is not made, so whoever reads the file looks for a use that is not there; often a service \
              lacks the line that would use it.",
        example: "services:\n  db: {image: \"postgres:17\", volumes: [\"data:/var/lib/postgresql/data\"]}\nvolumes:\n  data:\n",
    },
    Explanation {
        code: "L0011",
        title: "A dependency that cannot be reached",
        severity: Severity::Warning,
        why: "A service waits for another one but shares no network, volume or namespace with it, so it \
              cannot use it. Usually a network is missing.",
        example: "services:\n  web: {image: \"web:1\", depends_on: [db], networks: [back]}\n  db: {image: \"postgres:17\", networks: [back]}\nnetworks:\n  back:\n",
    },
    Explanation {
        code: "L0012",
        title: "An obsolete `version`",
        severity: Severity::Warning,
        why: "It chose a file format once. There is one format now, and the key is passed over.",
        example: "services:\n  web:\n    image: nginx:1.27\n",
    },
    Explanation {
        code: "L0013",
        title: "A fixed name for a service that wants to be several",
        severity: Severity::Warning,
        why: "Two containers cannot have one name: it can be neither scaled nor replaced start-first. \
              Other services reach it by the service's name anyway.",
        example: "services:\n  web:\n    image: web:1\n    deploy:\n      replicas: 2\n",
    },
    Explanation {
        code: "L0014",
        title: "A database without a restart policy",
        severity: Severity::Warning,
        why: "When it runs out of memory or the machine restarts, it stays down until somebody looks.",
        example: "services:\n  db:\n    image: postgres:17\n    restart: unless-stopped\n    volumes: [\"data:/var/lib/postgresql/data\"]\nvolumes:\n  data:\n",
    },
    Explanation {
        code: "L0015",
        title: "A database whose data is not in a named volume",
        severity: Severity::Warning,
        why: "What is not in a named volume goes with the container, at the latest when its image is \
              replaced by a newer one.",
        example: "services:\n  db:\n    image: postgres:17\n    volumes: [\"data:/var/lib/postgresql/data\"]\nvolumes:\n  data:\n",
    },
    Explanation {
        code: "L0016",
        title: "An environment file in the build folder",
        severity: Severity::Warning,
        why: "`COPY . .` copies it into the image, with the secrets in it, and whoever can pull the image \
              can read it.",
        example: "# .dockerignore\n.env\n*.env\n",
    },
    Explanation {
        code: "L0017",
        title: "A port that older readers take for a number in base 60",
        severity: Severity::Warning,
        why: "YAML 1.1 reads `22:22` as 1342. This reader does not, others do: quotes make it a text everywhere. \
              `stack lint --fix` puts them.",
        example: "services:\n  git:\n    image: git:1\n    ports:\n      - \"22:22\"\n",
    },
    Explanation {
        code: "L0018",
        title: "Several containers that want one port",
        severity: Severity::Error,
        why: "Only one of them can listen on the port, the others do not start.",
        example: "services:\n  web:\n    image: web:1\n    ports: [\"8080-8081:80\"]\n    deploy:\n      replicas: 2\n",
    },
    Explanation {
        code: "L0019",
        title: "Waiting for the end of a service that never ends",
        severity: Severity::Error,
        why: "`service_completed_successfully` waits until the service has ended, but its restart policy \
              starts it again each time.",
        example: "services:\n  migrate:\n    image: web:1\n    command: migrate\n    restart: on-failure\n",
    },
];
