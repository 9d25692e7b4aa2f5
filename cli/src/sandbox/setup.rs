//! The first start of a sandbox: data directories, accounts, replication, the keyspace's database.
//!
//! Accounts are made on every server by itself and outside its binlog, so that primary and replicas start with empty
//! and equal GTID positions. The database is the first thing that is replicated.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::{Flavor, Version};
use shunt_engine::mysql::sql::{ident, literal};
use shunt_engine::{Error, Result};

use super::binary::Binary;
use super::layout::{create_private_dir, write_private};
use super::{APP_USER, Sandbox, SandboxServer, USER, template};
use crate::files::failed;

const REPLICATION_LIMIT: Duration = Duration::from_secs(60);

/// Makes and starts every server of a new sandbox.
pub(super) async fn run(sandbox: &Sandbox, binary: &Binary) -> Result<()> {
    // Once, before the servers would all make it at the same time.
    template::ensure(binary).await?;
    try_join_all(sandbox.servers().iter().map(|server| first_start(sandbox, server, binary)))
        .await?;
    let (primary, replicas) = sandbox.servers().split_at(1);
    let primary = &primary[0];
    try_join_all(replicas.iter().map(|replica| follow(replica, primary, binary))).await?;
    let mut control = Control::connect(&primary.config(), Session::Control).await?;
    control.execute(format!("CREATE DATABASE {}", ident(sandbox.name()))).await?;
    control.close().await;
    try_join_all(replicas.iter().map(|replica| wait_replicated(replica, sandbox.name()))).await?;
    Ok(())
}

async fn first_start(sandbox: &Sandbox, server: &SandboxServer, binary: &Binary) -> Result<()> {
    create_private_dir(&server.folder)?;
    template::create_datadir(binary, &server.datadir()).await?;
    let accounts = server.folder.join("accounts.sql");
    write_private(&accounts, account_statements(sandbox, binary).as_bytes())?;
    let started = server.start_with(&[format!("--init-file={}", accounts.display())]).await;
    // It holds passwords and is needed once.
    std::fs::remove_file(&accounts).map_err(failed("remove", &accounts))?;
    started
}

/// One statement a line, as servers read an init file.
fn account_statements(sandbox: &Sandbox, binary: &Binary) -> String {
    let password = literal(sandbox.primary().password.expose());
    let app_password = literal(sandbox.app_password().expose());
    // In a grant an underscore stands for any character.
    let database = ident(&sandbox.name().replace('_', "\\_"));
    let close_root = match binary.flavor {
        // The installer lets root in through the socket only, as the same user of this machine.
        Flavor::MariaDb => String::new(),
        Flavor::MySql if binary.version < Version(5, 7, 0) => {
            "DELETE FROM mysql.user;\nFLUSH PRIVILEGES;\n".to_owned()
        }
        Flavor::MySql => format!("ALTER USER 'root'@'localhost' IDENTIFIED BY {password};\n"),
    };
    format!(
        "SET sql_log_bin=0;\n{close_root}\
         CREATE USER '{USER}'@'%' IDENTIFIED BY {password};\n\
         GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n\
         CREATE USER '{APP_USER}'@'%' IDENTIFIED BY {app_password};\n\
         GRANT ALL PRIVILEGES ON {database}.* TO '{APP_USER}'@'%';\n"
    )
}

async fn follow(replica: &SandboxServer, primary: &SandboxServer, binary: &Binary) -> Result<()> {
    let doing = format!("replicate {} to {}", primary.alias, replica.alias);
    let mut control = Control::connect(&replica.config(), Session::Control).await?;
    for statement in follow_statements(primary, binary) {
        control.execute(statement).await.context(&doing)?;
    }
    control.close().await;
    Ok(())
}

fn follow_statements(primary: &SandboxServer, binary: &Binary) -> [String; 2] {
    let port = primary.port();
    let password = literal(primary.password.expose());
    let by_gtid = match binary.flavor {
        Flavor::MariaDb => "MASTER_USE_GTID=slave_pos",
        Flavor::MySql => "MASTER_AUTO_POSITION=1",
    };
    if binary.flavor == Flavor::MySql && binary.version >= Version(8, 0, 23) {
        return [
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, \
                 SOURCE_USER='{USER}', SOURCE_PASSWORD={password}, SOURCE_AUTO_POSITION=1, \
                 GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1"
            ),
            "START REPLICA".to_owned(),
        ];
    }
    [
        format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='{USER}', \
             MASTER_PASSWORD={password}, MASTER_CONNECT_RETRY=1, {by_gtid}"
        ),
        "START SLAVE".to_owned(),
    ]
}

/// What the replica says of its threads, behind a colon.
async fn replication_error(control: &mut Control) -> String {
    let mut why = String::new();
    for names in [
        ["Slave_IO_State", "Replica_IO_State"],
        ["Slave_IO_Running", "Replica_IO_Running"],
        ["Last_IO_Error", "Last_IO_Error"],
        ["Slave_SQL_Running", "Replica_SQL_Running"],
        ["Last_SQL_Error", "Last_SQL_Error"],
    ] {
        // Since MySQL 8.4 the statement has another name; then nothing is said.
        let said = control.named("SHOW SLAVE STATUS", &names).await.unwrap_or_default();
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            let separator = if why.is_empty() { ":" } else { ";" };
            why += &format!("{separator} {} {said}", names[0]);
        }
    }
    why
}

/// Waits until the keyspace's database has reached a replica: replication works.
async fn wait_replicated(replica: &SandboxServer, database: &str) -> Result<()> {
    let mut control = Control::connect(&replica.config(), Session::Control).await?;
    let deadline = Instant::now() + REPLICATION_LIMIT;
    let query = format!(
        "SELECT 1 FROM information_schema.schemata WHERE schema_name = {}",
        literal(database)
    );
    while control.row(&query).await?.is_none() {
        if Instant::now() >= deadline {
            let why = replication_error(&mut control).await;
            return Err(Error::stop(format!("replication to {} does not run{why}", replica.alias))
                .advice(format!("See {}.", replica.log().display())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    control.close().await;
    Ok(())
}
