//! Numbers, sizes, times and rates as people write them.

/// How long something lasts.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => two("h", seconds / 3600, "min", seconds % 3600 / 60),
        _ => two("d", seconds / 86_400, "h", seconds % 86_400 / 3600),
    }
}

fn two(large_unit: &str, large: u64, small_unit: &str, small: u64) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// A size in bytes.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "a size is read by people")]
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if size < 10.0 && unit != "B" { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}

/// A number with its thousands parted.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut parted = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            parted.push(',');
        }
        parted.push(digit);
    }
    parted
}

/// A rate: whole numbers from ten on.
pub(crate) fn per_second(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative and small"
    )]
    let whole = rate.round() as u64;
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { number(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sizes_and_times_are_short() {
        assert_eq!(
            [0, 61, 3_700, 21_600, 90_000].map(duration),
            ["0 s", "1 min", "1 h 1 min", "6 h", "1 d 1 h"]
        );
        assert_eq!(
            [0, 1023, 1536, 10 << 20, 3 << 40].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "10 MiB", "3.0 TiB"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.26, 9.96, 12_345.4].map(per_second), ["0", "0.3", "10.0", "12,345"]);
    }
}
