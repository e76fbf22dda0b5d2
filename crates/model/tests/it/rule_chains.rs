//! The headers that carry a chain of rules: what a unit believes of them.

use personium_model::event::{ChainHeaders, RuleChain};
use personium_testkit::ModelUnit;
use personium_types::CellId;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A unit with the ids of its cells `c` and `d`.
async fn unit_with_cells() -> (ModelUnit, [CellId; 2]) {
    let unit = ModelUnit::new().await;
    unit.create_cell("d").await;
    let mut cells = Vec::new();
    for name in ["c", "d"] {
        cells.push(unit.find_cell(name).await.unwrap().cell().id);
    }
    (unit, [cells[0], cells[1]])
}

/// The chain that a cell sees in the headers of another one.
fn carried(unit: &ModelUnit, cell: &CellId, chain: &RuleChain, is_of_unit: bool) -> RuleChain {
    let headers = chain.headers();
    let value = |index: usize| headers.get(index).map(|(_, value)| value.as_str());
    let headers = ChainHeaders {
        number: value(0),
        proofs: value(1),
        is_of_unit,
    };
    RuleChain::received(&unit.model, cell, headers)
}

#[tokio::test]
async fn unit_believes_its_own_requests_and_others_what_its_cell_has_proven() {
    let (unit, [c, d]) = unit_with_cells().await;
    let none = RuleChain::default();
    assert!(none.headers().is_empty());
    let once = none.after_rule_of(&unit.model, &c);
    assert_eq!(once.headers()[0], ("x-personium-rulechain", "1".to_owned()));
    for (cell, is_of_unit, expected) in [(c, true, 1), (d, true, 1), (c, false, 1), (d, false, 0)] {
        let found = carried(&unit, &cell, &once, is_of_unit);
        assert_eq!(found.length, expected, "{cell} {is_of_unit}");
    }
    // It comes back through a cell of another unit, which counts on.
    let mut chain = carried(&unit, &d, &once, false).after_rule_of(&unit.model, &d);
    assert_eq!((chain.length, chain.claimed), (1, 2));
    for expected in 1..5 {
        chain = carried(&unit, &c, &chain, false);
        assert_eq!(chain.length, expected);
        chain = chain.after_rule_of(&unit.model, &c);
        chain = carried(&unit, &d, &chain, false).after_rule_of(&unit.model, &d);
    }
    // Each cell has one proof.
    assert_eq!(chain.proofs.len(), 2, "{chain:?}");
}

#[tokio::test]
async fn proof_expires_and_is_bound_to_its_number_and_day() {
    let (unit, [c, _]) = unit_with_cells().await;
    let chain = RuleChain::of_length(1).after_rule_of(&unit.model, &c);
    let length = |unit: &ModelUnit, chain: &RuleChain| carried(unit, &c, chain, false).length;
    // A request with it may wait at another unit for the three days of the setting.
    for (ahead_ms, expected) in [
        (0, 2),
        (DAY_MS / 24, 2),
        (4 * DAY_MS, 2),
        (6 * DAY_MS, 0),
        (-3 * DAY_MS, 0),
    ] {
        let node = unit.server_node(ahead_ms);
        assert_eq!(length(&node, &chain), expected, "{ahead_ms}");
    }
    let node = unit.server_node(0);
    for changed in [("2.", "3."), ("2.", "02."), (".", ".0"), (".", "..")] {
        let mut forged = chain.clone();
        forged.proofs[0] = forged.proofs[0].replacen(changed.0, changed.1, 1);
        assert_eq!(length(&node, &forged), 0, "{forged:?}");
    }
}

#[tokio::test]
async fn request_that_has_waited_gets_a_new_proof_in_place_of_its_own() {
    let (unit, [c, d]) = unit_with_cells().await;
    let chain = RuleChain::default()
        .after_rule_of(&unit.model, &d)
        .after_rule_of(&unit.model, &c);
    let later = unit.server_node(30 * DAY_MS);
    assert_eq!(carried(&later, &c, &chain, false).length, 0);
    let renewed = chain.renewed(&later.model, &c);
    assert_eq!(
        (renewed.length, renewed.claimed, renewed.proofs.len()),
        (2, 2, 2)
    );
    assert_eq!(carried(&later, &c, &renewed, false).length, 2);
    // That of the other cell is not this one's to renew.
    assert_eq!(carried(&later, &d, &renewed, false).length, 0);
    assert_eq!(chain.after_rule_of(&later.model, &c).proofs.len(), 2);
    let none = RuleChain::default();
    assert_eq!(none.renewed(&later.model, &c), none);
}

#[tokio::test]
async fn headers_that_somebody_made_up_have_no_effect_and_no_size() {
    let (unit, [c, _]) = unit_with_cells().await;
    let many = vec!["1.1.x"; 500].join(",");
    let long = format!("1,1.1.{}", "x".repeat(200));
    for (number, proofs, claimed, kept) in [
        ("9", "9", 9, 0),
        ("-5", "9,", 0, 0),
        ("x", "x", 0, 0),
        ("99999999999", "", u32::MAX, 0),
        ("1", ",,,", 1, 0),
        ("1", "0,9.1.\"x\",é", 1, 0),
        ("1", &many, 1, 16),
        ("1", &long, 1, 0),
    ] {
        let headers = ChainHeaders {
            number: Some(number),
            proofs: Some(proofs),
            is_of_unit: false,
        };
        let found = RuleChain::received(&unit.model, &c, headers);
        let seen = (found.length, found.claimed, found.proofs.len());
        assert_eq!(seen, (0, claimed, kept), "{number} {proofs}");
        // The own proof takes the place of the oldest.
        let next = found.after_rule_of(&unit.model, &c);
        assert_eq!(next.length, 1);
        assert_eq!(next.proofs.len(), (kept + 1).min(16));
        assert_eq!(carried(&unit, &c, &next, false).length, 1);
    }
}
