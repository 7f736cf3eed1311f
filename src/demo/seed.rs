//! Rows for the demo: the same ones for the same size and seed, on every machine and version.

use super::error::DemoError;
use super::guard::check_marked;
use crate::pg::client::connect;
use crate::pg::conninfo::Conninfo;

/// How many rows there are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    /// Rows of `users`.
    pub users: i64,
    /// Rows of `agents`.
    pub agents: i64,
    /// Rows of `listings`.
    pub listings: i64,
}

const USERS: &str = "
    INSERT INTO public.users (is_active, email, created_at, full_name, phone)
    SELECT g % 11 <> 0, 'user' || g || '@example.com', timestamp '2023-01-01' + (g * 7919 % 31536000) * interval '1 second',
           (ARRAY['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald', 'Frances', 'José'])[1 + g % 7] || ' '
               || (ARRAY['Lovelace', 'Hopper', 'Dijkstra', 'Liskov', 'Knuth', 'Allen'])[1 + (g + $2::bigint & 1023) % 6],
           CASE WHEN g % 4 = 0 THEN NULL ELSE '555-' || lpad((g * 37 % 10000)::text, 4, '0') END
      FROM generate_series(1, $1::bigint) g ORDER BY g";

const AGENTS: &str = "
    INSERT INTO public.agents (user_id, licensed_at, license_number, brokerage, phone, commission_rate)
    SELECT 1 + (g * 31 + $2::bigint & 1023) % $3::bigint, timestamp '2010-01-01' + (g * 104729 % 315360000) * interval '1 second',
           'LIC-' || lpad(g::text, 6, '0'), (ARRAY['North', 'South', 'River'])[1 + g % 3] || ' Realty', NULL,
           2 + g % 300 / 100.0
      FROM generate_series(1, $1::bigint) g ORDER BY g";

/// Replaces all rows of the three tables: `rows` listings, and users and agents in proportion.
///
/// # Errors
/// [`DemoError::NotSetUp`] if the database is not marked as demo.
pub async fn seed(info: &Conninfo, rows: u32, seed: u32) -> Result<Seeded, DemoError> {
    let mut client = connect(info, "pcrd-demo/seed").await?;
    check_marked(&client, &info.database).await?;
    let (listings, seed) = (i64::from(rows), i64::from(seed));
    let seeded = Seeded { users: (listings / 10).clamp(50, 500), agents: (listings / 20).clamp(10, 100), listings };
    let transaction = client.transaction().await?;
    transaction.batch_execute("TRUNCATE public.listings, public.agents, public.users RESTART IDENTITY").await?;
    transaction.execute(USERS, &[&seeded.users, &seed]).await?;
    transaction.execute(AGENTS, &[&seeded.agents, &seed, &seeded.users]).await?;
    transaction.execute(include_str!("seed.sql"), &[&listings, &seed]).await?;
    transaction.commit().await?;
    client.batch_execute("VACUUM ANALYZE public.users").await?;
    client.batch_execute("VACUUM ANALYZE public.agents").await?;
    client.batch_execute("VACUUM ANALYZE public.listings").await?;
    Ok(seeded)
}
