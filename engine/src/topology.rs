//! The topology: what all shunt processes of an installation must agree on. Versioned documents (routing rules, announced
//! switches), the registrations of gateways, and named locks with leases.
//!
//! [`Store`] is the trait; [`sqlite`] keeps it in a file for processes of one machine. What the documents say is their
//! owners' business ([`switches`], [`crate::routing`]); to the store they are bytes.
//!
//! Invariants:
//! - Every write of a document is a compare-and-swap on its version. Versions only grow.
//! - A lock's fencing token grows with every change of owner and is never given twice. A lease alone protects nothing: its
//!   holder may have been asleep. What is done under a lock carries the token, and the place that is written refuses an
//!   older one.
//! - A topology has a UUID for life. A workflow keeps that of the topology it was made under, and its traffic is switched under
//!   no other: gateways and locks of another one would not take part.

pub mod gateways;
pub mod locks;
pub mod sqlite;
pub mod switches;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::error::Result;
use crate::runtime::clock::BootInstant;

pub use gateways::{Gateway, GatewayRegistry};

/// A document with the version that a later [`Store::put`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Counts its writes, from 1 on.
    pub version: u64,
    /// What was written.
    pub body: Vec<u8>,
}

/// How a compare-and-swap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Written; this is the document's version now.
    Written(u64),
    /// Somebody else has written; this is the document's version now, 0 if there is no such document. Read again, merge,
    /// put again.
    Conflict(u64),
}

/// A lock that is held, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lock's name.
    pub name: String,
    /// Who holds it.
    pub owner: String,
    /// Larger than that of every earlier owner.
    pub token: u64,
    /// It is surely valid until then: counted from before the request was sent, by a clock that counts suspend.
    pub valid_until: BootInstant,
}

/// Where the topology is kept.
///
/// All methods but `uuid` do I/O and wait for it without blocking the runtime's threads. A failure of kind Retry left nothing
/// half written, but the write may have happened: what each method says about repeating it holds then too. Dropping a
/// future does not take back a request that was sent.
pub trait Store: GatewayRegistry + fmt::Debug + Send + Sync {
    /// The topology's identity, the same for its lifetime. No I/O.
    fn uuid(&self) -> Uuid;

    /// The document of this key. May be repeated.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>>;

    /// Writes a document if its version is still `expected` (0: if there is none). Repeating it after a lost reply gives
    /// `Conflict` where the first attempt was written: read it and compare.
    fn put<'a>(&'a self, key: &'a str, expected: u64, body: Vec<u8>) -> BoxFuture<'a, Result<Put>>;

    /// Takes a lock that is free or expired; `None` while somebody else holds it. An owner's name belongs to one process
    /// for life. May be repeated: the holder gets its lease again, longer, under the same token.
    fn acquire<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>>>;

    /// Makes a lease last `ttl` from now. An expired one too, as long as nobody else took the lock. May be repeated.
    ///
    /// The error is of kind LeaseLost if the lock was released or has another owner.
    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<Lease>>;

    /// Gives a lock back; nothing happens if it is lost already. May be repeated.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<()>>;
}
