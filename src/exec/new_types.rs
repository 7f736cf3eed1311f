//! Types that a plan creates, for what is tried on the target before they are there.

use crate::pg::client::Client;
use crate::plan::{Op, Plan};
use crate::sql;

/// Statements that create the types which the target lacks yet, for the beginning of a transaction that is rolled back; empty,
/// or ended by a semicolon.
///
/// # Errors
/// The target cannot be asked.
pub async fn script(plan: &Plan, target: &Client) -> Result<String, tokio_postgres::Error> {
    let mut script = String::new();
    for step in &plan.steps {
        let Op::CreateType(create) = &step.op else { continue };
        let query = format!(
            "SELECT pg_catalog.to_regtype({}) IS NULL, pg_catalog.to_regnamespace({}) IS NULL",
            sql::literal(&sql::name(&create.name)),
            sql::literal(&sql::ident(&create.name.schema))
        );
        let lacks = target.query_one(&query, &[]).await?;
        if lacks.get(0) {
            // Asked of one that is there, the server still wants the right to create it.
            if lacks.get(1) {
                script.push_str(&format!("{}; ", sql::ddl::create_schema(&create.name.schema)));
            }
            script.extend(step.statements.iter().map(|statement| format!("{}; ", statement.sql)));
        }
    }
    Ok(script)
}
