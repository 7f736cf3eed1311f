//! Lets the server read views: over tables of the source's names and the target's types they are created as the source has
//! them, then the tables get the target's names, and the server writes what the views show by then. All of it stands in schemas of
//! its own, inside a transaction that is always rolled back.
//!
//! A name in a query means what the server says that it means: nothing is guessed from the text but where relations are named,
//! and what a view reads afterwards is compared with what it reads on the source.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::scratch::{NewType, ScratchError, create_types};
use crate::catalog::{Ident, QualifiedName};
use crate::sql::token::{TokenKind, tokens};
use crate::sql::view::{is_one_query, moved};
use crate::sql::{ident, name};

/// A table that views read.
#[derive(Debug, Clone)]
pub struct Ground<'g> {
    /// Name on the source.
    pub source: &'g QualifiedName,
    /// Name on the target.
    pub target: &'g QualifiedName,
    /// Kept columns.
    pub columns: Vec<GroundColumn<'g>>,
    /// Columns of the primary key, by their names on the source: a query may group by it alone.
    pub key: Vec<&'g Ident>,
}

/// A column of such a table.
#[derive(Debug, Clone)]
pub struct GroundColumn<'g> {
    /// Name on the source.
    pub source: &'g Ident,
    /// Name on the target.
    pub target: &'g Ident,
    /// Type on the target.
    pub ty: &'g str,
    /// Collation on the target, when it is not the type's.
    pub collation: Option<&'g QualifiedName>,
}

/// A view, behind those that it reads.
#[derive(Debug, Clone)]
pub struct ViewToRead<'v> {
    /// Name on the source.
    pub source: &'v QualifiedName,
    /// Name on the target.
    pub target: &'v QualifiedName,
    /// The query, as the source's server writes it.
    pub definition: &'v str,
    /// What it reads on the source.
    pub reads: Vec<&'v QualifiedName>,
}

