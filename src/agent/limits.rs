//! How much anybody may ask for: sizes, deadlines, and requests a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections at once, those that are still greeting included.
pub const MAX_CONNECTIONS: usize = 1200;
/// Downloads and root file systems at once.
pub const MAX_TRANSFERS: usize = 50;
/// A TLS handshake takes no longer.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// The head of a request arrives within this, also the next one of a connection that is kept.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// The body of a request arrives within this.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// The head of an answer goes out within this.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(90);
/// A client that takes no byte for so long is dropped.
pub const STALL_DEADLINE: Duration = Duration::from_secs(60);
/// Most bytes of the body of a request.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// Most bytes of the head of a request.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// Longest wait for a change of a job.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// Most bytes of memory that a collection out of /proc reads when it is told nothing.
pub const DEFAULT_COLLECTION_BYTES: u64 = 4 << 30;

/// Clients whose rate is remembered.
const MAX_CLIENTS: usize = 4096;

/// How many requests a client may send: so many at once, and so many a second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once, after a rest.
    pub burst: f64,
    /// Grow back a second.
    pub per_second: f64,
}

/// For clients with a certificate.
pub const KNOWN: Rate = Rate { burst: 2000.0, per_second: 200.0 };
/// For everybody else: they may pair, and be refused.
pub const UNKNOWN: Rate = Rate { burst: 20.0, per_second: 0.5 };

/// Counts the requests of each client.
#[derive(Debug, Default)]
pub struct Limiter {
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    rate: Rate,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * self.rate.per_second;
        self.left = (self.left + grown).min(self.rate.burst);
        self.at = now;
    }
}

impl Limiter {
    /// Counts a request.
    ///
    /// # Errors
    /// It is one too many; the seconds after which the next is welcome.
    pub fn admit(&self, client: &str, rate: Rate, now: Instant) -> Result<(), u32> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if MAX_CLIENTS <= buckets.len() && !buckets.contains_key(client) {
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.left < bucket.rate.burst
            });
            if MAX_CLIENTS <= buckets.len() {
                return Err(60);
            }
        }
        let bucket = buckets.entry(client.to_owned()).or_insert(Bucket { left: rate.burst, at: now, rate });
        bucket.refill(now);
        if bucket.left < 1.0 {
            return Err(((1.0 - bucket.left) / rate.per_second).ceil() as u32);
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_that_asks_too_often_is_told_when_to_come_again_and_others_do_not_suffer() {
        let limiter = Limiter::default();
        let now = Instant::now();
        let rate = Rate { burst: 3.0, per_second: 0.5 };
        for _ in 0..3 {
            limiter.admit("a", rate, now).unwrap();
        }
        assert_eq!(limiter.admit("a", rate, now), Err(2));
        limiter.admit("b", rate, now).unwrap();
        limiter.admit("a", rate, now + Duration::from_secs(2)).unwrap();
        assert!(limiter.admit("a", rate, now + Duration::from_secs(2)).is_err());
    }

    #[test]
    fn number_of_clients_is_bounded_and_rested_ones_make_room() {
        let limiter = Limiter::default();
        let now = Instant::now();
        for n in 0..MAX_CLIENTS {
            limiter.admit(&n.to_string(), UNKNOWN, now).unwrap();
        }
        assert_eq!(limiter.admit("new", UNKNOWN, now), Err(60));
        limiter.admit("new", UNKNOWN, now + Duration::from_secs(10)).unwrap();
        assert_eq!(limiter.buckets.lock().unwrap().len(), 1);
    }
}
