//! The seed guide as one test, through a gateway, with the stock client and the real binary; and a bank behind two gateways whose
//! tables are moved to and fro while it is open.
//!
//! Listings are compared with the files of `tests/guide`, line by line; what differs from run to run is masked by its name.
//! `SHUNT_GOLDEN=write` writes the files anew, to be looked at.

use std::path::Path;
use std::process::Stdio;

use crate::harness::binary::Binary;
use crate::harness::routed::{Routed, ask, ask_with, client, once};
use crate::harness::shell::Shell;

/// Clients that move money through two gateways.
mod bank;

const WORKFLOW: &str = "customer.commerce2customer";
const REVERSE: &str = "commerce.commerce2customer_reverse";
/// Fields of `workflow show` that differ from run to run. A lag is of whole seconds, and a new stream's is that since it was saved.
const POSITIONS_AND_TIMES: &[&str] =
    &["Pos", "TimeUpdated", "TimeHeartbeat", "MaxVReplicationLag", "MaxVReplicationTransactionLag"];
/// Fields of a VDiff's report that differ from run to run.
const NAME_TIMES_AND_POSITIONS: &[&str] =
    &["UUID", "StartedAt", "CompletedAt", "WitnessedFrom", "WitnessedTo"];

/// A listing as it must be, but for the values of these fields: `"Field": value` in JSON, `Field: value` in text.
fn golden(name: &str, listing: &str, masked: &[&str]) {
    let mask = |line: &str| {
        for field in masked {
            for begin in [format!("\"{field}\": "), format!("{field}: ")] {
                if let Some(value) = line.trim_start().strip_prefix(&begin) {
                    let indent = &line[..line.len() - line.trim_start().len()];
                    let end = if value.ends_with(',') { "," } else { "" };
                    return format!("{indent}{begin}<masked>{end}\n");
                }
            }
        }
        format!("{line}\n")
    };
    let listing: String = listing.lines().map(mask).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guide").join(name);
    if std::env::var_os("SHUNT_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&file, &listing).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert_eq!(listing, expected, "{name}");
}

/// The guide's `mysql --table < select_commerce_data.sql`: what it prints, an error last.
async fn select_commerce_data(port: u16) -> String {
    let mut command = client(port, &["--table", "--unbuffered"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guide/select_commerce_data.sql");
    command.stdin(Stdio::from(std::fs::File::open(file).unwrap()));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    // The client repeats the statement that failed between lines of dashes.
    let mut parts = text.split("--------------\n");
    let said: String = [parts.next(), parts.nth(1)].into_iter().flatten().collect();
    said.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
}

/// `SHOW VITESS_TABLETS`, once all of them serve, without the times at which primaries began.
async fn tablets(port: u16) -> String {
    let serving = |listing: &str| !listing.contains("NOT_SERVING");
    let listing =
        once(serving, async || ask_with(port, &["--table", "-e", "show vitess_tablets"]).await)
            .await;
    let mask = |line: &str| {
        let mut cells: Vec<String> = line.split('|').map(str::to_owned).collect();
        if line.contains("PRIMARY ") {
            let time = cells.len() - 2;
            let shown: String = cells[time].chars().map(mask_digit).collect();
            cells[time] = shown;
        }
        cells.join("|") + "\n"
    };
    listing.lines().map(mask).collect()
}

fn mask_digit(c: char) -> char {
    if c.is_ascii_digit() { '#' } else { c }
}

/// Which server answers for a table, by its port.
async fn answers(port: u16, database: &str, table: &str) -> u16 {
    let said = ask(port, database, &format!("select @@port from {table} limit 1")).await;
    said.parse().unwrap_or_else(|_| panic!("{database} {table}: {said}"))
}

/// Writes through the gateway in each keyspace; the row must say that it was made on this server, and be there at once.
async fn writes_land(routed: &Routed, port: u16, on_target: bool) {
    let (mut side, there) = if on_target {
        (routed.on_customer().await, routed.customer().primary().port())
    } else {
        (routed.on_commerce().await, routed.commerce().primary().port())
    };
    for (n, database) in ["commerce", "customer"].into_iter().enumerate() {
        let id = 100 + n + if on_target { 50 } else { 0 };
        let sql = format!("insert into customer values ({id}, concat('by ', @@port))");
        assert_eq!(ask(port, database, &sql).await, "");
        let row = side.row(format!("SELECT email FROM customer WHERE customer_id = {id}")).await;
        let email = row.unwrap().and_then(|row| row.text(0));
        assert_eq!(email, Some(format!("by {there}")), "{database}");
        let read = format!("select email from commerce.customer where customer_id = {id}");
        assert_eq!(ask(port, database, &read).await, format!("by {there}"), "{database}");
        assert_eq!(
            ask(port, database, &format!("delete from customer where customer_id = {id}")).await,
            ""
        );
    }
}

/// Reads of each type are answered by a server of that type, of the keyspace that the tables are in.
async fn reads_land(routed: &Routed, port: u16, on_target: bool) {
    let servers = if on_target { routed.customer() } else { routed.commerce() }.servers();
    let ports: Vec<u16> = servers.iter().map(|server| server.port()).collect();
    for (server, suffix) in ports.into_iter().zip(["", "@replica", "@rdonly"]) {
        for keyspace in ["commerce", "customer"] {
            for table in ["customer", "corder", "commerce.corder", "customer.customer"] {
                let database = format!("{keyspace}{suffix}");
                assert_eq!(answers(port, &database, table).await, server, "{database} {table}");
            }
        }
    }
    let product = routed.commerce().primary().port();
    assert_eq!(answers(port, "commerce", "product").await, product);
}

async fn moved(shell: &Shell) {
    for goal in ["running", "caught-up"] {
        shell.must(&format!("movetables wait {WORKFLOW} --for {goal} --timeout 120s")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_guide() {
    let routed = Routed::unmoved(1).await;
    let shell = routed.shell();
    let mut serving = shell.start(Binary::Plain, None, "--config gateway.toml serve");
    let port = serving.gateway_port().await;
    golden("tablets.txt", &tablets(port).await, &[]);
    golden("rows.txt", &select_commerce_data(port).await, &[]);

    let create =
        format!("movetables create {WORKFLOW} --source commerce --tables customer,corder --detach");
    shell.must(&create).await;
    golden("rules.json", &shell.must("routing-rules get").await, &[]);
    moved(&shell).await;
    let progress = format!("movetables progress {WORKFLOW}");
    let said = once(|said| said.contains("Lag: 0s"), async || shell.must(&progress).await).await;
    golden("progress.txt", &said, &[]);
    let show = shell.must(&format!("workflow show {WORKFLOW}")).await;
    golden("show.json", &show, POSITIONS_AND_TIMES);
    let created = shell.must(&format!("vdiff create {WORKFLOW} --wait --format json")).await;
    // `serve` may have been quicker to take it; then the command says so and waits.
    let seen = |line: &&str| !line.starts_with("Another process runs VDiff");
    let created: String = created.lines().filter(seen).map(|line| format!("{line}\n")).collect();
    golden("vdiff.json", &created, NAME_TIMES_AND_POSITIONS);
    let shown = shell.must(&format!("vdiff show {WORKFLOW} last --verbose --format json")).await;
    golden("vdiff-verbose.json", &shown, NAME_TIMES_AND_POSITIONS);

    reads_land(&routed, port, false).await;
    writes_land(&routed, port, false).await;
    let switched = shell.must(&format!("movetables switchtraffic {WORKFLOW}")).await;
    golden("switchtraffic.txt", &switched, &["Write Pause"]);
    golden("rules-switched.json", &shell.must("routing-rules get").await, &[]);
    reads_land(&routed, port, true).await;
    writes_land(&routed, port, true).await;
    golden("rows.txt", &select_commerce_data(port).await, &[]);

    let wait = format!("movetables wait {REVERSE} --for running --timeout 60s");
    shell.must(&wait).await;
    let show = shell.must(&format!("workflow show {REVERSE}")).await;
    golden("show-reverse.json", &show, POSITIONS_AND_TIMES);
    let completed = shell.must(&format!("movetables complete {WORKFLOW}")).await;
    golden("complete.txt", &completed, &[]);

    golden("rules-none.json", &shell.must("routing-rules get").await, &[]);
    for keyspace in ["customer", "commerce"] {
        let list = shell.must(&format!("workflow list {keyspace}")).await;
        assert_eq!(list, format!("No workflows found in keyspace {keyspace}\n"));
    }
    // A gateway that has not seen the end of the rules yet would still lead to the target.
    let gone = |said: &str| said.contains("ERROR");
    let said = once(gone, async || select_commerce_data(port).await).await;
    golden("rows-gone.txt", &said, &[]);
    assert_eq!(ask(port, "customer", "select count(*) from customer").await, "5");
    serving.stop().await;
}
