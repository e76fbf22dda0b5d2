use super::*;
use crate::event::RuleChain;

fn event() -> Event {
    Event {
        external: true,
        schema: Some(String::new()),
        subject: None,
        account: None,
        kind: Some("\"POST,".to_owned()),
        object: Some("Object\"\"Data".to_owned()),
        info: Some("a\r\nb".to_owned()),
        request_key: Some("key".to_owned()),
        id: None,
        chain: RuleChain::default(),
        via: None,
        roles: Vec::new(),
    }
}

#[test]
fn values_are_quoted_and_missing_ones_are_null() {
    assert_eq!(
        line(&event(), LogLevel::Info, 1_706_692_530_123),
        "2024-01-31T09:15:30.123Z,[INFO ],\"key\",\"true\",\"\",null,\"\"\"POST,\",\"Object\"\"\"\"Data\",\"a\\r\\nb\"\n"
    );
    assert!(
        line(&event(), LogLevel::Warn, 1_706_692_530_000)
            .starts_with("2024-01-31T09:15:30Z,[WARN ],")
    );
    assert!(line(&event(), LogLevel::Error, 0).contains(",[ERROR],"));
}

#[test]
fn twelve_archives_are_kept_with_distinct_names() {
    let mut state = LogState::default();
    for _ in 0..14 {
        state.archive(1000);
    }
    let names: Vec<String> = state.archives.iter().map(archive_name).collect();
    assert_eq!(names.len(), MAX_ARCHIVES);
    assert_eq!(
        (names[0].as_str(), names[11].as_str()),
        ("default.log.1002", "default.log.1013")
    );
    assert_eq!((state.generation, state.removed), (14, vec![0, 1]));
}
