//! Numbers as OTLP/JSON writes them: the text of a JSON number or string in, an exact value out.
//!
//! Integers of 64 bits come as decimal strings or as numbers, and some senders write nanoseconds as `1.7e18`. They
//! are read digit by digit, never through a double, which would be off by up to 128 ns.

/// The text inside the quotes of a JSON string without escapes, or the text itself.
pub(super) fn unquoted(json: &str) -> &str {
    json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json)
}

/// The value of a number without a fraction; none when it has one, or is no number, or has more than 38 digits.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let mut scale = i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    while scale > 0 && value != 0 {
        value = value.checked_mul(10)?;
        scale -= 1;
    }
    while scale < 0 && value != 0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
        scale += 1;
    }
    Some(if negative { -value } else { value })
}

/// The nearest double; none when the text is no number, or a finite one beyond the range of doubles.
pub(super) fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(f64::INFINITY),
        "-Infinity" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    // `parse` knows more spellings than JSON does.
    if !text.strip_prefix('-').unwrap_or(text).starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_exact_in_every_spelling() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("1700000000123456789", 1_700_000_000_123_456_789),
            ("1.700000000123456789e18", 1_700_000_000_123_456_789),
            ("1700000000123456789.000", 1_700_000_000_123_456_789),
            ("17E+17", 1_700_000_000_000_000_000),
            ("1200e-2", 12),
            ("-9223372036854775808", i128::from(i64::MIN)),
            ("0e2147483647", 0),
            ("0.0e-2147483648", 0),
        ] {
            assert_eq!(integer(text), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "1.5",
            "1e-1",
            ".5",
            "0x10",
            "1e2147483647",
            "1e99999999999",
            "+1",
            " 1",
            "1_000",
            "NaN",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn doubles_take_the_three_names_and_nothing_else_that_is_no_number() {
        assert!(double("NaN").is_some_and(f64::is_nan));
        assert_eq!(double("-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(double("1e3"), Some(1000.0));
        for text in ["nan", "inf", "infinity", "+1", "", "-", "1e999", "one"] {
            assert_eq!(double(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_integer_reads_back(value in any::<i64>(), zeros in 0_usize..4) {
            prop_assert_eq!(integer(&value.to_string()), Some(i128::from(value)));
            let with_fraction = format!("{value}.{}", "0".repeat(zeros));
            prop_assert_eq!(integer(&with_fraction), Some(i128::from(value)));
        }

        #[test]
        fn any_finite_double_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(double(&format!("{value:e}")).map(f64::to_bits), Some(bits));
        }
    }
}
