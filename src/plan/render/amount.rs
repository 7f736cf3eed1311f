//! Numbers for people, the same in every locale.

/// `184 203 311`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `184.2 M`, `950`: rows.
pub fn rows(number: u64) -> String {
    scaled(number, 1_000, &["", " k", " M", " G", " T"])
}

/// `41 GiB`, `512 B`: bytes.
pub fn bytes(number: u64) -> String {
    scaled(number, 1_024, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

/// One decimal, left out when it is 0, so that `41 GiB` is not `41.0 GiB`.
fn scaled(number: u64, base: u64, units: &[&str]) -> String {
    let mut unit = 0;
    let mut divisor = 1_u64;
    while unit + 1 < units.len() && number / divisor >= base {
        divisor *= base;
        unit += 1;
    }
    let tenths = u128::from(number) * 10 / u128::from(divisor);
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if tenth == 0 { format!("{whole}{}", units[unit]) } else { format!("{whole}.{tenth}{}", units[unit]) }
}

/// `1 table`, `2 tables`; the plural ends in s.
pub fn counted(number: usize, noun: &str) -> String {
    let plural = match (number, noun) {
        (1, _) => return format!("1 {noun}"),
        (_, "index") => "indexes".to_owned(),
        (_, "policy") => "policies".to_owned(),
        (_, "row security" | "statistics") => noun.to_owned(),
        (_, "replica identity") => "replica identities".to_owned(),
        _ => format!("{noun}s"),
    };
    format!("{number} {plural}")
}

/// `45 s`, `14 min`, `3 h 20 min`, `2 d 4 h`: at most two units, rounded down.
pub fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = UNITS.iter().position(|(length, _)| seconds >= *length).unwrap_or(3);
    let (length, unit) = UNITS[largest];
    let first = format!("{} {unit}", seconds / length);
    // Seconds beside minutes would claim to know more than an estimate does.
    let next = UNITS.get(largest + 1).filter(|(length, _)| *length > 1);
    match next.map(|(smaller, unit)| (seconds % length / smaller, unit)) {
        Some((more, unit)) if more > 0 => format!("{first} {more} {unit}"),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(grouped(184_203_311), "184 203 311");
        assert_eq!(grouped(12), "12");
        assert_eq!(rows(184_203_311), "184.2 M");
        assert_eq!(bytes(41 * 1_073_741_824), "41 GiB");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(rows(0), "0");
        assert_eq!(bytes(u64::MAX), "16383.9 PiB");
        assert_eq!(counted(2, "policy"), "2 policies");
        assert_eq!(
            [0, 59, 60, 899, 12_000, 187_200].map(duration),
            ["0 s", "59 s", "1 min", "14 min", "3 h 20 min", "2 d 4 h"]
        );
    }
}
