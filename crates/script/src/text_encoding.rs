//! Character sets of bodies, by the names that Java and the web have for them.

use encoding_rs::{Encoding, UTF_8};
use percent_encoding::percent_decode_str;

use crate::host::{HostError, HostErrorKind};

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

/// The text of a percent-encoded text.
///
/// # Errors
/// As [`encoding`].
pub(crate) fn percent_decode(
    text: &str,
    charset: &str,
    plus_is_blank: bool,
) -> Result<String, HostError> {
    let bytes: Vec<u8> = match plus_is_blank {
        true => percent_decode_str(&text.replace('+', " ")).collect(),
        false => percent_decode_str(text).collect(),
    };
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
    fn percent_decoding_respects_the_character_set() {
        assert_eq!(percent_decode("%93%FA+x", "MS932", true).unwrap(), "日 x");
        assert_eq!(percent_decode("a+b%zz", "utf-8", false).unwrap(), "a+b%zz");
    }

    #[test]
    fn texts_of_bytes_have_no_wider_characters() {
        assert_eq!(from_binary_text("a\u{ff}").unwrap(), b"a\xff");
        assert!(from_binary_text("\u{100}").is_err());
    }
}
