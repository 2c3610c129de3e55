//! Following events as they are written.
//!
//! One feed a process (`feed.rs`) reads what is new from the database and hands it to all watchers
//! (`watcher.rs`) through one queue of bounded length. A watcher that begins in the past, or has fallen
//! behind the queue, reads on by itself until it has caught up; only a few do so at once. Where a watcher
//! stands is its own: nothing of it is kept here, and any process goes on from its token (`token.rs`).
//!
//! - Of one site a watcher knows the last number: numbers have no gaps in the order of commits.
//! - Of all sites it knows a cursor over positions (`cursor.rs`).

mod cursor;
mod feed;
mod read;
mod token;
mod watcher;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, broadcast, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::watcher::Watched;
use self::{cursor::Cursor, feed::Feed, read::Found, token::Bound, watcher::Watcher};
use super::kinds::Kinds;
use crate::{
    authn::Presented,
    context::RequestContext,
    credentials::{Credential, LastUse},
    db::Db,
    error::{Error, TokenFault},
    ids::CredentialId,
    metrics::WatchMetrics,
    site_tx::Identity,
};

/// How many events wait for watchers that are slow, at the most; with those that are large cut, some 64 MiB
/// at the worst.
const QUEUE: usize = 2048;
/// How many watches a credential may have at one process.
const WATCHES_MAX: usize = 100;
/// How long a watch waits for the feed to run before it is told to come back.
const FEED_WAIT: Duration = Duration::from_secs(5);

/// Where a watch stands: all up to there was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    /// At a number of its site.
    Site(i64),
    /// In the stream of all sites.
    All(Cursor),
}

/// Where a watch is to begin.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Now,
    /// After the event of this number.
    After(i64),
    /// Where this token, as it was sent, says.
    Token(String),
}

/// What a watch asks for.
#[derive(Clone, Debug)]
pub(crate) struct WatchQuery {
    pub(crate) start: Start,
    pub(crate) kinds: Kinds,
    /// After how long without an event a heartbeat is sent.
    pub(crate) heartbeat: Duration,
}

/// Opens a watch.
pub(crate) async fn open(
    identity: &Identity,
    context: RequestContext,
    input: Result<WatchQuery, Error>,
) -> Result<Watched, Error> {
    let query = input.as_ref().ok().cloned();
    let of_all = matches!(context.presented, Ok(Presented::AllSites(_))) && context.site.is_none();
    let (credential, site, begins) = if of_all {
        // Each statement needs a snapshot of its own, which a transaction for writing has.
        identity
            .anywhere(context.clone(), false, input, |tx, caller, query| {
                let settled: read::Settled = tx.one(read::settled(None))?;
                let visible: Vec<read::Position> = tx.load(read::positions(settled.horizon))?;
                let now = read::cursor_of(&visible, settled.horizon);
                let restoration = tx.load::<read::Restoration>(read::restoration())?.pop();
                let bound = Bound::to(None, &query.kinds, restoration);
                let place = begin(query, &bound, &Place::All(now))?;
                Ok((caller.credential().cloned(), None, (place, bound)))
            })
            .await?
    } else {
        identity
            .read(context.clone(), input, |tx, query| {
                let site = tx.site.id;
                let restoration = tx.load::<read::Restoration>(read::restoration())?.pop();
                let bound = Bound::to(Some(site), &query.kinds, restoration);
                let place = begin(query, &bound, &Place::Site(tx.site.revision))?;
                Ok((tx.caller.credential().cloned(), Some(site), (place, bound)))
            })
            .await?
    };
    let (Some(credential), Some(query)) = (credential, query) else {
        return Err(Error::bug("a watch without a credential or a query"));
    };
    let registration = identity.watches.register(credential)?;
    let watcher = Watcher::new(identity, context, query, site, begins, registration);
    Ok(watcher.into_stream())
}

/// Where a watch begins, now being `now`.
fn begin(query: &WatchQuery, bound: &Bound, now: &Place) -> Result<Place, Error> {
    let place = match (&query.start, now) {
        (Start::Now, _) => return Ok(now.clone()),
        (Start::After(number), Place::Site(_)) => Place::Site(*number),
        (Start::After(0), Place::All(_)) => Place::All(Cursor::at_the_beginning()),
        (Start::After(_), Place::All(_)) => {
            return Err(Error::invalid(
                "after",
                "must be 0 where all sites are watched: numbers are each site's own",
            ));
        }
        (Start::Token(token), _) => bound.read(token, matches!(now, Place::All(_)))?,
    };
    // A place that is not there yet was, once: in a database that has lost what it had written. Whoever
    // waited there would miss what is written instead.
    let lost = match (&place, now) {
        (Place::Site(number), Place::Site(revision)) => number > revision,
        (Place::All(cursor), Place::All(now)) => cursor.top() > now.top(),
        _ => true,
    };
    match (lost, &query.start) {
        (false, _) => Ok(place),
        (true, Start::Token(_)) => Err(Error::ResumeTokenInvalid),
        (true, _) => Err(Error::invalid(
            "after",
            "is greater than the site's revision",
        )),
    }
}

