use personium_types::CellId;

use super::*;

const CELL: Space = Space::Cell(CellId::from_bytes([1; 16]));
const OTHER: Space = Space::Cell(CellId::from_bytes([2; 16]));
const MIB: usize = 1 << 20;

fn memory() -> AnswerMemory {
    AnswerMemory::new(16 << 20)
}

fn code(outcome: Result<()>) -> Option<Code> {
    outcome.err().map(|error| error.code())
}

#[test]
fn small_answers_are_not_counted() {
    let memory = memory();
    let mut small = memory.share(CELL).reservation();
    small.hold(UNCOUNTED_ANSWER_BYTES).unwrap();
    assert_eq!((memory.used_bytes(), small.is_counted()), (0, false));
    small.hold(1).unwrap();
    assert_eq!((memory.used_bytes(), small.is_counted()), (32 << 10, true));
    small.keep(1);
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn dropped_parts_are_released_one_by_one() {
    let memory = memory();
    let mut whole = memory.share(CELL).reservation();
    whole.hold(4 * MIB).unwrap();
    let part = whole.split(3 * MIB);
    drop(whole);
    assert_eq!(memory.used_bytes(), 3 * MIB);
    drop(part);
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn one_cell_gets_a_quarter_unless_it_has_one_answer() {
    let memory = memory();
    let mut large = memory.share(CELL).reservation();
    large.hold(10 * MIB).unwrap();
    let mut next = memory.share(CELL).reservation();
    let refused = next.hold(MIB).unwrap_err();
    assert_eq!(refused.code(), Code::ServerBusy);
    assert!(AnswerMemoryShort::cause_of(&refused).is_some());
    let mut of_other = memory.share(OTHER).reservation();
    of_other.hold(6 * MIB).unwrap();
    assert_eq!(code(of_other.hold(1)), Some(Code::ServerBusy));
    assert_eq!(code(next.hold(17 * MIB)), Some(Code::QueryRefused));
    drop(large);
    let mut more = memory.share(OTHER).reservation();
    assert_eq!(code(more.hold(MIB)), Some(Code::ServerBusy));
    next.hold(4 * MIB).unwrap();
}

#[test]
fn what_is_in_memory_already_is_counted_beyond_the_budget() {
    let memory = memory();
    let mut forced = memory.share(CELL).reservation();
    forced.hold_anyway(20 * MIB);
    assert_eq!(memory.used_bytes(), 20 * MIB);
    let mut other = memory.share(OTHER).reservation();
    assert_eq!(code(other.hold(MIB)), Some(Code::ServerBusy));
    forced.correct(20 * MIB, 2 * MIB);
    other.hold(MIB).unwrap();
    drop((forced, other));
    assert_eq!(memory.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn request_that_waits_gets_released_memory() {
    let memory = memory();
    let mut first = memory.share(CELL).reservation();
    first.hold(15 * MIB).unwrap();
    let share = memory.share(OTHER);
    let (waited, ()) = tokio::join!(share.reserve(4 * MIB), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(memory.is_short());
        drop(first);
    });
    let waited = waited.unwrap();
    assert_eq!(memory.used_bytes(), 4 * MIB);
    drop(waited);
    assert_eq!((memory.used_bytes(), memory.refusals()), (0, 0));
    assert!(!memory.is_short());
}

#[tokio::test(start_paused = true)]
async fn request_that_waits_in_vain_is_refused_and_leaves_the_queue() {
    let memory = memory();
    let mut all = memory.share(CELL).reservation();
    all.hold(16 * MIB).unwrap();
    let refused = memory.share(OTHER).reserve(MIB).await.unwrap_err();
    assert_eq!((refused.code(), memory.refusals()), (Code::ServerBusy, 1));
    drop(all);
    assert_eq!(memory.used_bytes(), 0);
    memory.share(OTHER).reserve(MIB).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_cell_that_wait_do_not_delay_other_cells() {
    let memory = memory();
    let mut of_cell = memory.share(CELL).reservation();
    of_cell.hold(8 * MIB).unwrap();
    let mut other = memory.share(OTHER).reservation();
    other.hold(8 * MIB).unwrap();
    let (same, third) = (memory.share(CELL), Space::Unit);
    let third = memory.share(third);
    let (same, third, ()) = tokio::join!(same.reserve(2 * MIB), third.reserve(MIB), async {
        other.keep(4 * MIB);
    });
    assert_eq!(same.unwrap_err().code(), Code::ServerBusy);
    third.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_so_many_requests_of_one_cell_wait() {
    let memory = memory();
    let mut all = memory.share(CELL).reservation();
    all.hold(16 * MIB).unwrap();
    let share = memory.share(CELL);
    let waiting: Vec<_> = (0..CELL_QUEUE_MAX)
        .map(|_| share.enqueue(MIB).unwrap())
        .collect();
    assert!(share.enqueue(MIB).is_none());
    assert!(memory.share(OTHER).enqueue(MIB).is_some());
    drop(waiting);
    assert!(share.enqueue(MIB).is_some());
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_begun_again_has_the_memory_that_it_lacked() {
    let memory = memory();
    let mut other = memory.share(CELL).reservation();
    other.hold(15 * MIB).unwrap();
    let share = memory.share(OTHER);
    let refusal = share.reservation().hold(2 * MIB).unwrap_err();
    drop(other);
    let mut again = share.reserve_missing(refusal).await.unwrap();
    assert_eq!(memory.used_bytes(), 4 * MIB);
    again.hold(4 * MIB).unwrap();
    assert_eq!(memory.used_bytes(), 4 * MIB);
    let foreign = share.reserve_missing(Code::ServerBusy.into()).await;
    assert_eq!(foreign.unwrap_err().code(), Code::ServerBusy);
}
