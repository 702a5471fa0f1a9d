//! Constraints of tables and domains.
//!
//! Left out: `NOT NULL` (a fact of its column or domain), constraint triggers (triggers), and the
//! copies of a foreign key that the server makes on the same table for each partition of the
//! referenced one, whose number and names differ between majors. The words that follow a
//! definition are separate facts, so that validating a constraint changes one fact. Of the triggers
//! by which the server enforces a foreign key, the fact is whether one of them is disabled.

pub(super) const SQL: &str = concat!(
    "
    SELECT 'constraint' AS kind, n.nspname::text AS schema, coalesce(c.relname, ty.typname)::text AS parent,
        con.conname::text AS name, NULL::int4 AS position,
        jsonb_strip_nulls(jsonb_build_object(
            'definition', regexp_replace(def.text,
                '( NO INHERIT| DEFERRABLE| INITIALLY DEFERRED| NOT VALID| NOT ENFORCED)+$', ''),
            'validated', CASE WHEN NOT con.convalidated AND def.text !~ ' NOT ENFORCED$' THEN 'false' END,
            'enforced', CASE WHEN def.text ~ ' NOT ENFORCED$' THEN 'false' END,
            'triggers', CASE WHEN con.contype = 'f' AND EXISTS (SELECT FROM pg_trigger tg
                WHERE tg.tgconstraint = con.oid AND tg.tgisinternal AND tg.tgenabled IN ('D', 'R'))
                THEN 'disabled' END,
            'deferrable', CASE WHEN con.condeferred THEN 'initially deferred'
                WHEN con.condeferrable THEN 'initially immediate' END,
            'no inherit', CASE WHEN con.contype = 'c' AND con.connoinherit THEN 'true' END,
            'inherited', CASE WHEN con.coninhcount > 0 THEN
                CASE WHEN con.conislocal THEN 'and declared' ELSE 'true' END END,
            'comment', d.description
        ))::text AS attributes
    FROM pg_constraint con
    CROSS JOIN LATERAL (SELECT pg_get_constraintdef(con.oid) AS text) def
    LEFT JOIN pg_class c ON c.oid = con.conrelid
    LEFT JOIN pg_type ty ON ty.oid = con.contypid
    JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, ty.typnamespace)
    LEFT JOIN pg_constraint up ON up.oid = con.conparentid",
    comment!("pg_constraint", "con.oid"),
    "WHERE con.contype IN ('c', 'f', 'p', 'u', 'x')
        AND up.conrelid IS DISTINCT FROM con.conrelid
        AND n.oid = ANY($1) AND con.conrelid <> ALL($2)
        AND (con.contypid = 0 OR ",
    not_of_extension!("pg_type", "con.contypid"),
    ")",
);
