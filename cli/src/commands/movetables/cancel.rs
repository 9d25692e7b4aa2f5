//! `shunt movetables cancel`: removes what the workflow made on the target, and only that.

use shunt_engine::mysql::sql;
use shunt_engine::workflow::status::{self, WorkflowStatus};
use shunt_engine::workflow::verbs;

use super::lock::Lock;
use super::site::Site;
use crate::args::workflow::Cancel;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: &Cancel, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    if args.dry_run {
        let status = status::read(&mut control, &name).await?;
        control.close().await;
        output::print(&what_would_go(&status, args.keep_data))?;
        return Ok(Exit::Done);
    }
    let lock = Lock::take(&site).await?;
    let cancelled = verbs::cancel(&mut control, &name, args.keep_data).await;
    lock.release().await;
    cancelled?;
    control.close().await;
    let kept = if args.keep_data { " Its tables on the target stay." } else { "" };
    output::print(&format!("Workflow {name} was cancelled.{kept}\n"))?;
    Ok(Exit::Done)
}

fn what_would_go(status: &WorkflowStatus, keep_data: bool) -> String {
    let spec = &status.workflow.spec;
    let mut text = format!("Workflow {} would be cancelled", spec.name());
    if keep_data {
        return text + "; its tables on the target stay.\n";
    }
    text += ":\n";
    for table in status.streams.iter().flat_map(|stream| &stream.tables) {
        let name = sql::qualified(&spec.target_database, &table.row.name);
        // A table that was there before was empty.
        let verb = if table.row.created { "DROP TABLE IF EXISTS" } else { "TRUNCATE TABLE" };
        text += &format!("{verb} {name};\n");
    }
    text
}
