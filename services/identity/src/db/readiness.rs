//! Whether the database can be worked with, looked at again and again over a connection of its own: a pool in which
//! everybody waits says nothing of the database.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Array, Bool, Nullable, Text},
};
use tokio::{sync::watch, task::JoinHandle, task::spawn_blocking, time::timeout};

use super::{
    migrate,
    pool::{Manager, explain},
};

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// After how long a look is given up that does not come back, and another connection is made.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How many may be given up and still wait.
const GIVEN_UP: usize = 2;
/// After how long a connection is made anew, sooner than those of the pool: a name or a proxy may lead to another server.
const RENEWED: Duration = Duration::from_secs(60);

/// Why the database can't be worked with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum NotReady {
    /// It does not answer; how that shows.
    Away(String),
    /// It takes no writes: a standby, or a primary that became one.
    ReadOnly,
    /// It lacks migrations of this binary: the first one.
    Behind(String),
    /// Its migrations can't be read.
    Unreadable(String),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(how) => f.write_str(how),
            Self::ReadOnly => f.write_str(
                "the database takes no writes: it is a standby, or default_transaction_read_only is on",
            ),
            Self::Behind(first) => write!(
                f,
                "the database lacks migrations, {first} first: run `identity migrate`"
            ),
            Self::Unreadable(why) => write!(f, "the database's migrations can't be read: {why}"),
        }
    }
}

/// What was seen last. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Readiness(Arc<watch::Sender<Result<(), NotReady>>>);

impl Readiness {
    /// Nothing was looked at yet.
    pub(super) fn new() -> Self {
        let unknown = NotReady::Away("the database was not looked at yet".to_owned());
        Self(Arc::new(watch::Sender::new(Err(unknown))))
    }

    pub(super) fn last(&self) -> Result<(), NotReady> {
        self.0.borrow().clone()
    }
}

/// Looks at the database.
pub(crate) struct Look {
    url: String,
    readiness: Readiness,
    /// With when it was made.
    connection: Option<(PgConnection, Instant)>,
    /// In which language the database speaks.
    language: String,
    /// A look that has not come back, and when it began: the database stands still.
    pending: Option<(JoinHandle<Seen>, Instant)>,
    /// Looks that were given up, and whose threads may wait for ever.
    given_up: Vec<JoinHandle<Seen>>,
}

struct Seen {
    /// To be used again: one that told of nothing wrong.
    connection: Option<(PgConnection, Instant)>,
    language: Option<String>,
    outcome: Result<(), NotReady>,
}

impl Seen {
    fn wrong(why: NotReady) -> Self {
        Self {
            connection: None,
            language: None,
            outcome: Err(why),
        }
    }
}

impl Look {
    pub(super) fn new(url: &str, readiness: Readiness) -> Self {
        Self {
            url: url.to_owned(),
            readiness,
            connection: None,
            language: String::new(),
            pending: None,
            given_up: Vec::new(),
        }
    }

    /// Looks, and lets everybody know.
    pub(crate) async fn again(&mut self) -> Result<(), NotReady> {
        self.given_up.retain(|look| !look.is_finished());
        if let Some((look, _)) = self
            .pending
            .take_if(|(_, begun)| begun.elapsed() > GIVE_UP && self.given_up.len() < GIVEN_UP)
        {
            // A server that stands still behind a network that does not is never noticed by the connection. Another
            // one may lead to who has taken its place.
            self.given_up.push(look);
        }
        let (mut look, begun) = self.pending.take().unwrap_or_else(|| {
            let connection = self.connection.take();
            let connection = connection.filter(|(_, made)| made.elapsed() < RENEWED);
            let url = self.url.clone();
            let look = spawn_blocking(move || look(&url, connection));
            (look, Instant::now())
        });
        let seen = match timeout(PATIENCE, &mut look).await {
            Ok(Ok(seen)) => {
                self.connection = seen.connection;
                if let Some(language) = seen.language {
                    self.told_in(language);
                }
                seen.outcome
            }
            Ok(Err(_panicked)) => Err(NotReady::Away("the look at the database failed".to_owned())),
            Err(_elapsed) => {
                self.pending = Some((look, begun));
                Err(NotReady::Away("the database does not answer".to_owned()))
            }
        };
        let _before = self.readiness.0.send_replace(seen.clone());
        seen
    }

