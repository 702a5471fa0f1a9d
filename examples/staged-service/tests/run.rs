//! The whole example, with fewer orders.

use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_on_the_way_up_back_and_up_again() {
    let run = Command::new(env!("CARGO_BIN_EXE_staged-service"))
        .args(["--json", "--built", "--seed", "200", "--orders", "150"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let printed = String::from_utf8(run.stdout).unwrap();
    let line: Value = serde_json::from_str(&printed).unwrap();
    let mut keys: Vec<&String> = line.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "acknowledged",
            "elapsed_s",
            "failed_requests",
            "lost",
            "rollback_s",
            "rolled_back",
            "upgraded_again",
        ]
    );
    // Those before the users came, and those of the four stops at which some are waited for.
    assert!(line["acknowledged"].as_u64().unwrap() >= 200 + 4 * 150);
    assert_eq!(line["lost"], 0);
    assert_eq!(line["rolled_back"], true);
    assert_eq!(line["upgraded_again"], true);
    assert!(line["rollback_s"].as_f64().unwrap() > 0.0);
    assert!(run.status.success());
}
