use upgrade_core::finding::Blame;
use upgrade_core::migration::MigrationId;

use super::*;

/// A report as a run leaves it, but for what is found in it.
fn report(scenario: &str, findings: &[Finding]) -> Report {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "step": 3, "phase": "rollback", "title": "compare <all>", "finding": finding
            })
        })
        .collect();
    let passed = findings.is_empty();
    let outcome = if passed { "done" } else { "failed" };
    let value = serde_json::json!({
        "format": FORMAT, "run": "r1", "name": "orders", "scenario": scenario,
        "environment": "postgres", "from": "1", "to": "2", "seed": 7, "passed": passed,
        "folder": "db/migrations", "rows": 3, "tables": 1, "migrations": [], "rollbacks": [],
        "steps": [{
            "id": 3, "attempt": 1, "phase": "rollback", "title": "compare <all>",
            "outcome": outcome, "elapsed_ms": 5, "within_ms": 9
        }],
        "findings": findings, "logs": [], "reproduce": "cargo test orders", "elapsed_ms": 12,
    });
    serde_json::from_value(value).unwrap()
}

fn down_failed() -> Finding {
    let blame = Blame::new(MigrationId::new("4", "x")).with_file("4_x.sql:7");
    Finding::error("down/failed", "migration 4_x", "it failed: <b>, 100%, a|b")
        .with_blame(blame)
        .with_evidence("```\n-a\n+<b>\n")
}

fn summary() -> Summary {
    let mut known = down_failed();
    known.known = Some("nobody rolls back".to_owned());
    let note = Finding::note("crash/not-felt", "migration 4_x", "it finished");
    Summary::of(vec![
        Case::new(
            "shop",
            "orders::round_trip",
            report("round_trip", &[down_failed()]),
        ),
        Case::new(
            "shop",
            "orders::rollback",
            report("rollback", &[down_failed(), note]),
        ),
        Case::new("shop", "orders::rerun", report("rerun", &[known])),
        Case::new("shop", "orders::control", report("control", &[])),
    ])
}

#[test]
fn equal_findings_of_several_cases_are_one_entry() {
    let summary = summary();
    assert_eq!(summary.entries.len(), 3);
    let first = &summary.entries[0];
    assert_eq!(
        (first.file.as_deref(), first.line),
        (Some("db/migrations/4_x.sql"), Some(7))
    );
    let cases: Vec<&str> = first.cases.iter().map(String::as_str).collect();
    assert_eq!(cases, ["orders::rollback", "orders::round_trip"]);
    assert_eq!(
        summary.headline(),
        "4 cases, 3 failed, 1 error, 0 warnings, 1 note, 1 accepted"
    );
    let text = summary.to_string();
    for part in [
        "FAILED: ",
        "error[down/failed]",
        "at db/migrations/4_x.sql:7",
        "accepted",
        "help: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_was_not_verified_closes_it() {
    let sentences = summary().not_verified;
    assert!(
        sentences.iter().any(|one| one.contains("no validator")),
        "{sentences:?}"
    );
    assert!(!sentences.iter().any(|one| one.contains("::pg15")));
    let missing = sentences
        .iter()
        .find(|one| one.contains("not run:"))
        .unwrap();
    assert!(
        missing.contains("upgrade") && !missing.contains("control"),
        "{missing}"
    );
}

#[test]
fn a_test_is_its_crate_and_path_without_scenario_and_version() {
    let cases = [
        ("shop", "orders::upgrade::pg15", "upgrade"),
        ("shop", "orders::upgrade::pg18", "upgrade"),
        ("till", "orders::round_trip", "round_trip"),
    ];
    let cases = cases.map(|(of, name, scenario)| Case::new(of, name, report(scenario, &[])));
    let sentences = Summary::of(cases.to_vec()).not_verified;
    let not_run: Vec<&String> = sentences
        .iter()
        .filter(|one| one.contains("not run"))
        .collect();
    let [shop, till] = not_run[..] else {
        panic!("{sentences:?}")
    };
    assert!(
        shop.starts_with("shop::orders: ") && !shop.contains("upgrade"),
        "{shop}"
    );
    assert!(
        till.starts_with("till::orders: ") && till.contains("upgrade"),
        "{till}"
    );
}

#[test]
fn another_message_is_another_entry() {
    let other = Finding::error("down/failed", "migration 4_x", "another cause");
    let of = |finding| Case::new("shop", "orders::rerun", report("rerun", &[finding]));
    assert_eq!(
        Summary::of(vec![of(down_failed()), of(other)])
            .entries
            .len(),
        2
    );
}

#[test]
fn what_a_finding_says_is_no_mark_up() {
    let summary = summary();
    let markdown = summary.to_markdown();
    assert!(markdown.contains(r"\<b\>"), "{markdown}");
    assert!(markdown.contains("````text\n```"), "{markdown}");
    let html = summary.to_html().unwrap();
    assert!(
        html.contains("&lt;b&gt;") && !html.contains("<b>"),
        "{html}"
    );
    assert!(html.contains("compare &lt;all&gt;"));
    let annotations = summary.to_annotations();
    let first = annotations.lines().next().unwrap();
    assert_eq!(
        first,
        "::error file=db/migrations/4_x.sql,line=7,title=down/failed::migration 4_x: it failed: <b>, 100%25, a|b"
    );
    assert_eq!(annotations.lines().count(), 2, "accepted ones are left out");
}

#[test]
fn junit_and_sarif_have_every_case_and_entry() {
    let summary = summary();
    let junit = summary.to_junit().unwrap();
    assert!(
        junit.contains("tests=\"4\"") && junit.contains("failures=\"3\""),
        "{junit}"
    );
    let sarif: serde_json::Value = serde_json::from_str(&summary.to_sarif()).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "db/migrations/4_x.sql");
    assert_eq!(place["region"]["startLine"], 7);
    let place_of = |index: usize| {
        results[index]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone()
    };
    // One that blames no file.
    assert_eq!(place_of(1), "db/migrations");
    let suppressed = results
        .iter()
        .filter(|one| one.get("suppressions").is_some());
    assert_eq!(suppressed.count(), 1);
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
}

