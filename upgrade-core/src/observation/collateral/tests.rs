use super::*;

fn schema(objects: &[(&str, &str)]) -> Observation {
    let owned = objects
        .iter()
        .map(|(name, facts)| ((*name).to_owned(), (*facts).to_owned()));
    Observation {
        objects: owned.collect(),
        ..Observation::default()
    }
}

fn named(statements: &[&str]) -> Named {
    let mut named = Named::default();
    let words = |statement: &&str| statement.split(' ').map(str::to_owned).collect();
    named.add(Some(statements.iter().map(words).collect()));
    named
}

#[track_caller]
fn check(before: &[(&str, &str)], after: &[(&str, &str)], statements: &[&str], expected: &[&str]) {
    let found = findings(&schema(before), &schema(after), &named(statements));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

const INVOICE: &[(&str, &str)] = &[
    (
        "table public.invoice",
        "acl: boss: ALL\n    tenant: SELECT\ncomment: bills\nowner: boss\nrow security: enabled\n",
    ),
    ("policy public.invoice / own", "using: true\n"),
    (
        "trigger public.invoice / guard",
        "definition: CREATE TRIGGER guard BEFORE INSERT ON public.invoice\n",
    ),
    ("column public.invoice.tenant", "type: text\n"),
    (
        "index public.by_tenant",
        "definition: CREATE INDEX by_tenant ON public.invoice USING btree (tenant)\n",
    ),
    (
        "constraint public.invoice / invoice_pkey",
        "definition: PRIMARY KEY (id)\n",
    ),
    (
        "index public.invoice_pkey",
        "definition: CREATE UNIQUE INDEX invoice_pkey ON public.invoice USING btree (id)\n",
    ),
    (
        "statistics public.spread",
        "definition: CREATE STATISTICS public.spread ON a, b FROM public.invoice\n",
    ),
    ("publication feed", "owner: boss\n"),
    ("published table public.invoice / feed", ""),
    (
        "constraint public.line / line_invoice_fkey",
        "definition: FOREIGN KEY (invoice) REFERENCES invoice(id)\n",
    ),
    ("table public.line", "owner: boss\n"),
];

#[test]
fn a_table_that_is_made_again_has_lost_what_nobody_names() {
    let after = &[
        ("table public.invoice", "owner: root\n"),
        ("column public.invoice.tenant", "type: text\n"),
        (
            "constraint public.invoice / invoice_new_pkey",
            "definition: PRIMARY KEY (id)\n",
        ),
        (
            "index public.invoice_new_pkey",
            "definition: CREATE UNIQUE INDEX invoice_new_pkey ON public.invoice USING btree (id)\n",
        ),
        ("publication feed", "owner: boss\n"),
        ("table public.line", "owner: boss\n"),
    ];
    let statements = [
        "drop table invoice cascade",
        "alter table invoice_new rename to invoice",
    ];
    check(
        INVOICE,
        after,
        &statements,
        &[
            "error[up/protection-lost] constraint public.line / line_invoice_fkey: is missing, and no statement of the migration names it",
            "warning[up/lost-as-side-effect] index public.by_tenant: is missing, and no statement of the migration names it",
            "error[up/protection-lost] policy public.invoice / own: is missing, and no statement of the migration names it",
            "warning[up/lost-as-side-effect] published table public.invoice / feed: is missing, and no statement of the migration names it",
            "warning[up/lost-as-side-effect] statistics public.spread: is missing, and no statement of the migration names it",
            "error[up/protection-lost] table public.invoice: has lost its row security, its owner `boss` (it is `root` now), its grants `tenant: SELECT`, and no statement of the migration says so",
            "warning[up/lost-as-side-effect] table public.invoice: has lost its comment `bills`, and no statement of the migration says so",
            "warning[up/lost-as-side-effect] trigger public.invoice / guard: is missing, and no statement of the migration names it",
        ],
    );
}

#[test]
fn what_a_statement_names_is_meant() {
    let after = &[
        ("table public.invoice", "acl: boss: ALL\nowner: root\n"),
        ("column public.invoice.tenant", "type: text\n"),
        (
            "constraint public.invoice / invoice_pkey",
            "definition: PRIMARY KEY (id)\n",
        ),
        (
            "index public.invoice_pkey",
            "definition: CREATE UNIQUE INDEX invoice_pkey ON public.invoice USING btree (id)\n",
        ),
        ("publication feed", "owner: boss\n"),
        ("table public.line", "owner: boss\n"),
    ];
    let statements = [
        "drop policy own on invoice",
        "alter table invoice disable row level security",
        "drop trigger guard on invoice",
        "drop index by_tenant",
        "drop statistics spread",
        "alter publication feed drop table invoice",
        "alter table line drop constraint line_invoice_fkey",
        "revoke all on invoice from tenant",
        "alter table invoice owner to root",
        "comment on table invoice is null",
    ];
    check(INVOICE, after, &statements, &[]);
    // A table that goes takes along what belongs to it.
    let gone = &INVOICE[8..9];
    check(
        INVOICE,
        gone,
        &["drop table invoice", "drop table line"],
        &[],
    );
}

#[test]
fn what_goes_with_its_column_is_no_loss_unless_another_column_stays() {
    let before = &[
        ("table public.t", ""),
        ("column public.t.a", ""),
        ("column public.t.b", ""),
        (
            "index public.one",
            "definition: CREATE INDEX one ON public.t USING btree (a)\n",
        ),
        (
            "index public.two",
            "definition: CREATE INDEX two ON public.t USING btree (a, b)\n",
        ),
        ("sequence public.t_a_seq", "owned by: public.t.a\n"),
    ];
    check(
        before,
        &[("table public.t", ""), ("column public.t.b", "")],
        &["alter table t drop column a"],
        &[
            "warning[up/lost-as-side-effect] index public.two: is missing, and no statement of the migration names it",
        ],
    );
}

#[test]
fn what_is_left_disabled_or_empty_is_seen() {
    check(
        &[
            ("constraint public.t / fk", "definition: FOREIGN KEY\n"),
            ("materialized view public.m", "populated: true\n"),
            ("trigger public.t / touch", "definition: x\n"),
            ("view public.v", "options: security_barrier=true\n"),
        ],
        &[
            (
                "constraint public.t / fk",
                "definition: FOREIGN KEY\ntriggers: disabled\n",
            ),
            ("materialized view public.m", "populated: false\n"),
            (
                "trigger public.t / touch",
                "definition: x\nenabled: false\n",
            ),
            ("view public.v", "definition: y\n"),
        ],
        &[
            "alter table t disable trigger all",
            "create or replace view v as",
        ],
        &[
            "error[up/protection-lost] constraint public.t / fk: is not enforced any more: the triggers that enforce it are left disabled",
            "warning[up/view-not-populated] materialized view public.m: is left without its rows: what reads it fails until it is refreshed",
            "warning[up/trigger-disabled] trigger public.t / touch: is left disabled",
            "error[up/protection-lost] view public.v: has lost its option `security_barrier=true`, and no statement of the migration says so",
        ],
    );
}

#[test]
fn where_the_statements_are_not_known_nothing_is_an_error() {
    let mut named = Named::default();
    named.add(None);
    let before = schema(&[("table public.t", ""), ("policy public.t / p", "")]);
    let found = findings(&before, &schema(&[("table public.t", "")]), &named);
    assert!(found.len() == 1 && !found[0].fails(), "{found:?}");
}

#[test]
fn names_are_read_as_they_are_written() {
    let name = Name::of(r#"constraint "A.b"."T ""x"" / y" / c"#).unwrap();
    assert_eq!(name.path, ["A.b", r#"T "x" / y"#, "c"]);
    let name = Name::of("function public.f(integer, public.mood)").unwrap();
    assert_eq!((name.kind.as_str(), name.last()), ("function", "f"));
    assert_eq!(
        Name::of("materialized view public.m").unwrap().path,
        ["public", "m"]
    );
}
