//! The demo's config file.

/// First line of the file: `down` removes only a directory that starts so.
pub(super) const HEADER: &str = "# Written by `pcrd demo up`.";

/// Returns the config: every integer key widened, timestamps given a zone, a price renamed and made more precise, a
/// column added, columns packed.
pub(super) fn config(source_port: u16, target_port: u16) -> String {
    format!(
        "{HEADER} `pcrd demo down` removes this directory.
source:
  host: 127.0.0.1
  port: {source_port}
  database: pcrd_demo
  user: postgres
  sslmode: disable
  password_file: password
target:
  host: 127.0.0.1
  port: {target_port}
  database: pcrd_demo
  user: postgres
  sslmode: disable
  password_file: password
migrate:
  tables:
    - name: users
      columns:
        id: {{ type: bigint }}
        created_at: {{ type: timestamptz }}
    - name: agents
      columns:
        id: {{ type: bigint }}
        user_id: {{ type: bigint }}
    - name: listings
      optimize_column_order: true
      columns:
        id: {{ type: bigint }}
        agent_id: {{ type: bigint }}
        list_price: {{ type: \"numeric(18,4)\", rename: list_price_precise }}
        listed_at: {{ type: timestamptz }}
        created_at: {{ type: timestamptz }}
      add_columns:
        - {{ name: updated_at, type: timestamptz, default: \"now()\" }}
cutover:
  fence_timeout: 10
"
    )
}
