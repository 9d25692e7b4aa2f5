//! A bound in bytes on what is held in memory between two tasks.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Bytes are counted in units, so that any budget fits the semaphore.
const UNIT: usize = 1 << 10;

/// Bytes that may be held at once. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    units_max: usize,
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    permit: OwnedSemaphorePermit,
}

impl Share {
    /// Gives back all but the least that a share can be.
    pub fn shrink(&mut self) {
        drop(self.permit.split(self.permit.num_permits().saturating_sub(1)));
    }
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> Self {
        let units_max = (bytes / UNIT).max(1);
        Self { semaphore: Arc::new(Semaphore::new(units_max)), units_max }
    }

    /// Waits until `bytes` are free and takes them. More than the whole budget counts as the whole: one large thing
    /// passes alone. Cancel-safe: nothing is taken if the wait is dropped.
    ///
    /// # Errors
    /// Never in practice: the semaphore is not closed.
    pub async fn take(&self, bytes: usize) -> Result<Share> {
        let units = (bytes / UNIT + 1).min(self.units_max);
        let units =
            u32::try_from(units).map_err(|_| Error::stop("a memory budget is too large"))?;
        let permit = self.semaphore.clone().acquire_many_owned(units).await;
        let permit =
            permit.map_err(|error| Error::stop("a memory budget is gone").source(error))?;
        Ok(Share { permit })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn has_room(budget: &Budget, bytes: usize) -> bool {
        tokio::time::timeout(Duration::from_millis(1), budget.take(bytes)).await.is_ok()
    }

    #[tokio::test]
    async fn a_share_that_shrinks_still_counts() {
        let budget = Budget::new(8 * UNIT);
        let mut large = budget.take(usize::MAX).await.unwrap();
        assert!(!has_room(&budget, 1).await);
        large.shrink();
        assert!(has_room(&budget, 6 * UNIT).await);
        let mut small = Vec::new();
        for _ in 0..7 {
            let mut share = budget.take(1).await.unwrap();
            share.shrink();
            small.push(share);
        }
        assert!(!has_room(&budget, 1).await, "eight of the least are all");
        drop(large);
        assert!(has_room(&budget, 1).await);
    }
}
