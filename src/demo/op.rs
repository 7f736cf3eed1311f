//! One write of the demo's application: what it does, on either side of the switch, and what it leaves behind.

use rand::Rng;
use rand::rngs::StdRng;
use tokio_postgres::{Row, Statement};

use crate::pg::client::{Client, connect};
use crate::pg::conninfo::Conninfo;
use crate::pg::error::PgError;

/// Which database the application writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The old one.
    Source,
    /// The new one, where the price has another name.
    Target,
}

/// A write, decided before it is tried, so that a retry does the same.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Insert {
        cents: i64,
        agent: i64,
        words: i32,
    },
    /// Leaves the description alone, which may be stored out of line.
    Price {
        id: i64,
        cents: i64,
    },
    /// Replaces the description by another, out of line if long.
    Describe {
        id: i64,
        cents: i64,
        words: i32,
    },
    /// Gives the row the next key.
    Rekey {
        id: i64,
    },
    Delete {
        id: i64,
    },
    /// A new row, and a change to an old one, in one transaction.
    InsertAndPrice {
        cents: i64,
        agent: i64,
        id: i64,
    },
    User {
        id: i64,
        phone: i32,
    },
    NewUser {
        email: String,
    },
}

impl Op {
    /// The listing that exists already and that this write may change.
    pub(super) fn id(&self) -> Option<i64> {
        match self {
            Self::Price { id, .. }
            | Self::Describe { id, .. }
            | Self::Rekey { id }
            | Self::Delete { id }
            | Self::InsertAndPrice { id, .. } => Some(*id),
            Self::Insert { .. } | Self::User { .. } | Self::NewUser { .. } => None,
        }
    }
}

/// A row of `listings` after an acknowledged write: its price in cents, or nothing if it is gone.
pub(super) type Effect = (i64, Option<i64>);

/// A connection with the statements of the writer, which say everything as bigint: keys are integer on one side only.
pub(super) struct Application {
    client: Client,
    insert: Statement,
    price: Statement,
    describe: Statement,
    rekey: Statement,
    delete: Statement,
    user: Statement,
    new_user: Statement,
}

impl Application {
    pub(super) async fn connect(info: &Conninfo, side: Side) -> Result<Self, PgError> {
        let client = connect(info, "pcrd-demo/writer").await?;
        let price = match side {
            Side::Source => "list_price",
            Side::Target => "list_price_precise",
        };
        let words =
            |n| format!("(SELECT string_agg(md5(i::text || {n}::text), ' ') FROM generate_series(1, {n}::integer) i)");
        let returning = format!("RETURNING id::bigint, ({price} * 100)::bigint");
        Ok(Self {
            insert: client
                .prepare(&format!(
                    "INSERT INTO public.listings ({price}, agent_id, description, square_feet, address_line1, city, state_code) \
                     VALUES ($1::bigint / 100.0, $2::bigint, {}, 1200, '1 New St', 'Austin', 'TX') {returning}",
                    words("$3")
                ))
                .await?,
            price: client
                .prepare(&format!(
                    "UPDATE public.listings SET {price} = $2::bigint / 100.0 WHERE id = $1::bigint {returning}"
                ))
                .await?,
            describe: client
                .prepare(&format!(
                    "UPDATE public.listings SET {price} = $2::bigint / 100.0, description = {} WHERE id = $1::bigint {returning}",
                    words("$3")
                ))
                .await?,
            rekey: client
                .prepare(&format!("UPDATE public.listings SET id = DEFAULT WHERE id = $1::bigint {returning}"))
                .await?,
            delete: client.prepare("DELETE FROM public.listings WHERE id = $1::bigint").await?,
            user: client
                .prepare("UPDATE public.users SET phone = $2::integer::text, is_active = NOT is_active WHERE id = $1::bigint")
                .await?,
            new_user: client
                .prepare("INSERT INTO public.users (email, full_name) VALUES ($1::text, 'New User')")
                .await?,
            client,
        })
    }

