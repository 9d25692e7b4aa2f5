//! A range as one number on each side: folded by the servers (fast) or of rows that travel (strong).
//!
//! *Fast*: for each row the servers multiply two 32-bit checksums of its framed text (see [`crate::frame`]), and fold the
//! 64-bit products of a range with exclusive or; only that and the number of rows travel. The product matters: each checksum is linear,
//! so that two rows that have exchanged equally long values would leave their exclusive or as it was; products have no
//! such relation. *Strong*: both servers send all rows, which are hashed here with 128 bits each ([`crate::hash`]).

use std::collections::VecDeque;

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::server::{Flavor, ServerInfo, Version};
use shunt_engine::mysql::wire::Wire;
use shunt_engine::{Error, Result};
use tokio::sync::oneshot;

use crate::frame::Sums;
use crate::hash::{Block, Fold, HashPool};
use crate::keys;
use crate::limits;
use crate::pair::{Pair, Range, Side};
use crate::sides::Sides;
use crate::spec::Strength;

/// How ranges are folded.
#[derive(Clone, Debug)]
pub enum Folding {
    /// By the servers.
    Fast(Sums),
    /// Here.
    Strong(HashPool),
}

impl Folding {
    /// The folding for a strength and two servers.
    ///
    /// # Errors
    /// Usage if `fast` is asked for and a server cannot; Retry if threads cannot be started.
    pub async fn choose(
        strength: Strength,
        sides: &mut Sides,
        pair: &Pair,
        threads: usize,
    ) -> Result<Self> {
        let chained = has_crc32c(sides.source.info())
            && has_crc32c(sides.target.info())
            && Sums::Chained.depth(&pair.columns) <= limits::SUM_DEPTH_MAX;
        let packets = smallest_packet(sides).await?;
        let sums = if chained { Sums::Chained } else { Sums::Reversed };
        let safe = chained || packets >= limits::PACKET_MIN;
        match strength {
            Strength::Fast if !safe => Err(Error::usage(format!(
                "max_allowed_packet is {packets} on one of the servers, too small for checksums of rows"
            ))
            .advice("Raise it to 1 MiB, or use --strength strong.")),
            // Without CRC32C the sums cost more than sending the rows; what is left of fast is that rows do not travel.
            Strength::Auto if !chained => Ok(Self::Strong(HashPool::new(threads)?)),
            Strength::Fast | Strength::Auto => Ok(Self::Fast(sums)),
            Strength::Strong => Ok(Self::Strong(HashPool::new(threads)?)),
        }
    }

    /// What the report says.
    pub fn describe(&self, keyed: bool) -> String {
        match self {
            Self::Fast(sums) => {
                let fold = if keyed { "exclusive or" } else { "sum" };
                format!("fast: 64 bits, {fold} of {}", sums.name())
            }
            Self::Strong(_) => "strong: 128 bits, xxh3 of every row".into(),
        }
    }

    /// Folds a range on both sides at once, in their open snapshots.
    ///
    /// # Errors
    /// Of the servers.
    pub async fn fold(&self, sides: &mut Sides, pair: &Pair, range: &Range) -> Result<[Fold; 2]> {
        let (source, target) = match self {
            Self::Fast(sums) => {
                let query = |side| pair.fold_query(side, range, *sums);
                let (source, target) = (query(Side::Source), query(Side::Target));
                tokio::join!(
                    on_server(&mut sides.source, source),
                    on_server(&mut sides.target, target)
                )
            }
            Self::Strong(pool) => {
                let query = |side| pair.rows_query(side, range);
                let (source, target) = (query(Side::Source), query(Side::Target));
                tokio::join!(
                    here(&mut sides.source, source, pool),
                    here(&mut sides.target, target, pool)
                )
            }
        };
        let explained = |error| keys::explained(error, &pair.name);
        let (source, target) = (source.map_err(explained), target.map_err(explained));
        Ok([source.context("fold the source's rows")?, target.context("fold the target's rows")?])
    }
}

/// MariaDB from 10.8 on has CRC32C, and both sums with a start value.
fn has_crc32c(server: &ServerInfo) -> bool {
    server.flavor == Flavor::MariaDb && server.version >= Version(10, 8, 0)
}

async fn smallest_packet(sides: &mut Sides) -> Result<u64> {
    let mut smallest = u64::MAX;
    for wire in [&mut sides.source, &mut sides.target] {
        let rows = wire.rows("SELECT @@global.max_allowed_packet").await?;
        smallest = smallest.min(rows.first().map_or(Ok(0), |row| row.number(0))?);
    }
    Ok(smallest)
}

async fn on_server(wire: &mut Wire, query: Vec<u8>) -> Result<Fold> {
    let rows = wire.rows(query).await?;
    let row = rows.first().ok_or_else(|| Error::stop("a checksum has no row"))?;
    // A range without rows adds up to NULL.
    let sum = row.text(1).map_or(Ok(0), |text| text.parse());
    let sum = sum.map_err(|_| Error::stop("a checksum of a server is not a number"))?;
    Ok(Fold { rows: row.number(0)?, sum })
}

async fn here(wire: &mut Wire, query: Vec<u8>, pool: &HashPool) -> Result<Fold> {
    let mut fold = Fold::default();
    let mut parts: VecDeque<oneshot::Receiver<Fold>> = VecDeque::new();
    let mut block = Block::default();
    wire.start_rows(query).await?;
    while let Some(row) = wire.next_row().await? {
        if row.len() > limits::LARGE_ROW {
            fold.add(row);
            continue;
        }
        block.push(row);
        if block.is_full() {
            parts.push_back(pool.submit(std::mem::take(&mut block)).await?);
            if parts.len() >= limits::BLOCKS_PER_THREAD {
                take_part(&mut parts, &mut fold).await?;
            }
        }
    }
    if !block.is_empty() {
        parts.push_back(pool.submit(block).await?);
    }
    while !parts.is_empty() {
        take_part(&mut parts, &mut fold).await?;
    }
    Ok(fold)
}

async fn take_part(parts: &mut VecDeque<oneshot::Receiver<Fold>>, fold: &mut Fold) -> Result<()> {
    if let Some(part) = parts.pop_front() {
        fold.merge(part.await.map_err(|_| Error::stop("a hashing thread is gone"))?);
    }
    Ok(())
}
