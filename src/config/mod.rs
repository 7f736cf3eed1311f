//! `pcrd.config.yml`: strict reading, connection settings, where passwords come from.

pub mod connect;
mod cutover;
pub mod endpoint;
pub mod environment;
pub mod keys;
pub mod load;
pub mod model;
pub mod params;
pub mod password;
pub mod pgpass;
pub mod redact;
pub mod schema_file;
pub mod service;
pub mod uri;

pub use connect::{EndpointError, Resolved};
pub use endpoint::Endpoint;
pub use environment::Environment;
pub use load::{ConfigErrors, load, parse};
pub use model::{Config, CutoverSettings, MigrateSettings, PoolerSettings, VerifySettings};
