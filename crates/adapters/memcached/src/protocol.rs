//! The text of commands and answers: the meta commands of memcached (`doc/protocol.txt` of memcached 1.6).
//!
//! Each command has a tag, which its answer repeats; some versions leave it out of the answer that there is no value.

/// The largest value that is stored and read, in bytes. memcached takes items of 1 MiB with their names and headers.
pub(crate) const MAX_VALUE_BYTES: usize = 1_000_000;
/// The largest number of characters of an answer that an error shows.
const MAX_SHOWN_CHARS: usize = 100;

/// An answer that cannot be used. The connection that it came from must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The server says that it cannot execute the command.
    #[error("the server refuses a command: {0}")]
    Refused(String),
    /// The answer is none of this protocol, or none to the command.
    #[error("the server gives no valid answer: {0}")]
    Invalid(String),
}

/// A command on one value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command<'a> {
    /// Returns the value.
    Get,
    /// Sets the value.
    Set { value: &'a [u8], expiry: u64 },
    /// Sets the value if there is none.
    Add { value: &'a [u8], expiry: u64 },
    /// Adds 1 to a number, or sets it to 1 if there is none; sets the expiry in both cases.
    Increment { expiry: u64 },
    /// Removes the value.
    Remove,
}

impl Command<'_> {
    /// The bytes of the command. `name` is the name of the value: at most 250 bytes without blanks and control characters.
    pub fn encode(&self, name: &str, tag: u64) -> Vec<u8> {
        match self {
            Self::Get => format!("mg {name} v O{tag}\r\n").into_bytes(),
            Self::Set { value, expiry } => store(name, value, &format!("T{expiry} O{tag}")),
            Self::Add { value, expiry } => store(name, value, &format!("ME T{expiry} O{tag}")),
            Self::Increment { expiry } => {
                format!("ma {name} N{expiry} J1 T{expiry} v O{tag}\r\n").into_bytes()
            }
            Self::Remove => format!("md {name} O{tag}\r\n").into_bytes(),
        }
    }
}

fn store(name: &str, value: &[u8], flags: &str) -> Vec<u8> {
    let mut out = format!("ms {name} {} {flags}\r\n", value.len()).into_bytes();
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    out
}

/// The first line of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerLine {
    /// A value of this many bytes follows.
    Value(usize),
    /// The command is executed.
    Done,
    /// There is no value.
    Absent,
    /// The value was not set, because there is one.
    Present,
}

impl AnswerLine {
    /// Parses a line without its end.
    ///
    /// # Errors
    /// [`ProtocolError`] if it is no answer to a command with this tag.
    pub fn parse(line: &[u8], tag: u64) -> Result<Self, ProtocolError> {
        let text = str::from_utf8(line).map_err(|_| invalid(line))?;
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let answer = match words.next() {
            Some("VA") => {
                let size = words.next().and_then(|size| size.parse().ok());
                let size = size.filter(|size| *size <= MAX_VALUE_BYTES);
                Self::Value(size.ok_or_else(|| invalid(line))?)
            }
            Some("HD") => Self::Done,
            Some("NS") => Self::Present,
            Some("NF") => Self::Absent,
            // Not all versions repeat the tag here.
            Some("EN") if text == "EN" => return Ok(Self::Absent),
            Some("EN") => Self::Absent,
            Some("ERROR" | "CLIENT_ERROR" | "SERVER_ERROR") => {
                return Err(ProtocolError::Refused(shown(line)));
            }
            _ => return Err(invalid(line)),
        };
        let found = words.find_map(|word| word.strip_prefix('O'));
        if found.and_then(|found| found.parse().ok()) == Some(tag) {
            Ok(answer)
        } else {
            Err(invalid(line))
        }
    }
}

/// The error for bytes that are no valid answer.
pub(crate) fn invalid(bytes: &[u8]) -> ProtocolError {
    ProtocolError::Invalid(shown(bytes))
}

/// The beginning of what a server sent, for errors.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let chars = text.chars().take(MAX_SHOWN_CHARS);
    chars.flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_name_value_expiry_and_tag() {
        let (value, expiry) = (b"a\r\nb".as_slice(), 60);
        for (command, expected) in [
            (Command::Get, "mg n v O7\r\n"),
            (
                Command::Set { value, expiry },
                "ms n 4 T60 O7\r\na\r\nb\r\n",
            ),
            (
                Command::Add { value, expiry },
                "ms n 4 ME T60 O7\r\na\r\nb\r\n",
            ),
            (Command::Increment { expiry }, "ma n N60 J1 T60 v O7\r\n"),
            (Command::Remove, "md n O7\r\n"),
        ] {
            assert_eq!(command.encode("n", 7), expected.as_bytes());
        }
    }

    #[test]
    fn answers_are_accepted_with_the_tag_of_the_command_only() {
        for (line, expected) in [
            ("VA 3 O7", Some(AnswerLine::Value(3))),
            ("VA 0 t30 O7", Some(AnswerLine::Value(0))),
            ("HD O7", Some(AnswerLine::Done)),
            ("NS O7", Some(AnswerLine::Present)),
            ("NF O7", Some(AnswerLine::Absent)),
            ("EN", Some(AnswerLine::Absent)),
            ("EN O7", Some(AnswerLine::Absent)),
            ("HD O8", None),
            ("HD", None),
            ("VA 3", None),
            ("VA O7", None),
            ("VA -1 O7", None),
            ("VA 1000001 O7", None),
            ("VA 99999999999999999999999 O7", None),
            ("EN O8", None),
            ("VALUE n 0 3", None),
            ("", None),
        ] {
            let parsed = AnswerLine::parse(line.as_bytes(), 7).ok();
            assert_eq!(parsed, expected, "{line}");
        }
        for refusal in ["ERROR", "CLIENT_ERROR bad", "SERVER_ERROR out of memory"] {
            let error = AnswerLine::parse(refusal.as_bytes(), 7).unwrap_err();
            assert_eq!(error, ProtocolError::Refused(refusal.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_or_refused(line: Vec<u8>, tag: u64) {
            if let Err(ProtocolError::Invalid(text)) = AnswerLine::parse(&line, tag) {
                prop_assert!(text.is_ascii());
            }
        }
    }
}
