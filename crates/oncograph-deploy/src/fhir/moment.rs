//! The times of resources, which are compared as moments: as texts, two of different time zones sort wrongly.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The moment of a FHIR `dateTime` or `instant`; of a year, a month, a day or a time without a zone its beginning in UTC.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let day = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    // A day alone is its midnight.
    let civil = day.parse::<DateTime>().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_compared_across_zones_and_precisions() {
        let later = |one: &str, other: &str| moment(one).unwrap() > moment(other).unwrap();
        assert!(later("2020-01-01T18:00:00Z", "2020-01-02T01:00:00+09:00"));
        assert!(later("2020-01-01T12:00:00-05:00", "2020-01-01T16:59:59.5Z"));
        assert!(later("2020-02", "2020-01-31T23:00:00Z") && later("2021", "2020-12-31"));
        assert!(later("2020-01-01T10:30:00", "2020-01-01"));
        assert_eq!(moment("2020-01-01T09:00:00+09:00"), moment("2020"));
        assert_eq!((moment("last spring"), moment("")), (None, None));
    }
}
