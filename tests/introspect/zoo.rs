//! The zoo: `tests/fixtures/zoo.sql` on one server, and short ways to look at what was read.

use pcrd::catalog::{Catalog, Column, Ident, QualifiedName, Table};
use pcrd::pg::introspect;
use pcrd::pg::local::Cluster;
use tokio_postgres::Client;

use crate::support::{connect_to, run};

pub(crate) const SQL: &str = include_str!("../fixtures/zoo.sql");

pub(crate) struct Zoo {
    pub(crate) client: Client,
    // Dropped last: the server lives as long as its zoo.
    pub(crate) cluster: Cluster,
}

impl Zoo {
    pub(crate) async fn open(major: u32) -> Self {
        let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
        let client = connect_to(&cluster, "postgres").await;
        run(&client, SQL).await;
        Self { client, cluster }
    }

    pub(crate) async fn read(&self) -> Catalog {
        introspect::catalog(&self.client).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

pub(crate) fn id(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

pub(crate) fn ids(names: &[&str]) -> Vec<Ident> {
    names.iter().map(|name| id(name)).collect()
}

pub(crate) fn zoo(name: &str) -> QualifiedName {
    QualifiedName::new("zoo", name).unwrap()
}

pub(crate) fn table<'a>(catalog: &'a Catalog, name: &str) -> &'a Table {
    catalog.tables.get(&zoo(name)).unwrap_or_else(|| panic!("zoo.{name} was not read"))
}

pub(crate) fn column<'a>(table: &'a Table, name: &str) -> &'a Column {
    table.column(&id(name)).unwrap_or_else(|| panic!("column {name} was not read"))
}
