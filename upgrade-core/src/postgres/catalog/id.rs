//! Which object: its kind and its name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TableName;
use super::name::readable;

/// Declares the kinds once: the variant, its name as text, its documentation.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What an object is. The order is that of catalogs and diffs: what others need comes first.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ObjectKind {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl ObjectKind {
            /// Every kind, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The kind's name as it stands in catalogs, diffs and files.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// An extension.
    Extension = "extension",
    /// A schema.
    Schema = "schema",
    /// A language.
    Language = "language",
    /// An access method.
    AccessMethod = "access method",
    /// A foreign data wrapper.
    ForeignDataWrapper = "foreign data wrapper",
    /// A foreign server.
    ForeignServer = "foreign server",
    /// A user mapping.
    UserMapping = "user mapping",
    /// A collation.
    Collation = "collation",
    /// A conversion between encodings.
    Conversion = "conversion",
    /// An enum, domain, composite, range or base type.
    Type = "type",
    /// A sequence.
    Sequence = "sequence",
    /// An ordinary, partitioned or foreign table, or a partition.
    Table = "table",
    /// A view.
    View = "view",
    /// A materialized view.
    MaterializedView = "materialized view",
    /// A column of a table or a view.
    Column = "column",
    /// A constraint of a table or a domain.
    Constraint = "constraint",
    /// An index.
    Index = "index",
    /// An extended statistics object.
    Statistics = "statistics",
    /// A function.
    Function = "function",
    /// A procedure.
    Procedure = "procedure",
    /// An aggregate.
    Aggregate = "aggregate",
    /// An operator.
    Operator = "operator",
    /// An operator family.
    OperatorFamily = "operator family",
    /// An operator class.
    OperatorClass = "operator class",
    /// A cast.
    Cast = "cast",
    /// A transform.
    Transform = "transform",
    /// A text search parser.
    TextSearchParser = "text search parser",
    /// A text search template.
    TextSearchTemplate = "text search template",
    /// A text search dictionary.
    TextSearchDictionary = "text search dictionary",
    /// A text search configuration.
    TextSearchConfiguration = "text search configuration",
    /// A trigger of a table or a view.
    Trigger = "trigger",
    /// A rewrite rule.
    Rule = "rule",
    /// A row security policy.
    Policy = "policy",
    /// An event trigger.
    EventTrigger = "event trigger",
    /// A publication.
    Publication = "publication",
    /// A table in a publication.
    PublishedTable = "published table",
    /// A schema in a publication.
    PublishedSchema = "published schema",
    /// A subscription.
    Subscription = "subscription",
    /// What a role grants on all that it makes.
    DefaultPrivileges = "default privileges",
    /// Settings of the database, or of a role in it.
    Settings = "settings",
    /// A security label of an object.
    SecurityLabel = "security label",
}

impl ObjectKind {
    /// The kind with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Whether the name of such an object is SQL, and so in quotes already where it needs them.
    fn is_named_as_sql(self) -> bool {
        matches!(
            self,
            Self::Function
                | Self::Procedure
                | Self::Aggregate
                | Self::Operator
                | Self::OperatorFamily
                | Self::OperatorClass
                | Self::Cast
                | Self::Transform
                | Self::UserMapping
                | Self::DefaultPrivileges
                | Self::Settings
                | Self::SecurityLabel
        )
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of one object, unique within a database.
///
/// `Display` reads as a person says it: `table public.orders`, `column public.orders.total`,
/// `constraint public.orders / orders_total_check`, `function public.f(integer)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// What it is.
    pub kind: ObjectKind,
    /// The schema that it, or the table it belongs to, is in; empty for what is in no schema.
    pub schema: String,
    /// The table, view or domain that it belongs to.
    pub parent: Option<String>,
    /// Its bare name. Where a name alone does not say which, it is as SQL: for functions, procedures
    /// and aggregates with the types of the arguments, as in `f(integer, public.mood)`, for casts
    /// `(text AS public.mood)`, for operator classes `by_size using btree`; in the same way for
    /// operators, operator families, transforms, user mappings, default privileges, settings and
    /// security labels.
    pub name: String,
}

impl ObjectId {
    /// Names an object that is in a schema, or in none if `schema` is empty.
    pub fn new(kind: ObjectKind, schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            schema: schema.into(),
            parent: None,
            name: name.into(),
        }
    }

    /// Says which table, view or domain it belongs to.
    #[must_use]
    pub fn of(mut self, parent: impl Into<String>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// The table, view or domain that it goes and comes with.
    pub(super) fn owner(&self) -> Option<TableName> {
        Some(TableName::new(&*self.schema, self.parent.as_deref()?))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ObjectKind as Kind;
        write!(f, "{} ", self.kind)?;
        if !self.schema.is_empty() {
            let separator = if self.kind == Kind::PublishedSchema {
                " / "
            } else {
                "."
            };
            write!(f, "{}{separator}", readable(&self.schema))?;
        }
        match (self.kind, &self.parent) {
            (kind, _) if kind.is_named_as_sql() => f.write_str(&self.name),
            (Kind::Column, Some(parent)) => {
                write!(f, "{}.{}", readable(parent), readable(&self.name))
            }
            (
                Kind::Constraint | Kind::Trigger | Kind::Rule | Kind::Policy | Kind::PublishedTable,
                Some(parent),
            ) => write!(f, "{} / {}", readable(parent), readable(&self.name)),
            _ => f.write_str(&readable(&self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_as_people_say_them() {
        let check = |id: ObjectId, expected: &str| assert_eq!(id.to_string(), expected);
        check(
            ObjectId::new(ObjectKind::Table, "public", "orders"),
            "table public.orders",
        );
        check(
            ObjectId::new(ObjectKind::Column, "public", "total").of("orders"),
            "column public.orders.total",
        );
        check(
            ObjectId::new(ObjectKind::Column, "s", "A b").of("T\"x"),
            r#"column s."T""x"."A b""#,
        );
        check(
            ObjectId::new(ObjectKind::Index, "public", "orders_pkey").of("orders"),
            "index public.orders_pkey",
        );
        check(
            ObjectId::new(ObjectKind::Constraint, "public", "c").of("orders"),
            "constraint public.orders / c",
        );
        check(
            ObjectId::new(ObjectKind::Function, "public", "f(integer)"),
            "function public.f(integer)",
        );
        check(
            ObjectId::new(ObjectKind::PublishedTable, "public", "all").of("Orders"),
            r#"published table public."Orders" / all"#,
        );
        check(
            ObjectId::new(ObjectKind::PublishedSchema, "public", "all"),
            "published schema public / all",
        );
        check(
            ObjectId::new(ObjectKind::Cast, "", "(text AS public.mood)"),
            "cast (text AS public.mood)",
        );
        check(
            ObjectId::new(ObjectKind::Extension, "", "citext"),
            "extension citext",
        );
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in ObjectKind::ALL {
            assert_eq!(ObjectKind::from_name(kind.as_str()), Some(*kind));
        }
    }
}
