//! Dates and times as row images store them, printed as the server prints them.
//!
//! Called by `value`. Zero and impossible dates are printed as they are stored: whether the target takes them is the
//! target's to say. TIMESTAMP is printed in UTC.

use std::fmt::Write;

use super::cursor::{be_uint, le_uint};
use super::value::SmallText;
use crate::error::{Error, Result};

/// DATE: three bytes.
pub(super) fn date(cell: &[u8]) -> Result<SmallText> {
    let bits = le_uint(cell);
    text(format_args!("{:04}-{:02}-{:02}", bits >> 9, bits >> 5 & 15, bits & 31))
}

/// TIME of tables from before MySQL 5.6: hhmmss as one decimal number, with a sign.
pub(super) fn time_old(cell: &[u8]) -> Result<SmallText> {
    let bits = le_uint(cell);
    let negative = bits & 0x80_0000 != 0;
    let number = if negative { 0x100_0000 - bits } else { bits };
    let sign = if negative { "-" } else { "" };
    let (hours, minutes, seconds) = (number / 10_000, number / 100 % 100, number % 100);
    text(format_args!("{sign}{hours:02}:{minutes:02}:{seconds:02}"))
}

/// DATETIME of tables from before MySQL 5.6: yyyymmddhhmmss as one decimal number.
pub(super) fn datetime_old(cell: &[u8]) -> Result<SmallText> {
    let number = le_uint(cell);
    let (date, time) = (number / 1_000_000, number % 1_000_000);
    text(format_args!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date / 10_000,
        date / 100 % 100,
        date % 100,
        time / 10_000,
        time / 100 % 100,
        time % 100
    ))
}

/// TIMESTAMP of tables from before MySQL 5.6: seconds.
pub(super) fn timestamp_old(cell: &[u8]) -> Result<SmallText> {
    print_timestamp(le_uint(cell), 0, 0)
}

/// TIME(n): hours, minutes, seconds and fraction in one number, moved up to be positive.
pub(super) fn time(cell: &[u8], digits: u16) -> Result<SmallText> {
    let fraction_bits = fraction_len(digits) * 8;
    let zero = 1_u64 << (23 + fraction_bits);
    let stored = be_uint(cell);
    let sign = if stored < zero { "-" } else { "" };
    let number = stored.abs_diff(zero);
    let (whole, fraction) = (number >> fraction_bits, number & ((1 << fraction_bits) - 1));
    let mut out = text(format_args!(
        "{sign}{:02}:{:02}:{:02}",
        whole >> 12 & 0x3ff,
        whole >> 6 & 63,
        whole & 63
    ))?;
    push_fraction(&mut out, fraction, digits)?;
    Ok(out)
}

/// DATETIME(n): five bytes of bit fields, and the fraction.
pub(super) fn datetime(cell: &[u8], digits: u16) -> Result<SmallText> {
    let (whole, fraction) = split_fraction(cell, 5)?;
    let Some(bits) = be_uint(whole).checked_sub(1 << 39) else {
        return Err(Error::stop("a DATETIME is negative"));
    };
    let (date, time) = (bits >> 17, bits & 0x1_ffff);
    let year_and_month = date >> 5;
    let mut out = text(format_args!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        year_and_month / 13,
        year_and_month % 13,
        date & 31,
        time >> 12,
        time >> 6 & 63,
        time & 63
    ))?;
    push_fraction(&mut out, be_uint(fraction), digits)?;
    Ok(out)
}

/// TIMESTAMP(n): seconds since 1970, and the fraction.
pub(super) fn timestamp(cell: &[u8], digits: u16) -> Result<SmallText> {
    let (whole, fraction) = split_fraction(cell, 4)?;
    print_timestamp(be_uint(whole), be_uint(fraction), digits)
}

fn print_timestamp(seconds: u64, fraction: u64, digits: u16) -> Result<SmallText> {
    let mut out = if seconds == 0 && fraction == 0 {
        text(format_args!("0000-00-00 00:00:00"))?
    } else {
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let of_day = seconds % 86_400;
        let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        text(format_args!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}"))?
    };
    push_fraction(&mut out, fraction, digits)?;
    Ok(out)
}

/// The Gregorian date of a day since 1970. Years are counted from March, so that the leap day is a year's last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    const DAYS_FROM_YEAR_0_TO_1970: u64 = 719_468;
    let days = days + DAYS_FROM_YEAR_0_TO_1970;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Bytes of a fraction of so many digits: two digits a byte.
fn fraction_len(digits: u16) -> u32 {
    u32::from(digits.div_ceil(2))
}

fn split_fraction(cell: &[u8], at: usize) -> Result<(&[u8], &[u8])> {
    cell.split_at_checked(at).ok_or_else(super::cursor::cut_short)
}

/// Prints as many digits as the column has; an odd last one is stored with a zero behind it.
fn push_fraction(out: &mut SmallText, fraction: u64, digits: u16) -> Result<()> {
    if digits == 0 {
        return Ok(());
    }
    let stored_digits = fraction_len(digits) * 2;
    if fraction >= 10_u64.pow(stored_digits) {
        return Err(Error::stop("a fraction of a second is out of range"));
    }
    let shown = if digits % 2 == 1 { fraction / 10 } else { fraction };
    write!(out, ".{shown:0width$}", width = usize::from(digits))
        .map_err(|_| Error::stop("a value is too long to print"))
}

fn text(what: std::fmt::Arguments<'_>) -> Result<SmallText> {
    let mut out = SmallText::default();
    out.write_fmt(what).map_err(|_| Error::stop("a value is too long to print"))?;
    Ok(out)
}
