//! Reads dates and timestamps as PostgreSQL writes them with `DateStyle = ISO`.

/// Days since 2000-01-01, proleptic Gregorian (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 730_425
}

/// Year, month and day of a day count (same source).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn ends(value: i64) -> Option<String> {
    match value {
        i64::MAX => Some("infinity".to_owned()),
        i64::MIN => Some("-infinity".to_owned()),
        _ => None,
    }
}

fn write_day(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// The text that [`date`] reads.
pub(super) fn write_date(days: i64) -> String {
    ends(days).unwrap_or_else(|| {
        let (day, era) = write_day(days);
        day + era
    })
}

/// The text that [`timestamp`] reads.
pub(super) fn write_timestamp(micros: i64, zone: &str) -> String {
    ends(micros).unwrap_or_else(|| {
        let (day, era) = write_day(micros.div_euclid(86_400_000_000));
        let micros = micros.rem_euclid(86_400_000_000);
        let seconds = micros / 1_000_000;
        format!(
            "{day} {:02}:{:02}:{:02}.{:06}{zone}{era}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60,
            micros % 1_000_000
        )
    })
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

fn civil(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days_from_civil(if before_christ { 1 - year } else { year }, month, day))
}

fn infinity(text: &str) -> Option<i64> {
    match text {
        "infinity" => Some(i64::MAX),
        "-infinity" => Some(i64::MIN),
        _ => None,
    }
}

fn era(text: &str) -> (&str, bool) {
    text.strip_suffix(" BC").map_or((text, false), |rest| (rest, true))
}

/// Days since 2000-01-01; infinities at the ends of i64.
pub(super) fn date(text: &str) -> Option<i64> {
    if let Some(end) = infinity(text) {
        return Some(end);
    }
    let (text, before_christ) = era(text);
    civil(text, before_christ)
}

/// Microseconds since 2000-01-01; infinities at the ends of i64. `zone` is the suffix that must follow the time
/// (`+00` for timestamptz in a UTC session, nothing for timestamp).
pub(super) fn timestamp(text: &str, zone: &str) -> Option<i64> {
    if let Some(end) = infinity(text) {
        return Some(end);
    }
    let (text, before_christ) = era(text);
    let text = text.strip_suffix(zone)?;
    let (day, time) = text.split_once(' ')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    if parts.next().is_some() || fraction.len() > 6 {
        return None;
    }
    let micros = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<6}"))? };
    let seconds = civil(day, before_christ)?.checked_mul(86_400)? + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_2000() {
        assert_eq!(date("2000-01-01"), Some(0));
        assert_eq!(date("1999-12-31"), Some(-1));
        assert_eq!(date("2024-02-29"), Some(8_825));
        assert_eq!(date("0001-01-01 BC"), Some(-730_485));
        assert_eq!(date("4714-11-24 BC"), Some(-2_451_545));
        assert_eq!(date("5874897-12-31"), Some(2_145_031_948));
        assert_eq!(date("infinity"), Some(i64::MAX));
        assert_eq!(date("01/02/2000"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(days in -2_451_545_i64..2_145_031_949, micros in -211_813_488_000_000_000_i64..9_223_371_331_200_000_000) {
            proptest::prop_assert_eq!(date(&write_date(days)), Some(days));
            proptest::prop_assert_eq!(timestamp(&write_timestamp(micros, "+00"), "+00"), Some(micros));
        }
    }

    #[test]
    fn times_count_in_microseconds() {
        assert_eq!(timestamp("2000-01-01 00:00:00", ""), Some(0));
        assert_eq!(timestamp("2000-01-01 00:00:01.5+00", "+00"), Some(1_500_000));
        assert_eq!(timestamp("1999-12-31 23:59:59.999999", ""), Some(-1));
        assert_eq!(timestamp("294276-12-31 23:59:59.999999", ""), Some(9_223_371_331_199_999_999));
        assert_eq!(timestamp("4714-11-24 00:00:00 BC", ""), Some(-211_813_488_000_000_000));
        assert_eq!(timestamp("2000-01-01 00:00:00+02", "+00"), None);
        assert_eq!(timestamp("-infinity", "+00"), Some(i64::MIN));
    }
}
