//! Identity itself, its database and migrations, the token and the site: what can be learned without a token, and
//! what with one.

use std::time::SystemTime;

use identity_forms::token::{self, SpeaksFor};
use identity_proto::v1::{
    Credential, GetCallerRequest, GetCallerResponse, GetDiagnosisRequest, GetDiagnosisResponse,
    credential_service_client::CredentialServiceClient,
    diagnosis_service_client::DiagnosisServiceClient,
};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Finding, PATIENCE, Verdict};
use crate::{
    connection::{Purpose, Settings},
    failure::Failure,
    show,
};

/// How long before its end a credential deserves a look.
pub(super) const SOON: i64 = 14;

/// What identity says where its database is a standby, or read-only.
const TAKES_NO_WRITES: &str = "takes no writes";

/// What identity says of itself, and whom it takes us for.
#[derive(Debug)]
pub(super) struct Patient {
    addr: String,
    /// Whether it serves; the health of the whole, and of two parts of it.
    serves: Result<ServingStatus, Failure>,
    database: Option<ServingStatus>,
    migrations: Option<ServingStatus>,
    /// The form of the token at hand; none where there is no token.
    form: Option<Result<SpeaksFor, token::Fault>>,
    pub(super) caller: Result<GetCallerResponse, Failure>,
    pub(super) diagnosis: Result<Timed, Failure>,
}

/// A diagnosis, and when by this machine's clock it was asked for and came.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) answer: GetDiagnosisResponse,
    pub(super) asked: SystemTime,
    pub(super) came: SystemTime,
}

impl Patient {
    /// Asks everything. An error is one of the settings of this command alone.
    pub(super) async fn look(settings: &Settings) -> Result<Self, Failure> {
        let serves = health(settings, "").await?;
        let part = async |name| match &serves {
            // One of an earlier release has no such parts.
            Ok(_) => Ok::<_, Failure>(health(settings, name).await?.ok()),
            Err(_) => Ok(None),
        };
        let (database, migrations) = (part("database").await?, part("migrations").await?);
        let token = settings.token(Purpose::Look);
        let form = token.map(token::read);
        let mut credentials = CredentialServiceClient::new(settings.channel()?);
        let caller = ask(
            settings,
            GetCallerRequest {
                site: settings.site(),
                ..GetCallerRequest::default()
            },
            async |request| credentials.get_caller(request).await,
        )
        .await;
        let mut diagnoses = DiagnosisServiceClient::new(settings.channel()?);
        let asked = SystemTime::now();
        let answer = ask(
            settings,
            GetDiagnosisRequest {
                site: settings.site(),
            },
            async |request| diagnoses.get_diagnosis(request).await,
        )
        .await;
        let came = SystemTime::now();
        Ok(Self {
            addr: settings.addr().to_owned(),
            serves,
            database,
            migrations,
            form,
            caller,
            diagnosis: answer.map(|answer| Timed {
                answer,
                asked,
                came,
            }),
        })
    }

    /// What can't be looked at without a diagnosis, and why there is none.
    pub(super) fn undiagnosed(&self, check: &'static str) -> Finding {
        let why = match &self.diagnosis {
            Err(failure) if failure.is("SCOPE_MISSING") => {
                "takes a token with the scope read or administer"
            }
            Err(failure) if failure.is("TOKEN_INVALID") => "identity does not take the token",
            Err(failure) if failure.is("SITE_NOT_FOUND") => "there is no such site for the token",
            _ => "identity does not say",
        };
        Finding::unknown(check, why)
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        vec![
            self.identity(),
            self.database(),
            self.migrations(),
            self.token(),
            self.site(),
        ]
    }

