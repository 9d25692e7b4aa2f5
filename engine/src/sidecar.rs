//! The sidecar database `_shunt` on the target server: all state of a stream, beside the rows it covers.
//!
//! Whatever must survive lives here and nowhere else, so that rows and the position that covers them commit in one
//! transaction. Each function is one transaction, or a part of the caller's transaction where its doc says so, and is
//! named for its effect.

pub mod claims;
pub mod fence;
pub mod lease;
pub mod range;
pub mod reverse;
pub mod stream;
pub mod switch;
pub mod table_plan;
pub mod vdiff;
pub mod wanted;
pub mod watch;
pub mod workflow;

use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;

/// The server's time in microseconds since 1970, in SQL.
const NOW_US: &str = "CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS SIGNED)";

/// The version of the tables below. A sidecar with a newer one is refused: this binary would not keep its promises.
const SCHEMA_VERSION: u32 = 1;

const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS `_shunt`.`meta` (
        id TINYINT NOT NULL PRIMARY KEY,
        schema_version INT NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`workflow` (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        name VARCHAR(180) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
        target_keyspace VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        spec LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        desired VARCHAR(16) NOT NULL,
        created_s BIGINT NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`stream` (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        workflow_id BIGINT NOT NULL,
        state VARCHAR(16) NOT NULL,
        pos LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        log_file VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
        log_offset BIGINT UNSIGNED NOT NULL,
        source_identity TEXT CHARACTER SET utf8mb4 NOT NULL,
        ahead_until TEXT CHARACTER SET utf8mb4 NULL,
        message TEXT CHARACTER SET utf8mb4 NOT NULL,
        commits BIGINT UNSIGNED NOT NULL,
        updated_s BIGINT NOT NULL,
        KEY (workflow_id)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`epoch` (
        stream_id BIGINT NOT NULL PRIMARY KEY,
        epoch BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`lease` (
        stream_id BIGINT NOT NULL PRIMARY KEY,
        owner VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL,
        expires_us BIGINT NOT NULL,
        server_start_s BIGINT NOT NULL,
        connections TEXT CHARACTER SET utf8mb4 NOT NULL,
        progress LONGTEXT CHARACTER SET utf8mb4 NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`table_plan` (
        stream_id BIGINT NOT NULL,
        table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        fingerprint LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        create_sql LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        created TINYINT NOT NULL,
        keys_sql LONGTEXT CHARACTER SET utf8mb4 NULL,
        keys_built TINYINT NOT NULL,
        rows_estimate BIGINT UNSIGNED NOT NULL,
        bytes_estimate BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (stream_id, table_name)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`range` (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        stream_id BIGINT NOT NULL,
        table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        lower_key LONGTEXT CHARACTER SET utf8mb4 NULL,
        upper_key LONGTEXT CHARACTER SET utf8mb4 NULL,
        settled LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        row_count BIGINT UNSIGNED NOT NULL,
        byte_count BIGINT UNSIGNED NOT NULL,
        KEY (stream_id, table_name)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`journal` (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        workflow VARCHAR(180) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        at_s BIGINT NOT NULL,
        what VARCHAR(64) NOT NULL,
        detail LONGTEXT CHARACTER SET utf8mb4 NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`fence` (
        workflow VARCHAR(180) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
        generation BIGINT UNSIGNED NOT NULL,
        state VARCHAR(16) NOT NULL,
        closed_until_s BIGINT NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`switch` (
        workflow VARCHAR(180) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
        pass VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        generation BIGINT UNSIGNED NOT NULL,
        coordinator VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        settled TINYINT NOT NULL,
        plan LONGTEXT CHARACTER SET utf8mb4 NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`watch` (
        workflow VARCHAR(180) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
        generation BIGINT UNSIGNED NOT NULL,
        pos LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        owner VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        expires_s BIGINT NOT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`leak` (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        workflow VARCHAR(180) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        gtid VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        generation BIGINT UNSIGNED NOT NULL,
        what TEXT CHARACTER SET utf8mb4 NOT NULL,
        log_file VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
        log_offset BIGINT UNSIGNED NOT NULL,
        seen_s BIGINT NOT NULL,
        acknowledged_s BIGINT NULL,
        UNIQUE KEY (workflow, gtid)
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`vdiff` (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        uuid VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
        workflow VARCHAR(180) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        spec LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        desired VARCHAR(16) NOT NULL,
        state VARCHAR(16) NOT NULL,
        message TEXT CHARACTER SET utf8mb4 NOT NULL,
        owner VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL,
        expires_us BIGINT NOT NULL,
        created_s BIGINT NOT NULL,
        started_s BIGINT NULL,
        completed_s BIGINT NULL
    ) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_shunt`.`vdiff_table` (
        vdiff_id BIGINT NOT NULL,
        table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        state VARCHAR(16) NOT NULL,
        rows_compared BIGINT UNSIGNED NOT NULL,
        record LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
        PRIMARY KEY (vdiff_id, table_name)
    ) ENGINE=InnoDB",
];

/// Creates the sidecar where it is missing and checks its version.
///
/// # Errors
/// Stop if its tables are of a newer version of shunt.
pub async fn prepare(control: &mut Control) -> Result<()> {
    control
        .execute("CREATE DATABASE IF NOT EXISTS `_shunt`")
        .await
        .context("create the sidecar")?;
    for table in TABLES {
        control.execute(table).await.context("create the sidecar's tables")?;
    }
    control
        .execute(format!("INSERT IGNORE INTO `_shunt`.`meta` VALUES (1, {SCHEMA_VERSION})"))
        .await?;
    check_version(control).await
}

async fn check_version(control: &mut Control) -> Result<()> {
    let row = control.row("SELECT schema_version FROM `_shunt`.`meta` WHERE id = 1").await?;
    let version: u32 = row.map(|row| row.number(0)).transpose()?.unwrap_or(0);
    if version > SCHEMA_VERSION {
        return Err(Error::stop(format!(
            "the sidecar on the target has version {version}, this shunt knows {SCHEMA_VERSION}"
        ))
        .advice("Use the newer shunt that made it."));
    }
    Ok(())
}

/// The id of the row that was inserted last.
async fn last_id(control: &mut Control) -> Result<u64> {
    let row = control.row("SELECT LAST_INSERT_ID()").await?;
    row.ok_or_else(|| Error::stop("the sidecar gave no id"))?.number(0)
}

/// Whether the server has a sidecar; its version is checked if it does.
///
/// # Errors
/// Of the connection, or Stop for a newer version.
pub async fn exists(control: &mut Control) -> Result<bool> {
    match check_version(control).await {
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    }
}
