//! Dates and times between the text that servers print and the numbers that Parquet holds. Pure.
//!
//! Only what stands in the calendar (years 1 to 9999 of the proleptic Gregorian one) is a number here: a zero date, a zero
//! month or day, or 30 February (`ALLOW_INVALID_DATES`) is none.

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 of `YYYY-MM-DD`; `None` if there is no such day.
pub fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        (part.len() == length).then(|| number(part)).flatten()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() || year < 1 || day < 1 || day > days_of_month(year, month)? {
        return None;
    }
    // Years begin in March, in eras of 400.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * m + 2) / 5 + day - 1;
    let of_era =
        y.rem_euclid(400) * 365 + y.rem_euclid(400) / 4 - y.rem_euclid(400) / 100 + of_year;
    Some(y.div_euclid(400) * 146_097 + of_era - 719_468)
}

/// `YYYY-MM-DD` of days since 1970-01-01.
pub fn date_text(days: i64) -> String {
    crate::date::date(days * 86_400)[..10].to_owned()
}

/// Microseconds since 1970-01-01 of `YYYY-MM-DD hh:mm:ss[.ffffff]`; `None` if there is no such moment.
pub fn micros(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let of_day = time_micros(time).filter(|micros| (0..MICROS_PER_DAY).contains(micros))?;
    Some(days(date)? * MICROS_PER_DAY + of_day)
}

/// `YYYY-MM-DD hh:mm:ss[.ffffff]` with so many digits after the second.
pub fn datetime_text(micros: i64, fsp: u32) -> String {
    let seconds = micros.div_euclid(1_000_000);
    format!("{}{}", crate::date::date(seconds), fraction(micros.rem_euclid(1_000_000), fsp))
}

/// Microseconds of `[-]hh:mm:ss[.ffffff]`, with two or three digits for the hours.
pub fn time_micros(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':').map(number);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hours > 838 || minutes > 59 || seconds > 59 || fraction.len() > 6 {
        return None;
    }
    let fraction = number(&format!("{fraction:0<6}"))?;
    let micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
    Some(if negative { -micros } else { micros })
}

/// `[-]hh:mm:ss[.ffffff]` with so many digits after the second.
pub fn time_text(micros: i64, fsp: u32) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.abs());
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{sign}{hours:02}:{minutes:02}:{second:02}{}", fraction(rest, fsp))
}

fn fraction(micros: i64, fsp: u32) -> String {
    let digits = format!("{micros:06}");
    let shown = usize::try_from(fsp).map_or(6, |fsp| fsp.min(6));
    if shown == 0 { String::new() } else { format!(".{}", &digits[..shown]) }
}

/// Digits alone.
fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn days_of_month(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => Some(if leap { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendar_comes_back() {
        let (first, last) = (days("0001-01-01").unwrap(), days("9999-12-31").unwrap());
        assert_eq!((first, last, days("1970-01-01")), (-719_162, 2_932_896, Some(0)));
        for day in first..=last {
            assert_eq!(days(&date_text(day)), Some(day));
        }
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in [
            "0000-00-00",
            "0000-01-01",
            "2020-00-01",
            "2020-01-00",
            "2021-02-29",
            "1900-02-29",
            "2020-13-01",
            "20-01-01",
            "2020-01-01x",
            "+020-01-01",
            "",
        ] {
            assert_eq!(days(text), None, "{text}");
        }
        assert_eq!(micros("0000-00-00 00:00:00"), None);
        assert_eq!(micros("2020-01-01 24:00:00"), None);
    }

    #[test]
    fn moments_and_times_come_back_with_their_digits() {
        for (text, fsp) in [
            ("1969-12-31 23:59:59.999999", 6),
            ("0001-01-01 00:00:00", 0),
            ("9999-12-31 23:59:59.9", 1),
        ] {
            assert_eq!(datetime_text(micros(text).unwrap(), fsp), text);
        }
        for (text, fsp) in
            [("-838:59:59.999999", 6), ("838:59:59", 0), ("-00:00:00.1", 1), ("00:00:00", 0)]
        {
            assert_eq!(time_text(time_micros(text).unwrap(), fsp), text);
        }
        assert_eq!(time_micros("-00:00:00.1"), Some(-100_000));
    }
}
