//! Rules that cannot take effect are refused: one too many, and a timer that is moved to a time that is over.

use std::collections::BTreeMap;

use personium_model::event::{dead_letter, timer};
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::odata::{self, Change, Creation, EntityRef, ServiceRoot};
use personium_odata::body::{Intent, Route};
use personium_odata::key::EntityKey;
use personium_store::Batch;
use personium_testkit::{ModelUnit, create, server_authority};
use personium_types::{Code, Preconditions, Result};

const HOUR_MS: i64 = 3_600_000;

/// The largest number of rules of a cell.
const RULES_MAX: usize = 10_000;

/// Changes the rule `timer`.
async fn change(root: &ServiceRoot, intent: Intent, body: &str) -> Result<()> {
    let set = root.set("Rule")?;
    let change = Change {
        body: odata::validate(root, &set, body.as_bytes(), intent, Route::Direct).await?,
        intent,
        hidden: BTreeMap::new(),
        conditions: Preconditions::default(),
    };
    let permit = server_authority().permit_write(root, &set);
    let key = EntityKey::single("timer");
    let target = EntityRef {
        set: &set,
        key: &key,
    };
    odata::update(root, &permit, target, &change, &|_| Ok(()))
        .await
        .map(drop)
}

#[tokio::test]
async fn rule_above_the_limit_is_refused_until_another_one_is_deleted() {
    let unit = ModelUnit::new().await;
    let root = unit.cell_root().await;
    let rule = |name: &str| format!(r#"{{"Name":"{name}","EventExternal":true,"Action":"log"}}"#);
    let last = create(&root, "Rule", &rule("last")).await.unwrap();
    let mut batch = Batch::new();
    let set = SetKey::control(ControlSet::Rule);
    for number in 2..RULES_MAX {
        batch.put(keys::entity(&set, &format!("{number}")), Vec::new());
    }
    let context = unit.context().await;
    context.records().commit(batch).await.unwrap();
    create(&root, "Rule", &rule("one")).await.unwrap();
    let refused = create(&root, "Rule", &rule("two")).await.unwrap_err();
    assert_eq!(refused.code(), Code::RuleLimit);
    let timer = r#"{"Name":"t","EventType":"timer.periodic","EventObject":"5","Action":"log"}"#;
    let refused = create(&root, "Rule", timer).await.unwrap_err();
    assert_eq!(refused.code(), Code::RuleLimit);
    let mut batch = Batch::new();
    batch.delete(keys::entity(&set, &last.id));
    let context = unit.context().await;
    context.records().commit(batch).await.unwrap();
    create(&root, "Rule", &rule("two")).await.unwrap();
}

#[tokio::test]
async fn rules_of_one_batch_count_too() {
    let unit = ModelUnit::new().await;
    let mut batch = Batch::new();
    let set = SetKey::control(ControlSet::Rule);
    for number in 3..=RULES_MAX {
        batch.put(keys::entity(&set, &format!("{number}")), Vec::new());
    }
    let context = unit.context().await;
    context.records().commit(batch).await.unwrap();
    let root = unit.cell_root().await;
    let rules = root.set("Rule").unwrap();
    let mut creations = Vec::new();
    for name in ["a", "a", "b", "c", "d"] {
        let body = format!(r#"{{"Name":"{name}","EventExternal":true,"Action":"log"}}"#);
        let (intent, route) = (Intent::Create, Route::Direct);
        let body = odata::validate(&root, &rules, body.as_bytes(), intent, route).await;
        creations.push(Creation {
            set: rules.clone(),
            body: body.unwrap(),
            hidden: BTreeMap::new(),
            navigation: None,
            exists: Code::EntityExists,
            history: None,
        });
    }
    let permit = server_authority().permit_write(&root, &rules);
    let made = odata::create(&root, &permit, &creations).await.unwrap();
    let made: Vec<_> = made
        .into_iter()
        .map(|it| it.err().map(|it| it.code()))
        .collect();
    let (exists, limit) = (Some(Code::EntityExists), Some(Code::RuleLimit));
    assert_eq!(made, [None, exists, None, limit, limit]);
}

#[tokio::test]
async fn timer_is_not_moved_to_a_time_that_is_over() {
    let unit = ModelUnit::new().await;
    let root = unit.cell_root().await;
    let rule = |due: i64, action: &str| {
        format!(
            r#"{{"Name":"timer","EventType":"timer.oneshot","EventObject":"{due}","Action":"{action}"}}"#
        )
    };
    let due = unit.model.now_ms() + HOUR_MS;
    create(&root, "Rule", &rule(due, "log")).await.unwrap();
    let plan = async || {
        let context = unit.context().await;
        let timers = timer::list(&unit.model, &context).await;
        timers.unwrap().remove(0).timer.plan
    };
    let before = plan().await;
    for intent in [Intent::Replace, Intent::Merge] {
        let refused = change(&root, intent, &rule(60_000, "log"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::FieldFormat);
        assert_eq!(plan().await, before);
        // Other changes are possible.
        change(&root, intent, &rule(due, "log.warn")).await.unwrap();
        change(&root, intent, &rule(due + 60_000, "log"))
            .await
            .unwrap();
        change(&root, intent, &rule(due, "log")).await.unwrap();
    }
}

#[tokio::test]
async fn requests_that_a_full_outbox_has_no_room_for_are_counted_and_set_aside() {
    let first = ModelUnit::new().await;
    let root = first.cell_root().await;
    let timer = r#"{"Name":"t","EventType":"timer.periodic","EventObject":"1","Action":"relay","TargetUrl":"http://x.example/"}"#;
    let rule = create(&root, "Rule", timer).await.unwrap().id;
    // It is due after an hour.
    let unit = first.server_node(HOUR_MS);
    let context = unit.context().await;
    let mut batch = Batch::new();
    batch.add(keys::outbox_count(), 10_000);
    context.records().commit(batch).await.unwrap();
    timer::fire_due(&unit.model).await.unwrap();
    assert_eq!(unit.model.outbox().totals().counts().skipped_requests, 1);
    let context = unit.context().await;
    let page = dead_letter::list(context.records(), None, usize::MAX);
    let letters = page.await.unwrap().letters;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].1;
    assert_eq!((&*letter.rule, &*letter.outcome), (&*rule, "outbox full"));
    assert_eq!(letter.entry.target, "http://x.example/");
    let entries = keys::all_outbox_entries();
    assert!(context.records().is_empty(&entries).await.unwrap());
    let timers = timer::list(&unit.model, &context).await.unwrap();
    assert_eq!(timers[0].timer.fired, 1, "the timer goes on");
}
