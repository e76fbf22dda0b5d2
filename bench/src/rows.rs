//! The rows of all scenarios with entities: five declared properties and one undeclared.

use personium_testkit::SplitMix64;

/// The size of the undeclared property.
const NOTE_BYTES: usize = 800;
/// The earliest time of a row: 2020-01-01 in milliseconds.
const FIRST_TIME_MS: u64 = 1_577_836_800_000;
/// The range of times in milliseconds: five years.
const TIME_RANGE_MS: u64 = 157_766_400_000;

/// The declared properties of the entity type, with their types.
pub(crate) const PROPERTIES: &[(&str, &str)] = &[
    ("name", "Edm.String"),
    ("n", "Edm.Int32"),
    ("score", "Edm.Double"),
    ("at", "Edm.DateTime"),
    ("flag", "Edm.Boolean"),
];

/// Returns the key of a row: 32 hexadecimal digits, always the same for a number.
pub(crate) fn key(number: u64) -> String {
    let mut random = SplitMix64::new(number ^ 0x005e_ed00);
    format!("{:016x}{:016x}", random.next_u64(), random.next_u64())
}

/// Returns the JSON that creates a row.
pub(crate) fn json(number: u64) -> String {
    let mut random = SplitMix64::new(number);
    let name: String = (0..20)
        .map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap_or(0)))
        .collect();
    format!(
        "{{\"__id\":\"{}\",\"name\":\"{name}\",\"n\":{},\"score\":{}.{},\"at\":\"/Date({})/\",\"flag\":{},\"note\":\"{}\"}}",
        key(number),
        random.below(100),
        random.below(1000),
        random.below(9) + 1,
        FIRST_TIME_MS + random.below(TIME_RANGE_MS),
        random.below(2) == 0,
        note(&mut random),
    )
}

/// Returns letters, blanks and kana, 800 bytes of UTF-8.
fn note(random: &mut SplitMix64) -> String {
    let mut note = String::with_capacity(NOTE_BYTES);
    while note.len() + 3 <= NOTE_BYTES {
        let choice = u32::try_from(random.below(60)).unwrap_or(0);
        match choice {
            0..26 => note.push(char::from_u32(u32::from('a') + choice).unwrap_or('a')),
            26..30 => note.push(' '),
            _ => note.push(char::from_u32(0x3042 + choice).unwrap_or('a')),
        }
    }
    while note.len() < NOTE_BYTES {
        note.push('.');
    }
    note
}

/// Returns the body of a `$batch` that creates rows, with the boundary `b` and the change set boundary `c`.
pub(crate) fn batch(set: &str, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut body = String::from("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n");
    for number in numbers {
        body.push_str("--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nPOST ");
        body.push_str(set);
        body.push_str(" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n");
        body.push_str(&json(number));
        body.push_str("\r\n");
    }
    body.push_str("--c--\r\n--b--\r\n");
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_documented_properties_and_are_repeatable() {
        let row: serde_json::Value = serde_json::from_str(&json(7)).unwrap();
        assert_eq!(row["__id"].as_str().unwrap().len(), 32);
        assert_eq!(row["name"].as_str().unwrap().len(), 20);
        assert!(row["n"].as_u64().unwrap() < 100);
        assert_eq!(row["note"].as_str().unwrap().len(), NOTE_BYTES);
        assert_eq!(json(7), json(7));
        assert_ne!(key(7), key(8));
    }
}
