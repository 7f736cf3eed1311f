//! The work: a table in a poor order, the shape that is wanted, servers, and databases to write into.

use std::path::Path;
use std::process::Command;

use pcrd::pg::local::Cluster;

/// The table as it is: 23 columns in an order that wastes padding, and a table whose row says "this is the end".
pub(crate) const SOURCE: &str = "
CREATE TABLE listings (
  id integer NOT NULL GENERATED ALWAYS AS IDENTITY, active boolean NOT NULL DEFAULT true,
  list_price numeric(12,2) NOT NULL, bedrooms smallint, has_garage boolean NOT NULL DEFAULT false,
  listed_at timestamp NOT NULL DEFAULT now(), square_feet integer, is_featured boolean NOT NULL DEFAULT false,
  price_per_sqft real, longitude double precision, year_built smallint, created_at timestamp NOT NULL DEFAULT now(),
  bathrooms smallint, is_new_construction boolean NOT NULL DEFAULT false, latitude double precision, description text,
  address_line1 varchar(255) NOT NULL, city varchar(100) NOT NULL, state_code char(2) NOT NULL, zip_code varchar(10),
  agent_id integer, legacy_code varchar(20), attributes jsonb, PRIMARY KEY (id));
CREATE TABLE marker (id integer PRIMARY KEY)";

const SEED: &str = "
INSERT INTO listings (active, list_price, bedrooms, has_garage, listed_at, square_feet, is_featured, price_per_sqft,
  longitude, year_built, created_at, bathrooms, is_new_construction, latitude, description, address_line1, city,
  state_code, zip_code, agent_id, legacy_code, attributes)
SELECT g % 10 > 0, 80000 + g % 4420000 + 0.25, nullif(g % 20, 0) % 6, g % 5 < 2,
  timestamp '2024-01-01' + g % 63072000 * interval '1.000137 seconds', 500 + g % 7000, g % 20 = 0, (g % 900)::real,
  -124 + g % 57, 1920 + g % 104, timestamp '2024-01-01' + g % 63072000 * interval '1 second', 1 + g % 3, g % 10 = 0,
  25 + g % 23,
  CASE WHEN g % 33 > 0 THEN 'Two storeys of brick above the market square, ten minutes by tram to the station. Ref '
    || md5(g::text) || CASE WHEN g % 2 = 0 THEN ' café on the corner' ELSE '' END END,
  g % 9999 || ' Long Lane', (ARRAY['New York','Los Angeles','Chicago','Houston','Phoenix'])[1 + g % 5],
  (ARRAY['NY','CA','IL','TX','AZ'])[1 + g % 5], lpad((g % 99999)::text, 5, '0'), 1 + g % 9999, 'LEG-' || g,
  CASE WHEN g % 10 > 0 THEN jsonb_build_object('hoa', g % 500, 'pool', g % 5 = 0, 'heating', 'gas',
    'tags', jsonb_build_array('t' || g % 50, 't' || g % 13)) END
FROM generate_series(1, $rows) AS g";

/// The wanted table, for contenders that need it to be there.
pub(crate) const WANTED: &str = "
CREATE TABLE listings (
  id bigint NOT NULL PRIMARY KEY, agent_id bigint, listed_at timestamptz NOT NULL, created_at timestamptz NOT NULL,
  longitude double precision, latitude double precision, updated_at timestamptz, square_feet integer,
  price_per_sqft real, bedrooms smallint, year_built smallint, bathrooms smallint, active boolean NOT NULL,
  has_garage boolean NOT NULL, is_featured boolean NOT NULL, is_new_construction boolean NOT NULL,
  list_price_precise numeric(18,4) NOT NULL, description text, address_line1 varchar(255) NOT NULL,
  city varchar(100) NOT NULL, state_code char(2) NOT NULL, zip_code varchar(10), attributes jsonb)";

/// The values of [`WANTED`], in its order.
pub(crate) const PROJECTION: &str = "
  id::bigint, agent_id::bigint, listed_at::timestamptz, created_at::timestamptz, longitude, latitude,
  now(), square_feet, price_per_sqft, bedrooms, year_built, bathrooms, active, has_garage, is_featured,
  is_new_construction, list_price::numeric(18,4), description, address_line1, city, state_code, zip_code, attributes";

