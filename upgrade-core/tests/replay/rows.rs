//! What the requests write to databases of a real server.

use std::sync::mpsc;
use std::thread;

use serde_json::json;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use upgrade_core::environment::{DATABASE, Endpoint, Endpoints};
use upgrade_core::http::Request;
use upgrade_core::replay::{Recording, Replay};
use upgrade_core::side::{Candidate, Side};
use upgrade_core::{UpgradeContext, Validator as _, Verdict};

use crate::service::{Service, failed, json as answer, keys};
use crate::support::{run, servers};

const SCHEMA: &str = "
    CREATE TABLE orders (id bigserial PRIMARY KEY, note text, state text NOT NULL DEFAULT 'new',
        token uuid DEFAULT gen_random_uuid(), at timestamptz DEFAULT clock_timestamp());
    CREATE TABLE lines (id bigserial PRIMARY KEY, order_id bigint REFERENCES orders, amount int);
    CREATE TABLE beside (a int);
    INSERT INTO orders (note) SELECT 'old ' || i FROM generate_series(1, 5) i;
    INSERT INTO beside VALUES (1)";

/// What one release does for each kind of request.
#[derive(Clone, Copy)]
struct Does {
    migration: &'static str,
    create: &'static str,
    cancel: &'static str,
    remove: &'static str,
    read: &'static str,
}

const OLD: Does = Does {
    migration: "SELECT",
    create: "WITH made AS (INSERT INTO orders (note) VALUES ('a gift') RETURNING id)
        INSERT INTO lines (order_id, amount) SELECT id, 3 FROM made",
    cancel: "UPDATE orders SET state = 'cancelled' WHERE id = 2",
    remove: "DELETE FROM orders WHERE id = 4",
    read: "SELECT FROM beside",
};

async fn side(does: Does) -> (Service, Endpoints) {
    let server = &servers()[0];
    let mut conn = server.database().await;
    run(&mut conn, SCHEMA).await;
    run(&mut conn, does.migration).await;
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let options = server.options(&name);
    let url = options.to_url_lossy().to_string();
    let mut act = actor(options);
    let service = Service::start(move |call| {
        let sql = match call.method.as_str() {
            "POST" => does.create,
            "PATCH" => does.cancel,
            "DELETE" => does.remove,
            _ => does.read,
        };
        act(sql);
        answer(200, &json!({"ok": true}))
    })
    .await;
    let endpoints = Endpoints::default()
        .with("web", Endpoint::new(service.url.as_str()))
        .with(DATABASE, Endpoint::new(url));
    (service, endpoints)
}

/// Runs statements in a thread: a service answers when they are done.
fn actor(options: PgConnectOptions) -> impl FnMut(&'static str) + Send + 'static {
    let (sql, statements) = mpsc::channel::<&'static str>();
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut conn = options.connect().await.unwrap();
            while let Ok(statement) = statements.recv() {
                run(&mut conn, statement).await;
                done.send(()).unwrap();
            }
        });
    });
    move |statement| {
        sql.send(statement).unwrap();
        ended.recv().unwrap();
    }
}

async fn judged(new: Does) -> Verdict {
    let all = [side(OLD).await, side(OLD).await, side(new).await];
    let sides = Side::ALL.into_iter().zip(&all);
    let sides = sides.map(|(side, (_, endpoints))| (side, endpoints.clone()));
    let cx = UpgradeContext::new("1", "2").with_sides(sides.collect(), Candidate::Upgraded);
    let requests = [
        Request::post("/orders"),
        Request::post("/orders"),
        Request::new("PATCH", "/orders/2"),
        Request::new("DELETE", "/orders/4"),
        Request::get("/orders"),
    ];
    let replay = Replay::new("shop", "web", Recording::new(requests));
    replay.validate(&cx).await.unwrap()
}

#[tokio::test]
async fn what_a_migration_changed_before_is_no_difference() {
    let new = Does {
        // Rows are written anew, a number of the sequence is taken, and columns change.
        migration: "ALTER TABLE orders ADD COLUMN channel text, DROP COLUMN token;
            INSERT INTO orders (note) VALUES ('of the migration');
            UPDATE orders SET note = upper(note);
            ALTER TABLE lines ALTER COLUMN amount TYPE numeric;
            DROP TABLE beside; CREATE TABLE more (a int)",
        read: "SELECT",
        ..OLD
    };
    for does in [OLD, new] {
        assert_eq!(judged(does).await, Verdict::Pass);
    }
}

#[tokio::test]
async fn other_writes_are_found_in_their_table() {
    let orders = "table public.orders";
    for (new, subject, message) in [
        (
            Does {
                create: "WITH made AS (INSERT INTO orders DEFAULT VALUES RETURNING id)
                    INSERT INTO lines (order_id, amount) SELECT id, 3 FROM made",
                ..OLD
            },
            "column public.orders.note",
            "in the rows that were written, 'a gift' became NULL",
        ),
        (
            Does {
                create: "INSERT INTO orders (note) VALUES ('a gift')",
                ..OLD
            },
            "table public.lines",
            "rows that were added or changed: there were 2 and are 0",
        ),
        (
            Does {
                cancel: "SELECT",
                ..OLD
            },
            orders,
            "rows that were added or changed: there were 3 and are 2",
        ),
        (
            Does {
                remove: "DELETE FROM orders WHERE id = 5",
                ..OLD
            },
            orders,
            "other rows than before were changed or removed",
        ),
        (
            Does {
                create: "WITH made AS (INSERT INTO orders (note) VALUES ('a gift'))
                    INSERT INTO lines (order_id, amount) VALUES (1, 3)",
                ..OLD
            },
            "column public.lines.order_id",
            "in the rows that were written, '6' became '1'",
        ),
    ] {
        let findings = failed(judged(new).await);
        assert_eq!(
            keys(&findings),
            [format!("error[api/rows-differ] {subject}")]
        );
        assert_eq!(findings[0].message, message);
        assert!(findings[0].subject.object().is_some());
    }
}

#[tokio::test]
async fn a_table_that_no_request_reaches_any_more_is_told() {
    let findings = failed(
        judged(Does {
            cancel: "SELECT",
            read: "SELECT FROM lines",
            ..OLD
        })
        .await,
    );
    assert_eq!(
        keys(&findings),
        [
            "error[api/rows-differ] table public.orders",
            "warning[api/rows-unreached] table public.beside"
        ]
    );
    assert_eq!(
        findings[1].message,
        "it holds rows (1), and the requests to the candidate neither read nor write any"
    );
}
