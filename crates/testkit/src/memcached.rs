//! A memcached server in a process of its own.

use std::process::{Command, Stdio};

use crate::process::{OnDrop, Process, free_port};

/// A memcached server on a free port of this machine. Dropping it kills the process.
#[derive(Debug)]
pub struct Memcached {
    port: u16,
    process: Option<Process>,
}

impl Memcached {
    /// Starts a server, and waits until it listens.
    #[must_use]
    pub fn start() -> Self {
        let port = free_port();
        let process = Some(listen(port));
        Self { port, process }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, as `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the process. Everything in it is lost.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Self::kill`], on the same port.
    pub fn start_again(&mut self) {
        self.process = Some(listen(self.port));
    }

    /// Stops the process without ending it: it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().pause();
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.process.as_ref().unwrap().resume();
    }
}

/// Starts the program. It refuses to run as root, so it is told to become another user then.
fn listen(port: u16) -> Process {
    let mut command = Command::new("memcached");
    command
        .args(["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0"])
        .args(["-u", "nobody", "-m", "16", "-t", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let listening = Process::listen(&mut command, port, OnDrop::Kill);
    listening.unwrap_or_else(|e| panic!("{e}")).0
}
