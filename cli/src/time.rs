//! Times for people: "3 minutes ago", and the points in time that `--since` and `--until` take.

use std::time::SystemTime;

use coble::{Error, ErrorKind};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A point in time: RFC 3339, a date or a date and time of the local zone, seconds since the epoch, or a duration (`10m`, `1h30m`) before `now`.
pub(crate) fn point(text: &str, now: Timestamp) -> Result<SystemTime, Error> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("time \"{}\" is not understood", text.escape_default()),
        )
        .with_object(text)
        .with_hint("use RFC 3339 (2026-01-31T12:00:00Z), seconds since the epoch, or a duration such as 10m")
    };
    let numeric = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let timestamp = if numeric {
        let seconds: f64 = text.parse().map_err(|_| invalid())?;
        let duration = SignedDuration::try_from_secs_f64(seconds).map_err(|_| invalid())?;
        Timestamp::from_duration(duration).map_err(|_| invalid())?
    } else if let Ok(timestamp) = text.parse::<Timestamp>() {
        timestamp
    } else if let Ok(local) = text.parse::<DateTime>() {
        local.to_zoned_datetime(TimeZone::system()).map_err(|_| invalid())?.timestamp()
    } else {
        let ago: SignedDuration = text.parse().map_err(|_| invalid())?;
        now.checked_sub(ago).map_err(|_| invalid())?
    };
    SystemTime::try_from(timestamp).map_err(|_| invalid())
}

/// RFC 3339 with nine digits of fraction, as `logs -t` prints it.
pub(crate) fn stamp(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(timestamp) => format!("{timestamp:.9}"),
        Err(_) => "-".to_owned(),
    }
}

/// How long ago an RFC 3339 time was, such as `3 minutes`; the text itself when it is not a time.
pub(crate) fn age(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(then) => span(now.duration_since(then).as_secs().max(0)),
        Err(_) => crate::output::printable(text),
    }
}

fn span(seconds: i64) -> String {
    let plural = |count: i64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if seconds < 1 => "less than a second".to_owned(),
        () if minutes < 1 => plural(seconds, "second"),
        () if hours < 1 => plural(minutes, "minute"),
        () if hours < 48 => plural(hours, "hour"),
        () if days < 14 => plural(days, "day"),
        () if days < 60 => plural(days / 7, "week"),
        () if days < 730 => plural(days / 30, "month"),
        () => plural(days / 365, "year"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn points_in_time() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(seconds);
        assert_eq!(point("1700000000.5", now).unwrap(), at(1_700_000_000.5));
        assert_eq!(point("2023-11-14T22:13:20Z", now).unwrap(), at(1_700_000_000.0));
        assert_eq!(point("2023-11-15T00:13:20+02:00", now).unwrap(), at(1_700_000_000.0));
        assert_eq!(point("10m", now).unwrap(), SystemTime::try_from(now).unwrap() - Duration::from_secs(600));
        assert_eq!(
            point("1h30m", now).unwrap(),
            SystemTime::try_from(now).unwrap() - Duration::from_secs(5400)
        );
        assert!(point("2026-01-31", now).is_ok());
        for text in ["", "yesterday", "1.2.3", "10 parsecs", "99999999999999999999"] {
            assert_eq!(point(text, now).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn stamps_and_ages() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        assert_eq!(stamp(time), "2023-11-14T22:13:20.000000005Z");
        let now: Timestamp = "2023-11-14T22:16:20Z".parse().unwrap();
        assert_eq!(age("2023-11-14T22:13:20Z", now), "3 minutes");
        assert_eq!(age("2023-11-14T22:16:19.5Z", now), "less than a second");
        assert_eq!(age("2023-11-14T22:17:19Z", now), "less than a second");
        assert_eq!(age("2021-11-01T22:17:19Z", now), "2 years");
    }
}
