//! The end of the connections of a stopping server: each finishes the request that it answers.

use tokio::sync::watch;

/// Tells connections that they shall end, and waits for them.
#[derive(Debug, Default)]
pub(crate) struct GracefulEnd(watch::Sender<bool>);

/// The part of one connection. It is waited for until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionEnd(watch::Receiver<bool>);

impl GracefulEnd {
    /// The part of a new connection.
    pub(crate) fn watch(&self) -> ConnectionEnd {
        ConnectionEnd(self.0.subscribe())
    }

    /// Tells all connections that they shall end, and waits until they have.
    pub(crate) async fn finish(self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

impl ConnectionEnd {
    /// Waits until the connection shall end.
    pub(crate) async fn begun(&mut self) {
        if self.0.wait_for(|begun| *begun).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn end_waits_for_every_connection() {
        let graceful = GracefulEnd::default();
        let (mut a, b) = (graceful.watch(), graceful.watch());
        let ended = tokio::spawn(graceful.finish());
        a.begun().await;
        drop(a);
        assert!(!ended.is_finished());
        drop(b);
        ended.await.unwrap();
    }
}
