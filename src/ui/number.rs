//! Numbers for people: grouped, without a locale.

/// `184 203 311`: groups of three.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `184.2 M`, for headings.
pub fn short(n: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match UNITS.into_iter().find(|(size, _)| n >= *size && n >= 10_000) {
        Some((size, unit)) => format!("{} {unit}", tenths(n, size)),
        None => n.to_string(),
    }
}

/// `41.0 GiB`, `512 B`.
pub fn bytes(n: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(size, _)| n >= *size) {
        Some((size, unit)) => format!("{} {unit}", tenths(n, size)),
        None => format!("{n} B"),
    }
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `3 h 07 min`.
pub fn duration_ms(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        _ if ms < 1000 => format!("{ms} ms"),
        0..60 => format!("{} s", tenths(ms, 1000)),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Part of a whole, in percent with one digit; never `100.0` before the end.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part >= whole {
        return "100 %".to_owned();
    }
    let per_mille = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

fn tenths(n: u64, unit: u64) -> String {
    let tenths = u128::from(n) * 10 / u128::from(unit);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let all = [0, 999, 9999, 10_000, 184_203_311, u64::MAX].map(grouped);
        assert_eq!(all, ["0", "999", "9 999", "10 000", "184 203 311", "18 446 744 073 709 551 615"]);
        assert_eq!([0, 9_999, 12_345, 184_203_311].map(short), ["0", "9999", "12.3 k", "184.2 M"]);
        assert_eq!([0, 1023, 1024, 44_023_414_784].map(bytes), ["0 B", "1023 B", "1.0 KiB", "41.0 GiB"]);
        assert_eq!([7, 1_250, 245_000, 11_220_000].map(duration_ms), ["7 ms", "1.2 s", "4 min 05 s", "3 h 07 min"]);
        assert_eq!(percent(9_999_999, 10_000_000), "99.9 %");
        assert_eq!(percent(5, 5), "100 %");
    }
}