#[test]
fn a_file_that_is_no_report_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for empty in [folder.path(), &folder.path().join("nowhere")] {
        let none = Summary::read(empty).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
    }
    let path = folder.path().join("shop/orders__control.json");
    fs::create_dir(folder.path().join("shop")).unwrap();
    fs::write(&path, report("control", &[]).to_json()).unwrap();
    fs::write(path.with_extension("plan.json"), "a plan is no report").unwrap();
    let read = Summary::read(folder.path()).unwrap();
    assert_eq!(
        (
            read.cases[0].crate_name.as_str(),
            read.cases[0].name.as_str()
        ),
        ("shop", "orders::control")
    );
    let whole = fs::read_to_string(&path).unwrap();
    for (text, word) in [
        (&whole[..whole.len() / 2], "is no whole report"),
        (
            &*whole.replace(&format!("\"format\": {FORMAT}"), "\"format\": 1"),
            "has the format 1",
        ),
        ("{}", "has the format none"),
    ] {
        fs::write(&path, text).unwrap();
        let error = Summary::read(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let said = error.to_string();
        assert!(
            said.contains("orders__control.json") && said.contains(word),
            "{said}"
        );
    }
}

#[test]
#[cfg(feature = "report")]
fn a_page_shows_pictures_and_figures_and_opens_what_failed() {
    let with = |findings: &[Finding]| {
        let mut value = serde_json::to_value(report("rollback", findings)).unwrap();
        let at = |mut of: serde_json::Value| {
            of["step"] = 3.into();
            of["phase"] = "rollback".into();
            of
        };
        let file = |name: &str, kind: &str| {
            at(
                serde_json::json!({"attachment": {"name": name, "media_type": kind, "base64": "AA=="}}),
            )
        };
        value["attachments"] = vec![file("<shot>", "image/png"), file("trace", "text/html")].into();
        let figure = serde_json::json!({"measurement": {
            "subject": "GET /a", "metric": "p95", "unit": "ms", "baseline": 2.5, "candidate": 3.25
        }});
        value["measurements"] = vec![at(figure)].into();
        let report = serde_json::from_value(value).unwrap();
        Summary::of(vec![Case::new("shop", "orders::rollback", report)])
            .to_html()
            .unwrap()
    };
    let failed = with(&[down_failed()]);
    for part in [
        r#"<details open><summary>&lt;shot&gt;</summary>"#,
        r#"src="data:image&#x2f;png;base64,AA==""#,
        r#"<a download href="data:application/octet-stream;base64,AA==">"#,
        r#"<td class="number">2.500</td><td class="number"></td><td class="number">3.250</td><td>ms</td>"#,
    ] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    let passed = with(&[]);
    assert!(
        passed.contains("<details><summary>&lt;shot&gt;</summary>"),
        "{passed}"
    );
}
