//! How much of the process large bodies may take: its memory, before anybody has looked at their token, and its
//! threads. Both belong to the process, so they are kept once and not with each router.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{LazyLock, mpsc},
    thread,
};

use scim_protocol::ScimError;
use tokio::{
    sync::{Semaphore, SemaphorePermit, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tracing::Span;

use crate::refusal::Refusal;

/// How many bytes all large bodies may have together: two of the largest of groups, as it is set usually.
pub(crate) const ALL_BODIES: usize = 64 << 20;

/// How large a body may be that is read where it is; a larger one would hold up other requests meanwhile.
const READ_HERE: usize = 64 << 10;

/// A size, for work whose own is not known, that is not done where it is.
pub(crate) const NOT_HERE: usize = READ_HERE + 1;

/// How many of the others are read at a time. More would not be done sooner, and JSON that has been read takes
/// many times its size until it is translated.
const READERS: usize = 4;

/// From which size on a body is read one after another, on one thread: the allocator keeps what a thread had for
/// its next time, and a hundred threads may each have had half a gigabyte.
const READ_ALONE: usize = 1 << 20;

const UNIT: usize = 1 << 10;

static FREE: Semaphore = Semaphore::const_new(ALL_BODIES / UNIT);
static TURNS: Semaphore = Semaphore::const_new(READERS);

/// Room for one large body, given back when it is dropped. The default is none: for a body that needs none.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<SemaphorePermit<'static>>);

impl Room {
    /// Room for so many bytes, where there is enough before it is too late.
    pub(crate) async fn of(bytes: usize, late: Instant) -> Result<Self, Refusal> {
        let units = u32::try_from(bytes.min(ALL_BODIES).div_ceil(UNIT)).unwrap_or(u32::MAX);
        match timeout_at(late, FREE.acquire_many(units)).await {
            Ok(Ok(permit)) => Ok(Self(Some(permit))),
            // It is never closed, so it was too late.
            _ => Err(Refusal::busy()),
        }
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

/// Does the work on a body of this size where it holds nobody up. Once begun it is done to its end, also where
/// the request is given up meanwhile, and what it holds is held until then.
pub(crate) async fn apart<T: Send + 'static>(
    size: usize,
    late: Instant,
    work: impl FnOnce() -> Result<T, ScimError> + Send + 'static,
) -> Result<T, Refusal> {
    if size <= READ_HERE {
        return Ok(work()?);
    }
    let span = Span::current();
    let work = move || panic::catch_unwind(AssertUnwindSafe(|| span.in_scope(work)));
    let outcome = if size > READ_ALONE {
        timeout_at(late, alone(work)).await.ok().flatten()
    } else {
        let Ok(Ok(turn)) = timeout_at(late, TURNS.acquire()).await else {
            return Err(Refusal::busy());
        };
        let done = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.ok()
    };
    match outcome {
        Some(Ok(outcome)) => Ok(outcome?),
        // Answered like any other panic of a handler.
        Some(Err(panic)) => panic::resume_unwind(panic),
        // It is too late, or the process stops.
        None => Err(Refusal::busy()),
    }
}

/// Does the work on the thread of the large ones when its turn comes, unless nobody waits for it any more.
async fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static QUEUE: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (queue, jobs) = mpsc::channel::<Job>();
        let reader = move || jobs.into_iter().for_each(|job| job());
        let named = thread::Builder::new().name("large-bodies".to_owned());
        if let Err(error) = named.spawn(reader) {
            tracing::error!(%error, "large bodies can't be read");
        }
        queue
    });
    let (tell, told) = oneshot::channel();
    let job = move || {
        if !tell.is_closed() {
            // Who has left meanwhile needs no answer.
            tell.send(work()).ok();
        }
    };
    QUEUE.send(Box::new(job)).ok()?;
    told.await.ok()
}

type Job = Box<dyn FnOnce() + Send>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn two_of_the_largest_have_room_and_a_third_does_not_wait_for_ever() {
        let soon = || Instant::now() + Duration::from_millis(20);
        let one = Room::of(32 << 20, soon()).await.unwrap();
        let other = Room::of(32 << 20, soon()).await.unwrap();
        assert!(one.is_some() && other.is_some() && !Room::default().is_some());
        let refusal = Room::of(1, soon()).await.unwrap_err();
        assert_eq!(refusal.error.status, 429);
        assert!(refusal.retry_after.is_some());
        drop(one);
        drop(Room::of(32 << 20, soon()).await.unwrap());
        drop(other);
        // What is larger than all there is gets all there is.
        Room::of(usize::MAX, soon()).await.unwrap();
    }

    #[tokio::test]
    async fn large_work_is_done_elsewhere() {
        let here = thread::current().id();
        let late = Instant::now() + Duration::from_secs(5);
        let thread = |size| apart(size, late, || Ok(thread::current().id()));
        assert_eq!(thread(READ_HERE).await.unwrap(), here);
        assert_ne!(thread(NOT_HERE).await.unwrap(), here);
        let alone = thread(READ_ALONE + 1).await.unwrap();
        assert_ne!(alone, here);
        assert_eq!(thread(usize::MAX).await.unwrap(), alone);
        for size in [0, NOT_HERE, usize::MAX] {
            let work = || -> Result<(), _> { Err(ScimError::invalid_syntax("x")) };
            assert!(apart(size, late, work).await.unwrap_err().is_ours());
        }
    }

    #[tokio::test]
    async fn large_work_is_not_begun_too_late_and_survives_a_panic() {
        let soon = Instant::now() + Duration::from_millis(50);
        let slow = apart(usize::MAX, soon, || {
            thread::sleep(Duration::from_millis(200));
            Ok(())
        });
        let never = apart(usize::MAX, soon, || -> Result<(), _> {
            panic!("nobody waits for this")
        });
        let (slow, never) = tokio::join!(slow, never);
        assert_eq!(slow.unwrap_err().error.status, 429);
        assert_eq!(never.unwrap_err().error.status, 429);
        let late = Instant::now() + Duration::from_secs(5);
        for size in [NOT_HERE, usize::MAX] {
            let panics = apart(size, late, || -> Result<(), _> { panic!("for the test") });
            assert!(tokio::spawn(panics).await.unwrap_err().is_panic());
            assert!(apart(size, late, || Ok(())).await.is_ok());
        }
    }
}