    fn identity(&self) -> Finding {
        const CHECK: &str = "identity";
        let addr = &self.addr;
        match &self.serves {
            Err(failure) => Finding::wrong(
                CHECK,
                failure.to_string(),
                "start it, or correct --addr (ROSTER_GRPC_ADDR) and the ROSTER_IDENTITY_ files of TLS",
            ),
            // Without writes it serves all the same: what keeps it from them stands at the database.
            Ok(ServingStatus::Serving) => {
                let build = self.diagnosis.as_ref().map_or(String::new(), |timed| {
                    let answer = &timed.answer;
                    format!(", version {} (commit {})", answer.version, answer.commit)
                });
                Finding::good(CHECK, format!("serves at {addr}{build}"))
            }
            Ok(_) => {
                let below = [self.database(), self.migrations()];
                let remedy = match below.iter().any(|found| found.verdict == Verdict::Wrong) {
                    true => "see below",
                    false => "wait, if it is starting or stopping; otherwise look at its log",
                };
                let why = self
                    .not_ready()
                    .map_or(String::new(), |why| format!(": {why}"));
                Finding::wrong(
                    CHECK,
                    format!("answers at {addr}, and is not ready{why}"),
                    remedy,
                )
            }
        }
    }

    /// What keeps the process that answers from its work, or from writes, in its own words; none where nothing does.
    fn not_ready(&self) -> Option<&str> {
        let timed = self.diagnosis.as_ref().ok()?;
        Some(timed.answer.not_ready.as_str()).filter(|why| !why.is_empty())
    }

    fn database(&self) -> Finding {
        const CHECK: &str = "database";
        match (&self.diagnosis, self.database) {
            // It answers what is read, and can't be worked with.
            (Ok(timed), Some(ServingStatus::NotServing)) => {
                let why = self.not_ready().unwrap_or("identity can't work with it");
                let remedy = match why.contains(TAKES_NO_WRITES) {
                    true => {
                        "promote it, or let identity's DATABASE_URL name the primary; if it is the primary, take \
                         default_transaction_read_only off"
                    }
                    false => {
                        "look at the database's log and identity's: does it take another connection?"
                    }
                };
                Finding::wrong(
                    CHECK,
                    format!("PostgreSQL {}: {why}", timed.answer.database_version),
                    remedy,
                )
            }
            (Ok(timed), _) => Finding::good(
                CHECK,
                format!("answers, PostgreSQL {}", timed.answer.database_version),
            ),
            (_, Some(ServingStatus::Serving)) => Finding::good(CHECK, "answers identity"),
            // Without a diagnosis a database that is away and one that takes no writes look alike.
            (_, Some(ServingStatus::NotServing)) => Finding::wrong(
                CHECK,
                "does not answer identity, or takes no writes",
                "start it or promote it, or correct identity's DATABASE_URL; identity's log says what it was told",
            ),
            _ => Finding::unknown(CHECK, "identity does not say"),
        }
    }

    fn migrations(&self) -> Finding {
        const CHECK: &str = "migrations";
        const REMEDY: &str = "run `identity migrate` with the release that serves";
        if let Ok(timed) = &self.diagnosis {
            let answer = &timed.answer;
            let missing = &answer.missing_migrations;
            return match (missing.is_empty(), self.migrations) {
                (true, Some(ServingStatus::NotServing)) => Finding::wrong(
                    CHECK,
                    self.not_ready().unwrap_or("identity can't read them"),
                    "let the user of identity's DATABASE_URL read them; if somebody migrates just now, look again",
                ),
                (true, _) => Finding::good(
                    CHECK,
                    format!("all are there, up to {}", answer.schema_version),
                ),
                (false, _) => Finding::wrong(
                    CHECK,
                    format!("the database lacks {}", missing.join(", ")),
                    REMEDY,
                ),
            };
        }
        match self.migrations {
            Some(ServingStatus::Serving) => Finding::good(CHECK, "all are there"),
            Some(ServingStatus::NotServing) => {
                Finding::wrong(CHECK, "the database lacks some that identity needs", REMEDY)
            }
            _ => Finding::unknown(CHECK, "identity does not say"),
        }
    }

