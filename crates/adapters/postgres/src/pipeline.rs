//! Requests that are sent one after the other without waiting for answers.

use std::future::poll_fn;
use std::task::Poll;

use futures_util::future::BoxFuture;

/// The outcome of a pipeline that failed.
#[derive(Debug)]
pub(crate) struct PipelineError<E> {
    /// The first error in the order of the requests.
    pub(crate) error: E,
    /// The number of requests that were sent.
    pub(crate) sent: usize,
}

/// A request, and its answer once it arrived.
struct SentRequest<'r, T, E> {
    request: BoxFuture<'r, Result<T, E>>,
    answer: Option<Result<T, E>>,
}

/// Sends the requests in order, then waits for all answers.
///
/// A request is sent when its future is first polled. Once one fails at that moment, later ones are not sent. It may have failed
/// because of an earlier one, whose answer comes later.
///
/// # Errors
/// The first error in the order of the requests.
pub(crate) async fn send<T, E>(
    requests: Vec<BoxFuture<'_, Result<T, E>>>,
) -> Result<Vec<T>, PipelineError<E>> {
    let unanswered = |request| SentRequest {
        request,
        answer: None,
    };
    let mut requests: Vec<_> = requests.into_iter().map(unanswered).collect();
    let mut sent = 0;
    let mut failed_at_once = false;
    poll_fn(|context| {
        let mut is_waiting = false;
        for (index, SentRequest { request, answer }) in requests.iter_mut().enumerate() {
            if answer.is_some() {
                continue;
            }
            let is_new = index >= sent;
            if is_new && failed_at_once {
                break;
            }
            sent = sent.max(index + 1);
            match request.as_mut().poll(context) {
                Poll::Ready(result) => {
                    failed_at_once |= is_new && result.is_err();
                    *answer = Some(result);
                }
                Poll::Pending => {
                    is_waiting = true;
                    // Answers arrive in the order of the requests.
                    if !is_new {
                        break;
                    }
                }
            }
        }
        match is_waiting {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    })
    .await;
    let answers = requests.into_iter().filter_map(|sent| sent.answer);
    answers
        .collect::<Result<_, _>>()
        .map_err(|error| PipelineError { error, sent })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn requests_are_sent_in_order_and_none_after_one_that_could_not_be_sent() {
        let next = AtomicUsize::new(0);
        let next = &next;
        let request = |index: usize, fails_at_once: bool, fails_later: bool| {
            async move {
                assert_eq!(next.fetch_add(1, Ordering::Relaxed), index);
                if fails_at_once {
                    return Err(index);
                }
                tokio::task::yield_now().await;
                if fails_later { Err(index) } else { Ok(index) }
            }
            .boxed()
        };
        let all: Vec<_> = (0..100).map(|n| request(n, false, false)).collect();
        assert_eq!(send(all).await.unwrap(), (0..100).collect::<Vec<_>>());

        next.store(0, Ordering::Relaxed);
        let second_fails = (0..4).map(|n| request(n, n == 1, false)).collect();
        let failed = send(second_fails).await.unwrap_err();
        assert_eq!((failed.error, failed.sent), (1, 2));

        next.store(0, Ordering::Relaxed);
        let answered_late = (0..4).map(|n| request(n, false, n > 1)).collect();
        let failed = send(answered_late).await.unwrap_err();
        assert_eq!((failed.error, failed.sent), (2, 4));

        next.store(0, Ordering::Relaxed);
        let fails_with_the_one_before = (0..4).map(|n| request(n, n == 2, n == 1)).collect();
        let failed = send(fails_with_the_one_before).await.unwrap_err();
        assert_eq!((failed.error, failed.sent), (1, 3));
    }
}
