//! Decimal numbers read digit by digit: the text of a number in, exact integers out.
//!
//! For what a float would spoil: epoch timestamps with nanoseconds, durations in other units, integers written as
//! `1e3` or `2.0`.

/// Most digits that are read; what follows counts for the magnitude alone.
const MAX_DIGITS: usize = 36;

/// A number as written: `mantissa * 10^exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    negative: bool,
    mantissa: u128,
    exponent: i32,
}

impl Decimal {
    /// Reads a number of JSON; leading zeros, a plus sign and a missing integer part are let pass.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        if let Some((b'-' | b'+', rest)) = bytes.split_first() {
            bytes = rest;
        }
        let (mut mantissa, mut exponent) = (0u128, 0i32);
        let (mut kept, mut any_digit, mut in_fraction) = (0usize, false, false);
        while let Some((&byte, rest)) = bytes.split_first() {
            match byte {
                b'0'..=b'9' if kept < MAX_DIGITS => {
                    mantissa = mantissa * 10 + u128::from(byte - b'0');
                    kept += usize::from(mantissa > 0);
                    exponent -= i32::from(in_fraction);
                }
                b'0'..=b'9' => exponent = exponent.saturating_add(i32::from(!in_fraction)),
                b'.' if !in_fraction => in_fraction = true,
                b'e' | b'E' if any_digit => {
                    let power = std::str::from_utf8(rest).ok()?.parse::<i32>().ok()?;
                    exponent = exponent.saturating_add(power);
                    break;
                }
                _ => return None,
            }
            any_digit |= byte.is_ascii_digit();
            bytes = rest;
        }
        any_digit.then_some(Self { negative, mantissa, exponent })
    }

    /// The integer part without its sign; none when it is beyond 128 bits.
    pub(super) fn magnitude(self) -> Option<u128> {
        self.times_power_of_ten(0)
    }

    /// The number times `10^power`, its fraction cut off; none when it does not fit.
    pub(super) fn scaled(self, power: i32) -> Option<i64> {
        let magnitude = i128::try_from(self.times_power_of_ten(power)?).ok()?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// The number itself; none when it has a fraction or does not fit.
    pub(super) fn whole(self) -> Option<i64> {
        let has_fraction = self.mantissa != 0
            && self.exponent < 0
            && 10u128
                .checked_pow(self.exponent.unsigned_abs())
                .is_none_or(|factor| !self.mantissa.is_multiple_of(factor));
        if has_fraction { None } else { self.scaled(0) }
    }

    fn times_power_of_ten(self, power: i32) -> Option<u128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let exponent = self.exponent.saturating_add(power);
        let factor = 10u128.checked_pow(exponent.unsigned_abs());
        if exponent < 0 {
            return Some(factor.map_or(0, |factor| self.mantissa / factor));
        }
        self.mantissa.checked_mul(factor?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Option<i64> {
        Decimal::parse(text)?.whole()
    }

    #[test]
    fn whole_numbers_in_any_spelling() {
        assert_eq!(whole("1e3"), Some(1000));
        assert_eq!(whole("-2.00"), Some(-2));
        assert_eq!(whole("0.0e-5"), Some(0));
        assert_eq!(whole("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole("9223372036854775808"), None);
        assert_eq!(whole("1.5"), None);
        assert_eq!(whole("1e-400"), None);
        assert_eq!(whole(""), None);
    }

    proptest! {
        #[test]
        fn integers_are_exact(value: i64, zeros in 0usize..4) {
            prop_assert_eq!(whole(&value.to_string()), Some(value));
            prop_assert_eq!(whole(&format!("{value}.{}e0", "0".repeat(zeros))), Some(value));
        }

        #[test]
        fn scaling_is_a_shift_of_the_point(value in -9_000_000_000i64..9_000_000_000, digits in 0i64..1_000_000_000) {
            let text = format!("{value}.{digits:09}");
            let nanos = value.abs() * 1_000_000_000 + digits;
            let nanos = if value < 0 { -nanos } else { nanos };
            prop_assert_eq!(Decimal::parse(&text).unwrap().scaled(9), Some(nanos));
        }
    }
}
