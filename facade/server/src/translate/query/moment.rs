//! Times of a filter, as the contract writes them.

use prost_types::Timestamp;

/// Reads a time.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let moment = scim_protocol::moment::parse(text)?;
    Some(Timestamp {
        seconds: moment.timestamp(),
        // chrono writes a leap second as more than a second's worth of nanoseconds.
        nanos: i32::try_from(moment.timestamp_subsec_nanos().min(999_999_999)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_second_is_within_its_second() {
        let moment = moment("2016-12-31T23:59:60.5Z").unwrap();
        assert_eq!((moment.seconds, moment.nanos), (1_483_228_799, 999_999_999));
    }
}
