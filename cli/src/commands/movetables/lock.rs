//! The topology's lock of a workflow, held while the workflow is made or started.

use std::sync::Arc;
use std::time::Duration;

use shunt_engine::Result;
use shunt_engine::topology::Store;
use shunt_engine::topology::locks::Locks;
use shunt_engine::topology::sqlite::SqliteStore;

use super::site::Site;

/// Takes it when the command that has it is done, if that is within `patience`.
pub(super) async fn take(site: &Site<'_>, patience: Duration) -> Result<Locks> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&site.config.topology).await?);
    Locks::wait(&store, &site.name.to_string(), &[], patience).await
}
