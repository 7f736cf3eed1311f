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
        let lacks = async |function: &str, name: String| {
            let query = format!("SELECT pg_catalog.{function}({}) IS NULL", sql::literal(&name));
            target.query_one(&query, &[]).await.map(|row| row.get::<_, bool>(0))
        };
        if lacks("to_regtype", sql::name(&create.name)).await? {
            for made in create.def.makes(&create.name) {
                // Asked of one that is there, the server still wants the right to create it.
                if lacks("to_regnamespace", sql::ident(&made.schema)).await? {
                    script.push_str(&format!("{}; ", sql::ddl::create_schema(&made.schema)));
                }
            }
            script.extend(step.statements.iter().map(|statement| format!("{}; ", statement.sql)));
        }
    }
    Ok(script)
}
