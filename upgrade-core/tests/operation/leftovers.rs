//! What a killed tool leaves beside a database.

use upgrade_core::postgres::database::MarkerKind;
use upgrade_core::rollback::{RollbackRequest, RollbackScope, SnapshotSwap};
use upgrade_core::{ErrorKind, Rollback as _};

use super::support::{beside, reaching, run, shop, shop_named, until, unused};

#[tokio::test]
async fn what_a_killed_tool_leaves_is_listed_refused_adopted_and_removed() {
    // A name that is cut in those of its copies.
    let long = format!("{}{}", unused(), "x".repeat(50));
    for database in [shop().await, shop_named(&long).await] {
        let killed = SnapshotSwap::new().adopted(database.name());
        let cx = reaching(&database);
        killed
            .prepare(&cx, &RollbackScope::default())
            .await
            .unwrap();
        let mut admin = database.connect_maintenance().await.unwrap();
        let found = database.leftovers(&mut admin).await.unwrap();
        assert!(found[0].in_use, "its run holds the lock: {found:?}");
        let error = database.remove_leftover(&mut admin, &found[0]).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Refused);
        // Nobody drops what it has kept.
        drop(killed);
        until("the end of its session", || async {
            let mut admin = database.connect_maintenance().await.unwrap();
            !database.leftovers(&mut admin).await.unwrap()[0].in_use
        })
        .await;
        run(&database, "alter table orders add note text").await;

        let found = database.leftovers(&mut admin).await.unwrap();
        assert_eq!(found.len(), 1);
        let kept = &found[0];
        assert_eq!(kept.kind, Some(MarkerKind::Kept));
        assert_eq!(kept.run.as_deref(), Some(cx.run_id().as_str()));
        assert!(kept.age.is_some() && kept.bytes.is_some_and(|bytes| bytes > 1_000_000));
        let error = database.refuse_leftovers(&mut admin).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        for part in [
            &kept.name,
            "a state to roll back to",
            cx.run_id().as_str(),
            "MB",
        ] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }

        // Another run rolls back to it.
        let cx = reaching(&database);
        let next = SnapshotSwap::new().adopted(database.name());
        let kept = next.adopt(&cx, kept).await.unwrap();
        next.execute(&cx, &kept, &RollbackRequest::default())
            .await
            .unwrap()
            .into_result()
            .unwrap();
        // Killed once more, before it has confirmed.
        drop(next);
        until("the end of its session", || async {
            let mut admin = database.connect_maintenance().await.unwrap();
            !database.leftovers(&mut admin).await.unwrap()[0].in_use
        })
        .await;
        let found = database.leftovers(&mut admin).await.unwrap();
        assert_eq!(found[0].kind, Some(MarkerKind::Aside));
        let next = SnapshotSwap::new().adopted(database.name());
        let error = next.adopt(&cx, &found[0]).await.unwrap_err();
        assert!(error.to_string().contains("keeps no state"), "{error}");
        database
            .remove_leftover(&mut admin, &found[0])
            .await
            .unwrap();
        assert_eq!(
            beside(&database).await,
            [format!("{} open", database.name())]
        );
        database.refuse_leftovers(&mut admin).await.unwrap();
    }
}
