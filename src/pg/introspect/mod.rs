//! Interim.
use crate::catalog::*;
use tokio_postgres::Client;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct IntrospectError;
pub async fn server(_: &Client) -> Result<Server, IntrospectError> {
    Err(IntrospectError)
}
pub async fn tables(_: &Client, _: &[QualifiedName]) -> Result<Catalog, IntrospectError> {
    Err(IntrospectError)
}
