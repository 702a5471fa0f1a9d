//! What is hashed of a value: its binary form, in which no two values are the same.
//!
//! Nothing here calls a cast, an operator or a function that a user has made: a type is read by its
//! own send or output function, which only a superuser can give it. That is why a value is never cast
//! to text where the server would look for a cast.

use std::collections::BTreeMap;

use sqlx::postgres::types::Oid;
use sqlx::{PgConnection, Row as _};

use crate::observation::Reading;
use crate::postgres::sql::quote_ident;

/// How the values of a type are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Form {
    /// The type under a domain, as it is written in SQL.
    base: Option<String>,
    exact: Exact,
    text: Text,
}

/// The exact form of a value: an expression whose binary form holds all of the value, and of its type
/// no number that another database, or the type made again, would not share.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exact {
    /// The value: a type of the server, whose number is the same everywhere.
    Value,
    /// The value as the widest type of its family, which changes nothing of it.
    Widest(&'static str),
    /// A floating point number. `NaN` has many bit patterns, and a reader sees one.
    Float,
    /// What this function of the server makes of it.
    Call(&'static str),
    /// What a record of it sends, without the number of its type.
    Cut,
    /// What an array sends, without the number of the type of its elements, and without the flag that
    /// says that one of them may be null: each says so itself.
    Array,
    /// Its attributes, one by one.
    Record(Vec<(String, Form)>),
    /// Its text.
    Text,
}

/// How a value becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// By the server's own cast, beside which there can be no other.
    Cast,
    /// By its output function.
    Output,
    /// As `Output`; and it can be read as a number.
    Integer,
    Numeric,
    Float,
}

impl Form {
    /// The form of a base type of the server that is no array.
    pub(super) fn of_server(name: &str, sends: bool) -> Self {
        let (exact, text) = match name {
            "int2" | "int4" | "int8" => (Exact::Widest("int8"), Text::Integer),
            "numeric" => (Exact::Value, Text::Numeric),
            "float4" | "float8" => (Exact::Float, Text::Float),
            "text" | "varchar" => (Exact::Widest("text"), Text::Cast),
            "timestamp" => (Exact::Call("timestamp_send"), Text::Output),
            "timestamptz" => (Exact::Call("timestamptz_send"), Text::Output),
            "bool" | "bpchar" | "char" | "cidr" | "inet" | "name" | "xml" => {
                (Exact::Value, Text::Cast)
            }
            // What they send is the number of an object, which is another one when it is made again.
            _ if name.starts_with("reg") && name != "refcursor" => (Exact::Text, Text::Output),
            _ if sends => (Exact::Value, Text::Output),
            _ => (Exact::Text, Text::Output),
        };
        Self {
            base: None,
            exact,
            text,
        }
    }

    fn new(exact: Exact) -> Self {
        Self {
            base: None,
            exact,
            text: Text::Output,
        }
    }

    /// What is hashed of a value.
    pub(in crate::postgres) fn read(&self, value: &str, reading: Reading) -> String {
        match reading {
            Reading::Value => self.exact(value),
            Reading::Number => self.number(value),
            Reading::Text => self.text(value),
        }
    }

    /// The value as the type under its domains: no cast is looked up for that.
    fn value(&self, value: &str) -> String {
        match &self.base {
            Some(base) => format!("({value})::{base}"),
            None => value.to_owned(),
        }
    }

    fn exact(&self, value: &str) -> String {
        let value = self.value(value);
        match &self.exact {
            Exact::Value => value,
            Exact::Widest(of) => format!("{value}::{of}"),
            Exact::Float => {
                format!("CASE WHEN {value}::float8 = 'NaN' THEN 'NaN' ELSE {value}::float8 END")
            }
            Exact::Call(function) => format!("{function}({value})"),
            Exact::Cut => format!("substr(record_send(row({value})), 9)"),
            Exact::Array => {
                format!("overlay(array_send({value}) PLACING ''::bytea FROM 5 FOR 8)")
            }
            Exact::Record(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, form)| form.exact(&format!("({value}).{}", quote_ident(name))));
                let fields: Vec<String> = fields.collect();
                format!(
                    "CASE WHEN num_nulls({value}) = 0 THEN record_send(row({})) END",
                    fields.join(", ")
                )
            }
            Exact::Text => output(&value),
        }
    }

    /// The value as text.
    pub(in crate::postgres) fn text(&self, value: &str) -> String {
        let value = self.value(value);
        match self.text {
            Text::Cast => format!("{value}::text"),
            _ => output(&value),
        }
    }

    /// The value as a number without trailing zeros, or as text where the type is none of numbers.
    fn number(&self, value: &str) -> String {
        match self.text {
            Text::Integer => format!("{}::numeric", self.value(value)),
            Text::Numeric => format!("trim_scale({})", self.value(value)),
            Text::Float => format!("trim_scale({}::numeric)", self.text(value)),
            _ => self.text(value),
        }
    }

    /// The text of a value that is part of a key: equal values have equal texts.
    pub(in crate::postgres) fn key(&self, value: &str) -> String {
        match self.text {
            Text::Numeric | Text::Float => output(&self.number(value)),
            _ => self.text(value),
        }
    }

    /// Whether its values are numbers.
    pub(in crate::postgres) fn is_number(&self) -> bool {
        matches!(self.text, Text::Integer | Text::Numeric | Text::Float)
    }
}

/// The text that the output function of a type makes. `concat` calls that and looks for no cast.
fn output(value: &str) -> String {
    format!("CASE WHEN num_nulls({value}) = 0 THEN concat({value}) END")
}