/// The query of each view as the target's server writes it, by the view's name on the source; or why the server makes no such
/// view.
///
/// The connection must not be in a transaction; afterwards it is in none.
///
/// # Errors
/// The server could not be asked, or the role may not create anything.
pub async fn read_views(
    client: &Client,
    grounds: &[Ground<'_>],
    views: &[ViewToRead<'_>],
    types: &[NewType<'_>],
) -> Result<BTreeMap<QualifiedName, Result<String, String>>, ScratchError> {
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'").await?;
    let result = build_and_read(client, grounds, views, types).await;
    client.batch_execute("ROLLBACK").await?;
    result
}

async fn build_and_read(
    client: &Client,
    grounds: &[Ground<'_>],
    views: &[ViewToRead<'_>],
    types: &[NewType<'_>],
) -> Result<BTreeMap<QualifiedName, Result<String, String>>, ScratchError> {
    create_types(client, types).await?;
    client.batch_execute("SET LOCAL search_path = ''; SET LOCAL quote_all_identifiers = off").await?;
    let pid: i32 = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await?.get(0);
    let homes = Homes::new(pid, grounds, views);
    for schema in homes.before.values().chain(homes.after.values()) {
        client.batch_execute(&format!("CREATE SCHEMA {}", ident(schema))).await?;
    }
    let mut unbuilt: BTreeMap<&QualifiedName, String> = BTreeMap::new();
    for (number, ground) in grounds.iter().enumerate() {
        if let Some(said) = homes.refused(client, &homes.create_ground(number, ground)).await? {
            unbuilt.insert(ground.source, said);
        }
    }
    let mut refused = BTreeMap::new();
    for view in views {
        let made = match view.reads.iter().find_map(|read| unbuilt.get_key_value(*read)) {
            Some((table, said)) => Err(format!("it reads {table}, of which the target's server says: {said}")),
            None => homes.create_view(client, view).await?,
        };
        if let Err(why) = made {
            refused.insert(view.source.clone(), why);
        }
    }
    for (number, ground) in grounds.iter().enumerate().filter(|(_, ground)| !unbuilt.contains_key(ground.source)) {
        client.batch_execute(&homes.rename_ground(number, ground)).await?;
    }
    let made = || views.iter().filter(|view| !refused.contains_key(view.source));
    for view in made() {
        let (here, there) = (name(&homes.before(view.source)), ident(&homes.after[&view.target.schema]));
        client.batch_execute(&format!("ALTER VIEW {here} SET SCHEMA {there}")).await?;
    }
    // As the server writes them, so that what it says of the view one day is this text.
    let mut written = BTreeMap::new();
    for (schema, home) in &homes.after {
        let row = client.query_one("SELECT pg_catalog.quote_ident($1::text)", &[&schema.as_str()]).await?;
        written.insert(home.as_str(), row.get::<_, String>(0));
    }
    let mut found = BTreeMap::new();
    for view in made() {
        let there = QualifiedName { schema: homes.after[&view.target.schema].clone(), name: view.source.name.clone() };
        let query = "SELECT pg_catalog.pg_get_viewdef(pg_catalog.to_regclass($1::text))";
        let text: String = client.query_one(query, &[&name(&there)]).await?.get(0);
        found.insert(view.source.clone(), homes.home(text.trim().trim_end_matches(';'), &written));
    }
    found.extend(refused.into_iter().map(|(view, why)| (view, Err(why))));
    Ok(found)
}

/// Where everything is built, by schema of the source, and where it goes, by schema of the target.
struct Homes {
    before: BTreeMap<Ident, Ident>,
    after: BTreeMap<Ident, Ident>,
    /// Everything that is built, by its name on the source.
    moved: BTreeMap<QualifiedName, QualifiedName>,
    prefix: String,
}

impl Homes {
    fn new(pid: i32, grounds: &[Ground<'_>], views: &[ViewToRead<'_>]) -> Self {
        let prefix = format!("pcrd_scratch_{pid}_");
        let pairs = || {
            let of_grounds = grounds.iter().map(|ground| (ground.source, ground.target));
            of_grounds.chain(views.iter().map(|view| (view.source, view.target)))
        };
        let numbered = |word: &str, schemas: BTreeSet<&Ident>| {
            // None is the beginning of another: they are found in texts.
            let new = |number: usize| Ident::new(format!("{prefix}{word}{number}_")).expect("a short name");
            schemas.into_iter().enumerate().map(|(number, schema)| (schema.clone(), new(number))).collect()
        };
        let before: BTreeMap<Ident, Ident> = numbered("from", pairs().map(|(source, _)| &source.schema).collect());
        let after = numbered("to", pairs().map(|(_, target)| &target.schema).collect());
        let moved = pairs().map(|(source, _)| {
            let home = QualifiedName { schema: before[&source.schema].clone(), name: source.name.clone() };
            (source.clone(), home)
        });
        Self { moved: moved.collect(), before, after, prefix }
    }

    fn before(&self, source: &QualifiedName) -> QualifiedName {
        QualifiedName { schema: self.before[&source.schema].clone(), name: source.name.clone() }
    }

    fn own(&self, what: &str, number: usize) -> Ident {
        Ident::new(format!("{}{what}{number}", self.prefix)).expect("a short name")
    }

    /// What the server says of a statement that it refuses, with the names of the source, and without that statement.
    async fn refused(&self, client: &Client, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
        client.batch_execute("SAVEPOINT object").await?;
        // As one prepared statement: a catalog may come from a file, and nothing else of it may run.
        let Err(error) = client.execute(sql, &[]).await else {
            client.batch_execute("RELEASE SAVEPOINT object").await?;
            return Ok(None);
        };
        let Some(said) = error.as_db_error() else { return Err(error) };
        let mut text = format!("{} (SQLSTATE {})", said.message(), said.code().code());
        for (schema, home) in &self.before {
            text = text.replace(home.as_str(), schema.as_str());
        }
        // Its number is of this session, and a plan is the same each time.
        text = text.replace(&self.prefix, "");
        client.batch_execute("ROLLBACK TO SAVEPOINT object; RELEASE SAVEPOINT object").await?;
        Ok(Some(text))
    }

    fn create_ground(&self, number: usize, ground: &Ground<'_>) -> String {
        let mut lines: Vec<String> = Vec::new();
        for GroundColumn { source, ty, collation, .. } in &ground.columns {
            let collate = collation.map_or_else(String::new, |collation| format!(" COLLATE {}", name(collation)));
            lines.push(format!("{} {ty}{collate}", ident(source)));
        }
        if !ground.key.is_empty() {
            let key: Vec<String> = ground.key.iter().map(|column| ident(column)).collect();
            let own = ident(&self.own("key", number));
            lines.push(format!("CONSTRAINT {own} PRIMARY KEY ({})", key.join(", ")));
        }
        format!("CREATE TABLE {} ({})", name(&self.before(ground.source)), lines.join(", "))
    }

    /// Names may be exchanged: nothing gets its new one before all have lost the old.
    fn rename_ground(&self, number: usize, ground: &Ground<'_>) -> String {
        let here = name(&self.before(ground.source));
        let mut list = Vec::new();
        let renamed = || ground.columns.iter().enumerate().filter(|(_, column)| column.source != column.target);
        for (at, column) in renamed() {
            let between = ident(&self.own("column", at));
            list.push(format!("ALTER TABLE {here} RENAME COLUMN {} TO {between}", ident(column.source)));
        }
        for (at, column) in renamed() {
            let between = ident(&self.own("column", at));
            list.push(format!("ALTER TABLE {here} RENAME COLUMN {between} TO {}", ident(column.target)));
        }
        let (between, there) = (ident(&self.own("table", number)), ident(&self.after[&ground.target.schema]));
        list.push(format!("ALTER TABLE {here} RENAME TO {between}"));
        list.push(format!("ALTER TABLE {}.{between} SET SCHEMA {there}", ident(&self.before[&ground.source.schema])));
        list.push(format!("ALTER TABLE {there}.{between} RENAME TO {}", ident(&ground.target.name)));
        list.join("; ")
    }

    /// The reason when the server makes no such view.
    async fn create_view(
        &self,
        client: &Client,
        view: &ViewToRead<'_>,
    ) -> Result<Result<(), String>, tokio_postgres::Error> {
        if !is_one_query(view.definition) {
            return Ok(Err("its query cannot be read".to_owned()));
        }
        let Ok(text) = moved(view.definition, &self.moved) else {
            return Ok(Err("its query cannot be read".to_owned()));
        };
        let own = name(&self.before(view.source));
        if let Some(said) = self.refused(client, &format!("CREATE VIEW {own} AS {text}")).await? {
            return Ok(Err(format!("the target's server refuses it: {said}")));
        }
        if self.reads_the_same(client, view, &own).await? {
            return Ok(Ok(()));
        }
        client.batch_execute(&format!("DROP VIEW {own}")).await?;
        Ok(Err("on the target its query would read something else".to_owned()))
    }

    async fn reads_the_same(
        &self,
        client: &Client,
        view: &ViewToRead<'_>,
        own: &str,
    ) -> Result<bool, tokio_postgres::Error> {
        const READS: &str = "SELECT DISTINCT n.nspname::text, c.relname::text FROM pg_catalog.pg_rewrite r \
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
             AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'n' \
             JOIN pg_catalog.pg_class c ON c.oid = d.refobjid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE r.ev_class = pg_catalog.to_regclass($1::text) AND d.refobjid <> r.ev_class";
        let rows = client.query(READS, &[&own]).await?;
        let found: BTreeSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let wanted = view.reads.iter().map(|read| {
            let home = self.moved.get(*read).unwrap_or(read);
            (home.schema.as_str().to_owned(), home.name.as_str().to_owned())
        });
        Ok(found == wanted.collect())
    }

    /// The text with the target's schemas, `written` by their names here. One in a constant is no name that this could find.
    fn home(&self, text: &str, written: &BTreeMap<&str, String>) -> Result<String, String> {
        let unreadable = |_| "the target's server writes it as it cannot be read".to_owned();
        let list = tokens(text).map_err(unreadable)?;
        let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
        for token in &list {
            if let Some(schema) = token.name().and_then(|name| written.get(name)) {
                out.push_str(&text[copied..token.start]);
                out.push_str(schema);
                copied = token.end;
            } else if matches!(&token.kind, TokenKind::Text(text) if text.contains(&self.prefix)) {
                return Err("it names a table in a constant".to_owned());
            }
        }
        out.push_str(&text[copied..]);
        if out.contains(&self.prefix) {
            return Err("it names a table in a way that is not known".to_owned());
        }
        Ok(out)
    }
}