/// The same for pcrd.
pub(crate) const TABLES: &str = "
    - name: listings
      optimize_column_order: true
      columns:
        id: { type: bigint }
        agent_id: { type: bigint }
        list_price: { type: \"numeric(18,4)\", rename: list_price_precise }
        listed_at: { type: timestamptz }
        created_at: { type: timestamptz }
        legacy_code: { drop: true }
      add_columns:
        - { name: updated_at, type: timestamptz, default: \"now()\" }
    - name: marker
";

/// Two servers with the table on one of them.
pub(crate) struct Servers {
    pub(crate) source: Cluster,
    pub(crate) target: Cluster,
}

impl Servers {
    /// Starts them with the durability of production.
    pub(crate) async fn start(rows: u64) -> Self {
        Self::start_of(15, rows).await
    }

    /// The same, of another major version.
    pub(crate) async fn start_of(major: u32, rows: u64) -> Self {
        let settings = [
            ("shared_buffers", "1GB"),
            ("max_wal_size", "16GB"),
            ("min_wal_size", "8GB"),
            ("checkpoint_timeout", "1h"),
            ("max_slot_wal_keep_size", "-1"),
        ];
        let start = || Cluster::start_with(major, &settings).unwrap();
        let servers = Self { source: start(), target: start() };
        let source = connect(&servers.source, "postgres").await;
        eprintln!("making {rows} rows");
        source.batch_execute(SOURCE).await.unwrap();
        source.batch_execute(&SEED.replace("$rows", &rows.to_string())).await.unwrap();
        source.batch_execute("VACUUM (ANALYZE) listings").await.unwrap();
        servers
    }

    /// An empty database on the target, and both servers at rest.
    pub(crate) async fn fresh(&self, database: &str) {
        let target = connect(&self.target, "postgres").await;
        target.batch_execute(&format!("DROP DATABASE IF EXISTS {database}")).await.unwrap();
        target.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        self.rest().await;
    }

    /// Writes as much log as is kept, and has its files renamed for what comes next.
    pub(crate) async fn recycle(&self) {
        let write = "SELECT count(pg_logical_emit_message(false, 'warm', repeat(md5(n::text), 32768))) FROM generate_series(1, 1024) AS n";
        for server in [&self.source, &self.target] {
            let session = connect(server, "postgres").await;
            for _ in 0..4 {
                session.batch_execute(write).await.unwrap();
            }
            session.batch_execute("CHECKPOINT; CHECKPOINT").await.unwrap();
        }
    }

    /// Nothing of the contender before is left to be written.
    pub(crate) async fn rest(&self) {
        for server in [&self.source, &self.target] {
            connect(server, "postgres").await.batch_execute("CHECKPOINT").await.unwrap();
        }
    }
}

pub(crate) async fn connect(cluster: &Cluster, database: &str) -> tokio_postgres::Client {
    let info = cluster.conninfo(database);
    let mut config = tokio_postgres::Config::new();
    config.host(&info.host).port(info.port).dbname(&info.database).user(&info.user);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The first value of a query, as text.
pub(crate) async fn text(client: &tokio_postgres::Client, query: &str) -> String {
    let messages = client.simple_query(query).await.unwrap();
    let row = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.unwrap().to_owned()
}

pub(crate) fn uri(cluster: &Cluster, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{}/{database}", cluster.port())
}

/// A call of the program in this directory, which holds its config.
pub(crate) fn pcrd(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pcrd"));
    command.current_dir(dir).args(args);
    command
}

/// Runs a command that must succeed and is not measured.
pub(crate) fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes the config for the table and compiles the plan.
pub(crate) fn plan(dir: &Path, servers: &Servers, database: &str) {
    configure(dir, servers, database, TABLES);
}

/// Writes the config for these tables and compiles the plan.
pub(crate) fn configure(dir: &Path, servers: &Servers, database: &str, tables: &str) {
    let end = |cluster: &Cluster, database: &str| {
        format!("{{ host: 127.0.0.1, port: {}, database: {database}, user: postgres }}", cluster.port())
    };
    let config = format!(
        "source: {}\ntarget: {}\nmigrate:\n  lag_threshold_bytes: 8192\n  tables:{tables}",
        end(&servers.source, "postgres"),
        end(&servers.target, database)
    );
    std::fs::write(dir.join("pcrd.config.yml"), config).unwrap();
    done(&mut pcrd(dir, &["plan", "--out", "plan.json"]));
}
