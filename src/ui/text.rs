//! Numbers for people.

/// `24,583`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `4.8 MiB`; exact below 1 KiB.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64;
    let mut unit = "";
    for name in UNITS {
        value /= 1024.0;
        unit = name;
        if value < 1023.95 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

/// `190.0 ms`, `1.2 s`, `345 µs`.
pub fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// `1 process`, `3 processes`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count as u64), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!([0, 999, 1_000, 24_583, 1_000_000].map(grouped), ["0", "999", "1,000", "24,583", "1,000,000"]);
    }

    #[test]
    fn units_change_where_they_should() {
        assert_eq!(
            [0, 1023, 1024, 1_048_575, 5_054_464].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "4.8 MiB"]
        );
        assert_eq!([7, 9_500, 1_190_001].map(micros), ["7 µs", "9.5 ms", "1.19 s"]);
        assert_eq!(counted(1, "process", "processes"), "1 process");
    }
}
