//! Registered gateways: who holds queries during a cutover.
//!
//! A gateway registers under an id of its own and renews its lease; it confirms a switch's generation once it lets nothing of
//! the moved tables through any more (see [`super::switches`]). A coordinator counts only on gateways whose lease lives: one
//! that is past its lease must have stopped serving moved tables by itself.
//!
//! What a gateway owes, in this order:
//! 1. It takes the time of its lease **before** it sends the registration, by a clock that counts suspend
//!    ([`crate::runtime::clock`]), and serves nothing of a moved table after that time plus the lease.
//! 2. After every registration that follows a lapse, and after the first, it reads the switches and the rules anew before
//!    it serves anything: a coordinator that listed the gateways before it was there has announced its switch before that.
//! 3. It confirms `g`, the largest number of the holds in the document that it has read last, when all of them are held by it and no
//!    transaction that has written or locked their tables is open through it.
//! 4. It takes that back when its queue is full: what comes then is refused, which is worse than a switch that is taken back.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::Result;

/// The longest lease that a gateway may take.
pub const LEASE_MAX: Duration = Duration::from_secs(3);

/// A gateway as the topology has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its id, which belongs to one process for life.
    pub id: String,
    /// Where it listens, for people.
    pub address: String,
    /// How long its lease lasts from now on; `None` if it is over.
    pub lease_left: Option<Duration>,
    /// The largest generation that it has confirmed under this lease; 0 if none.
    pub generation_confirmed: u64,
}

/// The part of the topology that knows the gateways. As with [`super::Store`], all methods do I/O without blocking the
/// runtime's threads, and may be repeated after an error of kind Retry.
pub trait GatewayRegistry {
    /// Registers a gateway, or renews its lease: it lasts `ttl`, at most [`LEASE_MAX`], from now on. A lease that was over is
    /// taken anew, and what the gateway had confirmed is forgotten. `true` if it was taken anew or is the first.
    fn register_gateway<'a>(
        &'a self,
        id: &'a str,
        address: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Notes that the gateway holds every switch up to this generation. The error is of kind LeaseLost if its lease is over
    /// or it is not registered: then it has to register, and read switches and rules, again.
    fn confirm_generation<'a>(&'a self, id: &'a str, generation: u64) -> BoxFuture<'a, Result<()>>;

    /// Takes back what the gateway has confirmed: it cannot hold what comes any longer. Nothing happens if it is not registered.
    fn withdraw_generation<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// All gateways, by id, those whose lease is over included.
    fn gateways(&self) -> BoxFuture<'_, Result<Vec<Gateway>>>;

    /// Forgets a gateway that ends.
    fn remove_gateway<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
}
