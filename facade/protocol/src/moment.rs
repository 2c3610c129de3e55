//! Times as SCIM writes them (`xsd:dateTime`, RFC 7643 section 2.3.5).

use chrono::{DateTime, NaiveDateTime, Utc};

/// Reads a time. One without a zone is in UTC, as ours are.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    DateTime::parse_from_rfc3339(text)
        .map(|moment| moment.with_timezone(&Utc))
        .or_else(|_| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc())
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_and_fractions_are_read() {
        let read = |text: &str| {
            parse(text).map(|moment| (moment.timestamp(), moment.timestamp_subsec_nanos()))
        };
        let plain = Some((1_305_261_754, 0));
        for text in [
            "2011-05-13T04:42:34Z",
            "2011-05-13T06:42:34+02:00",
            "2011-05-12T20:42:34.000-08:00",
            "2011-05-13T04:42:34",
            " 2011-05-13t04:42:34z ",
        ] {
            assert_eq!(read(text), plain, "{text}");
        }
        assert_eq!(
            read("2011-05-13T04:42:34.5Z"),
            Some((1_305_261_754, 500_000_000))
        );
        for text in [
            "2011-05-13",
            "",
            "now",
            "2011-13-13T04:42:34Z",
            "04:42:34Z",
            "20110513T044234Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
