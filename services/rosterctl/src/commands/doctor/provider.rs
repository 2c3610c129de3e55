//! When the site's identity provider was last heard of.

use std::time::{Duration, SystemTime};

use identity_proto::v1::ProviderContact;
use prost_types::Timestamp;

use super::{
    Finding,
    identity::{Patient, SOON, days_left},
};
use crate::show;

const CHECK: &str = "provider";

pub(super) fn check(patient: &Patient, silent_after: Duration) -> Finding {
    let caller = patient.caller.as_ref().ok();
    let Ok(timed) = &patient.diagnosis else {
        return patient.undiagnosed(CHECK);
    };
    if caller.is_none_or(|caller| caller.site.is_none()) {
        return Finding::unknown(CHECK, "name a site with --site");
    }
    judge(&timed.answer.providers, silent_after)
}

fn judge(providers: &[ProviderContact], silent_after: Duration) -> Finding {
    const ISSUE: &str = "rosterctl credentials issue --label Okta --scope provision, and give the provider the token";
    let works = |provider: &&ProviderContact| {
        days_left(provider.expire_time.as_ref()).is_none_or(|days| days >= 0)
    };
    if providers.is_empty() {
        return Finding::look(
            CHECK,
            "the site has no credential for an identity provider",
            ISSUE,
        );
    }
    // The one that was heard of last; of those that never called, the one that was issued last.
    let heard = |provider: &&ProviderContact| {
        let seconds = |time: Option<&Timestamp>| time.map(|time| (time.seconds, time.nanos));
        (
            seconds(provider.last_contact_time.as_ref()),
            seconds(provider.create_time.as_ref()),
        )
    };
    let Some(newest) = providers.iter().filter(works).max_by_key(heard) else {
        let label = &providers[0].label;
        return Finding::wrong(
            CHECK,
            format!("its credential {label:?} has expired: the provider is refused"),
            ISSUE,
        );
    };
    let label = &newest.label;
    let Some(last) = age(newest.last_contact_time.as_ref()) else {
        let what = format!("{label:?} has not called since its token was issued");
        return match age(newest.create_time.as_ref()) {
            Some(issued) if issued <= silent_after => Finding::look(
                CHECK,
                what,
                "nothing, if it is being set up; otherwise test the connection in the provider's settings",
            ),
            _ => Finding::wrong(
                CHECK,
                what,
                "give the provider the Site URL and the token, and test the connection in its settings",
            ),
        };
    };
    let what = format!("{label:?} last called {} ago", ago(last));
    if last > silent_after {
        return Finding::wrong(
            CHECK,
            what,
            "look at the provider's provisioning log: is it on, does it report errors, is the Site URL right?",
        );
    }
    match days_left(newest.expire_time.as_ref()) {
        Some(days) if days < SOON => Finding::look(
            CHECK,
            format!("{what}; its token ends in {}", show::count(days, "day")),
            format!(
                "rosterctl credentials rotate {} --overlap 7d, and give the provider the new token",
                newest.credential_id
            ),
        ),
        _ => Finding::good(CHECK, what),
    }
}

/// How long ago a moment was.
fn age(time: Option<&Timestamp>) -> Option<Duration> {
    let time = SystemTime::try_from(*time?).ok()?;
    Some(SystemTime::now().duration_since(time).unwrap_or_default())
}

fn ago(time: Duration) -> String {
    let minutes = (time.as_secs() / 60).cast_signed();
    match minutes {
        0 => "less than a minute".to_owned(),
        1..120 => show::count(minutes, "minute"),
        120..2880 => show::count(minutes / 60, "hour"),
        _ => show::count(minutes / 60 / 24, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn before(seconds: u64) -> Option<Timestamp> {
        Some((SystemTime::now() - Duration::from_secs(seconds)).into())
    }

    fn provider(made: u64, called: Option<u64>, left: Option<i64>) -> ProviderContact {
        let end =
            |days: i64| SystemTime::now().checked_add(Duration::from_secs(days as u64 * DAY + 60));
        ProviderContact {
            label: "Okta".to_owned(),
            create_time: before(made),
            last_contact_time: called.and_then(before),
            expire_time: match left {
                Some(days) if days < 0 => before(60),
                Some(days) => end(days).map(Into::into),
                None => None,
            },
            ..ProviderContact::default()
        }
    }

    #[test]
    fn a_provider_is_judged_by_its_last_contact_and_what_its_token_has_left() {
        let week = Duration::from_secs(7 * DAY);
        let judge = |providers: &[ProviderContact]| judge(providers, week);
        for (providers, verdict, part) in [
            (vec![], Verdict::Look, "no credential"),
            (
                vec![provider(60, Some(30), None)],
                Verdict::Good,
                "less than a minute",
            ),
            (
                vec![provider(9 * DAY, Some(8 * DAY), None)],
                Verdict::Wrong,
                "8 days ago",
            ),
            (
                vec![provider(DAY, None, None)],
                Verdict::Look,
                "has not called",
            ),
            (
                vec![provider(8 * DAY, None, None)],
                Verdict::Wrong,
                "has not called",
            ),
            (
                vec![provider(DAY, Some(60), Some(3))],
                Verdict::Look,
                "ends in 3 days",
            ),
            (
                vec![provider(DAY, Some(60), Some(-1))],
                Verdict::Wrong,
                "has expired",
            ),
            // The other one of a rotation calls.
            (
                vec![
                    provider(60, None, None),
                    provider(9 * DAY, Some(60), Some(20)),
                ],
                Verdict::Good,
                "1 minute ago",
            ),
        ] {
            let found = judge(&providers);
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.what.contains(part), "{found:?}");
        }
    }
}
