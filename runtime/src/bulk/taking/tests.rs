//! What a server may send, part by part, and what it may not.

use super::{
    super::{MemorySink, PIECE_MAX_BYTES},
    *,
};

const BODY: &[u8] = b"a body of some bytes";

fn head(from_bytes: u64) -> Head {
    let digest = Hasher::digest(Algorithm::Sha256, BODY);
    Head { size_bytes: BODY.len() as u64, from_bytes, digest }
}

fn piece(bytes: &'static [u8]) -> Part {
    Part::Piece(Bytes::from_static(bytes))
}

/// Takes these parts one after the other; what the last of them came to.
async fn last_of(parts: Vec<Part>) -> Result<Option<Digest>, String> {
    let mut sink = MemorySink::at_most(2 * PIECE_MAX_BYTES);
    let progress = watch::Sender::default();
    let mut taking = Taking::begin("a/b", &mut sink, progress, 1_000).await.expect("begun");
    let ask = Ask { label: [0; 16], from_bytes: 0, digest: None };
    let mut last = Ok(None);
    for part in parts {
        assert!(matches!(last, Ok(None)), "it had ended: {last:?}");
        last = taking.take(&Env::real(), part, &ask).await.map_err(|ended| match ended {
            Ended::ForGood(error) => error.to_string(),
            Ended::ForNow(words) => format!("for now: {words}"),
        });
    }
    last
}

#[tokio::test]
async fn an_honest_body_ends_with_its_digest() {
    let (one, other) = BODY.split_at(7);
    let parts = vec![Part::Head(head(0)), piece(one), piece(other), Part::End];
    assert_eq!(last_of(parts).await, Ok(Some(head(0).digest)));
}

#[tokio::test]
async fn more_than_was_said_is_refused() {
    let refused = Err("the server of a/b sends more than the 20 that it said".to_owned());
    assert_eq!(last_of(vec![Part::Head(head(0)), piece(&[0; 21])]).await, refused);
    assert_eq!(last_of(vec![Part::Head(head(0)), piece(BODY), piece(b"x")]).await, refused);
}

#[tokio::test]
async fn less_than_was_said_is_refused() {
    let parts = vec![Part::Head(head(0)), piece(&BODY[..7]), Part::End];
    let refused = "the server of a/b ends at 7 of the 20 that it said".to_owned();
    assert_eq!(last_of(parts).await, Err(refused));
}

#[tokio::test]
async fn another_part_of_the_body_than_was_asked_for_is_refused() {
    let refused = last_of(vec![Part::Head(head(5))]).await.expect_err("taken");
    assert_eq!(
        refused,
        "the server of a/b sends 5 to 20 of the body of 20, and was asked for 0 on"
    );
}

#[tokio::test]
async fn a_second_head_in_the_middle_must_go_on_with_the_same_body() {
    let begun = vec![Part::Head(head(0)), piece(&BODY[..7])];
    let goes_on = [begun.clone(), vec![Part::Head(head(7)), piece(&BODY[7..]), Part::End]].concat();
    assert_eq!(last_of(goes_on).await, Ok(Some(head(0).digest)));
    let shorter = Part::Head(Head { size_bytes: 19, ..head(7) });
    let refused = last_of([begun, vec![shorter]].concat()).await.expect_err("taken");
    assert_eq!(
        refused,
        "the server of a/b sends 7 to 19 of the body of 20, and was asked for 7 on"
    );
}

#[tokio::test]
async fn a_body_without_a_head_is_refused() {
    let refused = "the server of a/b sends a body without a head".to_owned();
    for part in [piece(BODY), Part::End] {
        assert_eq!(last_of(vec![part]).await, Err(refused.clone()));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_head() {
    let large = Part::Head(Head { size_bytes: u64::MAX, ..head(0) });
    let refused = "the body of a/b has 18446744073709551615 bytes, and at most 1000 are taken";
    assert_eq!(last_of(vec![large]).await, Err(refused.to_owned()));
}

#[tokio::test]
async fn of_a_body_that_does_not_fit_nothing_stays() {
    let mut sink = MemorySink::at_most(BODY.len() - 1);
    let progress = watch::Sender::default();
    let mut taking = Taking::begin("a/b", &mut sink, progress, 1_000).await.expect("begun");
    let ask = Ask { label: [0; 16], from_bytes: 0, digest: None };
    let (one, other) = BODY.split_at(7);
    for part in [Part::Head(head(0)), piece(one)] {
        assert!(matches!(taking.take(&Env::real(), part, &ask).await, Ok(None)));
    }
    let full = taking.take(&Env::real(), piece(other), &ask).await;
    let Err(Ended::ForGood(FetchError::Sink { error, .. })) = full else { panic!("it fits") };
    assert!(matches!(error, SinkError::Full(_)), "{error}");
    assert_eq!(taking.done_bytes(), 0);
    assert!(sink.into_bytes().is_empty(), "its part stayed");
}
