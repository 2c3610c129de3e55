//! How many requests a credential may make, in this process.

use std::{
    num::NonZeroU32,
    sync::Mutex,
    time::{Duration, Instant},
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::{authn::TokenHash, error::Error};

/// How many tokens are remembered before the ones that have not called lately are forgotten. Tokens
/// that nobody issued are remembered too, as only the database knows which were.
const REMEMBERED: usize = 10_000;

/// How often that is looked at.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// A rate limit a token.
#[derive(Debug)]
pub(crate) struct Limiter {
    tokens: DefaultKeyedRateLimiter<TokenHash>,
    clock: DefaultClock,
    /// When the ones that have not called lately were last forgotten. Forgetting looks at all of them.
    forgot: Mutex<Instant>,
}

impl Limiter {
    /// `per_second` requests a second, and as many again at once.
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        let quota =
            Quota::per_second(per_second).allow_burst(per_second.saturating_add(per_second.get()));
        Self {
            tokens: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            forgot: Mutex::new(Instant::now()),
        }
    }

    /// Counts a request, or says when to come back.
    pub(crate) fn check(&self, token: TokenHash) -> Result<(), Error> {
        if self.tokens.len() > REMEMBERED
            && let Ok(mut forgot) = self.forgot.try_lock()
            && forgot.elapsed() > FORGET_EVERY
        {
            self.tokens.retain_recent();
            *forgot = Instant::now();
        }
        self.tokens
            .check_key(&token)
            .map_err(|refused| Error::RateLimited {
                retry_after: refused
                    .wait_time_from(self.clock.now())
                    .max(Duration::from_secs(1)),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::{Presented, Tokens, issue};

    fn hash() -> TokenHash {
        let token = issue(None).unwrap().text;
        match Tokens::new(None).read(Some(&format!("Bearer {token}"))) {
            Ok(Presented::AllSites(hash)) => hash,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_credential_does_not_use_up_anothers_requests() {
        let limiter = Limiter::new(NonZeroU32::new(2).unwrap());
        let (busy, quiet) = (hash(), hash());
        let refused = (0..6).filter(|_| limiter.check(busy).is_err()).count();
        assert_eq!(refused, 2);
        assert!(limiter.check(quiet).is_ok());
    }
}