/// Types with all that they are made of. What is below 10,000 has the same number on every server of
/// a major version.
const TYPES: &str = "
    WITH RECURSIVE made_of(typ) AS (
        SELECT DISTINCT typ FROM unnest($1::oid[]) typ
        UNION
        SELECT part.typ
        FROM made_of m
        JOIN pg_type t ON t.oid = m.typ
        CROSS JOIN LATERAL (
            SELECT t.typelem AS typ WHERE t.typelem <> 0 AND t.typcategory = 'A'
            UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
            UNION ALL SELECT a.atttypid FROM pg_attribute a
                WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        ) part
    )
    SELECT t.oid, t.typtype::text AS kind, t.typname::text AS name, t.oid < 10000 AS of_server,
        t.typsend <> 0 AS sends, format_type(t.oid, -1) AS sql,
        coalesce(nullif(t.typbasetype, 0),
            (SELECT e.oid FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid),
            (SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid))) AS of,
        ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS fields,
        ARRAY(SELECT a.atttypid FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS field_types
    FROM made_of m JOIN pg_type t ON t.oid = m.typ";

/// One row of [`TYPES`].
#[derive(Debug)]
struct Type {
    kind: String,
    name: String,
    of_server: bool,
    sends: bool,
    sql: String,
    /// The type under a domain, of the elements of an array, of the bounds of a range.
    of: Option<u32>,
    fields: Vec<(String, u32)>,
}

/// Types by their numbers.
#[derive(Debug, Default)]
pub(super) struct Types(BTreeMap<u32, Type>);

impl Types {
    /// Reads these types and all that they are made of.
    pub(super) async fn read(
        conn: &mut PgConnection,
        types: Vec<Oid>,
    ) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query(TYPES).bind(types).fetch_all(conn).await?;
        let types = rows.iter().map(|row| {
            let names: Vec<String> = row.try_get("fields")?;
            let types: Vec<Oid> = row.try_get("field_types")?;
            let found = Type {
                kind: row.try_get("kind")?,
                name: row.try_get("name")?,
                of_server: row.try_get("of_server")?,
                sends: row.try_get("sends")?,
                sql: row.try_get("sql")?,
                of: row.try_get::<Option<Oid>, _>("of")?.map(|oid| oid.0),
                fields: names
                    .into_iter()
                    .zip(types.iter().map(|oid| oid.0))
                    .collect(),
            };
            Ok((row.try_get::<Oid, _>("oid")?.0, found))
        });
        Ok(Self(types.collect::<Result<_, sqlx::Error>>()?))
    }

    /// How values of a type are read.
    pub(super) fn form(&self, oid: u32) -> Form {
        let Some(typ) = self.0.get(&oid) else {
            return Form::new(Exact::Text);
        };
        match (typ.kind.as_str(), typ.of) {
            ("d", Some(base)) => {
                let under = self.form(base);
                Form {
                    base: Some(under.base.clone().unwrap_or_else(|| self.sql(base))),
                    ..under
                }
            }
            ("e", _) => Form::new(Exact::Call("enum_send")),
            ("c", _) if self.is_flat(typ) => Form::new(Exact::Cut),
            ("c", _) => {
                let fields = typ.fields.iter();
                let fields = fields.map(|(name, of)| (name.clone(), self.form(*of)));
                Form::new(Exact::Record(fields.collect()))
            }
            ("b", Some(element)) => {
                let flat = self.0.get(&element).is_some_and(|of| self.is_flat(of));
                Form::new(if flat || self.is_simple(element) {
                    Exact::Array
                } else {
                    Exact::Text
                })
            }
            ("b", None) if typ.of_server => Form::of_server(&typ.name, typ.sends),
            _ if !self.is_simple(oid) => Form::new(Exact::Text),
            _ if typ.of_server => Form::new(Exact::Value),
            _ => Form::new(Exact::Cut),
        }
    }

    fn sql(&self, oid: u32) -> String {
        let known = self.0.get(&oid);
        known.map_or_else(|| "text".to_owned(), |typ| typ.sql.clone())
    }

    /// Whether what a type sends is all of its value, and holds the number of no type or object.
    fn is_simple(&self, oid: u32) -> bool {
        let Some(typ) = self.0.get(&oid) else {
            return false;
        };
        match (typ.kind.as_str(), typ.of) {
            ("e", _) => true,
            ("b", None) => typ.sends && !(typ.of_server && typ.name.starts_with("reg")),
            ("d" | "r" | "m", Some(of)) => self.is_simple(of),
            _ => false,
        }
    }

    /// Whether a composite type has simple attributes of the server's types only: it sends the numbers
    /// of those.
    fn is_flat(&self, typ: &Type) -> bool {
        let mut fields = typ.fields.iter();
        typ.kind == "c"
            && fields.all(|(_, of)| {
                self.is_simple(*of) && self.0.get(of).is_some_and(|typ| typ.of_server)
            })
    }
}

/// The hash of rows whose columns are these expressions. It may be summed: it is one hash over all of a
/// row's bytes, of which a sum tells apart also what rows have exchanged.
pub(in crate::postgres) fn exact_hash(values: &[String], seed: u8) -> String {
    format!(
        "hash_record_extended(row(record_send(row({}))), {seed})",
        values.join(", ")
    )
}

/// The text of a row whose columns are these expressions.
pub(in crate::postgres) fn row_text(values: &[String]) -> String {
    format!("textin(record_out(row({})))", values.join(", "))
}
