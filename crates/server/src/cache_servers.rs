//! Looks whether the memcached servers of the cache answer. A unit runs without them.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::CacheConfig;

/// The longest time that a server may take for each step.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A command of memcached 1.6 that does nothing, and its answer.
const NO_OPERATION: (&[u8], &[u8]) = (b"mn\r\n", b"MN\r\n");

/// Looks at the memcached servers of the settings. It blocks for some seconds at most.
///
/// # Errors
/// The servers that do not answer, each with the reason.
pub(crate) fn check(config: &CacheConfig) -> Result<(), String> {
    let timeout = Duration::from_millis(config.timeout_ms.into()).min(LONGEST_TIMEOUT);
    let problem = |server: String| match ask(&server, timeout) {
        Ok(true) => None,
        Ok(false) => Some(format!("{server} is no memcached of version 1.6 or later")),
        Err(error) => Some(format!("{server}: {error}")),
    };
    let servers = config.memcached_servers().into_iter();
    let problems: Vec<String> = servers.filter_map(problem).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("; "))
    }
}

/// Whether a server answers a command of memcached 1.6.
fn ask(server: &str, timeout: Duration) -> io::Result<bool> {
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
        return Ok(answer == NO_OPERATION.1);
    }
    Err(failure)
}
