//! The bodies of requests, as the guide shows them and as receivers take them.

use super::*;

/// The notification of the guide.
fn example() -> Notification {
    let kind = Kind::MigrationFailed;
    Notification {
        id: "70f2b8e3a94c15d6-14".to_owned(),
        journal: "70f2b8e3a94c15d6".to_owned(),
        seq: 14,
        hash: "0c6b8e21f97a4d53be10c2d84f6a97e3d15b08c4a2f6e97b31d8450fa6c2e79b".to_owned(),
        at: "2026-03-02T21:14:09.482113Z".to_owned(),
        target: "orders on db1".to_owned(),
        actor: "ann".to_owned(),
        host: "deploy1".to_owned(),
        kind,
        severity: kind.severity(),
        title: "orders on db1: failed to apply 0003_parcels".to_owned(),
        text: "migration `0003_parcels` failed at line 4: column \"weight\" contains values <= 0"
            .to_owned(),
    }
}

#[test]
fn the_guide_shows_what_is_sent() {
    let guide = include_str!("../../../../docs/guide/notifications.md");
    let mut blocks = guide.split("```json\n").skip(1).map(|block| {
        let (json, _) = block.split_once("```").unwrap();
        serde_json::from_str::<serde_json::Value>(json).unwrap()
    });
    for format in [Format::Json, Format::CloudEvents, Format::Slack] {
        let body = format.body(&example());
        assert_eq!(blocks.next(), Some(body), "{format:?}");
    }
}

#[test]
fn a_message_of_slack_has_no_more_than_slack_takes() {
    let mut long = example();
    long.title = "<&>".repeat(9_000);
    long.text = "<&>".repeat(9_000);
    long.actor = "&".repeat(9_000);
    let body = Format::Slack.body(&long);
    let section = body["blocks"][0]["text"]["text"].as_str().unwrap();
    let context = body["blocks"][1]["elements"][0]["text"].as_str().unwrap();
    for text in [section, context] {
        assert!(text.chars().count() <= 3_000);
        assert!(!text.contains('<') && !text.contains('>'), "{text}");
    }
    assert!(body["text"].as_str().unwrap().chars().count() <= 3_000);
}
