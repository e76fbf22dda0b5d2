//! Looks whether the memcached servers of the cache answer. A unit runs without them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::CacheConfig;

/// The longest time that a server may take for each step.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A command of memcached 1.6 that does nothing, and its answer.
const NO_OPERATION: (&[u8], &[u8]) = (b"mn\r\n", b"MN\r\n");

/// The longest line with a version.
const MAX_LINE_BYTES: u64 = 100;

/// Looks at the memcached servers of the settings. It blocks for some seconds at most.
///
/// Returns their versions.
///
/// # Errors
/// The servers that do not answer, each with the reason.
pub(crate) fn check(config: &CacheConfig) -> Result<String, String> {
    let timeout = Duration::from_millis(config.timeout_ms.into()).min(LONGEST_TIMEOUT);
    let (mut versions, mut problems) = (Vec::new(), Vec::new());
    for server in config.memcached_servers() {
        match ask(&server, timeout) {
            Ok(Some(version)) => versions.push(format!("{server} is memcached {version}")),
            Ok(None) => problems.push(format!("{server} is no memcached of version 1.6 or later")),
            Err(error) => problems.push(format!("{server}: {error}")),
        }
    }
    match problems.is_empty() {
        true => Ok(versions.join("; ")),
        false => Err(problems.join("; ")),
    }
}

/// The version of a server that answers a command of memcached 1.6.
fn ask(server: &str, timeout: Duration) -> io::Result<Option<String>> {
    let mut failure = io::Error::other("the name has no address");
    for address in server.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => stream,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.write_all(NO_OPERATION.0)?;
        let mut answer = [0; NO_OPERATION.1.len()];
        stream.read_exact(&mut answer)?;
        if answer != NO_OPERATION.1 {
            return Ok(None);
        }
        stream.write_all(b"version\r\n")?;
        let mut line = String::new();
        let read = BufReader::new(stream.take(MAX_LINE_BYTES)).read_line(&mut line);
        let version = read
            .ok()
            .and_then(|_| line.trim_end().strip_prefix("VERSION "));
        return Ok(Some(version.unwrap_or("of an unknown version").to_owned()));
    }
    Err(failure)
}
