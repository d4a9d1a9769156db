//! Dates, and how the registers of the real-time clock show them.

/// How numbers are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Format {
    /// Binary, else binary-coded decimal.
    pub(super) binary: bool,
    /// Hours 0 to 23, else 1 to 12 with bit 7 for the afternoon.
    pub(super) all_hours: bool,
}

/// Seconds since 1970-01-01 00:00:00, and the day of the week (1 to 7) that the clock shows, which counts by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    seconds: u64,
    weekday: u64,
}

const DAY: u64 = 86_400;
/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// The days from 1970-01-01 to a date, by years that begin in March.
fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days_of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + days_of_year;
    days.saturating_sub(719_468)
}

/// The year, month and day of a number of days since 1970-01-01.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

impl Format {
    /// A number as it is shown.
    fn encode(self, value: u64) -> u8 {
        let shown = if self.binary { value } else { ((value / 10) << 4) | (value % 10) };
        (shown & 0xff) as u8
    }

    /// The number that is shown.
    fn decode(self, shown: u8) -> u64 {
        let shown = u64::from(shown);
        if self.binary { shown } else { (shown >> 4) * 10 + (shown & 15) }
    }

    /// An hour as it is shown.
    fn encode_hour(self, hour: u64) -> u8 {
        if self.all_hours {
            return self.encode(hour);
        }
        let afternoon = if hour >= 12 { 0x80 } else { 0 };
        self.encode((hour + 11) % 12 + 1) | afternoon
    }

    /// The hour that is shown.
    fn decode_hour(self, shown: u8) -> u64 {
        if self.all_hours {
            return self.decode(shown);
        }
        let afternoon = if shown & 0x80 != 0 { 12 } else { 0 };
        self.decode(shown & 0x7f) % 12 + afternoon
    }
}

impl Moment {
    /// The moment that many seconds after the beginning of 1970, a Thursday; years end with 9999.
    pub(super) fn from_seconds(seconds: u64) -> Self {
        let seconds = seconds.min(LAST);
        Self { seconds, weekday: (seconds / DAY + 4) % 7 + 1 }
    }

    /// The moment `seconds` later.
    pub(super) fn plus(self, seconds: u64) -> Self {
        let later = self.seconds.saturating_add(seconds).min(LAST);
        let midnights = later / DAY - self.seconds / DAY;
        Self { seconds: later, weekday: (self.weekday + 6 + midnights) % 7 + 1 }
    }

    /// The moment that hour, minute and second, and year, month, day, weekday and century show.
    pub(super) fn decode(format: Format, time: [u8; 3], date: [u8; 5]) -> Self {
        let [hour, minute, second] = time;
        let [year, month, day, weekday, century] = date;
        let year = (format.decode(century) * 100 + format.decode(year)).clamp(1970, 9999);
        let days = days_of(year, format.decode(month).clamp(1, 12), format.decode(day).clamp(1, 31));
        let of_day = format.decode_hour(hour) * 3600 + format.decode(minute) * 60 + format.decode(second);
        let weekday = format.decode(weekday).clamp(1, 7);
        Self { seconds: (days * DAY + of_day).min(LAST), weekday }
    }

    /// What shows the moment: hour, minute and second, and year, month, day, weekday and century.
    pub(super) fn encode(self, format: Format) -> ([u8; 3], [u8; 5]) {
        let (year, month, day) = date_of(self.seconds / DAY);
        let of_day = self.seconds % DAY;
        let time =
            [format.encode_hour(of_day / 3600), format.encode(of_day / 60 % 60), format.encode(of_day % 60)];
        let date = [year % 100, month, day, self.weekday, year / 100].map(|value| format.encode(value));
        (time, date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DECIMAL: Format = Format { binary: false, all_hours: true };

    #[test]
    fn known_dates_are_shown() {
        let shown = |seconds| Moment::from_seconds(seconds).encode(DECIMAL);
        assert_eq!(shown(0), ([0, 0, 0], [0x70, 1, 1, 5, 0x19]));
        // 2024-02-29 23:59:59, a Thursday.
        assert_eq!(shown(1_709_251_199), ([0x23, 0x59, 0x59], [0x24, 2, 0x29, 5, 0x20]));
        // A second later it is Friday, the first of March.
        let later = Moment::from_seconds(1_709_251_199).plus(1);
        assert_eq!(later.encode(DECIMAL), ([0, 0, 0], [0x24, 3, 1, 6, 0x20]));
    }

    proptest! {
        #[test]
        fn what_is_shown_in_any_format_is_read_back(
            seconds in 0..=LAST,
            binary: bool,
            all_hours: bool,
        ) {
            let format = Format { binary, all_hours };
            let moment = Moment::from_seconds(seconds);
            let (time, date) = moment.encode(format);
            prop_assert_eq!(Moment::decode(format, time, date), moment);
        }

        #[test]
        fn no_register_value_breaks_the_calendar(time: [u8; 3], date: [u8; 5], binary: bool, all_hours: bool) {
            let format = Format { binary, all_hours };
            let moment = Moment::decode(format, time, date).plus(u64::MAX);
            prop_assert!(moment.seconds <= LAST);
        }
    }
}
