//! The one model of a schema: source, present target and wanted target are all a [`Catalog`].
//!
//! Pure: no connection, clock, environment or file. Introspection fills it (`pg::introspect`).

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod acl;
pub mod column;
pub mod drift;
pub mod fingerprint;
pub mod index;
pub mod model;
pub mod name;
pub mod partitioning;
pub mod policy;
pub mod statistics;
pub mod trigger;
pub mod type_def;
pub mod view;

pub use acl::*;
pub use column::*;
pub use fingerprint::Fingerprint;
pub use index::*;
pub use model::*;
pub use name::{Ident, NameError, QualifiedName};
pub use partitioning::{Partition, PartitionBy, PartitionMethod, Partitioning};
pub use policy::{Policy, PolicyCommand, PolicyDef, RowSecurity};
pub use statistics::{Statistics, StatisticsDef, StatisticsKind};
pub use trigger::{Firing, FunctionDef, Trigger, TriggerDef, TriggerEvent, TriggerFunction, TriggerTiming};
pub use type_def::{Attribute, RangeDef, TypeDef};
pub use view::{Materialized, View, ViewDef};
