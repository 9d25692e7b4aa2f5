//! `shunt grants`: what the accounts of the configuration need on both sides, as GRANT statements.

use shunt_engine::Result;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::preflight::Side;
use shunt_engine::preflight::needs::{self, Need};

use crate::args::Grants;
use crate::config::{Config, Keyspace};
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(args: &Grants, config: &Config) -> anyhow::Result<Exit> {
    let mut text = String::new();
    for (keyspace, side) in [(&args.source, Side::Source), (&args.target, Side::Target)] {
        text += &of_side(args, config.keyspace(keyspace)?, side).await?;
    }
    if text.is_empty() {
        text = "-- nothing is missing\n".to_owned();
    }
    output::print(&text)?;
    Ok(Exit::Done)
}

/// The statements of a side, by feature; what an earlier feature has listed is not listed again.
async fn of_side(args: &Grants, keyspace: &Keyspace, side: Side) -> Result<String> {
    let server = keyspace.primary()?.connection()?;
    let mut control = Control::connect(&server, Session::Control).await?;
    let account = needs::account(&mut control).await?;
    let mut listed: Vec<Need> = Vec::new();
    let mut text = String::new();
    for feature in &args.features {
        let mut needed = needs::of((*feature).into(), side, control.info());
        needed.retain(|need| {
            let known = listed.iter().any(|n| n.privilege == need.privilege && n.on == need.on);
            let held = !args.print && need.is_held(&account.grants, &keyspace.database);
            !known && !held
        });
        if needed.is_empty() {
            continue;
        }
        let why: Vec<&str> = needed.iter().map(|need| need.why).collect();
        let mut why_once = why.clone();
        why_once.dedup();
        let feature = needs::Feature::from(*feature);
        text += &format!("-- {}, {feature}: {}\n", keyspace.name, why_once.join("; "));
        for statement in needs::statements(&needed, &keyspace.database, &account.name) {
            text += &format!("{statement};\n");
        }
        listed.append(&mut needed);
    }
    control.close().await;
    Ok(text)
}
