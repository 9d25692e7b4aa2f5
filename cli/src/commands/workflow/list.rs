//! `shunt workflow list`

use shunt_engine::sidecar::{self, workflow};
use shunt_engine::workflow::verbs;

use crate::args::workflow::List;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

pub(in crate::commands) async fn run(args: &List, config: &Config) -> anyhow::Result<Exit> {
    let keyspace = config.keyspace(&args.keyspace)?;
    let mut control = verbs::connect(&keyspace.primary()?.connection()?).await?;
    let mut names = Vec::new();
    if sidecar::exists(&mut control).await? {
        let found = workflow::list(&mut control, &keyspace.name).await?;
        names.extend(found.into_iter().map(|workflow| workflow.spec.workflow));
    }
    control.close().await;
    match args.format {
        Format::Json => output::print_json(&names)?,
        Format::Text => output::print(&text(&keyspace.name, &names))?,
    }
    Ok(Exit::Done)
}

fn text(keyspace: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("No workflows found in keyspace {keyspace}\n");
    }
    format!("Following workflow(s) found in keyspace {keyspace}: {}\n", names.join(", "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_read_as_in_the_guide() {
        assert_eq!(super::text("customer", &[]), "No workflows found in keyspace customer\n");
        assert_eq!(
            super::text("customer", &["a".into(), "b".into()]),
            "Following workflow(s) found in keyspace customer: a, b\n"
        );
    }
}
