//! Strategies against what can be said of their values without a server.

use super::*;
use crate::seed::check::{Bound, Limit};

const OPTIONS: Options = Options {
    unicode: true,
    extremes: false,
    long_in: 0,
    room: 5_000,
    version: 150_000,
};

fn base(name: &str, typmod: i32) -> SqlType {
    SqlType {
        name: name.to_owned(),
        typmod,
        kind: Kind::Base(name.to_owned()),
    }
}

fn drawn(ty: &SqlType, hints: &Hints) -> Vec<String> {
    let texts = texts(ty, hints, OPTIONS).expect("the type is known");
    let mut source = Choices::named(7, &[&ty.name]);
    (0..300).map(|_| texts.draw(&mut source)).collect()
}

#[test]
fn lengths_are_kept_and_reached() {
    let values = drawn(&base("varchar", 4 + 10), &Hints::default());
    assert!(values.iter().all(|value| value.chars().count() <= 10));
    assert!(values.iter().any(|value| value.chars().count() == 10));
    assert!(values.iter().any(String::is_empty));
    assert!(values.iter().any(|value| !value.is_ascii()));
    let hints = Hints {
        min_len: Some(3),
        max_len: Some(5),
        ..Hints::default()
    };
    assert!(
        drawn(&base("text", -1), &hints)
            .iter()
            .all(|value| (3..=5).contains(&value.chars().count()))
    );
}

#[test]
fn bounds_are_kept_and_reached() {
    let bound = |text: &str| {
        vec![Bound {
            limit: Limit::Text(text.into()),
            inclusive: true,
        }]
    };
    let hints = Hints {
        min: bound("-3"),
        max: bound("40"),
        ..Hints::default()
    };
    for name in ["int2", "int4", "int8"] {
        let values: Vec<i64> = drawn(&base(name, -1), &hints)
            .iter()
            .map(|v| v.parse().unwrap())
            .collect();
        assert!(
            values.iter().all(|value| (-3..=40).contains(value)),
            "{name}"
        );
        assert!(values.contains(&-3) && values.contains(&40), "{name}");
    }
    let hints = Hints {
        min: bound("2024-01-01"),
        max: bound("2024-12-31"),
        ..Hints::default()
    };
    for name in ["date", "timestamp", "timestamptz"] {
        assert!(
            drawn(&base(name, -1), &hints)
                .iter()
                .all(|value| value.starts_with("2024-")),
            "{name}"
        );
    }
}

#[test]
fn edges_are_drawn() {
    let values = drawn(&base("int4", -1), &Hints::default());
    for edge in ["0", "1", "-1", "2147483647", "-2147483648"] {
        assert!(values.iter().any(|value| value == edge), "{edge}");
    }
}

#[test]
fn domains_keep_their_checks() {
    let kind = Kind::Domain {
        base: Box::new(base("text", -1)),
        not_null: true,
        checks: vec!["(VALUE ~ '^[^@]+@example[.]org$'::text)".to_owned()],
    };
    let ty = SqlType {
        name: "email".to_owned(),
        typmod: -1,
        kind,
    };
    assert!(ty.forbids_null());
    for value in drawn(&ty, &Hints::default()) {
        let (local, host) = value.split_once('@').expect("an at sign");
        assert!(!local.is_empty() && host == "example.org", "{value}");
    }
}

#[test]
fn elements_are_quoted() {
    let ty = SqlType {
        name: "text[]".to_owned(),
        typmod: -1,
        kind: Kind::Array {
            element: Box::new(base("text", -1)),
            delimiter: ',',
        },
    };
    let values = drawn(&ty, &Hints::default());
    assert!(
        values
            .iter()
            .all(|value| value.starts_with('{') && value.ends_with('}'))
    );
    assert!(
        values.iter().any(|value| value.contains("\\\"")),
        "a quote is escaped"
    );
}

#[test]
fn a_type_without_strategy_says_so() {
    let error =
        texts(&base("geometry", -1), &Hints::default(), OPTIONS).expect_err("it is unknown");
    assert_eq!(error, "no strategy for this type");
}

#[test]
fn vectors_have_as_many_numbers_as_declared() {
    for (name, typmod, numbers) in [("vector", 4, 4), ("halfvec", 9, 9), ("vector", -1, 3)] {
        for value in drawn(&base(name, typmod), &Hints::default()) {
            let inner = value
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            let parsed: Vec<f32> = inner
                .expect("it is in brackets")
                .split(',')
                .map(|number| number.parse().expect("it is a number"))
                .collect();
            assert_eq!(parsed.len(), numbers, "{name}: {value}");
        }
    }
    let values = drawn(&base("sparsevec", 5), &Hints::default());
    assert!(values.iter().any(|value| value.matches(':').count() > 1));
    for value in values {
        let inner = value
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix("}/5"));
        let pairs = inner.expect("it ends with its dimensions").split(',');
        let mut last = 0;
        for (at, number) in pairs.filter_map(|pair| pair.split_once(':')) {
            let at: usize = at.parse().expect("an index");
            assert!(at > last && at <= 5, "{value}");
            assert_ne!(number.parse::<f32>(), Ok(0.0), "{value}");
            last = at;
        }
    }
}

#[test]
fn long_texts_are_drawn_where_they_are_asked_for() {
    let options = Options {
        long_in: 20,
        ..OPTIONS
    };
    let lengths = |ty: &SqlType| -> Vec<usize> {
        let texts = texts(ty, &Hints::default(), options).expect("the type is known");
        let mut source = Choices::named(7, &["long"]);
        (0..300).map(|_| texts.draw(&mut source).len()).collect()
    };
    let long = lengths(&base("text", -1))
        .iter()
        .filter(|len| **len >= 4_200)
        .count();
    assert!((5..40).contains(&long), "{long} of 300");
    assert!(
        lengths(&base("varchar", 4 + 300))
            .iter()
            .all(|len| *len <= 1_200)
    );
}
