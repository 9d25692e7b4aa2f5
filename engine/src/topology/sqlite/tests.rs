use super::*;
use crate::runtime::tasks;

const LONG: Duration = Duration::from_secs(3600);

async fn two_handles() -> (tempfile::TempDir, SqliteStore, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("topology.db");
    // At once: whoever comes second must find the first one's identity.
    let (one, two) = tokio::join!(SqliteStore::open(&file), SqliteStore::open(&file));
    (dir, one.unwrap(), two.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_handles_see_one_identity() {
    let (dir, one, two) = two_handles().await;
    assert_eq!(one.uuid(), two.uuid());
    let again = SqliteStore::open(&dir.path().join("topology.db")).await.unwrap();
    assert_eq!(again.uuid(), one.uuid());
    let other = SqliteStore::open(&dir.path().join("other.db")).await.unwrap();
    assert_ne!(other.uuid(), one.uuid());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_needs_the_current_version() {
    let (_dir, one, two) = two_handles().await;
    assert_eq!(one.get("rules").await.unwrap(), None);
    assert_eq!(one.put("rules", 3, b"x".to_vec()).await.unwrap(), Put::Conflict(0));
    assert_eq!(one.put("rules", 0, b"a".to_vec()).await.unwrap(), Put::Written(1));
    assert_eq!(two.put("rules", 0, b"b".to_vec()).await.unwrap(), Put::Conflict(1));
    assert_eq!(two.put("rules", 1, b"b".to_vec()).await.unwrap(), Put::Written(2));
    let found = one.get("rules").await.unwrap().unwrap();
    assert_eq!(found, Document { version: 2, body: b"b".to_vec() });
}

/// Adds 1 to the number in the document, `times` times.
async fn count_up(store: SqliteStore, times: u32) -> Result<()> {
    for _ in 0..times {
        loop {
            let found = store.get("counter").await?;
            let (version, number) = found.map_or((0, 0), |document| {
                (document.version, String::from_utf8(document.body).unwrap().parse().unwrap())
            });
            let next: u32 = number + 1;
            let put = store.put("counter", version, next.to_string().into_bytes()).await?;
            if matches!(put, Put::Written(_)) {
                break;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn competing_writers_lose_no_update() {
    let (_dir, one, two) = two_handles().await;
    let first = tasks::spawn("first", count_up(one.clone(), 50));
    let second = tasks::spawn("second", count_up(two, 50));
    first.join().await.unwrap();
    second.join().await.unwrap();
    let found = one.get("counter").await.unwrap().unwrap();
    assert_eq!((found.version, found.body), (100, b"100".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_put_in_its_place_is_followed_if_it_is_the_same_topology() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let store = SqliteStore::open(&file("t.db")).await.unwrap();
    store.put("rules", 0, b"old".to_vec()).await.unwrap();
    let backup = format!("VACUUM INTO '{}'", file("backup.db").display());
    Connection::open(file("t.db")).unwrap().execute_batch(&backup).unwrap();
    store.put("rules", 1, b"new".to_vec()).await.unwrap();
    std::fs::rename(file("backup.db"), file("t.db")).unwrap();
    for journal in ["t.db-wal", "t.db-shm"] {
        std::fs::remove_file(file(journal)).unwrap();
    }
    assert_eq!(store.get("rules").await.unwrap().unwrap().body, b"old");
    let again = SqliteStore::open(&file("t.db")).await.unwrap();
    again.put("rules", 1, b"newer".to_vec()).await.unwrap();
    assert_eq!(store.get("rules").await.unwrap().unwrap().body, b"newer");

    let other = SqliteStore::open(&file("other.db")).await.unwrap();
    drop((again, other));
    // All is in the file itself when it is moved away.
    let moved = Connection::open(file("t.db")).unwrap();
    moved.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(moved);
    std::fs::rename(file("t.db"), file("mine.db")).unwrap();
    std::fs::rename(file("other.db"), file("t.db")).unwrap();
    let error = store.get("rules").await.unwrap_err();
    assert!(error.to_string().contains("the file was replaced"), "{error}");
    std::fs::rename(file("mine.db"), file("t.db")).unwrap();
    assert_eq!(store.get("rules").await.unwrap().unwrap().body, b"newer", "it is put back");
    std::fs::remove_file(file("t.db")).unwrap();
    let error = store.acquire("w", "a", LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stop);
    assert!(error.to_string().contains("the file is gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_has_one_owner_and_growing_tokens() {
    let (_dir, one, two) = two_handles().await;
    let held = one.acquire("w", "a", LONG).await.unwrap().unwrap();
    assert_eq!(two.acquire("w", "b", LONG).await.unwrap(), None);
    let again = one.acquire("w", "a", LONG).await.unwrap().unwrap();
    assert_eq!(again.token, held.token, "the holder keeps its token");
    one.release(&held).await.unwrap();
    let next = two.acquire("w", "b", LONG).await.unwrap().unwrap();
    assert!(next.token > held.token);
    let lost = one.renew(&held, LONG).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::LeaseLost);
    // A late release takes nothing from the new owner.
    one.release(&held).await.unwrap();
    assert_eq!(one.acquire("w", "a", LONG).await.unwrap(), None);
    two.renew(&next, LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lock_goes_to_whoever_comes_first() {
    let (_dir, one, two) = two_handles().await;
    let held = one.acquire("w", "a", Duration::ZERO).await.unwrap().unwrap();
    one.renew(&held, Duration::ZERO).await.expect("nobody else took it yet");
    let next = two.acquire("w", "b", LONG).await.unwrap().unwrap();
    assert_eq!(next.token, held.token + 1);
    assert_eq!(one.renew(&held, LONG).await.unwrap_err().kind(), ErrorKind::LeaseLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_only_one_gets_a_lock() {
    let (_dir, one, two) = two_handles().await;
    let attempts: Vec<_> = (0..16)
        .map(|n| {
            let store = if n % 2 == 0 { one.clone() } else { two.clone() };
            let owner = format!("owner {n}");
            tasks::spawn("contender", async move { store.acquire("w", &owner, LONG).await })
        })
        .collect();
    let mut winners = 0;
    for attempt in attempts {
        winners += u32::from(attempt.join().await.unwrap().is_some());
    }
    assert_eq!(winners, 1);
}

#[test]
fn a_lease_of_an_earlier_boot_is_expired() {
    let now = Now::parse("this".to_owned(), "1234.56 99.00\n").unwrap();
    assert_eq!(now.uptime_ms, 1_234_560);
    assert!(now.is_before("this", 1_234_561));
    assert!(!now.is_before("this", 1_234_560));
    assert!(!now.is_before("earlier", i64::MAX));
    assert!(Now::parse(String::new(), "12").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.db");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert!(error.to_string().contains("not a topology of shunt"), "{error}");

    let file = dir.path().join("newer.db");
    drop(SqliteStore::open(&file).await.unwrap());
    let conn = Connection::open(&file).unwrap();
    conn.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert!(error.to_string().contains("a newer shunt's"), "{error}");
}