/// What the watchers of this process share. Clones share it too.
#[derive(Clone)]
pub(crate) struct Watches {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Mutex<Registry>,
    queue: broadcast::Sender<Arc<Found>>,
    feed: watch::Sender<FeedState>,
    wake: mpsc::SyncSender<()>,
    /// A turn to read on by oneself.
    readers: Semaphore,
    stop: CancellationToken,
    metrics: WatchMetrics,
    /// What moments of watchers are counted from.
    started: Instant,
}

/// What the feed does.
#[derive(Clone, Copy, Debug)]
struct FeedState {
    /// Whether everything from now on will be handed to the watchers.
    runs: bool,
    /// When the database last answered it.
    looked: Instant,
}

#[derive(Debug, Default)]
struct Registry {
    last: u64,
    watchers: HashMap<u64, Registered>,
}

#[derive(Debug)]
struct Registered {
    credential: Credential,
    end: Option<oneshot::Sender<TokenFault>>,
    /// When it last had nothing left to send, in milliseconds.
    caught_up: Arc<AtomicU64>,
}

/// A watcher's entry; given up when dropped.
struct Registration {
    shared: Arc<Shared>,
    number: u64,
    queue: broadcast::Receiver<Arc<Found>>,
    /// Answers when the credential stops working.
    end: oneshot::Receiver<TokenFault>,
    caught_up: Arc<AtomicU64>,
}

impl Watches {
    /// Starts the feed's thread, which waits for a first watcher. `stop` ends all watches.
    pub(crate) fn start(
        db: &Db,
        last_use: LastUse,
        metrics: WatchMetrics,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let shared = Arc::new(Shared {
            registry: Mutex::default(),
            queue: broadcast::channel(QUEUE).0,
            feed: watch::Sender::new(FeedState {
                runs: false,
                looked: Instant::now(),
            }),
            wake,
            readers: Semaphore::new(db.spare()),
            stop,
            metrics,
            started: Instant::now(),
        });
        let feed = Feed::new(db.clone(), last_use, shared.clone(), woken);
        std::thread::Builder::new()
            .name("event-feed".to_owned())
            .spawn(move || feed.run())?;
        Ok(Self { shared })
    }

    /// Says that this process has written an event.
    pub(crate) fn wake(&self) {
        self.shared.wake();
    }

    fn register(&self, credential: Credential) -> Result<Registration, Error> {
        let (end, ended) = oneshot::channel();
        let mut registry = self.shared.registry();
        let id: CredentialId = credential.id;
        let held = registry.watchers.values();
        if held.filter(|watcher| watcher.credential.id == id).count() >= WATCHES_MAX {
            return Err(Error::LimitExceeded {
                limit: "watches of the credential at this process",
                maximum: WATCHES_MAX as i64,
            });
        }
        registry.last += 1;
        let number = registry.last;
        let caught_up = Arc::new(AtomicU64::new(self.shared.millis()));
        let registered = Registered {
            credential,
            end: Some(end),
            caught_up: caught_up.clone(),
        };
        registry.watchers.insert(number, registered);
        let queue = self.shared.queue.subscribe();
        drop(registry);
        self.shared.metrics.watchers.inc();
        self.shared.wake();
        Ok(Registration {
            shared: self.shared.clone(),
            number,
            queue,
            end: ended,
            caught_up,
        })
    }

    /// Measures for the metrics how far behind watchers are. A client that reads nothing is asked by nobody: its
    /// watcher can't tell itself.
    pub(crate) fn measure(&self) {
        let watchers = &self.shared.registry().watchers;
        let times = watchers.values().map(|watcher| &watcher.caught_up);
        let first = times.map(|at| at.load(Ordering::Relaxed)).min();
        let behind = first.map_or(0, |at| self.shared.millis().saturating_sub(at));
        let behind = Duration::from_millis(behind).as_secs_f64();
        self.shared.metrics.behind_seconds.set(behind);
    }
}

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wake(&self) {
        // Where one waits already, the feed will look after this moment anyway.
        let _waits = self.wake.try_send(());
    }
}

impl Registration {
    /// Says that the watcher has nothing left to send.
    fn is_caught_up(&self) {
        self.caught_up
            .store(self.shared.millis(), Ordering::Relaxed);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.registry().watchers.remove(&self.number);
        self.shared.metrics.watchers.dec();
    }
}