    /// Does one write and returns what it did to listings, once the server has acknowledged it.
    pub(super) async fn perform(&mut self, op: &Op) -> Result<Vec<Effect>, PgError> {
        match self.try_perform(op).await {
            Ok(effects) => Ok(effects),
            Err(error) => Err(self.client.explain(error).await),
        }
    }

    async fn try_perform(&mut self, op: &Op) -> Result<Vec<Effect>, tokio_postgres::Error> {
        let client = &mut self.client;
        let effects = |rows: Vec<Row>| rows.iter().map(|row| (row.get(0), Some(row.get(1)))).collect();
        Ok(match op {
            Op::Insert { cents, agent, words } => effects(client.query(&self.insert, &[cents, agent, words]).await?),
            Op::Price { id, cents } => effects(client.query(&self.price, &[id, cents]).await?),
            Op::Describe { id, cents, words } => effects(client.query(&self.describe, &[id, cents, words]).await?),
            Op::Rekey { id } => {
                let mut moved: Vec<Effect> = effects(client.query(&self.rekey, &[id]).await?);
                moved.push((*id, None));
                moved
            }
            Op::Delete { id } => {
                client.execute(&self.delete, &[id]).await?;
                vec![(*id, None)]
            }
            Op::InsertAndPrice { cents, agent, id } => {
                let transaction = client.transaction().await?;
                let mut both: Vec<Effect> = effects(transaction.query(&self.insert, &[cents, agent, &2i32]).await?);
                both.extend(effects(transaction.query(&self.price, &[id, cents]).await?));
                transaction.commit().await?;
                both
            }
            Op::User { id, phone } => {
                client.execute(&self.user, &[id, phone]).await?;
                Vec::new()
            }
            Op::NewUser { email } => {
                client.execute(&self.new_user, &[email]).await?;
                Vec::new()
            }
        })
    }
}

/// The ids of listings that exist for this client alone: no other client of the writer touches them, so that what it
/// has been told is what must be there.
#[derive(Debug, Default)]
pub(super) struct Own {
    ids: Vec<i64>,
}

impl Own {
    pub(super) fn new(ids: Vec<i64>) -> Self {
        Self { ids }
    }

    fn pick(&self, random: &mut StdRng) -> Option<i64> {
        (!self.ids.is_empty()).then(|| self.ids[random.random_range(0..self.ids.len())])
    }

    /// Follows an acknowledged write.
    pub(super) fn follow(&mut self, effects: &[Effect], op: &Op) {
        if let Op::Rekey { id } | Op::Delete { id } = op {
            self.ids.retain(|own| own != id);
        }
        if let (Op::Insert { .. } | Op::InsertAndPrice { .. } | Op::Rekey { .. }, Some((new, Some(_)))) =
            (op, effects.first())
        {
            self.ids.push(*new);
        }
    }

    /// Forgets a row whose fate is unknown.
    pub(super) fn forget(&mut self, id: i64) {
        self.ids.retain(|own| *own != id);
    }
}

/// What the writer may refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    pub(super) agents: i64,
    pub(super) users: i64,
}

/// Decides the next write. `label` makes e-mail addresses unique.
pub(super) fn decide(random: &mut StdRng, own: &Own, population: Population, label: &str) -> Op {
    let cents = random.random_range(1_000_000..900_000_000);
    let agent = random.random_range(1..=population.agents);
    let insert = Op::Insert { cents, agent, words: 3 };
    let Some(id) = own.pick(random) else { return insert };
    match random.random_range(0..100) {
        0..30 => insert,
        30..33 => Op::Insert { cents, agent, words: 120 },
        33..65 => Op::Price { id, cents },
        65..70 => Op::Describe { id, cents, words: if random.random() { 4 } else { 120 } },
        70..76 => Op::Rekey { id },
        76..88 => Op::Delete { id },
        88..94 => Op::InsertAndPrice { cents, agent, id },
        94..99 => Op::User { id: random.random_range(1..=population.users), phone: random.random_range(0..9999) },
        _ => Op::NewUser { email: format!("{label}-{:016x}@example.com", random.random::<u64>()) },
    }
}