    /// Tells of a language that our reading of errors does not know, once.
    fn told_in(&mut self, language: String) {
        if language != self.language && !is_english(&language) {
            tracing::error!(
                lc_messages = language,
                "the database does not speak English, by which its errors are told apart: \
                 set lc_messages to C for the role or the database (ALTER DATABASE ... SET lc_messages = 'C')"
            );
        }
        self.language = language;
    }
}

#[derive(QueryableByName)]
struct State {
    #[diesel(sql_type = Bool)]
    read_only: bool,
    #[diesel(sql_type = Bool)]
    begun: bool,
    #[diesel(sql_type = Bool)]
    no_schema: bool,
    #[diesel(sql_type = Text)]
    language: String,
}

#[derive(QueryableByName)]
struct Migrations {
    #[diesel(sql_type = Nullable<Array<Text>>)]
    versions: Option<Vec<String>>,
}

fn look(url: &str, connection: Option<(PgConnection, Instant)>) -> Seen {
    let made = match connection {
        Some(connection) => Ok(connection),
        None => Manager::new(url).establish().and_then(|mut made| {
            let name = "SET application_name = 'identity readiness'";
            made.batch_execute(name)
                .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok((made, Instant::now()))
        }),
    };
    let (mut connection, made) = match made {
        Ok(made) => made,
        Err(error) => {
            let why = format!("no connection to the database: {}", explain(&error));
            return Seen::wrong(NotReady::Away(why));
        }
    };
    // A look of its own for whether the table is there: asking it would be an error in the server's log each time.
    let state = sql_query(
        "SELECT current_setting('transaction_read_only')::bool AS read_only, \
                to_regclass('__diesel_schema_migrations') IS NOT NULL AS begun, \
                current_schema() IS NULL AS no_schema, current_setting('lc_messages') AS language",
    )
    .get_result::<State>(&mut connection);
    let Ok(state) = state else {
        let why = "the database does not answer".to_owned();
        return Seen::wrong(NotReady::Away(why));
    };
    // What it lacks comes first: from a standby that has not caught up nothing can be read.
    let outcome = if state.no_schema {
        let why = "there is no schema that the role may use";
        Err(NotReady::Unreadable(why.to_owned()))
    } else {
        migrations(&mut connection, state.begun).and(match state.read_only {
            true => Err(NotReady::ReadOnly),
            false => Ok(()),
        })
    };
    Seen {
        // Another connection may lead to another server, which has taken this one's place.
        connection: outcome.is_ok().then_some((connection, made)),
        language: Some(state.language),
        outcome,
    }
}

/// Whether messages come as PostgreSQL's own sources have them. diesel tells no SQLSTATE.
fn is_english(lc_messages: &str) -> bool {
    ["", "C", "POSIX"].contains(&lc_messages)
        || ["C.", "en_", "English"]
            .iter()
            .any(|begin| lc_messages.starts_with(begin))
}

fn migrations(connection: &mut PgConnection, begun: bool) -> Result<(), NotReady> {
    let mut there = Vec::new();
    if begun {
        let statement =
            "SELECT array_agg(version::text) AS versions FROM __diesel_schema_migrations";
        let read = sql_query(statement).get_result::<Migrations>(connection);
        let read = read.map_err(|error| NotReady::Unreadable(error.to_string()))?;
        there = read.versions.unwrap_or_default();
    }
    match migrate::needed_migrations()
        .into_iter()
        .find(|needed| !there.contains(&needed.version))
    {
        None => Ok(()),
        Some(first) => Err(NotReady::Behind(first.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_from_its_locale() {
        for locale in [
            "",
            "C",
            "POSIX",
            "C.UTF-8",
            "en_US.UTF-8",
            "en_GB",
            "English_United States.1252",
        ] {
            assert!(is_english(locale), "{locale}");
        }
        for locale in ["de_DE.UTF-8", "fr_FR", "Cymraeg", "German_Germany.1252"] {
            assert!(!is_english(locale), "{locale}");
        }
    }
}