    fn token(&self) -> Finding {
        const CHECK: &str = "token";
        let Some(form) = &self.form else {
            return Finding::wrong(
                CHECK,
                "there is none",
                "set ROSTER_TOKEN, or name a file that holds one with --token-file",
            );
        };
        match &self.caller {
            Ok(caller) => match &caller.credential {
                Some(credential) => of_credential(credential),
                None => Finding::good(
                    CHECK,
                    "the bootstrap token: makes sites and administers credentials",
                ),
            },
            // It is valid: there is no such site for it.
            Err(failure) if failure.is("SITE_NOT_FOUND") => {
                Finding::good(CHECK, "identity takes it")
            }
            Err(failure) if failure.is("TOKEN_INVALID") => {
                let what = match form {
                    Err(fault) => format!("identity refuses it; by its form it is no token: {fault}"),
                    Ok(_) => "identity refuses it: it is unknown, revoked or expired, or pinned to the name in \
                              another certificate"
                        .to_owned(),
                };
                Finding::wrong(
                    CHECK,
                    what,
                    "take another, or issue one with `rosterctl credentials issue`",
                )
            }
            Err(failure) => Finding::unknown(CHECK, failure.to_string()),
        }
    }

    fn site(&self) -> Finding {
        const CHECK: &str = "site";
        match &self.caller {
            Ok(caller) => match &caller.site {
                Some(site) => {
                    let divided = match site.divided {
                        true => "divided into business entities",
                        false => "not divided",
                    };
                    Finding::good(
                        CHECK,
                        format!("{}, {divided}, at revision {}", site.domain, site.revision),
                    )
                }
                None => {
                    Finding::unknown(CHECK, "name one with --site: the token is not one site's")
                }
            },
            Err(failure) if failure.is("SITE_NOT_FOUND") => Finding::wrong(
                CHECK,
                "there is no such site, or the token speaks for another",
                "correct --site (ROSTER_SITE_DOMAIN), or take the token of that site",
            ),
            Err(_) => Finding::unknown(
                CHECK,
                "identity does not take the token, or does not answer",
            ),
        }
    }
}

fn of_credential(credential: &Credential) -> Finding {
    const CHECK: &str = "token";
    let scopes = show::scopes(credential.scopes());
    let what = format!("{:?}, may {scopes}", credential.label);
    match days_left(credential.expire_time.as_ref()) {
        None => Finding::good(CHECK, what),
        Some(days) if days < SOON => Finding::look(
            CHECK,
            format!("{what}; it ends in {}", show::count(days, "day")),
            format!(
                "rosterctl credentials rotate {} --overlap 24h",
                credential.id
            ),
        ),
        Some(days) => Finding::good(
            CHECK,
            format!("{what}; it ends in {}", show::count(days, "day")),
        ),
    }
}

/// The whole days until a moment, by this machine's clock.
pub(super) fn days_left(end: Option<&prost_types::Timestamp>) -> Option<i64> {
    let end = SystemTime::try_from(*end?).ok()?;
    let days = |time: std::time::Duration| (time.as_secs() / (24 * 60 * 60)).cast_signed();
    Some(match end.duration_since(SystemTime::now()) {
        Ok(left) => days(left),
        Err(past) => -days(past.duration()) - 1,
    })
}

/// The health of the whole (of the empty name) or of a part.
async fn health(
    settings: &Settings,
    name: &str,
) -> Result<Result<ServingStatus, Failure>, Failure> {
    let mut request = Request::new(HealthCheckRequest {
        service: name.to_owned(),
    });
    request.set_timeout(PATIENCE);
    let answer = HealthClient::new(settings.channel()?).check(request).await;
    Ok(answer
        .map(|answer| answer.into_inner().status())
        .map_err(|status| Failure::of_call(settings.addr(), &status)))
}

async fn ask<M, T>(
    settings: &Settings,
    message: M,
    send: impl AsyncFnOnce(Request<M>) -> Result<Response<T>, Status>,
) -> Result<T, Failure> {
    let mut request = settings.request(Purpose::Look, message)?;
    request.set_timeout(PATIENCE);
    match send(request).await {
        Ok(answer) => Ok(answer.into_inner()),
        // One of an earlier release.
        Err(status) if status.code() == Code::Unimplemented => {
            Err(Failure::new("identity is of a release that does not say"))
        }
        Err(status) => Err(Failure::of_call(settings.addr(), &status)),
    }
}
