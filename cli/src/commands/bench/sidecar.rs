//! The sidecar of a target that had none: a bench removes it again, unless somebody else has begun to use it.

use shunt_engine::Result;
use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::sql;

const SIDECAR: &str = "_shunt";

/// Whether the server has a database of that name, whatever is in it.
pub(super) async fn is_there(control: &mut Control) -> Result<bool> {
    let query = format!(
        "SELECT 1 FROM information_schema.schemata WHERE schema_name = {}",
        sql::literal(SIDECAR)
    );
    Ok(control.row(query).await?.is_some())
}

/// Removes the sidecar if nothing is in it but what the bench left: the version, and what is kept of its forgotten workflow.
///
/// Between the last look, which is at the workflows, and the DROP lies one round trip. The `create` of a workflow that falls into it
/// finds the sidecar gone when it goes on, and fails; it can be given again.
pub(super) async fn remove_unused(server: &ServerConfig, workflow: &str) -> Result<()> {
    let doing = "look whether the sidecar is used";
    let mut control = Control::connect(server, Session::Control).await?;
    // A bench that failed early has made none.
    let there = is_there(&mut control).await.context(doing)?;
    if there && !is_used(&mut control, workflow).await.context(doing)? {
        control
            .execute(format!("DROP DATABASE {}", sql::ident(SIDECAR)))
            .await
            .context("remove the sidecar")?;
    }
    control.close().await;
    Ok(())
}

async fn is_used(control: &mut Control, workflow: &str) -> Result<bool> {
    let query = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = {} \
         ORDER BY table_name = 'workflow'",
        sql::literal(SIDECAR)
    );
    for row in control.rows(query).await? {
        let table = row.must(0)?;
        let others = match table.as_str() {
            "meta" => continue,
            // Of a workflow that is forgotten these two still know.
            "journal" | "switch" => format!(" WHERE workflow <> {}", sql::literal(workflow)),
            // Also one that this shunt does not know.
            _ => String::new(),
        };
        let name = sql::qualified(SIDECAR, &table);
        if control.row(format!("SELECT 1 FROM {name}{others} LIMIT 1")).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
