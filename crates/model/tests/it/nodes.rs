//! Changes of the catalogue of cells by one process, as another one sees them.

use personium_model::odata::ServiceRoot;
use personium_testkit::{ModelUnit, create};

#[tokio::test]
async fn renamed_cell_has_the_new_name_in_another_process() {
    let unit = ModelUnit::new().await;
    let other = unit.restart();
    assert!(other.find_cell("c").await.is_some());
    unit.rename_cell("d").await.unwrap();
    assert!(other.find_cell("c").await.is_none());
    let context = other.find_cell("d").await.unwrap();
    assert_eq!(context.cell().name, "d");
}

/// The process ends between the change of the catalogue and that of the cell. Its successor repeats the second.
#[tokio::test]
async fn rename_that_a_process_left_unfinished_is_announced_by_another() {
    for commits in 0..4 {
        let unit = ModelUnit::new().await;
        let other = unit.restart();
        assert!(other.find_cell("c").await.is_some());
        unit.records.stop_after_commits(commits);
        let renamed = unit.rename_cell("d").await;
        unit.records.resume();
        // One commit renames, one tells the others, and one removes the marker.
        assert_eq!(renamed.is_ok(), commits >= 3, "{commits}");
        let third = unit.restart();
        third.model.resume_garbage_collection().await.unwrap();
        let (old, new) = match commits {
            0 => ("d", "c"),
            _ => ("c", "d"),
        };
        assert!(other.find_cell(old).await.is_none(), "{commits}");
        assert_eq!(other.find_cell(new).await.unwrap().cell().name, new);
    }
}

/// A rename reaches a cell whose deletion was left unfinished, too.
#[tokio::test(start_paused = true)]
async fn sealed_cell_can_be_renamed() {
    let unit = ModelUnit::new().await;
    let key = personium_odata::key::EntityKey::single("b");
    unit.delete(&unit.cell_root().await, "Box", &key)
        .await
        .unwrap();
    unit.records.stop_after_commits(2);
    let root = ServiceRoot::of_unit(unit.model.clone());
    let key = personium_odata::key::EntityKey::single("c");
    unit.delete(&root, "Cell", &key).await.unwrap_err();
    unit.records.resume();
    let other = unit.restart();
    assert!(other.find_cell("c").await.is_some());
    unit.rename_cell("d").await.unwrap();
    assert!(other.find_cell("c").await.is_none());
    let context = other.find_cell("d").await.unwrap();
    let root = ServiceRoot::of_cell(other.model.clone(), context);
    create(&root, "Account", r#"{"Name":"a"}"#).await.unwrap();
}

/// Another process renames the cell while the first one looks it up, before each of its reads.
#[tokio::test]
async fn cell_renamed_while_it_is_loaded_is_not_kept_under_its_old_name() {
    for n in 0..4 {
        let unit = ModelUnit::new().await;
        let loading = unit.restart();
        let other = unit.restart();
        unit.records
            .interrupt_read(n, async move { other.rename_cell("d").await.unwrap() });
        let found = loading.find_cell("c").await;
        assert!(found.is_none() || n > 0, "{n}");
        assert!(loading.find_cell("c").await.is_none(), "{n}");
        assert!(loading.find_cell("d").await.is_some(), "{n}");
    }
}
