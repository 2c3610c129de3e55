//! Three clocks: this machine's, identity's and the database's.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use super::{Finding, identity::Patient};

const CHECK: &str = "clock";

/// How far clocks may be apart before answers differ by more than people notice.
const APART: f64 = 5.0;

pub(super) fn check(patient: &Patient) -> Finding {
    let Ok(timed) = &patient.diagnosis else {
        return patient.undiagnosed(CHECK);
    };
    let moment = |time: Option<&Timestamp>| time.and_then(|time| SystemTime::try_from(*time).ok());
    let (Some(identity), Some(database)) = (
        moment(timed.answer.time.as_ref()),
        moment(timed.answer.database_time.as_ref()),
    ) else {
        return Finding::unknown(CHECK, "identity does not say");
    };
    let way = timed.came.duration_since(timed.asked).unwrap_or_default();
    judge(
        ahead(identity, timed.asked + way / 2),
        ahead(database, identity),
        way / 2,
    )
}

/// `identity` is ahead of this machine by so many seconds, known to within `error`, and `database` of identity.
fn judge(identity: f64, database: f64, error: Duration) -> Finding {
    let told = format!(
        "identity {}, the database {}",
        from(identity, "this machine"),
        from(database, "identity")
    );
    let of_identity = identity.abs() - error.as_secs_f64() > APART;
    let of_database = database.abs() > APART;
    match (of_identity, of_database) {
        (false, false) => Finding::good(CHECK, told),
        (_, true) => Finding::wrong(
            CHECK,
            told,
            "set the clocks of the database and of identity by NTP: credentials and grants end by the database's",
        ),
        (true, false) => Finding::wrong(
            CHECK,
            told,
            "set this machine's clock, or identity's, by NTP: whichever is wrong",
        ),
    }
}

/// By how many seconds one moment is later than another.
fn ahead(one: SystemTime, other: SystemTime) -> f64 {
    match one.duration_since(other) {
        Ok(later) => later.as_secs_f64(),
        Err(earlier) => -earlier.duration().as_secs_f64(),
    }
}

fn from(ahead: f64, whom: &str) -> String {
    if ahead.abs() < 0.1 {
        return format!("agrees with {whom}");
    }
    let way = if ahead > 0.0 { "ahead of" } else { "behind" };
    format!("is {:.1} s {way} {whom}", ahead.abs())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_which_and_by_how_much() {
        let judge = |identity, database| judge(identity, database, Duration::from_millis(500));
        let good = judge(-0.05, 0.05);
        assert_eq!(good.verdict, Verdict::Good);
        assert_eq!(
            good.what,
            "identity agrees with this machine, the database agrees with identity"
        );
        // What the way may have taken is not held against them.
        assert_eq!(judge(5.4, 0.0).verdict, Verdict::Good);
        let here = judge(-5.6, 0.0);
        assert_eq!(here.verdict, Verdict::Wrong);
        assert!(
            here.what.contains("is 5.6 s behind this machine"),
            "{here:?}"
        );
        let there = judge(0.0, 90.0);
        assert!(
            there
                .what
                .contains("the database is 90.0 s ahead of identity")
        );
        assert!(
            there
                .remedy
                .is_some_and(|remedy| remedy.contains("database"))
        );
    }
}
