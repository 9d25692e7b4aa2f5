//! A table's definition on both sides: read before it is compared, and once more before it counts as compared.
//!
//! Before this stands [`crate::run`], which makes a [`Pair`] of what is read; after it [`crate::table`], which asks again at the end.
//!
//! # Why it is asked before the record says *completed*
//! Rows are read by the columns that the pair has. One that is added meanwhile, or a key that is another one, is in no checksum, and a
//! table whose record says that it is completed is never compared again: not by `resume`, nor by the process that goes on after a
//! crash. So a record becomes *completed* only after both definitions were found to be those of the pair; if they are not, it stays as
//! it was saved last, with the old definition in it, and whoever goes on finds that and begins anew ([`crate::run`]).

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::schema::{self, TableKind, TableSchema};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::sql;
use shunt_engine::{Error, Result};

use crate::pair::Pair;

/// Where a table is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) server: ServerConfig,
    pub(crate) database: String,
    pub(crate) table: String,
}

/// Where a table is on both sides.
#[derive(Clone, Debug)]
pub(crate) struct Definitions {
    pub(crate) source: Place,
    pub(crate) target: Place,
}

impl Definitions {
    /// Reads both.
    pub(crate) async fn read(&self) -> Result<(TableSchema, TableSchema)> {
        Ok((self.source.read().await?, self.target.read().await?))
    }

    /// Whether both are still those that the pair was made of.
    ///
    /// # Errors
    /// Of the servers; Usage if a table is not there any more.
    pub(crate) async fn are_those_of(&self, pair: &Pair) -> Result<bool> {
        let (source, target) = self.read().await?;
        Ok(source.fingerprint() == pair.source.schema.fingerprint()
            && target.fingerprint() == pair.target.schema.fingerprint())
    }
}

impl Place {
    async fn read(&self) -> Result<TableSchema> {
        read_schema(&self.server, &self.database, &self.table).await
    }
}

/// Reads a table's definition once it holds still.
///
/// # Errors
/// Usage if there is no such table, or something else of this name; of the server.
pub(crate) async fn read_schema(
    server: &ServerConfig,
    database: &str,
    table: &str,
) -> Result<TableSchema> {
    let mut control = Control::connect(server, Session::Control).await?;
    let schema = schema::read_table_settled(&mut control, database, table).await?;
    let what = match &schema {
        Some(_) => None,
        None => what_else(&mut control, database, table).await?,
    };
    control.close().await;
    schema.ok_or_else(|| {
        let (name, address) = (sql::qualified(database, table), &server.address);
        match what {
            Some(what) => {
                Error::usage(format!("{name} on {address} is a {what}; only tables are compared"))
                    .advice("Leave it out.")
            }
            None => Error::usage(format!("there is no table {name} on {address}")),
        }
    })
}

/// What else than a table has this name.
async fn what_else(
    control: &mut Control,
    database: &str,
    name: &str,
) -> Result<Option<&'static str>> {
    let all = schema::list_tables(control, database).await?;
    let found = all.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    Ok(found.and_then(|(_, kind)| match kind {
        TableKind::View => Some("view"),
        TableKind::Sequence => Some("sequence"),
        TableKind::Base | TableKind::SystemVersioned | TableKind::Other => None,
    }))
}
