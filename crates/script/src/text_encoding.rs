//! Character sets of bodies, by the names that Java and the web have for them.

use encoding_rs::{Encoding, UTF_8};

use crate::host::{HostError, HostErrorKind};

/// The beginning of the text for an escape that is not valid, which scripts may know.
const INVALID_ESCAPE: &str = "org.apache.commons.codec.DecoderException: Invalid URL encoding: ";

/// The encoding of a name.
///
/// # Errors
/// [`HostErrorKind::Charset`] if it is unknown.
pub(crate) fn encoding(name: &str) -> Result<&'static Encoding, HostError> {
    let name = name.trim();
    let found = match name.to_ascii_lowercase().as_str() {
        "utf8" => Some(UTF_8),
        "ms932" | "cp932" | "windows-31j" | "sjis" | "cp943c" => Encoding::for_label(b"shift_jis"),
        "eucjp" | "euc_jp" => Encoding::for_label(b"euc-jp"),
        "iso2022jp" | "jis" => Encoding::for_label(b"iso-2022-jp"),
        "cp1252" => Encoding::for_label(b"windows-1252"),
        "iso8859_1" => Encoding::for_label(b"iso-8859-1"),
        other => Encoding::for_label(other.as_bytes()),
    };
    found.ok_or_else(|| HostError::new(HostErrorKind::Charset, &format!("unknown charset: {name}")))
}

/// The text of bytes. What is not valid becomes U+FFFD.
///
/// # Errors
/// As [`encoding`].
pub(crate) fn decode(bytes: &[u8], charset: &str) -> Result<String, HostError> {
    let (text, _) = encoding(charset)?.decode_without_bom_handling(bytes);
    Ok(text.into_owned())
}

/// The bytes of a text. What the character set does not have becomes `?`.
///
/// # Errors
/// As [`encoding`].
pub(crate) fn encode(text: &str, charset: &str) -> Result<Vec<u8>, HostError> {
    let encoding = encoding(charset)?;
    if encoding.output_encoding() != encoding {
        // The web never sends UTF-16.
        let big_endian = encoding.name().ends_with("BE");
        let units = text.encode_utf16();
        return Ok(units
            .flat_map(|unit| match big_endian {
                true => unit.to_be_bytes(),
                false => unit.to_le_bytes(),
            })
            .collect());
    }
    let mut encoder = encoding.new_encoder();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        let room = encoder
            .max_buffer_length_from_utf8_without_replacement(rest.len())
            .unwrap_or(rest.len());
        out.reserve(room);
        let (result, read) =
            encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut out, true);
        rest = rest.get(read..).unwrap_or_default();
        match result {
            encoding_rs::EncoderResult::InputEmpty => return Ok(out),
            encoding_rs::EncoderResult::OutputFull => {}
            encoding_rs::EncoderResult::Unmappable(_) => out.push(b'?'),
        }
    }
}

/// The text of a percent-encoded text, in which `+` is a blank and what is not ASCII becomes `?`.
///
/// # Errors
/// [`HostErrorKind::Argument`] for an escape that is not valid, with the text that scripts know for it; as [`encoding`].
pub(crate) fn percent_decode(text: &str, charset: &str) -> Result<String, HostError> {
    let invalid = |reason: String| {
        let text = format!("{INVALID_ESCAPE}{reason}");
        HostError::new(HostErrorKind::Argument, &text)
    };
    encoding(charset)?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        bytes.push(match character {
            '+' => b' ',
            '%' => {
                let mut value = 0;
                for _ in 0..2 {
                    let digit = characters.next().ok_or_else(|| invalid(String::new()))?;
                    let found = digit
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok());
                    value = value << 4
                        | found.ok_or_else(|| {
                            let code = if digit.is_ascii() { digit } else { '?' };
                            invalid(format!("not a valid digit (radix 16): {}", u32::from(code)))
                        })?;
                }
                value
            }
            character if character.is_ascii() => character as u8,
            _ => b'?',
        });
    }
    decode(&bytes, charset)
}

/// The bytes of a text with one character for each byte.
///
/// # Errors
/// [`HostErrorKind::Argument`] if a character is above U+00FF.
pub(crate) fn from_binary_text(text: &str) -> Result<Vec<u8>, HostError> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
    bytes.map_err(|_| HostError::new(HostErrorKind::Argument, "not a text of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn japanese_character_sets_are_read_and_written_by_all_their_names() {
        for (name, bytes) in [
            ("MS932", &b"\x93\xfa\x96\x7b"[..]),
            ("Windows-31J", b"\x93\xfa\x96\x7b"),
            ("Shift_JIS", b"\x93\xfa\x96\x7b"),
            ("EUC-JP", b"\xc6\xfc\xcb\xdc"),
            ("ISO-2022-JP", b"\x1b$BF|K\\\x1b(B"),
            ("utf-8", "日本".as_bytes()),
            ("UTF-16LE", b"\xe5\x65\x2c\x67"),
            ("UTF-16BE", b"\x65\xe5\x67\x2c"),
        ] {
            assert_eq!(decode(bytes, name).unwrap(), "日本", "{name}");
            assert_eq!(encode("日本", name).unwrap(), bytes, "{name}");
        }
        assert!(decode(b"", "nope").is_err() && encode("", "nope").is_err());
    }

    #[test]
    fn characters_that_a_set_does_not_have_become_question_marks() {
        assert_eq!(encode("a日\u{1f600}b", "iso-8859-1").unwrap(), b"a??b");
        assert_eq!(encode("é", "ISO8859_1").unwrap(), b"\xe9");
    }

    #[test]
    fn percent_decoding_respects_the_character_set_and_refuses_bad_escapes() {
        assert_eq!(
            percent_decode("%93%FA+x\u{e9}\u{65e5}", "MS932").unwrap(),
            "日 x??"
        );
        for (text, reason) in [
            ("%", ""),
            ("a%e", ""),
            ("%zz", "not a valid digit (radix 16): 122"),
            ("%1日", "not a valid digit (radix 16): 63"),
        ] {
            let error = percent_decode(text, "utf-8").unwrap_err();
            assert_eq!(error.message, format!("{INVALID_ESCAPE}{reason}"), "{text}");
        }
        assert!(percent_decode("", "nope").is_err());
    }

    #[test]
    fn texts_of_bytes_have_no_wider_characters() {
        assert_eq!(from_binary_text("a\u{ff}").unwrap(), b"a\xff");
        assert!(from_binary_text("\u{100}").is_err());
    }
}
